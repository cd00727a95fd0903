"""Attempts that no process finished: theirs died, and whether CallRail took the text is not known."""

from dataclasses import replace
from datetime import timedelta

import pytest

from callrail_relay.domain.events import LateResult
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import NotSent, Outcome, OutcomeKind, Unknown
from callrail_relay.outbox.record import AT_ONCE
from callrail_relay.outbox.store import Store
from tests.outbox.worker import (
    REFUSED,
    SENT,
    TOO_MANY,
    Worker,
    accept_one,
    find,
    found,
    plain,
    put,
    status_of,
    told,
    words,
)
from tests.support.clock import ManualClock
from tests.support.factories import make_policy, make_submission, recipient

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=75)


async def test_an_attempt_whose_lease_ran_out_is_unknown(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """It may have reached CallRail, so it is shown to a person and not sent again."""
    id_ = await put(outbox, "Hello")
    await worker.take()
    clock.advance(LEASE)

    (recorded,) = await worker.settle_abandoned()

    assert (id_, Status.UNKNOWN) == (recorded.message_id, recorded.status)
    message = await find(outbox, id_)
    (segment,) = message.segments
    (attempt,) = segment.attempts
    assert (Status.UNKNOWN, OutcomeKind.UNKNOWN, clock.now()) == (
        message.status,
        attempt.outcome,
        attempt.finished_at,
    )
    assert ["unknown"] == [reason.code for reason in message.reasons]
    assert await worker.waits() is None


async def test_more_attempts_than_are_settled_at_a_time(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """A node that served many accounts died: each of its attempts is settled once."""
    accounts = [f"ACC{number:03}" for number in range(AT_ONCE // 100 + 1)]
    texts = [
        plain("Hello", to=recipient(number), account_id=accounts[number // 100])
        for number in range(len(accounts) * 100)
    ]
    await accept_one(outbox, make_submission(*texts))
    worker = replace(worker, policy=make_policy(accounts=accounts))
    claimed = (await worker.look(most=len(texts))).claims
    clock.advance(LEASE)

    recorded = await worker.settle_abandoned()

    assert len(texts) == len(claimed) > AT_ONCE
    assert sorted(claim.message_id for claim in claimed) == sorted(one.message_id for one in recorded)
    assert {Status.UNKNOWN} == {one.status for one in recorded}
    assert [] == await worker.settle_abandoned()


async def test_a_lease_that_runs_is_left_alone(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Its process may still be waiting for the answer."""
    await put(outbox, "Hello")
    await worker.take()
    clock.advance(LEASE - timedelta(microseconds=1))

    assert [] == await worker.settle_abandoned()


async def test_a_node_that_starts_again_takes_up_its_own_at_once(outbox: Store, worker: Worker) -> None:
    """Those of other nodes are left to them."""
    other = replace(worker, node="node-2")
    mine = await put(outbox, "mine", to=recipient(1))
    await worker.take()
    theirs = await put(outbox, "theirs", to=recipient(2))
    await other.take()

    recorded = await worker.settle_abandoned("node-1")

    assert [mine] == [one.message_id for one in recorded]
    assert Status.SENDING == await status_of(outbox, theirs)


async def test_a_node_that_starts_also_takes_up_leases_that_ran_out(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """No matter which process held them."""
    id_ = await put(outbox, "theirs")
    await replace(worker, node="node-2").take()
    clock.advance(LEASE)

    assert [id_] == [one.message_id for one in await worker.settle_abandoned("node-1")]


async def test_several_accounts_are_settled_together(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """One after the other, by account."""
    worker = worker.under(accounts=["ACC-1", "ACC-2"])
    for number, account_id in enumerate(("ACC-2", "ACC-1", "ACC-2")):
        await put(outbox, "Hello", to=recipient(number), account_id=account_id)
    await worker.take_all()
    clock.advance(LEASE)

    assert ["ACC-1", "ACC-2", "ACC-2"] == [one.account_id for one in await worker.settle_abandoned()]


@pytest.mark.parametrize("late", [REFUSED, TOO_MANY, NotSent("no route."), Unknown("no answer.")])
async def test_a_late_result_changes_nothing(
    outbox: Store, worker: Worker, clock: ManualClock, late: Outcome
) -> None:
    """What was settled stays settled until a person looks."""
    id_ = await put(outbox, "Hello")
    claim = await worker.take()
    clock.advance(LEASE)
    await worker.settle_abandoned()
    before, status = await find(outbox, id_), await worker.status()

    assert [LateResult(message_id=id_, outcome=late.kind)] == await worker.record(claim, late)

    assert (before, status) == (await find(outbox, id_), await worker.status())


async def test_a_late_yes_is_proof(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """CallRail's answer came after all: the text is sent, and needs no look-up."""
    id_ = await put(outbox, "Hello")
    claim = await worker.take()
    clock.advance(LEASE)
    await worker.settle_abandoned()
    clock.advance(1)

    recorded = await worker.record(claim, SENT)

    assert [(id_, Status.SENT)] == found(recorded)
    assert "attempt_finished" not in told(recorded)
    message = await find(outbox, id_)
    assert (Status.SENT, clock.now(), ()) == (message.status, message.sent_at, message.reasons)


async def test_an_abandoned_attempt_keeps_its_place_in_the_budget(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """CallRail may have counted it."""
    await put(outbox, "Hello")
    await worker.take()
    clock.advance(LEASE)
    await worker.settle_abandoned()

    assert 1 == (await worker.status()).hour.used


async def test_the_rest_of_an_abandoned_text_does_not_leave(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The next text to that person does."""
    await put(outbox, words(400))
    await put(outbox, "after")
    await worker.take()
    clock.advance(LEASE)
    (recorded,) = await worker.settle_abandoned()
    clock.advance(1)

    assert Status.UNKNOWN == recorded.status
    assert ["after"] == [claim.content for claim in await worker.take_all()]


async def test_a_crash_is_seen_after_the_store_was_opened_again(
    outbox: Store, second_outbox: Store, worker: Worker
) -> None:
    """The claim is on disk: the next process that opens the store finds it."""
    id_ = await put(outbox, "Hello")
    await worker.take()
    await outbox.close()

    (recorded,) = await replace(worker, outbox=second_outbox).settle_abandoned("node-1")

    assert id_ == recorded.message_id
