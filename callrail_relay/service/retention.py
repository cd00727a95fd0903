"""Removing texts and phones after their time, a little at a time beside what else is done."""

from datetime import datetime, timedelta

from callrail_relay.clock import Clock
from callrail_relay.domain.events import EventHook, ignore
from callrail_relay.outbox import retention
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import Repeating

STEP = 100
"""Submissions that are looked at in one transaction: some milliseconds, for which a webhook can wait."""


class Retention(Repeating):
    """Removes what is personal from texts that ended, once they came longer ago than *after*."""

    look = timedelta(hours=1)

    def __init__(self, store: Store, after: timedelta, *, clock: Clock, hook: EventHook = ignore) -> None:
        super().__init__(clock, hook)
        self._store = store
        self._after = after

    async def turn(self) -> datetime | None:
        """Remove one step's worth; where there may be more, the next turn is due at once."""
        now = await self._store.now()
        retired = await self._store.write(retention.retire, now - self._after, STEP)
        if retired < STEP:
            await self._store.empty_log()
        return now if retired >= STEP else None
