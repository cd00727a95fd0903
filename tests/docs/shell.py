"""Running what a page tells its reader to type, and comparing what is shown with what the page shows."""

import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.docs.markdown import ROOT, Block

_END = "--- the command has ended ---"
_VARYING = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"token=[\w-]+"), "token=<token>"),
    (re.compile(r"conversation \w+\."), "conversation <conversation>."),
)


@dataclass(frozen=True)
class Step:
    """One command, and the lines that the page shows after it."""

    command: str
    shown: tuple[str, ...]

    def matches(self, output: str) -> bool:
        """Whether *output* is what the page shows; a line of three dots matches any lines, none included."""
        pattern = "".join(
            r"(.*\n)*" if line == "..." else re.escape(f"{line}\n") for line in _plain(self.shown)
        )
        return re.fullmatch(pattern, "".join(f"{line}\n" for line in _plain(output.splitlines()))) is not None


def steps(blocks: list[Block]) -> list[Step]:
    """
    The commands of console blocks: each begins with ``$``, and all lines up to the next one are its output.

    A command that ends with a backslash goes on in the next line.
    """
    found: list[Step] = []
    for line in (line for block in blocks for line in block.lines):
        if line.startswith("$ "):
            found.append(Step(line[2:], ()))
        elif found[-1].command.endswith("\\"):
            found[-1] = Step(f"{found[-1].command}\n{line}", ())
        else:
            found[-1] = Step(found[-1].command, (*found[-1].shown, line))
    return found


def _plain(lines: list[str] | tuple[str, ...]) -> Iterator[str]:
    for line in lines:
        for pattern, name in _VARYING:
            line = pattern.sub(name, line)  # noqa: PLW2901 - one pattern after the other
        yield line.rstrip()


def install(folder: Path) -> None:
    """Put a ``callrail-relay`` into *folder* that runs the code of this checkout."""
    folder.mkdir(parents=True)
    script = folder / "callrail-relay"
    script.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m callrail_relay "$@"\n', encoding="utf-8"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)


class Shell:
    """A bash that keeps its variables from one command to the next."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **environment},
        )
        self._staying: list[subprocess.Popen[str]] = []

    def run(self, command: str) -> str:
        """What a command shows, on both of its outputs."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null; echo; echo '{_END}'\n")
        self._bash.stdin.flush()
        lines = iter(self._bash.stdout.readline, f"{_END}\n")
        return "".join(lines).removesuffix("\n")

    def start(self, command: str, line_count: int) -> str:
        """The first lines of a command that stays."""
        words = [part.partition("=") for part in self.run("env -0").split("\0") if part]
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env={name: value for name, _, value in words},
        )
        self._staying.append(process)
        assert process.stdout is not None
        return "".join(process.stdout.readline() for _ in range(line_count))

    def close(self) -> None:
        """End everything, and see that what stayed ends as it should: with 0."""
        for process in reversed(self._staying):
            process.terminate()
            process.communicate()
            assert 0 == process.returncode, process.args
        self._bash.communicate()


@contextmanager
def open_shell(environment: Mapping[str, str]) -> Iterator[Shell]:
    shell = Shell(environment)
    try:
        yield shell
    finally:
        shell.close()
