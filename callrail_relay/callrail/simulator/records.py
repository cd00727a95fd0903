"""What the simulated CallRail knows: accounts, numbers, conversations, limits, and its refusals."""

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import phonenumbers

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
class Message:
    """One text as the conversation shows it: an outgoing one with what CallRail appended."""

    id: int
    direction: Direction
    content: str
    created_at: datetime
    thread_id: str
    tracker_id: str
    tracking_number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A text on its way into a conversation."""

    tracker: Tracker
    tracking_number: str
    customer: str
    content: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """A company's Webhooks integration: lists of URLs by event."""

    id: int
    account_id: str
    company_id: str
    config: dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One text that the API took: ``content`` as asked for, ``delivered_content`` as it went out."""

    account_id: str
    company_id: str
    tracking_number: str
    customer_phone_number: str
    content: str
    delivered_content: str
    created_at: datetime
    conversation_id: str
    thread_id: str


_E164 = re.compile(r"\+1([2-9]\d{2}[2-9]\d{6})", re.ASCII)
_TEN_DIGITS = re.compile(r"[2-9]\d{2}[2-9]\d{6}", re.ASCII)
_TOLL_FREE = frozenset({"800", "833", "844", "855", "866", "877", "888"})


def normalize(number: object) -> str | None:
    """*number* as E.164, if it is written so or as ten digits: it isn't known what else CallRail takes."""
    if not isinstance(number, str):
        return None
    if _E164.fullmatch(number):
        return number
    return f"+1{number}" if _TEN_DIGITS.fullmatch(number) else None


def is_north_american(number: str) -> bool:
    """Whether an area code is of the US, its territories or Canada; unassigned ones, as in fiction, pass."""
    region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    return region in {"US", "PR", "VI", "GU", "MP", "AS", "CA", None}


def is_toll_free(number: str) -> bool:
    return number[2:5] in _TOLL_FREE


def formatted(number: str) -> str:
    """The ``formatted_*`` form of an E.164 number: 202-555-0122."""
    return f"{number[2:5]}-{number[5:8]}-{number[8:]}"


def found_in(number: str, search: str) -> bool:
    """Whether *search*, written with digits and punctuation only, is part of *number*."""
    digits = re.sub(r"[\s().+-]", "", search)
    return digits.isdecimal() and digits in number


class Refusal(Exception):
    """
    A request is answered with *status* and *words*.

    The body ``{"error": words}`` has the shape of the only error body that was recorded (404, 2026-08-14).
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


def not_found() -> Refusal:
    return Refusal(404, "Not found")


@dataclass(slots=True)
class Bucket:
    """
    What an account may take in an hour and in a day: two rolling windows over what was accepted.

    It isn't documented whether CallRail's windows roll; a client that stays within rolling ones is safe.
    """

    per_hour: int
    per_day: int
    _taken: list[datetime] = field(default_factory=list)

    def used(self, now: datetime) -> tuple[int, int]:
        """What the last 60 minutes and the last 24 hours took."""
        hour, day = (bisect_right(self._taken, now - timedelta(hours=hours)) for hours in (1, 24))
        return len(self._taken) - hour, len(self._taken) - day

    def has_room(self, now: datetime) -> bool:
        hour, day = self.used(now)
        return hour < self.per_hour and day < self.per_day

    def spend(self, now: datetime, count: int = 1) -> None:
        self._taken.extend([now] * count)

    def headers(self, now: datetime) -> dict[str, str]:
        """The four headers on the answer to a send, seen on 2026-04-07."""
        hour, day = self.used(now)
        return {
            "x-rate-limit-hourly-allowed": str(self.per_hour),
            "x-rate-limit-hourly-used": str(hour),
            "x-rate-limit-daily-allowed": str(self.per_day),
            "x-rate-limit-daily-used": str(day),
        }
