"""People who said STOP before there was a relay, read from CallRail's conversations."""

from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.callrail.simulator import Fault, Kind, Simulator
from callrail_relay.service.shadow import ImportedOptOuts, import_opt_outs
from tests.service.rig import Rig, open_rig
from tests.support.factories import recipient

pytestmark = pytest.mark.anyio


async def import_all(rig: Rig, told: list[tuple[int, int]] | None = None) -> ImportedOptOuts:
    return await import_opt_outs(
        rig.outbox,
        rig.callrail,
        [(rig.account_id, rig.simulator.company_id)],
        [rig.simulator.tracking_number],
        800,
        since=rig.clock.now() - timedelta(days=700),
        told=lambda *sums: None if told is None else told.append(sums),
    )


def say(simulator: Simulator, person: int, *words: str) -> None:
    for one in words:
        simulator.receive(recipient(person), one)
        simulator.clock.advance(60)  # type: ignore[attr-defined]  # the rig's, which is moved by hand


async def test_whoever_said_stop_and_did_not_come_back_is_on_the_list(tmp_path: Path) -> None:
    """With the words and the time; a second import adds nobody."""
    async with open_rig(tmp_path) as rig:
        say(rig.simulator, 1, "Hello", "STOP")
        say(rig.simulator, 2, "STOP", "START")
        say(rig.simulator, 3, "Please stop texting me")
        say(rig.simulator, 4, "Yes, Tuesday is good")
        say(rig.simulator, 5, *["Hello"] * 30, "stop", "?")

        first = await import_all(rig)
        second = await import_all(rig)

        listed = await rig.operations.opt_outs()
        assert {recipient(1), recipient(3), recipient(5)} == {one.recipient for one in listed}
        assert (3, 3, None) == (first.found, first.added, first.fault)
        assert (3, 0) == (second.found, second.added)
        assert any("STOP" in one.reason for one in listed)


async def test_an_import_that_breaks_off_goes_on(tmp_path: Path) -> None:
    """What was read stays, and the next run reads the page that failed."""
    async with open_rig(tmp_path) as rig:
        say(rig.simulator, 1, "STOP")
        rig.simulator.fault(Fault(Kind.STATUS, on="read", status=500))

        broken = await import_all(rig)
        assert broken.fault is not None
        rig.simulator.faults.clear()
        assert (1, None) == ((again := await import_all(rig)).added, again.fault)
