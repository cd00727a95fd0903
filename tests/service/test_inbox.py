"""
Mapping a burst behind its answers: all of it, in order, and giving way to what comes in.
"""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from callrail_relay.domain.events import MessageAccepted, PingReceived, SubmissionAccepted
from callrail_relay.domain.message import MessageFilter, Status
from callrail_relay.outbox.inbox import FEW
from callrail_relay.outbox.tables import mapping_policies
from callrail_relay.service.inbox import GIVES_WAY, InboxMapping
from callrail_relay.service.intake import PORTION, Receipt
from tests.outbox.database import connected
from tests.service.rig import Rig, open_rig, passing_time
from tests.support.factories import recipient
from tests.web.posting import payload

pytestmark = pytest.mark.anyio


async def post_burst(rig: Rig, size: int = 3 * PORTION) -> list[Receipt]:
    """
    Requests that come all at the same time, to different people.
    """
    bodies = [encoded(number) for number in range(size)]
    return await asyncio.gather(
        *(rig.intake.accept_request(body, content_type="application/json") for body in bodies)
    )


def encoded(number: int) -> bytes:
    text = payload(
        message=f"Text {number}", seller_phone_non_international=..., seller_phone=recipient(number)
    )
    return json.dumps(text).encode()


async def test_a_burst_is_mapped_and_told_of(tmp_path: Path) -> None:
    """
    What is answered first is mapped behind it, in its order; delivery hears of it, and so does the log.
    """
    woken: list[int] = []
    async with open_rig(tmp_path) as rig:
        mapping = InboxMapping(
            rig.intake, clock=rig.clock, hook=rig.events, mapped=lambda: woken.append(len(woken))
        )
        receipts = await post_burst(rig)
        assert {()} == {receipt.accepted for receipt in receipts}
        assert [] == rig.events.of(SubmissionAccepted)

        await passing_time(rig.clock, mapping.turn())

        messages = await rig.operations.list_messages(MessageFilter(limit=0))
        assert [f"Text {number}" for number in range(75)] == [one.text for one in reversed(messages)]
        assert [0, 1, 2] == woken
        told = rig.events.of(MessageAccepted)
        assert [receipt.submission_id for receipt in receipts] == [event.submission_id for event in told]
        assert {Status.QUEUED} == {event.status for event in told}
        assert not await rig.intake.has_left()


async def test_mapping_rests_while_requests_come(tmp_path: Path) -> None:
    """
    Nine tenths of the time are theirs; when nobody comes any more it goes on without a rest.
    """
    async with open_rig(tmp_path) as rig:

        def mapped() -> None:
            rig.clock.advance(timedelta(milliseconds=10))

        mapping = InboxMapping(rig.intake, clock=rig.clock, hook=rig.events, mapped=mapped)
        await post_burst(rig, 4 * PORTION)
        turn = asyncio.create_task(mapping.turn())

        for _ in range(2):
            [asleep] = await rig.clock.until_asleep(1)
            assert timedelta(milliseconds=10) * GIVES_WAY == asleep - rig.clock.now()
            await post_burst(rig, 1)
            rig.clock.set(asleep)
        [asleep] = await rig.clock.until_asleep(1)
        rig.clock.set(asleep)
        await turn

        assert not await rig.intake.has_left()
        assert 4 * PORTION + 2 == len(rig.events.of(MessageAccepted))


async def test_whoever_leaves_something_wakes_the_mapping(tmp_path: Path) -> None:
    """
    Nobody waits for the next minute.
    """
    async with open_rig(tmp_path) as rig:
        mapping = InboxMapping(rig.intake, clock=rig.clock, hook=rig.events, mapped=lambda: None)
        running = asyncio.create_task(mapping.run())
        await rig.clock.until_asleep(1)

        await post_burst(rig, FEW + 1)
        await rig.events.until(MessageAccepted, FEW + 1)

        mapping.stop()
        await running


async def test_a_direct_text_does_not_overtake_the_inbox(tmp_path: Path) -> None:
    """
    What came before it to the same person has its place before it.
    """
    async with open_rig(tmp_path) as rig:
        await post_burst(rig, FEW + 1)

        id_ = await rig.accept("Typed in a terminal", to=recipient(0))

        newest, *_ = await rig.operations.list_messages(MessageFilter())
        assert (id_, FEW + 2) == (newest.id, len(rig.events.of(MessageAccepted)))


async def test_a_ping_in_a_burst_is_told_as_one(tmp_path: Path) -> None:
    """
    Also where only the mapping finds that it holds nothing.
    """
    async with open_rig(tmp_path) as rig:
        pings = (rig.intake.accept_request(b"[{}]", content_type=None) for _ in range(FEW + 1))
        await asyncio.gather(*pings)
        assert [] == rig.events

        await rig.intake.map_all()

        assert [PingReceived()] * (FEW + 1) == rig.events


async def test_a_burst_that_another_release_took_is_mapped(tmp_path: Path) -> None:
    """
    Where its way to keep routes and guards is not known here, our own serve.
    """
    async with open_rig(tmp_path) as rig:
        await post_burst(rig, FEW + 1)
        with connected(f"sqlite:///{rig.path.as_posix()}") as connection:
            connection.execute(sa.update(mapping_policies).values(document='{"of": "another release"}'))

        await rig.intake.map_all()

        messages = await rig.operations.list_messages(MessageFilter(limit=0))
        assert [Status.QUEUED] * (FEW + 1) == [one.status for one in messages]
