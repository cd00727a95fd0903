"""Finds and runs a tunnel program, and keeps the note about it that other commands read."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

from callrail_relay.domain.tunnels import WAYS, Kind, Tunnel, TunnelState
from callrail_relay.errors import Unavailable
from callrail_relay.machine import leash, sentence
from callrail_relay.machine.notes import read_note, write_note

KEPT_LINES = 1000
COMMAND_WITHIN = 20.0  # seconds
_NOTE = "tunnel.json"
_OUR_OWN = "CALLRAIL"  # how the variables start that a tunnel program has no use for
_ELSEWHERE = {Kind.TAILSCALE: ("/Applications/Tailscale.app/Contents/MacOS/Tailscale",)}


def find_program(kind: Kind) -> str:
    """Return the program's path, as the service will need it. Raises Unavailable if it isn't installed."""
    for name in (kind, *_ELSEWHERE.get(kind, ())):
        if found := shutil.which(str(name)):
            return str(Path(found).absolute())
    raise Unavailable(sentence("not_installed", kind=kind, get=WAYS[kind].get))


class Program:
    """A program that runs until ``stop``, or the end of this process. *lines* is what it printed last."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> Self:
        own = {name: value for name, value in os.environ.items() if not name.upper().startswith(_OUR_OWN)}
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", leash.__file__, *command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=own | dict(environment),
                # Ctrl-C is for the relay, which stops it in turn.
                start_new_session=os.name == "posix",
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise Unavailable(sentence("program_fails", program=command[0], why=error.strerror)) from error
        return cls(process)

    @property
    def lines(self) -> Sequence[str]:
        return list(self._lines)

    @property
    def code(self) -> int | None:
        """Return its exit code, once it has ended and everything it printed is read."""
        return self._process.returncode if self._reading.done() else None

    async def wait(self, within: float) -> None:
        await asyncio.wait([self._reading], timeout=within)

    async def stop(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self.wait(leash.STOP_WITHIN * 2)
        if self.code is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _read(self) -> None:
        while self._process.stdout is not None:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # a line that is too long to mean anything
                continue
            if not line:
                break
            self._lines.append(line.decode(errors="replace").rstrip())
        await self._process.wait()


async def output(command: Sequence[str]) -> tuple[int | None, list[str]]:
    """Return the exit code and lines of a command; one that waits for a person is stopped, without a code."""
    program = await Program.start(command, {})
    await program.wait(COMMAND_WITHIN)
    code = program.code
    await program.stop()
    return code, list(program.lines)


def note_state(data: Path, state: TunnelState | None) -> None:
    """Note the state of the running relay's tunnel, or remove the note."""
    write_note(data / _NOTE, state and asdict(state))


def read_state(data: Path, *, since: int = 0) -> TunnelState | None:
    """Return the state noted last; None if the relay has no tunnel, or noted it before *since*."""
    try:
        found = read_note(data / _NOTE, since=since)
        return TunnelState(**(found | {"tunnel": Tunnel(**found["tunnel"])})) if found else None
    except (KeyError, TypeError):
        return None
