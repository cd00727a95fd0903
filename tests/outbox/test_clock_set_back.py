"""A clock that was ahead and is set back: nothing waits until the time has come again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from callrail_relay.domain.account import DAY, HOUR, Limits
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import NotSent, Unknown
from callrail_relay.outbox import decisions, history, lookups, presence
from callrail_relay.outbox.store import Store
from tests.outbox.worker import TOO_MANY, Worker, find, put, status_of
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, recipient
from tests.support.policies import lookup_policy

pytestmark = pytest.mark.anyio

YEAR = timedelta(days=365)
LOST = Unknown("the answer did not come.")
LOOKUPS = lookup_policy(accounts=frozenset({ACCOUNT}))


@pytest.mark.parametrize("span", [HOUR, YEAR])
async def test_an_accepted_text_leaves_at_once(
    outbox: Store, worker: Worker, clock: ManualClock, span: timedelta
) -> None:
    """It was accepted when the clock was ahead."""
    id_ = await put(outbox, "Hello")
    clock.set(START - span)
    await worker.send()

    message = await find(outbox, id_)
    assert Status.SENT == message.status
    assert message.received_at <= clock.now()
    newest = await outbox.read(history.last_from_if3)
    assert newest is not None
    assert newest <= clock.now()


@pytest.mark.parametrize("span", [timedelta(seconds=1), HOUR - timedelta(minutes=1)])
async def test_an_account_that_was_just_changed_is_looked_at(
    outbox: Store, worker: Worker, clock: ManualClock, span: timedelta
) -> None:
    """
    Also where nothing but when to look at it was written by the clock that was ahead, were it by a second.
    """
    await outbox.write(decisions.pause, ACCOUNT, "Lunch")
    await put(outbox, "Hello")
    assert await worker.waits() is None
    clock.advance(HOUR)
    await outbox.write(decisions.resume, ACCOUNT)

    clock.set(clock.now() - span)

    assert "Hello" == (await worker.take()).content


async def test_a_retry_is_not_looked_at_late(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Something about another text was decided after it was due, and then the clock went back before that."""
    await put(outbox, "Hello")
    other = await put(outbox, "Hello", to=recipient(1))
    await worker.send(NotSent("no route to CallRail."))
    retry_at = await worker.waits()
    assert retry_at is not None
    assert clock.now() < retry_at < clock.now() + timedelta(seconds=1)
    clock.advance(1)
    assert await outbox.write(decisions.cancel, other, [Status.QUEUED])

    clock.set(START)

    assert retry_at == await worker.waits()


async def test_the_budget_fills_up_no_longer_than_it_would_have(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """What left half an hour ago is half an hour old on the new clock too."""
    frugal = worker.under(limits=Limits(2, 1000))
    for number in range(3):
        await put(outbox, "Hello", to=recipient(number))
    await frugal.send()
    clock.advance(HOUR / 2)
    await frugal.send()
    assert START + HOUR == await frugal.waits()

    clock.set(clock.now() - YEAR)

    assert clock.now() + HOUR / 2 == await frugal.waits()
    clock.advance(HOUR / 2)
    await frugal.send()


async def test_what_is_looked_up_is_looked_up_in_time(outbox: Store, clock: ManualClock) -> None:
    """And later texts to that person wait no longer than for the ladder."""
    worker = Worker(outbox, lookups=LOOKUPS)
    await put(outbox, "Hello")
    later = await put(outbox, "Are you there?")
    await worker.send(LOST)

    clock.set(START - DAY)

    assert not (await worker.look()).claims
    assert clock.now() + LOOKUPS.ladder[0] == await outbox.read(lookups.next_lookup, LOOKUPS)
    clock.set(LOOKUPS.blocks_until(clock.now()))
    await worker.send()
    assert Status.SENT == await status_of(outbox, later)


async def test_an_account_waits_no_longer(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """A minute after CallRail's 429, whatever the clock shows."""
    await put(outbox, "Hello")
    await worker.send(TOO_MANY)

    clock.set(START - DAY)

    assert clock.now() + timedelta(minutes=1) == await worker.waits()


async def test_an_attempt_under_way_keeps_its_lease(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Neither given up at once nor kept for ever."""
    id_ = await put(outbox, "Hello")
    await worker.take()
    clock.advance(10)
    assert [] == await worker.settle_abandoned()

    clock.set(START - DAY)

    assert [] == await worker.settle_abandoned()
    clock.advance(worker.policy.lease - timedelta(seconds=11))
    assert [] == await worker.settle_abandoned()
    clock.advance(1)
    assert 1 == len(await worker.settle_abandoned())
    assert Status.UNKNOWN == await status_of(outbox, id_)


async def test_a_restart_notices_it_too(
    outbox: Store, worker: Worker, second_outbox: Store, clock: ManualClock
) -> None:
    """And what one process has moved is not moved again by another."""
    await put(outbox, "Hello")
    await worker.take()
    lease_ends = worker.policy.lease

    clock.set(START - DAY)
    for store in (second_outbox, outbox, second_outbox):
        await store.write_probe()

    clock.advance(lease_ends - timedelta(seconds=1))
    assert [] == await worker.settle_abandoned()
    clock.advance(1)
    assert 1 == len(await worker.settle_abandoned())


async def test_a_budget_that_two_processes_move_is_free_no_earlier(
    outbox: Store, second_outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The first one has written nothing since the clock was set ahead, and so sees it go back by less."""
    frugal = worker.under(limits=Limits(1, 1000))
    await outbox.write_probe()
    clock.advance(HOUR)
    others = replace(frugal, outbox=second_outbox)
    await put(second_outbox, "Hello")
    await others.send()
    await put(second_outbox, "Hello", to=recipient(1))

    clock.set(START - timedelta(seconds=10))
    for store in (outbox, second_outbox, outbox):
        await store.write_probe()

    assert clock.now() + HOUR == await frugal.waits()


async def test_a_small_correction_moves_nothing(outbox: Store, clock: ManualClock) -> None:
    """Clocks are corrected by a second all the time."""
    id_ = await put(outbox, "Hello")
    clock.set(START - timedelta(seconds=1))
    await outbox.write_probe()

    assert START == (await find(outbox, id_)).received_at


@pytest.mark.parametrize("answered", [True, False])
async def test_when_callrail_last_answered_lies_not_ahead(
    outbox: Store, clock: ManualClock, *, answered: bool
) -> None:
    """Or nothing would be asked meanwhile, and an old answer would count as one of just now."""
    clock.set(START + HOUR * 2)
    await put(outbox, "Hello")
    await outbox.write(presence.note_contacts, [ACCOUNT], answered=answered)
    clock.set(START)
    await outbox.write_probe()
    clock.advance(HOUR)
    await outbox.write(presence.note_contacts, [ACCOUNT], answered=not answered)

    contact = (await outbox.read(presence.read_contacts, [ACCOUNT]))[ACCOUNT]
    assert answered is contact.is_lost
