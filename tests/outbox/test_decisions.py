"""A person's word: approve, cancel, pause, resume."""

import pytest

from callrail_relay.domain.guards import Verdict
from callrail_relay.domain.message import Reason, Status
from callrail_relay.outbox import decisions
from callrail_relay.outbox.store import Store
from tests.outbox.database import connected
from tests.outbox.worker import Worker, find, put, put_message, status_of
from tests.support.clock import ManualClock
from tests.support.factories import make_message

pytestmark = pytest.mark.anyio

MERGE_TAG = Reason("merge_tag", {"detail": "It holds a merge tag."})


async def put_held(outbox: Store) -> str:
    return await put_message(outbox, make_message(verdict=Verdict(holds=(MERGE_TAG,))))


async def test_an_approved_text_leaves(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Its reasons are gone, and it takes its turn."""
    id_ = await put_held(outbox)
    assert await worker.waits() is None
    clock.advance(60)

    assert await outbox.write(decisions.approve, id_)

    assert (Status.QUEUED, ()) == ((message := await find(outbox, id_)).status, message.reasons)
    assert id_ == (await worker.take()).message_id


async def test_only_a_held_text_can_be_approved(outbox: Store, worker: Worker) -> None:
    """The quicker one decides."""
    id_ = await put(outbox, "Hello")

    assert not await outbox.write(decisions.approve, id_)
    await worker.send()
    assert not await outbox.write(decisions.approve, id_)
    assert not await outbox.write(decisions.approve, "no such id")
    assert Status.SENT == await status_of(outbox, id_)


async def test_a_cancelled_text_does_not_leave(outbox: Store, worker: Worker) -> None:
    """Whether it was held or queued."""
    ids = [await put(outbox, "one"), await put_held(outbox)]

    for id_ in ids:
        assert await outbox.write(decisions.cancel, id_, [Status.QUEUED, Status.HELD])

    assert [Status.CANCELLED] * 2 == [await status_of(outbox, id_) for id_ in ids]
    assert await worker.waits() is None


async def test_a_text_of_another_status_is_not_cancelled(outbox: Store, worker: Worker) -> None:
    """What is under way, or sent, cannot be taken back."""
    id_ = await put(outbox, "one")
    claim = await worker.take()

    assert not await outbox.write(decisions.cancel, id_, [Status.QUEUED, Status.HELD])
    await worker.finish(claim)
    assert not await outbox.write(decisions.cancel, id_, [Status.QUEUED, Status.HELD])
    assert Status.SENT == await status_of(outbox, id_)


async def test_the_probe_writes_each_time(outbox: Store, store_url: str, clock: ManualClock) -> None:
    """One row, with the instant of the last time."""
    await outbox.write_probe()
    clock.advance(5)
    await outbox.write_probe()

    with connected(store_url) as connection:
        ((id_, written_at),) = connection.exec_driver_sql("SELECT id, written_at FROM probe").all()
    assert (1, clock.now().timestamp()) == (id_, written_at / 1_000_000)


async def test_the_store_tells_the_time_by_which_it_counts(outbox: Store, clock: ManualClock) -> None:
    """A page that shows a span until then asks the store, not its own clock."""
    clock.advance(5)

    assert clock.now() == await outbox.now()
