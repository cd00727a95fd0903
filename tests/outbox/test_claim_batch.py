"""Several segments claimed in one transaction: the rules of a claim hold among them."""

from datetime import timedelta

import pytest

from callrail_relay.domain.account import HOUR, Limits
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.outcome import Unknown
from callrail_relay.outbox import opt_outs
from callrail_relay.outbox.claim import AT_ONCE
from callrail_relay.outbox.store import Store
from tests.outbox.worker import TOO_MANY, Worker, accept_one, find, plain, put, words
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, TRACKING_NUMBER, make_policy, make_submission, recipient
from tests.support.policies import guard_policy
from tests.support.stores import statements

pytestmark = pytest.mark.anyio

OTHER = "ACC019"
ACCOUNTS = (ACCOUNT, OTHER)
LOST = Unknown("the relay stopped.", own_fault=True)


@pytest.fixture
def worker(outbox: Store) -> Worker:
    return Worker(outbox, make_policy(accounts=ACCOUNTS))


async def test_one_to_a_person_in_the_order_of_arrival(outbox: Store, worker: Worker) -> None:
    for number in (0, 1, 0, 2, 1):
        await put(outbox, f"To {number}", to=recipient(number))

    claims = (await worker.look(most=16)).claims

    assert ["To 0", "To 1", "To 2"] == [claim.content for claim in claims]
    for claim in claims:
        await worker.finish(claim)


async def test_no_more_than_were_asked_for(outbox: Store, worker: Worker) -> None:
    for number in range(5):
        await put(outbox, f"Text {number}", to=recipient(number))

    assert [3, 2, 0] == [len((await worker.look(most=3)).claims) for _ in range(3)]


async def test_no_more_than_the_hour_has_room_for(outbox: Store, worker: Worker) -> None:
    """The rest goes once the first ones are an hour old."""
    worker = worker.under(limits=Limits(3, 100))
    for number in range(5):
        await put(outbox, f"Text {number}", to=recipient(number))

    result = await worker.look(most=16)

    assert (3, None) == (len(result.claims), result.wake_at)
    assert START + HOUR == await worker.waits()


async def test_the_rest_of_a_long_text_keeps_its_room(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Three texts of three segments each, and room for seven: the third waits."""
    worker = worker.under(limits=Limits(7, 100), max_characters=140)
    for number in range(3):
        await put(outbox, words(400), to=recipient(number))

    first = (await worker.look(most=16)).claims
    for claim in first:
        await worker.finish(claim)

    assert [recipient(0), recipient(1)] == [claim.recipient for claim in first]
    clock.advance(2)
    second = (await worker.look(most=16)).claims
    assert [(recipient(0), 2), (recipient(1), 2)] == [(one.recipient, one.position) for one in second]


async def test_what_is_held_lets_the_next_to_that_person_go(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """In the same claim: those behind a text that turned out to be too old."""
    worker = worker.under(guards=guard_policy(too_old=Mode.HOLD, max_age=timedelta(hours=1)))
    old = await put(outbox, "Old", to=recipient(0))
    clock.advance(timedelta(hours=2))
    for text, number in (("New", 0), ("Other", 1)):
        await put(outbox, text, to=recipient(number))

    result = await worker.look(most=16)

    assert [old] == [held.message_id for held in result.held]
    assert {"New", "Other"} == {claim.content for claim in result.claims}


async def test_what_is_held_does_not_end_the_claim_before_it(outbox: Store, worker: Worker) -> None:
    """What was claimed before AT_ONCE others were held is sent; the rest is looked at at once."""
    await put(outbox, "Text", to=recipient(0))
    texts = [plain(f"Text {number}", to=recipient(number)) for number in range(1, AT_ONCE + 3)]
    await accept_one(outbox, make_submission(*texts))
    for number in range(1, AT_ONCE + 3):
        await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(number), "They said STOP.")

    result = await worker.look(most=AT_ONCE + 9)

    assert ["Text"] == [claim.content for claim in result.claims]
    assert (AT_ONCE, outbox.clock.now()) == (len(result.held), result.wake_at)
    assert 2 == len((await worker.look(most=16)).held)


async def test_one_probe_of_an_account_that_was_refused(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """And as many as asked for of the others."""
    for number in range(3):
        await put(outbox, f"Text {number}", to=recipient(number))
    await worker.send(TOO_MANY)
    for number in range(3, 5):
        await put(outbox, f"Text {number}", to=recipient(number), account_id=OTHER)
    clock.advance(timedelta(minutes=30))

    claims = (await worker.look(most=16)).claims

    assert {ACCOUNT: 1, OTHER: 2} == {
        one: sum(claim.route.account_id == one for claim in claims) for one in (ACCOUNT, OTHER)
    }


async def test_a_batch_costs_few_statements(outbox: Store, worker: Worker) -> None:
    """Those of one account are read and written together, however many they are."""
    texts = [plain(f"Text {number}", to=recipient(number)) for number in range(20)]
    await accept_one(outbox, make_submission(*texts))
    with statements() as one:
        await worker.look(most=1)
    with statements() as many:
        assert 16 == len((await worker.look(most=16)).claims)

    assert len(many) == len(one)


async def test_each_claim_of_a_batch_ends_by_itself(outbox: Store, worker: Worker) -> None:
    ids = [await put(outbox, f"Text {number}", to=recipient(number)) for number in range(3)]
    claims = (await worker.look(most=16)).claims
    assert ids == [claim.message_id for claim in claims]
    assert len(claims) == len({claim.attempt_id for claim in claims})

    await worker.finish(claims[1])
    await worker.finish(claims[2], LOST)
    await worker.settle_abandoned(worker.node)

    assert ["unknown", "sent", "unknown"] == [(await find(outbox, id_)).status for id_ in ids]
