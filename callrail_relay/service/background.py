"""Background tasks: work that is done again and again beside delivery."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from callrail_relay.clock import Clock, until_woken
from callrail_relay.domain.events import EventHook, ProgramFailed, RequestsRefused, ignore
from callrail_relay.domain.health import CONTACT_AGE
from callrail_relay.domain.routing import Discovery
from callrail_relay.errors import RefusedByCallRail, Unavailable
from callrail_relay.outbox import presence, retention
from callrail_relay.outbox.claim import Due, newest_due
from callrail_relay.outbox.presence import BEAT
from callrail_relay.outbox.store import Store

FAULT_RETRY = timedelta(seconds=30)
STORE_RETRY = timedelta(seconds=5)


class PeriodicTask(ABC):
    """Takes turns, which must be safe to interrupt and repeat; a fault ends its turn only."""

    look: timedelta = timedelta(seconds=60)
    """How often to look, at least: another process may have left something."""

    def __init__(self, store: Store, *, clock: Clock, hook: EventHook = ignore) -> None:
        self._store = store
        self._clock = clock
        self._hook = hook
        self._running: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._stopping = False

    @abstractmethod
    async def turn(self) -> datetime | None:
        """Do what is due, and return when more is; None if only ``wake`` can tell."""

    async def run(self) -> None:
        if self._stopping:
            return
        self._running = asyncio.create_task(self._run())
        try:
            await self._running
        except asyncio.CancelledError:
            if not self._stopping:
                raise

    def stop(self) -> None:
        self._stopping = True
        if self._running is not None:
            self._running.cancel()

    def wake(self) -> None:
        self._woken.set()

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            await until_woken(self._woken, await self._turn_or_wait(), self._clock)

    async def _turn_or_wait(self) -> timedelta:
        try:
            due_at = await self.turn()
        except Unavailable:  # delivery tells about the store
            return STORE_RETRY
        except Exception as error:  # noqa: BLE001 - the webhook stays open, and a person gets an alert
            self._hook(ProgramFailed(reason=type(error).__name__, retry_in=FAULT_RETRY))
            return FAULT_RETRY
        if due_at is None:
            return self.look
        return min(self.look, max(timedelta(seconds=1), due_at - self._clock.now()))


class Wakeup(PeriodicTask):
    """Asks the store once a second what has become due, and calls *due* when there is something new."""

    look = timedelta(seconds=1)

    def __init__(
        self, store: Store, due: Callable[[], None], *, clock: Clock, hook: EventHook = ignore
    ) -> None:
        super().__init__(store, clock=clock, hook=hook)
        self._due = due
        self._known: Due = (None, None)

    async def turn(self) -> None:
        newest = await self._store.read(newest_due)
        if newest != self._known:
            self._known = newest
            self._due()


class Connection(PeriodicTask):
    """Asks CallRail for its accounts when it hasn't answered for CONTACT_AGE."""

    def __init__(
        self,
        store: Store,
        callrail: Discovery,
        account_ids: Sequence[str],
        *,
        clock: Clock,
        hook: EventHook = ignore,
    ) -> None:
        super().__init__(store, clock=clock, hook=hook)
        self._callrail = callrail
        self._account_ids = account_ids

    async def turn(self) -> datetime | None:
        now = await self._store.now()
        known = (await self._store.read(presence.read_contacts, self._account_ids)).values()
        if all(one.is_recent(now) and not one.is_lost for one in known):
            return min((one.answered_at for one in known if one.answered_at), default=now) + CONTACT_AGE
        try:
            accounts = await self._callrail.accounts()
        except (RefusedByCallRail, Unavailable):
            accounts = []
        visible = {id_ for one in accounts for id_ in (one.id, one.numeric_id)}
        for answered in (True, False):
            if ids := [id_ for id_ in self._account_ids if (id_ in visible) is answered]:
                await self._store.write(presence.note_contacts, ids, answered=answered)
        return None


class Heartbeat(PeriodicTask):
    """Notes again and again that this ``serve`` runs, on a store that several may serve."""

    async def turn(self) -> datetime:
        await self._store.beat()
        return self._clock.now() + BEAT


STEP = 100
"""Submissions that one transaction looks at: some milliseconds, for which a webhook can wait."""


class Retention(PeriodicTask):
    """Removes what is personal from texts that ended, once they came longer ago than *after*."""

    look = timedelta(hours=1)

    def __init__(self, store: Store, after: timedelta, *, clock: Clock, hook: EventHook = ignore) -> None:
        super().__init__(store, clock=clock, hook=hook)
        self._after = after

    async def turn(self) -> datetime | None:
        """Remove at most STEP; if there may be more, the next turn is due at once."""
        now = await self._store.now()
        if await self._store.write(retention.retire, now - self._after, STEP) >= STEP:
            return now
        await self._store.empty_log()
        return None


LOG_EVERY = timedelta(minutes=1)

Refused = Callable[[str], None]
"""Takes the reason why one request was refused: one of a few, and nothing that the request brought along."""


def uncounted(_reason: str) -> None:
    pass


class Refusals:
    """Counts refused requests by reason: the first is logged at once, and what follows once a minute."""

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
