"""Asking the public URL: over real TLS, with whatever may be wrong on the way."""

import socket
from pathlib import Path

import httpx2
import pytest

from callrail_relay.domain.public_url import NoAnswer, Trouble
from callrail_relay.machine import addresses
from callrail_relay.machine.addresses import LARGEST_ANSWER, fetch
from tests.support.public_way import PUBLIC, PublicWay, public_way, response

pytestmark = pytest.mark.anyio


def take(way: PublicWay, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in way.environment.items():
        monkeypatch.setenv(name, value)


async def test_an_answer_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect is not followed, and no body is read without an end."""
    with public_way(tmp_path) as way:
        take(way, monkeypatch)
        way.answer = lambda target: response(200, target.encode())
        answer = await fetch(f"{PUBLIC}/healthz?probe=x")
        assert (200, b"/healthz?probe=x", ()) == (answer.status, answer.body, answer.addresses)

        way.answer = lambda _: response(301, b"", "Location: https://other.example.com/")
        answer = await fetch(f"{PUBLIC}/healthz")
        assert (301, "https://other.example.com/") == (answer.status, answer.location)

        way.answer = lambda _: response(200, b"x" * 1_000_000)
        assert b"x" * LARGEST_ANSWER == (await fetch(f"{PUBLIC}/healthz")).body

        way.answer = lambda _: b"hello\r\n\r\n"
        with pytest.raises(NoAnswer) as caught:
            await fetch(f"{PUBLIC}/healthz")
        assert Trouble.BROKEN == caught.value.trouble


@pytest.mark.parametrize(
    ("wrong", "trouble"),
    [
        ({"expired": True}, Trouble.EXPIRED),
        ({"cert_host": "other.example.com"}, Trouble.WRONG_NAME),
        ({"trusted": False}, Trouble.UNTRUSTED),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_named(
    wrong: dict[str, object], trouble: Trouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with public_way(tmp_path, **wrong) as way:  # type: ignore[arg-type]  # a test's own table
        take(way, monkeypatch)
        with pytest.raises(NoAnswer) as caught:
            await fetch(f"{PUBLIC}/healthz")

    assert trouble == caught.value.trouble


async def test_a_port_where_nobody_listens_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NoAnswer) as caught:
        await fetch(f"http://127.0.0.1:{port}/healthz")

    assert (Trouble.REFUSED, ("127.0.0.1",)) == (caught.value.trouble, caught.value.addresses)


async def test_a_proxy_that_does_not_let_through_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with public_way(tmp_path) as way:
        take(way, monkeypatch)
        with pytest.raises(NoAnswer) as refused:
            await fetch("https://another.example.com/healthz")
    with pytest.raises(NoAnswer) as gone:
        await fetch(f"{PUBLIC}/healthz")

    for caught in (refused, gone):
        assert Trouble.PROXY == caught.value.trouble
        assert "through the proxy http://127.0.0.1:" in caught.value.detail


async def test_environment_that_cannot_be_used_sends_to_its_own_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:7890")
    with pytest.raises(NoAnswer) as caught:
        await fetch(f"{PUBLIC}/healthz")

    assert (Trouble.PROXY, "see the network check") == (caught.value.trouble, caught.value.detail)


async def test_the_dns_of_the_world_is_asked_past_tailscale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This computer's own Tailscale answers for the name, so an answer would prove nothing."""
    asked: list[str] = []
    told = b'{"Answer":[{"type":5,"data":"x."},{"type":1,"data":"127.0.0.1"}]}'

    class Answering(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            asked.append(f"{request.url} {request.headers['host']} {request.extensions.get('sni_hostname')}")
            return httpx2.Response(
                200, stream=httpx2.ByteStream(told if "dns-query" in str(request.url) else b"proof")
            )

    class ByName:
        proxy = None

        def transport(self, _limits: httpx2.Limits) -> httpx2.AsyncBaseTransport:
            return Answering()

    async def resolve(_url: httpx2.URL) -> tuple[str, ...]:
        return ("100.101.102.103",)

    monkeypatch.setattr(addresses, "_resolve", resolve)
    monkeypatch.setattr(addresses, "find_network", lambda _: ByName())
    answer = await fetch("https://n.t.ts.net/healthz?probe=x", from_outside=True)
    assert (b"proof", ("127.0.0.1",)) == (answer.body, answer.addresses)
    assert [
        "https://cloudflare-dns.com/dns-query?type=A&name=n.t.ts.net cloudflare-dns.com None",
        "https://127.0.0.1/healthz?probe=x n.t.ts.net n.t.ts.net",
    ] == asked

    told = b"<html>"
    answer = await fetch("https://n.t.ts.net/healthz", from_outside=True)
    assert ("100.101.102.103",) == answer.addresses
