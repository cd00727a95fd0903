"""The listeners on a real port: what only shows over a socket."""

import asyncio
import gzip
import ipaddress
import logging
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from callrail_relay.callrail.wire import sign
from callrail_relay.domain.events import PingReceived
from callrail_relay.domain.message import MessageFilter, Status
from callrail_relay.errors import Unavailable
from callrail_relay.web import server
from callrail_relay.web.public import LARGEST_BODY, SLOWEST_BODY, Network
from callrail_relay.web.server import LAST_REQUESTS, PEER_SECONDS, Listener, most_connections
from tests.service.rig import LoopTime, Rig, open_rig
from tests.web.posting import CALLRAIL_HOOK, HOOK, SIGNING_KEY, encoded, head, payload, public_app, talking_to

if sys.platform != "win32":
    import resource

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def listening(
    rig: Rig,
    *,
    trusted_proxies: Sequence[str] = (),
    allow_addresses: Sequence[Network] = (),
) -> AsyncIterator[str]:
    """The public app on a port; yields its URL."""
    app = public_app(rig, allow_addresses=allow_addresses)
    async with Listener(
        app,
        host="127.0.0.1",
        port=0,
        setting="server.port",
        trusted_proxies=trusted_proxies,
    ) as listener:
        yield listener.url


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def stored(rig: Rig) -> list[tuple[object, ...]]:
    return rig.stored("body", "submissions")


# --- bodies ----------------------------------------------------------------------------------------------


async def test_text_comes_in_by_a_socket(tmp_path: Path) -> None:
    """As IF3 posts it; the server does not say what it is."""
    async with open_rig(tmp_path) as rig, listening(rig) as url, httpx2.AsyncClient(base_url=url) as client:
        response = await client.post(HOOK, json=payload())

        assert 200 == response.status_code
        assert "server" not in response.headers
        assert 1 == len(stored(rig))


async def test_chunked_body_is_taken(tmp_path: Path) -> None:
    """Without a length, in pieces."""
    body = encoded(payload())
    async with open_rig(tmp_path) as rig, listening(rig) as url, httpx2.AsyncClient(base_url=url) as client:
        response = await client.post(HOOK, content=pieces_of(body[:7], body[7:50], body[50:]))

        assert 200 == response.status_code
        assert [(body,)] == stored(rig)


async def test_gzip_is_taken(tmp_path: Path) -> None:
    """Compressed, and chunked besides."""
    body = gzip.compress(encoded(payload()))
    async with open_rig(tmp_path) as rig, listening(rig) as url, httpx2.AsyncClient(base_url=url) as client:
        headers = {"Content-Encoding": "gzip"}
        response = await client.post(HOOK, content=pieces_of(body[:20], body[20:]), headers=headers)

        assert 200 == response.status_code
        assert [(encoded(payload()),)] == stored(rig)


@pytest.mark.parametrize(
    "lines",
    [
        (f"Content-Length: {LARGEST_BODY + 1}",),
        ("Content-Length: 999999999999999",),
        (f"Content-Length: {LARGEST_BODY + 1}", "Expect: 100-continue"),
    ],
)
async def test_announced_large_body_is_refused_before_it_comes(
    tmp_path: Path, lines: tuple[str, ...]
) -> None:
    """The sender doesn't have to send it first."""
    async with open_rig(tmp_path) as rig, listening(rig) as url, talking_to(url) as talk:
        await talk.say(head(*lines))

        assert (await talk.head()).startswith(b"HTTP/1.1 413 ")
        assert [] == stored(rig)


async def test_large_body_without_a_length_is_refused(tmp_path: Path) -> None:
    """Counted while it comes."""
    async with open_rig(tmp_path) as rig, listening(rig) as url, talking_to(url) as talk:
        await talk.say(head("Transfer-Encoding: chunked"))
        await talk.say(b"%x\r\n%s\r\n" % (LARGEST_BODY + 1, b"x" * (LARGEST_BODY + 1)))

        assert (await talk.head()).startswith(b"HTTP/1.1 413 ")
        assert [] == stored(rig)


async def test_gzip_bomb_is_refused(tmp_path: Path) -> None:
    """Fifty megabytes of nothing fit into fifty kilobytes."""
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) <= LARGEST_BODY
    async with open_rig(tmp_path) as rig, listening(rig) as url, httpx2.AsyncClient(base_url=url) as client:
        response = await client.post(HOOK, content=bomb, headers={"Content-Encoding": "gzip"})

        assert 413 == response.status_code
        assert [] == stored(rig)


async def test_body_that_waits_for_a_word_gets_it(tmp_path: Path) -> None:
    """``Expect: 100-continue`` is answered, and then the text is taken."""
    body = encoded(payload())
    async with open_rig(tmp_path) as rig, listening(rig) as url, talking_to(url) as talk:
        await talk.say(head(f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert (await talk.head()).startswith(b"HTTP/1.1 100 ")
        await talk.say(body)

        assert (await talk.head()).startswith(b"HTTP/1.1 200 ")
        assert [(body,)] == stored(rig)


async def test_body_that_does_not_come_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a body keeps no connection for ever, and is no text."""
    loop_time = LoopTime(monkeypatch)
    async with open_rig(tmp_path) as rig, listening(rig) as url, talking_to(url) as talk:
        await talk.say(head("Content-Length: 100", "Expect: 100-continue"))
        # The server asks for the body when the app does, so the time for it runs by now.
        await talk.head()
        await talk.say(b'{"message": ')
        loop_time.jump(SLOWEST_BODY)

        assert (await talk.head()).startswith(b"HTTP/1.1 408 ")
        assert [] == stored(rig)


async def test_client_that_hangs_up_leaves_no_text(tmp_path: Path) -> None:
    """Half a body is not taken for the whole, even where it could be read."""
    async with open_rig(tmp_path) as rig:
        async with listening(rig) as url, talking_to(url) as talk:
            await talk.say(head("Content-Length: 100000", "Transfer-Encoding: identity"))
            await talk.say(encoded(payload()))
            talk.hang_up()

        assert [] == stored(rig)


async def test_client_that_hangs_up_while_it_is_waited_for_leaves_no_text(tmp_path: Path) -> None:
    """The app was reading when the connection ended."""
    async with open_rig(tmp_path) as rig:
        async with listening(rig) as url, talking_to(url) as talk:
            await talk.say(head("Content-Length: 1000", "Expect: 100-continue"))
            await talk.head()
            await talk.say(encoded(payload()))
            talk.hang_up()

        assert [] == stored(rig)


async def test_request_for_another_protocol_is_an_ordinary_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A WebSocket is offered nowhere: its handshake is a GET like any other."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with open_rig(tmp_path) as rig, listening(rig) as url, httpx2.AsyncClient(base_url=url) as client:
        statuses = [
            (await client.get(path, headers=upgrade)).status_code
            for path in (HOOK, "/hooks/if3/wrong", "/nowhere", "/healthz")
        ]

    assert [405, 404, 404, 200] == statuses
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


OFFERS = {
    "h2c as curl offers it": (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABk",
    ),
    "h2c": ("Connection: Upgrade", "Upgrade: h2c"),
    "TLS": ("Connection: Upgrade", "Upgrade: TLS/1.2, HTTP/1.1"),
    "websocket": ("Upgrade: websocket", "Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13"),
    "several": ("Connection: upgrade", "Upgrade: TLS/1.2", "Upgrade: h2c, websocket"),
    "without a connection header": ("Upgrade: foo/2",),
}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_offer_of_an_upgrade_changes_nothing(
    tmp_path: Path, offer: tuple[str, ...], caplog: pytest.LogCaptureFixture, *, chunked: bool
) -> None:
    """On both webhooks the body is read, and the connection goes on in HTTP/1.1."""
    body, stop = encoded(payload()), encoded({"resource_id": "SCI1", "content": "STOP"})
    signature = f"Signature: {sign(SIGNING_KEY, stop)}"
    async with open_rig(tmp_path) as rig, listening(rig) as url, talking_to(url) as talk:
        for path, content, more in ((HOOK, body, ()), (CALLRAIL_HOOK, stop, (signature,)), (HOOK, body, ())):
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(content)}"
            await talk.say(head(*offer, framing, *more, path=path))
            await talk.say(b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content) if chunked else content)
            answer = await talk.head()
            assert answer.startswith(b"HTTP/1.1 200 ")
            await talk.body(answer)
        assert [(body,), (body,)] == stored(rig)
        assert [] == rig.events.of(PingReceived)
    assert [] == caplog.records


POST = b"POST %s HTTP/1.1\r\nHost: x\r\n" % HOOK.encode()
TEXT = encoded(payload())
CHUNKED = b"Transfer-Encoding: Chunked\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(TEXT)
QUERY = b"?message=Hi&seller_phone=2025550122&seller="
WHOLE = POST + LENGTH + b"\r\n" + TEXT
TOLERATED = {
    "empty lines before": b"\r\n\n\r\n" + WHOLE,
    "bare line feeds": WHOLE.replace(b"\r\n", b"\n"),
    "HTTP/1.0": (POST + LENGTH + b"\r\n" + TEXT).replace(b"HTTP/1.1\r\nHost: x", b"HTTP/1.0"),
    "a whole URL, as to a proxy": WHOLE.replace(b" /hooks", b" http://texts.example.com:80/hooks"),
    "a URL that is not escaped": POST.replace(b" HTTP", QUERY + "Zoë HTTP".encode()) + b"\r\n",
    "a header that is not ASCII": POST + LENGTH + b"X-Name: \xe9\xff\r\n\r\n" + TEXT,
    "a length beside chunks": POST + LENGTH + CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(TEXT), TEXT),
    "an extension and a trailer": POST + CHUNKED + b"%x;a=b\r\n%s\r\n0\r\nX: 1\r\n\r\n" % (len(TEXT), TEXT),
}


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("request_", TOLERATED.values(), ids=TOLERATED)
async def test_http_of_old_and_careless_clients_is_taken(
    tmp_path: Path, request_: bytes, pieces: int
) -> None:
    """Whole or in pieces, and no text is less for it."""
    async with open_rig(tmp_path) as rig, listening(rig) as url, talking_to(url) as talk:
        size = len(request_) // pieces + 1
        for start in range(0, len(request_), size):
            await talk.say(request_[start : start + size])
            await asyncio.sleep(0)

        assert (await talk.head()).startswith(b"HTTP/1.1 200 ")
        assert 1 == len(stored(rig))
        [message] = await rig.operations.list_messages(MessageFilter())
        assert Status.QUEUED == message.status


async def test_line_that_follows_a_body_is_no_request(tmp_path: Path) -> None:
    """Browsers of long ago ended a body with a line break that did not count."""
    async with open_rig(tmp_path) as rig, listening(rig) as url, talking_to(url) as talk:
        await talk.say(WHOLE + b"\r\n" + WHOLE + b"\r\n\r\n")
        for _ in range(2):
            answer = await talk.head()
            assert answer.startswith(b"HTTP/1.1 200 ")
            await talk.body(answer)
        await talk.say(b"\r\n")
        await talk.say(WHOLE)
        assert (await talk.head()).startswith(b"HTTP/1.1 200 ")

        assert 3 == len(stored(rig))


async def test_line_breaks_alone_wait_for_a_request(tmp_path: Path) -> None:
    """They are no end of the connection, and other connections are served meanwhile."""
    async with open_rig(tmp_path) as rig, listening(rig) as url:
        async with talking_to(url) as empty, talking_to(url) as other:
            await empty.say(b"\r\n\r\n")
            await other.say(WHOLE)
            assert (await other.head()).startswith(b"HTTP/1.1 200 ")
            await empty.say(WHOLE)
            assert (await empty.head()).startswith(b"HTTP/1.1 200 ")

        assert 2 == len(stored(rig))


BROKEN = {
    "no length": WHOLE.replace(LENGTH, b"Content-Length: x\r\n"),
    "two lengths": WHOLE.replace(LENGTH, LENGTH + b"Content-Length: 2\r\n"),
    "a coding of its own": WHOLE.replace(LENGTH, b"Transfer-Encoding: gzip\r\n"),
    "no host": WHOLE.replace(b"Host: x\r\n", b""),
    "blank before a colon": WHOLE.replace(b"Host:", b"Host :"),
    "a chunk without an end": POST + CHUNKED + b"2\r\n{}garbage\r\n",
    "a chunk without a size": POST + CHUNKED + b"zz\r\n",
    "a length in characters": POST + b"Content-Length: %d\r\n\r\n" % (len(TEXT) - 2) + TEXT,
    "the same at the end of a connection": POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n" + TEXT,
    "a length of nothing": POST + b"Content-Length: 0\r\n\r\n" + TEXT,
    "no length at all": POST + b"\r\n" + TEXT,
    "no length in HTTP/1.0": POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n" + TEXT,
}


@pytest.mark.parametrize("request_", BROKEN.values(), ids=BROKEN)
async def test_malformed_request_is_refused_and_counted(
    tmp_path: Path, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The sender gets an error, nothing is stored, and only the count is logged."""
    refused: list[str] = []
    async with open_rig(tmp_path) as rig:
        app = public_app(rig)
        async with (
            Listener(app, host="127.0.0.1", port=0, setting="x", refused=refused.append) as listener,
            talking_to(listener.url) as talk,
        ):
            await talk.say(request_)
            assert (await talk.head()).startswith(b"HTTP/1.1 400 ")
            await talk.rest()
        assert [] == stored(rig)
    assert ["not HTTP"] == refused
    assert [] == caplog.records


async def test_a_listener_that_ends_refuses_new_connections_at_once() -> None:
    """While the last request is answered: a peer that is refused knows that nothing arrived."""
    begun, was_refused = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await was_refused.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with httpx2.AsyncClient() as client:
        async with Listener(app, host="127.0.0.1", port=0, setting="x") as listener:
            first = asyncio.create_task(client.get(listener.url))
            await begun.wait()
            late = asyncio.create_task(until_refused(listener.url, was_refused))
        assert 204 == (await first).status_code
        await late


async def until_refused(url: str, was_refused: asyncio.Event) -> None:
    """Connect again and again, as the listener begins to end meanwhile."""
    async with asyncio.timeout(4):
        while not was_refused.is_set():
            with socket.socket() as peer:
                if peer.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))):
                    was_refused.set()
            await asyncio.sleep(0.01)


async def test_body_that_breaks_off_after_its_answer_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """The answer stays what it was, and the connection ends."""
    async with (
        Listener(hello, host="127.0.0.1", port=0, setting="x") as listener,
        talking_to(listener.url) as talk,
    ):
        await talk.say(head("Transfer-Encoding: chunked"))
        assert (await talk.head()).startswith(b"HTTP/1.1 200 ")
        await talk.say(b"zz\r\n")
        assert b"400" not in await talk.rest()
    assert [] == caplog.records


async def test_garbage_is_answered_and_harms_nobody(tmp_path: Path) -> None:
    """What is no HTTP at all."""
    async with open_rig(tmp_path) as rig, listening(rig) as url:
        async with talking_to(url) as talk:
            await talk.say(b"\x16\x03\x01\x00\xa5\x01\r\n\r\n")
            assert (await talk.head()).startswith(b"HTTP/1.1 400 ")
        async with httpx2.AsyncClient(base_url=url) as client:
            assert 200 == (await client.get("/healthz")).status_code


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head("Content-Length: 1000", path="/hooks/if3/wrong"), 404),
        (head("Content-Length: 1000", path="/nowhere"), 404),
        (head("Content-Length: 1000").replace(b"POST", b"PUT"), 405),
        (head(f"Content-Length: {LARGEST_BODY + 1}"), 413),
    ],
)
async def test_answer_before_the_body_ends_the_connection(
    tmp_path: Path, request_head: bytes, status: int
) -> None:
    """The server doesn't read a body that it already answered."""
    async with open_rig(tmp_path) as rig, listening(rig) as url, talking_to(url) as talk:
        await talk.say(request_head)
        answer = await talk.head()

        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nconnection: close\r\n" in answer.lower()
        await talk.rest()


async def test_body_that_still_arrives_at_the_end_is_to_be_sent_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """503 with a time to come back, and no fault of the program in the log."""
    monkeypatch.setattr(server, "LAST_REQUESTS", 0)
    async with open_rig(tmp_path) as rig:
        listener = Listener(
            public_app(rig),
            host="127.0.0.1",
            port=0,
            setting="x",
        )
        await listener.__aenter__()
        async with talking_to(listener.url) as talk:
            await talk.say(head("Content-Length: 1000", "Expect: 100-continue"))
            await talk.head()
            await talk.say(b'{"message": ')
            await listener.__aexit__()
            answer = (await talk.head()).lower()

        assert answer.startswith(b"http/1.1 503 ")
        assert b"\r\nretry-after: " in answer
        assert b"\r\nconnection: close\r\n" in answer
        assert [] == stored(rig)
    assert not [record for record in caplog.records if record.exc_info]


# --- connections -----------------------------------------------------------------------------------------


def address_of(listener: Listener) -> tuple[str, int]:
    return "127.0.0.1", int(listener.url.rpartition(":")[2])


HASTE = f"{server.__name__}.PEER_SECONDS", 0.02
ASK = b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n"


@pytest.mark.parametrize(
    "said", [b"", b"\r\n", b"G", ASK[:-2]], ids=["nothing", "an empty line", "a letter", "half"]
)
async def test_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """Silence is no request either."""
    monkeypatch.setattr(*HASTE)
    async with (
        Listener(hello, host="127.0.0.1", port=0, setting="x") as listener,
        talking_to(listener.url) as talk,
    ):
        await talk.say(said)

        assert b"" == await talk.rest()


@pytest.mark.parametrize("said", [b"\r\n", b"G", ASK[:-2]], ids=["an empty line", "a letter", "half"])
async def test_next_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """A connection that was good once is no better."""
    monkeypatch.setattr(*HASTE)
    async with (
        Listener(hello, host="127.0.0.1", port=0, setting="x") as listener,
        talking_to(listener.url) as talk,
    ):
        await talk.say(ASK)
        assert (await talk.head()).startswith(b"HTTP/1.1 200 ")
        await talk.say(said)

        assert b"hello" in await talk.rest()


@pytest.mark.parametrize("more", [b"", ASK[:10]])
async def test_request_that_takes_long_is_no_late_head(monkeypatch: pytest.MonkeyPatch, more: bytes) -> None:
    """It has come; also when a part of the next one has come already."""
    loop_time = LoopTime(monkeypatch)
    slow = Slow()
    async with (
        Listener(slow, host="127.0.0.1", port=0, setting="x") as listener,
        talking_to(listener.url) as talk,
    ):
        await talk.say(ASK)
        await slow.asked.wait()
        await talk.say(more)
        for _ in range(3):
            loop_time.jump(PEER_SECONDS)
            await asyncio.sleep(0)
        slow.answer.set()

        assert (await talk.head()).startswith(b"HTTP/1.1 200 ")


async def test_endless_head_is_not_kept() -> None:
    """Up to 32 KiB, and no memory beyond."""
    line = b"X-Filling: " + b"x" * 987 + b"\r\n"
    async with Listener(hello, host="127.0.0.1", port=0, setting="x") as listener:
        async with talking_to(listener.url) as talk:
            await talk.say(ASK[:-2] + line * 30 + b"\r\n")
            assert (await talk.head()).startswith(b"HTTP/1.1 200 ")
        async with talking_to(listener.url) as talk:
            await talk.say(ASK[:-2] + line * 34)
            assert b"hello" not in await talk.rest()


async def test_full_server_drops_who_has_waited_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Silence, half a head and a connection that was answered before are all the same; the newest is served.
    """
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    async with (
        Listener(hello, host="127.0.0.1", port=0, setting="x") as listener,
        talking_to(listener.url) as silent,
        talking_to(listener.url) as slow,
        talking_to(listener.url) as answered,
        AsyncExitStack() as stack,
    ):
        await slow.say(ASK[:-2])
        await answered.say(ASK)
        await answered.head()
        for dropped in (silent, slow, answered):
            newest = await stack.enter_async_context(talking_to(listener.url))
            await newest.say(ASK)
            assert (await newest.head()).startswith(b"HTTP/1.1 200 ")
            await dropped.rest()


async def test_full_server_drops_no_request_in_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, each is answered."""
    slow = Slow()
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    async with (
        Listener(slow, host="127.0.0.1", port=0, setting="x") as listener,
        AsyncExitStack() as stack,
    ):
        talks = []
        for _ in range(5):
            slow.asked.clear()
            talks.append(talk := await stack.enter_async_context(talking_to(listener.url)))
            await talk.say(ASK)
            await slow.asked.wait()
        slow.answer.set()
        for talk in talks:
            assert (await talk.head()).startswith(b"HTTP/1.1 200 ")


async def test_peer_that_reads_no_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that the peer doesn't read keeps no connection."""
    monkeypatch.setattr(*HASTE)
    ended = asyncio.Event()

    async def endless(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(500):
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        ended.set()

    async with (
        Listener(endless, host="127.0.0.1", port=0, setting="x") as listener,
        talking_to(listener.url) as talk,
    ):
        await talk.say(ASK)
        await ended.wait()


async def test_pipelined_requests_wait_in_the_network() -> None:
    """They are answered one after the other, and what is not answered yet is not read."""
    slow = Slow()
    async with (
        Listener(slow, host="127.0.0.1", port=0, setting="x") as listener,
        talking_to(listener.url) as talk,
    ):
        flood = asyncio.create_task(talk.say(ASK * 200_000))
        await slow.asked.wait()
        assert not flood.done()
        slow.answer.set()
        for _ in range(3):
            answer = await talk.head()
            assert answer.startswith(b"HTTP/1.1 200 ")
            await talk.body(answer)
        assert not flood.done()
        flood.cancel()
        talk.hang_up()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
async def test_server_that_runs_out_of_files_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """The connection waits until there is one again, and one log line says so."""
    refused: asyncio.Queue[str] = asyncio.Queue()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with (
        Listener(hello, host="127.0.0.1", port=0, setting="x", refused=refused.put_nowait) as listener,
        talking_to(listener.url) as talk,
    ):
        await talk.say(ASK)
        await talk.head()
        with socket.socket() as client:
            client.settimeout(0)
            resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
            try:
                await asyncio.get_running_loop().sock_connect(client, address_of(listener))
                assert "not accepted: Too many open files" == await refused.get()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await asyncio.get_running_loop().sock_sendall(client, ASK)
            assert b"200 OK" in await asyncio.get_running_loop().sock_recv(client, 100)

    assert refused.empty()
    assert [] == caplog.records


async def test_connection_that_cannot_be_taken_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows a client that hangs up at once makes that fail, and asyncio would listen no more."""
    refused: list[str] = []
    loop = asyncio.get_running_loop()
    take, failures = loop.sock_accept, [OSError(0, "The specified network name is no longer available")] * 3

    async def fails(listening: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return await take(listening)

    monkeypatch.setattr(loop, "sock_accept", fails)
    async with (
        Listener(hello, host="127.0.0.1", port=0, setting="x", refused=refused.append) as listener,
        httpx2.AsyncClient() as client,
    ):
        assert "hello" == (await client.get(listener.url)).text

    assert ["not accepted: The specified network name is no longer available"] * 3 == refused


async def test_burst_of_connections_waits_to_be_taken() -> None:
    """Many may knock at one moment, while the loop does something else."""
    async with Listener(hello, host="127.0.0.1", port=0, setting="x") as listener, AsyncExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.create_connection(address_of(listener), timeout=2))
        async with httpx2.AsyncClient() as client:
            assert "hello" == (await client.get(listener.url)).text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_as_many_files_as_may_be_are_asked_for() -> None:
    """The limit that a shell sets by default is one of convenience."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft // 2, hard))
    try:
        assert 10 == most_connections(10)
        assert soft // 2 < resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert most_connections(10**9) <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- addresses -------------------------------------------------------------------------------------------

ALLOWED = [ipaddress.ip_network("203.0.113.0/24")]
FORWARDED = {"X-Forwarded-For": "203.0.113.9"}


async def asked(url: str, headers: dict[str, str]) -> int:
    async with httpx2.AsyncClient(base_url=url) as client:
        return (await client.post(HOOK, json=payload(), headers=headers)).status_code


@pytest.mark.parametrize(
    ("proxies", "headers", "status"),
    [
        ([], FORWARDED, 404),
        (["127.0.0.1"], FORWARDED, 200),
        (["127.0.0.0/8"], FORWARDED, 200),
        (["10.0.0.0/8"], FORWARDED, 404),
        (["127.0.0.1"], {}, 404),
        (["127.0.0.1"], {"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}, 404),
        (["127.0.0.1"], {"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}, 200),
    ],
)
async def test_forwarded_address_is_believed_from_listed_proxies_only(
    tmp_path: Path, proxies: list[str], headers: dict[str, str], status: int
) -> None:
    """What anyone may write into a header is no address; of several the one the proxy saw counts."""
    async with (
        open_rig(tmp_path) as rig,
        listening(rig, trusted_proxies=proxies, allow_addresses=ALLOWED) as url,
    ):
        assert status == await asked(url, headers)


async def test_guesses_are_counted_by_the_address_that_is_believed(tmp_path: Path) -> None:
    """Without a trusted proxy no header lets a guesser pass for another client."""
    async with open_rig(tmp_path) as rig, listening(rig) as url, httpx2.AsyncClient(base_url=url) as client:
        statuses = [
            (await client.get("/hooks/if3/x", headers={"X-Forwarded-For": f"203.0.113.{number}"})).status_code
            for number in range(22)
        ]

    assert [404] * 20 + [429] * 2 == statuses


# --- the port --------------------------------------------------------------------------------------------


async def hello(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def test_port_in_use_is_told() -> None:
    """Which port, and which setting changes it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            Unavailable, match=rf"Port {port} on 127\.0\.0\.1 can't be used .*set server\.port to"
        ) as caught:
            Listener(hello, host="127.0.0.1", port=port, setting="server.port")

    assert 1 == str(caught.value).count("127.0.0.1")


@pytest.mark.parametrize("host", ["192.0.2.1", "texts.example.invalid"])
async def test_address_of_another_machine_is_told(host: str) -> None:
    """No program uses it: the public name, for instance, is no address to listen at."""
    with pytest.raises(
        Unavailable, match=rf"{host} can't be used \(.*\)\. Set server\.host to an address of this"
    ):
        Listener(hello, host=host, port=0, setting="server.port (--port)")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
async def test_url_reaches_it_from_this_machine(host: str) -> None:
    """Also where it listens everywhere."""
    async with Listener(hello, host=host, port=0, setting="x") as listener, httpx2.AsyncClient() as client:
        assert "hello" == (await client.get(listener.url)).text
        assert "0.0.0.0" not in listener.url


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
@pytest.mark.parametrize("host", ["::1", "::"])
async def test_url_of_ipv6_is_in_brackets(host: str) -> None:
    """An address with colons is separate from its port."""
    try:
        listener = Listener(hello, host=host, port=0, setting="x")
    except Unavailable:
        pytest.skip("IPv6 is switched off here")
    async with listener, httpx2.AsyncClient() as client:
        assert listener.url.startswith("http://[::1]:")
        assert "hello" == (await client.get(listener.url)).text


async def test_port_is_free_again_afterwards() -> None:
    """A restart gets the same port."""
    async with Listener(hello, host="127.0.0.1", port=0, setting="x") as listener:
        port = int(listener.url.rpartition(":")[2])
    async with Listener(hello, host="127.0.0.1", port=port, setting="x") as listener:
        assert f"http://127.0.0.1:{port}" == listener.url


class Slow:
    """An app that answers on request."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        await self.answer.wait()
        await hello(scope, receive, send)


async def test_request_under_way_is_answered_before_the_end() -> None:
    """A stop is not a failure for a request that was faster."""
    slow = Slow()
    async with httpx2.AsyncClient() as client:
        async with Listener(slow, host="127.0.0.1", port=0, setting="x") as listener:
            request = asyncio.create_task(client.get(listener.url))
            await slow.asked.wait()
            asyncio.get_running_loop().call_soon(slow.answer.set)
        assert "hello" == (await request).text


async def test_request_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop takes some seconds at most."""
    loop_time = LoopTime(monkeypatch)
    slow = Slow()
    async with httpx2.AsyncClient() as client:
        listener = Listener(slow, host="127.0.0.1", port=0, setting="x")
        await listener.__aenter__()
        request = asyncio.create_task(client.get(listener.url))
        await slow.asked.wait()
        stop = asyncio.create_task(listener.__aexit__())
        while not stop.done():
            loop_time.jump(LAST_REQUESTS)
            await asyncio.sleep(0)
        outcome = await asyncio.gather(request, return_exceptions=True)

    assert not isinstance(outcome[0], httpx2.Response) or 500 == outcome[0].status_code


async def test_listener_that_was_never_entered_lets_go_of_its_port() -> None:
    """Exiting without entering closes the socket, and nothing else."""
    listener = Listener(hello, host="127.0.0.1", port=0, setting="x")
    port = int(listener.url.rpartition(":")[2])
    await listener.__aexit__()

    socket.create_server(("127.0.0.1", port)).close()


async def test_another_proxy_is_believed_without_a_restart() -> None:
    """As a tunnel is set up or taken away while the relay runs."""
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope["client"][0])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    listener = Listener(app, host="127.0.0.1", port=0, setting="server.port")
    async with listener, httpx2.AsyncClient(trust_env=False, headers=FORWARDED) as client:
        for proxies in ([], ["127.0.0.0/8"], []):
            listener.trust(proxies)
            assert 204 == (await client.get(listener.url)).status_code
    assert ["127.0.0.1", "203.0.113.9", "127.0.0.1"] == seen
