"""A third-party client of CallRail, over a real socket."""

import asyncio
from typing import Any

import pytest
from callrail_mcp.client import CallRailClient

from callrail_relay.callrail.simulator import Simulator
from tests.callrail.simulated import KEY, RECIPIENT, listening, make_simulator, send
from tests.support.simulator import add_company, add_tracker

pytestmark = pytest.mark.anyio


@pytest.fixture
def simulator() -> Simulator:
    simulator = make_simulator()
    for number in range(4):
        add_company(simulator, name=f"Company {number}")
        add_tracker(simulator, name=f"Tracker {number}")
        send(simulator, customer_phone_number=f"+1202555015{number}")
    simulator.receive(RECIPIENT, "Hello")
    return simulator


async def test_callrail_mcp_lists_everything(simulator: Simulator) -> None:
    """Its client finds the account, walks all pages of every list, and reads one conversation."""

    def use(url: str) -> dict[str, Any]:
        with CallRailClient(api_key=KEY, base_url=f"{url}/v3/") as client:
            account = client.resolve_account_id(None)
            lists = {
                name: list(client.paginate(f"a/{account}/{path}.json", {"per_page": 2}, items_key=name))
                for name, path in (
                    ("companies", "companies"),
                    ("trackers", "trackers"),
                    ("conversations", "text-messages"),
                )
            }
            first = lists["conversations"][0]["id"]
            return lists | {
                "account": account,
                "single": client.get(f"a/{account}/text-messages/{first}.json"),
            }

    async with listening(simulator) as url:
        found = await asyncio.to_thread(use, url)

    assert simulator.account_id == found["account"]
    assert list(simulator.companies) == [company["id"] for company in found["companies"]]
    assert list(simulator.trackers) == [tracker["id"] for tracker in found["trackers"]]
    assert set(simulator.conversations) == {each["id"] for each in found["conversations"]}
    assert "Hello" == found["single"]["messages"][0]["content"]
