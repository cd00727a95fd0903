"""What happened, as frozen records for a hook. None contains the words of a text, a key or a full number."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, ClassVar, dataclass_transform

from callrail_relay.domain.message import Source, Status
from callrail_relay.domain.outcome import OutcomeKind


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events, frozen dataclasses. ``action``, their name in the logs, comes from the class."""

    kinds: ClassVar[dict[str, type["Event"]]] = {}  # by action
    action: ClassVar[str] = "event"
    default_level: ClassVar[str] = "info"

    def __init_subclass__(cls, *, level: str = "info") -> None:
        dataclass(frozen=True, kw_only=True)(cls)
        cls.action = re.sub("(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        cls.default_level = level
        cls.kinds[cls.action] = cls

    @property
    def level(self) -> str:
        return self.default_level


class MessageEvent(Event):
    message_id: str


class ReplyEvent(Event):
    resource_id: str  # CallRail's id of the text


class SubmissionAccepted(Event, level="debug"):
    submission_id: str
    source: Source
    messages: int


class MessageAccepted(MessageEvent, level="debug"):
    submission_id: str
    status: Status
    reasons: tuple[str, ...] = ()

    @property
    def level(self) -> str:
        return "info" if self.reasons else self.default_level


class PingReceived(Event):
    """A request without content came with the right secret."""


class PublicAddressChecked(Event):
    reached: bool
    detail: str

    @property
    def level(self) -> str:
        return "info" if self.reached else "warning"


class TunnelStarted(Event):
    kind: str


class TunnelEnded(Event, level="warning"):
    kind: str
    reason: str
    retry_in: timedelta


class HeartbeatFailed(Event, level="warning"):
    reason: str  # logged once, until the outside service accepts it again


class ComputerSlept(Event, level="warning"):
    seconds: int


class KeepAwakeFailed(Event, level="warning"):
    reason: str


class RepeatReceived(Event):
    submission_id: str


class RequestPassedOn(Event):  # to the old URL, in shadow mode
    state: str
    http_status: int | None
    detail: str | None = None


class AttemptStarted(MessageEvent, level="debug"):  # on disk; only now the request goes out
    account_id: str
    position: int


class AttemptFinished(MessageEvent):
    account_id: str
    position: int
    outcome: OutcomeKind
    http_status: int | None
    status: Status


class LateResult(MessageEvent, level="warning"):
    outcome: OutcomeKind  # it came after the attempt was settled, and changed nothing


class OutcomeFound(MessageEvent):
    status: Status
    detail: str


class LookupFailed(MessageEvent, level="warning"):
    reason: str


class SentTwice(MessageEvent, level="error"): ...  # it was resent, but the first try had arrived


class MessageHeld(MessageEvent, level="warning"):
    reasons: tuple[str, ...]


class AccountPaused(Event, level="error"):
    account_id: str
    reason: str


class AccountWaits(Event, level="warning"):
    account_id: str
    until: datetime
    reason: str


class AlertTold(Event):
    alert: str
    failed_channels: tuple[str, ...] = ()  # did not accept it; others did


class AlertFailed(Event, level="error"):
    reason: str
    retry_in: timedelta


class ReplyReceived(ReplyEvent):
    account_id: str | None


class OptedOut(ReplyEvent, level="warning"):
    people: int  # more than 1 if CallRail masks the number


class MaybeOptedOut(ReplyEvent, level="warning"):
    people: int


class OptOutUnplaced(ReplyEvent, level="error"): ...  # its number, masked or not, fits nobody who was texted


class OptedIn(ReplyEvent): ...


class ReplyForwarded(ReplyEvent): ...


class ForwardFailed(ReplyEvent, level="error"):
    channels: tuple[str, ...]
    tries: int
    retry_at: datetime | None  # None if it's given up


class RepliesNotRead(Event, level="warning"):
    account_id: str
    reason: str


class SendingUnpolled(Event, level="warning"):
    account_id: str


class SentByOthers(ReplyEvent):
    account_id: str | None


class RequestsRefused(Event, level="warning"):
    reason: str
    count: int  # for the same reason, since this was last logged


class ListenerUnanswered(Event, level="error"):
    url: str  # of the relay's own port, which failed to answer several times in a row: it stops
    reason: str


class WebhookNotUnderstood(Event, level="error"):
    reason: str


class SettingsChanged(Event):
    keys: tuple[str, ...]
    by: str  # the person on the dashboard

    @property
    def detail(self) -> str:
        return f"{', '.join(self.keys)}, by {self.by}"


class StoreFailed(Event, level="error"):
    reason: str
    retry_in: timedelta


class ProgramFailed(Event, level="error"):
    reason: str  # the kind of error
    retry_in: timedelta


def read_event(line: Mapping[str, Any]) -> Event | None:
    """Return the event in a line of the log, with its values as in JSON; None for other lines."""
    kind = Event.kinds.get(str(line.get("action")))
    if kind is None or not line.keys() >= {one.name for one in fields(kind)}:
        return None
    return kind(**{one.name: line[one.name] for one in fields(kind)})


EventHook = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Do nothing with an event."""
