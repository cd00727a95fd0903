"""All processes see the work that one of them adds."""

import pytest

from callrail_relay.domain.message import Source
from callrail_relay.domain.outcome import Unknown
from callrail_relay.outbox import claim, decisions
from callrail_relay.outbox.store import Store
from tests.outbox.worker import Worker, accept_one, put
from tests.support.clock import ManualClock
from tests.support.factories import ACCOUNT, make_message, make_submission
from tests.support.policies import lookup_policy

pytestmark = pytest.mark.anyio

LOOKUPS = lookup_policy(accounts=frozenset({ACCOUNT}))


async def test_what_a_person_decides_elsewhere_shows(
    outbox: Store, second_outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Each time, also where the same was decided before."""
    for _ in range(2):
        assert await worker.waits() is None
        before = await outbox.read(claim.newest_due)
        clock.advance(1)
        await second_outbox.write(decisions.resume, ACCOUNT)
        assert before != await outbox.read(claim.newest_due)


async def test_a_text_of_a_command_shows(outbox: Store, second_outbox: Store) -> None:
    """It may let others send."""
    before = await outbox.read(claim.newest_due)

    await accept_one(second_outbox, make_submission(make_message(), source=Source.SEND))

    assert before != await outbox.read(claim.newest_due)


async def test_a_look_up_shows_when_its_time_has_come(outbox: Store, clock: ManualClock) -> None:
    """And what it changes shows as well: later texts to that person may be sent."""
    worker = Worker(outbox, lookups=LOOKUPS)
    await put(outbox, "Hello")
    await worker.send(Unknown("the answer did not come."))
    assert not (await worker.look()).claims
    before = await outbox.read(claim.newest_due)
    clock.advance(LOOKUPS.ladder[0])

    assert before != await outbox.read(claim.newest_due)


async def test_nothing_new_shows_nothing(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Looking changes nothing, and time alone neither."""
    await put(outbox, "Hello")
    await worker.send()
    assert await worker.waits() is None
    before = await outbox.read(claim.newest_due)
    clock.advance(3600)

    assert before == await outbox.read(claim.newest_due)
