"""The simulator for httpx without a socket."""

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from callrail_relay.callrail.simulator.exchange import (
    PATIENCE,
    AbandonedConnection,
    BrokenConnection,
    RefusedConnection,
)


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
