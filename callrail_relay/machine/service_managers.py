"""The programs that run a service: systemctl, launchctl and schtasks. Unavailable if one refuses."""

import csv
import getpass
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from callrail_relay.clock import pause
from callrail_relay.errors import Unavailable
from callrail_relay.machine import sentence
from callrail_relay.machine.service_units import NAME, STOP_WITHIN, Kind

_TASK_RUNNING = "267009"  # SCHED_S_TASK_RUNNING as "Last Result"; the words beside it are translated
_LINGER = "# `callrail-relay service` enabled lingering for this user.\n"
_OLDEST_SYSTEMD = 250
SYSTEM_UNITS = Path("/etc/systemd/system")


@dataclass(frozen=True)
class ServiceState:
    """Whether the service is there, starts by itself and runs; *since* is None if unknown."""

    installed: bool
    enabled: bool
    running: bool
    since: datetime | None
    path: str
    kind: Kind


def run(*command: str, fails: bool = True, environment: dict[str, str] | None = None) -> str | None:
    """Return what *command* prints. If it fails: Unavailable with its words, or None if it may fail."""
    try:
        return subprocess.run(  # noqa: S603 - the system's own programs, and no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="oem" if os.name == "nt" else None,  # schtasks writes as a console does
            errors="replace",
            timeout=STOP_WITHIN + 30,
            env=os.environ | {"LC_ALL": "C"} | (environment or {}),
            check=True,
        ).stdout
    except subprocess.CalledProcessError as error:
        words = " ".join((error.stderr.strip() or error.stdout.strip()).split())
        words = words or f"exit code {error.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        words = type(error).__name__
    if fails:
        raise Unavailable(sentence("command_failed", command=" ".join(command[:3]), words=words))
    return None


class UnitFile:
    """A service that is a file at *path*."""

    path: Path

    def read(self) -> str | None:
        try:
            return self.path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None

    def _write(self, text: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise Unavailable(sentence("unit_unwritable", path=self.path, why=error.strerror)) from error


class Systemd(UnitFile):
    """A unit of the user's own systemd, or of the system's."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._system = kind is Kind.SYSTEMD_SYSTEM
        config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 - no RuntimeError
        folder = SYSTEM_UNITS if self._system else Path(config, "systemd/user")
        self.path = folder / f"{NAME}.service"
        wanted = "multi-user.target" if self._system else "default.target"
        self._link = folder / f"{wanted}.wants" / self.path.name

    def require(self) -> None:
        self._require_root()
        try:
            version = re.match(r"\d+", self._run("show", "--property=Version", "--value") or "")
        except Unavailable as error:
            raise Unavailable(f"{self._no_manager()} ({error})") from error
        if self._system and version and int(version[0]) < _OLDEST_SYSTEMD:
            raise Unavailable(sentence("old_systemd", version=version[0], oldest_systemd=_OLDEST_SYSTEMD))

    def _require_root(self) -> None:
        if self._system and os.geteuid() != 0:
            raise Unavailable(sentence("not_root"))

    def _no_manager(self) -> str:
        if self._system or not Path("/run/systemd/system").exists():
            return sentence("no_systemd")
        if os.getuid() == 0:
            return sentence("root_session")
        return sentence("no_session", user=getpass.getuser())

    def load(self, text: str) -> str | None:
        lingers = self._system or "yes" in (_linger("show-user", "--property=Linger") or "")
        ours = not lingers or (self.read() or "").startswith(_LINGER)
        self._write(_LINGER + text if ours and not text.startswith(_LINGER) else text)
        self._run("daemon-reload")
        self._run("enable", NAME)
        self._run("restart", NAME)
        if lingers or _linger("enable-linger") is not None:
            return None
        return sentence("stops_with_session", user=getpass.getuser())

    def uninstall(self) -> None:
        self._require_root()
        ours = (self.read() or "").startswith(_LINGER)
        self._run("disable", "--now", NAME, fails=False)
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            self._link.unlink(missing_ok=True)  # left behind where `disable` didn't work
            for folder in (self._link.parent, self.path.parent, self.path.parent.parent):
                if not self._system and folder.exists():
                    folder.rmdir()  # only if it's empty
        self._run("daemon-reload", fails=False)
        self._run("reset-failed", NAME, fails=False)
        if ours:
            _linger("disable-linger")

    def restart(self) -> None:
        self._run("restart", NAME)

    def state(self) -> ServiceState:
        installed = self.path.exists()
        properties = "--property=ActiveState,UnitFileState,ActiveEnterTimestamp"
        shown = self._run("show", NAME, properties, fails=False)
        found = dict(line.partition("=")[::2] for line in (shown or "").splitlines())
        running = installed and found.get("ActiveState") in ("active", "reloading")
        enabled = found.get("UnitFileState") == "enabled" or (shown is None and self._link.is_symlink())
        since = None
        with suppress(ValueError, KeyError):
            written = found["ActiveEnterTimestamp"].partition(" ")[2]
            since = datetime.strptime(written, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
        since = since if running else None
        return ServiceState(installed, installed and enabled, running, since, str(self.path), self.kind)

    def logs(self, lines: int, *, follow: bool) -> Iterator[str]:
        # `journalctl --user` would miss what a journal without its own files per user contains.
        unit = f"--{'' if self._system else 'user-'}unit={NAME}"
        command = ["journalctl", unit, "--output=cat", "--quiet", "--no-pager", f"--lines={lines}"]
        if not follow:
            yield from (run(*command) or "").splitlines()
            return
        try:
            process = subprocess.Popen(  # noqa: S603 - as above
                [*command, "--follow"], stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
            )
        except OSError as error:
            raise Unavailable(sentence("no_journal", why=error.strerror)) from error
        with process:
            yield from (line.rstrip("\n") for line in process.stdout or ())

    def _run(self, *words: str, fails: bool = True) -> str | None:
        environment = {"TZ": "UTC"}  # for the time in `state`
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        with suppress(OSError):
            # After `su` it's missing or another user's, though this user's systemd may run.
            if not self._system and (not runtime or Path(runtime).stat().st_uid != os.getuid()):
                environment["XDG_RUNTIME_DIR"] = f"/run/user/{os.getuid()}"
        scope = () if self._system else ("--user",)
        return run("systemctl", *scope, *words, fails=fails, environment=environment)


class LogFile:
    """The log that ``serve`` keeps itself."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def logs(self, lines: int, *, follow: bool) -> Iterator[str]:
        place, rest, first = 0, b"", True
        while first or follow:
            whole: list[bytes] = []
            try:
                with self._log.open("rb") as file:
                    if file.seek(0, os.SEEK_END) < place:  # a new file took its place
                        place, rest = 0, b""
                    file.seek(place)
                    *whole, rest = (rest + file.read()).split(b"\n")
                    place = file.tell()
            except FileNotFoundError:
                pass  # it comes with the first line
            except OSError as error:
                if first:
                    raise Unavailable(
                        sentence("log_unreadable", log=self._log, why=error.strerror)
                    ) from error
            newest = whole[max(len(whole) - lines, 0) :] if first else whole
            yield from (line.decode("utf-8", "replace").rstrip("\r") for line in newest)
            first = False
            pause(0.5 if follow else 0)

    def _remove_logs(self) -> None:
        with suppress(OSError):
            for path in self._log.parent.glob(f"{self._log.name}*"):
                path.unlink()
            self._log.parent.rmdir()


class Launchd(LogFile, UnitFile):
    """A LaunchAgent of the user who is signed in to this Mac."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self.path = Path("~/Library/LaunchAgents").expanduser() / f"{NAME}.plist"
        self._domain = f"gui/{os.getuid()}"
        self._service = f"{self._domain}/{NAME}"

    def require(self) -> None:
        if run("launchctl", "print", self._domain, fails=False) is None:
            raise Unavailable(sentence("not_signed_in"))

    def load(self, text: str) -> None:
        run("launchctl", "bootout", self._service, fails=False)
        self._write(text)
        run("launchctl", "enable", self._service)
        # What was just unloaded may still be stopping.
        for tries_left in reversed(range(20)):
            command = ("launchctl", "bootstrap", self._domain, str(self.path))
            if run(*command, fails=not tries_left) is not None:
                return
            pause(0.5)

    def uninstall(self) -> None:
        run("launchctl", "bootout", self._service, fails=False)
        self.path.unlink(missing_ok=True)
        self._remove_logs()

    def restart(self) -> None:
        run("launchctl", "kickstart", "-k", self._service)

    def state(self) -> ServiceState:
        shown = run("launchctl", "print", self._service, fails=False) or ""
        disabled = run("launchctl", "print-disabled", self._domain, fails=False) or ""
        installed = self.path.exists()
        enabled = installed and not re.search(rf'"{NAME}" => (true|disabled)', disabled)
        running = re.search(r"^\s*state = running$", shown, re.MULTILINE) is not None
        return ServiceState(installed, enabled, running, None, str(self.path), Kind.LAUNCHD)


class TaskScheduler(LogFile):
    path = f"\\{NAME}"

    def require(self) -> None:
        run("schtasks", "/Query", "/FO", "CSV", "/NH")

    def read(self) -> str | None:
        xml = run("schtasks", "/Query", "/TN", NAME, "/XML", fails=False) or ""
        return xml if "<Task" in xml else None

    def load(self, text: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"{NAME}.xml")
            file.write_text(text.replace("UTF-8", "UTF-16", 1), encoding="utf-16")
            self._end()
            try:
                run("schtasks", "/Create", "/TN", NAME, "/XML", str(file), "/F")
            except Unavailable:
                run("schtasks", "/Run", "/TN", NAME, fails=False)  # a former task continues
                raise
        run("schtasks", "/Run", "/TN", NAME)

    def uninstall(self) -> None:
        self._end()
        if self.read() is not None:
            run("schtasks", "/Delete", "/TN", NAME, "/F")
        self._remove_logs()

    def restart(self) -> None:
        self._end()
        run("schtasks", "/Run", "/TN", NAME)

    def _end(self) -> None:
        run("schtasks", "/End", "/TN", NAME, fails=False)
        for _ in range(20):
            if not self.state().running:
                return
            pause(0.5)  # while it runs, a start is ignored

    def state(self) -> ServiceState:
        xml = self.read()
        rows = run("schtasks", "/Query", "/TN", NAME, "/V", "/FO", "CSV", "/NH", fails=False) or ""
        row = next((row for row in csv.reader(rows.splitlines()) if len(row) > 6), [""] * 7)
        disabled = re.search(r"<Settings>.*<Enabled>false</Enabled>.*</Settings>", xml or "", re.DOTALL)
        installed, running = xml is not None, row[6] == _TASK_RUNNING or row[3] == "Running"
        enabled = installed and not disabled
        return ServiceState(installed, enabled, running, None, self.path, Kind.WINDOWS)


def _linger(verb: str, *options: str) -> str | None:
    return run("loginctl", verb, getpass.getuser(), *options, fails=False)


Manager = Systemd | Launchd | TaskScheduler
"""
``require`` raises unless a service can be installed here. ``load`` starts what a text describes, and ``read``
gives that text back. ``logs`` gives the newest lines of the log, and with *follow* then those that come.
"""


def install(manager: Manager, text: str) -> str | None:
    """Start a service, replacing a former one; return a warning. A failure leaves what was there."""
    former = manager.read()
    try:
        return manager.load(text)
    except Unavailable:
        with suppress(Unavailable, OSError):
            manager.uninstall() if former is None else manager.load(former)
        raise
