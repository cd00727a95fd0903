"""Sessions are signed and not stored: what opens one, what ends it, and what outlives a restart."""

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from itsdangerous import URLSafeSerializer
from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.bootstrap.context import load_context
from callrail_relay.bootstrap.credentials import KEY_FILE, session_key
from callrail_relay.outbox.store import Store
from callrail_relay.service.people import People
from callrail_relay.web.auth import COOKIE, IDLE, LIVE_HEADER, RENEW_EVERY, Login, Session
from tests.support.clock import ManualClock
from tests.support.stores import new_sqlite_store

pytestmark = pytest.mark.anyio

KEY = "key of one node"


@pytest.fixture
async def people(tmp_path: Path, clock: ManualClock) -> AsyncIterator[People]:
    store = await Store.open(new_sqlite_store(tmp_path / "relay.db"), clock)
    yield People(store)
    await store.close()


async def opened(login: Login) -> Session:
    session = await login.enter(login.new_token())
    assert session is not None
    return session


def asking(cookie: str, **headers: str) -> Request:
    pairs = {"cookie": f"{COOKIE}={cookie}"} | headers
    raw = [(name.encode(), value.encode("latin-1")) for name, value in pairs.items()]
    return Request({"type": "http", "headers": raw})


def cookie_of(login: Login, session: Session) -> str:
    response = Response()
    login.set_cookie(asking(""), response, session)
    return str(response.headers["set-cookie"]).partition("=")[2].partition(";")[0]


def renewed(login: Login, session: Session, **headers: str) -> str | None:
    response = Response()
    login.renew(asking(cookie_of(login, session), **headers), response, session)
    return response.headers.get("set-cookie")


async def test_a_session_outlives_the_relay(clock: ManualClock, people: People) -> None:
    """So do its forms, on a page that is still open."""
    login = Login(clock, people, KEY)
    session = await opened(login)
    clock.advance(IDLE - timedelta(seconds=1))

    again = await Login(clock, people, KEY).session(asking(cookie_of(login, session)))

    assert session == again


@pytest.mark.parametrize("change", ["", "x", ".", "[]", "other key", "cut", "turned", "earlier version"])
async def test_only_a_signed_cookie_opens_a_session(clock: ManualClock, people: People, change: str) -> None:
    """Neither one that was changed, nor one of another relay."""
    login = Login(clock, people, KEY)
    session, another = await opened(login), Login(clock, people)
    cookie = cookie_of(login, session)
    serializer = URLSafeSerializer(
        KEY, salt="callrail-relay session", signer_kwargs={"digest_method": hashlib.sha256}
    )
    assert session.id == serializer.loads(cookie)[0]
    changed = {
        "other key": cookie_of(another, await opened(another)),
        "cut": cookie[:-1],
        "turned": cookie.swapcase(),
        "earlier version": serializer.dumps([session.id, session.began, session.seen]),
    }.get(change, change)

    assert await login.session(asking(cookie)) is not None
    assert await login.session(asking(changed)) is None


async def test_signing_out_all_others_ends_their_sessions(clock: ManualClock, people: People) -> None:
    """The one who does it goes on, in this run and in the next; the others end on every node."""
    login, node = Login(clock, people, KEY), Login(clock, people, "key of another node")
    mine, other, elsewhere = await opened(login), await opened(login), await opened(node)

    kept = replace(mine, stamp=await login.people.end_sessions())

    for run in (login, Login(clock, people, KEY)):
        assert await run.session(asking(cookie_of(login, kept))) is not None
        assert await run.session(asking(cookie_of(login, mine))) is None
        assert await run.session(asking(cookie_of(login, other))) is None
    assert not await login.goes_on(other)
    assert await node.session(asking(cookie_of(node, elsewhere))) is None


async def test_a_copy_of_a_cookie_ends_with_its_session(clock: ManualClock, people: People) -> None:
    login = Login(clock, people)
    session, other = await opened(login), await opened(login)

    login.sign_out(session)

    assert await login.session(asking(cookie_of(login, session))) is None
    assert await login.session(asking(cookie_of(login, other))) is not None


async def test_the_cookie_is_renewed_now_and_then_while_a_person_works(
    clock: ManualClock, people: People
) -> None:
    """Not by a page that updates itself, and not over one that the answer sets or takes away."""
    login = Login(clock, people)
    session = await opened(login)
    assert renewed(login, session) is None
    clock.advance(RENEW_EVERY)

    assert renewed(login, session, **{LIVE_HEADER: "1"}) is None
    leaving = Response()
    leaving.delete_cookie(COOKIE)
    login.renew(asking(cookie_of(login, session)), leaving, session)
    assert ["Max-Age=0" in value for value in leaving.headers.getlist("set-cookie")] == [True]
    cookie = (renewed(login, session) or "").partition("=")[2].partition(";")[0]
    clock.advance(IDLE - RENEW_EVERY)
    assert await login.session(asking(cookie_of(login, session))) is None
    assert await login.session(asking(cookie)) is not None


async def test_a_clock_that_was_set_back_ends_sessions(clock: ManualClock, people: People) -> None:
    """Otherwise one would last longer than it may."""
    login = Login(clock, people)
    session = await opened(login)
    clock.set(clock.now() - timedelta(hours=1))

    assert await login.session(asking(cookie_of(login, session))) is None


def test_the_key_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that cannot be written ends sessions with the relay, and nothing else."""
    monkeypatch.setenv("CALLRAIL_RELAY_DATA", str(tmp_path))
    context, path = load_context(None, must_exist=False), tmp_path / KEY_FILE
    key = session_key(context)

    assert len(key) >= 43
    assert key == session_key(context)
    if os.name == "posix":
        assert 0o600 == path.stat().st_mode & 0o777
    path.write_bytes(b"\xff")
    assert key != session_key(context) == session_key(context)
    path.unlink()
    path.mkdir()
    assert session_key(context) != session_key(context)


@pytest.mark.parametrize(("port", "stays"), [(8788, True), (0, False)])
def test_any_free_port_is_another_each_time(port: int, stays: bool) -> None:  # noqa: FBT001 - a case
    context = load_context(None, must_exist=False, overrides={"dashboard": {"port": port}})

    assert stays is (session_key(context) == session_key(context))
