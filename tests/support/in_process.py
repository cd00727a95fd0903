"""The simulator without a socket."""

from dataclasses import replace

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callrail_relay.callrail.simulator import Simulator, create_app
from callrail_relay.callrail.simulator.connection import WAIT, BrokenConnection, RefusedConnection


class InProcessTransport(httpx.AsyncBaseTransport):
    """
    Calls the simulator in process and raises what a client meets over a socket.

    A refused connection is a ConnectError, an answer later than the request's read time-out a
    ReadTimeout, and any other broken one a RemoteProtocolError. Time passes on the simulator's
    clock alone: a request that is not held up by a fault takes none.
    """

    def __init__(self, simulator: Simulator, app: ASGIApp | None = None) -> None:
        self._clock = simulator.clock
        self._app = app or create_app(simulator)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        patience = request.extensions.get("timeout", {}).get("read")
        abandoned = False

        async def wait(seconds: float) -> None:
            nonlocal abandoned
            abandoned = patience is not None and seconds >= patience
            await self._clock.sleep(patience if abandoned else seconds)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_on(message: Message) -> None:
                if abandoned:
                    raise BrokenConnection
                await send(message)

            await self._app({**scope, "extensions": {WAIT: wait}}, receive, send_on)

        try:
            return await httpx.ASGITransport(app).handle_async_request(request)
        except BrokenConnection as exc:
            if abandoned:
                raise httpx.ReadTimeout("no answer in time", request=request) from exc
            if isinstance(exc, RefusedConnection):
                raise httpx.ConnectError("connection refused", request=request) from exc
            raise httpx.RemoteProtocolError("connection closed by the server", request=request) from exc


def change_tracker(simulator: Simulator, tracker_id: str, **changes: object) -> None:
    """Change a tracker of the simulator: its ``status``, or whether it can text."""
    simulator.trackers[tracker_id] = replace(simulator.trackers[tracker_id], **changes)  # type: ignore[arg-type]  # its fields
