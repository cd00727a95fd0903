"""Claiming: the rules a claim keeps, and what it yields."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from callrail_relay.domain.budget import Limits
from callrail_relay.domain.guards import GuardPolicy
from callrail_relay.domain.reason import Reason
from callrail_relay.domain.routing import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPolicy:
    """
    The rules a claim keeps.

    ``accounts`` are those of the settings: texts of any other account stay where
    they are. ``lease`` is how long an attempt may take before it counts as unknown.
    """

    accounts: frozenset[str]
    limits: Limits = field(default_factory=lambda: Limits(150, 1000))
    recipient_interval: timedelta = timedelta(seconds=1)
    lease: timedelta = timedelta(seconds=75)
    max_characters: int = 140
    guards: GuardPolicy = field(default_factory=GuardPolicy)


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
    What one look at the outbox came to.

    Without a ``claim``, ``wake_at`` is the instant at which something may become
    claimable by itself; None when only news can change that.
    """

    claim: Claim | None = None
    wake_at: datetime | None = None
    held: tuple[Held, ...] = ()
