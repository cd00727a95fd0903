"""CallRail's integrations, in shapes that were not seen and may come."""

import httpx2
import pytest

from callrail_relay.callrail import wire
from callrail_relay.domain.inbound import Change, WebhookIntegration
from tests.service.rig import open_callrail

URLS = {"received": "https://a.example/hooks/callrail/t?r", "sent": "s"}


def is_ours(url: str) -> bool:
    return url.startswith("https://a.example/hooks/callrail/")


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        (
            {"id": 7, "type": "Webhooks", "config": None, "signing_key": ""},
            WebhookIntegration(id="7", config={}, signing_key=None, active=True),
        ),
        (
            {"id": "x", "type": "webhooks", "state": "disabled", "config": {"a": 1}, "signing_key": "key"},
            WebhookIntegration(id="x", config={"a": 1}, signing_key="key", active=False),
        ),
        ({"type": "Webhooks"}, WebhookIntegration()),
    ],
)
def test_only_webhooks_are_read(fields: dict[str, object], read: WebhookIntegration) -> None:
    """Other integrations of the company, and fields that are missing or new."""
    other = {"id": 3, "type": "GoogleAnalytics", "config": {"sms_sent_webhook": []}}
    assert read == wire.read_integration([other, fields])


@pytest.mark.parametrize(
    ("there", "then"),
    [
        (None, [URLS["received"]]),
        ([], [URLS["received"]]),
        ("https://b.example", ["https://b.example", URLS["received"]]),
        (["https://b.example", 3], ["https://b.example", URLS["received"]]),
        ([URLS["received"], "https://b.example"], [URLS["received"], "https://b.example"]),
        (["https://a.example/hooks/callrail/old", URLS["received"]], [URLS["received"]]),
    ],
)
def test_a_url_is_added_where_it_is_missing(there: object, then: list[str]) -> None:
    config = {} if there is None else {"sms_received_webhook": there}
    assert then == wire.with_urls(config, is_ours, URLS)["sms_received_webhook"]


@pytest.mark.anyio
async def test_a_key_is_asked_for_after_the_change() -> None:
    """The answer that creates webhooks need not name it."""
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.method)
        if request.method == "POST":
            return httpx2.Response(201, json={"id": 1})
        found = [{"id": 1, "type": "Webhooks", "signing_key": "key"}] if "POST" in asked else []
        return httpx2.Response(200, json={"total_pages": 1, "integrations": found})

    async with open_callrail(transport=httpx2.MockTransport(answer)) as callrail:
        assert Change.CREATED is await callrail.change_webhooks("ACC1", "COM1", is_ours, URLS)
        known = await callrail.webhooks("ACC1", "COM1")

    assert ["GET", "POST", "GET"] == asked
    assert "key" == known.signing_key
