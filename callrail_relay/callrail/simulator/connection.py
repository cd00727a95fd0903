"""
The faults, carried out around the answer to a request.

Over a real socket the connection itself is broken: an app that raises would only make the server answer 500,
so uvicorn's transport is closed under it. In process there is none, and a ConnectionError is raised instead.
"""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from callrail_relay.callrail.simulator.faults import Fault, Kind
from callrail_relay.callrail.simulator.records import normalize
from callrail_relay.callrail.simulator.state import Simulator

# The customer in an answer that is about another person.
OTHER_CUSTOMER = "+12025550199"
# The scope's extension with a ``wait`` for an in-process client, whose patience may end.
WAIT = "callrail_relay.wait"
SLOW_PIECES = 16

_GARBAGE = "<!DOCTYPE html><html><body><h1>We will be right back</h1></body></html>"


async def answer_with_faults(
    simulator: Simulator, request: Request, answer: Callable[[Request], Awaitable[Response]], *, sends: bool
) -> ASGIApp:
    """What *answer* makes of the request, delayed, changed or cut off if a fault happens to it."""
    fault = await _choose(simulator, request, sends=sends)
    if fault is None:
        return await answer(request)
    if fault.delay > 0 and fault.kind not in {Kind.LATE_ANSWER, Kind.SLOW_BODY}:
        # Read first: a client that gives up meanwhile has still sent its request.
        await request.body()
        await _wait(simulator, request.scope, fault.delay)
    match fault.kind:
        case Kind.REFUSE:
            return _broken(ConnectionRefusedError)
        case Kind.DROP:
            return _broken(ConnectionResetError)
        case Kind.STATUS:
            await request.body()
            return _made_up(simulator, request, fault)
    return await _spoil(simulator, request, fault, await answer(request))


async def _choose(simulator: Simulator, request: Request, *, sends: bool) -> Fault | None:
    """The fault that happens to this request, counted as having happened."""
    recipient, chosen = None, None
    if sends and any(armed.fault.number is not None for armed in simulator.faults):
        try:
            recipient = normalize((await request.json())["customer_phone_number"])
        except (ValueError, RecursionError, TypeError, KeyError):
            recipient = None
    for armed in simulator.faults:
        if armed.fault.applies_to(sending=sends, recipient=recipient):
            armed.seen += 1
            if chosen is None and armed.is_due(simulator.random):
                armed.fired += 1
                chosen = armed.fault
    return chosen


async def _spoil(simulator: Simulator, request: Request, fault: Fault, answer: Response) -> ASGIApp:
    """What goes wrong after the text was taken; a refusal keeps its status and its words."""
    spoiled: ASGIApp = answer
    took = answer.status_code < 300
    match fault.kind:
        case Kind.DROP_ANSWER:
            spoiled = _broken(ConnectionResetError)
        case Kind.LATE_ANSWER:
            await _wait(simulator, request.scope, fault.delay)
        case Kind.STATUS_AFTER if took and fault.status is not None and fault.status < 300:
            body = bytes(answer.body) if fault.body is None else fault.body.encode()
            spoiled = _response(body, fault.status, dict(answer.headers))
        case Kind.STATUS_AFTER if took:
            spoiled = _made_up(simulator, request, fault)
        case Kind.GARBAGE:
            spoiled = Response(_GARBAGE if fault.body is None else fault.body, media_type="text/html")
        case Kind.HALF_BODY:
            spoiled = _broken(ConnectionResetError, answer)
        case Kind.SLOW_BODY:
            spoiled = _slow(simulator, answer, fault.delay)
        case Kind.NO_ID | Kind.OTHER_CUSTOMER if took:
            document = json.loads(bytes(answer.body))
            if fault.kind is Kind.NO_ID:
                document.pop("id", None)
            else:
                document["customer_phone_number"] = OTHER_CUSTOMER
            spoiled = _response(json.dumps(document).encode(), answer.status_code, dict(answer.headers))
    return spoiled


def _made_up(simulator: Simulator, request: Request, fault: Fault) -> Response:
    status = fault.status or 500
    headers = {"content-type": "application/json; charset=utf-8"}
    if fault.retry_after is not None:
        headers["retry-after"] = str(fault.retry_after)
    if 300 <= status < 400:
        # The same path with the ACC id, which is where a GET under the number was sent on 2026-07-24.
        named = request.path_params.get("account_id", "")
        account = simulator.find_account(named)
        path = request.url.path
        headers["location"] = path.replace(named, account.id, 1) if account else path
    words = HTTPStatus(status).phrase if status in set(HTTPStatus) else f"Status {status}"
    body = json.dumps({"error": words}) if fault.body is None else fault.body
    return _response(body.encode(), status, headers)


def _response(body: bytes, status: int, headers: dict[str, str]) -> Response:
    headers.pop("content-length", None)
    # HTTP allows no body with these two.
    return Response(b"" if status in {204, 304} else body, status, headers)


def _start(answer: Response) -> dict[str, object]:
    return {"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers}


def _slow(simulator: Simulator, answer: Response, seconds: float) -> ASGIApp:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        await send(_start(answer))
        size = max(1, -(-len(answer.body) // SLOW_PIECES))
        for start in range(0, len(answer.body), size):
            await _wait(simulator, scope, seconds)
            piece = answer.body[start : start + size]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


def _broken(error: type[ConnectionError], answer: Response | None = None) -> ASGIApp:
    """The end of the connection, after half of the *answer* if there is one."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        if answer is not None:
            await send(_start(answer))
            half = answer.body[: len(answer.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
        # The receive of uvicorn's protocols is a method of the object that holds the transport.
        transport = getattr(getattr(receive, "__self__", None), "transport", None)
        if transport is None:
            raise error
        transport.abort() if answer is None else transport.close()
        # uvicorn answers 500 for an app that returns before it has noticed that the client is gone.
        while (await receive())["type"] != "http.disconnect":
            pass

    return app


async def _wait(simulator: Simulator, scope: Scope, seconds: float) -> None:
    await (scope.get("extensions") or {}).get(WAIT, simulator.clock.sleep)(seconds)
