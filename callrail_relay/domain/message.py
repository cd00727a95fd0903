"""Messages as the outbox stores them: submission, segments, attempts, reasons, and people's decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import Enum, StrEnum
from random import Random
from typing import Any
from uuid import UUID

from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.routing import Route


class Verb(StrEnum):
    APPROVE = "approve"
    CANCEL = "cancel"
    RESEND = "resend"
    MARK_SENT = "mark-sent"
    REMAP = "remap"
    EDIT = "edit"
    UNDO = "undo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who decides. What has the same *batch* was decided with one click, and can be undone with one."""

    name: str
    note: str | None = None
    batch: str | None = None
    delay: timedelta = timedelta()  # how long nothing of it is sent, so there's time to undo it


ANONYMOUS = Actor(name="a person")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    decided_at: datetime
    verb: Verb
    actor: Actor
    overridden: tuple[str, ...] = ()  # codes of the reasons that the message showed
    text: str | None = None  # what an edited message said before
    recipient: str | None = None  # and to whom


_TYPED_BY_PEOPLE = frozenset({"typed", "first", "second", "placeholder", "words"})


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a message is held, failed, unconfirmed or waiting; docs/reference/library.md lists every code."""

    code: str
    # JSON values: instants are ISO 8601 in UTC, spans end in _seconds; some contain what was typed
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def document(self) -> dict[str, Any]:
        return {"code": self.code, "parameters": dict(self.parameters)}

    def without_typed(self) -> "Reason":
        """Return this reason without what a person typed: phone numbers and words."""
        kept = {name: value for name, value in self.parameters.items() if name not in _TYPED_BY_PEOPLE}
        return Reason(self.code, kept)


class Status(StrEnum):
    HELD = "held"  # by a guard or a fault; it waits for a person, unless its reason says until when
    QUEUED = "queued"  # sent as soon as its turn, the sending limits and the account allow
    SENDING = "sending"  # an attempt is in flight, or some segments were sent and the next one follows
    UNKNOWN = "unknown"  # CallRail may or may not have it; it isn't sent again by itself
    SENT = "sent"  # CallRail accepted every segment
    FAILED = "failed"  # CallRail rejected it for good
    CANCELLED = "cancelled"  # a person canceled it
    SHADOW = "shadow"  # another system sends it: the relay only passed its request on


# Nothing more happens, unless a person wants it.
ENDED = (Status.SENT, Status.FAILED, Status.CANCELLED, Status.SHADOW)
RESENDABLE = (Status.UNKNOWN, Status.FAILED, Status.CANCELLED)
CANCELLABLE = (Status.HELD, Status.QUEUED, Status.UNKNOWN, Status.FAILED)
OPEN = (Status.QUEUED, Status.SENDING)  # delivery works on it, and later texts to the same person wait for it


class Source(StrEnum):
    WEBHOOK = "webhook"
    SEND = "send"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    noted_at: datetime
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    started_at: datetime
    finished_at: datetime | None
    outcome: OutcomeKind | None
    http_status: int | None
    detail: str | None
    next_lookup_at: datetime | None = None  # when its unknown outcome is looked up next, if it is
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    position: int
    content: str
    status: Status
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IF3Context:
    """What IF3 says about a text besides its words and its recipient."""

    opportunity_id: str | None = None
    sender_id: str | None = None
    seller_id: str | None = None
    seller: str | None = None
    team_id: str | None = None

    def if3_context(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in IF3Context.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageState(IF3Context):
    id: str
    status: Status
    source: Source
    received_at: datetime
    reasons: tuple[Reason, ...] = ()
    recipient: str | None = None
    text: str | None = None
    sent_at: datetime | None = None
    release_at: datetime | None = None  # when it's queued by itself, if it's held until then
    seq: int = 0  # its place in the order of arrival, from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(MessageState):
    submission_id: str
    route: Route | None = None
    segments: tuple[Segment, ...] = ()
    conversation_id: str | None = None
    blocked_until: datetime | None = None  # how long it waits, at most, for the look-up of an earlier one
    decisions: tuple[Decision, ...] = ()
    approved: tuple[str, ...] = ()  # codes of the reasons that a person overrode, also in advance

    @property
    def is_complete(self) -> bool:
        return self.recipient is not None and self.text is not None and self.route is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    statuses: tuple[Status, ...] = ()
    recipient: str | None = None
    tracking_number: str | None = None
    name: str | None = None
    opportunity_id: str | None = None
    sender_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    words: tuple[str, ...] = ()  # each must occur in the seller's name or the text
    before: int | None = None  # where the page before this one ended
    limit: int = 50  # 0 for all


def instant(value: datetime | None) -> str | None:
    """Return an instant for programs: ISO 8601 in UTC, ending in Z."""
    return None if value is None else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_instant(value: object, zone: tzinfo | None = None) -> datetime | None:
    """Read an ISO 8601 instant as UTC; one without an offset is in *zone*, or None."""
    try:
        read = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    read = read.replace(tzinfo=read.tzinfo or zone)
    # Programs write 1969 or the year 1 for "never", and Windows can't show these by its own clock.
    return read.astimezone(UTC) if read.tzinfo is not None and 1970 < read.year < 3000 else None


def as_json(value: object, *names: str) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return *value* as in JSON: instants in UTC, and of a dataclass the fields in *names*, or all."""
    match value:
        case datetime():
            return instant(value)
        case Enum():
            return value.value
        case Mapping():
            return {key: as_json(one) for key, one in value.items()}
        case list() | tuple():
            return [as_json(one) for one in value]
        case _ if is_dataclass(value):
            return {
                name: as_json(getattr(value, name)) for name in names or [one.name for one in fields(value)]
            }
    return value


def uuid7(now: datetime, random: Random) -> str:
    """Return a UUID of version 7 (RFC 9562): sorted by *now*, to a quarter microsecond; 62 random bits."""
    microseconds = int(now.timestamp() * 1_000_000)
    milliseconds, rest = divmod(microseconds, 1000)
    fraction = rest * 4096 // 1000
    value = (milliseconds << 80) | (0x7 << 76) | (fraction << 64) | (0b10 << 62) | random.getrandbits(62)
    return str(UUID(int=value))


def first_id(instant: datetime) -> str:
    """Return the smallest ``uuid7`` of *instant* and later."""
    return str(UUID(int=int(instant.timestamp() * 1000) << 80))


def made_at(id_: str) -> datetime | None:
    """Return when a ``uuid7`` was made, to the millisecond; None for any other id."""
    try:
        value = UUID(id_)
    except ValueError:
        return None
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC) if value.version == 7 else None
