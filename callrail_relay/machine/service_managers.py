"""The programs that run a service: systemctl, launchctl and schtasks. Raises Unavailable if one refuses."""

import csv
import getpass
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from callrail_relay.clock import pause
from callrail_relay.errors import Unavailable
from callrail_relay.machine.service_units import NAME, STOP_WITHIN, Kind

_TASK_RUNNING = "267009"  # SCHED_S_TASK_RUNNING as "Last Result"; the words beside it are translated
_LINGER = "# `callrail-relay service` enabled lingering for this user.\n"
_OLDEST_SYSTEMD = 250


@dataclass(frozen=True, kw_only=True)
class ServiceState:
    """Whether the service is there, starts by itself and runs; *since* is None if it isn't known."""

    installed: bool
    enabled: bool
    running: bool
    since: datetime | None
    path: str
    kind: Kind


def run(*command: str, fails: bool = True, environment: dict[str, str] | None = None) -> str | None:
    """What *command* prints. If it fails: Unavailable with its words, or None if it may."""
    try:
        done = subprocess.run(  # noqa: S603 - the system's own programs, and no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=STOP_WITHIN + 30,
            env=os.environ | {"LC_ALL": "C"} | (environment or {}),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        words, code = type(error).__name__, 1
    else:
        words, code = " ".join((done.stderr.strip() or done.stdout.strip()).split()), done.returncode
        if code == 0:
            return done.stdout
    if not fails:
        return None
    raise Unavailable(f"`{' '.join(command[:3])}` failed: {words or f'exit code {code}'}")


class Systemd:
    """A unit of the user's own systemd, or of the system's. Its path is below *root*, which tests change."""

    def __init__(self, kind: Kind, *, root: Path = Path("/")) -> None:
        self.kind = kind
        self._system = kind is Kind.SYSTEMD_SYSTEM
        if self._system:
            self.path = root / "etc/systemd/system" / f"{NAME}.service"
        else:
            config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 - no RuntimeError
            self.path = Path(config, "systemd/user", f"{NAME}.service")
        wanted = "multi-user.target" if self._system else "default.target"
        self._link = self.path.parent / f"{wanted}.wants" / self.path.name

    def require(self) -> None:
        self._require_root()
        try:
            words = self._run("show", "--property=Version", "--value") or ""
        except Unavailable as error:
            raise Unavailable(f"{self._no_manager()} ({error})") from error
        version = re.match(r"\d+", words.strip())
        if self._system and version and int(version[0]) < _OLDEST_SYSTEMD:
            raise Unavailable(
                f"This is systemd {version[0]}, and a system service takes {_OLDEST_SYSTEMD} or newer. Leave "
                "out --system."
            )

    def _require_root(self) -> None:
        if self._system and os.geteuid() != 0:
            raise Unavailable("The system service is root's. Run this with sudo, or leave out --system.")

    def _no_manager(self) -> str:
        if self._system or not Path("/run/systemd/system").exists():
            return (
                "systemd does not run this computer. Have what starts programs here, such as your container "
                "engine, run `callrail-relay serve`."
            )
        if os.getuid() == 0:
            return "root has no systemd session. Use --system, or run this without sudo."
        return (
            f"The user {_user()} has no systemd session. Run `sudo loginctl enable-linger {_user()}` and "
            "then this again, or, as root, `callrail-relay service install --system`."
        )

    def install(self, text: str) -> str | None:
        lingers = self._system or self._lingers()
        former = _read(self.path)
        if not lingers or (former or "").startswith(_LINGER):
            text = _LINGER + text
        _write(self.path, text)
        try:
            self._run("daemon-reload")
            self._run("enable", NAME)
            self._run("restart", NAME)
        except Unavailable:
            if former is None:
                self.uninstall()
            else:
                _write(self.path, former)
                self._run("daemon-reload", fails=False)
            raise
        if not lingers and run("loginctl", "enable-linger", _user(), fails=False) is None:
            return (
                "The service stops when you sign out, and starts when you sign in. To change that, run "
                f"`sudo loginctl enable-linger {_user()}`."
            )
        return None

    def uninstall(self) -> None:
        self._require_root()
        ours = (_read(self.path) or "").startswith(_LINGER)
        self._run("disable", "--now", NAME, fails=False)
        self.path.unlink(missing_ok=True)
        # Left behind where `disable` did not work.
        self._link.unlink(missing_ok=True)
        if not self._system:
            for folder in (self._link.parent, self.path.parent, self.path.parent.parent):
                with suppress(OSError):
                    folder.rmdir()  # only if it is empty
        self._run("daemon-reload", fails=False)
        self._run("reset-failed", NAME, fails=False)
        if ours:
            run("loginctl", "disable-linger", _user(), fails=False)

    def restart(self) -> None:
        self._run("restart", NAME)

    def state(self) -> ServiceState:
        installed = self.path.exists()
        shown = self._run(
            "show", NAME, "--property=ActiveState,UnitFileState,ActiveEnterTimestamp", fails=False
        )
        found = dict(line.partition("=")[::2] for line in (shown or "").splitlines())
        running = installed and found.get("ActiveState") in ("active", "reloading")
        since = None
        with suppress(ValueError):
            written = found.get("ActiveEnterTimestamp", "").partition(" ")[2]
            since = datetime.strptime(written, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
        return ServiceState(
            installed=installed,
            enabled=installed
            and (found.get("UnitFileState") == "enabled" or (shown is None and self._link.is_symlink())),
            running=running,
            since=since if running else None,
            path=str(self.path),
            kind=self.kind,
        )

    def logs(self, lines: int) -> list[str]:
        return (run(*self._journal(lines)) or "").splitlines()

    def follow(self, lines: int) -> Iterator[str]:
        try:
            process = subprocess.Popen(  # noqa: S603 - as above
                [*self._journal(lines), "--follow"],
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise Unavailable(f"journalctl can't be run: {error.strerror}.") from error
        with process:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            yield from (line.rstrip("\n") for line in process.stdout)

    def _journal(self, lines: int) -> list[str]:
        # `journalctl --user` would miss what a journal without files of its own for each user holds.
        unit = "--unit" if self._system else "--user-unit"
        return ["journalctl", f"{unit}={NAME}", "--output=cat", "--quiet", "--no-pager", f"--lines={lines}"]

    def _lingers(self) -> bool:
        return "yes" in (run("loginctl", "show-user", _user(), "--property=Linger", fails=False) or "")

    def _run(self, *words: str, fails: bool = True) -> str | None:
        environment = {"TZ": "UTC"}  # for the time in `state`
        if not self._system and _lacks_runtime_directory():
            environment["XDG_RUNTIME_DIR"] = f"/run/user/{os.getuid()}"
        scope = () if self._system else ("--user",)
        return run("systemctl", *scope, *words, fails=fails, environment=environment)


class LogFileReader:
    """The log that ``serve`` keeps itself."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def logs(self, lines: int) -> list[str]:
        try:
            with self._log.open(encoding="utf-8", errors="replace") as file:
                return file.read().splitlines()[-lines:] if lines else []
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unavailable(f"The log {self._log} can't be read: {error.strerror}.") from error

    def follow(self, lines: int) -> Iterator[str]:
        place, rest, first = 0, "", True
        while True:
            whole: list[str] = []
            with suppress(OSError), self._log.open(encoding="utf-8", errors="replace") as file:
                if file.seek(0, os.SEEK_END) < place:  # a new file took its place
                    place = 0
                file.seek(place)
                *whole, rest = (rest + file.read()).split("\n")
                place = file.tell()
            yield from whole[len(whole) - lines if first and len(whole) > lines else 0 :]
            first = False
            pause(0.5)

    def remove_logs(self) -> None:
        for path in self._log.parent.glob(f"{self._log.name}*"):
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self._log.parent.rmdir()


class Launchd(LogFileReader):
    """A LaunchAgent of the user who is signed in to this Mac."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self.path = Path("~/Library/LaunchAgents").expanduser() / f"{NAME}.plist"
        self._domain = f"gui/{os.getuid()}"
        self._service = f"{self._domain}/{NAME}"

    def require(self) -> None:
        if run("launchctl", "print", self._domain, fails=False) is None:
            raise Unavailable(
                "macOS runs a LaunchAgent only while you are signed in at the screen. Sign in there, and run "
                "this again."
            )

    def install(self, text: str) -> str | None:
        former = _read(self.path)
        self._unload()
        _write(self.path, text)
        try:
            run("launchctl", "enable", self._service)
            # What was just unloaded may still be stopping.
            for _ in range(20):
                if run("launchctl", "bootstrap", self._domain, str(self.path), fails=False) is not None:
                    return None
                pause(0.5)
            run("launchctl", "bootstrap", self._domain, str(self.path))
        except Unavailable:
            _write(self.path, former) if former else self.path.unlink(missing_ok=True)
            raise
        return None

    def uninstall(self) -> None:
        self._unload()
        self.path.unlink(missing_ok=True)
        self.remove_logs()

    def restart(self) -> None:
        run("launchctl", "kickstart", "-k", self._service)

    def state(self) -> ServiceState:
        shown = run("launchctl", "print", self._service, fails=False) or ""
        disabled = run("launchctl", "print-disabled", self._domain, fails=False) or ""
        return ServiceState(
            installed=self.path.exists(),
            enabled=self.path.exists() and not re.search(rf'"{NAME}" => (true|disabled)', disabled),
            running=re.search(r"^\s*state = running$", shown, re.MULTILINE) is not None,
            since=None,
            path=str(self.path),
            kind=Kind.LAUNCHD,
        )

    def _unload(self) -> None:
        if run("launchctl", "print", self._service, fails=False) is not None:
            run("launchctl", "bootout", self._service, fails=False)


class TaskScheduler(LogFileReader):
    """A task of Windows."""

    path = f"\\{NAME}"

    def require(self) -> None:
        run("schtasks", "/Query", "/FO", "CSV", "/NH")

    def install(self, text: str) -> str | None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"{NAME}.xml")
            file.write_text(text.replace("UTF-8", "UTF-16", 1), encoding="utf-16")
            self._end()
            run("schtasks", "/Create", "/TN", NAME, "/XML", str(file), "/F")
        try:
            run("schtasks", "/Run", "/TN", NAME)
        except Unavailable:
            run("schtasks", "/Delete", "/TN", NAME, "/F", fails=False)
            raise
        return None

    def uninstall(self) -> None:
        self._end()
        if self.state().installed:
            run("schtasks", "/Delete", "/TN", NAME, "/F")
        self.remove_logs()

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
        xml = run("schtasks", "/Query", "/TN", NAME, "/XML", fails=False) or ""
        rows = run("schtasks", "/Query", "/TN", NAME, "/V", "/FO", "CSV", "/NH", fails=False) or ""
        row: Sequence[str] = next((row for row in csv.reader(rows.splitlines()) if len(row) > 6), [""] * 7)
        disabled = re.search(r"<Settings>.*<Enabled>false</Enabled>.*</Settings>", xml, re.DOTALL)
        return ServiceState(
            installed="<Task" in xml,
            enabled="<Task" in xml and not disabled,
            running=row[6] == _TASK_RUNNING or row[3] == "Running",
            since=None,
            path=self.path,
            kind=Kind.WINDOWS,
        )


def _lacks_runtime_directory() -> bool:
    """Whether the variable is missing or another user's, as after `su`, though the user's systemd may run."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    try:
        return not runtime or Path(runtime).stat().st_uid != os.getuid()
    except OSError:
        return False


def _user() -> str:
    return getpass.getuser()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise Unavailable(
            f"{path} can't be written ({error.strerror}); no service was installed. Make its folder writable."
        ) from error


Manager = Systemd | Launchd | TaskScheduler
"""
``require`` raises unless a service can be installed here. ``install`` starts it, or leaves nothing behind,
and returns a warning. ``follow`` gives the newest lines of the log, and then those that come.
"""
