"""Sends what is due, until it's stopped."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random

from callrail_relay.clock import others_turn
from callrail_relay.domain import events
from callrail_relay.domain.delivery import Claim, ClaimPolicy
from callrail_relay.domain.outcome import NotSent, Outcome, Refusal, Rejected, Unknown, Unsendable
from callrail_relay.domain.phone import mask_all
from callrail_relay.domain.reconcile import LookupPolicy
from callrail_relay.domain.routing import Route
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import claim as store_claim
from callrail_relay.outbox import record
from callrail_relay.outbox.rows import look_at_all, soonest
from callrail_relay.service.background import STORE_RETRY, PeriodicTask
from callrail_relay.service.reconciliation import Reconciliation
from callrail_relay.service.replies import Polling

LEASE_CHECK = timedelta(seconds=15)  # how often to look for attempts that were left open; the rest wakes us
# How old a claim may be when its text is sent. A lease outlasts the time-outs by more than this; a text sent
# later could be given up, and the next ones sent, while it's in flight.
STALE = timedelta(seconds=5)
LOOK_BEHIND = timedelta(seconds=1)  # how often to look behind texts that are in flight
NEVER_LEFT = NotSent("the database didn't answer in time, so the text was not sent.", own_fault=True)

Send = Callable[[Route, str, str], Awaitable[Outcome]]  # sends one segment; called once per attempt


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
        self._ended: dict[int, Outcome] = {}  # outcomes to record, by attempt
        self._open: set[int] = set()  # attempts whose outcomes aren't recorded: never to be taken as unsent
        self._is_due = True  # there may be something to claim
        self._next_due: datetime | None = None
        self._unsure = False
        self._followed = False  # another policy, by which an account may be due earlier
        self._leases_checked_at: float | None = None
        self._lease_ends_at: datetime | None = None

    def follow(self, claim: ClaimPolicy) -> None:
        """Claim by the limits and guards of *claim* from now on; a claim in progress ends as it began."""
        self.policy = replace(self.policy, limits=claim.limits, guards=claim.guards)
        self._followed = True
        self.wake()

    def wake(self) -> None:
        self._is_due = True
        super().wake()

    async def run(self) -> None:
        """Deliver until ``stop`` is called; what is in flight then finishes first."""
        try:
            await super().run()
        finally:
            await self.settle()

    async def turn(self) -> datetime | None:
        """Record what ended, and start the attempts that may start now; return when there's more to do."""
        self._is_due = self._is_due or not self._ended  # if nothing ended, it's time to look
        leases_due = self._leases_due
        if self._ended and (leases_due or self._unsure or self._followed):
            # First: what is known mustn't be settled as unknown, even if the store failed for a long time.
            await self._advance(dict(self._ended), 0)
        if leases_due:
            await self._settle_abandoned()
        await self._settle_unsent()
        if self._followed:
            policy = self.policy
            await self.store.write(look_at_all)
            self._followed = policy is not self.policy  # changed once more meanwhile
        if self._has_work:
            if not self._stopping:
                self._woken.clear()
            if self._ended:
                await others_turn()  # what ends at the same time joins it
            await self._advance(dict(self._ended), self._room)
        if self._has_work:
            return self._clock.now()
        if not self._room:
            return self._lease_ends_at
        look_behind_at = self._clock.now() + LOOK_BEHIND if self._sending else None
        return soonest(self._next_due, look_behind_at, self._lease_ends_at)

    @property
    def _room(self) -> int:
        return 0 if self._stopping else self.concurrency - self._sending

    @property
    def _has_work(self) -> bool:
        return bool(self._ended or (self._is_due and self._room))

    async def _advance(self, ended: Mapping[int, Outcome], most: int) -> None:
        """Record what ended and claim the next segments, *most* at most, together; then send those."""
        look, self._is_due = self._is_due, False
        self.about_to_claim()
        began = self._clock.monotonic()
        policy = self.policy
        if self.closed:
            policy = replace(policy, accounts=policy.accounts - self.closed)
        advance = partial(store_claim.advance, random=self.random, lookups=self.lookups)
        try:
            news, claimed = await self.store.write(advance, ended, self.node, policy, most=most, look=look)
        except BaseException as error:
            # It may be in the store all the same: the connection may have broken after the commit.
            self._unsure = self._is_due = True
            if not ended or isinstance(error, Unavailable) or not isinstance(error, Exception):
                raise
            if most or len(ended) > 1:  # one of them, or the claim, made all of it fail
                for id_, outcome in ended.items():
                    await self._advance({id_: outcome}, 0)
                return
            [id_] = ended
            del self._ended[id_]
            self._failed(error)
            return
        for id_ in ended:
            del self._ended[id_]
            self._open.discard(id_)
        if claimed is not None:
            for claim in claimed.claims:
                self._sending += 1
                self._open.add(claim.attempt_id)
                task = asyncio.create_task(self._attempt(claim, began))
                self._under_way.add(task)
                task.add_done_callback(self._finished)
            # If it took as many as it might, even none, there may be more.
            self._is_due = self._is_due or len(claimed.claims) == most
            self._next_due = claimed.wake_at
            news = [*news, *claimed.held]
        self._report(news)

    async def settle(self) -> None:
        """Wait for what is under way, and record it; give that up after the time of a lease."""
        give_up_at = self._clock.now() + self.policy.lease
        while self._under_way or self._ended:
            if not self._ended:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                await self._advance(dict(self._ended), 0)
            except Unavailable as error:
                self.hook(events.StoreFailed(reason=str(error), retry_in=STORE_RETRY))
                if self._clock.now() >= give_up_at:
                    self._failed(error)
                    return
                await self._clock.sleep(STORE_RETRY.total_seconds())

    @property
    def _leases_due(self) -> bool:
        checked_at, ends_at = self._leases_checked_at, self._lease_ends_at
        if checked_at is None or self._clock.monotonic() - checked_at >= LEASE_CHECK.total_seconds():
            return True
        return ends_at is not None and ends_at <= self._clock.now()

    async def _settle_abandoned(self) -> None:
        """Settle attempts that were left open: at the start our own, later those whose lease ran out."""
        now, node = self._clock.monotonic(), self.node if self._leases_checked_at is None else None
        settle = partial(record.settle_abandoned, node=node, random=self.random, lookups=self.lookups)
        self._report(await self.store.write(settle))
        await self.store.write(store_claim.take_up_forgotten)
        self._is_due = True
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
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Report a fault of our own. The attempt stays open; when its lease ends, it's settled as unknown."""
        self.hook(events.ProgramFailed(reason=type(error).__name__, retry_in=self.policy.lease))

    async def _attempt(self, claim: Claim, began: float) -> None:
        id_, account_id, position = claim.message_id, claim.route.account_id, claim.position
        try:
            self.hook(events.AttemptStarted(message_id=id_, account_id=account_id, position=position))
            stale = self._clock.monotonic() - began >= STALE.total_seconds()
            self._ended[claim.attempt_id] = NEVER_LEFT if stale else await self._send(claim)
        finally:
            self._sending -= 1
            self._woken.set()

    async def _send(self, claim: Claim) -> Outcome:
        try:
            return await self.send(claim.route, claim.recipient, claim.content)
        except Unsendable as error:
            # Masked: the reason stays when retention erases the text.
            return Rejected(None, f"{mask_all(str(error))}.", Refusal.UNSENDABLE)
        except Exception as error:  # noqa: BLE001 - our own error says nothing about the text
            return Unknown(f"the program failed while sending it ({type(error).__name__}).", own_fault=True)

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
