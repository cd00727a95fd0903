"""Letting other machines know that this one serves the store."""

from datetime import datetime

from callrail_relay.clock import Clock
from callrail_relay.domain.events import EventHook, ignore
from callrail_relay.outbox.presence import BEAT
from callrail_relay.outbox.store import Outbox
from callrail_relay.service.background import Repeating


class Heartbeat(Repeating):
    """Says again and again that this ``serve`` is there, on a store that several may serve."""

    def __init__(self, outbox: Outbox, *, clock: Clock, hook: EventHook = ignore) -> None:
        super().__init__(clock, hook)
        self._outbox = outbox

    async def turn(self) -> datetime:
        await self._outbox.beat()
        return self._clock.now() + BEAT
