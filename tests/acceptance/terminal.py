"""The program on a terminal, as a person has it."""

import os
import sys
import time
from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest

from tests.acceptance.program import LONGEST, Program
from tests.support.warm import Running

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo terminals for programs like pexpect", allow_module_level=True)

import termios

import pexpect  # type: ignore[import-untyped]  # it has no annotations
from pexpect.fdpexpect import fdspawn  # type: ignore[import-untyped]  # as above

BEFORE_TYPING = 0.05
"""Seconds after a question: a person is not faster."""


class Terminal:
    """A command on a terminal, and everything that was ever to be seen there."""

    def __init__(
        self,
        program: Program,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        rows: int = 24,
        columns: int = 80,
    ) -> None:
        environment = program.environment | dict(env or {})
        self._process: Running | None = None
        self._seen = StringIO()
        self._child: Any
        if program.warm:
            ours, theirs = os.openpty()
            termios.tcsetwinsize(theirs, (rows, columns))
            self._process = Running(arguments, environment, program.folder, theirs, theirs, theirs)
            os.close(theirs)
            self._child = fdspawn(ours, encoding="utf-8", timeout=LONGEST)
        else:
            self._child = pexpect.spawn(
                sys.executable,
                ["-m", "callrail_relay", *arguments],
                env=environment,
                cwd=str(program.folder),
                encoding="utf-8",
                timeout=LONGEST,
                dimensions=(rows, columns),
            )
        self._child.logfile_read = self._seen

    def expect(self, *words: str) -> None:
        """Return when all of these were shown, one after the other."""
        for one in words:
            self._child.expect_exact(one)

    def find(self, pattern: str) -> str:
        """What the group of *pattern* matches, as soon as it is shown."""
        self._child.expect(pattern)
        return str(self._child.match[1])

    def press(self, *keys: str) -> None:
        time.sleep(BEFORE_TYPING)
        self._child.send("".join(keys))

    def end(self) -> tuple[int, str]:
        """Wait for the end of the command; return its exit code, and all that was seen."""
        self._child.expect(pexpect.EOF)
        if self._process is None:
            self._child.close()
            return self._child.exitstatus, self._seen.getvalue()
        with self._process:
            code = self._process.wait(LONGEST)
        self._child.close()
        return code, self._seen.getvalue()
