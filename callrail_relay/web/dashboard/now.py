"""The first page: the verdict, what waits for a person, limits, and plots of what came in."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

from markupsafe import Markup
from starlette.responses import Response

from callrail_relay.domain.account import DAY, HOUR, Window
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.health import Code, Facts, Level, judge
from callrail_relay.domain.health import Point as Finding
from callrail_relay.domain.message import ENDED, Status
from callrail_relay.domain.views import Arrivals, OldestUse, Waiting
from callrail_relay.sentences import asleep, clock_time, of_point, plural, seen_lately
from callrail_relay.web.dashboard.actions import allowed
from callrail_relay.web.dashboard.frame import Visit
from callrail_relay.web.dashboard.words import sentence, when


async def show(visit: Visit) -> Response:
    dashboard = visit.dashboard
    facts, overview = await dashboard.history.now(_midnight(dashboard.clock.now(), DAYS - 1))
    examined = dashboard.examiner.latest()
    failed = [] if examined is None else examined.report.failed_checks()
    facts = replace(facts, failed_checks=failed, public_url=dashboard.public_url())
    return await visit.draw(
        "now.html",
        now=overview.now,
        waiting=overview.waiting,
        for_person=overview.waiting.for_person,
        points=render(facts),
        queue=queue_words(facts),
        running=running_words(facts),
        lately=seen_lately(facts, lambda at: when(at, facts.now)),
        standings=[(one.account, _gauges(one, overview.oldest)) for one in facts.standings],
        plots=[last_hours(overview.arrivals, overview.now), last_days(overview.arrivals, overview.now)],
        allowed=allowed,
    )


NO_USE = OldestUse(hour=None, day=None)


class Gauge(NamedTuple):
    """One window of the budget, and when its oldest use ends."""

    span: str
    window: Window
    frees_at: datetime | None

    @property
    def percent(self) -> float:
        return min(100.0, 100 * self.window.used / self.window.allowed) if self.window.allowed else 100.0


def _gauges(standing: AccountStatus, oldest: Mapping[str, OldestUse]) -> list[Gauge]:
    use = oldest.get(standing.account.id, NO_USE)
    return [
        Gauge("60 minutes", standing.hour, use.hour and use.hour + HOUR),
        Gauge("24 hours", standing.day, use.day and use.day + DAY),
    ]


HOURS = 24
DAYS = 30
HEIGHT = 100
SERIES = (Status.SENT, Status.QUEUED, Status.HELD, Status.UNKNOWN, *ENDED[1:])
"""From the bottom of a bar to its top; what is being sent counts as queued."""


class Piece(NamedTuple):
    """One color of a bar, in units of HEIGHT from the top."""

    status: Status
    y: float
    height: float


class Bar(NamedTuple):
    """One hour or day: what came in, and what became of it. ``tick`` is written under it."""

    name: str
    tick: str
    counts: Counter[Status]
    pieces: list[Piece]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Bars side by side, oldest first, the scale's top, and how many there are of each status that occurs."""

    title: str
    unit: str
    bars: list[Bar]
    top: int
    totals: dict[Status, int]

    @property
    def total(self) -> int:
        return sum(self.totals.values())


def last_hours(arrivals: Sequence[Arrivals], now: datetime) -> Plot:
    hour = now.astimezone().replace(minute=0, second=0, microsecond=0)
    edges = [hour - timedelta(hours=back) for back in reversed(range(HOURS))]
    ticks = [clock_time(edge).replace(":00", "") if edge.hour % 6 == 0 else "" for edge in edges]
    names = [f"{clock_time(edge)} to {clock_time(edge + timedelta(hours=1))}" for edge in edges]
    return _plot("The last 24 hours", "Hour", arrivals, edges, names, ticks)


def last_days(arrivals: Sequence[Arrivals], now: datetime) -> Plot:
    edges = [_midnight(now, back) for back in reversed(range(DAYS))]
    names = [f"{edge:%a}, {edge:%b} {edge.day}" for edge in edges]
    ticks = [f"{edge:%b} {edge.day}" if edge.weekday() == 0 else "" for edge in edges]
    return _plot("The last 30 days", "Day", arrivals, edges, names, ticks)


def _midnight(now: datetime, days_ago: int) -> datetime:
    # By the date: a day may have 23 or 25 hours.
    day = now.astimezone().date() - timedelta(days=days_ago)
    return datetime.combine(day, time()).astimezone()


def _plot(
    title: str,
    unit: str,
    arrivals: Sequence[Arrivals],
    edges: list[datetime],
    names: list[str],
    ticks: list[str],
) -> Plot:
    counts = [Counter[Status]() for _ in edges]
    # Instants of one time zone are compared without asking what the clock showed.
    begins = [edge.astimezone(UTC) for edge in edges]
    for one in arrivals:
        if one.begins >= begins[0]:
            status = Status.QUEUED if one.status is Status.SENDING else one.status
            counts[bisect_right(begins, one.begins) - 1][status] += one.count
    top = _nice(max(count.total() for count in counts))
    # The last ticks would stand out at the right end.
    ticks = [*ticks[:-3], "", "", ""]
    bars = [
        Bar(name, tick, count, _pieces(count, top))
        for name, tick, count in zip(names, ticks, counts, strict=True)
    ]
    totals = {status: sum(count[status] for count in counts) for status in SERIES}
    occur = {status: total for status, total in totals.items() if total}
    return Plot(title=title, unit=unit, bars=bars, top=top, totals=occur)


def _pieces(counts: Counter[Status], top: int) -> list[Piece]:
    pieces, below = [], 0
    for status in SERIES:
        if counts[status]:
            below += counts[status]
            y, height = HEIGHT - below * HEIGHT / top, counts[status] * HEIGHT / top
            pieces.append(Piece(status, round(y, 2), round(height, 2)))
    return pieces


def _nice(most: int) -> int:
    """A round number that is not less than *most*, and can be halved."""
    size = 1
    while size * 10 < most:
        size *= 10
    return next(step * size for step in (2, 4, 10) if step * size >= most)


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to know: a sentence, a detail, and a link. ``resume`` is an account to be resumed."""

    words: str
    detail: str = ""
    link: str = ""
    link_words: str = ""
    level: Level = Level.WELL
    resume: str = ""


_CHECKS = ("/setup", "See all checks")
_LIMITS = ("#budget", "See the limits")
SENTENCES = {
    Code.NOT_SET_UP: Point(
        "Nothing is set up yet.", "Run `callrail-relay configure` on the relay's computer."
    ),
    Code.NOT_RUNNING: Point(
        "No relay is running.",
        "No messages are received or sent. Start it with `callrail-relay serve`.",
    ),
    Code.CHECK_FAILED: Point("Problem: {name}", "{detail}", *_CHECKS),
    Code.PAUSED: Point(
        "Sending{whose} is paused.",
        "{detail} New messages are saved and will go out when you resume.",
        "#budget",
        "See the account",
    ),
    Code.UNREACHABLE: Point(
        "Problem: no connection to CallRail{whose}",
        "Messages are saved, and the relay keeps trying.",
        *_CHECKS,
    ),
    Code.NOT_REACHABLE_FROM_OUTSIDE: Point("Problem: the public URL", "{detail}", *_CHECKS),
    Code.PUBLIC_URL_UNCHECKED: Point("The public URL isn't confirmed yet", "{detail}"),
    Code.NEEDS_REVIEW: Point("{messages} {need} your review", "{kinds}", "#waiting", "Review"),
    Code.SHADOW: Point("Shadow mode", "Since {time} requests are passed on to {name}, and nothing is sent."),
    Code.WAITS: Point("Sending{whose} waits until {time}.", "{detail}"),
    Code.DAY_FULL: Point("Daily limit{whose} reached ({count:,})", "Sending resumes {at}.", *_LIMITS),
    Code.HOUR_FULL: Point("Hourly limit{whose} reached ({count:,})", "Sending resumes {at}.", *_LIMITS),
    Code.NOT_CONNECTED: Point(
        "Connecting to CallRail{whose}…", "It isn't known yet whether CallRail answers."
    ),
    Code.LOOKED_UP: Point("Checking with CallRail whether {messages} went out", "No action needed yet."),
    Code.SCHEDULED: Point(
        "{messages} scheduled for the morning (quiet hours)", "", "/texts?status=held", "See them"
    ),
    Code.WELL: Point("All is well.", "{queue}"),
}
_NO_TEXTS = Point(
    "All is well.",
    "No message has come in yet. Setup shows how to connect IF3.",
    "/setup",
    "Go to Setup",
)


def render(facts: Facts) -> list[Point]:
    """The verdict: what matters most first."""
    return [_point(finding, facts) for finding in judge(facts)]


def _point(finding: Finding, facts: Facts) -> Point:
    point = SENTENCES[finding.code]
    if finding.code is Code.WELL and not facts.any_texts:
        point = _NO_TEXTS
    parameters = of_point(finding, facts, when(finding.at, facts.now)) | {
        "detail": sentence(finding.reason, facts.now) if finding.reason else finding.detail,
        "kinds": _kinds(facts.waiting),
        "queue": queue_words(facts) if finding.count else "All messages sent. Nothing in the queue.",
    }
    words, detail = (Markup(text).format(**parameters).strip() for text in (point.words, point.detail))  # noqa: S704 - ours
    resume = finding.account_id if finding.code is Code.PAUSED else ""
    return replace(point, words=words, detail=detail, level=finding.level, resume=resume)


def _kinds(waiting: Waiting) -> str:
    kinds = (
        (waiting.held, "on hold"),
        (waiting.unknown, "unconfirmed"),
        (waiting.failed, "failed in the last 24 hours"),
    )
    return " · ".join(f"{bucket.count:,} {words}" for bucket, words in kinds if bucket.count)


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
    slept = [asleep(node.slept, when(node.slept.woke_at, facts.now)) for node in nodes if node.slept]
    return " ".join([*(f"Running since {time}." for time in since if time), *slept])
