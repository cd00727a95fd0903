"""The public listener's app on a rig, and what IF3 posts to it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx2
from starlette.types import ASGIApp

from callrail_relay.callrail.wire import read_webhook, verify
from callrail_relay.machine.addresses import OldUrl
from callrail_relay.service.background import Refused
from callrail_relay.service.health import store_probe
from callrail_relay.service.replies import CallRailWebhooks, InboundTexts
from callrail_relay.service.shadow import PassingOn
from callrail_relay.service.tokens import HookToken, HookTokens, ReadTokens, reread
from callrail_relay.web.public import Answered, Network, PublicParts, create_public_app
from tests.service.rig import Rig
from tests.support.factories import RECIPIENT

DATA = Path(__file__).parents[1] / "data" / "if3"
TOKEN = "hook-token-of-the-tests"
HOOK = f"/hooks/if3/{TOKEN}"
CALLRAIL_HOOK = f"/hooks/callrail/{TOKEN}"
MARK = "1.1 callrail-relay-test"
SIGNING_KEY = "example-signing-key"
ADDRESS = "203.0.113.7"
WORDS = "Hi Dana, are you still thinking of selling 12 Oak St?"


def payload(**changes: object) -> dict[str, object]:
    """A text as IF3 posts it; a change to ... omits a field."""
    fields: dict[str, object] = {
        "opportunity_id": 123456,
        "message": WORDS,
        "sender_id": 789,
        "seller_id": 4567,
        "seller": "Dana Example",
        "seller_phone": RECIPIENT,
        "seller_phone_non_international": "2025550122",
        "team_id": 42,
    } | changes
    return {name: value for name, value in fields.items() if value is not ...}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def public_app(
    rig: Rig,
    *,
    allow_addresses: Sequence[Network] = (),
    tokens: Sequence[HookToken] = (HookToken(value=TOKEN),),
    read: ReadTokens | None = None,
    wake: Callable[[], None] = lambda: None,
    signing_keys: Sequence[str] = (SIGNING_KEY,),
    read_keys: Callable[[], Awaitable[Sequence[str]]] | None = None,
    answered: Answered = lambda *_: None,
    refused: Refused = lambda _reason: None,
    passing_on: PassingOn | None = None,
) -> ASGIApp:
    async def unchanged() -> Sequence[HookToken]:
        return tokens

    async def same_keys() -> Sequence[str]:
        return signing_keys

    async def none_ended() -> Sequence[str]:
        return ()

    keys = reread(signing_keys, read_keys or same_keys, rig.clock)
    texts = InboundTexts(rig.outbox, rig.events, rig.inbound, wake)
    webhooks = CallRailWebhooks(texts, keys, verify, read_webhook, refused)
    return create_public_app(
        PublicParts(
            intake=rig.intake,
            webhooks=webhooks,
            tokens=HookTokens(tokens, read or unchanged, rig.clock, none_ended),
            clock=rig.clock,
            wake=wake,
            writable=store_probe(rig.outbox, refused),
            prove=lambda nonce: f"<{nonce}>",
            answered=answered,
            passing_on=passing_on or _passing_on(rig, OldUrl(MARK)),
            allow_addresses=allow_addresses,
            refused=refused,
        )
    )


def _passing_on(rig: Rig, old_url: OldUrl) -> PassingOn:
    return PassingOn(rig.outbox, rig.events, old_url.pass_on, timedelta(hours=4), MARK)


@asynccontextmanager
async def passing_requests_on(rig: Rig) -> AsyncIterator[PassingOn]:
    """What passes requests on in shadow; all is recorded at the end."""
    async with aclosing(OldUrl(MARK)) as old_url, aclosing(_passing_on(rig, old_url)) as found:
        yield found


@asynccontextmanager
async def client_of(app: ASGIApp, *, address: str = ADDRESS) -> AsyncIterator[httpx2.AsyncClient]:
    """A client in process that comes from *address*."""
    transport = httpx2.ASGITransport(app, client=(address, 50000))
    async with httpx2.AsyncClient(transport=transport, base_url="https://texts.example.com") as client:
        yield client


class Talk:
    """Bytes to and from a server, for what no HTTP client would do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, words: bytes) -> None:
        self._writer.write(words)
        await self._writer.drain()

    async def head(self) -> bytes:
        """The next status line with its headers."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def body(self, head: bytes) -> bytes:
        """The body that the answer with *head* announces."""
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return await self._reader.readexactly(int(length or 0))

    async def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        with contextlib.suppress(ConnectionError):
            return await self._reader.read()
        return b""

    def hang_up(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def talking_to(url: str) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx2.URL(url).port)
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()


def head(*lines: str, path: str = HOOK) -> bytes:
    """The head of a POST with these header lines."""
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: texts.example.com", *lines, "", "")).encode()
