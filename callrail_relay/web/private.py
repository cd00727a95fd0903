"""
The private listener: one page that shows how all stands, and readiness for programs.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callrail_relay.clock import Clock
from callrail_relay.domain.message import Message as TextMessage
from callrail_relay.domain.message import MessageFilter
from callrail_relay.service.health import HealthReport
from callrail_relay.service.operations import Operations, StatusReport
from callrail_relay.web.login import Login

HERE = Path(__file__).parent
SHOWN = 50
SHOWN_CHARACTERS = 500
"""Characters of one text: a held one may have 64 KiB, and `messages show` prints all of them."""

REPORT_AGE = timedelta(minutes=1)
"""How old the answer of /readyz may be: each one asks CallRail, whose requests are counted too."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Examine = Callable[[], Awaitable[HealthReport]]


class PrivatePages:
    """
    What the private listener answers. On loopback ``/readyz`` needs no login; anywhere else it does.
    """

    def __init__(
        self, operations: Operations, examine: Examine, login: Login, clock: Clock, *, loopback: bool
    ) -> None:
        self._operations = operations
        self._examine = examine
        self._login = login
        self._clock = clock
        self._loopback = loopback
        self._lock = asyncio.Lock()
        self._report: tuple[float, HealthReport] | None = None
        templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True)
        templates.filters["local"] = _local
        self._page = templates.get_template("now.html")

    async def login(self, request: Request) -> Response:
        entered = self._login.enter(request)
        if entered is None:
            return PlainTextResponse(
                "This link has been used or is wrong. Start `callrail-relay serve` again for a new one.", 403
            )
        return entered

    async def now(self, request: Request) -> Response:
        if not self._login.knows(request):
            return PlainTextResponse("Open the link that `callrail-relay serve` printed.", 401)
        report = await self._operations.status()
        messages = await self._operations.list_messages(MessageFilter(limit=SHOWN))
        return HTMLResponse(await asyncio.to_thread(self._render, report, messages))

    def _render(self, report: StatusReport, messages: list[TextMessage]) -> str:
        return self._page.render(report=report, messages=messages, shown=SHOWN_CHARACTERS)

    async def readyz(self, request: Request) -> Response:
        if not self._loopback and not self._login.knows(request):
            return PlainTextResponse("Unauthorized", 401)
        report = await self._recent_report()
        return JSONResponse(report.document(), 503 if report.exit_code else 200)

    async def _recent_report(self) -> HealthReport:
        async with self._lock:
            now = self._clock.monotonic()
            if self._report is None or now - self._report[0] >= REPORT_AGE.total_seconds():
                self._report = now, await self._examine()
            return self._report[1]


def _local(instant: datetime | None) -> str:
    return "" if instant is None else instant.astimezone().strftime("%Y-%m-%d %H:%M:%S")


class PrivateGate:
    """
    Refuses requests under a foreign host name or from a foreign page, and adds the headers that keep a
    page to itself.

    A page elsewhere can make a browser ask for a name that leads to loopback (DNS
    rebinding); the Host header gives that away.
    """

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if not _is_own_host(request.headers.get("host", ""), self._host):
            await PlainTextResponse("Misdirected Request", 421)(scope, receive, send)
            return
        if not _is_own_origin(request):
            await PlainTextResponse("Forbidden", 403)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _add_headers(message: MutableMapping[str, Any]) -> None:
    own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    message["headers"] = [*message["headers"], *own]


def _is_own_host(header: str, host: str) -> bool:
    name = header.rpartition(":")[0] if header.rpartition(":")[2].isdigit() else header
    name = name.strip("[]").lower()
    return name in ("localhost", host.lower()) or _is_address(name)


def _is_own_origin(request: Request) -> bool:
    """
    Whether the request comes from no page, as that of a program, or from one of this very listener.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return True
    scheme, _, host = origin.lower().partition("://")
    return scheme in ("http", "https") and host == request.headers.get("host", "").lower()


def _is_address(name: str) -> bool:
    # An address as such cannot be rebound: only names can.
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def create_private_app(pages: PrivatePages, *, host: str, others: Sequence[BaseRoute] = ()) -> Starlette:
    """
    The app of the private listener on *host*, with *others* beside the pages.
    """
    app = Starlette(
        routes=[
            Route("/", pages.now),
            Route("/login", pages.login),
            Route("/readyz", pages.readyz),
            *others,
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(PrivateGate, host=host)],
    )
    # Starlette would send a path with a slash too many elsewhere, where it is to answer 404.
    app.router.redirect_slashes = False
    return app
