"""
The simulator as an ASGI app: CallRail's API, and the sandbox's own routes.

The routes under /sandbox need no key, so they answer only to this machine.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from callrail_relay.callrail.simulator import api
from callrail_relay.callrail.simulator.faults import read_faults
from callrail_relay.callrail.simulator.records import Message, in_utc
from callrail_relay.callrail.simulator.state import Simulator
from callrail_relay.callrail.simulator.webhooks import read_manner
from callrail_relay.domain.routing import is_loopback
from callrail_relay.errors import RelayError, UsageError

Handler = Callable[[Simulator, Any], Any]


def create_app(simulator: Simulator) -> Starlette:
    """CallRail's API under /v3 and the sandbox's own routes under /sandbox, over one state."""

    async def refuse(_request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)  # noqa: S101 - what starlette raises for a status
        return JSONResponse({"error": exc.detail.capitalize()}, exc.status_code, exc.headers)

    return Starlette(
        routes=[*api.routes(simulator), *sandbox_routes(simulator)],
        exception_handlers={HTTPException: refuse},
    )


def sandbox_routes(simulator: Simulator) -> list[Route]:
    def endpoint(status: int, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if not _is_local(request):
                return JSONResponse({"error": "The sandbox is controlled from its own machine only."}, 403)
            try:
                body = await _read(request) if request.method == "POST" else None
                document = handler(simulator, body)
                simulator.webhooks.start()
            except RelayError as exc:
                return JSONResponse({"error": str(exc)}, 400)
            return Response(status_code=status) if status == 204 else JSONResponse(document, status)

        return answer

    return [
        Route(f"/sandbox/{path}", endpoint(status, handler), methods=[method])
        for method, path, status, handler in _CALLS
    ]


async def _read(request: Request) -> Any:  # noqa: ANN401 - whatever JSON there is
    try:
        return await request.json()
    except (ValueError, RecursionError) as exc:
        raise UsageError("The body is not JSON. Send an object or a list.") from exc


def _is_local(request: Request) -> bool:
    """Whether the request comes from this machine, and no web page elsewhere had a browser send it."""
    client = request.client.host if request.client else ""
    origin = request.headers.get("origin", "http://localhost")
    # A name that was made to point here (DNS rebinding) is in Host.
    host = f"//{request.headers.get('host', '')}"
    try:
        names = (client, urlsplit(origin).hostname, urlsplit(host).hostname)
        return all(is_loopback(name or "") for name in names)
    except ValueError:
        return False


def _list_texts(simulator: Simulator, _body: object) -> list[dict[str, Any]]:
    return [asdict(text) | {"created_at": in_utc(text.created_at)} for text in simulator.texts]


def _list_faults(simulator: Simulator, _body: object) -> list[dict[str, Any]]:
    return [armed.as_json() for armed in simulator.faults]


def _add_faults(simulator: Simulator, body: object) -> list[dict[str, Any]]:
    simulator.fault(*read_faults(body))
    return _list_faults(simulator, None)


def _write(write: Callable[..., Message], body: object) -> dict[str, Any]:
    recipient, number = _pair(body, "content")
    content = body["content"] if isinstance(body, dict) else None
    if not isinstance(content, str):
        raise UsageError("The content of a text must be a string.")
    return write(recipient, content, tracking_number=number).as_json()


def _change_webhooks(simulator: Simulator, body: object) -> dict[str, Any]:
    simulator.webhooks.manner = read_manner(body)
    return asdict(simulator.webhooks.manner)


def _pair(body: object, *more: str) -> tuple[str, str | None]:
    """The recipient and, if it is given, the tracking number."""
    names = {"recipient", *more}
    if not isinstance(body, dict) or not names <= set(body) <= names | {"tracking_number"}:
        wanted = " and ".join(sorted(names))
        raise UsageError(f"Send an object with {wanted}, and tracking_number if you like.")
    return body["recipient"], body.get("tracking_number")


_CALLS: tuple[tuple[str, str, int, Handler], ...] = (
    ("GET", "texts", 200, _list_texts),
    # The conversations stay, as nothing takes a text back.
    ("DELETE", "texts", 204, lambda simulator, _: simulator.texts.clear()),
    ("GET", "faults", 200, _list_faults),
    ("POST", "faults", 201, _add_faults),
    ("DELETE", "faults", 204, lambda simulator, _: simulator.faults.clear()),
    ("POST", "opt-outs", 204, lambda simulator, body: simulator.opt_out(*_pair(body))),
    ("POST", "replies", 201, lambda simulator, body: _write(simulator.receive, body)),
    ("POST", "others", 201, lambda simulator, body: _write(simulator.write, body)),
    ("GET", "webhooks", 200, lambda simulator, _: [asdict(one) for one in simulator.webhooks.told]),
    ("POST", "webhooks", 200, _change_webhooks),
)
