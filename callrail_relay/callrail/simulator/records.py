"""What the simulated CallRail knows, and its JSON, key for key as in CallRail's recorded answers."""

import re
from bisect import bisect_right
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from callrail_relay.domain.message import as_json, instant
from callrail_relay.errors import UsageError

T = TypeVar("T")

Direction = Literal["incoming", "outgoing"]
Json = dict[str, Any]

# Conversations carried this zone's offset although their company was in another one (2026-04-07).
ACCOUNT_ZONE = ZoneInfo("America/New_York")
# How many messages the list shows isn't documented; the single conversation has them all.
RECENT_MESSAGES = 25

_DESTINATION = "+12025550144"
_CUSTOMER_NAME = "Wireless Caller"  # what caller ID says about most mobile phones
_NUMBER = re.compile(r"(?:\+1)?([2-9]\d{2}[2-9]\d{6})", re.ASCII)


@dataclass(slots=True)
class Bucket:
    """What an account may send in a rolling hour and day, the strict side: CallRail's may not roll."""

    per_hour: int
    per_day: int
    _taken: list[datetime] = field(default_factory=list)

    def used(self, now: datetime) -> tuple[int, int]:
        """Return how much the last 60 minutes and the last 24 hours used."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account and its limits: for texts, and for all other requests."""

    id: str
    numeric_id: int
    name: str
    created_at: datetime
    # https://apidocs.callrail.com/#rate-limiting
    texts: Bucket = field(default_factory=lambda: Bucket(150, 1_000))
    requests: Bucket = field(default_factory=lambda: Bucket(1_000, 10_000))

    def as_json(self, fields: AbstractSet[str]) -> Json:
        return {
            "id": self.id,
            "name": self.name,
            **({"numeric_id": self.numeric_id} if "numeric_id" in fields else {}),
            "inbound_recording_enabled": False,
            "outbound_recording_enabled": False,
            "hipaa_account": False,
            "created_at": self.created_at.astimezone(ACCOUNT_ZONE).strftime("%Y-%m-%d %H:%M:%S %z"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    id: str
    account_id: str
    name: str
    created_at: datetime
    signing_key: str
    time_zone: str = "America/Chicago"
    disabled_at: datetime | None = None

    @property
    def status(self) -> str:
        return "active" if self.disabled_at is None else "disabled"

    def as_json(self) -> Json:
        known = as_json(self, "id", "name", "status", "time_zone", "created_at", "disabled_at")
        features = {"callscore_enabled": False, "lead_scoring_enabled": True, "callscribe_enabled": True}
        return {**known, **features}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """One tracking number, or the pool of a session tracker."""

    id: str
    company: Company
    name: str
    tracking_numbers: tuple[str, ...]
    type: Literal["source", "session"] = "source"
    status: Literal["active", "disabled"] = "active"
    sms_supported: bool = True
    sms_enabled: bool = True

    def as_json(self) -> Json:
        names = ("id", "name", "type", "status", "tracking_numbers", "sms_supported", "sms_enabled")
        return {
            **as_json(self, *names),
            "destination_number": _DESTINATION,
            "company": as_json(self.company, "id", "name"),
            "source": {"type": "google_my_business" if self.type == "source" else "all"},
            "call_flow": {"type": "basic", "recording_enabled": True, "destination_number": _DESTINATION},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One text as the conversation shows it; an outgoing one with what CallRail appended."""

    id: int
    direction: Direction
    content: str
    created_at: datetime
    thread_id: str
    tracker: Tracker
    tracking_number: str
    agent: str | None = None  # who sent it from CallRail's own page

    def as_json(self) -> Json:
        return {"id": self.id, **self._as_any(instant(self.created_at))}

    def as_recent(self) -> Json:
        """Return it as the list of conversations shows it."""
        thread = Json(id=self.thread_id, notes=None, tags=[], value=None, lead_qualification=None)
        return {**self._as_any(with_offset(self.created_at)), "sms_thread": thread}

    def _as_any(self, created_at: str | None) -> Json:
        words = {"direction": self.direction, "content": self.content, "created_at": created_at}
        return {**words, "type": "sms", "media_urls": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """All texts between one company and one customer, oldest first; it grows with every text."""

    id: str
    company: Company
    customer: str
    messages: list[Message] = field(default_factory=list)

    def as_json(self) -> Json:
        """Return it as in the list and in a send's answer, with the numbers of the first and last text."""
        first, last = self.messages[0], self.messages[-1]
        return {
            "id": self.id,
            "initial_tracker_id": first.tracker.id,
            "current_tracker_id": last.tracker.id,
            "customer_name": _CUSTOMER_NAME.upper(),
            "customer_phone_number": self.customer,
            "initial_tracking_number": first.tracking_number,
            "current_tracking_number": last.tracking_number,
            "last_message_at": with_offset(last.created_at),
            "state": "active",
            "formatted_customer_phone_number": formatted(self.customer),
            "formatted_initial_tracking_number": formatted(first.tracking_number),
            "formatted_current_tracking_number": formatted(last.tracking_number),
            "formatted_customer_name": _CUSTOMER_NAME,
            "company_time_zone": self.company.time_zone,
            "tracker_name": last.tracker.name,
            "company_name": self.company.name,
            "company_id": self.company.id,
            "recent_messages": [
                message.as_recent() for message in self.messages[: -RECENT_MESSAGES - 1 : -1]
            ],
        }

    def as_single(self) -> Json:
        """Return the head of a conversation asked for by its id; its paged messages go beside it."""
        names = ("id", "company_id", "customer_phone_number", "current_tracking_number", "state")
        return {name: value for name, value in self.as_json().items() if name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """A company's Webhooks integration: lists of URLs by event."""

    id: int
    company: Company
    config: dict[str, list[str]]

    def as_json(self, fields: AbstractSet[str]) -> Json:
        key = {"signing_key": self.company.signing_key} if "signing_key" in fields else {}
        return {"id": self.id, "type": "Webhooks", "state": "active", "config": self.config, **key}


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One text that the API accepted: ``content`` as asked for, ``delivered_content`` as it was sent."""

    recipient: str
    tracking_number: str
    company_id: str
    account_id: str
    content: str
    delivered_content: str
    created_at: datetime
    conversation_id: str


ASKED = ConfigDict(extra="forbid")  # for what a person asks for, as JSON
Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


def read_asked(kind: Callable[..., T], value: object, what: str) -> T:
    """Return *value*, which came as JSON, as a type, or as what a function makes of it. Raises UsageError."""
    try:
        # A function works, too: it's called with the fields of an object. pydantic's types don't say so.
        return TypeAdapter[T](kind).validate_python(value)  # type: ignore[arg-type]
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        words = error.errors()[0]["msg"].replace("Input should", "must").removeprefix("Value error, ")
        raise UsageError(f"The {what} can't be used: {f'{place} {words}'.strip()}.") from error


def normalize(number: object) -> str | None:
    """Return *number* as E.164, if written so or as ten digits; what else CallRail accepts isn't known."""
    match = _NUMBER.fullmatch(number) if isinstance(number, str) else None
    return f"+1{match[1]}" if match else None


def formatted(number: str) -> str:
    """Return the ``formatted_*`` form of an E.164 number: 202-555-0122."""
    return f"{number[2:5]}-{number[5:8]}-{number[8:]}"


def with_offset(at: datetime) -> str:
    return at.astimezone(ACCOUNT_ZONE).isoformat(timespec="milliseconds")
