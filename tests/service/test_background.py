"""Refused requests are counted and logged once a minute, and an outside service hears that all is well."""

from dataclasses import replace
from pathlib import Path

import pytest

from callrail_relay.clock import others_turn
from callrail_relay.domain.events import HeartbeatFailed, RequestsRefused
from callrail_relay.domain.health import Facts, PublicUrl
from callrail_relay.domain.public_url import Answer, NoAnswer, Trouble
from callrail_relay.outbox.presence import note_contacts
from callrail_relay.service.background import OutsideHeartbeat, Refusals
from tests.service.rig import Events, open_rig
from tests.support.clock import ManualClock

pytestmark = pytest.mark.anyio


async def test_flood_is_one_line_a_minute() -> None:
    """The first is logged at once, the others when the minute is over, and then a new one at once again."""
    clock, events = ManualClock(), Events()
    refusals = Refusals(clock, events)

    refusals.count("wrong secret")
    await clock.until_asleep()
    assert [RequestsRefused(reason="wrong secret", count=1)] == events

    for _ in range(1000):
        refusals.count("wrong secret")
    refusals.count("not HTTP")
    clock.advance(60)
    await events.until(RequestsRefused, 3)
    assert [
        RequestsRefused(reason="wrong secret", count=1000),
        RequestsRefused(reason="not HTTP", count=1),
    ] == events[1:]

    clock.advance(60)
    await others_turn()
    await others_turn()
    assert [] == clock.wake_ats
    refusals.count("not HTTP")
    await events.until(RequestsRefused, 4)
    await refusals.close()


async def test_end_loses_no_count() -> None:
    clock, events = ManualClock(), Events()
    refusals = Refusals(clock, events)
    refusals.count("not HTTP")
    await clock.until_asleep()
    refusals.count("not HTTP")

    await refusals.close()

    assert [RequestsRefused(reason="not HTTP", count=1)] * 2 == events


async def test_an_outside_service_hears_that_all_is_well(tmp_path: Path) -> None:
    """Only then; what it does not take is logged once, without its address, which is a secret."""
    asked: list[Answer | NoAnswer] = [
        Answer(status=200),
        NoAnswer(Trouble.TIME_OUT),
        Answer(status=404),
        Answer(status=204),
        NoAnswer(Trouble.REFUSED),
    ]

    async def tell() -> Answer:
        answer = asked.pop(0)
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    async with open_rig(tmp_path, serves=True) as rig:
        public: PublicUrl | None = None

        async def facts() -> Facts:
            return replace(await rig.operations.facts(), public_url=public)

        heartbeat = OutsideHeartbeat(rig.outbox, rig.events, facts, tell)
        await heartbeat.turn()
        assert 5 == len(asked)  # CallRail hasn't answered yet
        await rig.outbox.write(note_contacts, [rig.account_id], answered=True)
        for unwell in (PublicUrl(url="https://x.example.com"), PublicUrl(url="", answered=False)):
            public = unwell
            await heartbeat.turn()
        assert 5 == len(asked)
        public = PublicUrl(url="https://x.example.com", answered=True)
        for _ in range(5):
            await heartbeat.turn()

        told = [event.reason for event in rig.events.of(HeartbeatFailed)]
        assert ["time out", "refused"] == told
