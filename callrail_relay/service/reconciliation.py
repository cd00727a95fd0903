"""Settles unknown outcomes by reading CallRail's conversations."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from callrail_relay.domain import events
from callrail_relay.domain.reconcile import DueLookup, Lookup, LookupPolicy
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import lookups
from callrail_relay.service.background import PeriodicTask


@dataclass(eq=False)
class Reconciliation(PeriodicTask):
    """Looks up unknown outcomes as they become due, one after another."""

    find_texts: Callable[..., Awaitable[Lookup]]  # reads a conversation
    policy: LookupPolicy
    settled: Callable[[], None]  # called after each look-up, which may let later texts to that person be sent
    _begun: DueLookup | None = field(default=None, init=False)

    async def turn(self) -> datetime | None:
        while not self._stopping:
            due = await self.store.write(lookups.claim_lookup, self.policy, self._begun)
            self._begun = None
            if due is None:
                break
            try:
                await self._look(due)
            except Unavailable:
                # What was found couldn't be stored; texts to that person wait for it.
                self._begun = due
                raise
        return await self.store.read(lookups.next_lookup, self.policy)

    async def _look(self, due: DueLookup) -> None:
        lookup = await self.find_texts(
            due.route, due.recipient, since=due.started_at, conversation_id=due.conversation_id
        )
        for event in await self.store.write(lookups.record_lookup, due, lookup, self.policy):
            self.hook(event)
        if lookup.fault is not None:
            self.hook(events.LookupFailed(message_id=due.message_id, reason=lookup.fault))
        self.settled()
