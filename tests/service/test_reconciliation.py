"""Attempts that were not finished or understood: given up, looked up, settled, or left to a person."""

import asyncio
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Never

import pytest

from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.domain.events import AttemptFinished, LookupFailed, OutcomeFound, ProgramFailed, SentTwice
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.reconcile import OnUnknown
from callrail_relay.outbox import claim as store_claim
from callrail_relay.sentences import explain_all
from callrail_relay.service.background import STORE_RETRY
from callrail_relay.service.reconciliation import Reconciliation
from tests.service.rig import Rig, open_rig, outcomes, passing_time
from tests.support.factories import RECIPIENT, TEXT, recipient
from tests.support.policies import LADDER, guard_policy

pytestmark = pytest.mark.anyio

FIRST = LADDER[0]


# --- giving up -------------------------------------------------------------------------------------------


async def settle(rig: Rig, node: str = "node-3") -> list[AttemptFinished]:
    """What a *node* that starts now settles."""
    rig.events.clear()
    await rig.delivery(node=node).turn()
    return rig.events.of(AttemptFinished)


async def test_open_attempts_of_a_node_are_settled_at_its_start(tmp_path: Path) -> None:
    """Its own are unknown at once, those of another node are left alone; each is reported once."""
    async with open_rig(tmp_path) as rig:
        mine, theirs = await rig.accept(to=recipient(1)), await rig.accept(to=recipient(2))
        await rig.outbox.write(store_claim.claim, "node-1", rig.claim)
        await rig.outbox.write(store_claim.claim, "node-2", rig.claim)

        [event] = await settle(rig, "node-1")
        assert (mine, OutcomeKind.UNKNOWN, Status.UNKNOWN) == (event.message_id, event.outcome, event.status)
        assert rig.account_id == event.account_id
        assert [None] == outcomes(await rig.message(theirs))
        assert [] == await settle(rig, "node-1")


async def test_lease_that_ran_out_is_settled_by_anybody(tmp_path: Path) -> None:
    """A node that did not come back keeps nothing open for ever."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        await rig.outbox.write(store_claim.claim, "node-1", rig.claim)
        assert [] == await settle(rig)
        rig.clock.advance(rig.claim.lease - timedelta(seconds=1))
        assert [] == await settle(rig)

        rig.clock.advance(1)
        [event] = await settle(rig)
        assert id_ == event.message_id
        assert "checks with CallRail before sending it again" in (
            explain_all((await rig.message(id_)).reasons) or ""
        )


# --- looking up ------------------------------------------------------------------------------------------


async def unknown(rig: Rig, text: str = TEXT, *, taken: bool) -> str:
    """A text that CallRail may have taken or not; no time has passed since."""
    rig.simulator.fault(Fault(Kind.DROP_ANSWER if taken else Kind.DROP, position=1))
    id_ = await rig.accept(text)
    await rig.work(rig.delivery(), step=0)
    assert Status.UNKNOWN == (await rig.message(id_)).status
    return id_


def lists_asked(rig: Rig) -> int:
    """How many requests other than sends CallRail got, counted by a fault that never happens."""
    return rig.simulator.faults[0].seen


def count_lists(rig: Rig) -> None:
    rig.simulator.fault(Fault(Kind.DROP, on="read", share=0))


async def climb(rig: Rig, reconciliation: Reconciliation) -> None:
    """Every look-up that is to come, each when it is due."""
    while (due_at := await reconciliation.turn()) is not None:
        rig.clock.set(due_at)


async def test_text_that_callrail_shows_is_sent(tmp_path: Path) -> None:
    """Found at the first look, 15 seconds later, though CallRail added its own wording."""
    async with open_rig(tmp_path) as rig:
        id_ = await unknown(rig, taken=True)
        assert rig.simulator.texts[0].content != rig.simulator.texts[0].delivered_content
        woken: list[None] = []
        reconciliation = rig.reconciliation(settled=lambda: woken.append(None))

        assert rig.clock.now() + FIRST == await reconciliation.turn()
        assert Status.UNKNOWN == (await rig.message(id_)).status
        rig.clock.advance(FIRST)
        assert await reconciliation.turn() is None

        message = await rig.message(id_)
        assert (Status.SENT, ()) == (message.status, message.reasons)
        assert [OutcomeKind.SENT] == outcomes(message)
        assert [(id_, Status.SENT)] == [
            (event.message_id, event.status) for event in rig.events.of(OutcomeFound)
        ]
        assert [None] == woken
        assert 2 == len(message.segments[0].attempts[0].evidence)


async def test_text_that_callrail_does_not_show_is_left_to_a_person(tmp_path: Path) -> None:
    """Looked up at 15 s, 1, 5 and 15 minutes, and then no more."""
    async with open_rig(tmp_path) as rig:
        began = rig.clock.now()
        id_ = await unknown(rig, taken=False)
        reconciliation = rig.reconciliation()
        looked = []
        while (due_at := await reconciliation.turn()) is not None:
            looked.append(due_at - began)
            rig.clock.set(due_at)

        assert list(LADDER) == looked
        message = await rig.message(id_)
        assert Status.UNKNOWN == message.status
        assert "then run `messages resend`, `messages mark-sent` or `messages cancel`" in (
            explain_all(message.reasons) or ""
        )
        assert 4 == len(message.segments[0].attempts[0].evidence)
        assert [] == rig.events.of(OutcomeFound)


async def test_later_texts_to_that_person_wait_for_it(tmp_path: Path) -> None:
    """Those to others do not; after the last look they flow."""
    async with open_rig(tmp_path) as rig:
        await unknown(rig, taken=False)
        later, other = await rig.accept("Later"), await rig.accept("Other", to=recipient(9))
        await rig.work(rig.delivery(), turns=3)
        assert [Status.QUEUED, Status.SENT] == [(await rig.message(id_)).status for id_ in (later, other)]

        await climb(rig, rig.reconciliation())
        await rig.work(rig.delivery(), turns=2)
        assert Status.SENT == (await rig.message(later)).status


async def test_later_texts_follow_one_that_was_found(tmp_path: Path) -> None:
    """In order, as soon as it is known."""
    async with open_rig(tmp_path) as rig:
        await unknown(rig, "First", taken=True)
        await rig.accept("Second")
        rig.clock.advance(FIRST)
        await rig.reconciliation().turn()
        await rig.work(rig.delivery(), turns=3)

        assert ["First", "Second"] == [text.content for text in rig.simulator.texts]


async def test_rest_of_a_text_follows_a_segment_that_was_found(tmp_path: Path) -> None:
    """Three segments of which the first answer was lost arrive as three."""
    async with open_rig(tmp_path) as rig:
        id_ = await unknown(rig, "word " * 60, taken=True)
        rig.clock.advance(FIRST)
        await rig.reconciliation().turn()
        await rig.work(rig.delivery(), turns=5)

        assert Status.SENT == (await rig.message(id_)).status
        assert 3 == len(rig.simulator.texts)


async def test_same_words_of_another_program_are_not_taken_for_ours_for_certain(tmp_path: Path) -> None:
    """Of two equal texts, one sent for certain and one unknown, one found text proves nothing."""
    async with open_rig(tmp_path) as rig:
        await rig.accept("Same")
        await rig.work(rig.delivery(), step=10)
        id_ = await unknown(rig, "Same", taken=False)
        await climb(rig, rig.reconciliation())

        assert Status.UNKNOWN == (await rig.message(id_)).status


async def test_text_is_found_among_others(tmp_path: Path) -> None:
    """A conversation of many texts, in both directions, over several pages."""
    async with open_rig(tmp_path) as rig:
        for number in range(260):
            rig.simulator.write(RECIPIENT, f"Text {number}")
            rig.clock.advance(60)
        rig.simulator.receive(RECIPIENT, TEXT)
        id_ = await unknown(rig, taken=True)
        rig.clock.advance(FIRST)
        await rig.reconciliation().turn()

        assert Status.SENT == (await rig.message(id_)).status


@pytest.mark.parametrize("status", [500, 429, 403])
async def test_look_up_that_is_not_answered_is_tried_again(tmp_path: Path, status: int) -> None:
    """It is no rung of the ladder: a minute later, and told each time."""
    async with open_rig(tmp_path) as rig:
        id_ = await unknown(rig, taken=True)
        rig.simulator.fault(Fault(Kind.STATUS, on="read", status=status, times=3))
        reconciliation = rig.reconciliation()
        await climb(rig, reconciliation)

        failures = rig.events.of(LookupFailed)
        assert [id_] * len(failures) == [event.message_id for event in failures]
        assert len(failures) >= 1
        assert Status.SENT == (await rig.message(id_)).status


async def test_look_ups_end_after_a_day(tmp_path: Path) -> None:
    """A CallRail that never answers one leaves the text to a person, and the queue flows all the same."""
    async with open_rig(tmp_path, guards=guard_policy(max_age=timedelta(days=2))) as rig:
        id_ = await unknown(rig, taken=True)
        began = rig.clock.now()
        later = await rig.accept("Later")
        rig.simulator.fault(Fault(Kind.DROP, on="read"))
        await climb(rig, rig.reconciliation())

        assert timedelta(days=1) <= rig.clock.now() - began <= timedelta(days=1, minutes=30)
        assert Status.UNKNOWN == (await rig.message(id_)).status
        await rig.work(rig.delivery())
        assert Status.SENT == (await rig.message(later)).status


async def test_unknown_text_is_sent_once_more_where_the_owner_chose_so(tmp_path: Path) -> None:
    """After the ladder, and once: the second time it is left to a person."""
    async with open_rig(tmp_path, on_unknown=OnUnknown.RESEND_ONCE) as rig:
        id_ = await unknown(rig, taken=False)
        await climb(rig, rig.reconciliation())
        assert Status.QUEUED == (await rig.message(id_)).status

        rig.simulator.fault(Fault(Kind.DROP, position=1))
        await rig.work(rig.delivery(), step=0)
        assert [OutcomeKind.UNKNOWN, OutcomeKind.UNKNOWN] == outcomes(await rig.message(id_))
        await climb(rig, rig.reconciliation())
        await rig.work(rig.delivery(), turns=3)

        assert Status.UNKNOWN == (await rig.message(id_)).status
        assert [] == rig.simulator.texts


async def test_text_that_was_sent_once_more_arrives_once(tmp_path: Path) -> None:
    """Where the first one is really not there."""
    async with open_rig(tmp_path, on_unknown=OnUnknown.RESEND_ONCE) as rig:
        id_ = await unknown(rig, taken=False)
        await climb(rig, rig.reconciliation())
        await rig.work(rig.delivery(), turns=2)

        assert Status.SENT == (await rig.message(id_)).status
        assert 1 == len(rig.simulator.texts)
        assert [] == rig.events.of(SentTwice)


async def test_nobody_looks_up_twice_at_one_time(tmp_path: Path) -> None:
    """Two workers on one store share the look-ups."""
    async with open_rig(tmp_path) as rig:
        count_lists(rig)
        await unknown(rig, taken=False)
        rig.clock.advance(FIRST)
        first, second = rig.reconciliation(), rig.reconciliation()
        await asyncio.gather(first.turn(), second.turn())
        both = lists_asked(rig)

    async with open_rig(tmp_path / "alone") as rig:
        count_lists(rig)
        await unknown(rig, taken=False)
        rig.clock.advance(FIRST)
        await rig.reconciliation().turn()
        assert lists_asked(rig) == both


# --- the worker ------------------------------------------------------------------------------------------


async def test_running_reconciliation_looks_when_it_is_due(tmp_path: Path) -> None:
    """It finds what another process left, and stops on request."""
    async with open_rig(tmp_path) as rig:
        reconciliation = rig.reconciliation()
        task = asyncio.create_task(reconciliation.run())
        [wake_at] = await rig.clock.until_asleep()
        assert rig.clock.now() + Reconciliation.look == wake_at

        await unknown(rig, taken=True)
        await passing_time(rig.clock, rig.events.until(OutcomeFound))
        reconciliation.stop()
        await task


async def test_stopped_reconciliation_looks_up_nothing(tmp_path: Path) -> None:
    """What is due stays due."""
    async with open_rig(tmp_path) as rig:
        id_ = await unknown(rig, taken=True)
        rig.clock.advance(FIRST)
        reconciliation = rig.reconciliation()
        reconciliation.stop()
        await reconciliation.run()
        await reconciliation.turn()

        assert Status.UNKNOWN == (await rig.message(id_)).status


async def test_failing_store_is_waited_for(tmp_path: Path) -> None:
    """Quietly, since delivery tells about it."""
    async with open_rig(tmp_path, patience=0) as rig:
        id_ = await unknown(rig, taken=True)
        rig.clock.advance(FIRST)
        reconciliation = rig.reconciliation()
        with rig.failing_store():
            task = asyncio.create_task(reconciliation.run())
            [wake_at] = await rig.clock.until_asleep()
            assert rig.clock.now() + STORE_RETRY == wake_at
        rig.clock.advance(STORE_RETRY)
        await rig.events.until(OutcomeFound)
        reconciliation.stop()
        await task

        assert Status.SENT == (await rig.message(id_)).status


async def test_a_look_up_that_could_not_be_stored_is_made_again_soon(tmp_path: Path) -> None:
    """The store failed between the question and its answer: no text waits for the end of the lease."""
    async with open_rig(tmp_path, patience=0) as rig:
        id_ = await unknown(rig, taken=True)
        rig.clock.advance(FIRST)
        find_texts = rig.callrail.find_texts
        with ExitStack() as stack:

            async def find_and_lock(*route: Any, **since: Any) -> Any:  # noqa: ANN401 - as it is called
                found = await find_texts(*route, **since)
                stack.enter_context(rig.failing_store())
                return found

            reconciliation = rig.reconciliation()
            reconciliation.find_texts = find_and_lock
            task = asyncio.create_task(reconciliation.run())
            [wake_at] = await rig.clock.until_asleep()
            assert rig.clock.now() + STORE_RETRY == wake_at
        reconciliation.find_texts = find_texts
        rig.clock.advance(STORE_RETRY)
        await rig.events.until(OutcomeFound)
        reconciliation.stop()
        await task

        assert Status.SENT == (await rig.message(id_)).status


async def test_fault_of_our_own_is_told_and_survived(tmp_path: Path) -> None:
    """By its kind, without its words."""
    async with open_rig(tmp_path) as rig:
        await unknown(rig, taken=True)
        rig.clock.advance(FIRST)

        async def broken(*_: object, **__: object) -> Never:
            raise KeyError("secret words")

        reconciliation = rig.reconciliation()
        reconciliation.find_texts = broken
        task = asyncio.create_task(reconciliation.run())
        [failure] = await rig.events.until(ProgramFailed)
        await rig.clock.until_asleep()
        reconciliation.find_texts = rig.callrail.find_texts
        assert "KeyError" == failure.reason
        failed_at = rig.clock.now()
        await passing_time(rig.clock, rig.events.until(OutcomeFound))
        # The look-up had been taken, and was free again when its lease was over.
        assert rig.clock.now() - failed_at >= rig.lookups.lease
        reconciliation.stop()
        await task


async def test_what_another_node_left_open_is_looked_up_in_time(tmp_path: Path) -> None:
    """Its lease ends soon after leases were looked at; the look-up is due as after an outcome of our own."""
    async with open_rig(tmp_path) as rig:
        await rig.accept()
        [claim] = (await rig.outbox.write(store_claim.claim, "node-2", rig.claim)).claims
        begun = rig.clock.now()
        await rig.callrail.send_text(claim.route, claim.recipient, claim.content)
        rig.clock.advance(1)
        worker = rig.worker()
        task = asyncio.create_task(worker.run())
        await rig.clock.until_asleep(2)

        await passing_time(rig.clock, rig.events.until(OutcomeFound), sleepers=2)

        assert begun + rig.claim.lease + FIRST == rig.clock.now()
        worker.stop()
        await task


async def test_worker_sends_and_looks_up(tmp_path: Path) -> None:
    """Both halves, started, woken and stopped together: a found text lets the next one be sent at once."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.DROP_ANSWER, position=1))
        worker = rig.worker()
        task = asyncio.create_task(worker.run())
        await rig.clock.until_asleep(2)
        await rig.accept("First")
        await rig.accept("Second")
        worker.wake()
        await rig.events.until(AttemptFinished)
        await passing_time(rig.clock, rig.events.until(OutcomeFound), sleepers=2)
        await passing_time(rig.clock, rig.events.until(AttemptFinished, 2), sleepers=2)
        worker.stop()
        await task

        assert ["First", "Second"] == [text.content for text in rig.simulator.texts]


async def test_delivery_is_woken_when_the_last_look_up_found_nothing(tmp_path: Path) -> None:
    """What stays unknown is left to a person, and the next text to the same one is sent at once."""
    async with open_rig(tmp_path) as rig:
        await unknown(rig, "First", taken=False)
        unknown_at, woken_at = rig.clock.now(), []
        await rig.accept("Second")

        await climb(rig, rig.reconciliation(settled=lambda: woken_at.append(rig.clock.now())))

        assert unknown_at + LADDER[-1] == woken_at[-1] == rig.clock.now()
        await rig.work(rig.delivery())
        assert ["Second"] == [text.content for text in rig.simulator.texts]
