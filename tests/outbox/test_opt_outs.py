"""The list of people who opted out."""

from datetime import timedelta

import pytest

from callrail_relay.domain.opt_outs import OptOut
from callrail_relay.domain.routing import Route
from callrail_relay.outbox import opt_outs
from callrail_relay.outbox.store import Store
from tests.outbox.worker import Worker, put
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, RECIPIENT, TRACKING_NUMBER, recipient

pytestmark = pytest.mark.anyio

OTHER_NUMBER = "+12025550144"


async def test_a_person_on_the_list_is_found(outbox: Store) -> None:
    """For that tracking number and no other."""
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "They replied STOP.")

    assert await outbox.read(opt_outs.is_opted_out, TRACKING_NUMBER, RECIPIENT)
    assert not await outbox.read(opt_outs.is_opted_out, OTHER_NUMBER, RECIPIENT)
    assert not await outbox.read(opt_outs.is_opted_out, TRACKING_NUMBER, recipient(50))


async def test_the_list_is_told_newest_first(outbox: Store, clock: ManualClock) -> None:
    """Once is enough: the first reason and its instant stay."""
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(1), "They replied STOP.")
    later = clock.advance(60)
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(1), "They replied STOP again.")
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(2), "A person asked for it.")

    first, second = await outbox.read(opt_outs.list_opt_outs)

    assert (recipient(2), later) == (first.recipient, first.created_at)
    assert (
        OptOut(
            tracking_number=TRACKING_NUMBER,
            recipient=recipient(1),
            reason="They replied STOP.",
            created_at=START,
        )
        == second
    )
    assert {
        "recipient": recipient(1),
        "tracking_number": TRACKING_NUMBER,
        "reason": "They replied STOP.",
        "created_at": "2026-03-02T15:00:00.000Z",
    } == second.document()


async def test_a_person_is_taken_off_the_list(outbox: Store, worker: Worker) -> None:
    """For one number or for all, and is texted again."""
    for number in (TRACKING_NUMBER, OTHER_NUMBER):
        await outbox.write(opt_outs.add_opt_out, number, RECIPIENT, "They replied STOP.")

    assert 1 == await outbox.write(opt_outs.remove_opt_out, RECIPIENT, TRACKING_NUMBER)
    assert [OTHER_NUMBER] == [one.tracking_number for one in await outbox.read(opt_outs.list_opt_outs)]
    assert 1 == await outbox.write(opt_outs.remove_opt_out, RECIPIENT, None)
    assert 0 == await outbox.write(opt_outs.remove_opt_out, RECIPIENT, None)
    await put(outbox, "Hello")
    assert "Hello" == (await worker.take()).content


async def test_a_list_is_put_on_ours(outbox: Store) -> None:
    """With the instants that it brings; existing entries don't change."""
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(1), "They replied STOP.")
    entries = [
        OptOut(
            tracking_number=TRACKING_NUMBER,
            recipient=recipient(number),
            reason="From a list.",
            created_at=START - timedelta(days=number),
        )
        for number in range(1201)
    ]

    assert 1200 == await outbox.write(opt_outs.add_opt_outs, entries)
    assert 0 == await outbox.write(opt_outs.add_opt_outs, entries)
    assert 0 == await outbox.write(opt_outs.add_opt_outs, [])
    found = {one.recipient: one for one in await outbox.read(opt_outs.list_opt_outs)}
    assert "They replied STOP." == found[recipient(1)].reason
    assert START - timedelta(days=1200) == found[recipient(1200)].created_at


async def test_number_that_is_remembered_takes_over_who_opted_out_of_all(outbox: Store) -> None:
    """With the reason. An entry that is there stays; an opt-out of some numbers only is not taken over."""
    new = "+12025550145"
    for number in (TRACKING_NUMBER, OTHER_NUMBER):
        await outbox.write(opt_outs.add_opt_out, number, RECIPIENT, "Asked by phone.")
        await outbox.write(opt_outs.add_opt_out, number, recipient(1), "Asked by phone.")
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(2), "They replied STOP.")
    await outbox.write(opt_outs.add_opt_out, new, recipient(1), "They replied STOP.")

    await outbox.write(opt_outs.remember_number, Route(ACCOUNT, "COM2", new), {TRACKING_NUMBER, OTHER_NUMBER})

    entries = [one for one in await outbox.read(opt_outs.list_opt_outs) if one.tracking_number == new]
    assert {RECIPIENT: "Asked by phone.", recipient(1): "They replied STOP."} == {
        one.recipient: one.reason for one in entries
    }
