"""
Settling attempts whose outcome nobody knows, by looking into CallRail's conversations.

An attempt that was under way when its process died has left a record and no
outcome: it may have reached CallRail. It is settled as unknown and looked up, like
one whose answer was lost, before anybody thinks of sending it again.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

from callrail_relay.clock import Clock, until_woken
from callrail_relay.domain.events import (
    AttemptFinished,
    EventHook,
    LookupFailed,
    OutcomeFound,
    ProgramFailed,
    SentTwice,
    ignore,
)
from callrail_relay.domain.matching import FailedLookup, Lookup
from callrail_relay.domain.reconcile import DueLookup, LookupPolicy, Settled
from callrail_relay.domain.routing import Route
from callrail_relay.domain.standing import Recorded
from callrail_relay.errors import Unavailable
from callrail_relay.outbox.store import Outbox

POLL = timedelta(seconds=60)
"""How often to look whether another process left something to look up, should its news have been missed."""

FAULT_RETRY = timedelta(seconds=30)


class ConversationReader(Protocol):
    """
    What reads conversations. It changes nothing at CallRail and may be asked as often as its limits allow.
    """

    async def find_texts(
        self, route: Route, recipient: str, *, since: datetime, conversation_id: str | None
    ) -> Lookup | FailedLookup: ...


class Reconciliation:
    """
    Looks up unknown outcomes as they become due, one after another.
    """

    def __init__(
        self,
        outbox: Outbox,
        reader: ConversationReader,
        policy: LookupPolicy,
        *,
        clock: Clock,
        hook: EventHook = ignore,
        settled: Callable[[], None] = lambda: None,
    ) -> None:
        """
        *settled* is called when an outcome was found, since later texts to that person may leave now.
        """
        self._outbox = outbox
        self._reader = reader
        self._policy = policy
        self._clock = clock
        self._hook = hook
        self._settled = settled
        self._running: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._stopping = False

    async def run(self) -> None:
        """
        Look up until ``stop`` is called.
        """
        if self._stopping:
            return
        self._running = asyncio.create_task(self._run())
        try:
            await self._running
        except asyncio.CancelledError:
            if not self._stopping:
                raise

    def stop(self) -> None:
        """
        Drop what is being looked up: it changes nothing at CallRail, and is looked up again later.
        """
        self._stopping = True
        if self._running is not None:
            self._running.cancel()

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            await until_woken(self._woken, await self._turn_or_wait(), self._clock)

    def wake(self) -> None:
        """
        There may be an outcome to look up, now or soon.
        """
        self._woken.set()

    async def turn(self) -> datetime | None:
        """
        Do every look-up that is due, and say when the next one is. Raises Unavailable when the store fails.
        """
        while not self._stopping:
            due = await self._outbox.claim_lookup(self._policy)
            if due is None:
                break
            await self._look(due)
        return await self._outbox.next_lookup(self._policy)

    async def _turn_or_wait(self) -> timedelta:
        try:
            due_at = await self.turn()
        except Unavailable:
            # Delivery tells about the store.
            return FAULT_RETRY
        except Exception as error:  # noqa: BLE001 - the way in stays open, and a person is told
            self._hook(ProgramFailed(reason=type(error).__name__, retry_in=FAULT_RETRY))
            return FAULT_RETRY
        if due_at is None:
            return POLL
        return min(POLL, max(timedelta(seconds=1), due_at - self._clock.now()))

    async def _look(self, due: DueLookup) -> None:
        lookup = await self._reader.find_texts(
            due.route, due.recipient, since=due.started_at, conversation_id=due.conversation_id
        )
        if isinstance(lookup, FailedLookup):
            await self._outbox.record_failed_lookup(due, lookup, self._policy)
            self._hook(LookupFailed(message_id=due.message_id, reason=lookup.detail))
            return
        for settled in await self._outbox.record_lookup(due, lookup, self._policy):
            tell(self._hook, settled)
            self._settled()


def tell(hook: EventHook, settled: Settled) -> None:
    """
    Say what was found out about a message; loudly, where CallRail took it twice.
    """
    hook(OutcomeFound(message_id=settled.message_id, status=settled.status, detail=settled.detail))
    if settled.twice:
        hook(SentTwice(message_id=settled.message_id))


async def settle_abandoned(
    outbox: Outbox,
    *,
    node: str | None,
    interval: timedelta,
    random: Random,
    hook: EventHook,
    lookups: LookupPolicy | None = None,
) -> None:
    """
    Settle every attempt whose lease ran out, and at the start of *node* each one that it left open.

    Raises Unavailable.
    """
    for recorded in await outbox.settle_abandoned(
        node=node, interval=interval, random=random, lookups=lookups
    ):
        hook(attempt_finished(recorded))
        if recorded.settled is not None:
            tell(hook, recorded.settled)


def attempt_finished(recorded: Recorded) -> AttemptFinished:
    return AttemptFinished(
        message_id=recorded.message_id,
        account_id=recorded.account.id,
        position=recorded.position,
        outcome=recorded.outcome.kind,
        http_status=recorded.outcome.http_status,
        status=recorded.status,
    )
