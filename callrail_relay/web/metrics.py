"""Metrics on the private listener."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from callrail_relay.web.auth import Login

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Takes what the caller accepts; answers with the metrics and their content type."""


def metrics_route(scrape: Scrape, login: Login, *, loopback: bool) -> Route:
    """``/metrics``: on loopback without a login, anywhere else with one."""

    async def metrics(request: Request) -> Response:
        if not loopback and login.session(request) is None:
            return PlainTextResponse("Unauthorized", 401)
        content, content_type = await scrape(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": content_type})

    return Route("/metrics", metrics)
