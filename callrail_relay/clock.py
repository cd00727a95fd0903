"""
The only file that reads the time or waits for it.
"""

import asyncio
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """
    Tells the time, and waits.
    """

    def now(self) -> datetime:
        """
        The present instant, aware, in UTC.
        """

    async def sleep(self, seconds: float) -> None:
        """
        Return when *seconds* have passed on this clock.
        """


class SystemClock:
    """
    The clock of this machine.
    """

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
