"""The private listener: the dashboard's gate, ``/metrics`` and ``/readyz``."""

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callrail_relay.web.auth import Login
from callrail_relay.web.dashboard.app import Dashboard

HERE = Path(__file__).parent

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    # Without any referrer a browser would name no origin with a form, so that it could not be checked.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CACHE = "no-store"
CACHE_STATIC = "private, max-age=31536000, immutable"
"""Scripts and style have another address for each content."""


class PrivateGate:
    """Refuses foreign host names (DNS rebinding) and foreign pages, and isolates our pages by headers."""

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if not _is_own_host(request.headers.get("host", ""), self._host):
            await PlainTextResponse("Misdirected Request", 421)(scope, receive, send)
            return
        changes = request.method not in ("GET", "HEAD")
        foreign = request.headers.get("sec-fetch-site", "same-origin") != "same-origin"
        if not _is_own_origin(request) or (changes and foreign):
            await PlainTextResponse("Forbidden", 403)(scope, receive, send)
            return
        static = request.url.path.startswith("/static/") and "v" in request.query_params

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = static and message["status"] == 200
                own = HEADERS | {"Cache-Control": CACHE_STATIC if kept else CACHE}
                added = [(name.lower().encode(), value.encode()) for name, value in own.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _is_own_host(header: str, host: str) -> bool:
    before, _, port = header.rpartition(":")
    name = (before if port.isdigit() else header).strip("[]").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in ("localhost", host.lower())
    # Only names can be rebound.
    return True


def _is_own_origin(request: Request) -> bool:
    """Whether the request comes from no page, or from one of this listener."""
    origin = request.headers.get("origin")
    if origin is None:
        return True
    scheme, _, host = origin.lower().partition("://")
    return scheme in ("http", "https") and host == request.headers.get("host", "").lower()


def create_private_app(
    dashboard: Dashboard, *, host: str, loopback: bool, others: Sequence[BaseRoute] = ()
) -> Starlette:
    """The app of the private listener on *host*, with *others* beside the pages."""

    async def readyz(_request: Request) -> Response:
        report = await dashboard.examiner.recent()
        return JSONResponse(report.document(), 503 if report.exit_code else 200)

    app = Starlette(
        routes=[
            *dashboard.routes(),
            _monitored("/readyz", readyz, dashboard.login, loopback=loopback),
            *others,
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(PrivateGate, host=host)],
    )
    # Starlette would send a path with a slash too many elsewhere, where it is to answer 404.
    app.router.redirect_slashes = False
    return app


def _monitored(
    path: str, answer: Callable[[Request], Awaitable[Response]], login: Login, *, loopback: bool
) -> Route:
    """A route for programs: on loopback without a login, anywhere else with one."""

    async def endpoint(request: Request) -> Response:
        if loopback or login.session(request) is not None:
            return await answer(request)
        return PlainTextResponse("Unauthorized", 401)

    return Route(path, endpoint)


Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Takes what the caller accepts; answers with the metrics and their content type."""


def metrics_route(scrape: Scrape, login: Login, *, loopback: bool) -> Route:
    async def metrics(request: Request) -> Response:
        content, content_type = await scrape(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": content_type})

    return _monitored("/metrics", metrics, login, loopback=loopback)
