"""What the metrics show of the outbox."""

from datetime import timedelta

from callrail_relay.clock import Clock
from callrail_relay.domain.delivery import Readings
from callrail_relay.outbox.store import Outbox
from callrail_relay.service.operations import Operations

OPT_OUTS_AGE = timedelta(minutes=5)
"""How old the number of opt-outs may be: it takes a look at the whole list, which only ever grows."""


class Gauges:
    """Reads the outbox whenever somebody asks, so that every node gives the same answer."""

    def __init__(self, outbox: Outbox, operations: Operations, clock: Clock) -> None:
        self._outbox = outbox
        self._operations = operations
        self._clock = clock
        self._opt_outs: tuple[float, int] | None = None

    async def read(self) -> Readings:
        """How all stands now. Raises Unavailable."""
        return Readings(
            read_at=await self._outbox.now(),
            counts=await self._outbox.read_counts(),
            standings=tuple(await self._operations.standings()),
            opt_outs=await self._count_opt_outs(),
        )

    async def _count_opt_outs(self) -> int:
        now = self._clock.monotonic()
        if self._opt_outs is None or now - self._opt_outs[0] >= OPT_OUTS_AGE.total_seconds():
            self._opt_outs = now, await self._outbox.count_suppressions()
        return self._opt_outs[1]
