"""Noticing that something changed, while a page is open."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta

from callrail_relay.clock import Clock, until_woken
from callrail_relay.domain.events import Event
from callrail_relay.errors import Unavailable

LOOK = timedelta(milliseconds=500)
"""How often to look for what other programs and machines changed in the store."""

PAUSE = timedelta(milliseconds=200)
"""A burst of changes is reported once in this time."""

HEARTBEAT = timedelta(seconds=15)
"""How long a stream is silent at most: so a connection that is gone is noticed."""


class ChangeSignal:
    """Notes that something happened in this process; an event hook."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.count = 0

    def __call__(self, _event: Event | None = None) -> None:
        self.count += 1
        self.woken.set()


class ChangeFeed:
    """The version of what all pages show. One task looks at the store while any stream is open."""

    def __init__(self, signal: ChangeSignal, read_marker: Callable[[], Awaitable[str]], clock: Clock) -> None:
        self._signal = signal
        self._read_marker = read_marker
        self._clock = clock
        self._version = ""
        self._changed = asyncio.Condition()
        self._listening = 0
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    async def version(self) -> str:
        """Return a text that differs after every change."""
        count = self._signal.count
        return f"{await self._read_marker()}-{count}"

    async def versions(self, known: str) -> AsyncGenerator[str]:
        """Each version after *known* as soon as it is there; after HEARTBEAT the known one again."""
        self._listening += 1
        # A new stream learns at once what it missed.
        self._signal.woken.set()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            while not self._closed:
                yield (known := await self._newer(known))
        finally:
            self._listening -= 1

    async def _newer(self, known: str) -> str:
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT.total_seconds()):
                    await self._changed.wait_for(lambda: self._closed or self._version not in ("", known))
            return self._version or known

    async def _look(self) -> None:
        try:
            while self._listening and not self._closed:
                self._signal.woken.clear()
                with contextlib.suppress(Unavailable):
                    version = await self.version()
                    async with self._changed:
                        self._version = version
                        self._changed.notify_all()
                await self._clock.sleep(PAUSE.total_seconds())
                await until_woken(self._signal.woken, LOOK - PAUSE, self._clock)
        finally:
            self._looking = None
            self._version = ""

    async def close(self) -> None:
        """End every stream."""
        self._closed = True
        self._signal.woken.set()
        async with self._changed:
            self._changed.notify_all()
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
