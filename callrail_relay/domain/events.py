"""
What happened, as frozen records for a hook: any callable that takes them.

No event holds the words of a text, a key or a full phone number.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, dataclass_transform

from callrail_relay.domain.message import Source, Status
from callrail_relay.domain.outcome import OutcomeKind


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events, frozen dataclasses. ``action``, the name in the logs, comes from the class's."""

    action: ClassVar[str] = "event"
    default_level: ClassVar[str] = "info"

    def __init_subclass__(cls, *, level: str = "info") -> None:
        dataclass(frozen=True, kw_only=True)(cls)
        cls.action = re.sub("(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        cls.default_level = level

    @property
    def level(self) -> str:
        return self.default_level

    def log_context(self) -> dict[str, Any]:
        return asdict(self)


class SubmissionAccepted(Event, level="debug"):
    """A request is on disk, with so many new *messages*."""

    submission_id: str
    source: Source
    messages: int


class MessageAccepted(Event, level="debug"):
    """A message is on disk; *reasons* are codes."""

    message_id: str
    submission_id: str
    status: Status
    reasons: tuple[str, ...] = ()

    @property
    def level(self) -> str:
        return "info" if self.reasons else self.default_level


class PingReceived(Event):
    """A request without content came with the right secret."""


class PublicAddressChecked(Event):
    """The public URL was found to lead to this relay or not, for the first time or after a change."""

    reached: bool
    detail: str

    @property
    def level(self) -> str:
        return "info" if self.reached else "warning"


class RepeatReceived(Event):
    """A sender repeated a request under the key of the first one, which is on disk."""

    submission_id: str


class AttemptStarted(Event, level="debug"):
    """A segment is recorded as being sent. Only now it goes out."""

    message_id: str
    account_id: str
    position: int


class AttemptFinished(Event):
    """An attempt has its outcome, and its message the status that follows."""

    message_id: str
    account_id: str
    position: int
    outcome: OutcomeKind
    http_status: int | None
    status: Status


class LateResult(Event, level="warning"):
    """An attempt was settled before its result came, which changed nothing."""

    message_id: str
    outcome: OutcomeKind


class OutcomeFound(Event):
    """A check with CallRail, or a late answer, settled an unknown outcome."""

    message_id: str
    status: Status
    detail: str


class LookupFailed(Event, level="warning"):
    """CallRail's conversation could not be read; it is tried again later."""

    message_id: str
    reason: str


class SentTwice(Event, level="error"):
    """CallRail took a text twice: it was resent, and the first try had arrived after all."""

    message_id: str


class MessageHeld(Event, level="warning"):
    """A message that was queued is held; *reasons* are the codes."""

    message_id: str
    reasons: tuple[str, ...]


class AccountPaused(Event, level="error"):
    """Nothing more is sent from this account until it is resumed; *reason* is a code."""

    account_id: str
    reason: str


class AccountWaits(Event, level="warning"):
    """Nothing is sent from this account before *until*; *reason* is a code."""

    account_id: str
    until: datetime
    reason: str


class AlertTold(Event):
    """The owner got an alert; *failed_channels* did not take it, and others did."""

    alert: str
    failed_channels: tuple[str, ...] = ()


class AlertFailed(Event, level="error"):
    """No channel took an alert; it is tried again after *retry_in*."""

    reason: str
    retry_in: timedelta


class ReplyReceived(Event):
    """A person wrote to one of our numbers; *resource_id* is CallRail's id of the text."""

    resource_id: str
    account_id: str | None


class OptedOut(Event, level="warning"):
    """A reply asked for no more texts. *people* is more than 1 if CallRail masks the number."""

    resource_id: str
    people: int


class MaybeOptedOut(Event, level="warning"):
    """A reply may ask for no more texts: the next text to each of *people* is held for the owner."""

    resource_id: str
    people: int


class OptOutUnplaced(Event, level="error"):
    """CallRail masks the number of a STOP, and it fits no person who was texted from here."""

    resource_id: str


class OptedIn(Event):
    """A reply of START, or of YES, took a person off the list."""

    resource_id: str


class ReplyForwarded(Event):
    """Every channel took a reply."""

    resource_id: str


class ForwardFailed(Event, level="error"):
    """These channels didn't take a reply; without *retry_at* it is given up."""

    resource_id: str
    channels: tuple[str, ...]
    tries: int
    retry_at: datetime | None


class RepliesNotRead(Event, level="warning"):
    """CallRail's conversations could not be read for replies; the next look covers the time of this one."""

    account_id: str
    reason: str


class SendingUnpolled(Event, level="warning"):
    """Texts of an account are sent, though its replies could not be read first."""

    account_id: str


class SentByOthers(Event):
    """CallRail reports a text that another program sent; it counts in the account's budget."""

    resource_id: str
    account_id: str | None


class RequestsRefused(Event, level="warning"):
    """*count* requests were refused for the same reason since this was last logged."""

    reason: str
    count: int


class ListenerUnanswered(Event, level="error"):
    """The relay asked its own port and got no answer, several times in a row; it stops."""

    url: str
    reason: str


class WebhookNotUnderstood(Event, level="error"):
    """CallRail signed a webhook that has no text the relay can read."""

    reason: str


class StoreFailed(Event, level="error"):
    """The store could not be read or written; delivery goes on after *retry_in*."""

    reason: str
    retry_in: timedelta


class ProgramFailed(Event, level="error"):
    """A fault of the program itself; it goes on after *retry_in*, and *reason* names the kind of fault."""

    reason: str
    retry_in: timedelta


EventHook = Callable[[Event], None]


def every(*hooks: EventHook) -> EventHook:
    """A hook that passes each event to all of *hooks*."""

    def tell(event: Event) -> None:
        for hook in hooks:
            hook(event)

    return tell


def ignore(_event: Event) -> None:
    """Tell nothing."""
