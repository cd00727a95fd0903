"""What all nodes of one store agree on: which webhook secrets ended, and the secret of the relay."""

import asyncio
from datetime import timedelta

import pytest

from callrail_relay.outbox import relay_secrets
from callrail_relay.outbox.store import Store
from tests.support.clock import ManualClock

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


async def test_a_token_ends_for_every_node(store_url: str, clock: ManualClock) -> None:
    """At its instant by the time of the store, or at once; what ends sooner is not put off again."""
    one = await Store.open(store_url, clock, database_time=False)
    other = await Store.open(store_url, clock, database_time=False)
    try:
        await one.write(relay_secrets.end_tokens, ["now"])
        await one.write(relay_secrets.end_tokens, ["later"], clock.now() + DAY)
        await one.write(relay_secrets.end_tokens, ["now", "later"], clock.now() + 2 * DAY)

        assert {"now"} == await other.read(relay_secrets.read_ended_tokens)
        assert clock.now() + DAY == await other.read(relay_secrets.token_ends_at, "later")
        assert await other.read(relay_secrets.token_ends_at, "never") is None
        clock.advance(DAY)
        assert {"now", "later"} == await other.read(relay_secrets.read_ended_tokens)
        await one.write(relay_secrets.end_tokens, ["soon"], clock.now() + DAY)
        await one.write(relay_secrets.end_tokens, ["soon"])
        assert "soon" in await other.read(relay_secrets.read_ended_tokens)
    finally:
        await one.close()
        await other.close()


async def test_all_nodes_have_one_secret(store_url: str, clock: ManualClock) -> None:
    """Also when they ask for the first time at one instant; it stays."""
    nodes = [await Store.open(store_url, clock, database_time=False) for _ in range(4)]
    try:
        secrets = await asyncio.gather(
            *(
                node.write(relay_secrets.read_relay_secret, f"proposed by {number}")
                for number, node in enumerate(nodes)
            )
        )
        assert 1 == len(set(secrets))
        assert secrets[0] == await nodes[0].write(relay_secrets.read_relay_secret, "another")
    finally:
        for node in nodes:
            await node.close()
