"""
What is wrong now, and what of it somebody has to be told.

An *incident* is opened once, told once, and once more when it is over. What is one thing to a person is one
*family*: of several thresholds of one budget that are passed at once the highest is told, and that all is
well again when the last one is over.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from callrail_relay.domain.account import Account, Window
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.phone import mask_all

FAILURE_WINDOW = timedelta(minutes=10)
"""Failures within this time are one burst."""

BAND = 10
"""Percent that a budget has to fall below a threshold before it can be passed anew."""

_WAITING = "waiting"


class Level(StrEnum):
    """How loud an incident is; OVER is one of which only its end is still to be told."""

    WARNING = "warning"
    ERROR = "error"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    """
    When to tell somebody.

    ``budget``       percent of the hour and the day, rising
    ``waiting``      how long a text may be held or unknown
    ``failures``     how many texts within FAILURE_WINDOW are a burst
    ``little_space`` bytes on the disk
    """

    budget: tuple[int, ...]
    waiting: timedelta
    failures: int
    little_space: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """Since when each text waits for a person, of those that do so for longer than the policy allows."""

    held: tuple[datetime, ...] = ()
    unknown: tuple[datetime, ...] = ()

    @property
    def instants(self) -> list[datetime]:
        return sorted((*self.held, *self.unknown))


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    How all stands at *now*; *free_bytes* is of this *machine*, and None where it has no disk of ours.

    ``pauses`` says why accounts are paused and what to do, by their ids.
    """

    now: datetime
    standings: tuple[AccountStatus, ...] = ()
    waiting: Undecided = field(default_factory=Undecided)
    failures: int = 0
    machine: str = ""
    free_bytes: int | None = None
    pauses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """
    Something that is wrong, in a sentence for the owner; without ``told_at`` nobody was told yet.

    ``in_hand`` is true where somebody tried, or is trying, to tell.
    """

    key: str
    level: Level
    detail: str
    opened_at: datetime
    told_at: datetime | None = None
    in_hand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """
    What to do to the incidents.

    ``opened`` are new ones; those with ``told_at`` are not told, since another of the family is.
    ``over`` are keys with the sentence that says so. ``dropped`` are keys that nobody has to hear of.
    """

    opened: tuple[Incident, ...] = ()
    over: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.opened or self.over or self.dropped)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Condition:
    """One thing that can be wrong: it is, it is not, or it is neither (None), and what was stays."""

    key: str
    family: str
    wrong: bool | None
    level: Level
    detail: str
    over: str


def decide(facts: Facts, known: Sequence[Incident], policy: AlertPolicy) -> Changes:
    """What is to change, that the incidents *known* fit *facts*."""
    by_key = {one.key: one for one in known}
    families: dict[str, list[_Condition]] = defaultdict(list)
    for condition in _conditions(facts, known, policy):
        families[condition.family].append(condition)
    opened: list[Incident] = []
    over: dict[str, str] = {}
    dropped = _forgotten(known, families)
    for conditions in families.values():
        opened += _opened(conditions, by_key, facts.now)
        ended, quiet = _ended(conditions, by_key)
        over |= ended
        dropped |= quiet
    return Changes(opened=tuple(opened), over=over, dropped=frozenset(dropped))


def _is_open(incident: Incident | None) -> bool:
    return incident is not None and incident.level is not Level.OVER


def _opened(
    conditions: Sequence[_Condition], known: Mapping[str, Incident], now: datetime
) -> Iterator[Incident]:
    new = [one for one in conditions if one.wrong and not _is_open(known.get(one.key))]
    for condition in new:
        # One whose end was not told yet goes on, as far as anybody knows.
        told = condition is not new[-1] or condition.key in known
        yield Incident(
            key=condition.key,
            level=condition.level,
            detail=condition.detail,
            opened_at=now,
            told_at=now if told else None,
        )


def _ended(
    conditions: Sequence[_Condition], known: Mapping[str, Incident]
) -> tuple[dict[str, str], set[str]]:
    """What is over and to be told, and what is over and need not be."""
    ended = [one for one in conditions if one.wrong is False and _is_open(known.get(one.key))]
    lasting = any(
        one.wrong is not False and (one.wrong or _is_open(known.get(one.key))) for one in conditions
    )
    heard = [one for one in ended if known[one.key].told_at is not None or known[one.key].in_hand]
    if not heard or lasting:
        return {}, {one.key for one in ended}
    last = heard[-1]
    return {last.key: last.over}, {one.key for one in ended if one is not last}


def _forgotten(known: Sequence[Incident], families: Mapping[str, Sequence[_Condition]]) -> set[str]:
    """Incidents that nothing speaks of any more, as of an account that was taken out of the settings."""
    spoken_of = {one.key for conditions in families.values() for one in conditions}
    return {
        one.key
        for one in known
        if one.key not in spoken_of
        and _is_open(one)
        # Of its disk each machine speaks itself, and not at all while it cannot be read.
        and not one.key.startswith("disk:")
    }


def _conditions(facts: Facts, known: Sequence[Incident], policy: AlertPolicy) -> Iterator[_Condition]:
    for standing in facts.standings:
        yield _paused(standing, facts.pauses)
        yield from _budget(standing.account.id, "hour", standing.hour, policy)
        yield from _budget(standing.account.id, "day", standing.day, policy)
    yield from _waiting(facts, known, policy)
    yield _Condition(
        key="failures",
        family="failures",
        wrong=True if facts.failures >= policy.failures else None if facts.failures else False,
        level=Level.ERROR,
        detail=_failures_text(facts.failures, FAILURE_WINDOW),
        over=_failures_over_text(FAILURE_WINDOW),
    )
    if facts.free_bytes is not None:
        yield _disk(facts.machine, facts.free_bytes, policy.little_space)


def _paused(standing: AccountStatus, pauses: Mapping[str, str]) -> _Condition:
    account = standing.account
    key = f"paused:{account.id}"
    return _Condition(
        key=key,
        family=key,
        wrong=account.paused_since is not None,
        level=Level.ERROR,
        detail=_paused_text(account, pauses.get(account.id, "")),
        over=_paused_over_text(account),
    )


def _budget(account_id: str, name: str, window: Window, policy: AlertPolicy) -> Iterator[_Condition]:
    if window.allowed <= 0:
        return
    family = f"budget:{account_id}:{name}"
    percent = window.used * 100 / window.allowed
    for threshold in policy.budget:
        yield _Condition(
            key=f"{family}:{threshold}",
            family=family,
            wrong=True if percent >= threshold else None if percent >= max(threshold - BAND, 1) else False,
            level=Level.WARNING,
            detail=_budget_text(account_id, name, window),
            over=_budget_over_text(account_id, name, window),
        )


def _disk(machine: str, free_bytes: int, little: int) -> _Condition:
    key = f"disk:{machine}"
    return _Condition(
        key=key,
        family=key,
        wrong=True if free_bytes < little else None if free_bytes < little * 5 // 4 else False,
        level=Level.ERROR,
        detail=_disk_text(machine, free_bytes),
        over=_disk_over_text(machine, free_bytes),
    )


def _waiting(facts: Facts, known: Sequence[Incident], policy: AlertPolicy) -> Iterator[_Condition]:
    """
    A batch of texts is one incident, so that one that nobody ever decides on does not hide the next ones.

    Its key tells up to which instant its texts came to wait; they are those after the batch before it. Beside
    others a new one begins at the earliest when the last one is as old as a text may wait.
    """
    instants = facts.waiting.instants
    batches = sorted(
        (datetime.fromisoformat(one.key.removeprefix(f"{_WAITING}:")), one)
        for one in known
        if one.key.startswith(f"{_WAITING}:") and _is_open(one)
    )
    before, lasting = None, []
    for until, incident in batches:
        waits = any(_between(before, instant, until) for instant in instants)
        yield _batch(facts, until, wrong=waits, opened=incident)
        before = until
        lasting += [incident] if waits else []
    uncovered = [instant for instant in instants if before is None or instant > before]
    rested = all(facts.now - incident.opened_at >= policy.waiting for _, incident in batches)
    if uncovered and (rested or not lasting):
        yield _batch(facts, uncovered[-1], wrong=True)


def _between(after: datetime | None, instant: datetime, until: datetime) -> bool:
    return (after is None or instant > after) and instant <= until


def _batch(facts: Facts, until: datetime, *, wrong: bool, opened: Incident | None = None) -> _Condition:
    waiting = facts.waiting
    return _Condition(
        key=f"{_WAITING}:{until.isoformat()}",
        family=_WAITING,
        wrong=wrong,
        level=Level.WARNING,
        detail=opened.detail
        if opened is not None
        else _waiting_text(len(waiting.held), len(waiting.unknown), min(waiting.instants, default=until)),
        over=_waiting_over_text(),
    )


def told_together(incidents: Iterable[Incident]) -> str:
    """Several incidents as one text, the ends of others last."""
    ordered = sorted(incidents, key=lambda one: (one.level is Level.OVER, one.opened_at, one.key))
    return "\n\n".join(one.detail for one in ordered)


_MEGABYTE = 1024 * 1024


def _paused_text(account: Account, why: str) -> str:
    since = "" if account.paused_since is None else f" since {_when(account.paused_since)}"
    # A person wrote the reason, or CallRail's answer is in it.
    return f"Account {account.id} is paused{since}, and its texts wait. {mask_all(why)}"


def _paused_over_text(account: Account) -> str:
    return f"Well again: account {account.id} is not paused any more."


def _budget_text(account_id: str, name: str, window: Window) -> str:
    used = _used(account_id, name, window)
    if window.used < window.allowed:
        return f"{used}. At 100 % texts wait, and leave by themselves when there is room again."
    again = "" if window.free_at is None else f"; the next one leaves at {_when(window.free_at)}"
    return f"{used}. Texts wait now, and leave by themselves{again}."


def _budget_over_text(account_id: str, name: str, window: Window) -> str:
    used = _used(account_id, name, window)
    return f"Well again: {used[:1].lower()}{used[1:]}."


def _used(account_id: str, name: str, window: Window) -> str:
    percent = window.used * 100 // window.allowed
    used = f"{window.used} of the {window.allowed} texts of the {name} ({percent} %)"
    return f"Account {account_id} has used {used}"


def _waiting_text(held: int, unknown: int, oldest: datetime) -> str:
    counts = " and ".join(
        f"{count} {name}" for count, name in ((held, "held"), (unknown, "unknown")) if count
    )
    noun = "text waits" if held + unknown == 1 else "texts wait"
    since = f"since {_when(oldest)}" if held + unknown == 1 else f"the oldest since {_when(oldest)}"
    return (
        f"{counts} {noun} for your word, {since}. See them with `callrail-relay messages list --status held "
        "--status unknown`, and approve, resend or cancel each."
    )


def _waiting_over_text() -> str:
    return "Well again: the texts that waited for your word do not wait any more."


def _failures_text(count: int, within: timedelta) -> str:
    noun = "text was" if count == 1 else "texts were"
    return (
        f"{count} {noun} refused by CallRail, or became unknown, within {_minutes(within)}. See why with "
        "`callrail-relay messages list --since 1h --status failed --status unknown`."
    )


def _failures_over_text(within: timedelta) -> str:
    return f"Well again: no text failed within {_minutes(within)}."


def _disk_text(machine: str, free_bytes: int) -> str:
    left = f"{free_bytes // _MEGABYTE} MB left; free some space"
    return f"The disk of the relay on {machine} has {left}. When it is full, texts are refused."


def _disk_over_text(machine: str, free_bytes: int) -> str:
    return f"Well again: the disk of the relay on {machine} has {free_bytes // _MEGABYTE} MB left."


def store_silent(why: str, since: datetime) -> str:
    return f"The relay refuses texts since {_when(since)}, for its store does not work. {why}"


def store_silent_over() -> str:
    return "Well again: the store works, and texts are accepted."


def _when(instant: datetime) -> str:
    """By this machine's own clock."""
    return instant.astimezone().strftime("%H:%M on %d %B")


def _minutes(span: timedelta) -> str:
    return f"{round(span.total_seconds() / 60)} minutes"
