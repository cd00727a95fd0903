"""The private listener: its gate, signing in, the dashboard's routes and events, metrics and readiness."""

import contextlib
import hmac
import ipaddress
from collections.abc import AsyncIterator, Callable
from functools import partial

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callrail_relay.domain import read_table
from callrail_relay.domain.health import StoreStats
from callrail_relay.domain.people import TooManyTries
from callrail_relay.domain.routing import is_loopback
from callrail_relay.errors import NotAllowed, NotFound, Unavailable, UsageError
from callrail_relay.web.auth import Session, cookie_name
from callrail_relay.web.dashboard import actions, frame, now, review, setup, shadow, texts
from callrail_relay.web.dashboard.frame import STATIC, Dashboard, Visit
from callrail_relay.web.dashboard.words import say
from callrail_relay.web.public import FailedSecrets, client_address, network

HEADERS: dict[str, str] = read_table(__package__, "headers")
CACHE = "no-store"
CACHE_STATIC = "private, max-age=31536000, immutable"  # scripts and style: each content has its own address

# The metrics in a format that the caller accepts, and their content type; None if the store is silent.
Exposition = Callable[[StoreStats | None, str], tuple[bytes, str]]


def private_gate(app: ASGIApp, *, host: str) -> ASGIApp:
    """Refuse foreign host names (DNS rebinding) and foreign pages, and isolate our pages by headers."""

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if not _is_own_host(request.headers.get("host", ""), host):
            await PlainTextResponse("Misdirected Request", 421)(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:  # PostgreSQL has no such texts
            await PlainTextResponse("Bad Request", 400)(scope, receive, send)
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
                MutableHeaders(scope=message).update(own)
            await send(message)

        await app(scope, receive, send_with_headers)

    return gate


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


class Access:
    """Signing in, by a link or by name and password."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._failed = FailedSecrets()

    async def page(self, request: Request) -> Response:
        """Show the page of a link. It opens nothing, so programs that preview a link don't use it up."""
        given = request.query_params.get("token", "")
        token = self._dashboard.login.find_link(given)
        people = await self._dashboard.login.people.all()
        if token is None and (given or not people):
            return await self._refused(request)
        return frame.render("login.html", form={"token": token or ""}, people=people)

    async def enter(self, request: Request) -> Response:
        """Sign in by a link, which may set a first name and password, or with these."""
        form, login = await frame.read_form(request), self._dashboard.login
        token, name, password = (form.get(field, "") for field in ("token", "name", "password"))
        try:
            if token or "name" not in form:
                session = await login.enter(token, form.get("name"), password)
            else:
                person = await login.people.sign_in(name, password, network(client_address(request)))
                if person is None:
                    return frame.render("login.html", 401, form=form, fault=say("wrong"))
                session = login.open(person)
        except TooManyTries as error:
            return frame.later(frame.render("login.html", form=form, fault=error), error.wait)
        except (UsageError, NotAllowed) as error:
            return frame.render("login.html", 422, form=form, fault=error)
        if session is None:
            return await self._refused(request)
        response = RedirectResponse(frame.own_address(form.get("back", "")), 303)
        login.set_cookie(request, response, session)
        return response

    async def link(self, request: Request) -> Response:
        """Return a new link, for the secret of this run."""
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, f"Bearer {self._dashboard.login.link_secret}".encode()):
            return await self._refused(request)
        if "only" in request.query_params:
            self._dashboard.login.end_links()
        token = self._dashboard.login.new_token()
        return JSONResponse({"url": str(request.url.replace(path="/login", query=f"token={token}"))})

    async def _refused(self, request: Request) -> Response:
        """Say that the link doesn't work; or did, for this browser, with the first of two clicks."""
        if await self._dashboard.login.session(request) is not None:
            return RedirectResponse("/", 303)
        if self._failed.too_many(client_address(request), self._dashboard.clock.monotonic()):
            return frame.later(frame.plain("too_many_links", 429), 60)
        return frame.plain("used_link", 403)


async def leave(visit: Visit) -> Response:
    visit.dashboard.login.sign_out(visit.session)
    response = await frame.signed_out(visit.dashboard, visit.request, {}, 200)
    response.delete_cookie(cookie_name(visit.request), httponly=True, samesite="strict")
    return response


async def events(dashboard: Dashboard, request: Request) -> Response:
    """Open the stream of one open page, which tells it to look again."""
    session = await dashboard.login.session(request)
    if session is None:
        return PlainTextResponse("Signed out", 401)
    # After a break, the page says which version it saw last.
    known = request.headers.get("last-event-id") or request.query_params.get("since", "")
    lines, unbuffered = event_lines(dashboard, session, known), {"X-Accel-Buffering": "no"}  # by nginx
    return StreamingResponse(lines, media_type="text/event-stream", headers=unbuffered)


async def event_lines(dashboard: Dashboard, session: Session, known: str) -> AsyncIterator[str]:
    yield ": connected\n\n"
    with contextlib.suppress(Unavailable):  # the page asks again
        async for version in dashboard.feed.versions(known):
            if not await dashboard.login.goes_on(session):
                yield "event: ended\ndata: signed out\n\n"
                return
            changed = f"id: {version}\nevent: changed\ndata: {version}\n\n"
            yield ": still here\n\n" if version == known else changed
            known = version


PAGES: dict[str, frame.Page] = {
    "/": now.show,
    "/review": review.show,
    "/texts": texts.show_all,
    "/texts.csv": texts.download,
    "/people/{recipient}/{tracking_number}": texts.show_conversation,
    "/texts/{id}": texts.show,
    "/texts/{id}/request": texts.show_request,
    "/texts/{id}/edit": actions.show_edit,
    "/texts/{id}/{verb}": actions.ask,
    "/shadow": shadow.show,
    "/shadow.csv": shadow.download,
    "/setup": setup.show,
    "/setup/sending": setup.show_sending,
    "/setup/webhook": setup.show_webhook,
    "/setup/numbers": setup.show_numbers,
    "/setup/opt-outs": setup.show_opt_outs,
    "/setup/opt-outs.csv": setup.download_opt_outs,
    "/setup/alerts": setup.show_alerts,
    "/setup/security": setup.show_security,
}
FORMS: dict[str, frame.Page] = {
    "/logout": leave,
    "/logout/others": setup.end_others,
    "/review": review.act,
    "/undo": actions.undo,
    "/texts/{id}/edit": actions.edit,
    "/texts/{id}/{verb}": actions.act,
    "/setup/save/{form}": setup.save,
    "/shadow": shadow.compare,
    "/setup/url": setup.reveal,
    "/setup/numbers": setup.change_numbers,
    "/setup/opt-outs/import": setup.import_opt_outs,
    "/setup/alerts/channels": setup.change_channels,
    "/setup/alerts/test": setup.try_alerts,
    "/setup/check": setup.check,
    "/setup/test": setup.send,
    "/setup/people": setup.add_person,
    "/setup/people/remove": setup.remove_person,
    "/setup/password": setup.change_password,
    "/pause": actions.pause,
    "/resume": actions.resume,
    "/opt-outs": actions.opt_out,
    "/opt-outs/remove": actions.lift,
}


def create_private_app(dashboard: Dashboard, exposition: Exposition, *, host: str) -> Starlette:
    async def admit(request: Request) -> None:
        """Let any program ask on loopback, anywhere else only one that is signed in. Raises HTTPException."""
        if not is_loopback(host) and await dashboard.login.session(request) is None:
            raise HTTPException(401)

    async def readyz(request: Request) -> Response:
        await admit(request)
        report = await dashboard.examiner.report.get()
        return JSONResponse(report.document(), 503 if report.exit_code else 200)

    async def metrics(request: Request) -> Response:
        await admit(request)
        stats = None
        with contextlib.suppress(Unavailable):
            stats = await dashboard.history.stats(await dashboard.facts())
        content, content_type = exposition(stats, request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": content_type})

    async def missing(_visit: Visit) -> Response:
        raise NotFound(say("no_page"))

    async def not_found(request: Request, _error: Exception) -> Response:
        with contextlib.suppress(Unavailable):
            if request.method == "GET" and await dashboard.login.session(request) is not None:
                return await frame.page(dashboard, missing)(request)
        return frame.plain("no_page", 404)

    async def not_allowed(_request: Request, error: Exception) -> Response:
        response = frame.plain("no_page", 405)
        response.headers.update(getattr(error, "headers", None) or {})  # the methods that are
        return response

    access = Access(dashboard)
    app = Starlette(
        exception_handlers={404: not_found, 405: not_allowed, Unavailable: frame.away},
        routes=[
            Route("/login", access.page, methods=["GET"]),
            Route("/login", access.enter, methods=["POST"]),
            Route("/login/links", access.link, methods=["POST"]),
            Route("/icon.svg", frame.icon, methods=["GET"]),
            Route("/events", partial(events, dashboard), methods=["GET"]),
            *(Route(path, frame.page(dashboard, show), methods=["GET"]) for path, show in PAGES.items()),
            *(Route(path, frame.page(dashboard, act), methods=["POST"]) for path, act in FORMS.items()),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(private_gate, host=host)],
    )
    # Starlette would redirect a path with an extra slash, but it must answer 404.
    app.router.redirect_slashes = False
    return app
