"""What the pages share: their frame, forms and templates, and the checks behind them."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from callrail_relay.clock import Clock
from callrail_relay.domain.printable import printable
from callrail_relay.errors import NotFound, RelayError, Unavailable
from callrail_relay.sentences import plural
from callrail_relay.service.health import HealthReport
from callrail_relay.service.overview import ChangeFeed, History
from callrail_relay.web.auth import Login, Notice, Session
from callrail_relay.web.dashboard import words
from callrail_relay.web.public import BodyTooLarge, read_body

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent.parent / "templates"
STATIC = Path(__file__).parent.parent / "static"

Form = Mapping[str, str]
Page = Callable[[Request, Session], Awaitable[Response]]
Action = Callable[[Request, Session, Form], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Frame:
    """Draws pages and takes their forms. With *sandbox* they say that nothing is real."""

    def __init__(
        self, login: Login, feed: ChangeFeed, history: History, clock: Clock, *, sandbox: bool = False
    ) -> None:
        self.login = login
        self._sandbox = sandbox
        self._feed = feed
        self._history = history
        self._clock = clock

    def page(self, show: Page) -> Endpoint:
        """An endpoint that shows a page to a browser that is signed in."""

        async def endpoint(request: Request) -> Response:
            session = self.login.session(request)
            if session is None:
                return self.signed_out()
            response = await self._answer(request, session, show(request, session))
            self.login.renew(request, response, session)
            return response

        return endpoint

    def action(self, act: Action) -> Endpoint:
        """An endpoint that takes a form of a page of this session, and of no other."""

        async def show(request: Request, session: Session) -> Response:
            form = await read_form(request)
            if hmac.compare_digest(form.get("csrf", "").encode(), session.csrf.encode()):
                return await act(request, session, form)
            return self.plain(
                "This form is not from this session.", "Go back, reload the page, and try again.", 403
            )

        return self.page(show)

    async def _answer(self, request: Request, session: Session, answer: Awaitable[Response]) -> Response:
        try:
            return await answer
        except Unavailable as error:
            return self.plain("The store cannot be reached.", str(error), 503)
        except RelayError as error:
            status, title = (404, "Not found") if isinstance(error, NotFound) else (409, "Not possible now")
            return await self.draw(request, session, "problem.html", status, title=title, words=str(error))

    async def draw(
        self, request: Request, session: Session, template: str, status: int = 200, **values: object
    ) -> Response:
        version = await self._feed.version()
        values["now"] = values.get("now") or self._clock.now()
        if "for_person" not in values:
            values["for_person"] = await self._history.for_person()
        values.setdefault("here", _here(request))
        values["notice"] = self.login.take_notice(session, request.query_params.get("said", ""))
        values |= {
            "csrf": session.csrf,
            "version": version,
            "path": request.url.path,
            "sandbox": self._sandbox,
        }
        return _html(template, status, values)

    def plain(self, title: str, words: str, status: int, **values: object) -> Response:
        """A page for a browser that isn't signed in, or when nothing else can be drawn."""
        return _html(
            "plain.html", status, values | {"title": title, "words": words, "now": self._clock.now()}
        )

    def signed_out(self) -> Response:
        return self.plain(
            "You are signed out.",
            "Run `callrail-relay dashboard` on the relay's computer: it prints a link that opens this page.",
            401,
        )

    def link_page(self, token: str) -> Response:
        """The page of a good link, whose button opens the dashboard."""
        return _html("login.html", 200, {"token": token, "now": self._clock.now()})

    async def done(self, session: Session, form: Form, words: str, *, back: str = "/") -> Response:
        """Send the browser back to where the form was, with a notice."""
        return self._back(session, form, Notice(words), back)

    async def not_done(self, session: Session, form: Form, error: RelayError, *, back: str = "/") -> Response:
        """The same for what could not be done."""
        return self._back(session, form, Notice(str(error), fault=True), back)

    def _back(self, session: Session, form: Form, notice: Notice, default: str) -> Response:
        address, _, fragment = own_address(form.get("back", ""), default).partition("#")
        said = f"{'&' if '?' in address else '?'}said={self.login.tell(session, notice)}"
        return RedirectResponse(address + said + (f"#{fragment}" if fragment else ""), 303)


def _html(template: str, status: int, values: Mapping[str, object]) -> Response:
    return HTMLResponse(_templates().get_template(template).render(values), status)


async def read_form(request: Request) -> Form:
    """The fields of a form that was posted; empty if it is none, or too large."""
    try:
        body = await read_body(request)
        fields = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=50)
    except (BodyTooLarge, ClientDisconnect, ValueError):
        return {}
    # A browser writes every line's end as CR LF.
    return {name: value.replace("\r\n", "\n") for name, value in fields}


def _here(request: Request) -> str:
    """The address of this page, without the name of a notice, which is shown once."""
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "said"]
    return f"{request.url.path}?{urlencode(query)}" if query else request.url.path


def own_address(wanted: str, default: str) -> str:
    """*wanted* if it is a page of this listener, else *default*."""
    # Browsers take // and /// for the beginning of another host, a backslash for a slash, and drop controls.
    own = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    return wanted if own and wanted.isprintable() else default


@cache
def _static_address(name: str) -> str:
    """The address of a static file, another one for each content, so that a browser may keep it for good."""
    return f"/static/{name}?v={hashlib.blake2b((STATIC / name).read_bytes(), digest_size=6).hexdigest()}"


@cache
def _templates() -> "Environment":
    # Imported with the first page: a tenth of a second of every start.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        auto_reload=False,
    )
    environment.filters |= {
        "phone": words.phone,
        "printable": printable,
        "sentence": words.sentence,
        "shortened": words.shortened,
        "brief": words.brief,
        "at": words.at,
        "time": words.time_tag,
        "when": words.when,
        "span": words.span,
    }
    environment.globals |= {
        "static": _static_address,
        "plural": plural,
        "status_words": words.STATUS_WORDS,
        "status_meanings": words.STATUS_MEANINGS,
        "source_words": words.SOURCE_WORDS,
    }
    return environment


REPORT_AGE = timedelta(minutes=1)
"""How old the answer of /readyz may be."""

SHOWN_AGE = timedelta(minutes=1)
"""How old a result may be on a page: an older one is shown with its time, and made again meanwhile."""

Examine = Callable[..., Awaitable[HealthReport]]
"""Makes the checks; with ``anew`` also those that ask CallRail, whose good answers are kept for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A result of the checks, and when it was made, by the time of day and by the monotonic clock."""

    report: HealthReport
    at: datetime
    made: float


class Examiner:
    """The latest result of the checks; *made* is called when one that no page waited for has come."""

    def __init__(self, examine: Examine, clock: Clock, made: Callable[[], None] = lambda: None) -> None:
        self._examine = examine
        self._clock = clock
        self._made = made
        self._lock = asyncio.Lock()
        self._examined: Examined | None = None
        self._task: asyncio.Task[HealthReport] | None = None
        self._outdated = False

    @property
    def is_examining(self) -> bool:
        return self._task is not None

    async def recent(self, oldest: timedelta = REPORT_AGE, *, anew: bool = False) -> HealthReport:
        """A result that is younger than *oldest*."""
        async with self._lock:
            examined = self._examined
            if examined is None or self._outdated or self._is_older(examined, oldest):
                anew, self._outdated = anew or self._outdated, False
                report = await self._examine(anew=anew)
                examined = Examined(report=report, at=self._clock.now(), made=self._clock.monotonic())
                self._examined = examined
            return examined.report

    def latest(self) -> Examined | None:
        """The result, or None if there is none; an old one is renewed meanwhile."""
        examined = self._examined
        if self._task is None and (examined is None or self._outdated or self._is_older(examined, SHOWN_AGE)):
            self._task = asyncio.create_task(self.recent(SHOWN_AGE))
            self._task.add_done_callback(self._renewed)
        return examined

    def outdate(self) -> None:
        """Have the checks made again: a person changed what they are about."""
        self._outdated = True

    def _renewed(self, task: asyncio.Task[HealthReport]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is None:
            self._made()

    def _is_older(self, examined: Examined, span: timedelta) -> bool:
        """By both clocks: one stops while the computer sleeps, and the other may be set."""
        ages = self._clock.monotonic() - examined.made, (self._clock.now() - examined.at).total_seconds()
        return max(map(abs, ages)) >= span.total_seconds()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
