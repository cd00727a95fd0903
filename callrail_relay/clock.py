"""The only file that reads the time or waits for it."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, Protocol, TypeVar

if sys.platform == "win32":
    import ctypes

T = TypeVar("T")


class Clock(Protocol):
    def now(self) -> datetime: ...  # aware, in UTC

    def monotonic(self) -> float: ...  # for durations: it doesn't change when the clock is set

    def awake(self) -> float: ...  # without the time that this machine slept

    async def sleep(self, seconds: float) -> None: ...


def pause(seconds: float) -> None:
    """Block this thread."""
    time.sleep(seconds)


async def others_turn() -> None:
    """Let everything else run first that is ready in this loop."""
    await asyncio.sleep(0)


async def until_woken(woken: asyncio.Event, longest: timedelta, clock: Clock) -> None:
    waits = [asyncio.ensure_future(woken.wait()), asyncio.ensure_future(clock.sleep(longest.total_seconds()))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


class Cached(Generic[T]):
    """A value that is read again once it's *lasts* old; everyone who asks meanwhile waits for one reading."""

    def __init__(
        self, read: Callable[[], Awaitable[T]], lasts: timedelta, clock: Clock, value: T | None = None
    ) -> None:
        self.value = value  # the last one, however old
        self.read_at: datetime | None = None
        self._read = read
        self._lasts = lasts
        self._clock = clock
        self._lock = asyncio.Lock()
        self._awake = 0.0
        self._expired = False

    async def get(self) -> T:
        """Return the value. Raises what reading raises; the next caller reads again."""
        async with self._lock:
            if self.value is not None and not self.is_old():
                return self.value
            self._expired = False
            try:
                self.value = value = await self._read()
            except BaseException:
                self._expired = True
                raise
            self.read_at, self._awake = self._clock.now(), self._clock.monotonic()
            return value

    def is_old(self) -> bool:
        """By either clock: one stops while the computer sleeps, and the other may be set."""
        if self.read_at is None or self._expired:
            return True
        ages = self._clock.now() - self.read_at, timedelta(seconds=self._clock.monotonic() - self._awake)
        return max(map(abs, ages)) >= self._lasts

    def expire(self) -> None:
        """Have it read again, even if it's being read right now."""
        self._expired = True


class AdjustedClock:
    """This machine's clock, corrected by a better one: durations are ours, the time of day is the other's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = timedelta()
        self.monotonic, self.awake, self.sleep = clock.monotonic, clock.awake, clock.sleep

    def adjust(self, now: datetime) -> None:
        """Note that it's *now* on the other clock."""
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
            # time.monotonic keeps running while Windows sleeps; on other systems it stops.
            count = ctypes.c_ulonglong()
            ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(count))
            return count.value / 1e7
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
