"""The budget: windows, limits, and when a queue is empty."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.account import DAY, HOUR, Limits, Window, drains_at

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hour_allowed", "day_allowed", "lowered"),
    [
        (None, None, Limits(150, 1000)),
        (100, None, Limits(100, 1000)),
        (None, 10, Limits(150, 10)),
        (500, 5000, Limits(150, 1000)),
        (0, 0, Limits(0, 0)),
    ],
)
def test_the_smaller_limit_holds(hour_allowed: int | None, day_allowed: int | None, lowered: Limits) -> None:
    """Of the setting and of what CallRail said."""
    assert lowered == Limits(150, 1000).lowered(hour_allowed=hour_allowed, day_allowed=day_allowed)


@pytest.mark.parametrize(
    ("used", "needed", "lacking"), [(0, 1, 0), (9, 1, 0), (10, 1, 1), (8, 3, 1), (12, 1, 3), (0, 11, 1)]
)
def test_a_window_tells_how_much_it_lacks(used: int, needed: int, lacking: int) -> None:
    """Also where more is used than allowed, as after CallRail lowered the limit."""
    assert lacking == Window(used, 10).lacks(needed)


def test_a_full_hour_and_a_full_day() -> None:
    """The stricter of the two decides."""
    counted = [NOW - timedelta(minutes=50), NOW - timedelta(minutes=10)]

    assert NOW + timedelta(minutes=10) == drains_at(NOW, pending=1, counted=counted, limits=Limits(2, 100))
    assert NOW + DAY - timedelta(minutes=50) == drains_at(
        NOW, pending=1, counted=counted, limits=Limits(100, 2)
    )


spans_ago = st.lists(st.integers(0, 24 * 60 * 2), max_size=12).map(sorted)


limits_of_both = st.builds(Limits, per_hour=st.integers(1, 5), per_day=st.integers(1, 9))


@given(minutes_ago=spans_ago, pending=st.integers(1, 12), limits=limits_of_both)
def test_no_window_is_passed_and_no_departure_could_be_earlier(
    minutes_ago: list[int], pending: int, limits: Limits
) -> None:
    """Against a simulation that looks at every minute at which something can change."""
    counted = _possible(minutes_ago, limits)

    departures = _simulate(counted, pending, limits)

    for length, allowed in ((HOUR, limits.per_hour), (DAY, limits.per_day)):
        everything = [*counted, *departures]
        for departure in departures:
            assert _within(everything, departure, length) <= allowed
    assert departures[-1] == drains_at(NOW, pending=pending, counted=counted, limits=limits)


@given(
    minutes_ago=st.lists(st.integers(0, 24 * 60), max_size=40).map(sorted),
    pending=st.integers(1, 300),
    limits=st.builds(Limits, per_hour=st.integers(1, 12), per_day=st.integers(1, 30)),
)
def test_a_long_queue_is_reckoned_as_step_by_step(
    minutes_ago: list[int], pending: int, limits: Limits
) -> None:
    """Also where others used more than the limits allow."""
    departures = counted = [NOW - timedelta(minutes=minutes) for minutes in reversed(minutes_ago)]
    for _ in range(pending):
        waits = [
            departures[-allowed] + length
            for allowed, length in ((limits.per_hour, HOUR), (limits.per_day, DAY))
            if len(departures) >= allowed
        ]
        departures = [*departures, max(NOW, *waits)] if waits else [*departures, NOW]

    assert departures[-1] == drains_at(NOW, pending=pending, counted=counted, limits=limits)


def test_a_queue_of_any_length_is_reckoned_at_once() -> None:
    """A thousand million texts at 1,000 a day, 150 in each hour: what repeats is not gone through."""
    drained = drains_at(NOW, pending=1_000_000_000, counted=[], limits=Limits(150, 1000))

    assert NOW + 999_999 * DAY + 6 * HOUR == drained


@given(minutes_ago=spans_ago, pending=st.integers(1, 12), limit=st.integers(1, 9))
def test_each_more_is_never_earlier(minutes_ago: list[int], pending: int, limit: int) -> None:
    """A longer queue does not drain sooner."""
    limits = Limits(limit, limit)
    counted = _possible(minutes_ago, limits)
    shorter = drains_at(NOW, pending=pending, counted=counted, limits=limits)
    longer = drains_at(NOW, pending=pending + 1, counted=counted, limits=limits)

    assert NOW <= shorter <= longer


def _possible(minutes_ago: list[int], limits: Limits) -> list[datetime]:
    """Earlier uses, oldest first, without those that would have passed a window."""
    counted: list[datetime] = []
    for instant in sorted(NOW - timedelta(minutes=minutes) for minutes in minutes_ago):
        if _fits(counted, instant, limits):
            counted.append(instant)
    return counted


def _simulate(counted: list[datetime], pending: int, limits: Limits) -> list[datetime]:
    """Departures in the plainest way: at each instant at which a use may run out, try."""
    uses = list(counted)
    departures: list[datetime] = []
    while len(departures) < pending:
        instants = sorted({NOW, *(use + length for use in uses for length in (HOUR, DAY))})
        latest = departures[-1] if departures else NOW
        departure = next(
            instant for instant in instants if instant >= latest and _fits(uses, instant, limits)
        )
        uses.append(departure)
        departures.append(departure)
    return departures


def _fits(uses: list[datetime], instant: datetime, limits: Limits) -> bool:
    return _within(uses, instant, HOUR) < limits.per_hour and _within(uses, instant, DAY) < limits.per_day


def _within(uses: list[datetime], instant: datetime, length: timedelta) -> int:
    return sum(instant - length < use <= instant for use in uses)
