"""`send --from`: any number of the account that can text."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.callrail.client import CallRail
from callrail_relay.domain.routing import Route, Routes
from callrail_relay.errors import UsageError
from callrail_relay.outbox import opt_outs
from callrail_relay.service.replies import InboundTexts, Polling
from callrail_relay.service.setup import cover_new_numbers, find_sending_route
from tests.service.rig import Rig, open_rig
from tests.support.factories import RECIPIENT
from tests.support.policies import poll_policy
from tests.support.simulator import add_company, add_tracker, change_tracker

pytestmark = pytest.mark.anyio

EVERY = timedelta(minutes=15)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as one:
        yield one


class Asking:
    """Connections to the simulator, and how many were opened."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.opened = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[CallRail]:
        self.opened += 1
        yield self._rig.callrail


async def find(rig: Rig, number: str, ask: Asking) -> Route:
    settings = Route(rig.account_id, rig.simulator.company_id, rig.simulator.tracking_number)
    return await find_sending_route(number, Routes(default=settings), rig.outbox, ask)


async def test_a_number_of_the_settings_is_not_looked_up(rig: Rig) -> None:
    """It needs no connection at all."""
    ask = Asking(rig)

    found = await find(rig, rig.simulator.tracking_number, ask)

    assert (rig.simulator.company_id, 0) == (found.company_id, ask.opened)


async def test_another_number_is_looked_up_once(rig: Rig) -> None:
    """Its company is remembered, whichever of the account it is."""
    other = add_company(rig.simulator, name="Other")
    [number] = add_tracker(rig.simulator, company_id=other.id).tracking_numbers
    ask = Asking(rig)

    for _ in range(2):
        assert Route(rig.account_id, other.id, number) == await find(rig, number, ask)
    assert 1 == ask.opened


@pytest.mark.parametrize("change", [{"status": "disabled"}, {"sms_enabled": False}, {"sms_supported": False}])
async def test_a_number_that_cannot_text_is_refused(rig: Rig, change: dict[str, object]) -> None:
    """As one that CallRail does not know, and nothing is remembered of it."""
    tracker = add_tracker(rig.simulator)
    change_tracker(rig.simulator, tracker.id, **change)

    for number in (tracker.tracking_numbers[0], "+12025550199"):
        with pytest.raises(UsageError, match="texting is turned on") as refused:
            await find(rig, number, Asking(rig))
        assert number in str(refused.value)
    assert [] == await rig.outbox.read(opt_outs.known_numbers, [rig.account_id])


async def test_opt_out_of_all_numbers_holds_for_one_named_later(rig: Rig) -> None:
    """Also when another was named in between; an opt-out of one number alone is not copied."""
    for_all, for_one = RECIPIENT, "+12025550150"
    first, second, third = (add_tracker(rig.simulator).tracking_numbers[0] for _ in range(3))
    await find(rig, first, Asking(rig))
    await rig.operations.opt_out(for_all, None, "Asked by phone.")
    await rig.operations.opt_out(for_one, first, "Asked by phone.")

    for later in (second, third):
        await find(rig, later, Asking(rig))
        assert await rig.outbox.read(opt_outs.is_opted_out, later, for_all)
        assert not await rig.outbox.read(opt_outs.is_opted_out, later, for_one)


async def test_replies_to_a_remembered_number_are_heard_of(rig: Rig) -> None:
    """
    The looks for replies take in its company, and an opt-out for all of our numbers takes in the number.
    """
    other = add_company(rig.simulator, name="Other")
    [number] = add_tracker(rig.simulator, company_id=other.id).tracking_numbers
    await find(rig, number, Asking(rig))
    companies = ((rig.account_id, rig.simulator.company_id),)
    policy = poll_policy(companies=companies, every=EVERY)
    texts = InboundTexts(rig.outbox, rig.events, rig.inbound, lambda: None)
    polling = Polling(rig.outbox, rig.events, rig.callrail.find_replies, policy, texts, set(), lambda: None)
    rig.simulator.receive(RECIPIENT, "Stop texting me", tracking_number=number)

    await polling.turn()
    assert [number] == [one.tracking_number for one in await rig.operations.opt_outs()]

    entries = await rig.operations.opt_out("+12025550150", None, "Asked by phone.")
    assert number in {one.tracking_number for one in entries}


async def test_a_number_that_is_added_to_the_settings_takes_over_who_opted_out_of_all(rig: Rig) -> None:
    """Once: an opt-out that was removed for it alone, while others stay, doesn't come back."""
    ours = rig.simulator.tracking_number
    added = "+12025550144"
    for person in ("+12025550150", "+12025550151"):
        await rig.outbox.write(opt_outs.add_opt_out, ours, person, "Asked by phone.")
    await cover_new_numbers(rig.outbox, [ours])

    await cover_new_numbers(rig.outbox, [ours, added])
    entries = await rig.outbox.read(opt_outs.list_opt_outs)
    assert {"+12025550150", "+12025550151"} == {
        one.recipient for one in entries if one.tracking_number == added
    }

    await rig.outbox.write(opt_outs.remove_opt_out, "+12025550150", added)
    await rig.outbox.write(opt_outs.add_opt_out, ours, "+12025550152", "Replied STOP.")
    await cover_new_numbers(rig.outbox, [ours, added])
    entries = await rig.outbox.read(opt_outs.list_opt_outs)
    assert ["+12025550151"] == [one.recipient for one in entries if one.tracking_number == added]
