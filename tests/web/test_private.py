"""
The private listener: who gets in, and what the page shows.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.service.health import Condition, Finding, HealthReport
from callrail_relay.web.listener import Listener
from callrail_relay.web.login import COOKIE, Login
from callrail_relay.web.private import REPORT_AGE, SHOWN_CHARACTERS, PrivatePages, create_private_app
from tests.service.rig import Rig, open_rig
from tests.support.factories import RECIPIENT, recipient

pytestmark = pytest.mark.anyio

ORIGIN = "http://127.0.0.1:8788"
FORBIDDEN_WORDS = "Open the link"


class Examination:
    """
    Checks whose result a test chooses, and how often they were made.
    """

    def __init__(self) -> None:
        self.condition = Condition.OK
        self.made = 0

    async def __call__(self) -> HealthReport:
        self.made += 1
        code = 8 if self.condition is Condition.FAILED else 0
        finding = Finding(name="store", condition=self.condition, detail="Words.", exit_code=code)
        return HealthReport(findings=(finding,))


class Private:
    """
    The private app of one relay.
    """

    def __init__(self, rig: Rig, *, host: str, loopback: bool) -> None:
        self.login = Login()
        self.examination = Examination()
        pages = PrivatePages(rig.operations, self.examination, self.login, rig.clock, loopback=loopback)
        self.app = create_private_app(pages, host=host)

    @property
    def link(self) -> str:
        return f"/login?token={self.login.token}"

    def client(self, origin: str = ORIGIN) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=origin)


@asynccontextmanager
async def private_rig(
    folder: Path, *, host: str = "127.0.0.1", loopback: bool = True
) -> AsyncIterator[tuple[Rig, Private]]:
    async with open_rig(folder) as rig:
        yield rig, Private(rig, host=host, loopback=loopback)


async def page_of(private: Private) -> str:
    """
    The page after a log-in.
    """
    async with private.client() as client:
        response = await client.get(private.link, follow_redirects=True)
        assert 200 == response.status_code
        return response.text


# --- the way in ------------------------------------------------------------------------------------------


async def test_page_wants_a_login(tmp_path: Path) -> None:
    """
    Without the link nobody sees a text, not even on this machine.
    """
    async with private_rig(tmp_path) as (rig, private), private.client() as client:
        await rig.accept("Secret words")
        for value in (b"", b"x", b"\xe9", private.login.token.encode()):
            response = await client.get("/", headers={b"Cookie": COOKIE.encode() + b"=" + value})
            assert 401 == response.status_code
            assert FORBIDDEN_WORDS in response.text


async def test_link_is_good_once(tmp_path: Path) -> None:
    """
    It opens the page for whoever used it first, and says so to everybody else.
    """
    async with private_rig(tmp_path) as (_, private):
        async with private.client() as first:
            response = await first.get(private.link)
            assert (303, "/") == (response.status_code, response.headers["location"])
            assert 200 == (await first.get("/")).status_code
            assert 200 == (await first.get("/")).status_code
        async with private.client() as second:
            again = await second.get(private.link)
            assert 403 == again.status_code
            assert "has been used" in again.text
            assert "set-cookie" not in again.headers
            assert 401 == (await second.get("/")).status_code


@pytest.mark.parametrize("query", ["", "?token=", "?token=x", "?token=%C3%A9", "?token=%ff"])
async def test_wrong_link_opens_nothing_and_spoils_nothing(tmp_path: Path, query: str) -> None:
    """
    The right one still works afterwards.
    """
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        assert 403 == (await client.get(f"/login{query}")).status_code
        assert 303 == (await client.get(private.link)).status_code


async def test_cookie_is_for_this_browser_alone(tmp_path: Path) -> None:
    """
    No script reads it, no other site sends it, and it is not the token.
    """
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        cookie = (await client.get(private.link)).headers["set-cookie"]

        parts = [part.strip().lower() for part in cookie.split(";")]
        assert {"httponly", "samesite=strict", "path=/"} <= set(parts)
        assert not any(part.startswith("domain=") for part in parts)
        assert private.login.token not in cookie


def test_every_start_has_another_link() -> None:
    """
    256 random bits each.
    """
    assert 10 == len({Login().token for _ in range(10)})
    assert 43 == len(Login().token)


# --- the page --------------------------------------------------------------------------------------------


async def test_texts_are_shown_as_words(tmp_path: Path) -> None:
    """
    A text that is a program stays a text.
    """
    async with private_rig(tmp_path) as (rig, private):
        await rig.accept("<script>alert('x')</script> & \"quotes\"")
        await rig.operations.pause(None, "<b>Holidays</b>")
        page = await page_of(private)

        assert "<script" not in page
        assert "&lt;script&gt;" in page
        assert "<b>" not in page
        assert RECIPIENT in page


async def test_long_text_is_cut_on_the_page(tmp_path: Path) -> None:
    """
    A text of a whole body is held, and would fill the page.
    """
    async with private_rig(tmp_path) as (rig, private):
        await rig.accept("x" * 60_000)
        page = await page_of(private)

        assert "x" * (SHOWN_CHARACTERS - 1) + "…" in page
        assert "x" * SHOWN_CHARACTERS not in page


async def test_page_shows_how_all_stands(tmp_path: Path) -> None:
    """
    In turn: nothing to do, a queue, texts that wait for a person, a pause.
    """
    async with private_rig(tmp_path) as (rig, _):
        pages = []

        async def look() -> None:
            pages.append(await page_of(Private(rig, host="127.0.0.1", loopback=True)))

        await look()
        await rig.accept("Queued", to=recipient(1))
        await look()
        await rig.accept("Held {{name}}", to=recipient(2))
        await look()
        rig.simulator.fault(Fault(Kind.STATUS, status=429, retry_after=600, position=1))
        await rig.work(rig.delivery())
        await look()
        await rig.operations.pause(None, "Holidays.")
        await look()

    assert "nothing waits" in pages[0]
    assert "No texts yet" in pages[0]
    assert "the queue will be empty at" in pages[1]
    assert "1 text waits for a person" in pages[2]
    assert "merge tag" in pages[2]
    assert "Waits until" in pages[3]
    assert "An account is paused" in pages[4]
    assert "Holidays." in pages[4]


async def test_page_shows_when_there_is_room_again(tmp_path: Path) -> None:
    """
    A window that is used up says until when.
    """
    async with private_rig(tmp_path) as (rig, private):
        rig.simulator.spend(149)
        await rig.accept()
        await rig.work(rig.delivery())
        page = await page_of(private)

        assert "150 of 150 this hour" in page
        assert "room again at" in page


@pytest.mark.parametrize("path", ["/", "/login", "/readyz", "/static/style.css", "/nowhere"])
async def test_every_answer_has_the_headers_that_keep_it_to_itself(tmp_path: Path, path: str) -> None:
    """
    No cache, no frame, no script, no address for others.
    """
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        headers = (await client.get(path)).headers

        assert "no-store" == headers["cache-control"]
        assert "no-referrer" == headers["referrer-policy"]
        assert "nosniff" == headers["x-content-type-options"]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


async def test_static_file_is_there(tmp_path: Path) -> None:
    """
    The page's style comes from here, and nothing from elsewhere.
    """
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        style = await client.get("/static/style.css")
        assert 200 == style.status_code
        assert style.headers["content-type"].startswith("text/css")
        for path in ("/static/", "/static/nothing.css", "/static/../private.py", "/static/%2e%2e/private.py"):
            assert 404 == (await client.get(path)).status_code
        page = await page_of(private)

    assert "http://" not in page
    assert "https://" not in page
    assert "<style" not in page
    assert " style=" not in page


@pytest.mark.parametrize("path", ["/", "/login", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_can_be_changed(tmp_path: Path, path: str, method: str) -> None:
    """
    The listener is for looking.
    """
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        assert 405 == (await client.request(method, path)).status_code


# --- the host --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8788", 200),
        ("127.0.0.1", 200),
        ("localhost:8788", 200),
        ("LOCALHOST", 200),
        ("[::1]:8788", 200),
        ("[::1]", 200),
        ("192.0.2.7:8788", 200),
        ("relay.lan:8788", 200),
        ("Relay.LAN", 200),
        ("evil.example.com", 421),
        ("evil.example.com:8788", 421),
        ("127.0.0.1.evil.example.com", 421),
        ("localhost.evil.example.com:8788", 421),
        ("", 421),
        (":8788", 421),
        ("127.0.0.1@evil.example.com", 421),
    ],
)
async def test_foreign_host_name_is_refused(tmp_path: Path, host: str, status: int) -> None:
    """
    A name that leads here without being ours is a page elsewhere that reads along (DNS rebinding).
    """
    async with private_rig(tmp_path, host="relay.lan") as (_, private), private.client() as client:
        response = await client.get("/readyz", headers={"Host": host})

        assert status == response.status_code
        if status == 421:
            assert 421 == (await client.get(private.link, headers={"Host": host})).status_code
            assert 0 == private.examination.made


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8788", 200),
        ("https://127.0.0.1:8788", 200),
        ("HTTP://127.0.0.1:8788", 200),
        ("http://127.0.0.1", 403),
        ("http://127.0.0.1:3000", 403),
        ("http://localhost:8788", 403),
        ("https://evil.example.com", 403),
        ("http://127.0.0.1:8788.evil.example.com", 403),
        ("file://127.0.0.1:8788", 403),
        ("127.0.0.1:8788", 403),
        ("null", 403),
        ("", 403),
    ],
)
async def test_foreign_page_is_refused(tmp_path: Path, origin: str, status: int) -> None:
    """
    What a page elsewhere asks for through a browser of this machine; a program names no origin.
    """
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        response = await client.get("/readyz", headers={"Origin": origin})

        assert status == response.status_code
        if status == 403:
            assert 403 == (await client.get(private.link, headers={"Origin": origin})).status_code
            assert 0 == private.examination.made
        assert 303 == (await client.get(private.link)).status_code


@pytest.mark.parametrize("path", ["/login/", "/readyz/", "/static"])
async def test_no_path_leads_elsewhere(tmp_path: Path, path: str) -> None:
    """
    A slash too many or too few is not found.
    """
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        assert 404 == (await client.get(path)).status_code


# --- readiness -------------------------------------------------------------------------------------------


async def test_readiness_is_for_programs_on_this_machine(tmp_path: Path) -> None:
    """
    The checks of ``doctor`` as JSON, 503 when one failed, and no log-in on loopback.
    """
    async with private_rig(tmp_path) as (rig, private), private.client() as client:
        ready = await client.get("/readyz")
        assert 200 == ready.status_code
        assert {"ok": True, "checks": [{"name": "store", "status": "ok", "detail": "Words."}]} == ready.json()

        private.examination.condition = Condition.WARNING
        rig.clock.advance(REPORT_AGE)
        assert 200 == (await client.get("/readyz")).status_code

        private.examination.condition = Condition.FAILED
        rig.clock.advance(REPORT_AGE)
        failed = await client.get("/readyz")
        assert 503 == failed.status_code
        assert failed.json()["ok"] is False


async def test_readiness_is_examined_once_a_minute(tmp_path: Path) -> None:
    """
    Each look asks CallRail, so a probe every second must not.
    """
    async with private_rig(tmp_path) as (rig, private), private.client() as client:
        for _ in range(5):
            await client.get("/readyz")
        rig.clock.advance(REPORT_AGE - timedelta(seconds=1))
        await client.get("/readyz")
        assert 1 == private.examination.made

        rig.clock.advance(1)
        await client.get("/readyz")
        assert 2 == private.examination.made


async def test_clock_set_back_does_not_freeze_readiness(tmp_path: Path) -> None:
    """
    An answer grows old whatever the wall clock shows.
    """
    async with private_rig(tmp_path) as (rig, private), private.client() as client:
        await client.get("/readyz")
        rig.clock.set(rig.clock.now() - timedelta(days=1))
        rig.clock.advance(REPORT_AGE)
        await client.get("/readyz")

        assert 2 == private.examination.made


async def test_readiness_elsewhere_wants_a_login(tmp_path: Path) -> None:
    """
    On any other address the findings are for whoever has the link.
    """
    async with (
        private_rig(tmp_path, host="0.0.0.0", loopback=False) as (_, private),
        private.client("http://192.0.2.7:8788") as client,
    ):
        response = await client.get("/readyz")
        assert 401 == response.status_code
        assert 0 == private.examination.made

        await client.get(private.link)
        assert 200 == (await client.get("/readyz")).status_code


async def test_page_comes_over_a_socket(tmp_path: Path) -> None:
    """
    The whole way in with a real browser's requests, and a WebSocket handshake that changes nothing.
    """
    async with (
        private_rig(tmp_path) as (rig, private),
        Listener(private.app, host="127.0.0.1", port=0, setting="dashboard.port") as listener,
        httpx.AsyncClient(base_url=listener.url) as client,
    ):
        await rig.accept("Hello")
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        assert 401 == (await client.get("/", headers=upgrade)).status_code
        page = await client.get(private.link, follow_redirects=True)

        assert 200 == page.status_code
        assert "Hello" in page.text
