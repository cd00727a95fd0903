"""The dashboard's routes, and the events that tell open pages to look again."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from callrail_relay.clock import Clock
from callrail_relay.domain.mapper import MappingPolicy
from callrail_relay.service.changes import ChangeFeed, ChangeSignal
from callrail_relay.service.intake import Intake
from callrail_relay.service.operations import Operations
from callrail_relay.service.overview import History
from callrail_relay.web.auth import Login, Session
from callrail_relay.web.dashboard.access import Access
from callrail_relay.web.dashboard.actions import ListActions, TextActions
from callrail_relay.web.dashboard.frame import Examine, Examiner, Frame
from callrail_relay.web.dashboard.now import NowPage, SeenUrl
from callrail_relay.web.dashboard.setup import SetupPage
from callrail_relay.web.dashboard.text import TextPage
from callrail_relay.web.dashboard.texts import ConversationPage, TextsPage

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
