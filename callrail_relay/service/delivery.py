"""Sends what is due, until it's stopped."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from random import Random

from callrail_relay.clock import others_turn
from callrail_relay.domain import events
from callrail_relay.domain.delivery import Claim, ClaimPolicy, ClaimResult
from callrail_relay.domain.outcome import NotSent, Outcome, Refusal, Rejected, Unknown, Unsendable
from callrail_relay.domain.phone import mask_all
from callrail_relay.domain.reconcile import LookupPolicy
from callrail_relay.domain.routing import Route
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import claim as store_claim
from callrail_relay.outbox import record
from callrail_relay.outbox.rows import look_at_all
from callrail_relay.service.background import STORE_RETRY, PeriodicTask
from callrail_relay.service.reconciliation import Reconciliation
from callrail_relay.service.replies import Polling

LEASE_CHECK = timedelta(seconds=15)  # how often to look for attempts that were left open; the rest wakes us
# How old a claim may be when its text is sent. A lease outlasts the time-outs by more than this; a text sent
# later could be given up, and the next ones sent, while it's in flight.
STALE = timedelta(seconds=5)
NEVER_LEFT = NotSent("the database didn't answer in time, so the text was not sent.", own_fault=True)

Send = Callable[[Route, str, str], Awaitable[Outcome]]  # sends one segment; called once per attempt
Recorded = list[events.Event] | Exception  # the events of an attempt


@dataclass(eq=False)
class Delivery(PeriodicTask):
    """The sender of one process. Several may work on one store: only the claim keeps them apart."""

    send: Send
    policy: ClaimPolicy
    lookups: LookupPolicy
    concurrency: int
    random: Random
    node: str
    closed: AbstractSet[str] = frozenset()  # accounts that send nothing now

    unsettled: Callable[[], None] = lambda: None  # called when there may be an outcome to look up
    about_to_claim: Callable[[], None] = lambda: None  # may close accounts

    look = LEASE_CHECK
    rest = timedelta()
    finishes = True
    reports_store = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._under_way: set[asyncio.Task[None]] = set()
        self._sending = 0
        self._open: set[int] = set()
        self._unsure = False
        self._followed = False  # another policy, by which an account may be due earlier
        self._ended: dict[int, Outcome] = {}  # outcomes to record, by attempt
        self._recorded: dict[int, Recorded] = {}
        self._recording = asyncio.Lock()
        self._leases_checked_at: float | None = None
        self._lease_ends_at: datetime | None = None

    def follow(self, claim: ClaimPolicy) -> None:
        """Claim by the limits and guards of *claim* from now on; a claim in progress ends as it began."""
        self.policy = replace(self.policy, limits=claim.limits, guards=claim.guards)
        self._followed = True
        self.wake()

    async def run(self) -> None:
        """Deliver until ``stop`` is called; what is in flight then finishes first."""
        try:
            await super().run()
        finally:
            await self.settle()

    async def turn(self) -> datetime | None:
        """Start every attempt that may start now; return when the next one may, or a lease ends, if known."""
        await self._settle_abandoned()
        await self._settle_unsent()
        if self._followed:
            policy = self.policy
            await self.store.write(look_at_all)
            self._followed = policy is not self.policy  # changed once more meanwhile
        while (room := self.concurrency - self._sending) > 0 and not self._stopping:
            self._woken.clear()
            result = await self._claim(room)
            # What woke us since then may have come too late for this claim.
            if len(result.claims) < room and not self._woken.is_set():
                return min(filter(None, (result.wake_at, self._lease_ends_at)), default=None)
        return self._lease_ends_at

    async def _claim(self, most: int) -> ClaimResult:
        """Claim the next segments, *most* at most, and start to send them."""
        self.about_to_claim()
        began = self._clock.monotonic()
        policy = self.policy
        try:
            if self.closed:
                policy = replace(policy, accounts=policy.accounts - self.closed)
            result = await self.store.write(store_claim.claim, self.node, policy, most=most)
        except BaseException:
            # It may be in the store all the same: the connection may have broken after the commit.
            self._unsure = True
            raise
        self._report(result.held)
        for claim in result.claims:
            self._sending += 1
            self._open.add(claim.attempt_id)
            task = asyncio.create_task(self._attempt(claim, began))
            self._under_way.add(task)
            task.add_done_callback(self._finished)
        return result

    async def settle(self) -> None:
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _settle_abandoned(self) -> None:
        """Settle attempts that were left open: at the start our own, later those whose lease ran out."""
        now, checked_at = self._clock.monotonic(), self._leases_checked_at
        one_ends = self._lease_ends_at is not None and self._lease_ends_at <= self._clock.now()
        if checked_at is not None and now - checked_at < LEASE_CHECK.total_seconds() and not one_ends:
            return
        node, lookups = self.node if checked_at is None else None, self.lookups
        settle = partial(record.settle_abandoned, node=node, random=self.random, lookups=lookups)
        self._report(await self.store.write(settle))
        await self.store.write(store_claim.take_up_forgotten)
        self._leases_checked_at = now
        self._lease_ends_at = await self.store.read(record.next_lease_end)

    async def _settle_unsent(self) -> None:
        """Take back attempts that the store made but couldn't report to us: certainly not sent."""
        if not self._unsure:
            return
        settle = partial(record.settle_unsent, random=self.random)
        news = await self.store.write(settle, self.node, frozenset(self._open), NEVER_LEFT)
        self._unsure = False
        self._report(news)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # The attempt stays open; when its lease ends, it's settled as unknown.
            self.hook(events.ProgramFailed(reason=type(error).__name__, retry_in=self.policy.lease))
        if not self.store.shares_commits:
            self.wake()

    async def _attempt(self, claim: Claim, began: float) -> None:
        id_, account_id, position = claim.message_id, claim.route.account_id, claim.position
        self.hook(events.AttemptStarted(message_id=id_, account_id=account_id, position=position))
        try:
            stale = self._clock.monotonic() - began >= STALE.total_seconds()
            outcome = NEVER_LEFT if stale else await self._send(claim)
        finally:
            self._sending -= 1
        news = await self._record(claim, outcome)
        # Only now: what was sent and couldn't be recorded must never be taken as unsent.
        self._open.discard(claim.attempt_id)
        self._report(news)

    async def _send(self, claim: Claim) -> Outcome:
        try:
            return await self.send(claim.route, claim.recipient, claim.content)
        except Unsendable as error:
            # Masked: the reason stays when retention erases the text.
            return Rejected(None, f"{mask_all(str(error))}.", Refusal.UNSENDABLE)
        except Exception as error:  # noqa: BLE001 - our own error says nothing about the text
            return Unknown(f"the program failed while sending it ({type(error).__name__}).", own_fault=True)

    async def _record(self, claim: Claim, outcome: Outcome) -> list[events.Event]:
        """Write the outcome, in one transaction with those that come in while others are written."""
        self._ended[claim.attempt_id] = outcome
        async with self._recording:
            if claim.attempt_id in self._ended:
                await others_turn()
                batch = dict(self._ended)  # they stay until then: this task may be canceled
                self._recorded |= await self._record_batch(batch)
                for id_ in batch:
                    del self._ended[id_]
        recorded = self._recorded.pop(claim.attempt_id)
        if isinstance(recorded, Exception):
            raise recorded
        return recorded

    async def _record_batch(self, batch: Mapping[int, Outcome]) -> Mapping[int, Recorded]:
        """Write outcomes until it works; give up if the relay is stopping and the lease is over."""
        settle = partial(record.record, random=self.random, lookups=self.lookups)
        give_up_at = self._clock.now() + self.policy.lease
        while True:
            if self.store.shares_commits:
                self.wake()  # what these outcomes let go is claimed in the same commit
            try:
                return dict(zip(batch, await self.store.write(settle, batch), strict=True))
            except Unavailable as error:
                self.hook(events.StoreFailed(reason=str(error), retry_in=STORE_RETRY))
                if self._stopping and self._clock.now() >= give_up_at:
                    return dict.fromkeys(batch, error)
                await self._clock.sleep(STORE_RETRY.total_seconds())
            except Exception as error:  # noqa: BLE001 - passed to the attempt that it's about
                if len(batch) == 1:
                    return dict.fromkeys(batch, error)
                # One of them may have made all of them fail.
                each = [await self._record_batch({id_: outcome}) for id_, outcome in batch.items()]
                return dict(chain.from_iterable(one.items() for one in each))

    def _report(self, news: Iterable[events.Event]) -> None:
        for event in news:
            self.hook(event)
            if isinstance(event, events.AttemptFinished) and event.outcome is Unknown.kind:
                self.unsettled()


class TaskGroup:
    def __init__(self, delivery: Delivery, reconciliation: Reconciliation, *others: PeriodicTask) -> None:
        delivery.unsettled = reconciliation.wake
        self.wake = delivery.wake
        self.tasks: list[PeriodicTask] = [delivery, reconciliation, *others]
        self.polling: Polling | None = None

    async def run(self) -> None:
        await asyncio.gather(*(task.run() for task in self.tasks))

    async def poll_now(self) -> bool:
        """Read replies before a command itself sends; False if not all could be read."""
        return self.polling is None or await self.polling.poll_now()

    def stop(self) -> None:
        for task in self.tasks:
            task.stop()

    def wake_all(self) -> None:
        """Wake all tasks: something happened that may let a text be sent, or other work begin."""
        for task in self.tasks:
            task.wake()
