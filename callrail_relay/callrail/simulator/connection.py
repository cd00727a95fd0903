"""The faults, carried out between the server and the app."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from callrail_relay.callrail.simulator.exchange import (
    PATIENCE,
    AbandonedConnection,
    Answer,
    BrokenConnection,
    Exchange,
    RefusedConnection,
)
from callrail_relay.callrail.simulator.faults import Fault, Kind
from callrail_relay.callrail.simulator.state import Simulator

# The customer in an answer that is about somebody else.
OTHER_CUSTOMER = "+12025550199"

_GARBAGE = "<!DOCTYPE html><html><body><h1>We will be right back</h1></body></html>"


class FaultyConnection:
    """Middleware that makes the simulator's faults happen to the requests for /v3."""

    def __init__(self, app: ASGIApp, simulator: Simulator) -> None:
        self._app = app
        self._simulator = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v3/"):
            await self._app(scope, receive, send)
            return
        exchange = Exchange(self._app, scope, receive, send, self._simulator.clock)
        fault = await self._choose(exchange)
        if fault is None:
            await exchange.pass_on()
            return
        if fault.delays_request:
            # Read first: a client that gives up meanwhile has sent its request all the same.
            await exchange.body()
            await exchange.wait(fault.delay)
        if fault.kind is Kind.STATUS:
            await exchange.body()
            await exchange.deliver(self._answer_of(fault, exchange.scope))
        elif fault.kind is Kind.STATUS_AFTER:
            answer = await exchange.answer()
            await exchange.deliver(self._changed_status(fault, exchange.scope, answer))
        else:
            await _STEPS[fault.kind](fault, exchange)

    async def _choose(self, exchange: Exchange) -> Fault | None:
        faults = self._simulator.faults
        recipient = await exchange.recipient() if exchange.is_send and faults.ask_for_numbers else None
        return faults.choose(sending=exchange.is_send, recipient=recipient)

    def _changed_status(self, fault: Fault, scope: Scope, answer: Answer) -> Answer:
        """The answer with the fault's status; a refusal stays what it was, as nothing was taken."""
        if answer.status >= 300:
            return answer
        if fault.status is None or fault.status >= 300:
            return self._answer_of(fault, scope)
        body = answer.body if fault.body is None else fault.body.encode()
        return replace(answer, status=fault.status, body=body)

    def _answer_of(self, fault: Fault, scope: Scope) -> Answer:
        status = fault.status or 500
        headers = [(b"content-type", b"application/json; charset=utf-8")]
        if fault.retry_after is not None:
            headers.append((b"retry-after", str(fault.retry_after).encode()))
        if 300 <= status < 400:
            headers.append((b"location", self._path_by_account(scope["path"]).encode()))
        body = json.dumps({"error": _phrase(status)}) if fault.body is None else fault.body
        return Answer(status, tuple(headers), body.encode())

    def _path_by_account(self, path: str) -> str:
        """The same path with the ACC id, which is where a GET under the number was sent on 2026-07-24."""
        match = re.match(r"/v3/a/([^/.]+)", path)
        account = match and self._simulator.find_account(match[1])
        return path.replace(match[1], account.id, 1) if match and account else path


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


async def _delay(_fault: Fault, exchange: Exchange) -> None:
    await exchange.pass_on()


async def _refuse(_fault: Fault, exchange: Exchange) -> None:
    await exchange.break_off(RefusedConnection)


async def _drop(_fault: Fault, exchange: Exchange) -> None:
    await exchange.break_off()


async def _drop_answer(_fault: Fault, exchange: Exchange) -> None:
    await exchange.answer()
    await exchange.break_off()


async def _late_answer(fault: Fault, exchange: Exchange) -> None:
    answer = await exchange.answer()
    await exchange.wait(fault.delay)
    await exchange.deliver(answer)


async def _garbage(fault: Fault, exchange: Exchange) -> None:
    await exchange.answer()
    body = _GARBAGE if fault.body is None else fault.body
    await exchange.deliver(Answer(200, ((b"content-type", b"text/html; charset=utf-8"),), body.encode()))


async def _half_body(_fault: Fault, exchange: Exchange) -> None:
    await exchange.deliver_half(await exchange.answer())


async def _slow_body(fault: Fault, exchange: Exchange) -> None:
    await exchange.deliver_slowly(await exchange.answer(), fault.delay)


async def _no_id(_fault: Fault, exchange: Exchange) -> None:
    answer = await exchange.answer()
    await exchange.deliver(_changed_body(answer, lambda body: body.pop("id", None)))


async def _other_customer(_fault: Fault, exchange: Exchange) -> None:
    answer = await exchange.answer()
    other = {"customer_phone_number": OTHER_CUSTOMER}
    await exchange.deliver(_changed_body(answer, lambda body: body.update(other)))


def _changed_body(answer: Answer, change: Callable[[dict[str, Any]], object]) -> Answer:
    if answer.status >= 300:
        return answer
    body = json.loads(answer.body)
    change(body)
    return replace(answer, body=json.dumps(body).encode())


_STEPS: dict[Kind, Callable[[Fault, Exchange], Awaitable[None]]] = {
    Kind.DELAY: _delay,
    Kind.REFUSE: _refuse,
    Kind.DROP: _drop,
    Kind.DROP_ANSWER: _drop_answer,
    Kind.LATE_ANSWER: _late_answer,
    Kind.GARBAGE: _garbage,
    Kind.HALF_BODY: _half_body,
    Kind.SLOW_BODY: _slow_body,
    Kind.NO_ID: _no_id,
    Kind.OTHER_CUSTOMER: _other_customer,
}


class InProcessTransport(httpx.AsyncBaseTransport):
    """
    Calls the app in process and raises what a client meets over a socket.

    A refused connection is a ConnectError, an answer later than the request's read time-out a
    ReadTimeout, and any other broken one a RemoteProtocolError. Time passes on the simulator's
    clock alone: a request that is not held up by a fault takes none.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        patience = request.extensions.get("timeout", {}).get("read")

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await self._app({**scope, "extensions": {PATIENCE: patience}}, receive, send)

        try:
            return await httpx.ASGITransport(app).handle_async_request(request)
        except RefusedConnection as exc:
            raise httpx.ConnectError("connection refused", request=request) from exc
        except AbandonedConnection as exc:
            raise httpx.ReadTimeout("no answer in time", request=request) from exc
        except BrokenConnection as exc:
            raise httpx.RemoteProtocolError("connection closed by the server", request=request) from exc
