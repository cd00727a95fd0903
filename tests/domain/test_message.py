"""Messages: instants as programs read them, and what is open."""

from datetime import UTC, datetime, timedelta, timezone

from callrail_relay.domain.message import OPEN, Reason, Status, instant

NOW = datetime(2026, 3, 2, 15, 0, 0, 123456, tzinfo=UTC)
TOLD = "2026-03-02T15:00:00.123Z"


def test_instants_are_told_in_utc_to_the_millisecond() -> None:
    """Ending in Z."""
    assert instant(None) is None
    assert TOLD == instant(NOW)
    assert "2026-03-02T15:00:00.000Z" == instant(NOW.replace(microsecond=0))
    assert "+00:00" not in str(instant(NOW.astimezone(timezone(timedelta()))))


def test_what_is_open_is_what_delivery_works_on() -> None:
    """Everything else is settled, or waits for a person."""
    assert {Status.QUEUED, Status.SENDING} == set(OPEN)


def test_a_reason_without_what_was_typed_keeps_the_rest() -> None:
    """Phone numbers and words are removed after the retention time."""
    typed = Reason("maybe_opted_out", {"words": "go away", "written_at": TOLD})

    assert Reason("maybe_opted_out", {"written_at": TOLD}) == typed.without_typed()
    assert len({Reason("a", {"b": 1}), Reason("a", {"b": 1})}) == 1
