"""The dashboard's routes, and the events that tell open pages to look again."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from callrail_relay.clock import Clock
from callrail_relay.domain.mapper import MappingPolicy
from callrail_relay.service.changes import ChangeFeed, ChangeSignal
from callrail_relay.service.intake import Intake
from callrail_relay.service.operations import Operations
from callrail_relay.service.overview import History
from callrail_relay.web.auth import COOKIE, Login, Session, set_cookie
from callrail_relay.web.dashboard.actions import ListActions, TextActions
from callrail_relay.web.dashboard.frame import Examine, Examiner, Form, Frame, read_form
from callrail_relay.web.dashboard.now import NowPage, SeenUrl
from callrail_relay.web.dashboard.setup import SetupPage
from callrail_relay.web.dashboard.text import TextPage
from callrail_relay.web.dashboard.texts import ConversationPage, TextsPage
from callrail_relay.web.public import FailedSecrets

USED = "This link does not work any more."
NEW_LINK = "A link is good once. Run `callrail-relay dashboard` on the relay's computer for a new one."


class Access:
    """*link_secret* lets a program of the relay's own user have a new link."""

    def __init__(self, frame: Frame, clock: Clock, link_secret: str) -> None:
        self._frame = frame
        self._link_secret = link_secret
        self._clock = clock
        self._failed = FailedSecrets()

    async def page(self, request: Request) -> Response:
        """
        The page of a link. It opens nothing: programs that preview a link, or check it, use it up for nobody.
        """
        token = request.query_params.get("token", "")
        if self._frame.login.knows_link(token):
            return self._frame.link_page(token)
        return self._refused(request)

    async def enter(self, request: Request) -> Response:
        """Open a session for the token that the page of a link brings along."""
        session = self._frame.login.enter((await read_form(request)).get("token", ""))
        if session is None:
            return self._refused(request)
        response = RedirectResponse("/", 303)
        set_cookie(response, session)
        return response

    async def link(self, request: Request) -> Response:
        """A new link for whoever has the secret of this run."""
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, f"Bearer {self._link_secret}".encode()):
            return self._refused(request)
        token = self._frame.login.new_token()
        return JSONResponse({"url": str(request.url.replace(path="/login", query=f"token={token}"))})

    def _refused(self, request: Request) -> Response:
        address = request.client.host if request.client else ""
        if self._failed.too_many(address, self._clock.monotonic()):
            return self._frame.plain("Too many wrong links.", "Wait a minute, and try again.", 429)
        return self._frame.plain(USED, NEW_LINK, 403)

    async def end_others(self, request: Request, session: Session, form: Form) -> Response:
        """Sign out every other browser."""
        session = self._frame.login.sign_out_others(session)
        response = await self._frame.done(session, form, "All other browsers are signed out.", back="/setup")
        set_cookie(response, session)
        return response

    async def leave(self, request: Request, session: Session, form: Form) -> Response:
        self._frame.login.sign_out(session)
        response = self._frame.signed_out()
        response.status_code = 200
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response


MOST_STREAMS = 50


class Events:
    """One stream for each page that is open."""

    def __init__(self, feed: ChangeFeed, login: Login) -> None:
        self._feed = feed
        self._login = login
        self._open = 0

    async def stream(self, request: Request) -> Response:
        session = self._login.session(request)
        if session is None:
            return PlainTextResponse("Signed out", 401)
        if self._open >= MOST_STREAMS:
            return PlainTextResponse("Too Many Streams", 503, {"Retry-After": "30"})
        # After a break the page says which version it saw last.
        known = request.headers.get("last-event-id") or request.query_params.get("since", "")
        return StreamingResponse(self._lines(session, known), media_type="text/event-stream")

    async def _lines(self, session: Session, known: str) -> AsyncIterator[str]:
        self._open += 1
        try:
            # Something comes at once, so that the page knows that it is connected.
            yield ": connected\n\n"
            async for version in self._feed.versions(known):
                if not self._login.goes_on(session):
                    yield "event: ended\ndata: signed out\n\n"
                    return
                yield ": still here\n\n" if version == known else _changed(version)
                known = version
        finally:
            self._open -= 1


def _changed(version: str) -> str:
    return f"id: {version}\nevent: changed\ndata: {version}\n\n"


@dataclass(frozen=True, kw_only=True)
class DashboardParts:
    """
    What the dashboard stands on; *read_url* answers with the URL for IF3, and raises SecretError.

    *link_secret* lets a program of the relay's own user ask for a new sign-in link. *sandbox* says that texts
    go to a simulated CallRail.
    """

    operations: Operations
    history: History
    intake: Intake
    mapping: MappingPolicy
    login: Login
    clock: Clock
    examine: Examine
    read_url: Callable[[], Awaitable[str]]
    wake: Callable[[], None]
    signal: ChangeSignal
    link_secret: str
    public_url: SeenUrl = lambda: None
    sandbox: bool = False


class Dashboard:
    """The pages, and what runs behind them while one is open."""

    def __init__(self, parts: DashboardParts) -> None:
        self.login = parts.login
        self.feed = ChangeFeed(parts.signal, parts.history.marker, parts.clock)
        self.examiner = Examiner(parts.examine, parts.clock, parts.signal)
        self._parts = parts
        self._frame = Frame(parts.login, self.feed, parts.history, parts.clock, sandbox=parts.sandbox)

    async def close(self) -> None:
        """End the streams and what runs: a listener that stops waits for them else."""
        await self.feed.close()
        await self.examiner.close()

    def routes(self) -> Sequence[BaseRoute]:
        return [*self._access(), *self._pages(), *self._text(), *self._setup(), *self._lists()]

    def _access(self) -> Sequence[BaseRoute]:
        access = Access(self._frame, self._parts.clock, self._parts.link_secret)
        return [
            _route("/login", access.page),
            _route("/login", access.enter, "POST"),
            _route("/login/links", access.link, "POST"),
            _route("/logout", self._frame.action(access.leave), "POST"),
            _route("/logout/others", self._frame.action(access.end_others), "POST"),
            _route("/events", Events(self.feed, self.login).stream),
        ]

    def _pages(self) -> Sequence[BaseRoute]:
        frame, parts = self._frame, self._parts
        conversation = ConversationPage(frame, parts.history)
        now = NowPage(frame, parts.history, self.examiner, parts.clock, parts.public_url)
        return [
            _route("/", frame.page(now.show)),
            _route("/texts", frame.page(TextsPage(frame, parts.history).show)),
            _route("/people/{recipient}/{tracking_number}", frame.page(conversation.show)),
        ]

    def _text(self) -> Sequence[BaseRoute]:
        frame, parts = self._frame, self._parts
        page = TextPage(frame, parts.history)
        actions = TextActions(frame, parts.operations, parts.history, parts.signal, parts.wake)
        return [
            _route("/texts/{id}", frame.page(page.show)),
            _route("/texts/{id}/request", frame.page(page.raw)),
            _route("/texts/{id}/{verb}", frame.page(actions.ask)),
            _route("/texts/{id}/{verb}", frame.action(actions.act), "POST"),
        ]

    def _setup(self) -> Sequence[BaseRoute]:
        frame, parts = self._frame, self._parts
        page = SetupPage(
            frame, parts.history, self.examiner, parts.intake, parts.mapping, parts.read_url, parts.wake
        )
        return [
            _route("/setup", frame.page(page.show)),
            _route("/setup/url", frame.action(page.reveal), "POST"),
            _route("/setup/check", frame.action(page.check), "POST"),
            _route("/setup/test", frame.action(page.send), "POST"),
        ]

    def _lists(self) -> Sequence[BaseRoute]:
        parts = self._parts
        lists = ListActions(self._frame, parts.operations, parts.signal, parts.wake, self.examiner.outdate)
        acts = {
            "/pause": lists.pause,
            "/resume": lists.resume,
            "/opt-outs": lists.opt_out,
            "/opt-outs/remove": lists.lift,
        }
        return [_route(path, self._frame.action(act), "POST") for path, act in acts.items()]


def _route(path: str, endpoint: Callable[[Request], Awaitable[Response]], method: str = "GET") -> BaseRoute:
    return Route(path, endpoint, methods=[method])
