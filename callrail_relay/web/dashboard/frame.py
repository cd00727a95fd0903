"""What the pages share: their parts, a browser's visit, forms and templates, and the checks behind them."""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.datastructures import URL
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from callrail_relay.bootstrap.editing import Editor
from callrail_relay.clock import Cached, Clock
from callrail_relay.domain.health import Facts
from callrail_relay.domain.printable import printable, shortened
from callrail_relay.domain.shadow import ShadowReport
from callrail_relay.errors import NotFound, RelayError, Unavailable
from callrail_relay.sentences import at, phone, plural, says, when
from callrail_relay.service.background import OneTask
from callrail_relay.service.health import Checks, HealthReport, Remembered, run_checks
from callrail_relay.service.intake import Intake
from callrail_relay.service.operations import Operations
from callrail_relay.service.overview import ChangeFeed, ChangeSignal, History
from callrail_relay.service.setup import Names
from callrail_relay.web.auth import Login, Notice, Session
from callrail_relay.web.dashboard import verbs, words
from callrail_relay.web.dashboard.words import WORDS, say
from callrail_relay.web.public import LARGEST_BODY, read_body

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent.parent / "templates"
STATIC = Path(__file__).parent.parent / "static"

UTF8_MARK = "\ufeff"  # tells spreadsheets how a file is written
LARGEST_FORM = 2_000_000  # bytes of a form of a person who is signed in: a list of 100,000 opt-outs
# How old a result of the checks may be: a page shows an older one with its time, and renews it meanwhile.
FRESH = timedelta(minutes=1)
# How old a result may be when a person asks to check again: each new one takes requests to CallRail.
AGAIN = timedelta(seconds=5)
NAMES_LAST = timedelta(minutes=5)  # how old CallRail's names of numbers may be
NAMES_WITHIN = 3.0  # seconds that a page waits for CallRail to give new ones
KEPT = timedelta(days=1)  # how old a report on shadow mode may be that a page shows
RECENT = timedelta(days=30)  # how long after the relay took over pages still lead to the report


class Examiner(OneTask):
    """The latest result of the checks."""

    def __init__(self, checks: Checks, clock: Clock, made: Callable[[], None]) -> None:
        super().__init__(made)
        self._checks = checks
        self.report = Cached(partial(run_checks, checks), FRESH, clock)
        self.anew = Cached(self._repeat, AGAIN, clock)

    def latest(self) -> Cached[HealthReport]:
        """Return the report; an old one is renewed meanwhile."""
        if self.report.is_old():
            self.begin(self.report.get)
        return self.report

    def expire(self) -> None:
        """Have all checks repeated, also those that ask CallRail: a person changed something."""
        self.anew.expire()
        self._expire_answers()

    async def _repeat(self) -> HealthReport:
        self._expire_answers()
        return await self.report.get()

    def _expire_answers(self) -> None:
        for _, check in self._checks:
            if isinstance(check, Remembered):
                check.expire()
        self.report.expire()


class Comparison(OneTask):
    """The latest report on shadow mode, made when a person asks, because it takes requests to CallRail."""

    def __init__(
        self, make: Callable[[], Awaitable[ShadowReport]], clock: Clock, made: Callable[[], None]
    ) -> None:
        super().__init__(made)
        self._clock = clock
        self._make = make
        self._report: ShadowReport | None = None
        self.fault = ""  # why the last one isn't complete

    def latest(self) -> ShadowReport | None:
        """Return the report; it contains texts and names, so it isn't kept for long."""
        if self._report is not None and self._clock.now() - self._report.until > KEPT:
            self._report = None
        return self._report

    async def renew(self, patience: timedelta) -> None:
        """Return once there's a new one, or after *patience*: then it comes later."""
        await asyncio.wait([self.begin(self._compare)], timeout=patience.total_seconds())

    async def _compare(self) -> None:
        try:
            report = await self._make()
            self.fault = report.fault or ""
            if not self.fault or (former := self.latest()) is None or former.fault:
                self._report = report
        except RelayError as error:
            self.fault = str(error)
        except Exception as error:  # noqa: BLE001 - the page must not say that it compared
            self.fault = say("no_comparison", error=type(error).__name__)


@dataclass(kw_only=True)
class Dashboard:
    operations: Operations
    history: History
    intake: Intake
    login: Login
    clock: Clock
    checks: Checks
    compare: Callable[[], Awaitable[ShadowReport]]
    read_url: Callable[[], Awaitable[str]]  # for IF3; raises SecretError
    facts: Callable[[], Awaitable[Facts]]
    wake: Callable[[], None]  # delivery
    signal: ChangeSignal
    sandbox: bool  # whether texts go to a simulated CallRail
    settings: Editor
    read_names: Callable[[], Awaitable[Names]]  # asks CallRail; raises RelayError

    def __post_init__(self) -> None:
        self.names = Cached(self._ask_for_names, NAMES_LAST, self.clock)
        self.feed = ChangeFeed(self.signal, self.history.marker, self.clock)
        self.examiner = Examiner(self.checks, self.clock, self.signal)
        self.comparison = Comparison(self.compare, self.clock, self.signal)

    async def _ask_for_names(self) -> Names:
        with contextlib.suppress(RelayError, TimeoutError):  # the checks say why
            async with asyncio.timeout(NAMES_WITHIN):
                return await self.read_names()
        return self.names.value or Names()

    async def close(self) -> None:
        """End the streams, checks and comparisons, which a listener would wait for."""
        await self.feed.close()
        await self.examiner.close()
        await self.comparison.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of a signed-in browser, with the form that it posts."""

    dashboard: Dashboard
    request: Request
    session: Session
    form: Mapping[str, str]
    version: str  # of what is shown

    @property
    def who(self) -> str:
        return self.session.person or say("nameless")

    def reason(self, name: str) -> str:
        """Return the reason that a person typed, or the sentence of this name, with theirs."""
        by = say("by", name=self.session.person) if self.session.person else say("by_nameless")
        return self.form.get("reason", "").strip() or say(name, by=by)

    async def draw(self, template: str, status: int = 200, **values: object) -> Response:
        dashboard, request, now = self.dashboard, self.request, self.dashboard.clock.now()
        shadow = await dashboard.history.shadow()
        frame = {
            "version": self.version,
            "now": now,
            "shadow": shadow,
            "has_shadow": shadow.is_on or (shadow.since is not None and now - shadow.since < RECENT),
            "here": _here(request),
            "path": request.url.path,
            "csrf": self.session.id,
            "sandbox": dashboard.sandbox,
        }
        if "for_person" not in values:
            frame["for_person"] = await dashboard.history.for_person()
        notice = dashboard.login.take_notice(self.session, request.query_params.get("said", ""))
        return render(template, status, **frame | {"notice": notice} | values)

    def back(self, words: str, *, to: str = "", fault: bool = False, undo: str | None = None) -> Response:
        """Send the browser back to where the form was, or *to* another page, with a notice."""
        said = self.dashboard.login.keep_notice(self.session, Notice(words, fault, undo))
        address = URL(to or own_address(self.form.get("back", "")))
        return RedirectResponse(address.include_query_params(said=said), 303)


Endpoint = Callable[[Request], Awaitable[Response]]
Page = Callable[[Visit], Awaitable[Response]]


def page(dashboard: Dashboard, show: Page) -> Endpoint:
    """Make an endpoint for a signed-in browser; a form must be from a page of its session."""

    async def endpoint(request: Request) -> Response:
        session = await dashboard.login.session(request)
        posted = request.method == "POST"
        form = await read_form(request, LARGEST_FORM if session else LARGEST_BODY) if posted else {}
        if session is None:
            return await signed_out(dashboard, request, form)
        # Read before what is shown; otherwise a change between the two would go unnoticed.
        version = await dashboard.feed.version()
        visit = Visit(dashboard=dashboard, request=request, session=session, form=form, version=version)
        try:
            if posted and not form:
                response = plain("too_large", 413)
            elif posted and not hmac.compare_digest(form.get("csrf", "").encode(), session.id.encode()):
                response = plain("foreign_form", 403, typed=_typed(form))
            else:
                response = await show(visit)
                if posted:  # it may let any text be sent, and concern every open page
                    dashboard.wake()
                    dashboard.signal()
        except Unavailable:
            raise  # for the app, which answers with `away`
        except RelayError as error:
            missing = isinstance(error, NotFound)
            if posted and not missing:
                response = visit.back(str(error), fault=True)
            else:
                status = 404 if missing else 409
                response = await visit.draw("problem.html", status, missing=missing, words=str(error))
        dashboard.login.renew(request, response, session)
        return response

    return endpoint


def plain(name: str, status: int, **values: object) -> Response:
    """Return a page for a browser that isn't signed in, or when nothing else can be drawn."""
    title, words = WORDS["plain"][name]
    return render("plain.html", status, title=title, words=words.format(**values), **values)


async def away(_request: Request, error: Exception) -> Response:
    return plain("away", 503, why=error)


def later(response: Response, seconds: int) -> Response:
    """Return the page that says there were too many tries, and that they go on in *seconds*."""
    response.status_code = 429
    response.headers["Retry-After"] = str(seconds)
    return response


def csv_file(name: str, content: Iterable[str] | AsyncIterable[str]) -> Response:
    """Return a file to download, which starts with UTF8_MARK."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(content, media_type="text/csv; charset=utf-8", headers=headers)


async def signed_out(
    dashboard: Dashboard, request: Request, form: Mapping[str, str], status: int = 401
) -> Response:
    """Return the page to sign in, or how to get in if nobody has a password; typed input isn't lost."""
    if await dashboard.login.people.all():
        back = own_address(form.get("back", "")) if request.method == "POST" else _here(request)
        return render("login.html", status, form={"back": back}, typed=_typed(form))
    return plain("signed_out", status, typed=_typed(form))


def _typed(form: Mapping[str, str]) -> str:
    return form.get("message") or form.get("list", "")


def render(template: str, status: int = 200, **values: object) -> Response:
    return HTMLResponse(templates().get_template(template).render(values), status)


async def read_form(request: Request, largest: int = LARGEST_BODY) -> dict[str, str]:
    """Return the fields of a posted form; none if it isn't one, or is too large."""
    try:
        body = await read_body(request, largest)
        fields = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=1000)
    except (HTTPException, ClientDisconnect, ValueError):
        return {}
    # A browser writes every line end as CR LF.
    form = {name: value.replace("\r\n", "\n") for name, value in fields}
    # The only field that can have several values: the texts that a person chose.
    return form | {"id": " ".join(value for name, value in fields if name == "id")}


def _here(request: Request) -> str:
    """Return the address of this page, without the name of a notice, which is shown once."""
    url = request.url.remove_query_params("said")
    return f"{url.path}?{url.query}" if url.query else url.path


def own_address(wanted: str, default: str = "/") -> str:
    """Return *wanted* if it's a page of this listener, else *default*."""
    # Browsers take // and /// as the start of another host, a backslash as a slash, and drop controls.
    own = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted
    return wanted if own and wanted.isprintable() else default


def icon(request: Request) -> Response:
    """Return the tab's icon, with how many messages need review."""
    count = min(int("0" + "".join(filter(str.isdecimal, request.query_params.get("n", "")[:6]))), 100)
    svg = templates().get_template("icon.svg").render(count=count)
    return Response(svg, media_type="image/svg+xml")


@cache
def _static_address(name: str) -> str:
    """Return the address of a static file, different for each content, so a browser may keep it for good."""
    return f"/static/{name}?v={hashlib.blake2b((STATIC / name).read_bytes(), digest_size=6).hexdigest()}"


@cache
def templates() -> "Environment":
    # Imported with the first page: a tenth of a second of every start.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - only with a dashboard

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        auto_reload=False,
    )
    environment.filters |= {
        "phone": phone,
        "printable": printable,
        "sentence": words.sentence,
        "says": says,
        "shortened": shortened,
        "brief": words.brief,
        "at": at,
        "time": words.time_tag,
        "when": when,
    }
    environment.globals |= {
        "static": _static_address,
        "verbs": verbs,
        "plural": plural,
        "status_words": words.STATUS_WORDS,
        "status_meanings": words.STATUS_MEANINGS,
        "wording": WORDS,
    }
    return environment
