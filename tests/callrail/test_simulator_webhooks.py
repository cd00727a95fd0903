"""The simulator reports texts as CallRail does."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from callrail_relay.callrail.simulator import Manner, Simulator
from callrail_relay.callrail.simulator.webhooks import PostedWebhook
from callrail_relay.callrail.wire import read_webhook, verify
from callrail_relay.domain.inbound import Direction, ShownNumber
from tests.callrail.simulated import (
    RECIPIENT,
    asked,
    full_path,
    listening,
    make_client,
    make_simulator,
    text_form,
)
from tests.support.simulator import InProcessTransport, settle

pytestmark = pytest.mark.anyio

LIVE = Path(__file__).parents[1] / "data" / "callrail" / "webhook-text-received.live-2026-04-08.json"
RECEIVED, SENT = "https://texts.example.com/received", "https://texts.example.com/sent"
KEY = "example-signing-key-1"


@pytest.fixture
def simulator() -> Simulator:
    """One with a URL for each event, which keeps what it tells."""
    simulator = make_simulator()
    form = {
        "type": "Webhooks",
        "company_id": simulator.company_id,
        "config": {"sms_received_webhook": [RECEIVED], "sms_sent_webhook": [SENT]},
    }
    assert 201 == asked(simulator, "POST", "integrations.json", json=form).status_code

    simulator.webhooks.transport = httpx2.MockTransport(lambda _request: httpx2.Response(200))
    return simulator


async def told(simulator: Simulator) -> list[PostedWebhook]:
    await settle(simulator)
    return simulator.webhooks.posted


async def body_of(simulator: Simulator) -> dict[str, Any]:
    [telling] = await told(simulator)
    body: dict[str, Any] = json.loads(telling.body)
    return body


async def test_a_reply_is_told_as_it_was_seen(simulator: Simulator) -> None:
    """Field for field, and signed."""
    simulator.webhooks.manner = Manner(masked=True)
    simulator.receive(RECIPIENT, "Yes, Tuesday works")

    body = await body_of(simulator)

    live = json.loads(LIVE.read_bytes())
    assert list(live) == list(body)
    assert {name: type(value) for name, value in live.items()} == {
        name: type(value) for name, value in body.items()
    }
    assert ("***0122", "***0133") == (body["source_number"], body["destination_number"])
    [telling] = simulator.webhooks.posted
    assert (RECEIVED, 200) == (telling.url, telling.status)
    assert verify([KEY], telling.body.encode(), telling.signature)


async def test_each_text_that_goes_out_is_told(simulator: Simulator) -> None:
    """Those of the API too; only what a person sent from CallRail's page names an agent."""
    async with make_client(InProcessTransport(simulator)) as client:
        path = full_path(simulator, "text-messages.json")
        assert 200 == (await client.post(path, json=text_form(simulator))).status_code
    simulator.write(RECIPIENT, "From CallRail's page")

    first, second = [read_webhook(telling.body.encode(), None) for telling in await told(simulator)]

    assert first is not None
    assert second is not None
    assert (None, Direction.OUT) == (first.direction, second.direction)
    assert ShownNumber(RECIPIENT) == second.destination
    assert Direction.OUT is first.going(None, [simulator.tracking_number])
    assert [SENT, SENT] == [telling.url for telling in simulator.webhooks.posted]


async def test_a_webhook_is_told_as_was_asked_for(simulator: Simulator) -> None:
    """Twice, as a form, without an id, wrongly signed, or not at all."""
    simulator.webhooks.manner = Manner(form=True, without_id=True, wrong_signature=True, times=2)
    simulator.receive(RECIPIENT, "STOP")
    first, second = await told(simulator)
    assert first.body == second.body
    assert ["STOP"] == parse_qs(first.body)["content"]
    assert "resource_id=SCI" not in first.body
    assert not verify([KEY], first.body.encode(), first.signature)

    simulator.webhooks.manner = Manner(lost=True)
    simulator.receive(RECIPIENT, "START")
    assert 2 == len(await told(simulator))


def test_webhooks_are_controlled_from_outside(simulator: Simulator) -> None:
    manner = {"masked": True, "times": 2, "delay": 1}
    assert manner.items() <= asked(simulator, "POST", "/sandbox/webhooks", json=manner).json().items()
    other = {"recipient": RECIPIENT, "content": "Hello"}
    assert 201 == asked(simulator, "POST", "/sandbox/others", json=other).status_code

    listed = asked(simulator, "GET", "/sandbox/webhooks").json()

    assert ["sms_sent_webhook"] * 2 == [one["event"] for one in listed]
    assert "***0122" == json.loads(listed[0]["body"])["destination_number"]
    wrong_ones: list[object] = [
        {"mask": True},
        {"times": -1},
        {"times": 1.5},
        {"masked": 1},
        {"delay": True},
        [],
    ]
    for wrong in wrong_ones:
        assert 400 == asked(simulator, "POST", "/sandbox/webhooks", json=wrong).status_code
    assert 400 == asked(simulator, "POST", "/sandbox/others", json=other | {"content": 3}).status_code


async def test_without_an_integration_nothing_is_told() -> None:
    simulator = make_simulator()
    simulator.receive(RECIPIENT, "Hello")
    assert [] == await told(simulator)


async def test_webhooks_travel_over_http(simulator: Simulator) -> None:
    """
    To each server that listens; otherwise there is no status. They are on their way before the answer is.
    """
    simulator.webhooks.transport = None
    async with listening(make_simulator()) as url:
        for integration in simulator.integrations.values():
            integration.config["sms_received_webhook"] = [f"{url}/hook", "http://127.0.0.1:9/nobody"]
        async with make_client(InProcessTransport(simulator)) as client:
            reply = {"recipient": RECIPIENT, "content": "Hello"}
            response = await client.post("/sandbox/replies", json=reply)
            assert 201 == response.status_code
        assert [404, None] == [telling.status for telling in await told(simulator)]
