"""Telling the owner when something is wrong, once, and when it is over."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from callrail_relay.clock import Clock
from callrail_relay.domain import alerts
from callrail_relay.domain.alerts import AlertPolicy, Facts, Incident, Level, decide, told_together
from callrail_relay.domain.events import AlertFailed, AlertTold, EventHook, ProgramFailed, ignore
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import alerts as store_alerts
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain
from callrail_relay.service.operations import Operations

LOOK = timedelta(seconds=15)
"""How often to look whether something is wrong."""

LEASE = timedelta(minutes=2)
"""How long one node may take to tell; longer than any channel takes to give up."""

FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=30), timedelta(minutes=15)

STORE_PATIENCE = timedelta(minutes=1)
"""How long the store may be silent: somebody else may have locked it for a moment."""

ATTENTION, WELL_AGAIN = "callrail-relay: please look at this", "callrail-relay: well again"


class Channels(Protocol):
    """The ways to the owner. Telling the same twice does no harm; it is done at least once."""

    async def tell(self, title: str, words: str, level: Level) -> Sequence[str]:
        """
        Tell on all channels; returns those that failed, by names without secrets.

        Raises Unavailable when none of them took it.
        """


class Alerts:
    """Looks now and then whether something is wrong. Whatever fails here keeps no text from leaving."""

    def __init__(
        self,
        store: Store,
        operations: Operations,
        channels: Channels,
        policy: AlertPolicy,
        *,
        clock: Clock,
        machine: str,
        free_bytes: Callable[[], int | None],
        hook: EventHook = ignore,
    ) -> None:
        """*free_bytes* tells how much the disk of *machine* still takes; None where that cannot be known."""
        self._store = store
        self._operations = operations
        self._channels = channels
        self._policy = policy
        self._clock = clock
        self._machine = machine
        self._free_bytes = free_bytes
        self._hook = hook
        self._failures = 0
        self._silent_since: datetime | None = None
        self._silence_told = False
        self._running: asyncio.Task[None] | None = None
        self._stopping = False

    async def run(self) -> None:
        """Look and tell until ``stop`` is called."""
        if self._stopping:
            return
        self._running = asyncio.create_task(self._run())
        with contextlib.suppress(asyncio.CancelledError):
            await self._running

    def stop(self) -> None:
        """End at once; what was being told is told again later."""
        self._stopping = True
        if self._running is not None:
            self._running.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self.turn()
            except Exception as error:  # noqa: BLE001 - delivery goes on whatever happens here
                self._hook(ProgramFailed(reason=type(error).__name__, retry_in=LOOK))
            await self._clock.sleep(LOOK.total_seconds())

    async def turn(self) -> None:
        """Look once, and tell what is to be told."""
        try:
            if await self._look():
                await self._tell(await self._store.write(store_alerts.claim_alerts, LEASE))
        except Unavailable as error:
            await self._store_is_silent(error)
        else:
            await self._store_answers()

    async def _look(self) -> bool:
        """Open what is wrong, end what is over; says whether anything is to be told."""
        standings = await self._operations.standings()
        known = await self._store.read(store_alerts.read_incidents)
        facts = Facts(
            now=await self._store.now(),
            standings=tuple(standings),
            waiting=await self._store.read(store_alerts.read_undecided, self._policy.waiting),
            failures=await self._store.read(
                store_alerts.count_failures, [one.account.id for one in standings]
            ),
            machine=self._machine,
            free_bytes=self._free_bytes(),
            pauses={
                one.account.id: explain(one.account.paused_reason)
                for one in standings
                if one.account.paused_reason is not None
            },
        )
        changes = decide(facts, known, self._policy)
        if changes:
            await self._store.write(store_alerts.change_incidents, changes)
        return bool(changes) or any(one.told_at is None for one in known)

    async def _tell(self, claimed: Sequence[Incident]) -> None:
        if not claimed:
            return
        levels = {one.level for one in claimed}
        level = next(one for one in (Level.ERROR, Level.WARNING, Level.OVER) if one in levels)
        if await self._told(told_together(claimed), level):
            await self._store.write(store_alerts.mark_told, claimed)
        else:
            await self._store.write(store_alerts.put_off, claimed, await self._store.now() + self._retry_in())

    async def _told(self, words: str, level: Level) -> bool:
        title = WELL_AGAIN if level is Level.OVER else ATTENTION
        try:
            failed = await self._channels.tell(title, words, level)
        except Unavailable as error:
            self._failures += 1
            self._hook(AlertFailed(reason=str(error), retry_in=self._retry_in()))
            return False
        self._failures = 0
        self._hook(AlertTold(alert=words, failed_channels=tuple(failed)))
        return True

    def _retry_in(self) -> timedelta:
        doublings = min(max(0, self._failures - 1), 10)
        return min(LONGEST_RETRY, FIRST_RETRY * (1 << doublings))

    async def _store_is_silent(self, error: Unavailable) -> None:
        """Tell past the store that it does not work, which no incident in it could say."""
        now = self._clock.now()
        self._silent_since = self._silent_since or now
        if not self._silence_told and now - self._silent_since >= STORE_PATIENCE:
            words = alerts.store_silent(str(error), self._silent_since)
            self._silence_told = await self._told(words, Level.ERROR)

    async def _store_answers(self) -> None:
        self._silent_since = None
        if self._silence_told:
            self._silence_told = not await self._told(alerts.store_silent_over(), Level.OVER)
