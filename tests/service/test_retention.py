"""Texts and phones go after their time; what became of them stays."""

from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.domain.message import MessageFilter, Status, Verb
from callrail_relay.outbox import opt_outs, queries
from callrail_relay.service.background import STEP, Retention
from tests.service.rig import Rig, open_rig
from tests.support.factories import RECIPIENT, TEXT, recipient

pytestmark = pytest.mark.anyio

AFTER = timedelta(days=365)


def retention(rig: Rig) -> Retention:
    return Retention(rig.outbox, rig.events, AFTER)


async def test_what_is_personal_goes_after_its_time(tmp_path: Path) -> None:
    """Nothing of the words or the phone is left in any file of the store; ids, times and outcomes are."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        await rig.work(rig.delivery())
        before = await rig.message(id_)
        rig.clock.advance(AFTER + timedelta(minutes=1))
        await retention(rig).turn()

        after = await rig.message(id_)
        assert (Status.SENT, before.sent_at, before.received_at) == (
            after.status,
            after.sent_at,
            after.received_at,
        )
        assert (None, None) == (after.text, after.recipient)
        assert [Status.SENT] == [segment.status for segment in after.segments]
        assert before.segments[0].attempts == after.segments[0].attempts
        assert before.conversation_id == after.conversation_id
    for file in tmp_path.glob("*.db*"):
        assert TEXT.encode() not in file.read_bytes()
        assert RECIPIENT[-10:].encode() not in file.read_bytes()


async def test_what_is_younger_stays(tmp_path: Path) -> None:
    """Not a minute too early."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        await rig.work(rig.delivery())
        rig.clock.advance(AFTER - timedelta(minutes=1))
        await retention(rig).turn()

        assert TEXT == (await rig.message(id_)).text


async def test_what_somebody_has_to_decide_on_stays(tmp_path: Path) -> None:
    """A held text waits for a person, and keeps its words; once it is cancelled they go."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept("Hi {{name}}")
        rig.clock.advance(AFTER + timedelta(days=1))
        await retention(rig).turn()
        assert "Hi {{name}}" == (await rig.message(id_)).text

        await rig.operations.decide(Verb.CANCEL, id_)
        await retention(rig).turn()
        assert (await rig.message(id_)).text is None


async def test_an_opt_out_is_for_ever(tmp_path: Path) -> None:
    """A person who said STOP years ago is not texted."""
    async with open_rig(tmp_path) as rig:
        await rig.outbox.write(opt_outs.add_opt_out, rig.simulator.tracking_number, RECIPIENT, "STOP")
        rig.clock.advance(AFTER * 3)
        await retention(rig).turn()

        assert await rig.outbox.read(opt_outs.is_opted_out, rig.simulator.tracking_number, RECIPIENT)


async def test_many_go_in_small_steps(tmp_path: Path) -> None:
    """A step is bounded, and the next is due at once while there is more."""
    async with open_rig(tmp_path) as rig:
        for number in range(STEP + 3):
            id_ = await rig.accept(f"Text {number}", to=recipient(number))
            await rig.operations.decide(Verb.CANCEL, id_)
        rig.clock.advance(AFTER + timedelta(days=1))

        assert rig.clock.now() == await retention(rig).turn()
        assert await retention(rig).turn() is None
        left = await rig.outbox.read(queries.list_messages, MessageFilter(limit=0))
        assert {None} == {message.text for message in left}
        assert STEP + 3 == len(left)
