"""Undo: a decision waits for some seconds before anything is sent, and until then it can be taken back."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.domain import guards
from callrail_relay.domain.guards import Verdict
from callrail_relay.domain.message import Actor, Reason, Status, Verb
from callrail_relay.domain.opt_outs import PossibleOptOut
from callrail_relay.domain.outcome import Unknown
from callrail_relay.outbox import decisions, opt_outs, queries, retention
from callrail_relay.outbox.lookups import settle_as_sent
from callrail_relay.outbox.opt_outs import read_opt_outs
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import possible_opt_outs
from callrail_relay.outbox.transaction import Transaction
from tests.outbox.worker import Worker, find, put, put_message, status_of
from tests.support.clock import ManualClock
from tests.support.factories import ACCOUNT, RECIPIENT, TRACKING_NUMBER, make_draft, make_message, recipient
from tests.support.policies import guard_policy, lookup_policy
from tests.support.stores import new_sqlite_store

pytestmark = pytest.mark.anyio

DELAY = timedelta(seconds=8)
BATCH = "01a0f8e7-7c1e-7f3f-b358-4f8cd8f16adf"
MERGE_TAG = Reason("merge_tag", {"placeholder": "{{name}}"})
CLICK = Actor(name="Sam", batch=BATCH, delay=DELAY)
POLICY = guard_policy()


async def put_held(outbox: Store, *reasons: Reason, text: str = "Hi {{name}}", to: str = RECIPIENT) -> str:
    draft = make_draft(text=text, recipient=to)
    return await put_message(outbox, make_message(draft=draft, verdict=Verdict(reasons or (MERGE_TAG,))))


async def approve(outbox: Store, id_: str) -> None:
    assert await outbox.write(decisions.approve, id_, actor=CLICK)


async def undo(outbox: Store, id_: str, batch: str = BATCH) -> bool:
    return await outbox.write(decisions.undo, id_, batch)


async def test_nothing_is_sent_before_the_time_for_undo_is_over(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Not even the last microsecond before it; then it is sent, and a later text to the person behind it."""
    id_ = await put_held(outbox)
    later = await put(outbox, "Later")
    await approve(outbox, id_)

    assert clock.now() + DELAY == await worker.waits()
    clock.advance((DELAY - timedelta(microseconds=1)).total_seconds())
    assert await worker.waits() is not None
    clock.advance(0.000_001)
    assert id_ == (await worker.send()).message_id
    clock.advance(60)
    assert later == (await worker.send()).message_id


async def test_a_node_that_starts_meanwhile_waits_as_well(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The store keeps the time, and no process."""
    id_ = await put_held(outbox)
    await approve(outbox, id_)
    other = Worker(outbox, node="node-2")

    assert clock.now() + DELAY == await other.waits()
    clock.advance(DELAY.total_seconds())
    assert id_ == (await other.take()).message_id


KILLED = """
import asyncio, os, signal, sys
from callrail_relay.outbox import decisions
from callrail_relay.outbox.store import Store
from tests.outbox.test_undo import CLICK, ManualClock

async def main():
    store = await Store.open(sys.argv[1], ManualClock())
    assert await store.write(decisions.approve, sys.argv[2], actor=CLICK)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
async def test_process_that_dies_in_the_time_for_undo_has_sent_nothing(tmp_path: Path) -> None:
    """After a restart it still waits, it can be undone, and undone it is never sent."""
    url, clock = new_sqlite_store(tmp_path / "relay.db"), ManualClock()
    outbox = await Store.open(url, clock)
    kept, undone = await put_held(outbox, to=recipient(1)), await put_held(outbox, to=recipient(2))
    await outbox.close()
    for id_ in (kept, undone):
        ran = subprocess.run([sys.executable, "-c", KILLED, url, id_], check=False)  # noqa: ASYNC221 - it dies at once
        assert -signal.SIGKILL == ran.returncode

    outbox = await Store.open(url, clock)
    worker = Worker(outbox)
    assert clock.now() + DELAY == await worker.waits()
    assert await undo(outbox, undone)
    clock.advance(DELAY.total_seconds())
    assert [kept] == [claim.message_id for claim in await worker.take_all()]
    assert Status.HELD == await status_of(outbox, undone)
    await outbox.close()


async def test_undone_text_is_held_as_before(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """With the reasons that it showed, and nothing of the approval; the history keeps both."""
    too_old = Reason("too_old", {"max_age_seconds": 14_400})
    id_ = await put_held(outbox, MERGE_TAG, too_old)
    await approve(outbox, id_)
    assert await undo(outbox, id_)

    message = await find(outbox, id_)
    assert (Status.HELD, (MERGE_TAG, too_old)) == (message.status, message.reasons)
    assert ["approve", "undo"] == [one.verb for one in message.decisions]
    clock.advance(3600)
    assert await worker.waits() is None
    # What was approved for a moment is not approved for good.
    assert await outbox.write(decisions.approve, id_)
    assert id_ == (await worker.take()).message_id


async def test_only_the_click_itself_is_undone_and_once(outbox: Store) -> None:
    id_ = await put_held(outbox)
    await approve(outbox, id_)
    assert not await undo(outbox, id_, "another click")
    assert not await undo(outbox, "no such id")
    assert await undo(outbox, id_)
    assert not await undo(outbox, id_)
    assert await outbox.write(decisions.approve, id_)  # from a terminal: without any time for undo
    assert not await undo(outbox, id_)
    assert Status.QUEUED == await status_of(outbox, id_)


async def test_what_is_being_sent_or_was_sent_cannot_be_undone(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Also if a pause to the next segment begins again."""
    draft = make_draft(text="One two three four " * 12)
    id_ = await put_message(outbox, make_message(draft=draft, verdict=Verdict((MERGE_TAG,))))
    await approve(outbox, id_)
    clock.advance(DELAY.total_seconds())
    claim = await worker.take()
    assert not await undo(outbox, id_)
    await worker.finish(claim)
    assert not await undo(outbox, id_)
    assert Status.SENDING == await status_of(outbox, id_)


async def test_opt_out_in_the_time_for_undo_holds_it_and_stays(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Undo does not take the new reason away."""
    id_ = await put_held(outbox)
    await approve(outbox, id_)
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "Asked by phone.")
    clock.advance(DELAY.total_seconds())
    assert await worker.waits() is None

    assert not await undo(outbox, id_)
    assert Reason("opt_out") in (await find(outbox, id_)).reasons


async def test_reply_that_an_approval_settled_is_open_again(outbox: Store, clock: ManualClock) -> None:
    reply = PossibleOptOut(words="leave me alone", written_at=clock.now())
    row = {"tracking_number": TRACKING_NUMBER, "recipient": RECIPIENT}

    def add(tx: Transaction) -> None:
        tx.execute(possible_opt_outs.insert().values(words=reply.words, written_at=reply.written_at, **row))

    await outbox.write(add)
    id_ = await put_held(outbox, guards.maybe_opted_out(reply))
    await approve(outbox, id_)
    assert (set(), {}) == await outbox.read(read_opt_outs, [RECIPIENT])
    assert await undo(outbox, id_)
    _, asked = await outbox.read(read_opt_outs, [RECIPIENT])
    assert [reply] == list(asked.values())


async def test_canceling_and_sending_again_are_undone_too(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    id_ = await put_held(outbox)
    assert await outbox.write(decisions.cancel, id_, [Status.HELD], actor=CLICK)
    assert await undo(outbox, id_)
    message = await find(outbox, id_)
    assert (Status.HELD, (MERGE_TAG,)) == (message.status, message.reasons)

    assert await outbox.write(decisions.cancel, id_, [Status.HELD])
    assert await outbox.write(decisions.resend, id_, actor=CLICK)
    assert clock.now() + DELAY == await worker.waits()
    assert await undo(outbox, id_)
    clock.advance(3600)
    assert await worker.waits() is None
    assert Status.CANCELLED == await status_of(outbox, id_)


@pytest.mark.parametrize("verb", ["cancel", "resend"])
async def test_text_that_is_found_at_callrail_meanwhile_is_not_undone(
    outbox: Store, worker: Worker, clock: ManualClock, verb: str
) -> None:
    """Else it would seem not to have arrived, and a person would send it twice."""
    id_ = await put(outbox, "One two three four " * 12)
    claim = await worker.take()
    await worker.finish(claim, Unknown("The connection broke."))
    clock.advance(1)
    if verb == "cancel":
        assert await outbox.write(decisions.cancel, id_, [Status.UNKNOWN], actor=CLICK)
    else:
        assert await outbox.write(decisions.resend, id_, actor=CLICK)
    await outbox.write(settle_as_sent, claim.attempt_id, "It is there.")
    status = await status_of(outbox, id_)
    assert not await undo(outbox, id_)
    assert status == await status_of(outbox, id_)


@pytest.mark.parametrize("verb", ["cancel", "resend"])
async def test_later_texts_wait_again_for_an_outcome_that_is_undone_to_unknown(
    outbox: Store, worker: Worker, clock: ManualClock, verb: str
) -> None:
    """As long as it is looked up, as if nothing had been decided."""
    looking = replace(worker, lookups=lookup_policy(accounts=frozenset({ACCOUNT})))
    id_ = await put(outbox, "First")
    await looking.finish(await looking.take(), Unknown("The connection broke."))
    clock.advance(1)
    await put(outbox, "Second")
    waits = await looking.waits()
    if verb == "cancel":
        assert await outbox.write(decisions.cancel, id_, [Status.UNKNOWN], actor=CLICK)
    else:
        assert await outbox.write(decisions.resend, id_, actor=CLICK)
    assert await undo(outbox, id_)
    assert waits == await looking.waits()
    assert Status.UNKNOWN == await status_of(outbox, id_)


async def test_time_for_undo_of_many_begins_when_all_are_written(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Until then none is sent; a process that dies before leaves them to be sent later, and loses none."""
    long = replace(CLICK, delay=timedelta(minutes=10))
    ids = [await put_held(outbox, to=recipient(number)) for number in range(3)]
    for id_ in ids:
        assert await outbox.write(decisions.approve, id_, actor=long)
        clock.advance(60)
    assert await worker.waits() is not None
    await outbox.write(decisions.send_after, BATCH, DELAY)
    assert clock.now() + DELAY == await worker.waits()
    assert await undo(outbox, ids[0])
    clock.advance(DELAY.total_seconds())
    assert ids[1:] == [claim.message_id for claim in await worker.take_all()]
    await outbox.write(decisions.send_after, BATCH, DELAY)
    assert Status.HELD == await status_of(outbox, ids[0])


# --- edited ----------------------------------------------------------------------------------------------


async def edit(outbox: Store, id_: str, text: str, to: str = RECIPIENT) -> Status | None:
    edited = make_message(id_=id_, draft=make_draft(text=text, recipient=to))
    return await outbox.write(decisions.rewrite, edited, POLICY, Verb.EDIT, CLICK)


async def test_edited_text_is_sent_with_its_new_words_and_keeps_the_old_ones(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """To the new person, after the time for undo, at its own place."""
    id_ = await put_held(outbox)
    assert Status.QUEUED == await edit(outbox, id_, "Hi Dana", to=recipient(7))
    assert clock.now() + DELAY == await worker.waits()
    clock.advance(DELAY.total_seconds())

    claim = await worker.take()
    assert (id_, "Hi Dana", recipient(7)) == (claim.message_id, claim.content, claim.recipient)
    [decision] = (await find(outbox, id_)).decisions
    assert ("Hi {{name}}", RECIPIENT) == (decision.text, decision.recipient)


async def test_guards_judge_an_edited_text_anew(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """What was approved of the old words, or is true of the new person, holds it."""
    id_ = await put_held(outbox)
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(7), "Asked by phone.")
    assert Status.HELD == await edit(outbox, id_, "Hi Dana", to=recipient(7))
    assert (Reason("opt_out"),) == (await find(outbox, id_)).reasons

    same = await put(outbox, "The very same words")
    assert Status.HELD == await edit(outbox, id_, "The very same words")
    [reason] = (await find(outbox, id_)).reasons
    assert ("duplicate", same) == (reason.code, reason.parameters["message_id"])
    clock.advance(60)
    assert [same] == [claim.message_id for claim in await worker.take_all()]


async def test_edited_text_that_is_undone_has_its_old_words(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """And is known again by them."""
    id_ = await put_held(outbox)
    assert Status.QUEUED == await edit(outbox, id_, "Hi Dana")
    assert await undo(outbox, id_)
    message = await find(outbox, id_)
    assert (Status.HELD, "Hi {{name}}", (MERGE_TAG,)) == (message.status, message.text, message.reasons)
    clock.advance(3600)
    assert await worker.waits() is None


async def test_edited_text_ages_from_its_edit(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """A person wrote it just now, however long ago the first words came."""
    id_ = await put_held(outbox)
    clock.advance((POLICY.max_age * 2).total_seconds())
    assert Status.QUEUED == await edit(outbox, id_, "Hi Dana")
    clock.advance(DELAY.total_seconds())
    assert id_ == (await worker.take()).message_id


async def test_what_is_not_held_or_was_sent_in_part_is_not_edited(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    queued = await put(outbox, "Queued", to=recipient(1))
    assert await edit(outbox, queued, "Other words") is None
    long = await put(outbox, "One two three four " * 12, to=recipient(2))
    for _ in range(2):
        await worker.send()
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(2), "Asked by phone.")
    clock.advance(60)
    assert await worker.waits() is None
    assert Status.HELD == await status_of(outbox, long)
    assert await edit(outbox, long, "Other words") is None


async def test_old_words_of_an_edited_text_are_removed_in_time(outbox: Store, clock: ManualClock) -> None:
    id_ = await put_held(outbox)
    await edit(outbox, id_, "Hi Dana")
    assert await outbox.write(decisions.cancel, id_, [Status.QUEUED], actor=CLICK)
    clock.advance(timedelta(days=100).total_seconds())
    await outbox.write(retention.retire, clock.now() - timedelta(days=90), 100)

    [message] = await outbox.read(queries.find_messages, id_)
    assert {(None, None)} == {(one.text, one.recipient) for one in message.decisions}
    assert not await undo(outbox, id_)
