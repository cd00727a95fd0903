"""
Logs: one line for each event, pretty on a terminal, JSON everywhere else.

Everything passes one redactor: phone numbers are masked, and texts and keys are
never written, whoever logs them.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from callrail_relay.domain.events import Event, EventHook
from callrail_relay.domain.phone import mask_all

_NEVER_SHOWN = frozenset({"api_key", "authorization", "body", "content", "signing_key", "text", "token"})
_REDACTED = "[not logged]"


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """
    Send all logs to *stream* (standard error by default), from *level* on, as *form*: auto, pretty or json.
    """
    target = sys.stderr if stream is None else stream
    pretty = form == "pretty" or (form == "auto" and target.isatty())
    before: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=target.isatty())
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
    """
    Let what libraries log through the same redactor, from warnings on: below that they print addresses.
    """
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before, _without_traceback],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def _without_traceback(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """
    Name an exception and leave its traceback out: its values may hold texts and numbers.
    """
    failure = event.pop("exc_info", None)
    if isinstance(failure, tuple) and failure[0] is not None:
        event["exception"] = failure[0].__name__
    return event


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """
    Mask phone numbers in every value, and leave out what must never be in a log.
    """
    return {key: _REDACTED if key in _NEVER_SHOWN else _redacted(value) for key, value in event.items()}


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return mask_all(value)
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value


def event_logger() -> EventHook:
    """
    A hook that writes each event as one line.
    """
    logger = structlog.get_logger("callrail_relay")

    def log(event: Event) -> None:
        context = {key: _plain(value) for key, value in event.log_context().items()}
        getattr(logger, event.level)(event.action, action=event.action, **context)

    return log


def _plain(value: object) -> object:
    """
    A value as JSON can hold it.
    """
    return value if isinstance(value, str | int | list | tuple | None) else str(value)
