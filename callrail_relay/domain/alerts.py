"""Which alerts to send. An *incident* is opened once, reported once, and reported once more when it ends."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any

from callrail_relay.domain import health
from callrail_relay.domain.account import Window
from callrail_relay.domain.message import instant

FAILURE_WINDOW = timedelta(minutes=10)  # failures within this time are one burst
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SUMMARY_AT = time(8)  # by this machine's clock
SUMMARIES_APART = timedelta(days=2)  # at least: nodes in several time zones have several 8 AMs
BAND = 10  # how many percent the use has to fall below a threshold before it can be passed again


class Level(StrEnum):
    WARNING = "warning"
    ERROR = "error"
    OVER = "over"  # its end still has to be reported
    INFO = "info"  # nothing is wrong


class Code(StrEnum):
    PAUSED = "paused"
    UNREACHABLE = "unreachable"
    PUBLIC_URL = "public_url"
    LIMIT = "limit"
    REVIEW = "review"
    FAILURES = "failures"
    DISK = "disk"
    DATABASE = "database"
    WEEKLY = "weekly"  # the last weekly summary; it never ends

    @property
    def level(self) -> Level:
        return Level.WARNING if self in (Code.LIMIT, Code.REVIEW) else Level.ERROR


Parameters = Mapping[str, Any]  # JSON values; instants are in ISO format


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    budget: tuple[int, ...]  # percent of the hourly and the daily limit, rising
    waiting: timedelta  # how long a text may wait for a person
    failures: int  # how many texts within FAILURE_WINDOW make a burst
    weekly_summary: str  # the day of the weekly summary, one of WEEKDAYS; anything else: none


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    held: tuple[datetime, ...] = ()  # since when each waits for a person, of those that have waited too long
    unknown: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """What happened since the last summary; *decision* is the last one that was counted."""

    since: str  # ISO
    sent: int
    lost: int
    doubled: int
    reviewed: int
    decision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFacts:
    health: health.Facts
    week: Week | None = None  # only if the next summary is due, or the first week has to begin
    undecided: Undecided = Undecided()
    failures: int = 0
    machine: str = ""
    free_bytes: int | None = None  # None if unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    key: str  # starts with the code
    level: Level
    parameters: Parameters = field(default_factory=dict)
    opened_at: datetime
    told_at: datetime | None = None  # None if not reported yet
    in_hand: bool = False  # an alert may have been sent all the same

    @property
    def code(self) -> Code:
        return Code(self.key.partition(":")[0])

    @property
    def is_open(self) -> bool:
        return self.level is not Level.OVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    before: Incident | None
    after: Incident | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    key: str
    wrong: bool | None  # None: an incident stays
    parameters: Parameters = field(default_factory=dict)
    again: bool | None = None  # for an open incident: report again (True), only update it (False), or neither


def decide(facts: AlertFacts, known: Sequence[Incident], policy: AlertPolicy) -> list[Change]:
    by_key = {one.key: one for one in known}
    findings = list(_findings(facts, {one.key: one for one in known if one.is_open}, policy))
    changes = [_change(finding, by_key.get(finding.key), facts.health.now) for finding in findings]
    mentioned = {finding.key for finding in findings}
    if facts.week is not None:
        changes.append(_summary(facts.week, facts.health, by_key.get(Code.WEEKLY)))
    # For example, of an account that was removed from the settings. Each machine reports only its own disk,
    # and its own settings of the summary.
    changes += [
        Change(before=one, after=None)
        for one in known
        if one.is_open and one.key not in mentioned and one.code not in (Code.DISK, Code.WEEKLY)
    ]
    return [change for change in changes if change.before != change.after]


def due_since(
    known: Sequence[Incident], policy: AlertPolicy, now: datetime
) -> tuple[datetime, int | None] | None:
    """Return from when, and after which decision, the next summary counts; None unless it's due."""
    if policy.weekly_summary not in WEEKDAYS:
        return None
    last = next((one.parameters for one in known if one.key == Code.WEEKLY), None)
    if last is None:
        return now, None
    local = now.astimezone() - timedelta(hours=SUMMARY_AT.hour)
    day = local.date() - timedelta(days=(local.weekday() - WEEKDAYS.index(policy.weekly_summary)) % 7)
    until = datetime.fromisoformat(last["until"])
    is_due = datetime.combine(day, SUMMARY_AT).astimezone() - until >= SUMMARIES_APART
    return (until, last["decision"]) if is_due else None


def _summary(week: Week, facts: health.Facts, known: Incident | None) -> Change:
    """Without a summary before it there's nothing to report yet: the first week begins."""
    parameters = {**asdict(week), "until": facts.now.isoformat(), "waiting": facts.waiting.for_person}
    told_at = facts.now if known is None else None
    after = Incident(
        key=Code.WEEKLY, level=Level.INFO, parameters=parameters, opened_at=facts.now, told_at=told_at
    )
    return Change(before=known, after=after)


def _change(finding: _Finding, known: Incident | None, now: datetime) -> Change:
    """*known* is the incident with this key, if there is one: open, or ended and not reported yet."""
    level = Code(finding.key.partition(":")[0]).level
    opened = Incident(key=finding.key, level=level, parameters=finding.parameters, opened_at=now)
    heard = known is not None and (known.told_at is not None or known.in_hand)
    after = known
    if known is None or not known.is_open:
        if finding.wrong:
            # If its end wasn't reported yet, it simply goes on for the person.
            after = replace(opened, told_at=None if known is None else now)
    elif finding.wrong is False:
        after = replace(known, level=Level.OVER, told_at=None, in_hand=False) if heard else None
    elif finding.wrong and finding.again is not None:
        told_at = None if finding.again else known.told_at
        after = replace(opened, told_at=told_at, in_hand=heard and told_at is None)
    return Change(before=known, after=after)


def _findings(facts: AlertFacts, known: Mapping[str, Incident], policy: AlertPolicy) -> Iterator[_Finding]:
    yield from _of_verdict(facts.health)
    for status in facts.health.accounts:
        for name, window in (("hour", status.hour), ("day", status.day)):
            key = f"{Code.LIMIT}:{status.account.id}:{name}"
            yield _limit(key, window, known.get(key), policy)
    yield _review(facts, known.get(Code.REVIEW), policy)
    burst = facts.failures >= policy.failures or (None if facts.failures else False)
    yield _Finding(key=Code.FAILURES, wrong=burst, parameters={"count": facts.failures})
    if facts.free_bytes is not None:
        little = facts.free_bytes < health.LITTLE_SPACE
        full = little or (None if facts.free_bytes < health.LITTLE_SPACE * 5 // 4 else False)
        parameters = {"machine": facts.machine, "free_bytes": facts.free_bytes}
        yield _Finding(key=f"{Code.DISK}:{facts.machine}", wrong=full, parameters=parameters)


def _of_verdict(facts: health.Facts) -> Iterator[_Finding]:
    """Yield the verdict's points that don't end by themselves."""
    points = {(point.code, point.account_id): point for point in health.judge(facts)}
    for status in facts.accounts:
        account = status.account
        paused = points.get((health.Code.PAUSED, account.id))
        reason = None if paused is None or paused.reason is None else paused.reason.document()
        parameters = {"account": account.id, "since": instant(account.paused_since), "reason": reason}
        yield _Finding(key=f"{Code.PAUSED}:{account.id}", wrong=paused is not None, parameters=parameters)
        contact = facts.contacts.get(account.id)
        # CallRail is often out of reach for a moment.
        lasts = contact is None or not contact.is_recent(facts.now)
        lost = (lasts or None) if (health.Code.UNREACHABLE, account.id) in points else False
        yield _Finding(key=f"{Code.UNREACHABLE}:{account.id}", wrong=lost, parameters={"account": account.id})
    if (public := facts.public_url) is not None:
        wrong = None if public.answered is None else not public.answered
        parameters = {"url": public.url, "detail": public.detail}
        yield _Finding(key=Code.PUBLIC_URL, wrong=wrong, parameters=parameters)


def _limit(key: str, window: Window, known: Incident | None, policy: AlertPolicy) -> _Finding:
    """The highest threshold counts: one that was passed, or was reported and is less than BAND away."""
    percent = window.used * 100 / window.allowed
    told = 0 if known is None else int(known.parameters["threshold"])
    passed = [one for one in policy.budget if percent >= one]
    kept = [one for one in policy.budget if one <= told and percent >= max(one - BAND, 1)]
    threshold = max((*passed, *kept), default=0)
    _, account_id, name = key.split(":")
    again = None if threshold == told else threshold > told
    use = {"account": account_id, "window": name, "used": window.used, "allowed": window.allowed}
    parameters = {**use, "threshold": threshold, "free_at": instant(window.free_at)}
    return _Finding(key=key, wrong=threshold > 0, parameters=parameters, again=again)


def _review(facts: AlertFacts, known: Incident | None, policy: AlertPolicy) -> _Finding:
    """Later texts are reported when the last alert is as old as a text may wait, or settled."""
    undecided = facts.undecided
    instants = sorted((*undecided.held, *undecided.unknown))
    if not instants:
        return _Finding(key=Code.REVIEW, wrong=False)
    again = None
    if known is not None:
        told_until = datetime.fromisoformat(str(known.parameters["until"]))
        rested = facts.health.now - known.opened_at >= policy.waiting or instants[0] > told_until
        again = True if instants[-1] > told_until and rested else None
    counts = {"held": len(undecided.held), "unknown": len(undecided.unknown)}
    span = {"oldest": instants[0].isoformat(), "until": instants[-1].isoformat()}
    return _Finding(key=Code.REVIEW, wrong=True, parameters={**counts, **span}, again=again)
