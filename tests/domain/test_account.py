"""Accounts: pauses, waits, and what CallRail's headers say of the limits."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.account import Account
from callrail_relay.domain.message import Reason
from callrail_relay.domain.outcome import Usage

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
WELL = Account(id="ACC1")
HOLIDAYS, REFUSED = Reason("by_hand", {"note": "Holidays."}), Reason("unauthorized")
LIMITED, UNREACHABLE = Reason("rate_limited"), Reason("unreachable")


def test_a_pause_keeps_its_first_instant_and_its_latest_reason() -> None:
    """Since when nothing is sent, and what to do about it now."""
    account = WELL.paused(NOW, HOLIDAYS).paused(LATER, REFUSED)

    assert (NOW, REFUSED) == (account.paused_since, account.paused_reason)


def test_resuming_forgets_the_pause_and_the_wait() -> None:
    """What CallRail said of the limits stays."""
    known = Account(id="ACC1", hour_allowed=100, max_characters=140)

    assert known == known.waiting(NOW, LATER, LIMITED).paused(NOW, HOLIDAYS).resumed()


def test_a_wait_is_a_strike() -> None:
    """The next one after it is another."""
    once = WELL.waiting(NOW, LATER, LIMITED)
    twice = once.waiting(LATER, LATER + timedelta(minutes=2), LIMITED)

    assert (1, LATER, LIMITED) == (once.strikes, once.wait_until, once.wait_reason)
    assert (2, LATER + timedelta(minutes=2)) == (twice.strikes, twice.wait_until)


def test_refusals_during_a_wait_are_the_same_strike() -> None:
    """The longest of the waits holds, with its reason."""
    waiting = WELL.waiting(NOW, LATER, LIMITED)
    longer = waiting.waiting(NOW, LATER + timedelta(minutes=1), UNREACHABLE)

    assert waiting == waiting.waiting(NOW, LATER - timedelta(seconds=1), UNREACHABLE)
    assert (1, LATER + timedelta(minutes=1), UNREACHABLE) == (
        longer.strikes,
        longer.wait_until,
        longer.wait_reason,
    )


def test_a_wait_is_over_at_its_instant() -> None:
    """From then on one probe may go; the strike is not forgotten before it has passed."""
    waiting = WELL.waiting(NOW, LATER, LIMITED)

    assert (True, False) == (waiting.waits(NOW), waiting.waits(LATER))
    assert not WELL.waits(NOW)
    assert (0, 1) == (waiting.strikes_before(NOW), waiting.strikes_before(LATER))


def test_an_answer_ends_a_wait_that_is_over() -> None:
    """One that goes on stays: the answer is to an earlier request."""
    waiting = WELL.waiting(NOW, LATER, LIMITED)

    assert waiting == waiting.answered(NOW)
    assert WELL == waiting.answered(LATER)


def corrected(usage: Usage, *, hour_used: int = 5, day_used: int = 20, account: Account = WELL) -> Account:
    return account.corrected(usage, hour_used=hour_used, day_used=day_used, now=NOW)


def test_another_programs_uses_are_the_excess() -> None:
    """What CallRail counts and we did not send."""
    account = corrected(Usage(hour_used=8, day_used=50))

    assert (3, 30, NOW) == (account.hour_excess, account.day_excess, account.excess_at)


@given(
    hour=st.integers(0, 300), day=st.integers(0, 2000), ours=st.integers(0, 300), our_day=st.integers(0, 2000)
)
def test_a_smaller_count_than_ours_is_not_believed(hour: int, day: int, ours: int, our_day: int) -> None:
    """Together with our own uses, the count is the larger of the two."""
    account = corrected(Usage(hour_used=hour, day_used=day), hour_used=ours, day_used=our_day)

    assert max(hour, ours) == ours + account.hour_excess
    assert max(day, our_day) == our_day + account.day_excess


def test_the_latest_count_replaces_the_one_before() -> None:
    """It holds what the other programs did until now."""
    before = Account(id="ACC1", hour_excess=9, day_excess=9, excess_at=NOW - timedelta(minutes=5))

    account = corrected(Usage(hour_used=6, day_used=20), account=before)

    assert (1, 0, NOW) == (account.hour_excess, account.day_excess, account.excess_at)


@pytest.mark.parametrize(
    ("usage", "hour", "day"),
    [
        (Usage(hour_allowed=100, day_allowed=500), 100, 500),
        (Usage(hour_allowed=100), 100, 1000),
        (Usage(day_allowed=500), 150, 500),
        (Usage(), 150, 1000),
    ],
)
def test_a_header_that_is_absent_changes_nothing(usage: Usage, hour: int, day: int) -> None:
    """What an earlier answer said of the limits and of the count stays."""
    before = Account(
        id="ACC1", hour_allowed=150, day_allowed=1000, hour_excess=2, day_excess=3, excess_at=NOW - DAY
    )

    account = corrected(usage, account=before)

    assert (hour, day) == (account.hour_allowed, account.day_allowed)
    assert (2, 3, NOW - DAY) == (account.hour_excess, account.day_excess, account.excess_at)


def test_one_count_alone_says_nothing_of_the_other_window() -> None:
    """The other window has no excess that is known."""
    hour_only = corrected(Usage(hour_used=8))
    day_only = corrected(Usage(day_used=21))

    assert (3, 0) == (hour_only.hour_excess, hour_only.day_excess)
    assert (0, 1) == (day_only.hour_excess, day_only.day_excess)


DAY = timedelta(days=1)
