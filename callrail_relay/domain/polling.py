"""Looking for replies where CallRail's webhooks cannot reach: how often, and how far back."""

from dataclasses import dataclass
from datetime import datetime, timedelta

OVERLAP = timedelta(minutes=10)
"""How far each look reaches behind the one before it: clocks differ, and CallRail may show a text late."""

FIRST = timedelta(days=1)
"""How far the very first look reaches back."""

LONGEST = timedelta(days=7)
"""How far a look reaches back at most, after the relay was off."""

Company = tuple[str, str]
"""An account and a company of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollPolicy:
    """
    How to look for replies.

    ``requests_per_hour`` is shared with looking up texts. ``lease`` is how long one look may take.
    """

    companies: tuple[Company, ...]
    every: timedelta
    requests_per_hour: int = 800
    lease: timedelta = timedelta(minutes=5)

    def since(self, now: datetime, covered: datetime | None) -> datetime:
        """From when on to look, where the last look that ended well began at *covered*."""
        if covered is None:
            return now - FIRST
        return max(covered - OVERLAP, now - LONGEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePoll:
    """A look for replies that is ours to make now."""

    id: int
    account_id: str
    company_id: str
    since: datetime
