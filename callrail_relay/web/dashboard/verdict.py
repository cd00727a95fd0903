"""
Whether all is well, in one sentence; and if not: what, and where to put it right.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from callrail_relay.domain.budget import Window
from callrail_relay.domain.history import Waiting
from callrail_relay.domain.standing import Standing
from callrail_relay.service.health import Condition, HealthReport
from callrail_relay.service.history import NowReport
from callrail_relay.web.dashboard.words import at, plural, when


class Level(StrEnum):
    """
    How much a point matters, most first.
    """

    BAD = "bad"
    """Nothing leaves, or something may be lost: put it right now."""

    ASK = "ask"
    """Something waits for a person's word."""

    NOTE = "note"
    """Good to know; it ends by itself."""

    WELL = "well"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """
    One thing to know: a sentence, what to add to it, and where to go. ``resume`` is an account to be resumed.
    """

    level: Level
    words: str
    detail: str = ""
    link: str | None = None
    link_words: str | None = None
    resume: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    The one sentence, and what else there is to know.
    """

    head: Point
    others: tuple[Point, ...] = ()


def judge(report: NowReport, health: HealthReport | None) -> Verdict:
    """
    *health* is the latest result of the checks, None while there is none yet.
    """
    points = sorted(_points(report, health), key=lambda point: list(Level).index(point.level))
    if points and points[0].level is not Level.NOTE:
        return Verdict(head=points[0], others=tuple(points[1:]))
    return Verdict(head=_all_is_well(report), others=tuple(points))


def _all_is_well(report: NowReport) -> Point:
    queued = report.overview.waiting.queued
    if not report.overview.any_texts:
        return Point(
            level=Level.WELL,
            words="All is well.",
            detail="No text has come in yet. Setup shows how to connect IF3.",
            link="/setup",
            link_words="Go to Setup",
        )
    if not queued:
        return Point(level=Level.WELL, words="All is well.", detail="Every text has left. Nothing waits.")
    return Point(level=Level.WELL, words="All is well.", detail=queue_words(report))


def queue_words(report: NowReport) -> str:
    """
    How many texts are in the queue, and when the last of them can have left.
    """
    queued = report.overview.waiting.queued
    count = f"{plural(queued, 'text')} {'is' if queued == 1 else 'are'} in the queue"
    if not queued:
        return "Nothing is in the queue."
    if report.drains_at is None:
        return f"{count}."
    if (report.drains_at - report.overview.now).total_seconds() < 60:
        return f"{count}; it will be empty within a minute."
    return f"{count}; it will be empty by about {when(report.drains_at, report.overview.now)}."


def _points(report: NowReport, health: HealthReport | None) -> Iterator[Point]:
    for standing in report.standings:
        yield from _of_account(standing, report.overview.now, alone=len(report.standings) == 1)
    yield from _of_health(health)
    yield from _of_waiting(report.overview.waiting)


def _of_account(standing: Standing, now: datetime, *, alone: bool) -> Iterator[Point]:
    account = standing.account
    if account.paused_since is not None:
        yield Point(
            level=Level.BAD,
            words="Sending is paused." if alone else f"Account {account.id} is paused.",
            detail=f"{account.paused_reason or ''} Texts are kept, and leave when it is resumed.".strip(),
            link="#budget",
            link_words="See the account",
            resume=account.id,
        )
    elif account.wait_until is not None:
        yield Point(
            level=Level.NOTE,
            words=f"Sending waits until {when(account.wait_until, now)}.",
            detail=account.wait_reason or "",
        )
    elif standing.pending:
        yield from _of_budget(standing, now)


def _of_budget(standing: Standing, now: datetime) -> Iterator[Point]:
    windows: tuple[tuple[str, Window], ...] = (("day", standing.day), ("hour", standing.hour))
    for name, window in windows:
        if window.free_at is not None:
            yield Point(
                level=Level.NOTE,
                words=f"The budget of this {name} is used up.",
                detail=f"Texts go on by themselves {at(window.free_at, now)}.",
                link="#budget",
                link_words="See the budget",
            )
            return


def _of_health(health: HealthReport | None) -> Iterator[Point]:
    # Pauses and waiting texts have points of their own, newer than these.
    for finding in health.findings if health is not None else ():
        if finding.condition is Condition.FAILED and finding.name not in ("accounts", "texts"):
            yield Point(
                level=Level.BAD,
                words=f"Something is wrong with: {finding.name}.",
                detail=finding.detail,
                link="/setup",
                link_words="See all checks",
            )


def _of_waiting(waiting: Waiting) -> Iterator[Point]:
    if waiting.for_person:
        count = waiting.for_person
        yield Point(
            level=Level.ASK,
            words=f"{plural(count, 'text')} {'waits' if count == 1 else 'wait'} for you.",
            detail=_kinds(waiting),
            link="#waiting",
            link_words="Decide",
        )
    if waiting.looked_up.count:
        count = waiting.looked_up.count
        yield Point(
            level=Level.NOTE,
            words=f"{plural(count, 'text')} {'is' if count == 1 else 'are'} being looked up in CallRail.",
            detail="The connection broke while it left. Nothing is to be done yet.",
        )
    if waiting.released_later.count:
        count = waiting.released_later.count
        yield Point(
            level=Level.NOTE,
            words=f"{plural(count, 'text')} {'waits' if count == 1 else 'wait'} for a better hour.",
            detail="It is night where the person lives; they leave by themselves.",
            link="/texts?status=held",
            link_words="See them",
        )


def _kinds(waiting: Waiting) -> str:
    kinds = [
        f"{pile.count:,} {words}"
        for pile, words in (
            (waiting.held, "held back"),
            (waiting.unknown, "with an unknown outcome"),
            (waiting.failed, "failed in the last 24 hours"),
        )
        if pile.count
    ]
    return (kinds[0] if len(kinds) == 1 else f"{', '.join(kinds[:-1])} and {kinds[-1]}").capitalize() + "."
