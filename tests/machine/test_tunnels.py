"""Tunnel programs run for real: what they print, how they end, and that none outlives the relay."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from callrail_relay.domain.tunnels import Kind, Tunnel, TunnelState
from callrail_relay.errors import Unavailable
from callrail_relay.machine.tunnels import Program, find_program, note_state, output, read_state

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are scripts for a shell"),
]


def script(folder: Path, words: str, name: str = "program") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{words}\n")
    path.chmod(0o755)
    return str(path)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 30
    while is_alive(pid):
        assert time.monotonic() < end
        time.sleep(0.05)


async def test_its_words_and_its_end_are_known(tmp_path: Path) -> None:
    """What goes to either stream, also a line that is too long to mean anything."""
    program = script(tmp_path, "echo one; echo two >&2; head -c 200000 /dev/zero; echo; echo 'three'; exit 3")
    code, lines = await output([program])
    assert 3 == code
    assert ["one", "two", "three"] == [line for line in lines if 0 < len(line) < 100]


async def test_it_gets_its_token_and_no_secret_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLRAIL_API_KEY", "test-key-0123456789")
    monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", "test-token-0123456789")
    program = await Program.start([script(tmp_path, "env")], {"TUNNEL_TOKEN": "t"})
    await program.wait(30)
    assert "TUNNEL_TOKEN=t" in program.lines
    assert not [line for line in program.lines if line.startswith("CALLRAIL")]


async def test_it_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = await Program.start([script(tmp_path, "echo $$; exec sleep 600")], {})
    while not program.lines:
        await program.wait(0.05)
    assert program.code is None
    await program.stop()
    wait_until_gone(int(program.lines[0]))


async def test_a_command_that_waits_for_a_person_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it said is kept: it names the page to open."""
    monkeypatch.setattr("callrail_relay.machine.tunnels.COMMAND_WITHIN", 0.5)
    code, lines = await output([script(tmp_path, "echo 'To enable, visit: x'; exec sleep 600")])
    assert (None, ["To enable, visit: x"]) == (code, lines)


def test_it_ends_when_the_relay_is_killed(tmp_path: Path) -> None:
    """Otherwise it would hold its port against the one that the next relay starts."""
    program = script(tmp_path, f'echo $$ > "{tmp_path}/pid"; exec sleep 600')
    code = (
        "import asyncio, sys\n"
        "from callrail_relay.machine.tunnels import Program\n"
        "async def main():\n"
        "    await Program.start([sys.argv[1]], {})\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, program]) as relay_process:
        end = time.monotonic() + 30
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert time.monotonic() < end
            time.sleep(0.05)
        pid = int((tmp_path / "pid").read_text())
        assert is_alive(pid)
        relay_process.send_signal(signal.SIGKILL)
    wait_until_gone(pid)


def test_a_program_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    program = script(tmp_path, "trap '' TERM; echo up; while :; do sleep 0.1; done")
    ends = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from callrail_relay.machine import leash; leash.STOP_WITHIN = 0.3; leash.main([{program!r}])",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert ends.stdin is not None
    assert ends.stdout is not None
    assert b"up\n" == ends.stdout.readline()
    ends.stdin.close()
    ends.wait(30)
    ends.stdout.close()


async def test_a_program_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name when it was never installed; when it was removed later, by its path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="ngrok isn't installed"):
        find_program(Kind.NGROK)
    script(tmp_path, "true", name="ngrok")
    assert str(tmp_path / "ngrok") == find_program(Kind.NGROK)
    code, lines = await output([str(tmp_path / "gone")])
    assert 127 == code
    assert "can't be run: No such file or directory" in lines[0]


async def test_the_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    tunnel = Tunnel(kind=Kind.SSH, program="ssh", target="relay@vps", remote_port=8787)
    state = TunnelState(tunnel=tunnel, running=True, address="https://texts.example.com")
    assert read_state(tmp_path) is None
    note_state(tmp_path, state)
    assert state == read_state(tmp_path)
    assert 0o600 == stat.S_IMODE((tmp_path / "tunnel.json").stat().st_mode)
    assert read_state(tmp_path, since=time.time_ns() + 10**12) is None
    (tmp_path / "tunnel.json").write_text("{}")
    assert read_state(tmp_path) is None
    note_state(tmp_path, None)
    note_state(tmp_path, None)
    note_state(tmp_path / "missing", state)
    assert [] == list(tmp_path.glob("tunnel*"))
