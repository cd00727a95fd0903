"""Requests that were refused: counted, and logged once a minute."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from callrail_relay.clock import Clock
from callrail_relay.domain.events import EventHook, RequestsRefused, ignore

LOG_EVERY = timedelta(minutes=1)

Refused = Callable[[str], None]
"""Takes the reason why one request was refused: one of a few, and nothing that the request brought along."""


def uncounted(_reason: str) -> None:
    """Ignore a refused request."""


class Refusals:
    """
    Counts refused requests by reason, so that no flood of them fills the log.

    The first is logged at once, and what follows once a minute.
    """

    def __init__(self, clock: Clock, hook: EventHook = ignore) -> None:
        self._clock = clock
        self._hook = hook
        self._counts: Counter[str] = Counter()
        self._logging: asyncio.Task[None] | None = None

    def count(self, reason: str) -> None:
        self._counts[reason] += 1
        if self._logging is None:
            self._logging = asyncio.create_task(self._log_every_minute())

    def close(self) -> None:
        """Log what was counted since the last time, and no more."""
        if self._logging is not None:
            self._logging.cancel()
        self._log()

    async def _log_every_minute(self) -> None:
        while self._counts:
            self._log()
            await self._clock.sleep(LOG_EVERY.total_seconds())
        self._logging = None

    def _log(self) -> None:
        counts, self._counts = self._counts, Counter()
        for reason, count in counts.items():
            self._hook(RequestsRefused(reason=reason, count=count))
