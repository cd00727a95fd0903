"""The things CallRail knows."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Direction = Literal["incoming", "outgoing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account; ``registered`` is False while it lacks its 10DLC registration and may not send."""

    id: str
    numeric_id: int
    name: str
    created_at: datetime
    registered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    id: str
    account_id: str
    name: str
    time_zone: str
    signing_key: str
    created_at: datetime
    disabled_at: datetime | None = None

    @property
    def status(self) -> str:
        return "active" if self.disabled_at is None else "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """One tracking number, or the pool of a session tracker."""

    id: str
    account_id: str
    company_id: str
    name: str
    tracking_numbers: tuple[str, ...]
    destination_number: str
    type: Literal["source", "session"] = "source"
    status: Literal["active", "disabled"] = "active"
    sms_supported: bool = True
    sms_enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    id: str
    account_id: str
    first_name: str
    last_name: str
    email: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One text as the conversation shows it: an outgoing one with what CallRail appended."""

    id: int
    direction: Direction
    content: str
    created_at: datetime
    thread_id: str
    tracker_id: str
    tracking_number: str
    media_urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A text on its way into a conversation."""

    tracker: Tracker
    tracking_number: str
    customer: str
    content: str
    media_urls: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Conversation:
    """
    All texts between one company and one customer, oldest first; it grows with every text.

    The tracking number of the first text is its initial one, that of the last its current one.
    """

    id: str
    account_id: str
    company_id: str
    customer_phone_number: str
    customer_name: str
    messages: list[Message] = field(default_factory=list)

    @property
    def first(self) -> Message:
        return self.messages[0]

    @property
    def last(self) -> Message:
        return self.messages[-1]

    def thread(self, thread_id: str) -> list[Message]:
        return [message for message in self.messages if message.thread_id == thread_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """A company's Webhooks integration: lists of URLs by event."""

    id: int
    account_id: str
    company_id: str
    config: dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """
    One text CallRail took through the API: ``content`` as asked for, ``delivered_content`` as it went out.
    """

    account_id: str
    company_id: str
    tracking_number: str
    customer_phone_number: str
    content: str
    delivered_content: str
    created_at: datetime
    conversation_id: str
    thread_id: str
    media_urls: tuple[str, ...] = ()
