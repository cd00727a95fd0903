"""Who is not to be texted any more."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from callrail_relay.domain.message import instant


class Origin(StrEnum):
    """Whose word put a person on the list."""

    REPLY = "reply"
    """The person's own: a keyword by which CallRail opts them out as well, and asks for YES to undo it."""

    WORDS = "own words"
    """The person's own, in words that mean nothing to CallRail: a YES then answers something else."""

    REFUSAL = "refusal"
    """CallRail's: it refused a text since the person had opted out there."""

    BY_HAND = "by hand"
    """Somebody's in the office, or that of a list that was imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleOptOut:
    """A reply that may ask for no more texts; ``words`` are empty once they were removed for their age."""

    words: str
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """A person who opted out of texts from one tracking number, since when and why."""

    tracking_number: str
    recipient: str
    reason: str
    created_at: datetime
    origin: Origin = Origin.BY_HAND

    def document(self) -> dict[str, Any]:
        return {
            "recipient": self.recipient,
            "tracking_number": self.tracking_number,
            "reason": self.reason,
            "created_at": instant(self.created_at),
        }
