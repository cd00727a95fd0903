"""The simulator as an ASGI app."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from callrail_relay.callrail.simulator import api, control
from callrail_relay.callrail.simulator.connection import FaultyConnection
from callrail_relay.callrail.simulator.state import Simulator

_WORDS: Mapping[int, str] = {404: "Not found", 405: "Method not allowed"}


def create_app(simulator: Simulator) -> Starlette:
    """CallRail's API under /v3 and the sandbox's own routes under /sandbox, over one state."""
    return Starlette(
        routes=[*api.routes(simulator), *control.routes(simulator)],
        middleware=[Middleware(FaultyConnection, simulator=simulator)],
        exception_handlers={status: _answer(words) for status, words in _WORDS.items()},
    )


def _answer(words: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)  # noqa: S101 - what starlette raises for a status
        return JSONResponse({"error": words}, exc.status_code, exc.headers)

    return answer
