"""Refused requests are counted, and logged once a minute."""

import pytest

from callrail_relay.clock import others_turn
from callrail_relay.domain.events import RequestsRefused
from callrail_relay.service.background import Refusals
from tests.service.rig import Events
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
    refusals.close()


async def test_end_loses_no_count() -> None:
    clock, events = ManualClock(), Events()
    refusals = Refusals(clock, events)
    refusals.count("not HTTP")
    await clock.until_asleep()
    refusals.count("not HTTP")

    refusals.close()

    assert [RequestsRefused(reason="not HTTP", count=1)] * 2 == events
