"""
Logs: one line for each event, pretty on a terminal, JSON everywhere else.

Everything passes one redactor: phone numbers are masked, and texts and keys are
never written, whoever logs them.
"""

import logging
import sys
from collections.abc import MutableMapping
from datetime import datetime
from typing import Any, TextIO

import structlog

from callrail_relay.domain.events import Event, EventHook
from callrail_relay.domain.phone import mask_all
from callrail_relay.domain.printable import printable_line

_LEVELS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}

_NEVER_SHOWN = frozenset({"api_key", "authorization", "body", "content", "signing_key", "text", "token"})
_REDACTED = "[not logged]"

# Ids of our own and of CallRail: their digits can look like a phone number, and masked they find nothing.
_NEVER_MASKED = frozenset({"account_id", "message_id", "resource_id", "submission_id"})


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """
    Send all logs to *stream* (standard error by default), from *level* on, as *form*: auto, pretty or json.
    """
    target = sys.stderr if stream is None else stream
    pretty = form == "pretty" or (form == "auto" and target.isatty())
    before: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.EventRenamer("action"),
        _without_traceback,
        redact,
    ]
    if pretty:
        before.append(_made_printable)
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=target.isatty(), event_key="action")
        if pretty
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*before, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    _configure_libraries(target, before, renderer)


def _configure_libraries(
    target: TextIO, before: list[structlog.typing.Processor], renderer: structlog.typing.Processor
) -> None:
    """Let what libraries log through the same redactor, from warnings on: below that they print addresses."""
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def _without_traceback(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Name an exception and leave its traceback out: its values may hold texts and numbers."""
    failure = event.pop("exc_info", None)
    if failure is True:
        failure = sys.exc_info()
    if isinstance(failure, tuple):
        failure = failure[1]
    if failure:
        event["exception"] = type(failure).__name__
    return event


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
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
    return value


def _made_printable(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """
    Let nothing from outside steer the terminal. JSON, and lists as Python writes them, do so by themselves.
    """
    return {key: printable_line(value) if isinstance(value, str) else value for key, value in event.items()}


def event_logger() -> EventHook:
    """A hook that writes each event as one line, by the configuration of now."""
    logger = structlog.get_logger("callrail_relay").bind()

    def log(event: Event) -> None:
        level = event.level
        # Asked first: most lines are for debugging, and putting one together takes its time.
        if logger.is_enabled_for(_LEVELS[level]):
            context = {key: _plain(value) for key, value in event.log_context().items()}
            getattr(logger, level)(event.action, **context)

    return log


def _plain(value: object) -> object:
    """A value as JSON can hold it."""
    if isinstance(value, datetime):
        # With a T between date and time it does not look like a phone number.
        return value.isoformat()
    return value if isinstance(value, str | int | list | tuple | None) else str(value)
