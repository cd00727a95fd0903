"""The log of a program without a console, as Windows' Task Scheduler and pythonw start it."""

import io
import json
import logging
import os
import re
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from callrail_relay.clock import SystemClock
from callrail_relay.domain.phone import mask_all

LARGEST = 5_000_000
KEPT = 3

_SECRETS = re.compile(r"(token=|/hooks/(?:if3|callrail)/)[^\s&]+")


class LogFile(io.TextIOBase):
    """
    Takes the place of standard error: each line goes to a file of mode 0600, which rotates.

    A line of JSON stays as it is; what is said to people becomes one. When the file can't be written, such as
    on a full disk, the line is lost and the program goes on.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._handler = _Private(path, maxBytes=LARGEST, backupCount=KEPT, encoding=self.encoding, delay=True)
        self._clock = SystemClock()
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, words: str) -> int:
        if not isinstance(words, str):
            raise TypeError("A log takes text")
        *lines, self._rest = (self._rest + words).split("\n")
        for line in lines:
            if line.strip():
                self._handler.handle(logging.makeLogRecord({"msg": self._as_json(line)}))
        return len(words)

    def close(self) -> None:
        self._handler.close()
        super().close()

    def _as_json(self, line: str) -> str:
        if line.startswith("{"):
            return line
        return json.dumps(
            {
                "action": "said",
                "level": "error" if line.startswith("Error:") else "info",
                "timestamp": self._clock.now().isoformat(),
                "words": _SECRETS.sub(r"\1[not logged]", mask_all(line)),
            }
        )


class _Private(RotatingFileHandler):
    def _open(self) -> io.TextIOWrapper:
        opened = open(  # noqa: SIM115 - with an opener, and for as long as the handler lives
            self.baseFilename,
            self.mode,
            encoding=self.encoding,
            errors="backslashreplace",
            opener=lambda path, flags: os.open(path, flags, 0o600),
        )
        assert isinstance(opened, io.TextIOWrapper)  # noqa: S101 - what a text mode opens
        return opened

    def doRollover(self) -> None:  # noqa: N802 - logging's
        # On Windows another process may have the file open: then this one writes on, and tries again later.
        with suppress(OSError):
            super().doRollover()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        """Where logging would tell of it is this very file."""


def open_log_file(path: Path) -> TextIO:
    log: TextIO = LogFile(path)  # type: ignore[assignment]  # a text stream in all that is used of one
    return log
