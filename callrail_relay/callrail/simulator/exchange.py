"""
One request and its answer, which can be held back, changed, or broken off.

Over a real socket the connection itself is broken: an ASGI app that raises would only make the
server answer 500, so uvicorn's transport is closed under it. Where there is no such transport, as
in process, a ``BrokenConnection`` is raised instead, and ``InProcessTransport`` makes the error of
httpx out of it.
"""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callrail_relay.callrail.simulator.records import normalize
from callrail_relay.clock import Clock

# The scope's extension that says for how many seconds an in-process client waits for an answer.
PATIENCE = "callrail_relay.patience"

SLOW_PIECES = 16

_SEND_PATH = re.compile(r"/v3/a/[^/]+/text-messages\.json")


class BrokenConnection(Exception):
    """In process: the connection ends here."""


class RefusedConnection(BrokenConnection):
    """In process: there was no connection."""


class AbandonedConnection(BrokenConnection):
    """In process: the client has stopped waiting."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the app."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def content(self) -> bytes:
        """The body; none with the two statuses that HTTP allows no body."""
        return b"" if self.status in {204, 304} else self.body

    def head(self) -> Message:
        headers = [pair for pair in self.headers if pair[0].lower() != b"content-length"]
        headers.append((b"content-length", str(len(self.content)).encode()))
        return {"type": "http.response.start", "status": self.status, "headers": headers}


@dataclass(slots=True)
class Exchange:
    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send
    clock: Clock
    _body: bytes | None = field(default=None, init=False)
    _abandoned: bool = field(default=False, init=False)

    @property
    def is_send(self) -> bool:
        return self.scope["method"] == "POST" and _SEND_PATH.fullmatch(self.scope["path"]) is not None

    async def body(self) -> bytes:
        """The request's whole body, or what had come of it when the client went away."""
        if self._body is None:
            chunks = []
            more = True
            while more:
                message = await self.receive()
                chunks.append(message.get("body", b""))
                more = message.get("more_body", False)
            self._body = b"".join(chunks)
        return self._body

    async def recipient(self) -> str | None:
        """The E.164 number a JSON send is for."""
        try:
            form = json.loads(await self.body())
        except (ValueError, RecursionError):
            return None
        return normalize(form.get("customer_phone_number")) if isinstance(form, dict) else None

    async def pass_on(self) -> None:
        """Let the app answer as usual."""
        if self._body is None:
            await self.app(self.scope, self.receive, self.send)
        else:
            await self.deliver(await self.answer())

    async def answer(self) -> Answer:
        """What the app answers, kept back."""
        body = await self.body()
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(self.scope, receive, send)
        content = b"".join(message.get("body", b"") for message in sent)
        return Answer(sent[0]["status"], tuple(sent[0]["headers"]), content)

    async def deliver(self, answer: Answer) -> None:
        self._check_patience()
        await self.send(answer.head())
        await self.send({"type": "http.response.body", "body": answer.content})

    async def deliver_half(self, answer: Answer) -> None:
        self._check_patience()
        half = answer.body[: len(answer.body) // 2]
        await self.send(answer.head())
        await self.send({"type": "http.response.body", "body": half, "more_body": True})
        await self._end(lambda transport: transport.close(), BrokenConnection)

    async def deliver_slowly(self, answer: Answer, seconds: float) -> None:
        await self.send(answer.head())
        size = max(1, -(-len(answer.body) // SLOW_PIECES))
        for start in range(0, len(answer.body), size):
            await self.wait(seconds)
            self._check_patience()
            piece = answer.body[start : start + size]
            await self.send({"type": "http.response.body", "body": piece, "more_body": True})
        await self.send({"type": "http.response.body", "body": b""})

    async def break_off(self, reason: type[BrokenConnection] = BrokenConnection) -> None:
        self._check_patience()
        await self._end(lambda transport: transport.abort(), reason)

    async def wait(self, seconds: float) -> None:
        """Let *seconds* pass; an in-process client with less patience is gone after it."""
        patience = self.scope.get("extensions", {}).get(PATIENCE)
        self._abandoned = patience is not None and seconds >= patience
        await self.clock.sleep(patience if self._abandoned else seconds)

    def _check_patience(self) -> None:
        if self._abandoned:
            raise AbandonedConnection

    async def _end(
        self, end: Callable[[asyncio.WriteTransport], None], reason: type[BrokenConnection]
    ) -> None:
        # The receive of uvicorn's protocols is a method of the object that holds the transport.
        transport = getattr(getattr(self.receive, "__self__", None), "transport", None)
        if transport is None:
            raise reason
        end(transport)
        # uvicorn answers 500 for an app that returns before it has noticed that the client is gone.
        while (await self.receive())["type"] != "http.disconnect":
            pass
