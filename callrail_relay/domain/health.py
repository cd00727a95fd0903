"""How the relay is doing, most urgent first, and how far its first run is: decided once for everyone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum, auto
from typing import Any

from callrail_relay.domain.delivery import AccountStatus, Counts
from callrail_relay.domain.message import Reason, as_json
from callrail_relay.domain.retry import NO_ANSWER, UNREACHABLE
from callrail_relay.domain.shadow import Shadow
from callrail_relay.domain.views import Waiting

CONTACT_AGE = timedelta(minutes=10)  # how old CallRail's last answer may be before the relay asks again
LITTLE_SPACE = 200 * 1024 * 1024  # bytes on the disk
_RECENT = CONTACT_AGE * 2  # how old it may be to count as current: asking takes a while


@dataclass(frozen=True, slots=True)
class Slept:
    """The last time that the computer slept, or was stopped in another way."""

    seconds: int
    woke_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    name: str
    since: datetime | None = None  # None for the moment between its start and its note
    pid: int | None = None  # this and the next only where the store is a file
    private_url: str | None = None
    version: str | None = None  # if known
    slept: Slept | None = None  # since then
    by: str = "serve"  # the command that it runs


@dataclass(frozen=True, slots=True)
class Running:
    nodes: tuple[Node, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.nodes)

    def document(self) -> dict[str, Any]:
        nodes = [as_json(node, "name", "since", "slept") for node in self.nodes]
        since = min((node.since for node in self.nodes if node.since is not None), default=None)
        return {"running": bool(nodes), "since": as_json(since), "nodes": nodes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    answered_at: datetime | None = None
    is_lost: bool = False  # the latest requests failed

    def is_recent(self, now: datetime, age: timedelta = CONTACT_AGE) -> bool:
        return self.answered_at is not None and now - self.answered_at < age


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicUrl:
    url: str
    answered: bool | None = None  # None before the first check
    detail: str = ""


class Condition(StrEnum):
    OK = "ok"
    WARNING = "warning"  # keeps no text from being sent
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    name: str
    condition: Condition
    detail: str  # a sentence, with the remedy unless all is well
    exit_code: int = 0

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "status": self.condition, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    now: datetime
    running: Running
    accounts: Sequence[AccountStatus]
    waiting: Waiting
    contacts: Mapping[str, Contact] = field(default_factory=dict)  # one for each account in the settings
    any_sent: bool = True
    failed_checks: Sequence[CheckResult] = ()
    public_url: PublicUrl | None = None
    last_from_if3: datetime | None = None  # when IF3 posted the newest text
    unused_settings: Sequence[str] = ()  # the running relay still uses their former values
    shadow: Shadow = field(default_factory=Shadow)

    @property
    def is_set_up(self) -> bool:
        return not all(one.foreign for one in self.accounts)

    @property
    def drains_at(self) -> datetime | None:
        """Return when the last queued text can be sent; None if nothing waits, or something can't be sent."""
        waiting = [one for one in self.accounts if one.pending]
        if not self.running or any(one.drains_at is None or self.is_unreachable(one) for one in waiting):
            return None
        return max((one.drains_at for one in self.accounts if one.drains_at is not None), default=None)

    def is_unreachable(self, status: AccountStatus) -> bool:
        """Whether the last requests for this account got no proper answer from CallRail."""
        account = status.account
        if account.wait_until is not None:
            return account.wait_reason in (UNREACHABLE, NO_ANSWER)
        contact = self.contacts.get(account.id)
        return contact is not None and contact.is_lost


class Level(StrEnum):
    BAD = "bad"  # nothing is sent or received, or something may be lost: fix it now
    ASK = "ask"  # something needs a person
    NOTE = "note"  # it ends by itself, or with the first text
    WELL = "well"


class Code(IntEnum):  # in order of urgency
    NOT_SET_UP = auto()
    NOT_RUNNING = auto()
    CHECK_FAILED = auto()
    PAUSED = auto()
    UNREACHABLE = auto()
    NOT_REACHABLE_FROM_OUTSIDE = auto()
    NEEDS_REVIEW = auto()
    FOREIGN_ACCOUNT = auto()
    NEEDS_RESTART = auto()
    SHADOW = auto()
    WAITS = auto()
    DAY_FULL = auto()
    HOUR_FULL = auto()
    NOT_CONNECTED = auto()
    PUBLIC_URL_UNCHECKED = auto()
    LOOKED_UP = auto()
    NO_TEXT_YET = auto()
    NO_PUBLIC_URL = auto()
    WELL = auto()
    SCHEDULED = auto()

    @property
    def level(self) -> Level:
        if self <= Code.NOT_REACHABLE_FROM_OUTSIDE:
            return Level.BAD
        if self in (Code.NEEDS_REVIEW, Code.FOREIGN_ACCOUNT, Code.NEEDS_RESTART):
            return Level.ASK
        return Level.WELL if self in (Code.NO_PUBLIC_URL, Code.WELL) else Level.NOTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    code: Code
    account_id: str = ""
    count: int = 0
    at: datetime | None = None  # when it ends by itself
    name: str = ""  # of a check, or a URL
    detail: str = ""
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    facts: Facts
    counts: Counts
    opt_outs: int


def judge(facts: Facts) -> tuple[Point, ...]:
    """Return everything there is to say, most urgent first; WELL only if texts can come in and be sent."""
    points = [*_troubles(facts), *(_in_progress(facts) if facts.running else ())]
    if not points:
        points.append(Point(code=_all_well(facts), count=facts.waiting.queued, at=facts.drains_at))
    if facts.running and facts.waiting.released_later.count:
        points.append(Point(code=Code.SCHEDULED, count=facts.waiting.released_later.count))
    return tuple(sorted(points, key=lambda point: point.code))


def most_pressing(statuses: Sequence[AccountStatus], most: int) -> Sequence[AccountStatus]:
    """Return these accounts, *most* of them at most: stopped ones first, then the fullest."""
    if len(statuses) <= most:
        return statuses

    def order(one: AccountStatus) -> tuple[bool, bool, int, int]:
        running = one.account.paused_since is None, one.account.wait_until is None
        return (*running, min(one.hour.room, one.day.room), -one.pending)

    return sorted(statuses, key=order)[:most]


# As far as is known, nothing is wrong or waits; without a text or a public URL, less is known.
ALL_WELL = (Code.NO_TEXT_YET, Code.NO_PUBLIC_URL, Code.WELL)
_NORMAL = (Code.NEEDS_RESTART, Code.SHADOW, Code.DAY_FULL, Code.HOUR_FULL, Code.LOOKED_UP, Code.SCHEDULED)


def _all_well(facts: Facts) -> Code:
    if not facts.any_sent and facts.last_from_if3 is None:
        return Code.NO_TEXT_YET
    return Code.NO_PUBLIC_URL if facts.public_url is None else Code.WELL


def is_well(facts: Facts) -> bool:
    """Whether nothing is wrong, unconfirmed or to be reviewed; full limits and former settings are normal."""
    return all(point.code in (*ALL_WELL, *_NORMAL) for point in judge(facts))


def _troubles(facts: Facts) -> Iterator[Point]:
    if not facts.is_set_up:
        yield Point(code=Code.NOT_SET_UP)
    if not facts.running:
        yield Point(code=Code.NOT_RUNNING, count=facts.waiting.queued)
    for check in facts.failed_checks:
        yield Point(code=Code.CHECK_FAILED, name=check.name, detail=check.detail)
    for status in facts.accounts:
        account = status.account
        if account.paused_since is not None or status.foreign:
            code = Code.FOREIGN_ACCOUNT if account.paused_since is None else Code.PAUSED
            yield Point(code=code, account_id=account.id, name=account.id, reason=account.paused_reason)
    # Without a relay, nothing comes in by any URL.
    public = facts.public_url
    if facts.running and public is not None and not public.answered:
        code = Code.PUBLIC_URL_UNCHECKED if public.answered is None else Code.NOT_REACHABLE_FROM_OUTSIDE
        yield Point(code=code, name=public.url, detail=public.detail)
    if facts.waiting.for_person:
        yield Point(code=Code.NEEDS_REVIEW, count=facts.waiting.for_person)
    if facts.running and facts.unused_settings:
        yield Point(code=Code.NEEDS_RESTART, name=", ".join(facts.unused_settings))
    if facts.shadow.is_on:
        yield Point(code=Code.SHADOW, name=facts.shadow.masked_url or "", at=facts.shadow.since)


def _in_progress(facts: Facts) -> Iterator[Point]:
    """Yield what keeps messages from being sent now, and ends by itself while a relay is running."""
    for status in facts.accounts:
        account, contact = status.account, facts.contacts.get(status.account.id)
        if account.paused_since is not None or status.foreign:
            continue
        if facts.is_unreachable(status):
            yield Point(code=Code.UNREACHABLE, account_id=account.id)
        elif account.wait_until is not None:
            until, reason = account.wait_until, account.wait_reason
            yield Point(code=Code.WAITS, account_id=account.id, at=until, reason=reason)
        elif contact is not None and not contact.is_recent(facts.now, _RECENT):
            yield Point(code=Code.NOT_CONNECTED, account_id=account.id)
        full = Code.DAY_FULL if status.day.free_at is not None else Code.HOUR_FULL
        window = status.day if full is Code.DAY_FULL else status.hour
        if window.free_at is not None:
            yield Point(code=full, account_id=account.id, count=window.allowed, at=window.free_at)
    if facts.waiting.looked_up.count:
        yield Point(code=Code.LOOKED_UP, count=facts.waiting.looked_up.count)


class Step(StrEnum):
    KEY = "key"  # CallRail accepted it
    NUMBER = "number"  # an account, and a number to text from
    ADDRESS = "address"  # the public one leads to this relay
    WEBHOOK = "webhook"  # IF3 has the URL: its first text came in
    TEXT = "text"  # CallRail accepted one


class Todo(StrEnum):
    CONFIGURE = "configure"
    NEW_KEY = "new_key"
    START = "start"
    CHECK = "check"
    EXPOSE = "expose"
    CHECK_ADDRESS = "check_address"
    PASTE = "paste"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Item:
    step: Step
    done: bool
    todo: Todo | None = None  # what to do now; only the first step that isn't done has it


def checklist(facts: Facts) -> tuple[Item, ...]:
    """Return the steps of the first run, in order; none once IF3's first text came in and one was sent."""
    if facts.last_from_if3 is not None and facts.any_sent:
        return ()
    todos = {
        Step.KEY: _key(facts),
        Step.NUMBER: None if facts.is_set_up else Todo.CONFIGURE,
        Step.ADDRESS: _address(facts),
        Step.WEBHOOK: None if facts.last_from_if3 is not None else Todo.PASTE,
        Step.TEXT: None if facts.any_sent else Todo.SEND,
    }
    next_step = next(step for step, todo in todos.items() if todo is not None)
    return tuple(
        Item(step, todo is None, todo if step is next_step else None) for step, todo in todos.items()
    )


def _key(facts: Facts) -> Todo | None:
    if not facts.is_set_up:
        return Todo.CONFIGURE
    paused = (one.account.paused_reason for one in facts.accounts)
    if any(reason is not None and reason.code == "unauthorized" for reason in paused):
        return Todo.NEW_KEY
    if any(contact.answered_at is not None for contact in facts.contacts.values()):
        return None
    return Todo.CHECK if facts.running else Todo.START


def _address(facts: Facts) -> Todo | None:
    if facts.public_url is not None and facts.public_url.answered:
        return None
    if not facts.running:
        return Todo.START  # without a relay, no address leads to it
    return Todo.EXPOSE if facts.public_url is None else Todo.CHECK_ADDRESS
