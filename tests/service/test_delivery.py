"""
The worker: what it starts, how it stops, and what it does when the store or another worker gets in its way.
"""

import asyncio
import json
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.domain.events import (
    AccountPaused,
    AccountWaits,
    AttemptFinished,
    AttemptStarted,
    Event,
    LateResult,
    MessageHeld,
    OutcomeFound,
    ProgramFailed,
    SentTwice,
    StoreFailed,
)
from callrail_relay.domain.message import Status, Verb
from callrail_relay.domain.outcome import NotSent, Outcome, OutcomeKind, Sent
from callrail_relay.domain.routing import Route
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import claim as store_claim
from callrail_relay.outbox import lookups, record
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain_all
from callrail_relay.service.background import STORE_RETRY, Wakeup
from callrail_relay.service.delivery import LEASE_CHECK, STALE, Delivery
from callrail_relay.service.intake import Intake
from tests.service.rig import KEY, Rig, Sender, open_rig, outcomes, passing_time
from tests.support.factories import recipient
from tests.support.policies import guard_policy
from tests.support.stores import statements

pytestmark = pytest.mark.anyio


class Gate:
    """A sender that keeps every text until it is opened, and tells how many it has."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._open = asyncio.Event()
        self._changed = asyncio.Condition()
        self.kept = 0
        self.most = 0

    async def send_text(self, route: Route, recipient: str, content: str) -> Outcome:
        async with self._changed:
            self.kept += 1
            self.most = max(self.most, self.kept)
            self._changed.notify_all()
        await self._open.wait()
        self.kept -= 1
        return await self._sender.send_text(route, recipient, content)

    async def until_kept(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.kept >= count)

    def open(self) -> None:
        self._open.set()


@asynccontextmanager
async def running(delivery: Delivery) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(delivery.run())
    try:
        yield task
    finally:
        delivery.stop()
        await task


async def test_clean_stop_lets_the_text_under_way_finish(tmp_path: Path) -> None:
    """After ``stop`` nothing more is claimed, and what was sent is recorded before the worker returns."""
    async with open_rig(tmp_path) as rig:
        gate = Gate(rig.callrail)
        first, second = await rig.accept("First"), await rig.accept("Second", to=recipient(1))
        delivery = rig.delivery(sender=gate, concurrency=1)
        async with running(delivery) as task:
            await gate.until_kept(1)
            delivery.stop()
            delivery.wake()
            rig.clock.advance(LEASE_CHECK)
            await rig.operations.status()
            assert not task.done()

            gate.open()
            await task

        assert [OutcomeKind.SENT] == outcomes(await rig.message(first))
        assert Status.QUEUED == (await rig.message(second)).status
        assert [] == outcomes(await rig.message(second))
        assert 1 == len(rig.simulator.texts)


async def test_text_claimed_while_stopping_is_finished(tmp_path: Path) -> None:
    """What was claimed at that very moment is on its way, and not left open."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        delivery = rig.delivery()
        turn = asyncio.create_task(delivery.turn())
        delivery.stop()
        await turn
        await delivery.settle()

        assert outcomes(await rig.message(id_)) in ([], [OutcomeKind.SENT])


async def test_stopped_worker_claims_nothing(tmp_path: Path) -> None:
    """A worker that was stopped before it began changes nothing."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        delivery = rig.delivery()
        delivery.stop()
        await delivery.run()
        assert await delivery.turn() is None

        assert Status.QUEUED == (await rig.message(id_)).status


async def test_worker_that_is_cancelled_waits_for_what_is_under_way(tmp_path: Path) -> None:
    """A cancelled ``run`` is a stop: the text under way still gets its outcome."""
    async with open_rig(tmp_path) as rig:
        gate = Gate(rig.callrail)
        id_ = await rig.accept()
        task = asyncio.create_task(rig.delivery(sender=gate).run())
        await gate.until_kept(1)
        await rig.clock.until_asleep()
        task.cancel()
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert [OutcomeKind.SENT] == outcomes(await rig.message(id_))


async def test_woken_worker_looks_at_once(tmp_path: Path) -> None:
    """A text that came in is sent without any time passing."""
    async with open_rig(tmp_path) as rig:
        delivery = rig.delivery()
        async with running(delivery):
            await rig.clock.until_asleep()
            await rig.accept()
            delivery.wake()
            await rig.events.until(AttemptFinished)

        assert 1 == len(rig.simulator.texts)


async def test_a_text_takes_two_commits(tmp_path: Path) -> None:
    """One stores it and claims it, the other records its outcome and knows that nothing else is due."""
    async with open_rig(tmp_path) as rig:
        delivery = rig.delivery()
        async with running(delivery):
            await rig.clock.until_asleep()
            with statements() as asked:
                for number in range(3):
                    delivery.wake()  # as a webhook does: before its text is stored
                    await rig.intake.accept_request(
                        json.dumps({"message": f"Text {number}", "seller_phone": recipient(number)}).encode(),
                        content_type="application/json",
                    )
                    await rig.events.until(AttemptFinished, number + 1)
                    await rig.clock.until_asleep()

        assert 3 == len(rig.simulator.texts)
        assert 6 == asked.count("BEGIN IMMEDIATE")
        # To begin, until it is sent, and for its outcome; the first makes its account, too.
        assert 3 * (2 + 11 + 5) + 2 == len(asked)


async def test_worker_finds_what_another_process_put_there(tmp_path: Path) -> None:
    """Nothing wakes it for a text of another process; it looks every second."""
    async with open_rig(tmp_path) as rig:
        other = await Store.open(f"sqlite:///{rig.path.as_posix()}", rig.clock)
        delivery = rig.delivery()
        wakeup = Wakeup(rig.outbox, rig.events, (delivery,))
        looking = asyncio.create_task(wakeup.run())
        async with running(delivery):
            await rig.clock.until_asleep(2)
            intake = rig.intake
            rig.intake = Intake(other, rig.mapping, random=Random(9))
            await rig.accept()
            rig.intake = intake
            assert [] == rig.simulator.texts

            rig.clock.advance(Wakeup.look)
            await rig.events.until(AttemptFinished)
        wakeup.stop()
        await looking
        await other.close()

        assert 1 == len(rig.simulator.texts)


async def test_outcomes_that_come_together_share_their_statements(tmp_path: Path) -> None:
    """However many they are, each text gets its own."""
    async with open_rig(tmp_path) as rig:
        gate = Gate(rig.callrail)
        ids = [await rig.accept(to=recipient(number)) for number in range(4)]
        async with running(rig.delivery(sender=gate)):
            await gate.until_kept(4)
            with statements() as asked:
                gate.open()
                await rig.events.until(AttemptFinished, 4)

        assert [Status.SENT] * 4 == [(await rig.message(id_)).status for id_ in ids]
        assert 4 > len([one for one in asked if one.startswith("UPDATE attempts")])


async def test_an_outcome_that_cannot_be_recorded_costs_no_other(tmp_path: Path) -> None:
    """It is told, and the attempt is unknown once its lease is over."""

    class Strange:
        async def send_text(self, route: Route, recipient: str, content: str) -> Outcome:
            return Sent(200, "\ud800" if content == "Strange" else "CON1")

    async with open_rig(tmp_path) as rig:
        texts = ("One", "Strange", "Other")
        ids = [await rig.accept(text, to=recipient(number)) for number, text in enumerate(texts)]
        gate = Gate(Strange())
        async with running(rig.delivery(sender=gate)):
            await gate.until_kept(3)
            gate.open()
            await rig.events.until(AttemptFinished, 2)
            await rig.events.until(ProgramFailed)

        statuses = [(await rig.message(id_)).status for id_ in ids]
        assert [Status.SENT, Status.SENDING, Status.SENT] == statuses


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_than_so_many_are_under_way(tmp_path: Path, concurrency: int) -> None:
    """The setting bounds how many texts are on their way at one time."""
    async with open_rig(tmp_path) as rig:
        gate = Gate(rig.callrail)
        ids = [await rig.accept(to=recipient(number)) for number in range(5)]
        delivery = rig.delivery(sender=gate, concurrency=concurrency)
        async with running(delivery):
            await gate.until_kept(concurrency)
            delivery.wake()
            await rig.clock.until_asleep()
            assert concurrency == gate.kept
            gate.open()
            await rig.events.until(AttemptFinished, 5)

        assert concurrency == gate.most
        assert [Status.SENT] * 5 == [(await rig.message(id_)).status for id_ in ids]


async def test_texts_to_one_person_are_a_second_apart(tmp_path: Path) -> None:
    """The worker wakes by itself when the next one is due, and not before."""
    async with open_rig(tmp_path) as rig:
        for number in range(3):
            await rig.accept(f"Text {number}")
        delivery = rig.delivery()
        await delivery.turn()
        await delivery.settle()
        wake_at = await delivery.turn()

        assert rig.clock.now() + timedelta(seconds=1) == wake_at
        assert 1 == len(rig.simulator.texts)
        await rig.work(delivery, turns=5, step=0.5)
        assert ["Text 0", "Text 1", "Text 2"] == [text.content for text in rig.simulator.texts]


async def test_segments_of_one_text_stay_together(tmp_path: Path) -> None:
    """A later text to the same person does not come between the parts of an earlier one."""
    async with open_rig(tmp_path) as rig:
        await rig.accept("word " * 60)
        await rig.accept("Later")
        await rig.work(rig.delivery(), turns=10)

        assert ["w", "w", "w", "L"] == [text.content[0] for text in rig.simulator.texts]


# --- a failing store -------------------------------------------------------------------------------------


async def test_store_that_fails_while_claiming_is_asked_again(tmp_path: Path) -> None:
    """A person gets an alert, nothing is sent meanwhile, and delivery goes on when the store does."""
    async with open_rig(tmp_path, patience=0) as rig:
        await rig.accept()
        delivery = rig.delivery()
        with rig.failing_store():
            task = asyncio.create_task(delivery.run())
            await rig.events.until(StoreFailed)
            [wake_at] = await rig.clock.until_asleep()
            assert rig.clock.now() + STORE_RETRY == wake_at
            rig.clock.advance(STORE_RETRY)
            failures = await rig.events.until(StoreFailed, 2)
            assert "locked" in failures[0].reason
            assert [] == rig.simulator.texts
        await rig.clock.until_asleep()
        rig.clock.advance(STORE_RETRY)
        await rig.events.until(AttemptFinished)
        delivery.stop()
        await task

        assert 1 == len(rig.simulator.texts)


class LockingTheStore:
    """A sender after whose work the store cannot be written, until it is let go."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._lock = rig.failing_store()

    async def send_text(self, route: Route, recipient: str, content: str) -> Outcome:
        outcome = await self._rig.callrail.send_text(route, recipient, content)
        self._lock.__enter__()
        return outcome

    def let_go(self) -> None:
        self._lock.__exit__(None, None, None)


async def test_outcome_is_recorded_when_the_store_comes_back(tmp_path: Path) -> None:
    """The outcome is tried again and again, and is not lost by a failure that passes."""
    async with open_rig(tmp_path, patience=0) as rig:
        sender = LockingTheStore(rig)
        id_ = await rig.accept()
        delivery = rig.delivery(sender=sender, concurrency=1)
        await delivery.turn()
        settling = asyncio.create_task(delivery.settle())
        for failures in range(1, 4):
            await rig.events.until(StoreFailed, failures)
            await rig.clock.until_asleep()
            if failures < 3:
                rig.clock.advance(STORE_RETRY)
        sender.let_go()
        rig.clock.advance(STORE_RETRY)
        await settling

        assert [OutcomeKind.SENT] == outcomes(await rig.message(id_))
        assert [] == rig.events.of(LateResult)


async def test_outcome_counts_however_long_the_store_failed(tmp_path: Path) -> None:
    """What certainly did not leave is known as that once the store is back, though its lease is over."""
    async with open_rig(tmp_path, patience=0) as rig:
        lock = rig.failing_store()

        class LocksOnce:
            calls = 0

            async def send_text(self, route: Route, recipient: str, content: str) -> Outcome:
                self.calls += 1
                if self.calls > 1:
                    return Sent(200, "CON1")
                lock.__enter__()
                return NotSent("no connection was made.")

        id_ = await rig.accept()
        delivery = rig.delivery(sender=LocksOnce())
        await delivery.turn()
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await delivery.turn()
        rig.clock.advance(rig.claim.lease * 2)
        lock.__exit__(None, None, None)
        await delivery.turn()

        assert [OutcomeKind.NOT_SENT] == outcomes(await rig.message(id_))
        assert [] == rig.events.of(LateResult)


async def test_hook_that_fails_keeps_no_claimed_text_from_being_sent(tmp_path: Path) -> None:
    """What one transaction claimed is started before its events are told."""
    async with open_rig(tmp_path) as rig:
        ids = [await rig.accept(to=recipient(number)) for number in range(2)]
        delivery, tell = rig.delivery(concurrency=1), rig.events.__call__

        def hook(event: Event) -> None:
            tell(event)
            if isinstance(event, AttemptFinished) and len(rig.events.of(AttemptFinished)) == 1:
                raise KeyError("secret words")

        delivery.hook = hook
        async with running(delivery):
            [failure] = await rig.events.until(ProgramFailed)
            await rig.clock.until_asleep()
            rig.clock.advance(failure.retry_in)
            await rig.events.until(AttemptFinished, 2)

        assert [Status.SENT] * 2 == [(await rig.message(id_)).status for id_ in ids]


async def test_outcome_that_cannot_be_recorded_is_given_up_where_the_relay_stops(tmp_path: Path) -> None:
    """
    By then another worker may have settled it as unknown, which is what it becomes: sent once, not twice.
    """
    async with open_rig(tmp_path, patience=0) as rig:
        sender = LockingTheStore(rig)
        id_ = await rig.accept()
        delivery = rig.delivery(sender=sender, concurrency=1)
        await delivery.turn()
        delivery.stop()
        await passing_time(rig.clock, delivery.settle())
        assert rig.clock.now() - (await rig.message(id_)).received_at >= rig.claim.lease
        assert ["Unavailable"] == [event.reason for event in rig.events.of(ProgramFailed)]
        sender.let_go()

        await rig.work(rig.delivery(node="node-2"), turns=3)

        message = await rig.message(id_)
        assert Status.UNKNOWN == message.status
        assert [OutcomeKind.UNKNOWN] == outcomes(message)
        assert 1 == len(rig.simulator.texts)


async def test_failing_store_at_the_start_does_not_lose_the_crash_before(tmp_path: Path) -> None:
    """What the process before left open is still taken up when the store answers at last."""
    async with open_rig(tmp_path, patience=0) as rig:
        id_ = await rig.accept()
        await rig.outbox.write(store_claim.claim, "node-1", rig.claim)
        delivery = rig.delivery()
        with rig.failing_store():
            task = asyncio.create_task(delivery.run())
            await rig.events.until(StoreFailed)
            await rig.clock.until_asleep()
        rig.clock.advance(STORE_RETRY)
        await rig.events.until(AttemptFinished)
        delivery.stop()
        await task

        assert Status.UNKNOWN == (await rig.message(id_)).status
        assert [] == rig.simulator.texts


# --- faults of our own -----------------------------------------------------------------------------------


async def test_fault_of_our_own_does_not_end_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event has its name and not its words, and the worker looks again later."""
    async with open_rig(tmp_path) as rig:
        await rig.accept()

        def broken(*_: object, **__: object) -> None:
            raise KeyError("secret words")

        delivery = rig.delivery()
        with monkeypatch.context() as broken_claim:
            broken_claim.setattr(rig.outbox, "write", broken)
            task = asyncio.create_task(delivery.run())
            [failure] = await rig.events.until(ProgramFailed)
            await rig.clock.until_asleep()
        assert "KeyError" == failure.reason
        rig.clock.advance(failure.retry_in)
        await rig.events.until(AttemptFinished)
        delivery.stop()
        await task

        assert 1 == len(rig.simulator.texts)


async def test_what_no_request_can_be_made_of_is_certainly_not_sent(tmp_path: Path) -> None:
    """A number stored under earlier rules fails with the reason, is not looked up, and holds up no other."""
    async with open_rig(tmp_path) as rig:
        id_, other = await rig.accept(), await rig.accept(to=recipient(2))
        with sqlite3.connect(rig.path) as connection:
            connection.execute("UPDATE messages SET recipient = '+19005550100' WHERE id = ?", (id_,))
        connection.close()
        await rig.work(rig.delivery(), turns=2)

        message = await rig.message(id_)
        assert (Status.FAILED, [OutcomeKind.REJECTED]) == (message.status, outcomes(message))
        assert ["unsendable"] == [reason.code for reason in message.reasons]
        assert "It can't be sent, and no part of it was: “+1••••••••00” is" in (
            explain_all(message.reasons) or ""
        )
        assert Status.SENT == (await rig.message(other)).status
        assert await rig.outbox.read(lookups.next_lookup, rig.lookups) is None
        [status] = await rig.operations.account_statuses()
        assert 1 == status.hour.used


async def test_fault_of_our_own_while_recording_leaves_the_text_to_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt stays open, and becomes unknown when its lease is over."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        delivery = rig.delivery()

        def broken(*_: object, **__: object) -> None:
            raise KeyError("secret words")

        with monkeypatch.context() as broken_record:
            broken_record.setattr(record, "decide", broken)
            await rig.work(delivery)
        assert ["KeyError"] == [event.reason for event in rig.events.of(ProgramFailed)]
        assert Status.SENDING == (await rig.message(id_)).status

        rig.clock.advance(rig.claim.lease)
        await rig.work(delivery, turns=2)
        assert Status.UNKNOWN == (await rig.message(id_)).status
        assert 1 == len(rig.simulator.texts)


# --- several workers -------------------------------------------------------------------------------------


async def test_late_success_is_evidence(tmp_path: Path) -> None:
    """A text whose lease ran out on a slow node is unknown, until that node learns that it was taken."""
    async with open_rig(tmp_path) as rig:
        gate = Gate(rig.callrail)
        id_ = await rig.accept()
        slow, other = rig.delivery(sender=gate), rig.delivery(node="node-2")
        await slow.turn()
        await gate.until_kept(1)
        await rig.work(other)
        assert Status.SENDING == (await rig.message(id_)).status

        rig.clock.advance(rig.claim.lease)
        await rig.work(other)
        assert Status.UNKNOWN == (await rig.message(id_)).status

        gate.open()
        await slow.settle()
        assert [(id_, Status.SENT)] == [
            (event.message_id, event.status) for event in rig.events.of(OutcomeFound)
        ]
        assert Status.SENT == (await rig.message(id_)).status
        assert 1 == len(rig.simulator.texts)


async def test_late_failure_changes_nothing(tmp_path: Path) -> None:
    """What was given up stays unknown when the slow node did not get an answer either."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.DROP_ANSWER))
        gate = Gate(rig.callrail)
        id_ = await rig.accept()
        slow, other = rig.delivery(sender=gate), rig.delivery(node="node-2")
        await slow.turn()
        await gate.until_kept(1)
        await rig.work(other)
        rig.clock.advance(rig.claim.lease)
        await rig.work(other)

        gate.open()
        await slow.settle()
        assert [OutcomeKind.UNKNOWN] == [event.outcome for event in rig.events.of(LateResult)]
        assert Status.UNKNOWN == (await rig.message(id_)).status


async def test_lease_is_settled_by_the_first_turn_after_its_end(tmp_path: Path) -> None:
    """Not before: the other node may still get its answer."""
    async with open_rig(tmp_path) as rig:
        delivery = rig.delivery(node="node-2")
        id_ = await rig.accept()
        await rig.outbox.write(store_claim.claim, "node-1", rig.claim)
        ends_at = rig.clock.now() + rig.claim.lease
        assert ends_at == await delivery.turn()
        rig.clock.set(ends_at - timedelta(seconds=1))
        await delivery.turn()
        assert Status.SENDING == (await rig.message(id_)).status

        rig.clock.set(ends_at)
        await delivery.turn()
        assert Status.UNKNOWN == (await rig.message(id_)).status


def trouble(seed: int) -> list[Fault]:
    """What may happen to a text without any doubt: no connection, a limit, a slow answer."""
    random = Random(seed)
    return [
        Fault(Kind.REFUSE, share=random.uniform(0, 0.4)),
        Fault(
            Kind.STATUS, status=429, share=random.uniform(0, 0.3), retry_after=random.choice([1, 7, None, 0])
        ),
        Fault(Kind.LATE_ANSWER, delay=random.uniform(0.1, 3), share=0.3),
        Fault(Kind.DELAY, delay=random.uniform(0.1, 3), share=0.3),
    ]


@pytest.mark.parametrize("seed", range(5))
async def test_order_and_once_hold_under_trouble(tmp_path: Path, seed: int) -> None:
    """Three people, many texts, two workers, any fault: each gets every text once, in order, not too fast."""
    async with open_rig(tmp_path, guards=guard_policy(max_age=timedelta(days=2))) as rig:
        rig.simulator.fault(*trouble(seed))
        wanted: dict[str, list[str]] = defaultdict(list)
        random = Random(seed)
        for number in range(24):
            to = recipient(random.randrange(3))
            text = f"Text {number} " + "and so on " * random.choice([0, 0, 30])
            wanted[to] += [text]
            await rig.accept(text, to=to)

        await until_empty(rig, [rig.delivery(), rig.delivery(node="node-2", concurrency=2)])

        got: dict[str, list[str]] = defaultdict(list)
        at: dict[str, list[datetime]] = defaultdict(list)
        for taken in rig.simulator.texts:
            got[taken.recipient] += [taken.content]
            at[taken.recipient] += [taken.created_at]
        assert {to: "".join(texts).replace(" ", "") for to, texts in wanted.items()} == {
            to: "".join(texts).replace(" ", "") for to, texts in got.items()
        }
        interval = rig.claim.recipient_interval
        for instants in at.values():
            assert all(after - before >= interval for before, after in pairwise(instants))
        counts = (await rig.operations.status()).counts
        assert counts[Status.SENT] == sum(counts.values()) == 24


async def until_empty(rig: Rig, deliveries: list[Delivery]) -> None:
    """Let all of them work at the same time, until nothing is left to send or to look up."""
    reconciliation = rig.reconciliation()
    for _ in range(2000):
        wake_ats = [await delivery.turn() for delivery in deliveries]
        wake_ats.append(await reconciliation.turn())
        if rig.clock.wake_ats:
            rig.clock.set(rig.clock.wake_ats[0])
            continue
        for delivery in deliveries:
            await passing_time(rig.clock, delivery.settle())
        counts = (await rig.operations.status()).counts
        if not counts[Status.QUEUED] and not counts[Status.SENDING] and wake_ats[-1] is None:
            return
        later = [wake_at for wake_at in wake_ats if wake_at is not None and wake_at > rig.clock.now()]
        rig.clock.set(min(later, default=rig.clock.now() + LEASE_CHECK))
    raise AssertionError


async def test_nothing_unclear_is_ever_doubled(tmp_path: Path) -> None:
    """With faults that hide the outcome, no person gets one twice, and each is sent if and only if it was."""
    async with open_rig(tmp_path, guards=guard_policy(max_age=timedelta(days=2))) as rig:
        rig.simulator.fault(
            Fault(Kind.DROP_ANSWER, share=0.2),
            Fault(Kind.DROP, share=0.2),
            Fault(Kind.STATUS_AFTER, status=503, share=0.2),
            Fault(Kind.REFUSE, share=0.2),
        )
        ids = [await rig.accept(f"Text {number}", to=recipient(number % 3)) for number in range(30)]
        await until_empty(rig, [rig.delivery(), rig.delivery(node="node-2")])

        messages = [await rig.message(id_) for id_ in ids]
        assert {Status.SENT, Status.UNKNOWN} == {message.status for message in messages}
        assert sorted(text.content for text in rig.simulator.texts) == sorted(
            message.text or "" for message in messages if message.status is Status.SENT
        )


# --- what it tells ---------------------------------------------------------------------------------------


async def test_every_step_is_told(tmp_path: Path) -> None:
    """
    The start and the end of an attempt, and what it meant for the account, without any words of the text.
    """
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(
            Fault(Kind.STATUS, status=429, position=1), Fault(Kind.STATUS, status=403, position=1)
        )
        id_ = await rig.accept("Secret words")
        delivery = rig.delivery()
        await rig.work(delivery, step=60)
        await rig.work(delivery)

        assert [(id_, 1), (id_, 1)] == [
            (event.message_id, event.position) for event in rig.events.of(AttemptStarted)
        ]
        assert [OutcomeKind.RATE_LIMITED, OutcomeKind.REJECTED] == [
            event.outcome for event in rig.events.of(AttemptFinished)
        ]
        [waits] = rig.events.of(AccountWaits)
        assert timedelta(seconds=60) == waits.until - (await rig.message(id_)).received_at
        [paused] = rig.events.of(AccountPaused)
        assert rig.account_id == paused.account_id
        assert "Secret" not in str(rig.events)
        assert KEY not in str(rig.events)


async def test_pause_is_told_once(tmp_path: Path) -> None:
    """Several texts under way that meet the same refusal are one pause."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.read_only = True
        gate = Gate(rig.callrail)
        for number in range(3):
            await rig.accept(to=recipient(number))
        delivery = rig.delivery(sender=gate)
        await delivery.turn()
        await gate.until_kept(3)
        gate.open()
        await delivery.settle()

        assert 3 == len(rig.events.of(AttemptFinished))
        assert 1 == len(rig.events.of(AccountPaused))


async def test_text_that_was_taken_twice_is_told(tmp_path: Path) -> None:
    """A person had it sent again, and the first answer came while the second sending was on its way."""
    async with open_rig(tmp_path) as rig:
        first, second = Gate(rig.callrail), Gate(rig.callrail)
        slow, other = rig.delivery(sender=first), rig.delivery(node="node-2", sender=second)
        id_ = await rig.accept()
        await slow.turn()
        await first.until_kept(1)
        rig.clock.advance(rig.claim.lease)
        await other.turn()
        await rig.operations.decide(Verb.RESEND, id_)
        rig.clock.advance(1)
        await other.turn()
        await second.until_kept(1)
        for gate, delivery in ((first, slow), (second, other)):
            gate.open()
            await delivery.settle()

        assert [id_] == [event.message_id for event in rig.events.of(SentTwice)]
        message = await rig.message(id_)
        assert (Status.SENT, ["sent_twice"]) == (message.status, [one.code for one in message.reasons])
        assert 2 == len(rig.simulator.texts)


async def test_held_text_is_told(tmp_path: Path) -> None:
    """A text that waited too long is held when its turn comes."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        rig.clock.advance(timedelta(hours=5))
        await rig.work(rig.delivery())

        assert [(id_, ("too_old",))] == [
            (event.message_id, event.reasons) for event in rig.events.of(MessageHeld)
        ]
        assert Status.HELD == (await rig.message(id_)).status
        assert [] == rig.simulator.texts


async def test_sender_is_asked_once_for_each_attempt(tmp_path: Path) -> None:
    """One call, one outcome."""
    calls: list[tuple[str, str]] = []

    class Counting:
        async def send_text(self, route: Route, recipient: str, content: str) -> Outcome:
            calls.append((recipient, content))
            return Sent(200, "c0nv1")

    async with open_rig(tmp_path) as rig:
        await rig.accept("One", to=recipient(1))
        await rig.work(rig.delivery(sender=Counting()), turns=5)

    assert [(recipient(1), "One")] == calls


async def test_a_claim_that_nobody_heard_of_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the connection breaks after the store took a claim, the text is known to be unsent, and is sent."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        delivery = rig.delivery()
        write = rig.outbox.write

        async def unheard(statement: Callable[..., object], *given: object, **options: object) -> object:
            result = await write(statement, *given, **options)
            if getattr(statement, "func", statement) is store_claim.advance:
                raise Unavailable("The store does not answer.")
            return result

        with monkeypatch.context() as patched:
            patched.setattr(rig.outbox, "write", unheard)
            with pytest.raises(Unavailable):
                await delivery.turn()
        assert Status.SENDING == (await rig.message(id_)).status
        await delivery.turn()
        await delivery.settle()

        assert 1 == len(rig.simulator.texts)
        assert Status.SENT == (await rig.message(id_)).status


async def test_a_claim_that_took_too_long_does_not_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was claimed long ago could be given up by others while it is on its way: it is claimed anew."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        delivery = rig.delivery()
        write = rig.outbox.write

        async def late(statement: Callable[..., object], *given: object, **options: object) -> object:
            result = await write(statement, *given, **options)
            if getattr(statement, "func", statement) is store_claim.advance:
                rig.clock.advance(STALE)
            return result

        with monkeypatch.context() as patched:
            patched.setattr(rig.outbox, "write", late)
            await delivery.turn()
        await delivery.settle()
        assert [] == rig.simulator.texts
        assert Status.QUEUED == (await rig.message(id_)).status
        await delivery.turn()
        await delivery.settle()

        assert 1 == len(rig.simulator.texts)
