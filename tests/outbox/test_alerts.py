"""What is wrong as the store shows it, and incidents that several nodes share."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from callrail_relay.domain.alerts import Change, Incident, Level, Undecided
from callrail_relay.domain.guards import Verdict
from callrail_relay.domain.message import Reason
from callrail_relay.domain.outcome import Unknown
from callrail_relay.outbox.store import Outbox
from callrail_relay.outbox.tables import messages
from tests.outbox.worker import REFUSED, Worker, put
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, make_draft, make_message, make_submission, recipient

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)
QUARTER = 15 * MINUTE
HELD = Verdict((Reason("merge_tag", "It holds a merge tag."),))


def incident(key: str = "paused:ACC1", **changes: object) -> Incident:
    made = Incident(key=key, level=Level.ERROR, parameters={"account": "ACC1"}, opened_at=START)
    return replace(made, **changes)  # type: ignore[arg-type]  # names are checked there


def over(one: Incident) -> Incident:
    return replace(one, level=Level.OVER, told_at=None)


async def put_held(outbox: Outbox, number: int) -> None:
    draft = make_draft(recipient=recipient(number), text="Hello {{name}}")
    await outbox.accept(make_submission(make_message(draft=draft, verdict=HELD)))


async def test_texts_wait_since_they_were_held_or_became_unknown(
    outbox: Outbox, worker: Worker, clock: ManualClock
) -> None:
    await put_held(outbox, 1)
    await put(outbox, "Hello", to=recipient(2))
    clock.advance(10 * MINUTE)
    await worker.finish(await worker.take(), Unknown("CallRail did not answer."))
    clock.advance(5 * MINUTE)
    await put_held(outbox, 3)

    assert Undecided(held=(START,)) == await outbox.read_undecided(QUARTER)
    clock.advance(10 * MINUTE)
    assert Undecided(held=(START,), unknown=(START + 10 * MINUTE,)) == await outbox.read_undecided(QUARTER)


async def test_what_leaves_by_itself_waits_for_nobody(
    store_url: str, outbox: Outbox, clock: ManualClock
) -> None:
    """As a text that is held for quiet hours."""
    await put_held(outbox, 1)
    engine = sa.create_engine(store_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.update(messages).values(release_at=START + 60 * MINUTE))
    engine.dispose()
    clock.advance(30 * MINUTE)

    assert Undecided() == await outbox.read_undecided(QUARTER)


async def test_failures_count_for_ten_minutes(outbox: Outbox, worker: Worker, clock: ManualClock) -> None:
    """Those of these accounts, refused or unknown; a text that was sent is none."""
    for number in range(3):
        await put(outbox, "Hello", to=recipient(number))
    await worker.send()
    await worker.finish(await worker.take(), REFUSED)
    await worker.finish(await worker.take(), Unknown("CallRail did not answer."))

    assert 2 == await outbox.count_failures([ACCOUNT])
    assert 0 == await outbox.count_failures(["ACC2"])
    assert 0 == await outbox.count_failures([])
    clock.advance(10 * MINUTE)
    assert 0 == await outbox.count_failures([ACCOUNT])


async def test_an_incident_is_opened_once(outbox: Outbox, second_outbox: Outbox) -> None:
    """By the first node that looks; the other's changes nothing."""
    await outbox.change_incidents([Change(before=None, after=incident())])
    await second_outbox.change_incidents([Change(before=None, after=incident(told_at=START))])

    assert [incident()] == await second_outbox.read_incidents()


async def test_one_node_at_a_time_tells(outbox: Outbox, second_outbox: Outbox, clock: ManualClock) -> None:
    """When it dies meanwhile, another does when the lease is over."""
    told = incident("failures", told_at=START)
    await outbox.change_incidents([Change(before=None, after=one) for one in (incident(), told)])

    [claimed] = await outbox.claim_alerts(MINUTE)
    assert [] == await second_outbox.claim_alerts(MINUTE)
    clock.advance(MINUTE)
    assert ["paused:ACC1"] == [one.key for one in await second_outbox.claim_alerts(MINUTE)]
    await second_outbox.mark_told([claimed])
    clock.advance(MINUTE)
    assert [] == await outbox.claim_alerts(MINUTE)
    assert {START + MINUTE, START} == {one.told_at for one in await outbox.read_incidents()}


async def test_the_end_is_told_and_then_forgotten(outbox: Outbox) -> None:
    begun = incident(told_at=START)
    other = incident("failures")
    await outbox.change_incidents([Change(before=None, after=one) for one in (begun, other)])

    await outbox.change_incidents([Change(before=begun, after=over(begun)), Change(before=other, after=None)])

    [claimed] = await outbox.claim_alerts(MINUTE)
    assert over(begun) == claimed
    await outbox.mark_told([claimed])
    assert [] == await outbox.read_incidents()


async def test_an_end_that_was_not_told_can_begin_again(outbox: Outbox) -> None:
    begun = incident(told_at=START)
    await outbox.change_incidents([Change(before=None, after=begun)])
    await outbox.change_incidents([Change(before=begun, after=over(begun))])
    await outbox.change_incidents([Change(before=over(begun), after=begun)])

    assert [begun] == await outbox.read_incidents()


async def test_what_another_node_changed_meanwhile_stays(outbox: Outbox, second_outbox: Outbox) -> None:
    begun = incident(told_at=START)
    again = incident(opened_at=START + MINUTE)
    await outbox.change_incidents([Change(before=None, after=begun)])

    await outbox.change_incidents([Change(before=begun, after=again)])
    await second_outbox.change_incidents([Change(before=begun, after=over(begun))])

    assert [again] == await outbox.read_incidents()


async def test_that_one_may_have_been_told_is_remembered(outbox: Outbox) -> None:
    """Though it is to be told again now."""
    begun = incident(told_at=START)
    again = incident(opened_at=START + MINUTE, in_hand=True)
    await outbox.change_incidents([Change(before=None, after=begun)])

    await outbox.change_incidents([Change(before=begun, after=again)])

    assert [again] == await outbox.read_incidents() == await outbox.claim_alerts(MINUTE)
