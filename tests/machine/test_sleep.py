import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from callrail_relay.errors import Unavailable
from callrail_relay.machine import sleep
from callrail_relay.machine.sleep import KeepAwake

if sys.platform == "win32":
    pytest.skip("Windows needs no program for it", allow_module_level=True)

CHILD = """\
from callrail_relay.machine.sleep import KeepAwake
keep = KeepAwake()
keep.hold()
print(keep.holder.pid, flush=True)
input()
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of the system's own: it notes that it runs, and runs the rest of its command."""
    program = tmp_path / "holder"
    program.write_text(f'#!/bin/sh\necho held >> {tmp_path}/held\nexec "$2"\n')
    program.chmod(0o755)
    monkeypatch.setitem(sleep.HOLDERS, sys.platform, (str(program), "-i"))
    return program


@pytest.mark.usefixtures("program")
def test_computer_is_held_awake_once_and_let_go() -> None:
    with closing(KeepAwake()) as keep_awake:
        keep_awake.hold()
        holder = keep_awake.holder
        keep_awake.hold()
        assert holder is keep_awake.holder
        assert holder is not None
        assert holder.poll() is None

    assert 0 == holder.returncode


@pytest.mark.parametrize("words", ["Failed to inhibit: Access denied", ""])
def test_refusal_is_told_with_its_remedy(program: Path, words: str) -> None:
    """And tried again."""
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    with closing(KeepAwake()) as keep_awake:
        keep_awake.hold()
        assert keep_awake.holder is not None
        keep_awake.holder.wait()

        with pytest.raises(Unavailable, match=f"{words}.* Turn sleep off in the system's settings"):
            keep_awake.hold()
        keep_awake.hold()


def test_missing_program_is_told(program: Path) -> None:
    program.unlink()

    with closing(KeepAwake()) as keep_awake, pytest.raises(Unavailable, match="can't be kept awake"):
        keep_awake.hold()


@pytest.mark.skipif(sys.platform != "linux", reason="The process is looked up in /proc")
def test_killed_relay_lets_the_computer_sleep(tmp_path: Path) -> None:
    """The system's program ends with it, however it ends."""
    child = f"from callrail_relay.machine import sleep\nsleep.HOLDERS['linux'] = ('/usr/bin/env',)\n{CHILD}"
    with subprocess.Popen(
        [sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        holder = Path("/proc", process.stdout.readline().strip())
        assert holder.exists()
        process.kill()
    for _ in range(1000):
        if not holder.exists() or ") Z " in (holder / "stat").read_text():
            return
        subprocess.run(["sleep", "0.01"], check=True)
    pytest.fail("It goes on.")
