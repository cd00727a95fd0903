"""Plots of what came in, and of what became of it."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from callrail_relay.domain.message import ENDED, Status
from callrail_relay.domain.views import Arrivals
from callrail_relay.sentences import clock_time
from callrail_relay.web.dashboard.words import WORDS, say

RANGES: dict[str, str] = WORDS["ranges"]
HOURS = 24
DAYS = 30
WEEK = 7
SERIES = (Status.SENT, Status.QUEUED, Status.HELD, Status.UNKNOWN, *ENDED[1:])
"""From the bottom of a bar to its top; what is being sent counts as queued."""


class Bar(NamedTuple):
    """One hour or day: what came in, what became of it, and how much usually comes then."""

    name: str
    tick: str
    counts: Counter[Status]
    link: str
    usual: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Bars side by side, oldest first, the scale's top, and how many there are of each status that occurs."""

    range: str
    title: str
    unit: str
    bars: list[Bar]
    top: int
    totals: dict[Status, int]

    @property
    def total(self) -> int:
        return sum(self.totals.values())


def plot(wanted: str, arrivals: Sequence[Arrivals], now: datetime) -> Plot:
    """The plot of one of RANGES; of the last day for anything else."""
    return {"30d": last_days, "7d": last_week}.get(wanted, last_hours)(arrivals, now)


def last_hours(arrivals: Sequence[Arrivals], now: datetime) -> Plot:
    hour = now.astimezone().replace(minute=0, second=0, microsecond=0)
    edges = [hour - timedelta(hours=back) for back in reversed(range(-1, HOURS))]
    ticks = [clock_time(edge).replace(":00", "") if edge.hour % 3 == 0 else "" for edge in edges]
    names = [f"{clock_time(edge)} to {clock_time(edge + timedelta(hours=1))}" for edge in edges]
    return _plot("24h", "Hour", arrivals, edges, names, ticks)


def last_days(arrivals: Sequence[Arrivals], now: datetime) -> Plot:
    edges = [midnight(now, back) for back in reversed(range(-1, DAYS))]
    ticks = [f"{edge:%b} {edge.day}" if edge.weekday() == 0 else "" for edge in edges]
    return _plot("30d", "Day", arrivals, edges, _days(edges), [*ticks[:-4], "", "", say("today"), ""])


def last_week(arrivals: Sequence[Arrivals], now: datetime) -> Plot:
    """Each day beside the mean of the same day in the weeks before, as far as those are known."""
    edges = [midnight(now, back) for back in reversed(range(-1, WEEK))]
    ticks = [f"{edge:%a}" for edge in edges[:-2]]
    days = Counter[date]()
    for one in arrivals:
        days[one.begins.astimezone().date()] += one.count
    weeks = [[days[edge.date() - timedelta(weeks=back)] for back in (1, 2, 3)] for edge in edges[:-1]]
    usual = [sum(counts) / len(counts) if any(counts) else None for counts in weeks]
    return _plot("7d", "Day", arrivals, edges, _days(edges), [*ticks, say("today"), ""], usual)


def _days(edges: list[datetime]) -> list[str]:
    return [f"{edge:%a}, {edge:%b} {edge.day}" for edge in edges]


def midnight(now: datetime, days_ago: int = 0) -> datetime:
    # By the date: a day may have 23 or 25 hours.
    day = now.astimezone().date() - timedelta(days=days_ago)
    return datetime.combine(day, time()).astimezone()


def _plot(
    range_: str,
    unit: str,
    arrivals: Sequence[Arrivals],
    edges: list[datetime],
    names: list[str],
    ticks: list[str],
    usual: Sequence[float | None] = (),
) -> Plot:
    """The last of *edges* is where the last bar ends."""
    counts = [Counter[Status]() for _ in edges]
    # Instants of one time zone are compared without asking what the clock showed.
    begins = [edge.astimezone(UTC) for edge in edges]
    for one in arrivals:
        if one.begins >= begins[0]:
            status = Status.QUEUED if one.status is Status.SENDING else one.status
            counts[bisect_right(begins, one.begins) - 1][status] += one.count
    means = [*usual, *[None] * (len(edges) - len(usual))]
    top = _nice(max([*(count.total() for count in counts), *(round(one or 0) for one in means)]))
    bars = [
        Bar(name, tick, count, _link(begin, end, unit), mean)
        for name, tick, count, mean, begin, end in zip(
            names[:-1], ticks[:-1], counts, means, edges, edges[1:], strict=False
        )
    ]
    totals = {status: sum(count[status] for count in counts) for status in SERIES}
    occur = {status: total for status, total in totals.items() if total}
    return Plot(
        range=range_, title=say("range", range=RANGES[range_]), unit=unit, bars=bars, top=top, totals=occur
    )


def _link(begin: datetime, end: datetime, unit: str) -> str:
    """The messages of one bar."""
    day = {"from": begin.date(), "to": begin.date()}
    hour = {"from": f"{begin:%Y-%m-%dT%H:%M}", "to": f"{end:%Y-%m-%dT%H:%M}"}
    return f"/texts?{urlencode(day if unit == 'Day' else hour)}"


def _nice(most: int) -> int:
    """A round number that is not less than *most*, and can be halved."""
    size = 1
    while size * 10 < most:
        size *= 10
    return next(step * size for step in (2, 4, 10) if step * size >= most)
