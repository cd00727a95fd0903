"""People who said STOP before there was a relay, read from CallRail's conversations."""

from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.callrail.simulator import Fault, Kind, Simulator
from callrail_relay.domain.inbound import SeenReplies
from callrail_relay.service.shadow import Conversations, import_opt_outs
from tests.service.rig import Rig, open_rig
from tests.support.factories import recipient

pytestmark = pytest.mark.anyio


async def import_all(rig: Rig, find: object = None) -> str | None:
    since, told = rig.clock.now() - timedelta(days=700), list[int]()
    conversations = Conversations(rig.outbox, find or rig.callrail.find_replies, 800)  # type: ignore[arg-type]  # the finder of a test
    return await import_opt_outs(conversations, rig.inbound, since=since, on_progress=told.append)


async def opted_out(rig: Rig) -> set[str]:
    return {one.recipient for one in await rig.operations.opt_outs()}


def say(simulator: Simulator, person: int, *words: str) -> None:
    for one in words:
        simulator.receive(recipient(person), one)
        simulator.clock.advance(60)  # type: ignore[attr-defined]  # the rig's, which is moved by hand


async def test_whoever_said_stop_and_did_not_come_back_is_on_the_list(tmp_path: Path) -> None:
    """With the words and the time; a second import adds no one, and brings back none who was taken off."""
    async with open_rig(tmp_path) as rig:
        say(rig.simulator, 1, "Hello", "STOP")
        say(rig.simulator, 2, "STOP", "START")
        say(rig.simulator, 3, "Please stop texting me")
        say(rig.simulator, 4, "Yes, Tuesday is good")
        say(rig.simulator, 5, *["Hello"] * 30, "stop", "?")

        assert await import_all(rig) is None

        assert {recipient(1), recipient(3), recipient(5)} == await opted_out(rig)
        assert any("STOP" in one.reason for one in await rig.operations.opt_outs())
        assert all(one.created_at < rig.clock.now() for one in await rig.operations.opt_outs())
        await rig.operations.remove_opt_out(recipient(1), None)
        rig.clock.advance(timedelta(days=2).total_seconds())
        assert await import_all(rig) is None
        assert {recipient(3), recipient(5)} == await opted_out(rig)


async def test_an_import_that_breaks_off_goes_on(tmp_path: Path) -> None:
    """What was read stays, and the next run reads the page that failed."""
    async with open_rig(tmp_path) as rig:
        say(rig.simulator, 1, "STOP")
        rig.simulator.fault(Fault(Kind.STATUS, on="read", status=500))

        assert await import_all(rig) is not None
        rig.simulator.faults.clear()
        assert await import_all(rig) is None
        assert {recipient(1)} == await opted_out(rig)


async def test_pages_that_were_read_are_not_read_again(tmp_path: Path) -> None:
    """The third page breaks off: the next run begins with it. A page counts only once all of it is stored."""
    async with open_rig(tmp_path) as rig:
        pages: list[int] = []

        async def find(*_: object, since: object, pages: range) -> SeenReplies:
            asked.extend(pages)
            return SeenReplies(fault="gone" if broken and pages[0] == 3 else None, is_last=pages[0] == 4)

        asked, broken = pages, True
        assert "gone" == await import_all(rig, find)
        broken = False
        assert await import_all(rig, find) is None
        assert [1, 2, 3, 3, 4] == asked
