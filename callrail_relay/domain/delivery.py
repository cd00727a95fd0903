"""What a claim takes and returns, and the status of each account and of the whole store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from callrail_relay.domain.account import Account, Limits, Window
from callrail_relay.domain.events import MessageHeld
from callrail_relay.domain.guards import GuardPolicy
from callrail_relay.domain.message import Status
from callrail_relay.domain.routing import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStatus:
    account: Account
    hour: Window
    day: Window
    pending: int
    drains_at: datetime | None
    foreign: bool = False  # texts wait for it, but it isn't in the settings, so none is sent


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPolicy:
    accounts: frozenset[str]
    limits: Limits
    recipient_interval: timedelta
    lease: timedelta  # after it, an attempt is unknown
    max_characters: int
    guards: GuardPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    attempt_id: int  # on disk, with its place in the budget
    message_id: str
    position: int
    route: Route
    recipient: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    claims: tuple[Claim, ...] = ()
    wake_at: datetime | None = None  # when something may be claimed next; None if only news decides
    held: tuple[MessageHeld, ...] = ()


UNDONE = (Status.HELD, Status.QUEUED, Status.SENDING, Status.UNKNOWN)  # the ones that still need work
RECENT = timedelta(days=1)  # how far back the others are counted, so it costs the same in ten years


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    undone: Mapping[Status, int]
    oldest: Mapping[Status, datetime]
    recent: Mapping[Status, int]
    releasing: int  # held texts that will be queued by themselves
    look_ups: int  # attempts still to be looked up
