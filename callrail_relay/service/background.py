"""Work that is done again and again beside delivery, until it is told to stop."""

import asyncio
from abc import ABC, abstractmethod
from datetime import datetime, timedelta

from callrail_relay.clock import Clock, until_woken
from callrail_relay.domain.events import EventHook, ProgramFailed, ignore
from callrail_relay.errors import Unavailable

FAULT_RETRY = timedelta(seconds=30)
STORE_RETRY = timedelta(seconds=5)
"""A database that was restarted is back in seconds, and texts wait for what is looked up."""


class PeriodicTask(ABC):
    """
    Takes turns; a fault in one of them ends that turn and nothing else.

    What is under way when it is told to stop is dropped, so it must be such that it can be done again.
    """

    look: timedelta = timedelta(seconds=60)
    """How often to look, at least: another process may have left something."""

    def __init__(self, clock: Clock, hook: EventHook = ignore) -> None:
        self._clock = clock
        self._hook = hook
        self._running: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._stopping = False

    @abstractmethod
    async def turn(self) -> datetime | None:
        """Do what is due, and say when more is; None when only news can change that."""

    async def run(self) -> None:
        """Take turns until ``stop`` is called."""
        if self._stopping:
            return
        self._running = asyncio.create_task(self._run())
        try:
            await self._running
        except asyncio.CancelledError:
            if not self._stopping:
                raise

    def stop(self) -> None:
        self._stopping = True
        if self._running is not None:
            self._running.cancel()

    def wake(self) -> None:
        """There may be something to do, now or soon."""
        self._woken.set()

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            await until_woken(self._woken, await self._turn_or_wait(), self._clock)

    async def _turn_or_wait(self) -> timedelta:
        try:
            due_at = await self.turn()
        except Unavailable:
            # Delivery tells about the store.
            return STORE_RETRY
        except Exception as error:  # noqa: BLE001 - the way in stays open, and a person is told
            self._hook(ProgramFailed(reason=type(error).__name__, retry_in=FAULT_RETRY))
            return FAULT_RETRY
        if due_at is None:
            return self.look
        return min(self.look, max(timedelta(seconds=1), due_at - self._clock.now()))
