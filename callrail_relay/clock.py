"""The only file that reads the time or waits for it."""

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

if sys.platform == "win32":
    import ctypes


class Clock(Protocol):
    def now(self) -> datetime: ...  # aware, in UTC

    def monotonic(self) -> float: ...  # for durations: it doesn't change when the clock is set

    def awake(self) -> float: ...  # without the time that this machine slept

    async def sleep(self, seconds: float) -> None: ...


def pause(seconds: float) -> None:
    """Hold up this thread."""
    time.sleep(seconds)


async def others_turn() -> None:
    """Let whatever else is ready to run in this loop run first."""
    await asyncio.sleep(0)


async def until_woken(woken: asyncio.Event, longest: timedelta, clock: Clock) -> None:
    waits = [asyncio.ensure_future(woken.wait()), asyncio.ensure_future(clock.sleep(longest.total_seconds()))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


class AdjustedClock:
    """This machine's clock, corrected by a better one: waits are ours, the time of day is that one's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = timedelta()
        self.monotonic, self.awake, self.sleep = clock.monotonic, clock.awake, clock.sleep

    def adjust(self, now: datetime) -> None:
        """It is *now* on the other clock."""
        self._ahead = now - self._clock.now()

    def now(self) -> datetime:
        return self._clock.now() + self._ahead


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def awake(self) -> float:
        if sys.platform == "win32":
            # time.monotonic goes on while Windows sleeps; on other systems it stops.
            count = ctypes.c_ulonglong()
            ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(count))
            return count.value / 1e7
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
