"""
How things stand: one account now, and after an outcome was recorded.
"""

from dataclasses import dataclass
from datetime import datetime

from callrail_relay.domain.account import Account
from callrail_relay.domain.budget import Window
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    How one account stands now: its budget, and the segments that still wait for it.
    """

    account: Account
    hour: Window
    day: Window
    pending: int
    drains_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """
    What an outcome changed: the message's new status, and the account before and after.

    ``twice`` is true where it now shows that CallRail took the text more than once.
    """

    message_id: str
    account_before: Account
    account: Account
    position: int
    outcome: Outcome
    status: Status
    twice: bool = False
