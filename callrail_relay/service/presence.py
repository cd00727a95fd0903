"""Letting other machines know that this one serves the store."""

from datetime import datetime

from callrail_relay.clock import Clock
from callrail_relay.domain.events import EventHook, ignore
from callrail_relay.outbox.presence import BEAT
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import Repeating


class Heartbeat(Repeating):
    """Says again and again that this ``serve`` is there, on a store that several may serve."""

    def __init__(self, store: Store, *, clock: Clock, hook: EventHook = ignore) -> None:
        super().__init__(clock, hook)
        self._store = store

    async def turn(self) -> datetime:
        await self._store.beat()
        return self._clock.now() + BEAT
