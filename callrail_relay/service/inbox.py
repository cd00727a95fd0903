"""
Mapping what a burst of webhooks left in the inbox.
"""

from collections.abc import Callable
from datetime import datetime

from callrail_relay.clock import Clock
from callrail_relay.domain.events import EventHook, ignore
from callrail_relay.service.intake import Intake
from callrail_relay.service.repeating import Repeating

GIVES_WAY = 9
"""While requests come, mapping rests so many times as long as it worked: taking them comes first."""


class InboxMapping(Repeating):
    """
    Maps the inbox, a portion at a time, until it is empty.
    """

    def __init__(
        self, intake: Intake, *, clock: Clock, hook: EventHook = ignore, mapped: Callable[[], None]
    ) -> None:
        """
        *mapped* is called when there are new messages.
        """
        super().__init__(clock, hook)
        self._intake = intake
        self._mapped = mapped
        self._seen = 0
        intake.left = self.wake

    async def turn(self) -> datetime | None:
        while await self._intake.has_left():
            began = self._clock.monotonic()
            await self._intake.map_inbox()
            self._mapped()
            await self._give_way(self._clock.monotonic() - began)
        return None

    async def _give_way(self, worked: float) -> None:
        """
        Rest where requests came meanwhile.
        """
        if self._intake.taken != self._seen:
            self._seen = self._intake.taken
            await self._clock.sleep(worked * GIVES_WAY)
