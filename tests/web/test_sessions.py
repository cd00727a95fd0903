"""
Sessions, and what is noted of them for the next run of the relay.
"""

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.bootstrap.dashboard_sessions import SessionFile, session_notes
from callrail_relay.bootstrap.installation import find_installation
from callrail_relay.web.sessions import IDLE, LONGEST, NOTED_EVERY, NoNotes, Session, Sessions
from tests.support.clock import ManualClock


@dataclass
class Paper:
    """
    Notes that a test can read.
    """

    text: str = ""
    written: int = 0

    def read(self) -> str:
        return self.text

    def write(self, text: str) -> None:
        self.text = text
        self.written += 1


def restarted(paper: Paper, clock: ManualClock, after: timedelta = timedelta()) -> Sessions:
    """
    What the next run knows, *after* so long.
    """
    clock.advance(after)
    return Sessions(clock, paper)


def found(sessions: Sessions, session: Session) -> Session | None:
    return sessions.find(session.id)


def test_session_outlives_the_relay(clock: ManualClock) -> None:
    """
    Also its forms, which a page that is still open brings along.
    """
    paper = Paper()
    session = Sessions(clock, paper).begin()

    again = found(restarted(paper, clock, IDLE - timedelta(seconds=1)), session)

    assert again is not None
    assert session.csrf == again.csrf


def test_notes_open_no_session(clock: ManualClock) -> None:
    """
    Neither the secret of a browser nor that of its forms is among them.
    """
    paper = Paper()
    sessions = Sessions(clock, paper)
    session = sessions.begin()
    again = restarted(paper, clock)

    assert session.id not in paper.text
    assert session.csrf not in paper.text
    for noted in json.loads(paper.text)[0].values():
        assert again.find(noted) is None
    assert again.find("") is None


def test_session_that_ended_stays_ended(clock: ManualClock) -> None:
    """
    Whoever signed out, whom another browser signed out, and who did nothing for too long.
    """
    paper = Paper()
    sessions = Sessions(clock, paper)
    left, other, kept = sessions.begin(), sessions.begin(), sessions.begin()
    sessions.end(left)
    assert 2 == len(sessions)
    sessions.end_others(kept)

    again = restarted(paper, clock)
    assert found(again, left) is None
    assert found(again, other) is None
    assert found(again, kept) is not None
    assert found(restarted(paper, clock, IDLE), kept) is None


def test_session_ends_some_day_whatever_restarts(clock: ManualClock) -> None:
    paper = Paper()
    sessions = Sessions(clock, paper)
    session = sessions.begin()
    for _ in range(int(LONGEST / timedelta(hours=6))):
        again = found(restarted(paper, clock, timedelta(hours=6) - NOTED_EVERY), session)
        assert again is not None
        sessions = restarted(paper, clock, NOTED_EVERY)
        if (again := found(sessions, session)) is not None:
            sessions.touch(again)

    assert found(sessions, session) is None


def test_it_is_noted_now_and_then_that_somebody_does_something(clock: ManualClock) -> None:
    """
    Not with every page: each is a write to the disk.
    """
    paper = Paper()
    sessions = Sessions(clock, paper)
    session = sessions.begin()
    for _ in range(10):
        clock.advance(NOTED_EVERY / 5)
        sessions.touch(session)

    assert 3 == paper.written


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "[{}]", '[{"mark": "x", "began": "soon", "seen": "now"}]', "null"]
)
def test_notes_that_say_nothing_are_none(clock: ManualClock, text: str) -> None:
    assert 0 == len(restarted(Paper(text), clock))


def test_clock_that_was_set_back_ends_sessions(clock: ManualClock) -> None:
    """
    Else one would last longer than it may.
    """
    paper = Paper()
    session = Sessions(clock, paper).begin()
    clock.set(clock.now() - timedelta(hours=1))

    assert found(restarted(paper, clock), session) is None


def test_notes_are_for_their_owner_and_for_one_listener(tmp_path: Path) -> None:
    """
    Two relays on one directory would let in whom the other signed out.
    """
    path = tmp_path / "sessions.json"
    SessionFile(path, "127.0.0.1:8788").write("of this one")

    assert "of this one" == SessionFile(path, "127.0.0.1:8788").read()
    assert SessionFile(path, "127.0.0.1:8789").read() == ""
    if os.name == "posix":
        assert 0o600 == path.stat().st_mode & 0o777
    path.write_text("no notes", encoding="utf-8")
    assert SessionFile(path, "127.0.0.1:8788").read() == ""
    path.unlink()
    path.mkdir()
    SessionFile(path, "127.0.0.1:8788").write("cannot be written")
    assert SessionFile(path, "127.0.0.1:8788").read() == ""


@pytest.mark.parametrize(("port", "kind"), [(8788, SessionFile), (0, NoNotes)])
def test_any_free_port_is_another_each_time(port: int, kind: type) -> None:
    installation = find_installation(None, must_exist=False, overrides={"dashboard": {"port": port}})

    assert isinstance(session_notes(installation), kind)
