"""How many requests an account may make in an hour and in a day."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# https://apidocs.callrail.com/#rate-limiting
GENERAL_PER_HOUR = 1_000
GENERAL_PER_DAY = 10_000


@dataclass(slots=True)
class Bucket:
    """
    Two rolling windows over what was accepted.

    Whether CallRail's windows roll or start at the full hour is not documented; a client that
    stays within rolling ones stays within both.
    """

    per_hour: int
    per_day: int
    _hour: deque[datetime] = field(default_factory=deque)
    _day: deque[datetime] = field(default_factory=deque)

    def used(self, now: datetime) -> tuple[int, int]:
        """What the last 60 minutes and the last 24 hours took."""
        for window, length in ((self._hour, HOUR), (self._day, DAY)):
            while window and window[0] <= now - length:
                window.popleft()
        return len(self._hour), len(self._day)

    def has_room(self, now: datetime) -> bool:
        hour, day = self.used(now)
        return hour < self.per_hour and day < self.per_day

    def spend(self, now: datetime, count: int = 1) -> None:
        self._hour.extend([now] * count)
        self._day.extend([now] * count)

    def headers(self, now: datetime) -> dict[str, str]:
        """The four headers on the answer to a send, seen on 2026-04-07."""
        hour, day = self.used(now)
        return {
            "x-rate-limit-hourly-allowed": str(self.per_hour),
            "x-rate-limit-hourly-used": str(hour),
            "x-rate-limit-daily-allowed": str(self.per_day),
            "x-rate-limit-daily-used": str(day),
        }
