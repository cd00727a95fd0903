"""Waking what delivers when another process, or time, left something to do."""

from collections.abc import Callable
from datetime import timedelta

from callrail_relay.clock import Clock
from callrail_relay.domain.events import EventHook, ignore
from callrail_relay.outbox import wakeup
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.wakeup import Due
from callrail_relay.service.background import Repeating


class Wakeup(Repeating):
    """Asks the store once a second what has become due, and calls *due* when there is something new."""

    look = timedelta(seconds=1)

    def __init__(
        self, store: Store, due: Callable[[], None], *, clock: Clock, hook: EventHook = ignore
    ) -> None:
        super().__init__(clock, hook)
        self._store = store
        self._due = due
        self._known: Due = (None, None)

    async def turn(self) -> None:
        newest = await self._store.read(wakeup.newest_due)
        if newest != self._known:
            self._known = newest
            self._due()
