"""The first page: the verdict, what waits for a person, limits, and plots of what came in."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.clock import Clock
from callrail_relay.domain.account import DAY, HOUR
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.health import Code, Facts, Level, PublicUrl, judge
from callrail_relay.domain.health import Point as CheckResult
from callrail_relay.domain.message import Status
from callrail_relay.domain.views import Arrivals, OldestUse, Waiting
from callrail_relay.sentences import clock_time, plural
from callrail_relay.service.overview import History
from callrail_relay.web.auth import Session
from callrail_relay.web.dashboard.actions import allowed
from callrail_relay.web.dashboard.frame import Examiner, Frame
from callrail_relay.web.dashboard.words import at, sentence, when

SeenUrl = Callable[[], PublicUrl | None]
"""Gives the public URL with the result of its last check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One window of the budget. ``frees_at`` is when the oldest use ends."""

    name: str
    used: int
    allowed: int
    free_at: datetime | None
    frees_at: datetime | None

    @property
    def left(self) -> int:
        return max(0, self.allowed - self.used)

    @property
    def percent(self) -> float:
        return min(100.0, 100 * self.used / self.allowed) if self.allowed else 100.0

    @property
    def level(self) -> str:
        if not self.left:
            return "full"
        return "nearly" if self.percent >= 80 else "fine"


NO_USE = OldestUse(hour=None, day=None)


class NowPage:
    def __init__(
        self, frame: Frame, history: History, examiner: Examiner, clock: Clock, public_url: SeenUrl
    ) -> None:
        self._frame = frame
        self._history = history
        self._examiner = examiner
        self._clock = clock
        self._public_url = public_url

    async def show(self, request: Request, session: Session) -> Response:
        report = await self._history.now(begin(self._clock.now()))
        now = report.overview.now
        examined = self._examiner.latest()
        failed = [] if examined is None else examined.report.failed_checks()
        facts = replace(report.facts, failed_checks=failed, public_url=self._public_url())
        return await self._frame.draw(
            request,
            session,
            "now.html",
            now=now,
            waiting=report.overview.waiting,
            for_person=report.overview.waiting.for_person,
            verdict=render(facts),
            queue=queue_words(facts),
            running=running_words(facts),
            standings=facts.standings,
            gauges={
                one.account.id: _gauges(one, report.overview.oldest.get(one.account.id, NO_USE))
                for one in facts.standings
            },
            plots=[last_hours(report.overview.arrivals, now), last_days(report.overview.arrivals, now)],
            allowed=allowed,
        )


def _gauges(standing: AccountStatus, oldest: OldestUse) -> list[Gauge]:
    return [
        Gauge(
            name=name,
            used=window.used,
            allowed=window.allowed,
            free_at=window.free_at,
            frees_at=None if oldest_at is None else oldest_at + length,
        )
        for name, window, oldest_at, length in (
            ("hour", standing.hour, oldest.hour, HOUR),
            ("day", standing.day, oldest.day, DAY),
        )
    ]


HOURS = 24
DAYS = 30
HEIGHT = 100

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
    "held": "On hold",
    "unknown": "Unconfirmed",
    "failed": "Failed",
    "cancelled": "Canceled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One color of a bar, in units of HEIGHT from the top."""

    series: str
    y: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One hour or day: what came in, and what became of it. ``tick`` is written under it."""

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
        """The bar's tooltip: 2 PM to 3 PM: 3 texts (2 sent, 1 on hold)."""
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
        return {name: NAMES[name] for name in self.series}

    @property
    def totals(self) -> dict[str, int]:
        return {name: sum(bar.counts.get(name, 0) for bar in self.bars) for name in self.series}

    @property
    def total(self) -> int:
        return sum(bar.total for bar in self.bars)


def begin(now: datetime) -> datetime:
    """The start of the first day that is shown."""
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
    # By the date: a day may have 23 or 25 hours.
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
    for one in arrivals:
        if one.begins >= begins[0]:
            counts[bisect_right(begins, one.begins) - 1][of_status[one.status]] += one.count
    top = _nice(max((count.total() for count in counts), default=0))
    # The last ticks would stand out at the right end.
    ticks = [*ticks[:-3], "", "", ""]
    bars = tuple(
        Bar(place=place, name=name, tick=tick, counts=dict(count), pieces=_pieces(count, top))
        for place, (name, tick, count) in enumerate(zip(names, ticks, counts, strict=True))
    )
    shown = tuple(name for name in SERIES if any(count[name] for count in counts))
    return Plot(id=id_, title=title, unit=unit, bars=bars, top=top, series=shown)


def _pieces(counts: Counter[str], top: int) -> tuple[Piece, ...]:
    pieces, below = [], 0
    for name in SERIES:
        if counts[name]:
            height = counts[name] * HEIGHT / top
            below += counts[name]
            y = round(HEIGHT - below * HEIGHT / top, 2)
            pieces.append(Piece(series=name, y=y, height=round(height, 2)))
    return tuple(pieces)


def _nice(most: int) -> int:
    """A round number that is not less than *most*, and can be halved."""
    size = 1
    while size * 10 < most:
        size *= 10
    return next(step * size for step in (2, 4, 10) if step * size >= most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing to know: a sentence, a detail, and a link. ``resume`` is an account to be resumed."""

    level: Level
    words: str
    detail: str = ""
    link: str | None = None
    link_words: str | None = None
    resume: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    head: Point
    others: tuple[Point, ...] = ()


def render(facts: Facts) -> Verdict:
    head, *others = (_point(finding, facts) for finding in judge(facts))
    return Verdict(head=head, others=tuple(others))


def queue_words(facts: Facts) -> str:
    """How many messages are in the queue, and when the last of them can be sent."""
    queued = facts.waiting.queued
    if not queued:
        return "Nothing is in the queue."
    count = f"{plural(queued, 'message')} {'is' if queued == 1 else 'are'} in the queue"
    if facts.drains_at is None:
        return f"{count}."
    if (facts.drains_at - facts.now).total_seconds() < 60:
        return f"{count}; it will be empty within a minute."
    return f"{count}; it will be empty by about {when(facts.drains_at, facts.now)}."


def running_words(facts: Facts) -> str:
    """Since when the relay has been running, and on which servers if there are several."""
    nodes = facts.running.nodes
    since = [when(node.since, facts.now) for node in nodes]
    if len(nodes) > 1:
        shown = ", ".join(f"{node.name} since {time}" for node, time in zip(nodes, since, strict=True))
        return f"Running on {len(nodes)} servers: {shown}."
    return "".join(f"Running since {time}." for time in since if time)


SENTENCES = {
    Code.NOT_SET_UP: ("Nothing is set up yet.", "Run `callrail-relay configure` on the relay's computer."),
    Code.NOT_RUNNING: (
        "No relay is running.",
        "No messages are received or sent. Start it with `callrail-relay serve`.",
    ),
    Code.CHECK_FAILED: ("Problem: {name}", "{detail}"),
    Code.PAUSED: (
        "Sending{whose} is paused.",
        "{detail} New messages are saved and will go out when you resume.",
    ),
    Code.UNREACHABLE: (
        "Problem: no connection to CallRail{whose}",
        "Messages are saved, and the relay keeps trying.",
    ),
    Code.NOT_REACHABLE_FROM_OUTSIDE: ("Problem: the public URL", "{detail}"),
    Code.PUBLIC_URL_UNCHECKED: ("The public URL isn't confirmed yet", "{detail}"),
    Code.NEEDS_REVIEW: ("{messages} {need} your review", "{kinds}"),
    Code.WAITS: ("Sending{whose} waits until {time}.", "{detail}"),
    Code.DAY_FULL: ("Daily limit{whose} reached ({count:,})", "Sending resumes {at}."),
    Code.HOUR_FULL: ("Hourly limit{whose} reached ({count:,})", "Sending resumes {at}."),
    Code.NOT_CONNECTED: ("Connecting to CallRail{whose}…", "It isn't known yet whether CallRail answers."),
    Code.LOOKED_UP: ("Checking with CallRail whether {messages} went out", "No action needed yet."),
    Code.SCHEDULED: ("{messages} scheduled for the morning (quiet hours)", ""),
    Code.WELL: ("All is well.", "{queue}"),
}

_CHECKS, _LIMITS = ("/setup", "See all checks"), ("#budget", "See the limits")
_LINKS = {
    Code.CHECK_FAILED: _CHECKS,
    Code.UNREACHABLE: _CHECKS,
    Code.NOT_REACHABLE_FROM_OUTSIDE: _CHECKS,
    Code.PAUSED: ("#budget", "See the account"),
    Code.NEEDS_REVIEW: ("#waiting", "Review"),
    Code.DAY_FULL: _LIMITS,
    Code.HOUR_FULL: _LIMITS,
    Code.SCHEDULED: ("/texts?status=held", "See them"),
}


def _point(finding: CheckResult, facts: Facts) -> Point:
    if finding.code is Code.WELL and not facts.any_texts:
        return Point(
            level=finding.level,
            words="All is well.",
            detail="No message has come in yet. Setup shows how to connect IF3.",
            link="/setup",
            link_words="Go to Setup",
        )
    parameters = {
        "name": finding.name,
        "detail": sentence(finding.reason, facts.now) if finding.reason else finding.detail,
        "count": finding.count,
        "messages": plural(finding.count, "message"),
        "need": "needs" if finding.count == 1 else "need",
        "kinds": _kinds(facts.waiting),
        "whose": "" if len(facts.standings) == 1 else f" from account {finding.account_id}",
        "time": when(finding.at, facts.now),
        "at": "" if finding.at is None else at(finding.at, facts.now),
        "queue": queue_words(facts) if finding.count else "All messages sent. Nothing in the queue.",
    }
    words, detail = (Markup(text).format(**parameters).strip() for text in SENTENCES[finding.code])  # noqa: S704 - ours
    link, link_words = _LINKS.get(finding.code, (None, None))
    return Point(
        level=finding.level,
        words=words,
        detail=detail,
        link=link,
        link_words=link_words,
        resume=finding.account_id if finding.code is Code.PAUSED else None,
    )


def _kinds(waiting: Waiting) -> str:
    kinds = (
        (waiting.held, "on hold"),
        (waiting.unknown, "unconfirmed"),
        (waiting.failed, "failed in the last 24 hours"),
    )
    return " · ".join(f"{bucket.count:,} {words}" for bucket, words in kinds if bucket.count)
