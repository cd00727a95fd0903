"""Signing in with a name and a password: who gets in, who is out, and what a flood can't do."""

import asyncio
import hashlib
import json
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from typer.testing import CliRunner, Result

from callrail_relay.cli import app
from callrail_relay.outbox.store import Store
from callrail_relay.service import people
from callrail_relay.service.people import COST, People
from callrail_relay.web.auth import COOKIE
from callrail_relay.web.private import event_lines
from tests.service.rig import Rig
from tests.web.private import SESSION, Private, Visitor, private_rig, visiting
from tests.web.running import running

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse"
TEMPORARY = "temporary password"
WRONG = "The name or password is wrong."


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing that takes no time."""
    monkeypatch.setitem(COST, "n", 2)


async def sign_in(client: httpx2.AsyncClient, name: str, password: str = PASSWORD) -> httpx2.Response:
    return await client.post("/login", data={"name": name, "password": password})


async def is_in(client: httpx2.AsyncClient) -> bool:
    return (await client.get("/texts")).status_code == 200


@asynccontextmanager
async def with_sam(folder: Path) -> AsyncIterator[tuple[Rig, Private, Visitor]]:
    """A relay whose first visitor set the name Sam and a password, by the link."""
    async with private_rig(folder) as (rig, private), private.client() as client:
        form = {"token": private.login.token, "name": "Sam", "password": PASSWORD}
        assert 303 == (await client.post("/login", data=form)).status_code
        yield rig, private, Visitor(client, private)


# --- who gets in -----------------------------------------------------------------------------------------


async def test_the_first_link_may_set_a_name_and_password(tmp_path: Path) -> None:
    """A mistake doesn't use it up; later links don't ask, and a person who skips it can still sign in."""
    async with private_rig(tmp_path) as (_, private), private.client() as client, private.client() as other:
        assert "Your name and a password" in (await client.get(private.link)).text
        for name, password in (("Sam", "short"), ("", PASSWORD), ("\x1b[2J", PASSWORD), ("Sam", "x" * 1001)):
            form = {"token": private.login.token, "name": name, "password": password}
            refused = await client.post("/login", data=form)
            assert 422 == refused.status_code
            assert "Use a " in refused.text
        assert (
            303
            == (await client.post("/login", data=form | {"name": "Sam", "password": PASSWORD})).status_code
        )
        assert "You're signed in as <strong><bdi>Sam</bdi>" in (await client.get("/setup/security")).text
        link = f"/login?token={private.login.new_token()}"
        assert "Your name and a password" not in (await other.get(link)).text
        spent = await other.post("/login", data=form | {"name": "Pat", "password": PASSWORD})
        assert 403 == spent.status_code
        assert WRONG in (await sign_in(other, "Pat")).text


async def test_one_link_makes_one_person(tmp_path: Path) -> None:
    """However many ask at once."""
    async with private_rig(tmp_path) as (_, private):
        form = {"token": private.login.token, "password": PASSWORD}
        async with private.client() as client:
            answers = await asyncio.gather(
                *(client.post("/login", data=form | {"name": name}) for name in ("Sam", "Pat", "Lee"))
            )
        assert 1 == [answer.status_code for answer in answers].count(303)
        assert 1 == len(await private.login.people.all())


async def test_a_link_that_is_ended_while_it_is_used_makes_no_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a reset, while the password is hashed."""
    asked, go_on, hashed = threading.Event(), threading.Event(), people._hash  # noqa: SLF001 - what takes long

    def slow(password: str, like: str) -> str:
        asked.set()
        go_on.wait(60)
        return hashed(password, like)

    monkeypatch.setattr(people, "_hash", slow)
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        form = {"token": private.login.token, "name": "Sam", "password": PASSWORD}
        entering = asyncio.create_task(client.post("/login", data=form))
        await asyncio.to_thread(asked.wait, 60)
        private.login.end_links()
        go_on.set()
        assert 403 == (await entering).status_code
        assert [] == await private.login.people.all()


async def test_who_has_a_password_needs_no_link(tmp_path: Path) -> None:
    """The name may be typed in any way, and the page that was wanted comes after it."""
    async with with_sam(tmp_path) as (_, private, _visitor), private.client() as client:
        asked = await client.get("/texts?status=held")
        assert 401 == asked.status_code
        assert 'name="back" value="/texts?status=held"' in asked.text
        for name in ("Sam", "sam", " SAM ", "\uff33\uff41\uff4d"):
            client.cookies.clear()
            form = {"name": name, "password": PASSWORD, "back": "/texts?status=held"}
            answer = await client.post("/login", data=form)
            assert (303, "/texts?status=held") == (answer.status_code, answer.headers["location"])
            assert await is_in(client)
        outside = await client.post("/login", data=form | {"back": "//evil.example.com"})
        assert "/" == outside.headers["location"]


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("Sam", "correct horsf"),
        ("Sam", PASSWORD.upper()),
        ("Sam", f"{PASSWORD} "),
        ("Sam", ""),
        ("Sam", PASSWORD * 1000),
        ("Pat", PASSWORD),
        ("", PASSWORD),
        ("", ""),
        ("Sam\x00", PASSWORD),
        ("Sam; Pat", PASSWORD),
        ("<script>alert(1)</script>", PASSWORD),
        ("a\u0301" * 5000, PASSWORD),
    ],
)
async def test_no_one_else_gets_in(tmp_path: Path, name: str, password: str) -> None:
    """All get the same sentence, so no one learns who can sign in."""
    async with with_sam(tmp_path) as (_, private, _visitor), private.client() as client:
        answer = await sign_in(client, name, password)
        assert 401 == answer.status_code
        assert WRONG in answer.text
        assert "<script>alert" not in answer.text
        assert SESSION not in answer.cookies
        assert not await is_in(client)


async def test_a_megabyte_is_not_looked_at(tmp_path: Path) -> None:
    async with with_sam(tmp_path) as (_, private, _visitor), private.client() as client:
        for form in ({"name": "x" * 2**20, "password": PASSWORD}, {"name": "Sam", "password": "x" * 2**20}):
            assert 403 == (await client.post("/login", data=form)).status_code
        assert not await is_in(client)


async def test_without_people_the_page_says_how_to_get_a_link(tmp_path: Path) -> None:
    async with visiting(tmp_path) as (_, visitor), visitor.private.client() as client:
        assert "callrail-relay dashboard" in (await client.get("/login")).text
        assert "password" not in (await client.get("/")).text
        assert WRONG in (await sign_in(client, "")).text


async def test_a_page_elsewhere_signs_no_one_in(tmp_path: Path) -> None:
    async with with_sam(tmp_path) as (_, private, _visitor), private.client() as client:
        form = {"name": "Sam", "password": PASSWORD}
        for headers in ({"Origin": "https://evil.example.com"}, {"Sec-Fetch-Site": "cross-site"}):
            assert 403 == (await client.post("/login", data=form, headers=headers)).status_code
        assert (
            421 == (await client.post("/login", data=form, headers={"Host": "evil.example.com"})).status_code
        )
        assert not await is_in(client)


# --- what they can't do ----------------------------------------------------------------------------------


async def test_an_unknown_name_takes_as_long_as_a_wrong_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same work, at its full cost: OWASP's, in a thread of its own, so that nothing else waits."""
    monkeypatch.setitem(COST, "n", 2**15)
    work: list[tuple[object, ...]] = []
    scrypt = hashlib.scrypt

    def noted(password: bytes, **options: Any) -> bytes:  # noqa: ANN401 - hashlib's own
        hashed = scrypt(password, **options)
        cost = tuple(options[name] for name in ("n", "r", "p"))
        work.append((cost, threading.current_thread() is threading.main_thread(), len(hashed)))
        return hashed

    async with with_sam(tmp_path) as (_, private, _visitor), private.client() as client:
        monkeypatch.setattr(hashlib, "scrypt", noted)
        for name in ("Sam", "Pat", "", "x" * 5000):
            assert WRONG in (await sign_in(client, name, "wrong password")).text
        assert [((2**15, 8, 3), False, 64)] * 4 == work


async def test_two_passwords_at_once_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood takes no more memory than two do, and the pages go on meanwhile."""
    running_now, most, go_on = 0, 0, threading.Event()

    def slow(_password: str, _like: str) -> str:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        go_on.wait(60)
        running_now -= 1
        return ""

    async with with_sam(tmp_path) as (_, private, visitor):
        monkeypatch.setattr(people, "_hash", slow)
        sam = People(private.rig.outbox)
        flood = [asyncio.create_task(sam.sign_in(f"Sam {n}", PASSWORD, str(n))) for n in range(40)]
        for _ in range(5):
            await visitor.page("/texts")
        go_on.set()
        assert [None] * 40 == await asyncio.gather(*flood)
        assert 2 == most


async def test_wrong_passwords_have_to_wait(tmp_path: Path) -> None:
    """So has the right one then; but who is signed in stays so, and the link works as ever."""
    async with with_sam(tmp_path) as (rig, private, visitor), private.client() as client:
        for _ in range(5):
            assert 401 == (await sign_in(client, "Sam", "wrong password")).status_code
        for name in ("Sam", "sam"):
            late = await sign_in(client, name)
            assert 429 == late.status_code
            assert "Too many wrong passwords. Try again in 30 seconds." in late.text
            assert "30" == late.headers["Retry-After"]
        assert await is_in(visitor.client)
        assert 303 == (await private.enter(client, private.login.new_token())).status_code
        rig.clock.advance(12.5)
        assert "18" == (await sign_in(client, "Sam")).headers["Retry-After"]
        rig.clock.advance(17.5)
        assert 303 == (await sign_in(client, "Sam")).status_code
        # That it was right is the end of it.
        assert 401 == (await sign_in(client, "Sam", "wrong password")).status_code


async def test_wrong_passwords_in_the_settings_have_to_wait_too(tmp_path: Path) -> None:
    """The page says how long in words, and to programs; nothing that was typed is shown again."""
    async with with_sam(tmp_path) as (rig, _, sam):
        form = {"new_password": "another horse"}
        for _ in range(5):
            wrong = await sam.post("/setup/password", password="wrong password", **form)
            assert 422 == wrong.status_code
            assert "The current password is wrong." in wrong.text
        late = await sam.post("/setup/password", password=PASSWORD, **form)
        assert 429 == late.status_code
        assert "Too many wrong passwords. Try again in 30 seconds." in late.text
        assert "30" == late.headers["Retry-After"]
        assert "horse" not in late.text
        rig.clock.advance(30)
        assert "Password changed" in (await sam.post("/setup/password", password=PASSWORD, **form)).text


async def test_a_wrong_password_at_the_door_keeps_no_one_inside_from_changing_theirs(tmp_path: Path) -> None:
    async with with_sam(tmp_path) as (_, private, visitor), private.client() as client:
        for _ in range(6):
            await sign_in(client, "Sam", "wrong password")
        changed = await visitor.post("/setup/password", password=PASSWORD, new_password="another horse")
        assert "Password changed" in changed.text


@pytest.mark.parametrize("path", ["/setup/people", "/setup/people/remove", "/setup/password"])
async def test_only_a_form_of_this_session_changes_who_gets_in(tmp_path: Path, path: str) -> None:
    async with with_sam(tmp_path) as (_, private, visitor), private.client() as stranger:
        form = {"name": "Sam", "password": PASSWORD, "new_password": TEMPORARY}
        for csrf in ({}, {"csrf": "wrong"}):
            assert 403 == (await visitor.client.post(path, data=form | csrf)).status_code
        assert 401 == (await stranger.post(path, data=form)).status_code
        assert 405 == (await visitor.client.get(path)).status_code
        assert ["Sam"] == [person.name for person in await private.login.people.all()]
        assert 303 == (await sign_in(stranger, "Sam")).status_code


# --- several people --------------------------------------------------------------------------------------


async def test_the_history_says_who_decided(tmp_path: Path) -> None:
    """By the person's own name, also after someone else added them; a pause, too."""
    async with with_sam(tmp_path) as (rig, private, sam), private.client() as client:
        added = await sam.post("/setup/people", name="Pat <b>Lee</b>; Co", password=TEMPORARY)
        assert "Pat &lt;b&gt;Lee&lt;/b&gt;; Co can sign in now" in added.text
        assert 303 == (await sign_in(client, "pat <B>LEE</B>; co", TEMPORARY)).status_code
        pat = Visitor(client, private)
        for visitor, verb, says in ((sam, "approve", "Sam approved it"), (pat, "cancel", "canceled it")):
            id_ = await rig.accept("Held {{name}}")
            await visitor.post(f"/texts/{id_}/{verb}")
            assert says in await sam.page(f"/texts/{id_}")
        [decision] = (await rig.message(id_)).decisions
        assert "Pat <b>Lee</b>; Co" == decision.actor.name
        assert "<b>Lee" not in await sam.page(f"/texts/{id_}")
        await sam.post("/pause")
        assert (await rig.paused_reason() or "").startswith("Paused by Sam. ")


async def test_who_signed_in_by_a_link_can_set_a_name_later(tmp_path: Path) -> None:
    """In the page; from then on it is theirs."""
    async with visiting(tmp_path) as (rig, visitor):
        assert "You signed in with a link" in await visitor.page("/setup/security")
        saved = await visitor.post("/setup/people", name="Sam", password=PASSWORD, me="yes")
        assert "sign in as Sam" in saved.text
        id_ = await rig.accept("Held {{name}}")
        await visitor.post(f"/texts/{id_}/approve")
        assert "Sam approved it" in await visitor.page(f"/texts/{id_}")


async def test_names_are_not_given_twice(tmp_path: Path) -> None:
    """However they are written; what is no name is refused, and nothing is changed."""
    async with with_sam(tmp_path) as (_, private, sam), private.client() as client:
        for name in ("Sam", "SAM", " sam", "\uff33\uff41\uff4d", "", "\u202emaS", "x" * 61, "Sam\x07"):
            refused = await sam.post("/setup/people", name=name, password=TEMPORARY)
            assert 'class="notice bad"' in refused.text
        assert ["Sam"] == [person.name for person in await private.login.people.all()]
        assert 303 == (await sign_in(client, "Sam")).status_code


async def test_a_changed_password_ends_ones_other_sessions(tmp_path: Path) -> None:
    """Not the one that changed it, nor those of others; the former password is good for nothing."""
    async with with_sam(tmp_path) as (_, private, sam), private.client() as other, private.client() as pat:
        await sam.post("/setup/people", name="Pat", password=TEMPORARY)
        await sign_in(other, "Sam")
        await sign_in(pat, "Pat", TEMPORARY)
        for old, new, says in (
            ("wrong password", "another horse", "The current password is wrong."),
            (PASSWORD, "short", "Use a password of 10"),
        ):
            refused = await sam.post("/setup/password", password=old, new_password=new)
            assert says in refused.text
            assert await is_in(other)
        changed = await sam.post("/setup/password", password=PASSWORD, new_password="another horse")
        assert "Password changed" in changed.text
        assert [True, False, True] == [await is_in(client) for client in (sam.client, other, pat)]
        assert 401 == (await sign_in(other, "Sam")).status_code
        assert 303 == (await sign_in(other, "Sam", "another horse")).status_code


async def test_who_is_removed_is_out(tmp_path: Path) -> None:
    """At once, on open pages as well, and also if someone of that name comes later."""
    async with with_sam(tmp_path) as (_, private, sam), private.client() as client:
        await sam.post("/setup/people", name="Pat", password=TEMPORARY)
        await sign_in(client, "Pat", TEMPORARY)
        feed = private.dashboard.feed
        before = await feed.version()
        assert "Removed" in (await sam.post("/setup/people/remove", name="Pat")).text
        assert before != await feed.version()  # so that every open page asks again
        assert not await is_in(client)
        assert 401 == (await client.get("/events")).status_code
        assert 401 == (await sign_in(client, "Pat", TEMPORARY)).status_code
        client.cookies.set(SESSION, "", domain="127.0.0.1")
        await sam.post("/setup/people", name="Pat", password=TEMPORARY)
        assert not await is_in(client)
        assert await is_in(sam.client)


async def test_a_stream_ends_while_the_store_is_away(tmp_path: Path) -> None:
    """The page asks again, and no one is signed out by that."""
    async with with_sam(tmp_path) as (rig, private, sam):
        await sam.page()
        cookie = f"{COOKIE}={sam.client.cookies[SESSION]}".encode()
        session = await private.login.session(Request({"type": "http", "headers": [(b"cookie", cookie)]}))
        assert session is not None
        lines = event_lines(private.dashboard, session, "")
        assert ": connected" in await anext(lines)
        with closing(sqlite3.connect(rig.path)) as connection:
            connection.execute("ALTER TABLE people RENAME TO elsewhere")
            private.dashboard.signal()
            assert [] == [line async for line in lines]
            assert 503 == (await sam.client.get("/texts")).status_code
            assert 503 == (await sam.client.get("/events")).status_code
            connection.execute("ALTER TABLE elsewhere RENAME TO people")
        assert await is_in(sam.client)


async def test_all_nodes_know_the_same_people(tmp_path: Path) -> None:
    """What one changes holds for the other at once."""
    async with with_sam(tmp_path) as (rig, one, sam):
        store = await Store.open(f"sqlite:///{rig.path.as_posix()}", rig.clock)
        other = Private(rig, host="127.0.0.1")
        other.login.people = People(store)
        try:
            async with other.client() as there, one.client() as link:
                assert 303 == (await sign_in(there, "Sam")).status_code
                await one.enter(link, one.login.new_token())
                changed = await sam.post("/setup/password", password=PASSWORD, new_password="another horse")
                assert "Password changed" in changed.text
                assert not await is_in(there)
                assert 303 == (await sign_in(there, "Sam", "another horse")).status_code
                await sam.post("/logout/others")
                assert [True, False, False] == [await is_in(who) for who in (sam.client, there, link)]
        finally:
            await other.dashboard.close()
            await store.close()


# --- the way back ----------------------------------------------------------------------------------------


def reset(*words: str, folder: Path) -> Result:
    environ = {
        "CALLRAIL_RELAY_DATA": str(folder),
        "CALLRAIL_RELAY_DATABASE__URL": f"sqlite:///{(folder / 'relay.db').as_posix()}",
        "COLUMNS": "200",
    }
    return CliRunner(env=environ).invoke(app, ["dashboard", "--reset", *words])


def test_a_reset_lets_one_begin_anew(tmp_path: Path) -> None:
    """While the relay runs, it notices at once; and the webhook's listener has none of all this."""
    with running(tmp_path, deliver=False) as relay, httpx2.Client(base_url=relay.url) as client:
        token = relay.login_url.rpartition("=")[2]
        form = {"token": token, "name": "Sam", "password": PASSWORD}
        assert 303 == client.post("/login", data=form).status_code
        assert 200 == client.get("/").status_code
        public = relay.parts.listening.public_url
        for path in ("/login", "/setup/people", "/setup/password"):
            assert 404 == httpx2.post(f"{public}{path}", data=form).status_code
        asked = reset(folder=tmp_path)
        assert 2 == asked.exit_code
        assert 200 == client.get("/").status_code
        unused = relay.new_link().rpartition("=")[2]

        done = reset("--yes", "--json", folder=tmp_path)

        assert 0 == done.exit_code, done.output
        assert 401 == client.get("/").status_code
        assert 401 == client.post("/login", data={"name": "Sam", "password": PASSWORD}).status_code
        assert 403 == client.post("/login", data={"token": unused}).status_code
        link = json.loads(done.stdout)["url"].rpartition("=")[2]
        assert 303 == client.post("/login", data=form | {"token": link}).status_code
        assert 200 == client.get("/").status_code


def test_a_reset_needs_no_relay_that_runs(tmp_path: Path) -> None:
    """The next one prints a link."""
    with running(tmp_path, deliver=False) as relay:
        relay.call(relay.relay.people.add, "Sam", PASSWORD)

    done = reset("--yes", folder=tmp_path)

    assert 0 == done.exit_code, done.output
    assert "Every browser is signed out." in done.stderr
    assert "callrail-relay serve" in done.stdout
    with running(tmp_path, deliver=False) as relay:
        assert [] == relay.call(relay.relay.people.all)
