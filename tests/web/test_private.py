"""The private listener: who gets in, and what the page shows."""

import re
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from callrail_relay.domain.health import Condition
from callrail_relay.web.auth import IDLE, LINK_LASTS, LIVE_HEADER, LONGEST, Login
from callrail_relay.web.dashboard.frame import FRESH, STATIC, _static_address
from callrail_relay.web.public import MOST_FAILURES
from callrail_relay.web.server import Listener
from tests.web.private import SESSION, private_rig, visiting

pytestmark = pytest.mark.anyio

FORBIDDEN_WORDS = "You&#39;re signed out"


# --- signing in ------------------------------------------------------------------------------------------


async def test_page_wants_a_login(tmp_path: Path) -> None:
    """Without the link no one sees a text, not even on this machine."""
    async with private_rig(tmp_path) as (rig, private), private.client() as client:
        await rig.accept("Secret words")
        for value in (b"", b"x", b"\xe9", private.login.token.encode()):
            response = await client.get("/", headers={b"Cookie": SESSION.encode() + b"=" + value})
            assert 401 == response.status_code
            assert FORBIDDEN_WORDS in response.text


async def test_link_is_good_once(tmp_path: Path) -> None:
    """It opens the page for the first person who uses it, and says so to all others."""
    async with private_rig(tmp_path) as (_, private):
        async with private.client() as first:
            assert 200 == (await first.get(private.link)).status_code
            response = await private.enter(first)
            assert (303, "/") == (response.status_code, response.headers["location"])
            assert 200 == (await first.get("/")).status_code
            assert 200 == (await first.get("/")).status_code
        async with private.client() as second:
            for again in (await second.get(private.link), await private.enter(second)):
                assert 403 == again.status_code
                assert "doesn&#39;t work anymore" in again.text
                assert "set-cookie" not in again.headers
            assert 401 == (await second.get("/")).status_code


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_looking_at_a_link_does_not_use_it_up(tmp_path: Path, method: str) -> None:
    """Chat programs and mail filters fetch every link that they see."""
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        for _ in range(3):
            seen = await client.request(method, private.link)
            assert 200 == seen.status_code
            assert "set-cookie" not in seen.headers
        assert 303 == (await private.enter(client)).status_code


@pytest.mark.parametrize("query", ["", "?token=", "?token=x", "?token=%C3%A9", "?token=%ff"])
async def test_wrong_link_opens_nothing_and_spoils_nothing(tmp_path: Path, query: str) -> None:
    """The right one still works afterwards."""
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        assert 403 == (await client.get(f"/login{query}")).status_code
        assert 403 == (await client.post("/login", content=query[1:])).status_code
        assert 303 == (await private.enter(client)).status_code


async def test_wrong_links_are_limited_and_the_right_one_never(tmp_path: Path) -> None:
    """More than twenty in a minute are not even looked at."""
    async with private_rig(tmp_path) as (rig, private), private.client() as client:
        for _ in range(MOST_FAILURES):
            assert 403 == (await private.enter(client, "wrong")).status_code
        late = await private.enter(client, "wrong")
        assert (429, "60") == (late.status_code, late.headers["Retry-After"])
        assert 429 == (await client.get("/login?token=wrong")).status_code

        async with private.client() as other:
            assert 303 == (await private.enter(other)).status_code
        rig.clock.advance(60)
        assert 403 == (await private.enter(client, "wrong")).status_code


async def test_cookie_is_for_this_browser_alone(tmp_path: Path) -> None:
    """No script reads it, no other site sends it, and it is not the token."""
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        cookie = (await private.enter(client)).headers["set-cookie"]

        parts = [part.strip().lower() for part in cookie.split(";")]
        assert {"httponly", "samesite=strict", "path=/"} <= set(parts)
        assert not any(part.startswith("domain=") for part in parts)
        assert private.login.token not in cookie


async def test_relays_on_several_ports_keep_one_browser_signed_in(tmp_path: Path) -> None:
    """Browsers send a host's cookies to all of its ports."""
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        names = set()
        for port in ("", ":80", ":8788", ":8799"):
            entered = await client.post(
                "/login",
                data={"token": private.login.new_token()},
                headers={"Host": f"127.0.0.1{port}", "Origin": f"http://127.0.0.1{port}"},
            )
            assert 303 == entered.status_code
            names.add(entered.headers["set-cookie"].partition("=")[0])
        assert 4 == len(names)


async def test_link_opens_the_dashboard_again_where_it_was_used(tmp_path: Path) -> None:
    """A second click on its button, or on the link, isn't refused by the first; other browsers are."""
    async with private_rig(tmp_path) as (_, private), private.client() as client, private.client() as other:
        for _ in range(2):
            assert "/" == (await private.enter(client)).headers["location"]
        assert "/" == (await client.get(private.link)).headers["location"]
        assert 403 == (await private.enter(other)).status_code
        assert 403 == (await other.get(private.link)).status_code


@pytest.mark.parametrize("path", ["/texts?search=%00", "/texts/%00", "/people/%00/1", "/login?token=%00"])
async def test_nul_is_in_no_address(tmp_path: Path, path: str) -> None:
    """PostgreSQL takes it in no text."""
    async with visiting(tmp_path) as (_, visitor):
        assert 400 == (await visitor.client.get(path)).status_code


async def test_every_start_has_another_link(tmp_path: Path) -> None:
    """256 random bits each."""
    async with private_rig(tmp_path) as (rig, private):
        tokens = {Login(rig.clock, private.login.people).token for _ in range(10)}
        assert (10, {43}) == (len(tokens), set(map(len, tokens)))


async def test_link_that_was_asked_for_ends_and_that_of_the_start_does_not(tmp_path: Path) -> None:
    """The one of the start may lie in a service's log for a week."""
    async with private_rig(tmp_path) as (rig, private):
        login = private.login
        first, second = login.token, login.new_token()
        assert login.find_link(second)

        rig.clock.advance(LINK_LASTS)

        assert not login.find_link(second)
        assert await login.enter(second) is None
        assert await login.enter(first) is not None


# --- sessions --------------------------------------------------------------------------------------------


async def test_session_ends_when_nobody_does_anything(tmp_path: Path) -> None:
    """A page that updates itself keeps no session alive; a person does."""
    async with visiting(tmp_path) as (rig, visitor):
        rig.clock.advance(IDLE - timedelta(seconds=1))
        await visitor.page("/texts")
        rig.clock.advance(IDLE - timedelta(seconds=1))
        live = await visitor.client.get("/texts", headers={LIVE_HEADER: "1"})
        assert 200 == live.status_code

        rig.clock.advance(1)
        ended = await visitor.client.get("/texts")
        assert 401 == ended.status_code
        assert "callrail-relay dashboard" in ended.text
        assert 401 == (await visitor.client.get("/texts")).status_code


async def test_session_ends_some_day_in_any_case(tmp_path: Path) -> None:
    """However much it is used."""
    async with visiting(tmp_path) as (rig, visitor):
        for _ in range(int(LONGEST / timedelta(hours=6)) - 1):
            rig.clock.advance(timedelta(hours=6))
            await visitor.page()
        rig.clock.advance(timedelta(hours=6))
        assert 401 == (await visitor.client.get("/")).status_code


async def test_signing_out_everywhere_else(tmp_path: Path) -> None:
    """The browser that presses it stays signed in; one that was forgotten somewhere does not."""
    async with visiting(tmp_path) as (_, visitor), visitor.private.client() as other:
        await visitor.private.enter(other, visitor.private.login.new_token())
        assert "Sign out all other browsers" in await visitor.page("/setup/security")
        assert "All other browsers are signed out" in (await visitor.post("/logout/others")).text
        assert 401 == (await other.get("/")).status_code
        assert "Sign out all other browsers" in await visitor.page("/setup/security")


async def test_signing_out_ends_the_session(tmp_path: Path) -> None:
    """Even with a copy of the cookie."""
    async with visiting(tmp_path) as (_, visitor):
        await visitor.page()
        cookie = {"Cookie": f"{SESSION}={visitor.client.cookies[SESSION]}"}
        left = await visitor.post("/logout")
        assert 200 == left.status_code
        assert FORBIDDEN_WORDS in left.text
        assert 401 == (await visitor.client.get("/", headers=cookie)).status_code


async def test_what_was_typed_outlives_the_session(tmp_path: Path) -> None:
    """It can be copied from the page that comes instead."""
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Held {{name}}")
        await visitor.page()
        typed = {"message": "\nTyped & <b>long</b>", "to": "12"}
        assert "<textarea" not in (await visitor.client.get("/logout")).text
        old = await visitor.client.post(f"/texts/{id_}/edit", data={"csrf": "of another", **typed})
        await visitor.post("/logout")
        out = await visitor.post(f"/texts/{id_}/edit", **typed)
        for answer, status in ((old, 403), (out, 401)):
            assert status == answer.status_code
            assert ">\n\nTyped &amp; &lt;b&gt;long&lt;/b&gt;</textarea>" in answer.text
        assert "Held {{name}}" == (await rig.message(id_)).text


@pytest.mark.parametrize("csrf", ["", "wrong", None])
async def test_form_without_the_sessions_own_token_does_nothing(tmp_path: Path, csrf: str | None) -> None:
    """The author of that form has not seen a page of this session."""
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Held {{name}}")
        fields = {} if csrf is None else {"csrf": csrf}
        for path in (
            f"/texts/{id_}/approve",
            "/pause",
            "/opt-outs",
            "/setup/url",
            "/setup/test",
            "/setup/save/limits",
            "/setup/alerts/channels",
            "/logout",
        ):
            assert 403 == (await visitor.client.post(path, data=fields)).status_code
        assert "held" == (await rig.message(id_)).status
        assert await rig.paused_reason() is None


async def test_form_of_another_sites_page_is_refused(tmp_path: Path) -> None:
    """Before anything of it is read, also where the browser names no origin."""
    async with visiting(tmp_path) as (_, visitor):
        await visitor.page()
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "null"},
        ):
            answer = await visitor.client.post("/pause", data={"csrf": visitor.csrf}, headers=headers)
            assert 403 == answer.status_code
        # A link on another page may lead here: it shows, and changes nothing.
        assert 200 == (await visitor.client.get("/", headers={"Sec-Fetch-Site": "cross-site"})).status_code


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/texts",
        "/texts/x",
        "/texts/x/request",
        "/texts/x/resend",
        "/people/2025550122/2025550133",
        "/setup",
        "/setup/sending",
        "/setup/opt-outs.csv",
    ],
)
async def test_every_page_wants_a_login(tmp_path: Path, path: str) -> None:
    """And says in one sentence how to get in."""
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        response = await client.get(path)
        assert 401 == response.status_code
        assert "callrail-relay dashboard" in response.text


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/texts/x/approve",
            "/pause",
            "/resume",
            "/opt-outs",
            "/opt-outs/remove",
            "/setup/url",
            "/setup/check",
        ),
        *("/setup/save/limits", "/setup/numbers", "/setup/opt-outs/import", "/setup/alerts/channels"),
        "/setup/alerts/test",
    ],
)
async def test_every_action_wants_a_login(tmp_path: Path, path: str) -> None:
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        assert 401 == (await client.post(path)).status_code


async def test_stream_wants_a_login(tmp_path: Path) -> None:
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        assert 401 == (await client.get("/events")).status_code


# --- what every answer has -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/login", "/readyz", "/static/style.css", "/nowhere"])
async def test_every_answer_has_the_headers_that_keep_it_to_itself(tmp_path: Path, path: str) -> None:
    """No frame, no script of others, no address for others; and what shows texts is kept by no cache."""
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        headers = (await client.get(path)).headers

        assert "no-store" == headers["cache-control"]
        assert "same-origin" == headers["referrer-policy"]
        assert "nosniff" == headers["x-content-type-options"]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


async def test_static_file_is_there(tmp_path: Path) -> None:
    """The page's style comes from here, and nothing from elsewhere."""
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        style = await client.get("/static/style.css")
        assert 200 == style.status_code
        assert style.headers["content-type"].startswith("text/css")
        for path in ("/static/", "/static/nothing.css", "/static/../private.py", "/static/%2e%2e/private.py"):
            assert 404 == (await client.get(path)).status_code


async def test_static_files_are_kept_until_they_change(tmp_path: Path) -> None:
    """Each content has its own address."""
    async with visiting(tmp_path) as (_, visitor):
        addresses = set(re.findall(r'"(/static/[^"]+)"', await visitor.page()))
        assert 3 == len(addresses)
        fonts = re.findall(r'url\("([^"]+)"\)', (STATIC / "style.css").read_text(encoding="utf-8"))
        assert fonts == [_static_address(font.partition("?")[0]).removeprefix("/static/") for font in fonts]
        assert 3 == len(fonts)
        for address in (*addresses, *(f"/static/{font}" for font in fonts)):
            file = await visitor.client.get(address)
            assert 200 == file.status_code
            assert "immutable" in file.headers["cache-control"]
        gone = await visitor.client.get("/static/nothing.css?v=1")
        assert "no-store" == gone.headers["cache-control"]


async def test_pages_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    """And have no style and no script in them."""
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Hello")
        for path in ("/", "/texts", f"/texts/{id_}", "/setup"):
            page = await visitor.page(path)
            assert "http://" not in page
            # What a person may open in a tab of its own is loaded by no page.
            assert "https://" not in page.replace("https://•", "").replace(
                '<a class="button" href="https://app.', ""
            )
            assert "<style" not in page
            assert " style=" not in page
            assert " on" + "click" not in page
            assert "<script>" not in page


@pytest.mark.parametrize("path", ["/", "/readyz", "/texts", "/events"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_is_changed_by_looking(tmp_path: Path, path: str, method: str) -> None:
    """What changes something has its own address."""
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        answer = await client.request(method, path)
        assert (405, {"GET", "HEAD"}) == (answer.status_code, set(answer.headers["allow"].split(", ")))


# --- the host --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8788", 401),
        ("127.0.0.1", 401),
        ("localhost:8788", 401),
        ("LOCALHOST", 401),
        ("[::1]:8788", 401),
        ("[::1]", 401),
        ("192.0.2.7:8788", 401),
        ("relay.lan:8788", 401),
        ("Relay.LAN", 401),
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
    """A name that leads here without being ours is a page elsewhere; any other only has to sign in."""
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
    """What a page elsewhere asks for through a browser of this machine; a program names no origin."""
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        response = await client.get("/readyz", headers={"Origin": origin})

        assert status == response.status_code
        if status == 403:
            token = {"token": private.login.token}
            assert 403 == (await client.post("/login", data=token, headers={"Origin": origin})).status_code
            assert 0 == private.examination.made
        assert 303 == (await private.enter(client)).status_code


@pytest.mark.parametrize("path", ["/login/", "/readyz/", "/static"])
async def test_no_path_leads_elsewhere(tmp_path: Path, path: str) -> None:
    """A slash too many or too few is not found."""
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        assert 404 == (await client.get(path)).status_code


# --- readiness -------------------------------------------------------------------------------------------


async def test_readiness_is_for_programs_on_this_machine(tmp_path: Path) -> None:
    """The checks of ``doctor`` as JSON, 503 when one failed, and no log-in on loopback."""
    async with private_rig(tmp_path) as (rig, private), private.client() as client:
        ready = await client.get("/readyz")
        assert 200 == ready.status_code
        assert {"ok": True, "checks": [{"name": "store", "status": "ok", "detail": "Words."}]} == ready.json()

        private.examination.condition = Condition.WARNING
        rig.clock.advance(FRESH)
        assert 200 == (await client.get("/readyz")).status_code

        private.examination.condition = Condition.FAILED
        rig.clock.advance(FRESH)
        failed = await client.get("/readyz")
        assert 503 == failed.status_code
        assert failed.json()["ok"] is False


async def test_readiness_is_examined_once_a_minute(tmp_path: Path) -> None:
    """Each look asks CallRail, so a probe every second must not."""
    async with private_rig(tmp_path) as (rig, private), private.client() as client:
        for _ in range(5):
            await client.get("/readyz")
        rig.clock.advance(FRESH - timedelta(seconds=1))
        await client.get("/readyz")
        assert 1 == private.examination.made

        rig.clock.advance(1)
        await client.get("/readyz")
        assert 2 == private.examination.made


async def test_clock_set_back_does_not_freeze_readiness(tmp_path: Path) -> None:
    """An answer grows old whatever the wall clock shows."""
    async with private_rig(tmp_path) as (rig, private), private.client() as client:
        await client.get("/readyz")
        rig.clock.set(rig.clock.now() - timedelta(days=1))
        rig.clock.advance(FRESH)
        await client.get("/readyz")

        assert 2 == private.examination.made


async def test_readiness_elsewhere_wants_a_login(tmp_path: Path) -> None:
    """On any other address the findings are for people with the link."""
    async with (
        private_rig(tmp_path, host="0.0.0.0") as (_, private),
        private.client("http://192.0.2.7:8788") as client,
    ):
        response = await client.get("/readyz")
        assert 401 == response.status_code
        assert 0 == private.examination.made

        await private.enter(client)
        assert 200 == (await client.get("/readyz")).status_code


async def test_page_comes_over_a_socket(tmp_path: Path) -> None:
    """The whole way in with a real browser's requests, and a WebSocket handshake that changes nothing."""
    async with (
        private_rig(tmp_path) as (rig, private),
        Listener(private.app, host="127.0.0.1", port=0, setting="dashboard.port") as listener,
        httpx2.AsyncClient(base_url=listener.url) as client,
    ):
        await rig.accept("Hello")
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        assert 401 == (await client.get("/", headers=upgrade)).status_code
        await private.enter(client)
        page = await client.get("/texts")

        assert 200 == page.status_code
        assert "Hello" in page.text
