"""Passing replies on to where people read them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
GIVE_UP = timedelta(days=1)
"""After this a reply is not tried any more; it stays in the conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """
    A reply to pass on, with what IF3 said of the person in the last text to them.

    ``tries`` counts this one.
    """

    resource_id: str
    text: str
    written_at: datetime
    received_at: datetime
    tries: int
    tracking_number: str | None = None
    recipient: str | None = None
    seller: str | None = None
    seller_id: str | None = None
    opportunity_id: str | None = None
    sender_id: str | None = None

    @property
    def title(self) -> str:
        return f"Text from {self.seller or self.recipient or 'a number that CallRail masks'}"

    @property
    def words(self) -> str:
        """The text, and below it whose it is and which opportunity it belongs to."""
        told = (
            ("From", self.recipient),
            ("To", self.tracking_number),
            ("IF3 opportunity", self.opportunity_id),
            ("IF3 seller", self.seller_id),
            ("IF3 sender", self.sender_id),
        )
        lines = [f"{name}: {value}" for name, value in told if value]
        return "\n".join([self.text or "(no words: a picture, or another file)", "", *lines])

    def retry_at(self, now: datetime) -> datetime | None:
        """When to try again after this try failed; None where it is given up."""
        if now - self.received_at >= GIVE_UP:
            return None
        return now + min(LONGEST_RETRY, FIRST_RETRY * (1 << min(self.tries - 1, 10)))
