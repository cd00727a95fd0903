"""Looking up what nobody knows: when to look, and what follows from what was found."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from callrail_relay.domain.message import Status
from callrail_relay.domain.routing import Route

LADDER = (timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))
RETRY_SOON = timedelta(minutes=1)
RETRY_LATER = timedelta(minutes=15)
LONGEST = timedelta(days=1)
"""After this no more look-ups are tried, though CallRail never answered one."""

AUDIT_AFTER = timedelta(minutes=2)
"""When to look once more after a person had a text sent again: the first one may have arrived after all."""


class OnUnknown(StrEnum):
    """What becomes of a text that no look-up found."""

    ASK = "ask"
    RESEND_ONCE = "resend_once"


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupPolicy:
    """
    When and how to look up.

    ``ladder`` holds the spans from the moment an outcome became unknown to each look-up.
    ``requests_per_hour`` is how many of CallRail's 1,000 general requests an hour may
    go into look-ups. ``lease`` is how long one may take.
    """

    accounts: frozenset[str]
    ladder: tuple[timedelta, ...] = LADDER
    on_unknown: OnUnknown = OnUnknown.ASK
    requests_per_hour: int = 800
    lease: timedelta = timedelta(minutes=3)
    recipient_interval: timedelta = timedelta(seconds=1)

    def next_look(self, unknown_since: datetime, *, answered: bool, now: datetime) -> datetime | None:
        """
        When to look again after a look-up; None when no more is to be expected of it.

        One that CallRail did not answer is no rung of the ladder: it is tried again. One that it
        answered late stands for all the rungs before it.
        """
        if answered:
            rungs = (unknown_since + rung for rung in self.ladder)
            return next((rung for rung in rungs if rung > now), None)
        if now - unknown_since > LONGEST:
            return None
        return now + (RETRY_SOON if now < self.blocks_until(unknown_since) else RETRY_LATER)

    def blocks_until(self, unknown_since: datetime) -> datetime:
        """How long later texts to the same person wait for it."""
        return unknown_since + self.ladder[-1] + RETRY_SOON


@dataclass(frozen=True, slots=True, kw_only=True)
class DueLookup:
    """
    An attempt to be looked up now; *conversation_id* is that of the person, where it is known.

    Nobody else looks it up before ``lease_until``.
    """

    attempt_id: int
    message_id: str
    route: Route
    recipient: str
    started_at: datetime
    conversation_id: str | None
    lease_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """
    What a look-up, or a late answer, made of a message.

    ``twice`` is true where it now shows that CallRail took the text more than once.
    """

    message_id: str
    status: Status
    detail: str
    twice: bool = False
