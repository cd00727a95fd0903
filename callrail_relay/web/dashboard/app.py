"""The dashboard's routes, and the events that tell open pages to look again."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from callrail_relay.clock import Clock
from callrail_relay.domain.mapper import MappingPolicy
from callrail_relay.service.intake import Intake
from callrail_relay.service.operations import Operations
from callrail_relay.service.overview import ChangeFeed, ChangeSignal, History
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
    """Signing in and out. *link_secret* lets a program of the relay's own user have a new link."""

    def __init__(self, frame: Frame, clock: Clock, link_secret: str) -> None:
        self._frame = frame
        self._link_secret = link_secret
        self._clock = clock
        self._failed = FailedSecrets()

    async def page(self, request: Request) -> Response:
        """The page of a link. It opens nothing, so that programs which preview a link don't use it up."""
        token = request.query_params.get("token", "")
        if self._frame.login.knows_link(token):
            return self._frame.link_page(token)
        return self._refused(request)

    async def enter(self, request: Request) -> Response:
        session = self._frame.login.enter((await read_form(request)).get("token", ""))
        if session is None:
            return self._refused(request)
        response = RedirectResponse("/", 303)
        set_cookie(response, session)
        return response

    async def link(self, request: Request) -> Response:
        """A new link, for the secret of this run."""
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
            yield ": connected\n\n"
            async for version in self._feed.versions(known):
                if not self._login.goes_on(session):
                    yield "event: ended\ndata: signed out\n\n"
                    return
                changed = f"id: {version}\nevent: changed\ndata: {version}\n\n"
                yield ": still here\n\n" if version == known else changed
                known = version
        finally:
            self._open -= 1


@dataclass(frozen=True, kw_only=True)
class DashboardParts:
    """
    What the dashboard needs; *read_url* returns the URL for IF3, and raises SecretError.

    *link_secret* lets a program of the relay's own user have a new link. *sandbox* says that texts go to a
    simulated CallRail.
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
    def __init__(self, parts: DashboardParts) -> None:
        self.login = parts.login
        self.feed = ChangeFeed(parts.signal, parts.history.marker, parts.clock)
        self.examiner = Examiner(parts.examine, parts.clock, parts.signal)
        self._parts = parts
        self._frame = Frame(parts.login, self.feed, parts.history, parts.clock, sandbox=parts.sandbox)

    async def close(self) -> None:
        """End the streams and checks, which a listener would wait for."""
        await self.feed.close()
        await self.examiner.close()

    def routes(self) -> Sequence[BaseRoute]:
        frame, parts, history = self._frame, self._parts, self._parts.history
        access = Access(frame, parts.clock, parts.link_secret)
        text = TextPage(frame, history)
        actions = TextActions(frame, parts.operations, parts.signal, parts.wake)
        lists = ListActions(frame, parts.operations, parts.signal, parts.wake, self.examiner.outdate)
        setup = SetupPage(
            frame, history, self.examiner, parts.intake, parts.mapping, parts.read_url, parts.wake
        )
        pages = {
            "/": NowPage(frame, history, self.examiner, parts.clock, parts.public_url).show,
            "/texts": TextsPage(frame, history).show,
            "/people/{recipient}/{tracking_number}": ConversationPage(frame, history).show,
            "/texts/{id}": text.show,
            "/texts/{id}/request": text.raw,
            "/texts/{id}/{verb}": actions.ask,
            "/setup": setup.show,
        }
        forms = {
            "/logout": access.leave,
            "/logout/others": access.end_others,
            "/texts/{id}/{verb}": actions.act,
            "/setup/url": setup.reveal,
            "/setup/check": setup.check,
            "/setup/test": setup.send,
            "/pause": lists.pause,
            "/resume": lists.resume,
            "/opt-outs": lists.opt_out,
            "/opt-outs/remove": lists.lift,
        }
        return [
            Route("/login", access.page, methods=["GET"]),
            Route("/login", access.enter, methods=["POST"]),
            Route("/login/links", access.link, methods=["POST"]),
            Route("/events", Events(self.feed, self.login).stream, methods=["GET"]),
            *(Route(path, frame.page(show), methods=["GET"]) for path, show in pages.items()),
            *(Route(path, frame.action(act), methods=["POST"]) for path, act in forms.items()),
        ]
