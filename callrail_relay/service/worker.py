"""
Everything that works on the outbox in one process: sending, and looking up what nobody knows.
"""

import asyncio

from callrail_relay.service.delivery import Delivery
from callrail_relay.service.reconciliation import Reconciliation


class Worker:
    """
    Delivery and reconciliation, started and stopped together.
    """

    def __init__(self, delivery: Delivery, reconciliation: Reconciliation) -> None:
        self._delivery = delivery
        self._reconciliation = reconciliation

    async def run(self) -> None:
        """
        Work until ``stop`` is called; what is under way then finishes first.
        """
        await asyncio.gather(
            self._delivery.run(unsettled=self._reconciliation.wake), self._reconciliation.run()
        )

    def stop(self) -> None:
        self._delivery.stop()
        self._reconciliation.stop()

    def wake(self) -> None:
        """
        Something came in.
        """
        self._delivery.wake()
