"""Alerts in words."""

from datetime import UTC, datetime, timedelta

import pytest

from callrail_relay.domain.alerts import Code, Incident, Level, Parameters
from callrail_relay.domain.message import Reason
from callrail_relay.telemetry.alerts import alert_text, alert_title

AT = datetime(2026, 4, 8, 18, 14, tzinfo=UTC)
WHEN = f"{AT.astimezone():%I:%M %p}".lstrip("0") + f" on {AT.astimezone():%b} {AT.astimezone().day}"
LUNCH = Reason("by_hand", {"note": "Lunch."}).document()
LIMIT: Parameters = {
    "account": "ACC1",
    "window": "hour",
    "used": 75,
    "allowed": 150,
    "threshold": 50,
    "free_at": "",
}
PARAMETERS: dict[Code, Parameters] = {
    Code.PAUSED: {
        "account": "ACC1",
        "since": AT.isoformat(),
        "reason": Reason("by_hand", {"note": "Lunch."}).document(),
    },
    Code.UNREACHABLE: {"account": "ACC1"},
    Code.PUBLIC_URL: {"url": "https://texts.example.com", "detail": "It doesn't answer."},
    Code.LIMIT: LIMIT,
    Code.REVIEW: {"held": 2, "unknown": 1, "oldest": AT.isoformat(), "until": AT.isoformat()},
    Code.FAILURES: {"count": 5},
    Code.DISK: {"machine": "office", "free_bytes": 100 * 1024**2},
    Code.DATABASE: {"since": AT.isoformat(), "detail": "It is locked."},
    Code.WEEKLY: {
        "since": AT.isoformat(),
        "sent": 1412,
        "lost": 0,
        "doubled": 1,
        "reviewed": 3,
        "waiting": 2,
    },
}


def text(code: Code, *, level: Level = Level.ERROR, **changes: object) -> str:
    parameters = {**PARAMETERS[code], **changes}
    return alert_text([Incident(key=code, level=level, parameters=parameters, opened_at=AT)])


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.WEEKLY])
def test_every_code_has_a_sentence_for_its_begin_and_its_end(code: Code) -> None:
    assert text(code).endswith(".")
    assert text(code, level=Level.OVER).startswith("Resolved: ")
    assert "{" not in text(code) + text(code, level=Level.OVER)


def test_a_pause_names_its_reason_and_the_way_out() -> None:
    """Once, and no phone number that is in the reason."""
    assert text(Code.PAUSED) == (
        f"Sending is paused for account ACC1 since {WHEN}. Lunch. Run `callrail-relay resume` to continue."
    )
    words = text(Code.PAUSED, reason=Reason("by_hand", {"note": "+12025550122 asked for it."}).document())
    assert 1 == words.count("callrail-relay resume")
    assert "2025550122" not in words


def test_a_summary_has_its_figures_in_the_title_and_says_what_waits() -> None:
    summary = Incident(
        key=Code.WEEKLY, level=Level.INFO, parameters=PARAMETERS[Code.WEEKLY], opened_at=AT, told_at=AT
    )
    assert "callrail-relay: 1,412 sent, 0 lost, 3 reviewed" == alert_title([summary], Level.INFO)
    assert text(Code.WEEKLY, level=Level.INFO) == (
        f"Since {WHEN}: 1,412 sent, 0 lost, 1 duplicate, 3 reviewed. 2 messages need your review now."
    )


def test_a_limit_that_is_reached_says_when_the_next_message_is_sent() -> None:
    assert "Account ACC1 has used 50% of its hourly limit (75 of 150 messages)." == text(Code.LIMIT)
    assert text(Code.LIMIT, used=150, free_at=AT.isoformat()).endswith(f"the next one is sent at {WHEN}.")
    assert "has room in its daily limit" in text(Code.LIMIT, level=Level.OVER, window="day")


@pytest.mark.parametrize(
    ("held", "unknown", "words"),
    [
        (1, 0, "1 message needs your review (1 on hold) since"),
        (2, 0, "2 messages need your review (2 on hold) since"),
        (1, 1, "2 messages need your review (1 on hold, 1 unconfirmed) since"),
    ],
)
def test_messages_that_wait_are_counted(held: int, unknown: int, words: str) -> None:
    assert text(Code.REVIEW, held=held, unknown=unknown).startswith(words)


def test_what_is_over_comes_last() -> None:
    ended = Incident(key="unreachable:ACC1", level=Level.OVER, parameters={"account": "ACC1"}, opened_at=AT)
    begun = Incident(
        key="failures", level=Level.ERROR, parameters={"count": 1}, opened_at=AT + timedelta(minutes=1)
    )

    first, last = alert_text([ended, begun]).split("\n\n")
    assert first.startswith("1 message failed")
    assert last.startswith("Resolved: ")
