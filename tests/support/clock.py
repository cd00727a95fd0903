"""A clock that moves only when a test moves it."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
"""A Monday morning in North America."""


class ManualClock:
    """
    A Clock whose time passes only by ``advance``: a sleeping task wakes when the clock has come far enough.
    """

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._passed = 0.0
        self._sleepers: dict[asyncio.Future[None], datetime] = {}
        self._changed = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._passed

    def awake(self) -> float:
        return self._passed

    def suspend(self, span: timedelta) -> None:
        """Let the machine sleep for *span*: the clock goes on, and no task wakes."""
        self._now += span

    async def sleep(self, seconds: float) -> None:
        """Return when the clock was advanced by *seconds*; at once if there is nothing to wait for."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[woken] = self._now + timedelta(seconds=seconds)
        self._changed.set()
        try:
            await woken
        finally:
            del self._sleepers[woken]
            self._changed.set()

    def advance(self, span: timedelta | float) -> datetime:
        """
        Let *span* (seconds, where it is a number) pass, wake whose time has come, and return the new instant.
        """
        return self.set(self._now + (span if isinstance(span, timedelta) else timedelta(seconds=span)))

    def set(self, now: datetime) -> datetime:
        """
        Move the clock to *now*, and wake tasks whose time has come; setting it back wakes none, and takes no
        second from ``monotonic``.
        """
        self._passed += max(0.0, (now - self._now).total_seconds())
        self._now = now
        for woken, wake_at in self._sleepers.items():
            if wake_at <= now and not woken.done():
                woken.set_result(None)
        return now

    @property
    def wake_ats(self) -> list[datetime]:
        """When those who sleep want to be woken, soonest first."""
        return sorted(wake_at for woken, wake_at in self._sleepers.items() if not woken.done())

    async def until_asleep(self, count: int = 1) -> list[datetime]:
        """Wait until at least *count* sleep, and return ``wake_ats``: for workers that come to rest."""
        while len(self.wake_ats) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.wake_ats
