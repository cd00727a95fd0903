"""Knowing whether CallRail answers, without asking more often than that takes."""

from pathlib import Path

import pytest

from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.domain.health import CONTACT_AGE, Contact
from callrail_relay.outbox import presence
from callrail_relay.service.background import Connection
from tests.service.rig import Rig, open_rig

pytestmark = pytest.mark.anyio


async def contact(rig: Rig) -> Contact:
    return (await rig.outbox.read(presence.read_contacts, [rig.account_id]))[rig.account_id]


async def test_it_asks_when_callrail_has_been_silent(tmp_path: Path) -> None:
    """At the start, and when the last answer is CONTACT_AGE old; a text that was sent is an answer too."""
    async with open_rig(tmp_path) as rig:
        connection = Connection(rig.outbox, rig.events, rig.callrail, [rig.account_id])
        started = rig.clock.now()
        await connection.turn()
        assert Contact(answered_at=started) == await contact(rig)

        rig.clock.advance(CONTACT_AGE / 2)
        await rig.accept()
        await rig.work(rig.delivery(), step=0)
        sent = rig.clock.now()
        rig.clock.advance(CONTACT_AGE / 2)
        assert sent + CONTACT_AGE == await connection.turn()
        assert Contact(answered_at=sent) == await contact(rig)

        rig.clock.advance(CONTACT_AGE / 2)
        await connection.turn()
        assert Contact(answered_at=rig.clock.now()) == await contact(rig)


async def test_it_goes_on_asking_while_callrail_is_away(tmp_path: Path) -> None:
    """What failed is known at once, and so is the answer after it."""
    async with open_rig(tmp_path) as rig:
        connection = Connection(rig.outbox, rig.events, rig.callrail, [rig.account_id])
        rig.simulator.fault(Fault(Kind.REFUSE, on="read", times=1))
        await connection.turn()
        assert Contact(is_lost=True) == await contact(rig)

        rig.clock.advance(1)
        await connection.turn()
        assert Contact(answered_at=rig.clock.now()) == await contact(rig)


async def test_it_does_not_ask_again_at_once_because_the_answer_cannot_be_kept(tmp_path: Path) -> None:
    """A disk that is full can be read; CallRail allows so many requests an hour."""
    async with open_rig(tmp_path, patience=0) as rig:
        connection = Connection(rig.outbox, rig.events, rig.callrail, [rig.account_id])
        with rig.failing_store():
            assert await connection.turn() is None

        await connection.turn()
        assert Contact(answered_at=rig.clock.now()) == await contact(rig)


async def test_account_that_the_key_cannot_see_does_not_answer(tmp_path: Path) -> None:
    """Others do, so that they can be distinguished."""
    async with open_rig(tmp_path) as rig:
        await Connection(rig.outbox, rig.events, rig.callrail, [rig.account_id, "ACC9"]).turn()

        assert Contact(answered_at=rig.clock.now()) == await contact(rig)
        assert (await rig.outbox.read(presence.read_contacts, ["ACC9"]))["ACC9"].is_lost
