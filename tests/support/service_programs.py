"""Programs in the place of systemctl, launchctl and schtasks: they record their calls and answer as told."""

import ast
import os
import sys
from pathlib import Path

import pytest

# Tests call them hundreds of times: what only some calls need is imported there.
_PROGRAM = """\
#!{python} -IS
import os, sys

folder, name, arguments = {folder!r}, {name!r}, sys.argv[1:]
unit, pid = folder + "/unit", folder + "/pid"
with open(folder + "/calls", "a") as file:
    print(ascii([name, *arguments]), file=file)
for argument in arguments:
    if argument.endswith(".xml"):
        with open(argument, "rb") as source, open(folder + "/task.xml", "wb") as copy:
            copy.write(source.read())
if name == "systemctl" and "restart" in arguments and os.path.exists(unit):
    # As systemd does: end what runs, then run what the unit says, with the environment that it says.
    import re, shlex, signal, subprocess, time
    from pathlib import Path

    pid = Path(pid)
    if pid.exists():
        stat = Path("/proc", pid.read_text(), "stat")
        try:
            os.kill(int(pid.read_text()), signal.SIGTERM)
            while ") Z " not in stat.read_text():
                time.sleep(0.05)
        except (ProcessLookupError, FileNotFoundError):
            pass
    said = Path(Path(unit).read_text()).read_text()
    lines = re.findall("^Environment=(.*)$", said, re.M)
    environment = dict(shlex.split(line)[0].split("=", 1) for line in lines)
    command = shlex.split(re.search("^ExecStart=(.*)$", said, re.M)[1])
    kept = {{key: os.environ[key] for key in ("PATH", "HOME", "PYTHON_KEYRING_BACKEND")}}
    log = open(folder + "/log", "a")
    environment = kept | environment
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    pid.write_text(str(process.pid))
if name == "systemctl" and "disable" in arguments and os.path.exists(pid):
    import signal

    with open(pid) as file:
        os.kill(int(file.read()), signal.SIGTERM)
with open(folder + "/answers") as file:
    answers = eval(file.read())
code, words = next((answer for key, answer in answers if key in " ".join([name, *arguments])), (0, ""))
(sys.stdout if code == 0 else sys.stderr).write(words)
sys.exit(code)
"""


class ServicePrograms:
    """What the stand-ins answer, and what they were called with."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        folder.mkdir()
        self._answers: list[tuple[str, tuple[int, str]]] = []
        self._save()
        for name in ("systemctl", "loginctl", "journalctl", "launchctl", "schtasks"):
            program = folder / name
            program.write_text(
                _PROGRAM.format(python=sys.executable, folder=str(folder), name=name), encoding="utf-8"
            )
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def answer(self, key: str, words: str = "", *, code: int = 0) -> None:
        """Answer the calls that have *key* in them from now on."""
        self._answers.insert(0, (key, (code, words)))
        self._save()

    def run_unit(self, path: Path) -> None:
        """Let ``systemctl restart`` start what the unit at *path* says, and ``disable`` end it."""
        (self._folder / "unit").write_text(str(path), encoding="utf-8")

    @property
    def calls(self) -> list[str]:
        try:
            lines = (self._folder / "calls").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [" ".join(ast.literal_eval(line)) for line in lines]

    @property
    def task(self) -> bytes:
        """The XML that ``schtasks`` was given."""
        return (self._folder / "task.xml").read_bytes()

    @property
    def pid(self) -> int | None:
        """The process that was started last."""
        pid = self._folder / "pid"
        return int(pid.read_text(encoding="utf-8")) if pid.exists() else None

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8")

    def _save(self) -> None:
        (self._folder / "answers").write_text(ascii(self._answers), encoding="ascii")
