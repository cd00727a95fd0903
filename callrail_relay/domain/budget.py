"""
What the hour and the day still allow for one account.

CallRail takes 150 texts an hour and 1,000 a day per account; whether its
windows are rolling or fixed is not documented, so they are taken as rolling,
which is the stricter of the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """Texts that may leave in any hour and in any day."""

    per_hour: int
    per_day: int

    def lowered(self, *, hour_allowed: int | None, day_allowed: int | None) -> "Limits":
        """These limits, or CallRail's own where those are smaller."""
        return Limits(
            per_hour=self.per_hour if hour_allowed is None else min(self.per_hour, hour_allowed),
            per_day=self.per_day if day_allowed is None else min(self.per_day, day_allowed),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """
    One window of an account's budget: what is used of what is allowed.

    ``free_at`` is the instant at which the next text fits, and None while one fits now.
    """

    used: int
    allowed: int
    free_at: datetime | None = None

    @property
    def room(self) -> int:
        """How many more fit now."""
        return max(0, self.allowed - self.used)

    def lacks(self, needed: int) -> int:
        """How many uses have to run out before *needed* more fit; 0 when they fit now."""
        return max(0, self.used + needed - self.allowed)


def drains_at(now: datetime, *, pending: int, counted: Sequence[datetime], limits: Limits) -> datetime | None:
    """
    When the last of *pending* segments can leave, if each leaves as early as both windows allow.

    *counted* holds the instants that still count, oldest first. None when nothing is pending or nothing
    is allowed.
    """
    if pending <= 0 or min(limits.per_hour, limits.per_day) <= 0:
        return None
    at_once = min(pending, _room(now, counted, limits))
    departures = [*counted, *[now] * at_once]
    left, alike, rounds = pending - at_once, 0, 0
    allowed, length = max(_windows(limits), key=lambda window: window[1] / window[0])
    while left:
        departure = _next_departure(now, departures, limits)
        repeats = len(departures) >= allowed and departure == departures[-allowed] + length
        alike = alike + 1 if repeats else 0
        departures.append(departure)
        left -= 1
        if alike == max(limits.per_hour, limits.per_day):
            # Each departure follows from as many before it, so from here on all of them repeat.
            rounds, left = divmod(left, allowed)
    return departures[-1] + rounds * length


def _windows(limits: Limits) -> tuple[tuple[int, timedelta], ...]:
    return (limits.per_hour, HOUR), (limits.per_day, DAY)


def _room(now: datetime, counted: Sequence[datetime], limits: Limits) -> int:
    """How many more fit into both windows at *now*."""
    used = [sum(instant > now - length for instant in counted) for _, length in _windows(limits)]
    return max(0, min(limits.per_hour - used[0], limits.per_day - used[1]))


def _next_departure(now: datetime, departures: list[datetime], limits: Limits) -> datetime:
    earliest = now
    for allowed, length in _windows(limits):
        if len(departures) >= allowed:
            earliest = max(earliest, departures[-allowed] + length)
    return earliest
