"""What is wrong as the store shows it, and incidents that several nodes share."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from callrail_relay.domain.alerts import Change, Incident, Level, Undecided
from callrail_relay.domain.guards import Verdict
from callrail_relay.domain.message import Reason
from callrail_relay.domain.outcome import Unknown
from callrail_relay.outbox import alerts
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import messages
from tests.outbox.worker import REFUSED, Worker, accept_one, put
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, make_draft, make_message, make_submission, recipient

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)
QUARTER = 15 * MINUTE
HELD = Verdict((Reason("merge_tag", {"detail": "It holds a merge tag."}),))


def incident(key: str = "paused:ACC1", **changes: object) -> Incident:
    made = Incident(key=key, level=Level.ERROR, parameters={"account": "ACC1"}, opened_at=START)
    return replace(made, **changes)  # type: ignore[arg-type]  # names are checked there


async def change(outbox: Store, before: Incident | None, after: Incident | None) -> None:
    await outbox.write(alerts.change_incidents, [Change(before=before, after=after)])


def over(one: Incident) -> Incident:
    return replace(one, level=Level.OVER, told_at=None)


async def put_held(outbox: Store, number: int) -> None:
    draft = make_draft(recipient=recipient(number), text="Hello {{name}}")
    await accept_one(outbox, make_submission(make_message(draft=draft, verdict=HELD)))


async def test_texts_wait_since_they_were_held_or_became_unknown(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    await put_held(outbox, 1)
    await put(outbox, "Hello", to=recipient(2))
    clock.advance(10 * MINUTE)
    await worker.finish(await worker.take(), Unknown("CallRail did not answer."))
    clock.advance(5 * MINUTE)
    await put_held(outbox, 3)

    assert Undecided(held=(START,)) == await outbox.read(alerts.read_undecided, QUARTER)
    clock.advance(10 * MINUTE)
    assert Undecided(held=(START,), unknown=(START + 10 * MINUTE,)) == await outbox.read(
        alerts.read_undecided, QUARTER
    )


async def test_what_leaves_by_itself_waits_for_nobody(
    store_url: str, outbox: Store, clock: ManualClock
) -> None:
    """As a text that is held for quiet hours."""
    await put_held(outbox, 1)
    engine = sa.create_engine(store_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.update(messages).values(release_at=START + 60 * MINUTE))
    engine.dispose()
    clock.advance(30 * MINUTE)

    assert Undecided() == await outbox.read(alerts.read_undecided, QUARTER)


async def test_failures_count_for_ten_minutes(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Those of these accounts, refused or unknown; a text that was sent is none."""
    for number in range(3):
        await put(outbox, "Hello", to=recipient(number))
    await worker.send()
    await worker.finish(await worker.take(), REFUSED)
    await worker.finish(await worker.take(), Unknown("CallRail did not answer."))

    assert 2 == await outbox.read(alerts.count_failures, [ACCOUNT])
    assert 0 == await outbox.read(alerts.count_failures, ["ACC2"])
    assert 0 == await outbox.read(alerts.count_failures, [])
    clock.advance(10 * MINUTE)
    assert 0 == await outbox.read(alerts.count_failures, [ACCOUNT])


async def test_an_incident_is_opened_once(outbox: Store, second_outbox: Store) -> None:
    """By the first node that looks; the other's changes nothing."""
    await change(outbox, None, incident())
    await change(second_outbox, None, incident(told_at=START))

    assert [incident()] == await second_outbox.read(alerts.read_incidents)


async def test_one_node_at_a_time_tells(outbox: Store, second_outbox: Store, clock: ManualClock) -> None:
    """When it dies meanwhile, another does when the lease is over."""
    told = incident("failures", told_at=START)
    await change(outbox, None, incident())
    await change(outbox, None, told)

    [claimed] = await outbox.write(alerts.claim_alerts, MINUTE)
    assert [] == await second_outbox.write(alerts.claim_alerts, MINUTE)
    clock.advance(MINUTE)
    assert ["paused:ACC1"] == [one.key for one in await second_outbox.write(alerts.claim_alerts, MINUTE)]
    await second_outbox.write(alerts.mark_reported, [claimed])
    clock.advance(MINUTE)
    assert [] == await outbox.write(alerts.claim_alerts, MINUTE)
    assert {START + MINUTE, START} == {one.told_at for one in await outbox.read(alerts.read_incidents)}


async def test_the_end_is_told_and_then_forgotten(outbox: Store) -> None:
    begun = incident(told_at=START)
    other = incident("failures")
    await change(outbox, None, begun)
    await change(outbox, None, other)

    await change(outbox, begun, over(begun))
    await change(outbox, other, None)

    [claimed] = await outbox.write(alerts.claim_alerts, MINUTE)
    assert over(begun) == claimed
    await outbox.write(alerts.mark_reported, [claimed])
    assert [] == await outbox.read(alerts.read_incidents)


async def test_an_end_that_was_not_told_can_begin_again(outbox: Store) -> None:
    begun = incident(told_at=START)
    await change(outbox, None, begun)
    await change(outbox, begun, over(begun))
    await change(outbox, over(begun), begun)

    assert [begun] == await outbox.read(alerts.read_incidents)


async def test_what_another_node_changed_meanwhile_stays(outbox: Store, second_outbox: Store) -> None:
    begun = incident(told_at=START)
    again = incident(opened_at=START + MINUTE)
    await change(outbox, None, begun)

    await change(outbox, begun, again)
    await change(second_outbox, begun, over(begun))

    assert [again] == await outbox.read(alerts.read_incidents)


async def test_that_one_may_have_been_told_is_remembered(outbox: Store) -> None:
    """Though it is to be told again now."""
    begun = incident(told_at=START)
    again = incident(opened_at=START + MINUTE, in_hand=True)
    await change(outbox, None, begun)

    await change(outbox, begun, again)

    assert (
        [again] == await outbox.read(alerts.read_incidents) == await outbox.write(alerts.claim_alerts, MINUTE)
    )


async def test_what_changed_while_it_was_told_is_told_anew(outbox: Store) -> None:
    """The end is not lost with the word that the beginning arrived."""
    begun = incident()
    await change(outbox, None, begun)
    claimed = await outbox.write(alerts.claim_alerts, MINUTE)
    await change(outbox, begun, over(begun))
    await outbox.write(alerts.mark_reported, claimed)
    await outbox.write(alerts.put_off, claimed, START + MINUTE)

    assert [over(begun)] == await outbox.write(alerts.claim_alerts, MINUTE)


async def test_what_was_put_off_waits(outbox: Store, clock: ManualClock) -> None:
    await change(outbox, None, incident())
    await outbox.write(alerts.put_off, await outbox.write(alerts.claim_alerts, MINUTE), START + QUARTER)

    clock.advance(QUARTER - timedelta(seconds=1))
    assert [] == await outbox.write(alerts.claim_alerts, MINUTE)
    clock.advance(1)
    assert 1 == len(await outbox.write(alerts.claim_alerts, MINUTE))
