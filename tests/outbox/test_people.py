"""The people who may use the dashboard, as all nodes of one store know them."""

import asyncio

import pytest

from callrail_relay.errors import NotAllowed
from callrail_relay.outbox.store import Store
from callrail_relay.service.people import COST, People
from tests.support.clock import ManualClock

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse"


async def test_all_nodes_know_the_same_people(
    store_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if two nodes meet the first one at one instant; no name can break a statement."""
    monkeypatch.setitem(COST, "n", 2)
    stores = [await Store.open(store_url, clock, database_time=False) for _ in range(2)]
    one, other = (People(store) for store in stores)
    try:
        first = await asyncio.gather(*(node.by_link() for node in (one, other) for _ in range(3)))
        link = await one.by_link()
        assert link is not None
        assert {link, None} >= set(first)
        added = await asyncio.gather(
            *(node.add(name, PASSWORD) for node, name in ((one, "Sam"), (other, "SAM"))),
            return_exceptions=True,
        )
        assert 1 == sum(isinstance(one_of_two, NotAllowed) for one_of_two in added)
        sam = await other.sign_in("sam", PASSWORD, "192.0.2.7")
        assert sam is not None
        for name in ("", "Sam\x00", "\udcff", "'; DROP TABLE people; --", "%", "x" * 100_000, "李" * 60):
            assert await other.sign_in(name, PASSWORD, "192.0.2.8") is None
        assert [sam] == await one.all()

        assert await one.admit(sam.name, sam.stamp)
        changed = await other.change_password("Sam", PASSWORD, "another horse")
        assert [False, True] == [await one.admit("Sam", stamp) for stamp in (sam.stamp, changed.stamp)]
        assert await one.admit("", link.stamp)
        stamp = await one.end_sessions()
        assert [stamp, stamp] == [
            person.stamp for person in [*await other.all(), await other.by_link()] if person
        ]
        await other.remove("sam")
        assert [False, True] == [await one.admit("Sam", stamp), await one.admit("", stamp)]
        await other.remove()
        assert not await one.admit("", stamp)
        again = await one.by_link()
        assert again is not None
        assert stamp != again.stamp
    finally:
        for store in stores:
            await store.close()
