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
    """
    Texts that may leave in any hour and in any day.
    """

    per_hour: int
    per_day: int

    def lowered(self, *, hour_allowed: int | None, day_allowed: int | None) -> "Limits":
        """
        These limits, or CallRail's own where those are smaller.
        """
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

    def lacks(self, needed: int) -> int:
        """
        How many uses have to run out before *needed* more fit; 0 when they fit now.
        """
        return max(0, self.used + needed - self.allowed)


def drains_at(now: datetime, *, pending: int, counted: Sequence[datetime], limits: Limits) -> datetime | None:
    """
    When the last of *pending* segments can leave, if each leaves as early as both windows allow.

    *counted* holds the instants that still count, oldest first. None when nothing is pending or nothing
    is allowed.
    """
    if pending <= 0 or min(limits.per_hour, limits.per_day) <= 0:
        return None
    departures = list(counted)
    for _ in range(pending):
        departures.append(_next_departure(now, departures, limits))
    return departures[-1]


def _next_departure(now: datetime, departures: list[datetime], limits: Limits) -> datetime:
    earliest = now
    for allowed, length in ((limits.per_hour, HOUR), (limits.per_day, DAY)):
        if len(departures) >= allowed:
            earliest = max(earliest, departures[-allowed] + length)
    return earliest
