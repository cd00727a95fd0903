"""What a claim takes and yields, and how each account and the whole store stand."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from callrail_relay.domain.account import Account, Limits, Window
from callrail_relay.domain.guards import GuardPolicy
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.outcome import Outcome
from callrail_relay.domain.reconcile import Settled
from callrail_relay.domain.routing import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStatus:
    """How one account stands now: its budget, and the segments that still wait for it."""

    account: Account
    hour: Window
    day: Window
    pending: int
    drains_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordResult:
    """
    What an outcome changed: the message's new status, and the account before and after.

    ``twice`` is true if CallRail took the text more than once. ``settled`` is what CallRail's webhook, which
    came before the outcome, made of it or of another text with the same words.
    """

    message_id: str
    account_before: Account
    account: Account
    position: int
    outcome: Outcome
    status: Status
    twice: bool = False
    settled: Settled | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPolicy:
    """
    The rules a claim keeps.

    ``accounts`` are those of the settings: texts of any other stay where they are. ``lease`` is how long an
    attempt may take before it counts as unknown.
    """

    accounts: frozenset[str]
    limits: Limits
    recipient_interval: timedelta
    lease: timedelta
    max_characters: int
    guards: GuardPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A segment taken for sending; its attempt is on disk and its place in the budget is kept."""

    attempt_id: int
    message_id: str
    position: int
    route: Route
    recipient: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A queued message that a guard held when its turn came."""

    message_id: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """
    What one look at the store came to.

    Without a ``claim``, ``wake_at`` is when something may be claimed next; None if that depends on something
    new.
    """

    claim: Claim | None = None
    wake_at: datetime | None = None
    held: tuple[Held, ...] = ()


UNDONE = (Status.HELD, Status.QUEUED, Status.SENDING, Status.UNKNOWN)
"""What somebody or something still has to work on. Texts of the others only ever get more."""

RECENT = timedelta(days=1)
"""How far back texts are counted whatever became of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """
    How many texts there are, found by indexes and within RECENT: it costs the same in ten years.

    ``undone``    how many texts have each status of UNDONE
    ``oldest``    when the oldest of them came in, where there is one
    ``recent``    what became of the texts that came in within RECENT
    ``releasing`` held texts that leave by themselves
    ``look_ups``  attempts whose outcome is still to be looked up
    """

    undone: Mapping[Status, int]
    oldest: Mapping[Status, datetime]
    recent: Mapping[Status, int]
    releasing: int
    look_ups: int
