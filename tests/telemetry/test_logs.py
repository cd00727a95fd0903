"""Log lines: what each event becomes, and what is in none of them."""

import errno
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain import events
from callrail_relay.domain.events import (
    AccountPaused,
    AccountWaits,
    AttemptFinished,
    AttemptStarted,
    Event,
    LateResult,
    MessageAccepted,
    MessageHeld,
    PingReceived,
    StoreFailed,
    ignore,
)
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.telemetry import logs
from tests.support.clock import START
from tests.support.factories import ACCOUNT, RECIPIENT

# Its groups of digits look like phone numbers.
MESSAGE_ID = "01995f5e-1234-7123-8123-123456789012"

SAMPLES: list[Event] = [
    MessageAccepted(
        message_id=MESSAGE_ID, submission_id=MESSAGE_ID, status=Status.HELD, reasons=("duplicate", "bulk")
    ),
    PingReceived(),
    AttemptStarted(message_id=MESSAGE_ID, account_id=ACCOUNT, position=1),
    AttemptFinished(
        message_id=MESSAGE_ID,
        account_id="123456789",
        position=2,
        outcome=OutcomeKind.UNKNOWN,
        http_status=None,
        status=Status.UNKNOWN,
    ),
    LateResult(message_id=MESSAGE_ID, outcome=OutcomeKind.SENT),
    MessageHeld(message_id=MESSAGE_ID, reasons=("too_old",)),
    AccountPaused(account_id=ACCOUNT, reason="CallRail refused the key."),
    AccountWaits(account_id=ACCOUNT, until=START, reason="CallRail's rate limit is reached (429)."),
    StoreFailed(reason="The store is locked.", retry_in=timedelta(seconds=1)),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Other tests, and pytest itself, get their logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def configured(level: str = "debug", form: str = "json", stream: io.StringIO | None = None) -> io.StringIO:
    stream = stream or io.StringIO()
    logs.configure(level, form, stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def logged(event: Event) -> dict[str, Any]:
    stream = configured()
    logs.event_logger()(event)
    [line] = lines(stream)
    return line


# --- events ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.action)
def test_event_is_one_line_with_all_that_it_holds(event: Event) -> None:
    """Its name, its level, the time, and each of its fields."""
    line = logged(event)

    assert event.action == line["action"]
    assert event.level == line["level"]
    assert line["timestamp"].endswith("Z")
    assert {field.name for field in fields(event)} <= set(line)


def test_every_event_has_a_name_of_its_own_and_a_level() -> None:
    """A new event is logged like the others."""
    kinds = [
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
    ]

    assert len(kinds) == len({kind.action for kind in kinds})
    assert "event" not in {kind.action for kind in kinds}
    assert {kind.default_level for kind in kinds} <= {"debug", "info", "warning", "error"}
    assert {type(event) for event in SAMPLES} <= set(kinds)


def test_values_are_as_programs_read_them() -> None:
    """Ids whole, instants in ISO 8601, lists as lists, nothing as null."""
    accepted, finished, waits = logged(SAMPLES[0]), logged(SAMPLES[3]), logged(SAMPLES[7])

    assert MESSAGE_ID == accepted["message_id"] == accepted["submission_id"]
    assert ["duplicate", "bulk"] == accepted["reasons"]
    assert "held" == accepted["status"]
    assert (2, None, "Unknown", "123456789") == (
        finished["position"],
        finished["http_status"],
        finished["outcome"],
        finished["account_id"],
    )
    assert START.isoformat() == waits["until"]
    assert "0:00:01" == logged(SAMPLES[8])["retry_in"]


def test_nobody_may_want_to_know() -> None:
    """The hook that does nothing takes every event."""
    for event in SAMPLES:
        ignore(event)


@pytest.mark.parametrize(("level", "seen"), [("debug", 9), ("info", 8), ("warning", 5), ("error", 2)])
def test_level_decides_what_is_written(level: str, seen: int) -> None:
    """From the level on, and louder."""
    stream = configured(level)
    for event in SAMPLES:
        logs.event_logger()(event)

    assert seen == len(lines(stream))


# --- form ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "stream", "pretty"),
    [
        ("auto", Terminal(), True),
        ("auto", io.StringIO(), False),
        ("pretty", io.StringIO(), True),
        ("json", Terminal(), False),
    ],
)
def test_form_follows_the_terminal_or_the_setting(form: str, stream: io.StringIO, *, pretty: bool) -> None:
    """Pretty for people, JSON for programs; colours for a terminal alone."""
    configured(form=form, stream=stream)
    logs.event_logger()(SAMPLES[0])

    written = stream.getvalue()
    assert pretty != written.startswith("{")
    assert (pretty and stream.isatty()) == ("\x1b[" in written)
    assert "message_accepted" in written
    assert MESSAGE_ID in written


def test_logs_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is for results."""
    logs.configure("info", "auto")
    logs.event_logger()(SAMPLES[0])

    written = capsys.readouterr()
    assert "" == written.out
    assert "message_accepted" == json.loads(written.err)["action"]


def test_second_configuration_takes_the_place_of_the_first() -> None:
    """Nothing is written twice."""
    first, second = configured(), configured()
    logs.event_logger()(SAMPLES[0])
    logging.getLogger("somebody").warning("Words")

    assert "" == first.getvalue()
    assert 2 == len(lines(second))


class Full(io.StringIO):
    def write(self, _words: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


class Closed(io.StringIO):
    def write(self, _words: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("stream", [Full(), Closed()])
@pytest.mark.parametrize("form", ["json", "pretty"])
def test_a_line_that_cannot_be_written_is_lost_and_nothing_else(form: str, stream: io.StringIO) -> None:
    """Whoever had something to report goes on."""
    configured(form=form, stream=stream)
    for event in SAMPLES:
        logs.event_logger()(event)


# --- what is never written -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "pretty"])
@pytest.mark.parametrize(
    "number", [RECIPIENT, "2025550122", "(202) 555-0122", "1-202-555-0122", "202.555.0122", "+1 202 555 0122"]
)
def test_phones_are_masked_whoever_logs_them(form: str, number: str) -> None:
    """In a value, a list, a table, in the words of a library, and in the name of the event."""
    stream = configured(form=form)
    logger = structlog.get_logger("callrail_relay")
    name = f"called {number}"
    logger.info(name, reason=f"call {number} now", all=[number, {"who": number}], pair=(number,))
    logging.getLogger("library").warning("no answer from %s", number)

    written = stream.getvalue()
    assert number not in written
    assert "5550122" not in written.replace("-", "").replace(".", "").replace(" ", "")
    assert "22" in written


@pytest.mark.parametrize(
    "key", ["api_key", "authorization", "body", "content", "signing_key", "text", "token"]
)
@pytest.mark.parametrize("form", ["json", "pretty"])
def test_texts_and_keys_are_not_written(key: str, form: str) -> None:
    """Whatever they are called with, at whatever depth."""
    stream = configured(form=form)
    logger = structlog.get_logger("callrail_relay")
    logger.warning("x", **{key: "secret words"})
    logger.warning("x", inner={key: "secret words", "deeper": [{key: "secret words"}]})

    assert "secret" not in stream.getvalue()
    assert 3 == stream.getvalue().count("[not logged]")


@given(st.text(), st.from_regex(r"[2-9][0-9]{2}[2-9][0-9]{6}", fullmatch=True))
def test_no_value_shows_a_number(words: str, number: str) -> None:
    """Wherever it is in a sentence."""
    value = f"{words} +1{number} {words}"
    redacted = logs.redact(None, "info", {"reason": value, "list": [value]})

    assert f"+1{number}" not in str(redacted)


def test_numbers_that_are_no_phones_stay() -> None:
    """Counts, statuses and instants are what a log is for."""
    event = {
        "count": 12345678901,
        "status": 503,
        "at": "2026-03-02T15:00:00.000000Z",
        "ok": True,
        "none": None,
    }

    assert event == logs.redact(None, "info", dict(event))


# --- libraries and exceptions ----------------------------------------------------------------------------


def test_libraries_are_heard_from_warnings_on() -> None:
    """Below that they print addresses, and with them perhaps the webhook's secret."""
    stream = configured("debug")
    library = logging.getLogger("httpx2")
    library.debug("GET /hooks/if3/secret")
    library.info("HTTP Request: POST /hooks/if3/secret")
    library.warning("Something is %s", "odd")

    [line] = lines(stream)
    assert ("Something is odd", "warning") == (line["action"], line["level"])
    assert line["timestamp"].endswith("Z")


def fail(words: str) -> None:
    raise ValueError(words)


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_exceptions_are_named_without_their_values(form: str) -> None:
    """A traceback shows lines and values, and those may be a person's."""
    stream = configured(form=form)
    try:
        fail("words to " + RECIPIENT)
    except ValueError as error:
        logging.getLogger("library").exception("It broke")
        logging.getLogger("library").log(logging.ERROR, "It broke", exc_info=error)
        structlog.get_logger("callrail_relay").exception("ours")
        structlog.get_logger("callrail_relay").error("ours", exc_info=error)

    written = stream.getvalue()
    assert 4 == written.count("ValueError")
    assert "words" not in written
    assert "Traceback" not in written
    assert "raise" not in written


def test_exception_that_is_none_is_nothing() -> None:
    """``exc_info`` without an exception adds no field."""
    stream = configured()
    logging.getLogger("library").error("Words", exc_info=(None, None, None))
    structlog.get_logger("callrail_relay").error("words", exc_info=True)
    structlog.get_logger("callrail_relay").error("words", exc_info=False)

    assert not any("exception" in line or "exc_info" in line for line in lines(stream))


def test_extra_values_of_libraries_are_not_written() -> None:
    """Only their words are."""
    stream = configured()
    logging.getLogger("library").warning("Words", extra={"token": "secret", "url": "secret"})

    assert "secret" not in stream.getvalue()


def test_warnings_of_python_stay_what_they_are() -> None:
    """Configuring logs does not silence or raise them."""
    configured()
    with pytest.warns(UserWarning, match="odd"):
        warnings.warn("odd", UserWarning, stacklevel=1)
