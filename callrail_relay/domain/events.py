"""
What happened, as frozen records; whoever wants to know passes a callable that takes them.

No event holds the words of a text, a key or a full phone number.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from callrail_relay.domain.message import Source, Status
from callrail_relay.domain.outcome import OutcomeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events: ``action`` names it in the logs, ``level`` says how loud it is."""

    action: ClassVar[str] = "event"
    level: ClassVar[str] = "info"

    def loudness(self) -> str:
        """The level of this very event."""
        return self.level

    def log_context(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionAccepted(Event):
    """A request is on disk; *messages* tells how many new texts it held."""

    action: ClassVar[str] = "submission_accepted"
    level: ClassVar[str] = "debug"
    submission_id: str
    source: Source
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAccepted(Event):
    """A message is on disk; *reasons* are the codes of what holds it or is to be known of it."""

    action: ClassVar[str] = "message_accepted"
    level: ClassVar[str] = "debug"
    message_id: str
    submission_id: str
    status: Status
    reasons: tuple[str, ...] = ()

    def loudness(self) -> str:
        return "info" if self.reasons else self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class PingReceived(Event):
    """A request without content came with the right secret."""

    action: ClassVar[str] = "ping_received"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicAddressChecked(Event):
    """The public URL was found to lead to this relay or not, for the first time or again after a change."""

    action: ClassVar[str] = "public_address_checked"

    reached: bool
    detail: str

    def loudness(self) -> str:
        return "info" if self.reached else "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatReceived(Event):
    """A sender repeated a request under the key of the first one, which is on disk: nothing new came."""

    action: ClassVar[str] = "repeat_received"
    submission_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(Event):
    """A segment is recorded as being sent; only now does a byte leave."""

    action: ClassVar[str] = "attempt_started"
    level: ClassVar[str] = "debug"
    message_id: str
    account_id: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFinished(Event):
    """An attempt has its outcome, and its message the status that follows."""

    action: ClassVar[str] = "attempt_finished"
    message_id: str
    account_id: str
    position: int
    outcome: OutcomeKind
    http_status: int | None
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class LateResult(Event):
    """The result of an attempt came after the attempt had been settled; it changed nothing."""

    action: ClassVar[str] = "late_result"
    level: ClassVar[str] = "warning"
    message_id: str
    outcome: OutcomeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeFound(Event):
    """A look-up, or a late answer, told more of a message whose outcome was unknown."""

    action: ClassVar[str] = "outcome_found"
    message_id: str
    status: Status
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupFailed(Event):
    """CallRail's conversation could not be read; it is tried again later."""

    action: ClassVar[str] = "lookup_failed"
    level: ClassVar[str] = "warning"
    message_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentTwice(Event):
    """CallRail took a text twice: it was sent again, and the first sending had arrived after all."""

    action: ClassVar[str] = "sent_twice"
    level: ClassVar[str] = "error"
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageHeld(Event):
    """A message that was queued is held; *reasons* are the codes."""

    action: ClassVar[str] = "message_held"
    level: ClassVar[str] = "warning"
    message_id: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPaused(Event):
    """Nothing more leaves from this account until it is resumed."""

    action: ClassVar[str] = "account_paused"
    level: ClassVar[str] = "error"
    account_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountWaits(Event):
    """Nothing leaves from this account before *until*."""

    action: ClassVar[str] = "account_waits"
    level: ClassVar[str] = "warning"
    account_id: str
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertTold(Event):
    """The owner was told something; *failed_channels* did not take it, and others did."""

    action: ClassVar[str] = "alert_told"
    alert: str
    failed_channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFailed(Event):
    """No channel took an alert; it is tried again after *retry_in*."""

    action: ClassVar[str] = "alert_failed"
    level: ClassVar[str] = "error"
    reason: str
    retry_in: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyReceived(Event):
    """A person wrote to one of our numbers; *resource_id* is CallRail's id of the text."""

    action: ClassVar[str] = "reply_received"
    resource_id: str
    account_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptedOut(Event):
    """
    A reply asked for no more texts, and put *people* pairs of number and person on the list: several, where
    CallRail masks it.
    """

    action: ClassVar[str] = "opted_out"
    level: ClassVar[str] = "warning"
    resource_id: str
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MaybeOptedOut(Event):
    """
    A reply may ask for no more texts: the next text to each of *people* is held, and the owner is asked.
    """

    action: ClassVar[str] = "maybe_opted_out"
    level: ClassVar[str] = "warning"
    resource_id: str
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutUnplaced(Event):
    """
    CallRail masks the number of a reply of STOP, and nobody who was texted from here fits.

    Should the person be texted later, CallRail refuses that, or the conversation tells whose reply it was.
    """

    action: ClassVar[str] = "opt_out_unplaced"
    level: ClassVar[str] = "error"
    resource_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OptedIn(Event):
    """A reply of START, or of YES, took a person off the list."""

    action: ClassVar[str] = "opted_in"
    resource_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyForwarded(Event):
    """Every channel took a reply."""

    action: ClassVar[str] = "reply_forwarded"
    resource_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardFailed(Event):
    """
    These channels did not take a reply; without *retry_at* it is given up, and stays in the conversation.
    """

    action: ClassVar[str] = "forward_failed"
    level: ClassVar[str] = "error"
    resource_id: str
    channels: tuple[str, ...]
    tries: int
    retry_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepliesNotRead(Event):
    """CallRail's conversations could not be read for replies; the next look covers the time of this one."""

    action: ClassVar[str] = "replies_not_read"
    level: ClassVar[str] = "warning"
    account_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingUnpolled(Event):
    """Texts of an account are sent, though its replies could not be read first."""

    action: ClassVar[str] = "sending_unpolled"
    level: ClassVar[str] = "warning"
    account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentByOthers(Event):
    """CallRail tells of a text that went out and not from here; it counts in the account's budget."""

    action: ClassVar[str] = "sent_by_others"
    resource_id: str
    account_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsRefused(Event):
    """*count* requests were refused for the same reason since this was last logged."""

    action: ClassVar[str] = "requests_refused"
    level: ClassVar[str] = "warning"
    reason: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerUnanswered(Event):
    """The relay asked its own port and got no answer, several times in a row; it stops."""

    action: ClassVar[str] = "listener_unanswered"
    level: ClassVar[str] = "error"
    url: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookNotUnderstood(Event):
    """CallRail signed what came to its webhook, and it tells of no text that can be read."""

    action: ClassVar[str] = "webhook_not_understood"
    level: ClassVar[str] = "error"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFailed(Event):
    """The store could not be read or written; delivery goes on after *retry_in*."""

    action: ClassVar[str] = "store_failed"
    level: ClassVar[str] = "error"
    reason: str
    retry_in: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramFailed(Event):
    """A fault of the program itself; it goes on after *retry_in*, and *reason* names the kind of fault."""

    action: ClassVar[str] = "program_failed"
    level: ClassVar[str] = "error"
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
    """The hook of whoever does not want to know."""
