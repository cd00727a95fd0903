"""
Attempts that nobody finished.
"""

from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.domain.events import AttemptFinished
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.service.reconciliation import settle_abandoned
from tests.service.rig import Rig, open_rig, outcomes
from tests.support.factories import recipient

pytestmark = pytest.mark.anyio


async def settle(rig: Rig, node: str | None = None) -> list[AttemptFinished]:
    rig.events.clear()
    await settle_abandoned(
        rig.outbox, node=node, interval=rig.claim.recipient_interval, random=rig.random, hook=rig.events
    )
    return rig.events.of(AttemptFinished)


async def test_open_attempts_of_a_node_are_settled_at_its_start(tmp_path: Path) -> None:
    """
    Its own are unknown at once, those of another node are left alone; each is told once.
    """
    async with open_rig(tmp_path) as rig:
        mine, theirs = await rig.accept(to=recipient(1)), await rig.accept(to=recipient(2))
        await rig.outbox.claim("node-1", rig.claim)
        await rig.outbox.claim("node-2", rig.claim)

        [event] = await settle(rig, "node-1")
        assert (mine, OutcomeKind.UNKNOWN, Status.UNKNOWN) == (event.message_id, event.outcome, event.status)
        assert rig.account_id == event.account_id
        assert [None] == outcomes(await rig.message(theirs))
        assert [] == await settle(rig, "node-1")


async def test_lease_that_ran_out_is_settled_by_anybody(tmp_path: Path) -> None:
    """
    A node that did not come back keeps nothing open for ever.
    """
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        await rig.outbox.claim("node-1", rig.claim)
        assert [] == await settle(rig)
        rig.clock.advance(rig.claim.lease - timedelta(seconds=1))
        assert [] == await settle(rig)

        rig.clock.advance(1)
        [event] = await settle(rig)
        assert id_ == event.message_id
        assert "Look at the conversation" in ((await rig.message(id_)).reason or "")


async def test_unknown_text_lets_the_next_one_flow(tmp_path: Path) -> None:
    """
    An unknown text waits for a person; what comes after it to the same person leaves.
    """
    async with open_rig(tmp_path) as rig:
        await rig.accept("First")
        await rig.outbox.claim("node-1", rig.claim)
        await settle(rig, "node-1")
        await rig.accept("Second")
        await rig.work(rig.delivery(node="node-2"), turns=3)

        assert ["Second"] == [text.content for text in rig.simulator.texts]
        [standing] = (await rig.operations.status()).standings
        assert 2 == standing.hour.used
