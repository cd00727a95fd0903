"""Plots of what came in, as bars for a template to draw."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from callrail_relay.domain.message import Status
from callrail_relay.domain.views import Arrivals
from callrail_relay.web.dashboard.words import clock_time, plural

HOURS = 24
DAYS = 30
HEIGHT = 100
"""Of the drawing; the page gives it its size."""

SERIES = {
    "sent": (Status.SENT,),
    "waiting": (Status.QUEUED, Status.SENDING),
    "held": (Status.HELD,),
    "unknown": (Status.UNKNOWN,),
    "failed": (Status.FAILED,),
    "cancelled": (Status.CANCELLED,),
}
"""From the bottom of a bar to its top."""

NAMES = {
    "sent": "Sent",
    "waiting": "Queued",
    "held": "Held",
    "unknown": "Unknown",
    "failed": "Failed",
    "cancelled": "Cancelled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One colour of a bar, in units of HEIGHT from the top."""

    series: str
    y: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """
    One hour or day: what came in, and what became of it. ``tick`` is written under it, where it is not empty.
    """

    place: int
    name: str
    tick: str
    counts: dict[str, int]
    pieces: tuple[Piece, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def words(self) -> str:
        """The bar for whoever points at it: 2 pm to 3 pm: 3 texts (2 sent, 1 held)."""
        parts = ", ".join(f"{count} {NAMES[name].lower()}" for name, count in self.counts.items() if count)
        return f"{self.name}: {plural(self.total, 'text')} ({parts})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Bars side by side, oldest first, the scale's top, and the series that occur."""

    id: str
    title: str
    unit: str
    bars: tuple[Bar, ...]
    top: int
    series: tuple[str, ...]

    @property
    def names(self) -> dict[str, str]:
        """What the series are called."""
        return {name: NAMES[name] for name in self.series}

    @property
    def totals(self) -> dict[str, int]:
        return {name: sum(bar.counts.get(name, 0) for bar in self.bars) for name in self.series}

    @property
    def total(self) -> int:
        return sum(bar.total for bar in self.bars)


def begin(now: datetime) -> datetime:
    """The beginning of the first day that is shown."""
    return _midnight(now, DAYS - 1)


def last_hours(arrivals: Sequence[Arrivals], now: datetime) -> Plot:
    hour = now.astimezone().replace(minute=0, second=0, microsecond=0)
    edges = [hour - timedelta(hours=back) for back in reversed(range(HOURS))]
    ticks = [clock_time(edge).replace(":00", "") if edge.hour % 6 == 0 else "" for edge in edges]
    names = [f"{clock_time(edge)} to {clock_time(edge + timedelta(hours=1))}" for edge in edges]
    return _plot("hours", "The last 24 hours", "Hour", arrivals, edges, names, ticks)


def last_days(arrivals: Sequence[Arrivals], now: datetime) -> Plot:
    edges = [_midnight(now, back) for back in reversed(range(DAYS))]
    names = [f"{edge:%a}, {edge:%b} {edge.day}" for edge in edges]
    ticks = [f"{edge:%b} {edge.day}" if edge.weekday() == 0 else "" for edge in edges]
    return _plot("days", "The last 30 days", "Day", arrivals, edges, names, ticks)


def _midnight(now: datetime, days_ago: int) -> datetime:
    # By the date, since a day of 23 or 25 hours is a day as well.
    day = now.astimezone().date() - timedelta(days=days_ago)
    return datetime.combine(day, time()).astimezone()


def _plot(
    id_: str,
    title: str,
    unit: str,
    arrivals: Iterable[Arrivals],
    edges: Sequence[datetime],
    names: Sequence[str],
    ticks: Sequence[str],
) -> Plot:
    counts = [Counter[str]() for _ in edges]
    of_status = {status: series for series, statuses in SERIES.items() for status in statuses}
    # Instants of one time zone are compared without asking what the clock showed.
    begins = [edge.astimezone(UTC) for edge in edges]
    first = begins[0]
    for one in arrivals:
        # Most of a month's arrivals came in before the first hour of a day.
        if one.begins >= first:
            counts[bisect_right(begins, one.begins) - 1][of_status[one.status]] += one.count
    top = _nice(max((count.total() for count in counts), default=0))
    bars = tuple(
        Bar(place=place, name=name, tick=tick, counts=dict(count), pieces=_pieces(count, top))
        for place, (name, tick, count) in enumerate(zip(names, _fitting(ticks), counts, strict=True))
    )
    shown = tuple(name for name in SERIES if any(count[name] for count in counts))
    return Plot(id=id_, title=title, unit=unit, bars=bars, top=top, series=shown)


def _fitting(ticks: Sequence[str]) -> list[str]:
    """The ticks without those that would stand out at the right end."""
    return [tick if place < len(ticks) - 3 else "" for place, tick in enumerate(ticks)]


def _pieces(counts: Counter[str], top: int) -> tuple[Piece, ...]:
    pieces, below = [], 0
    for name in SERIES:
        if counts[name]:
            height = counts[name] * HEIGHT / top
            below += counts[name]
            pieces.append(
                Piece(series=name, y=round(HEIGHT - below * HEIGHT / top, 2), height=round(height, 2))
            )
    return tuple(pieces)


def _nice(most: int) -> int:
    """A round number that is not less than *most*, and can be halved."""
    size = 1
    while True:
        for step in (2, 4, 10):
            if step * size >= most:
                return step * size
        size *= 10
