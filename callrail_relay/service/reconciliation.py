"""Settling unknown outcomes, also of a process that died, by reading CallRail's conversations."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

from callrail_relay.clock import Clock
from callrail_relay.domain import events
from callrail_relay.domain.delivery import RecordResult
from callrail_relay.domain.events import EventHook, ignore
from callrail_relay.domain.reconcile import DueLookup, FailedLookup, Lookup, LookupPolicy, Settled
from callrail_relay.domain.routing import Route
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import lookups as store_lookups
from callrail_relay.outbox import record
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import PeriodicTask


class ConversationReader(Protocol):
    """Reads conversations, which changes nothing at CallRail."""

    async def find_texts(
        self, route: Route, recipient: str, *, since: datetime, conversation_id: str | None
    ) -> Lookup | FailedLookup: ...


class Reconciliation(PeriodicTask):
    """Looks up unknown outcomes as they become due, one after another."""

    def __init__(
        self,
        store: Store,
        reader: ConversationReader,
        policy: LookupPolicy,
        *,
        clock: Clock,
        hook: EventHook = ignore,
        settled: Callable[[], None] = lambda: None,
    ) -> None:
        """*settled* is called after each look-up, which may let later texts to that person be sent."""
        super().__init__(store, clock=clock, hook=hook)
        self._reader = reader
        self._policy = policy
        self._settled = settled
        self._begun: DueLookup | None = None

    async def turn(self) -> datetime | None:
        while not self._stopping:
            due = await self._store.write(store_lookups.claim_lookup, self._policy, self._begun)
            self._begun = None
            if due is None:
                break
            try:
                await self._look(due)
            except Unavailable:
                # What was found could not be stored; texts to that person wait for it.
                self._begun = due
                raise
        return await self._store.read(store_lookups.next_lookup, self._policy)

    async def _look(self, due: DueLookup) -> None:
        lookup = await self._reader.find_texts(
            due.route, due.recipient, since=due.started_at, conversation_id=due.conversation_id
        )
        if isinstance(lookup, FailedLookup):
            await self._store.write(store_lookups.record_failed_lookup, due, lookup, self._policy)
            self._hook(events.LookupFailed(message_id=due.message_id, reason=lookup.detail))
        else:
            for settled in await self._store.write(store_lookups.record_lookup, due, lookup, self._policy):
                tell(self._hook, settled)
        self._settled()


def tell(hook: EventHook, settled: Settled) -> None:
    """Report what was found out about a message, and if CallRail took it twice."""
    hook(events.OutcomeFound(message_id=settled.message_id, status=settled.status, detail=settled.detail))
    if settled.twice:
        hook(events.SentTwice(message_id=settled.message_id))


async def settle_abandoned(
    store: Store,
    *,
    node: str | None,
    interval: timedelta,
    random: Random,
    hook: EventHook,
    lookups: LookupPolicy | None = None,
) -> bool:
    """Settle attempts whose lease ran out, at *node*'s start all its own; return whether there were any."""
    abandoned = await store.write(
        record.settle_abandoned, node=node, interval=interval, random=random, lookups=lookups
    )
    for recorded in abandoned:
        hook(attempt_finished(recorded))
        if recorded.settled is not None:
            tell(hook, recorded.settled)
    return bool(abandoned)


def attempt_finished(recorded: RecordResult) -> events.AttemptFinished:
    return events.AttemptFinished(
        message_id=recorded.message_id,
        account_id=recorded.account.id,
        position=recorded.position,
        outcome=recorded.outcome.kind,
        http_status=recorded.outcome.http_status,
        status=recorded.status,
    )
