"""
The faults, carried out between the server and the app.

Over a real socket the connection itself is broken: an ASGI app that raises would only make the
server answer 500, so uvicorn's transport is closed under it. If there is no such transport, as
in process, a ``BrokenConnection`` is raised instead.
"""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callrail_relay.callrail.simulator.faults import Fault, Kind
from callrail_relay.callrail.simulator.records import normalize
from callrail_relay.callrail.simulator.state import Simulator

# The customer in an answer that is about another person.
OTHER_CUSTOMER = "+12025550199"

# The scope's extension with a ``wait`` for an in-process client, whose patience may end.
WAIT = "callrail_relay.wait"

SLOW_PIECES = 16

_GARBAGE = "<!DOCTYPE html><html><body><h1>We will be right back</h1></body></html>"
_SEND_PATH = re.compile(r"/v3/a/[^/]+/text-messages\.json")


class BrokenConnection(Exception):
    """In process: the connection ends here."""


class RefusedConnection(BrokenConnection):
    """In process: there was no connection."""


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

    def with_body(self, change: Callable[[dict[str, Any]], object]) -> "Answer":
        """The answer after *change* to its JSON; a refusal stays what it was."""
        if self.status >= 300:
            return self
        body = json.loads(self.body)
        change(body)
        return replace(self, body=json.dumps(body).encode())


class FaultyConnection:
    """Middleware that makes the simulator's faults happen to the requests for /v3."""

    def __init__(self, app: ASGIApp, simulator: Simulator) -> None:
        self._app = app
        self._simulator = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v3/"):
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(self._app, scope, receive, send, self._simulator)
        fault = await exchange.choose_fault()
        if fault is None:
            await exchange.pass_on()
        else:
            await exchange.suffer(fault)


@dataclass(slots=True)
class _Exchange:
    """One request and its answer, which can be delayed, changed, or cut off."""

    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send
    simulator: Simulator
    _body: bytes | None = field(default=None, init=False)

    async def choose_fault(self) -> Fault | None:
        faults = self.simulator.faults
        sending = self.scope["method"] == "POST" and _SEND_PATH.fullmatch(self.scope["path"]) is not None
        by_number = any(armed.fault.number is not None for armed in faults.armed)
        recipient = await self._recipient() if sending and by_number else None
        return faults.choose(sending=sending, recipient=recipient)

    async def suffer(self, fault: Fault) -> None:
        if fault.delay > 0 and fault.kind not in {Kind.LATE_ANSWER, Kind.SLOW_BODY}:
            # Read first: a client that gives up meanwhile has still sent its request.
            await self.body()
            await self.wait(fault.delay)
        match fault.kind:
            case Kind.DELAY:
                await self.pass_on()
            case Kind.REFUSE:
                await self.break_off(RefusedConnection)
            case Kind.DROP:
                await self.break_off()
            case Kind.STATUS:
                await self.body()
                await self.deliver(self._made_up(fault))
            case _:
                await self._suffer_after(fault, await self.answer())

    async def _suffer_after(self, fault: Fault, answer: Answer) -> None:
        """What goes wrong after the text was taken."""
        match fault.kind:
            case Kind.DROP_ANSWER:
                await self.break_off()
            case Kind.LATE_ANSWER:
                await self.wait(fault.delay)
                await self.deliver(answer)
            case Kind.STATUS_AFTER:
                await self.deliver(self._with_status(fault, answer))
            case Kind.GARBAGE:
                body = _GARBAGE if fault.body is None else fault.body
                headers = ((b"content-type", b"text/html; charset=utf-8"),)
                await self.deliver(Answer(200, headers, body.encode()))
            case Kind.HALF_BODY:
                await self._deliver_half(answer)
            case Kind.SLOW_BODY:
                await self._deliver_slowly(answer, fault.delay)
            case Kind.NO_ID:
                await self.deliver(answer.with_body(lambda body: body.pop("id", None)))
            case Kind.OTHER_CUSTOMER:
                other = {"customer_phone_number": OTHER_CUSTOMER}
                await self.deliver(answer.with_body(lambda body: body.update(other)))

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

    async def _recipient(self) -> str | None:
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
        await self.send(answer.head())
        await self.send({"type": "http.response.body", "body": answer.content})

    async def _deliver_half(self, answer: Answer) -> None:
        half = answer.body[: len(answer.body) // 2]
        await self.send(answer.head())
        await self.send({"type": "http.response.body", "body": half, "more_body": True})
        await self._end(lambda transport: transport.close(), BrokenConnection)

    async def _deliver_slowly(self, answer: Answer, seconds: float) -> None:
        await self.send(answer.head())
        size = max(1, -(-len(answer.body) // SLOW_PIECES))
        for start in range(0, len(answer.body), size):
            await self.wait(seconds)
            piece = answer.body[start : start + size]
            await self.send({"type": "http.response.body", "body": piece, "more_body": True})
        await self.send({"type": "http.response.body", "body": b""})

    async def break_off(self, reason: type[BrokenConnection] = BrokenConnection) -> None:
        await self._end(lambda transport: transport.abort(), reason)

    async def wait(self, seconds: float) -> None:
        extensions = self.scope.get("extensions") or {}
        await extensions.get(WAIT, self.simulator.clock.sleep)(seconds)

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

    def _with_status(self, fault: Fault, answer: Answer) -> Answer:
        """The answer with the fault's status; a refusal stays what it was, as nothing was taken."""
        if answer.status >= 300:
            return answer
        if fault.status is None or fault.status >= 300:
            return self._made_up(fault)
        body = answer.body if fault.body is None else fault.body.encode()
        return replace(answer, status=fault.status, body=body)

    def _made_up(self, fault: Fault) -> Answer:
        status = fault.status or 500
        headers = [(b"content-type", b"application/json; charset=utf-8")]
        if fault.retry_after is not None:
            headers.append((b"retry-after", str(fault.retry_after).encode()))
        if 300 <= status < 400:
            headers.append((b"location", self._path_by_account().encode()))
        words = HTTPStatus(status).phrase if status in set(HTTPStatus) else f"Status {status}"
        body = json.dumps({"error": words}) if fault.body is None else fault.body
        return Answer(status, tuple(headers), body.encode())

    def _path_by_account(self) -> str:
        """The same path with the ACC id, which is where a GET under the number was sent on 2026-07-24."""
        path: str = self.scope["path"]
        match = re.match(r"/v3/a/([^/.]+)", path)
        account = match and self.simulator.find_account(match[1])
        return path.replace(match[1], account.id, 1) if match and account else path
