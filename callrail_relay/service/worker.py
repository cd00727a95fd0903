"""
Everything that works on the outbox in one process: sending, looking up what nobody knows, hearing of replies.
"""

import asyncio
from typing import Protocol

from callrail_relay.service.delivery import Delivery
from callrail_relay.service.reconciliation import Reconciliation


class Beside(Protocol):
    """What works beside delivery: it runs until it is told to stop."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...

    def wake(self) -> None: ...


class Worker:
    """Delivery, reconciliation and what else there is, started and stopped together."""

    def __init__(self, delivery: Delivery, reconciliation: Reconciliation, *others: Beside) -> None:
        self._delivery = delivery
        self._reconciliation = reconciliation
        self._beside: tuple[Beside, ...] = (reconciliation, *others)

    async def run(self) -> None:
        """Work until ``stop`` is called; what is under way then finishes first."""
        await asyncio.gather(
            self._delivery.run(unsettled=self._reconciliation.wake),
            *(other.run() for other in self._beside),
        )

    def stop(self) -> None:
        self._delivery.stop()
        for other in self._beside:
            other.stop()

    def wake(self) -> None:
        """Something came in."""
        self._delivery.wake()

    def heard(self) -> None:
        """CallRail told of a text: that may concern everybody."""
        self._delivery.wake()
        for other in self._beside:
            other.wake()
