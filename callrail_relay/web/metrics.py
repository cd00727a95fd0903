"""
Metrics on the private listener.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callrail_relay.clock import Clock
from callrail_relay.web.login import Login

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Takes what the caller accepts; answers with the metrics and their content type."""

Answered = Callable[[str, int, float], None]
"""Takes which webhook was asked, the status of its answer, and the seconds that it took."""

_HOOKS = {"/hooks/if3/": "if3", "/hooks/callrail/": "callrail"}


def metrics_route(scrape: Scrape, login: Login, *, loopback: bool) -> Route:
    """
    ``/metrics``: on loopback without a login, anywhere else with one.
    """

    async def metrics(request: Request) -> Response:
        if not loopback and login.session(request) is None:
            return PlainTextResponse("Unauthorized", 401)
        content, content_type = await scrape(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": content_type})

    return Route("/metrics", metrics)


class Measured:
    """
    An app whose answers to webhooks are told to *answered*. Of a path only the name of its webhook is told.
    """

    def __init__(self, app: ASGIApp, answered: Answered, clock: Clock) -> None:
        self._app = app
        self._answered = answered
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        hook = next((name for prefix, name in _HOOKS.items() if path.startswith(prefix)), None)
        if hook is None:
            await self._app(scope, receive, send)
            return
        began = self._clock.monotonic()

        async def measured(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                self._answered(hook, message["status"], self._clock.monotonic() - began)

        await self._app(scope, receive, measured)
