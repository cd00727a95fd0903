"""
The routes under /sandbox: what was taken, what shall go wrong, and what the other person does.

They need no key, so they answer only to this machine.
"""

from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from callrail_relay.callrail.simulator.faults import read_faults
from callrail_relay.callrail.simulator.records import Message, Text
from callrail_relay.callrail.simulator.shapes import in_utc, single_message
from callrail_relay.callrail.simulator.state import Simulator
from callrail_relay.callrail.simulator.webhooks import manner_as_json, read_manner
from callrail_relay.errors import RelayError, UsageError

Handler = Callable[[Simulator, Any], Any]


def routes(simulator: Simulator) -> list[Route]:
    return [
        Route(path, partial(_answer, simulator, handler, status), methods=[method])
        for method, path, status, handler in _CALLS
    ]


async def _answer(simulator: Simulator, handler: Handler, status: int, request: Request) -> Response:
    if not _is_local(request):
        return JSONResponse({"error": "The sandbox is controlled from its own machine only."}, 403)
    try:
        answer = handler(simulator, await _read(request) if request.method == "POST" else None)
        simulator.webhooks.start()
    except RelayError as exc:
        return JSONResponse({"error": str(exc)}, 400)
    return Response(status_code=status) if status == 204 else JSONResponse(answer, status)


async def _read(request: Request) -> Any:  # noqa: ANN401 - whatever JSON there is
    try:
        return await request.json()
    except (ValueError, RecursionError) as exc:
        raise UsageError("The body is not JSON. Send an object or a list.") from exc


def _is_local(request: Request) -> bool:
    """Whether the request comes from this machine, and no web page elsewhere had a browser send it."""
    client = request.client.host if request.client else ""
    origin = request.headers.get("origin", "http://localhost")
    # A name that was made to point here (DNS rebinding) stands in Host.
    host = f"//{request.headers.get('host', '')}"
    try:
        return all(
            _is_loopback(name) for name in (client, urlsplit(origin).hostname, urlsplit(host).hostname)
        )
    except ValueError:
        return False


def _is_loopback(host: str | None) -> bool:
    return host == "localhost" or (host is not None and ip_address(host).is_loopback)


def _list_texts(simulator: Simulator, _body: object) -> list[dict[str, Any]]:
    return [_text(text) for text in simulator.texts]


def _text(text: Text) -> dict[str, Any]:
    return {
        "recipient": text.customer_phone_number,
        "tracking_number": text.tracking_number,
        "company_id": text.company_id,
        "account_id": text.account_id,
        "content": text.content,
        "delivered_content": text.delivered_content,
        "created_at": in_utc(text.created_at),
        "conversation_id": text.conversation_id,
    }


def _clear_texts(simulator: Simulator, _body: object) -> None:
    """Empty the list; the conversations stay, as nothing takes a text back."""
    simulator.texts.clear()


def _list_faults(simulator: Simulator, _body: object) -> list[dict[str, Any]]:
    return [armed.as_json() for armed in simulator.faults.armed]


def _add_faults(simulator: Simulator, body: object) -> list[dict[str, Any]]:
    simulator.fault(*read_faults(body))
    return _list_faults(simulator, None)


def _clear_faults(simulator: Simulator, _body: object) -> None:
    simulator.faults.clear()


def _opt_out(simulator: Simulator, body: object) -> None:
    recipient, number = _pair(body)
    simulator.opt_out(recipient, number)


def _reply(simulator: Simulator, body: object) -> dict[str, Any]:
    return _written(simulator.receive, body)


def _send_by_others(simulator: Simulator, body: object) -> dict[str, Any]:
    return _written(simulator.write, body)


def _written(write: Callable[..., Message], body: object) -> dict[str, Any]:
    recipient, number = _pair(body, "content")
    content = body["content"] if isinstance(body, dict) else None
    if not isinstance(content, str):
        raise UsageError("The content of a text must be a string.")
    return single_message(write(recipient, content, tracking_number=number))


def _list_webhooks(simulator: Simulator, _body: object) -> list[dict[str, Any]]:
    return [telling.as_json() for telling in simulator.webhooks.told]


def _change_webhooks(simulator: Simulator, body: object) -> dict[str, Any]:
    simulator.webhooks.manner = read_manner(body)
    return manner_as_json(simulator.webhooks.manner)


def _pair(body: object, *more: str) -> tuple[str, str | None]:
    """The recipient and, where it is given, the tracking number."""
    names = {"recipient", *more}
    if not isinstance(body, dict) or not names <= set(body) <= names | {"tracking_number"}:
        raise UsageError(
            f"Send an object with {' and '.join(sorted(names))}, and tracking_number if you like."
        )
    return body["recipient"], body.get("tracking_number")


_CALLS: tuple[tuple[str, str, int, Handler], ...] = (
    ("GET", "/sandbox/texts", 200, _list_texts),
    ("DELETE", "/sandbox/texts", 204, _clear_texts),
    ("GET", "/sandbox/faults", 200, _list_faults),
    ("POST", "/sandbox/faults", 201, _add_faults),
    ("DELETE", "/sandbox/faults", 204, _clear_faults),
    ("POST", "/sandbox/opt-outs", 204, _opt_out),
    ("POST", "/sandbox/replies", 201, _reply),
    ("POST", "/sandbox/others", 201, _send_by_others),
    ("GET", "/sandbox/webhooks", 200, _list_webhooks),
    ("POST", "/sandbox/webhooks", 200, _change_webhooks),
)
