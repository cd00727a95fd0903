"""Plots of what came in, and what became of it."""

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
from callrail_relay.web.dashboard.words import say

BARS = {"24h": 24, "7d": 7, "30d": 30}
# From the bottom of a bar to its top; what is being sent counts as queued.
SERIES = (Status.SENT, Status.QUEUED, Status.HELD, Status.UNKNOWN, *ENDED[1:])


class Bar(NamedTuple):
    """One hour or day: what came in, what became of it, and how much is usual for that day of the week."""

    name: str
    tick: str
    counts: Counter[Status]
    link: str
    usual: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Bars side by side, oldest first, the scale's top, and how many have each status that occurs."""

    range: str
    bars: list[Bar]
    top: int
    totals: dict[Status, int]


def plot(wanted: str, arrivals: Sequence[Arrivals], now: datetime) -> Plot:
    """Return the plot of one of the ranges in BARS; of the last day for anything else."""
    range_ = wanted if wanted in BARS else "24h"
    hour = now.astimezone().replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    edges = [
        (hour - timedelta(hours=back)).astimezone() if range_ == "24h" else midnight(now, back)
        for back in range(BARS[range_] - 1, -2, -1)
    ]  # the last one is where the last bar ends
    counts = [Counter[Status]() for _ in edges]
    # Instants of one time zone are compared without asking what the clock showed.
    begins = [edge.astimezone(UTC) for edge in edges]
    for one in arrivals:
        if one.begins >= begins[0]:
            status = Status.QUEUED if one.status is Status.SENDING else one.status
            counts[bisect_right(begins, one.begins) - 1][status] += one.count
    means = _usual(arrivals, edges[:-1]) if range_ == "7d" else [None] * BARS[range_]
    bars = [
        Bar(*_labels(range_, begin, end, now), count, _link(range_, begin, end), mean)
        for begin, end, count, mean in zip(edges, edges[1:], counts, means, strict=False)
    ]
    totals = {status: sum(count[status] for count in counts) for status in SERIES}
    return Plot(
        range=range_,
        bars=bars,
        top=_nice(max(*(count.total() for count in counts), *(round(mean or 0) for mean in means))),
        totals={status: total for status, total in totals.items() if total},
    )


def _usual(arrivals: Sequence[Arrivals], edges: list[datetime]) -> list[float | None]:
    """Return the mean of the same day in the weeks before each, as far as those are known."""
    days = Counter[date]()
    for one in arrivals:
        days[one.begins.astimezone().date()] += one.count
    weeks = [[days[edge.date() - timedelta(weeks=back)] for back in (1, 2, 3)] for edge in edges]
    return [sum(counts) / len(counts) if any(counts) else None for counts in weeks]


def _labels(range_: str, begin: datetime, end: datetime, now: datetime) -> tuple[str, str]:
    """Return what a bar is called, and the words below it if they have room."""
    if range_ == "24h":
        hour = clock_time(begin)
        return f"{hour} to {clock_time(end)}", hour.replace(":00", "") if begin.hour % 3 == 0 else ""
    day = f"{begin:%b} {begin.day}"
    if begin.date() == now.astimezone().date():
        tick = say("today")
    elif range_ == "7d":
        tick = f"{begin:%a}"
    else:
        tick = day if begin.weekday() == 0 and begin < midnight(now, 2) else ""
    return f"{begin:%a}, {day}", tick


def midnight(now: datetime, days_ago: int = 0) -> datetime:
    # By date: a day may have 23 or 25 hours.
    day = now.astimezone().date() - timedelta(days=days_ago)
    return datetime.combine(day, time()).astimezone()


def _link(range_: str, begin: datetime, end: datetime) -> str:
    """Return the address of one bar's messages."""
    day = {"from": begin.date(), "to": begin.date()}
    # An hour by the clock: on a day of 25 hours, it shows one of them twice.
    since, until = begin.replace(tzinfo=None), end.replace(tzinfo=None)
    until = max(until, since + timedelta(hours=1))
    hour = {"from": f"{since:%Y-%m-%dT%H:%M}", "to": f"{until:%Y-%m-%dT%H:%M}"}
    return f"/texts?{urlencode(hour if range_ == '24h' else day)}"


def _nice(most: int) -> int:
    """Return a round number that isn't less than *most*, and can be halved."""
    size = 1
    while size * 10 < most:
        size *= 10
    return next(step * size for step in (2, 4, 10) if step * size >= most)
