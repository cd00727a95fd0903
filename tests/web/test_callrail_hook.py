"""CallRail's webhooks as CallRail posts them."""

import json
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest

from callrail_relay.callrail.wire import sign
from callrail_relay.domain.events import (
    MaybeOptedOut,
    OptedIn,
    OptedOut,
    OptOutUnplaced,
    ReplyReceived,
    WebhookNotUnderstood,
)
from callrail_relay.web.public import LARGEST_BODY
from tests.service.rig import Rig, open_rig
from tests.support.factories import RECIPIENT
from tests.web.posting import CALLRAIL_HOOK, SIGNING_KEY, client_of, encoded, public_app

pytestmark = pytest.mark.anyio

DATA = Path(__file__).parents[1] / "data" / "callrail"
CAPTURED = b'{"resource_id":"SCI1","content":"STOP"}'
CAPTURED_SIGNATURE = "mTeVNtXtcGFbVNtGawbviuG4f4M="


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as one:
        yield one


def reply(rig: Rig, content: str, **changes: object) -> bytes:
    """A reply as CallRail reported one on 2026-04-08, with its numbers in full."""
    fields = json.loads((DATA / "webhook-text-received.live-2026-04-08.json").read_bytes())
    fields |= {
        "content": content,
        "source_number": RECIPIENT,
        "destination_number": rig.simulator.tracking_number,
        "company_resource_id": rig.simulator.company_id,
        "timestamp": rig.clock.now().isoformat(),
    }
    return encoded(fields | changes)


async def post(
    client: httpx2.AsyncClient, body: bytes, *, signature: str | None = None, path: str = CALLRAIL_HOOK
) -> int:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "CallRail Webhook/1.0",
        "Signature": sign(SIGNING_KEY, body) if signature is None else signature,
    }
    return (await client.post(path, content=body, headers=headers)).status_code


@pytest.mark.parametrize(
    "words", ["STOP", "Stop\n\nSent from my iPhone", "Stop texting me", "ARRET", "Take me off your list"]
)
async def test_a_signed_opt_out_keeps_texts_back(rig: Rig, words: str) -> None:
    """At once, in whatever words: what was queued before it is held when its turn comes."""
    queued = await rig.accept("Hello")
    async with client_of(public_app(rig)) as client:
        assert 200 == await post(client, reply(rig, words))
    await rig.work(rig.delivery())

    assert ["opt_out"] == [reason.code for reason in (await rig.message(queued)).reasons]
    assert [] == rig.simulator.texts
    assert [1] == [event.people for event in rig.events.of(OptedOut)]
    [received] = rig.events.of(ReplyReceived)
    assert rig.account_id == received.account_id


async def test_a_signed_doubtful_reply_puts_the_next_text_to_a_person(rig: Rig) -> None:
    """The log says so when the reply comes."""
    async with client_of(public_app(rig)) as client:
        assert 200 == await post(client, reply(rig, "leave me alone"))
    held = await rig.accept("Hello")

    assert ["maybe_opted_out"] == [reason.code for reason in (await rig.message(held)).reasons]
    assert [1] == [event.people for event in rig.events.of(MaybeOptedOut)]


async def test_start_lets_texts_flow_again(rig: Rig) -> None:
    woken: list[bool] = []
    app = public_app(rig, wake=lambda: woken.append(True))
    async with client_of(app) as client:
        assert 200 == await post(client, reply(rig, "STOP"))
        rig.clock.advance(60)
        assert 200 == await post(client, reply(rig, "START", resource_id="SCI2"))
    assert [True, True] == woken
    assert 1 == len(rig.events.of(OptedIn))

    await rig.accept("Hello")
    await rig.work(rig.delivery())

    assert 1 == len(rig.simulator.texts)


async def test_a_captured_body_verifies_byte_for_byte(rig: Rig) -> None:
    """A changed byte, another key and no signature do not, and store nothing."""
    refused: list[str] = []
    async with client_of(public_app(rig, refused=refused.append)) as client:
        for body, signature in (
            (CAPTURED.replace(b"STOP", b"STOp"), CAPTURED_SIGNATURE),
            (CAPTURED + b"\n", CAPTURED_SIGNATURE),
            (CAPTURED, sign("another", CAPTURED)),
            (CAPTURED, CAPTURED_SIGNATURE[:-1]),
            (CAPTURED, ""),
        ):
            assert 401 == await post(client, body, signature=signature)
        assert [] == rig.stored("*", "callrail_texts")

        assert 200 == await post(client, CAPTURED, signature=CAPTURED_SIGNATURE)

    assert [("SCI1", "in", "STOP")] == rig.stored("resource_id, direction, content", "callrail_texts")
    assert ["wrong signature on CallRail's webhook"] * 4 == refused[:-1]
    assert "no signature on CallRail's webhook" == refused[-1]
    # It names no person, which is an error in the log.
    assert 1 == len(rig.events.of(OptOutUnplaced))


async def test_a_body_that_comes_again_counts_once(rig: Rig) -> None:
    """It is answered as before: CallRail may not have heard the first answer."""
    body = reply(rig, "STOP")
    async with client_of(public_app(rig)) as client:
        assert [200, 200] == [await post(client, body), await post(client, body)]

    assert 1 == len(rig.stored("*", "callrail_texts"))
    assert 1 == len(rig.events.of(OptedOut))


async def test_a_form_is_taken_as_well(rig: Rig) -> None:
    body = urlencode(
        {"resource_id": "SCI7", "content": "STOP", "source_number": "202-555-0122", "destination_number": "?"}
    ).encode()
    async with client_of(public_app(rig)) as client:
        assert 200 == await post(client, body)

    assert [("SCI7",)] == rig.stored("resource_id", "callrail_texts")


async def test_the_address_tells_what_the_body_does_not(rig: Rig) -> None:
    """CallRail repeats fields in the query; those are not looked at."""
    nothing = {"source_number": None, "destination_number": None}
    async with client_of(public_app(rig)) as client:
        for number, query in enumerate(
            ("?event=sent&content=STOP&agent=x", "?event=received", "?event=x", "")
        ):
            body = reply(rig, "STOP", resource_id=f"SCI{number}", **nothing)
            assert 200 == await post(client, body, path=f"{CALLRAIL_HOOK}{query}")

    assert [("out",), ("in",), ("in",), ("in",)] == rig.stored("direction", "callrail_texts")


async def test_each_of_several_keys_is_good(rig: Rig) -> None:
    """Each company has its own, and one that is replaced has two for a while."""
    app = public_app(rig, signing_keys=("new", SIGNING_KEY))
    async with client_of(app) as client:
        assert 200 == await post(client, reply(rig, "Hi"))
        body = reply(rig, "Hi", resource_id="SCI2")
        assert 200 == await post(client, body, signature=sign("new", body))


async def test_a_key_that_was_set_meanwhile_is_found(rig: Rig) -> None:
    """Without a restart, and looked for every two seconds at most: anyone can send a wrong signature."""
    asked: list[str] = []
    stored: list[str] = []

    async def read() -> Sequence[str]:
        asked.append("")
        return stored

    refused: list[str] = []
    app = public_app(rig, signing_keys=(), read_keys=read, refused=refused.append)
    async with client_of(app) as client:
        for _ in range(3):
            assert 401 == await post(client, reply(rig, "STOP"))
        assert 1 == len(asked)
        rig.clock.advance(3)
        for _ in range(3):
            assert 401 == await post(client, reply(rig, "STOP"))
        assert 2 == len(asked)
        stored.append(SIGNING_KEY)
        rig.clock.advance(3)
        assert 200 == await post(client, reply(rig, "STOP"))

    assert ["no signing key is set on CallRail's webhook"] * 6 == refused


@pytest.mark.parametrize("body", [b"", b"{}", b"not JSON", b'{"duration": 12}', b"[]"])
async def test_what_is_signed_and_not_understood_is_told(rig: Rig, body: bytes) -> None:
    """With 200: after too many refusals CallRail would stop sending."""
    async with client_of(public_app(rig)) as client:
        assert 200 == await post(client, body)

    assert 1 == len(rig.events.of(WebhookNotUnderstood))
    assert [] == rig.stored("*", "callrail_texts")


async def test_a_fault_of_ours_is_told_and_answered_with_200(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CallRail sends nothing twice, so that an error would only bring the webhook closer to its end."""

    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rig.outbox, "write", fail)
    async with client_of(public_app(rig)) as client:
        assert 200 == await post(client, reply(rig, "STOP"))

    assert ["ZeroDivisionError"] == [one.reason for one in rig.events.of(WebhookNotUnderstood)]


async def test_a_store_that_fails_is_a_503(tmp_path: Path) -> None:
    async with open_rig(tmp_path, patience=0) as rig, client_of(public_app(rig)) as client:
        with rig.failing_store():
            assert 503 == await post(client, reply(rig, "STOP"))
        assert 200 == await post(client, reply(rig, "STOP"))


async def test_the_secret_and_the_limits_are_those_of_the_other_webhook(rig: Rig) -> None:
    """Wrong secrets are counted together."""
    async with client_of(public_app(rig)) as client:
        assert 405 == (await client.get(CALLRAIL_HOOK)).status_code
        assert 413 == await post(client, b"x" * (LARGEST_BODY + 1))
        assert 404 == await post(client, CAPTURED, path="/hooks/callrail/")
        for number in range(20):
            path = f"/hooks/{'callrail' if number % 2 else 'if3'}/wrong"
            assert 404 == await post(client, CAPTURED, path=path)
        assert 429 == await post(client, CAPTURED, path="/hooks/callrail/wrong")
        assert 200 == await post(client, CAPTURED, signature=CAPTURED_SIGNATURE)


async def test_the_list_of_addresses_is_for_if3(rig: Rig) -> None:
    """CallRail signs. Who lists IF3's addresses must not lose a STOP for it."""
    app = public_app(rig, allow_addresses=[ip_network("198.51.100.0/24")])
    async with client_of(app) as client:
        assert 404 == (await client.post(CALLRAIL_HOOK.replace("callrail", "if3"), json={})).status_code
        assert 200 == await post(client, reply(rig, "STOP"))
