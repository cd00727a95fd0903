"""The verdict in sentences: what matters most now, and where to fix it."""

from dataclasses import dataclass

from callrail_relay.domain.health import Code, Facts, Level, judge
from callrail_relay.domain.health import Point as Finding
from callrail_relay.domain.views import Waiting
from callrail_relay.web.dashboard.words import at, plural, when


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
    """The one sentence, and what else there is to know."""

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
    Code.PUBLIC_URL_UNCHECKED: (
        "The public URL isn't confirmed",
        "{detail}",
    ),
    Code.NEEDS_REVIEW: ("{messages} {need} your review", "{kinds}"),
    Code.WAITS: ("Sending{whose} waits until {time}.", "{detail}"),
    Code.DAY_FULL: ("Daily limit{whose} reached ({count:,})", "Sending resumes {at}."),
    Code.HOUR_FULL: ("Hourly limit{whose} reached ({count:,})", "Sending resumes {at}."),
    Code.NOT_CONNECTED: (
        "Connecting to CallRail{whose}…",
        "It isn't known yet whether CallRail answers.",
    ),
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


def _point(finding: Finding, facts: Facts) -> Point:
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
        "detail": finding.detail,
        "count": finding.count,
        "messages": plural(finding.count, "message"),
        "need": "needs" if finding.count == 1 else "need",
        "kinds": _kinds(facts.waiting),
        "whose": "" if len(facts.standings) == 1 else f" from account {finding.account_id}",
        "time": when(finding.at, facts.now),
        "at": "" if finding.at is None else at(finding.at, facts.now),
        "queue": queue_words(facts) if finding.count else "All messages sent. Nothing in the queue.",
    }
    words, detail = (text.format(**parameters).strip() for text in SENTENCES[finding.code])
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
    return " · ".join(f"{pile.count:,} {words}" for pile, words in kinds if pile.count)
