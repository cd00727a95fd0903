"""What a claim takes and yields, and the state of each account and of the whole store."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from callrail_relay.domain.account import Account, Limits, Window
from callrail_relay.domain.guards import GuardPolicy
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.outcome import Outcome
from callrail_relay.domain.reconcile import Settled
from callrail_relay.domain.routing import Route
from callrail_relay.domain.values import Value


class AccountStatus(Value):
    account: Account
    hour: Window
    day: Window
    pending: int
    drains_at: datetime | None


class RecordResult(Value):
    message_id: str
    account_before: Account
    account: Account
    position: int
    outcome: Outcome
    status: Status
    twice: bool = False  # CallRail took the text more than once
    settled: Settled | None = None  # what CallRail's earlier webhook settled: this text or one like it


class ClaimPolicy(Value):
    accounts: frozenset[str]
    limits: Limits
    recipient_interval: timedelta
    lease: timedelta  # after it an attempt is unknown
    max_characters: int
    guards: GuardPolicy


class Claim(Value):
    attempt_id: int  # on disk; its place in the budget is kept
    message_id: str
    position: int
    route: Route
    recipient: str
    content: str


class Held(Value):
    message_id: str
    reasons: tuple[Reason, ...]


class ClaimResult(Value):
    claims: tuple[Claim, ...] = ()
    wake_at: datetime | None = None  # when something may be claimed next; None for something new only
    held: tuple[Held, ...] = ()


UNDONE = (Status.HELD, Status.QUEUED, Status.SENDING, Status.UNKNOWN)  # what still has to be worked on
RECENT = timedelta(days=1)  # how far back the others are counted, so that it costs the same in ten years


class Counts(Value):
    undone: Mapping[Status, int]
    oldest: Mapping[Status, datetime]
    recent: Mapping[Status, int]
    releasing: int  # held texts that are sent by themselves
    look_ups: int  # attempts still to be looked up
