"""What the dashboard reads: pages of texts, what waits for a person, how much came in, and conversations."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

from callrail_relay.domain.message import MessageState, Status

T = TypeVar("T")
QUARTER = timedelta(minutes=15)  # arrivals are counted by these: days and hours of every zone begin at one


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSummary(MessageState):
    tracking_number: str | None = None
    looked_up: bool = False  # its unknown outcome is being looked up
    opted_out: bool = False

    @property
    def complete(self) -> bool:
        return None not in (self.recipient, self.text, self.tracking_number)


class Page(NamedTuple, Generic[T]):
    rows: Sequence[T]
    older: int | None = None  # where the next page begins; None at the end
    searched_to: datetime | None = None  # a search for words paused here, and has looked this far back


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    count: int = 0
    rows: tuple[MessageSummary, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    held: Bucket = field(default_factory=Bucket)
    unknown: Bucket = field(default_factory=Bucket)
    failed: Bucket = field(default_factory=Bucket)
    looked_up: Bucket = field(default_factory=Bucket)
    released_later: Bucket = field(default_factory=Bucket)
    queued: int = 0

    @property
    def for_person(self) -> int:
        return self.held.count + self.unknown.count + self.failed.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    begins: datetime  # of a QUARTER
    status: Status  # what they have now
    count: int


FreesAt = tuple[datetime | None, datetime | None]  # when the oldest use of the hour and of the day ends


class Today(NamedTuple):
    sent: int
    replies: int
    median_seconds: float | None  # from receipt to CallRail's answer, in the last day


class Kept(NamedTuple):
    lost: int  # requests that are stored, but have no message
    doubled: int  # segments that CallRail accepted more than once


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    at: datetime
    inbound: bool
    content: str | None
    message_id: str | None = None  # None for the person's and other programs'
    status: Status | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    recipient: str
    tracking_number: str
    seller: str | None
    messages: tuple[ChatMessage, ...]
    older: datetime | None = None  # where it continues
    opted_out: bool = False
