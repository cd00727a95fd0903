"""
Who is not to be texted any more.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from callrail_relay.domain.message import instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """
    A person who opted out of texts from one tracking number, since when and why.
    """

    tracking_number: str
    recipient: str
    reason: str
    created_at: datetime

    def document(self) -> dict[str, Any]:
        return {
            "recipient": self.recipient,
            "tracking_number": self.tracking_number,
            "reason": self.reason,
            "created_at": instant(self.created_at),
        }
