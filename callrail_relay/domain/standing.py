"""How things stand: one account now, and after an outcome was recorded."""

from dataclasses import dataclass
from datetime import datetime

from callrail_relay.domain.account import Account
from callrail_relay.domain.budget import Window
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import Outcome
from callrail_relay.domain.reconcile import Settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one account stands now: its budget, and the segments that still wait for it."""

    account: Account
    hour: Window
    day: Window
    pending: int
    drains_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """
    What an outcome changed: the message's new status, and the account before and after.

    ``twice`` is true where it now shows that CallRail took the text more than once. ``settled`` is what
    CallRail's webhook, which came before the outcome, made of it, or of another text with the same words.
    """

    message_id: str
    account_before: Account
    account: Account
    position: int
    outcome: Outcome
    status: Status
    twice: bool = False
    settled: Settled | None = None
