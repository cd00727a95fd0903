"""Logs. Every line passes one redactor: phone numbers are masked, texts and keys never written."""

import io
import json
import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import structlog

from callrail_relay.clock import SystemClock
from callrail_relay.domain.events import Event, EventHook
from callrail_relay.domain.phone import mask_all
from callrail_relay.domain.printable import printable_line

LARGEST = 5_000_000
KEPT = 3
_REDACTED = "[not logged]"
_SECRETS = re.compile(r"(token=|/hooks/(?:if3|callrail)/)[^\s&]+")


class LogFile(io.TextIOBase):
    """Replaces standard error: a file of mode 0600 that rotates. On a full disk, a line is lost."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._handler = _Private(
            path, maxBytes=LARGEST, backupCount=KEPT, encoding=self.encoding, delay=True, errors=self.errors
        )
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, words: str) -> int:
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
        level = "error" if line.startswith("Error:") else "info"
        words = _SECRETS.sub(rf"\1{_REDACTED}", mask_all(line))
        now = SystemClock().now().isoformat()
        return json.dumps({"action": "said", "level": level, "timestamp": now, "words": words})


class _Private(RotatingFileHandler):
    def _open(self) -> io.TextIOWrapper:
        Path(self.baseFilename).touch(mode=0o600)
        return super()._open()

    def doRollover(self) -> None:  # noqa: N802 - logging's
        # On Windows another process may have the file open; then keep writing, and try again later.
        with suppress(OSError):
            super().doRollover()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        """Don't log the error: that would go to this very file."""


_NEVER_SHOWN = frozenset({"api_key", "authorization", "body", "content", "signing_key", "text", "token"})
# Ids: their digits can look like a phone number, and masked they're no use.
_NEVER_MASKED = frozenset({"account_id", "message_id", "resource_id", "submission_id"})


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send all logs to *stream* (standard error by default), from *level* on, as auto, pretty or json."""
    target = sys.stderr if stream is None else stream
    before: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.EventRenamer("action"),
        # Without the traceback, whose values may contain texts and numbers.
        structlog.processors.ExceptionRenderer(lambda failure: failure[0].__name__),
        redact,
    ]
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if form == "pretty" or (form == "auto" and target.isatty()):
        before.append(_made_printable)
        renderer = structlog.dev.ConsoleRenderer(colors=target.isatty(), event_key="action")
    structlog.configure(
        processors=[*before, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    # Libraries' logs pass the same redactor, from warnings on: below that, they print addresses.
    handler = logging.StreamHandler(target)
    formatter = structlog.stdlib.ProcessorFormatter
    processors = [formatter.remove_processors_meta, renderer]
    handler.setFormatter(formatter(foreign_pre_chain=before, processors=processors))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


Line = MutableMapping[str, Any]


def redact(_logger: object, _method: str, event: Line) -> Line:
    """Mask phone numbers in every value, and leave out what must never be in a log."""
    return {key: _redacted(value, key) for key, value in event.items()}


def _redacted(value: object, key: object = None) -> object:
    if key in _NEVER_SHOWN:
        return _REDACTED
    if isinstance(value, str):
        return value if key in _NEVER_MASKED else mask_all(value)
    if isinstance(value, dict):
        return {inner: _redacted(item, inner) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, int | float | None) else mask_all(str(value))


def _made_printable(_logger: object, _method: str, event: Line) -> Line:
    """Let nothing from outside control the terminal; JSON, and lists as Python writes them, can't."""
    return {key: printable_line(value) if isinstance(value, str) else value for key, value in event.items()}


def event_logger() -> EventHook:
    """Return a hook that writes each event as one line, as logging is configured now."""
    logger = structlog.get_logger("callrail_relay").bind()

    def log(event: Event) -> None:
        # A full disk, or a terminal or pipe that was closed, loses a line, and not what the line is about.
        with suppress(OSError):
            getattr(logger, event.level)(event.action, **vars(event))

    return log
