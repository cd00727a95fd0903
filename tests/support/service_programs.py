"""Programs in the place of systemctl, launchctl and schtasks: they record their calls and answer as told."""

import json
import os
import sys
from pathlib import Path

import pytest

_PROGRAM = """\
#!{python} -IS
import json, os, re, shlex, signal, subprocess, sys, time
from pathlib import Path

folder = Path({folder!r})
name, arguments = {name!r}, sys.argv[1:]
with (folder / "calls").open("a") as file:
    print(json.dumps([name, *arguments]), file=file)
for number, argument in enumerate(arguments):
    if argument.endswith(".xml"):
        (folder / "task.xml").write_bytes(Path(argument).read_bytes())
if name == "systemctl" and "restart" in arguments and (folder / "unit").exists():
    # As systemd does: end what runs, then run what the unit says, with the environment that it says.
    if (folder / "pid").exists():
        pid = (folder / "pid").read_text()
        stat = Path("/proc", pid, "stat")
        try:
            os.kill(int(pid), signal.SIGTERM)
            while ") Z " not in stat.read_text():
                time.sleep(0.05)
        except (ProcessLookupError, FileNotFoundError):
            pass
    unit = Path((folder / "unit").read_text()).read_text()
    lines = re.findall("^Environment=(.*)$", unit, re.M)
    environment = dict(shlex.split(line)[0].split("=", 1) for line in lines)
    command = shlex.split(re.search("^ExecStart=(.*)$", unit, re.M)[1])
    kept = {{key: os.environ[key] for key in ("PATH", "HOME", "PYTHON_KEYRING_BACKEND")}}
    log = (folder / "log").open("a")
    environment = kept | environment
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    (folder / "pid").write_text(str(process.pid))
if name == "systemctl" and "disable" in arguments and (folder / "pid").exists():
    os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
answers = json.loads((folder / "answers").read_text())
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
        return [" ".join(json.loads(line)) for line in lines]

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
        (self._folder / "answers").write_text(json.dumps(self._answers), encoding="utf-8")
