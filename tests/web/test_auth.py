"""Sessions are signed and not stored: what opens one, what ends it, and what outlives a restart."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.bootstrap.context import load_context
from callrail_relay.bootstrap.dashboard_access import SessionKeyFile, session_key
from callrail_relay.web.auth import COOKIE, IDLE, LIVE_HEADER, RENEW_EVERY, Login, Session, SessionKey
from tests.support.clock import ManualClock


def opened(login: Login) -> Session:
    session = login.enter(login.new_token())
    assert session is not None
    return session


def asking(cookie: str, **headers: str) -> Request:
    pairs = {"cookie": f"{COOKIE}={cookie}"} | headers
    raw = [(name.encode(), value.encode("latin-1")) for name, value in pairs.items()]
    return Request({"type": "http", "headers": raw})


def renewed(login: Login, session: Session, **headers: str) -> str | None:
    response = Response()
    login.renew(asking(session.cookie, **headers), response, session)
    return response.headers.get("set-cookie")


def test_a_session_outlives_the_relay(clock: ManualClock) -> None:
    """So do its forms, on a page that is still open."""
    key = SessionKey()
    session = opened(Login(clock, key))
    clock.advance(IDLE - timedelta(seconds=1))

    again = Login(clock, key).session(asking(session.cookie))

    assert again is not None
    assert session.csrf == again.csrf


@pytest.mark.parametrize("change", ["", "x", ".", "[]", "other key", "cut", "turned"])
def test_only_a_signed_cookie_opens_a_session(clock: ManualClock, change: str) -> None:
    """Neither one that was changed, nor one of another relay."""
    login = Login(clock)
    cookie = opened(login).cookie
    changed = {
        "other key": opened(Login(clock)).cookie,
        "cut": cookie[:-1],
        "turned": cookie.swapcase(),
    }.get(change, change)

    assert login.session(asking(cookie)) is not None
    assert login.session(asking(changed)) is None


def test_signing_out_all_others_replaces_the_key(clock: ManualClock) -> None:
    """The one who does it goes on, in this run and in the next."""
    key = SessionKey()
    login = Login(clock, key)
    mine, other = opened(login), opened(login)

    kept = login.sign_out_others(mine)

    for run in (login, Login(clock, key)):
        assert run.session(asking(kept.cookie)) is not None
        assert run.session(asking(mine.cookie)) is None
        assert run.session(asking(other.cookie)) is None
    assert not login.goes_on(other)


def test_a_copy_of_a_cookie_ends_with_its_session(clock: ManualClock) -> None:
    login = Login(clock)
    session, other = opened(login), opened(login)

    login.sign_out(session)

    assert login.session(asking(session.cookie)) is None
    assert login.session(asking(other.cookie)) is not None


def test_the_cookie_is_renewed_now_and_then_while_a_person_works(clock: ManualClock) -> None:
    """Not by a page that updates itself, and not for a session that ended."""
    login = Login(clock)
    session = opened(login)
    assert renewed(login, session) is None
    clock.advance(RENEW_EVERY)

    assert renewed(login, session, **{LIVE_HEADER: "1"}) is None
    cookie = (renewed(login, session) or "").partition("=")[2].partition(";")[0]
    clock.advance(IDLE - RENEW_EVERY)
    assert login.session(asking(session.cookie)) is None
    assert login.session(asking(cookie)) is not None
    assert renewed(login, session) is None


def test_a_clock_that_was_set_back_ends_sessions(clock: ManualClock) -> None:
    """Otherwise one would last longer than it may."""
    login = Login(clock)
    session = opened(login)
    clock.set(clock.now() - timedelta(hours=1))

    assert login.session(asking(session.cookie)) is None


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    """A directory that cannot be written ends sessions with the relay, and nothing else."""
    path = tmp_path / "dashboard.key"
    key = SessionKeyFile(path).read()

    assert len(key) >= 43
    assert key == SessionKeyFile(path).read()
    assert key != SessionKeyFile(path).replace()
    assert key != SessionKeyFile(path).read()
    if os.name == "posix":
        assert 0o600 == path.stat().st_mode & 0o777
    path.write_bytes(b"\xff")
    assert SessionKeyFile(path).read() == SessionKeyFile(path).read()
    path.unlink()
    path.mkdir()
    assert SessionKeyFile(path).read()


@pytest.mark.parametrize(("port", "kind"), [(8788, SessionKeyFile), (0, SessionKey)])
def test_any_free_port_is_another_each_time(port: int, kind: type) -> None:
    context = load_context(None, must_exist=False, overrides={"dashboard": {"port": port}})

    assert kind is type(session_key(context))
