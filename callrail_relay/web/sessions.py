"""
Who is signed in: sessions end by themselves, and outlive the relay.
"""

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from callrail_relay.clock import Clock

IDLE = timedelta(hours=12)
"""A session ends when nobody did anything in it for so long; a page that updates itself is nobody."""

LONGEST = timedelta(days=7)
"""A session ends after this time in any case."""

NOTED_EVERY = timedelta(minutes=5)
"""How often it is noted that somebody does something; after a restart a session may end so much earlier."""

MOST_SESSIONS = 50
MOST_NOTICES = 20


class Notes(Protocol):
    """
    Where sessions are noted, so that another run of the relay knows them.
    """

    def read(self) -> str:
        """
        What was written last; empty where nothing was, or nothing can be read.
        """

    def write(self, text: str) -> None:
        """
        Keep *text* in place of what there was, as far as that is possible.
        """


class NoNotes:
    """
    Nowhere: then sessions end with the relay.
    """

    def read(self) -> str:
        return ""

    def write(self, text: str) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Notice:
    """
    What to tell a person about the last action, once; *fault* where it was not done.
    """

    words: str
    fault: bool = False


@dataclass(slots=True, kw_only=True)
class Session:
    """
    One browser that is signed in. Instants are seconds of a clock that nobody sets.

    ``mark`` stands for the secret ``id``, which only the browser keeps: it is known here once the browser
    showed it to this run.
    """

    mark: str
    began: float
    seen: float
    noted: float
    id: str = ""
    notices: dict[str, Notice] = field(default_factory=dict)

    @property
    def csrf(self) -> str:
        """
        Stands in every form: a page elsewhere cannot know it.
        """
        return hmac.new(self.id.encode(), b"form", "sha256").hexdigest()

    def tell(self, notice: Notice) -> str:
        """
        Keep a notice for the next page, and return the name by which that page finds it.
        """
        name = secrets.token_urlsafe(6)
        self.notices[name] = notice
        while len(self.notices) > MOST_NOTICES:
            self.notices.pop(next(iter(self.notices)))
        return name


class Sessions:
    """
    The sessions of all browsers. What is noted of them opens none.
    """

    def __init__(self, clock: Clock, notes: Notes) -> None:
        self._clock = clock
        self._notes = notes
        self._sessions = {session.mark: session for session in self._noted()}

    def __len__(self) -> int:
        return len([session for session in [*self._sessions.values()] if self.goes_on(session)])

    def begin(self) -> Session:
        """
        A new session; where there are too many the oldest one makes room.
        """
        now = self._clock.monotonic()
        id_ = secrets.token_urlsafe(32)
        session = Session(id=id_, mark=_mark(id_), began=now, seen=now, noted=now)
        self._sessions[session.mark] = session
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        self._note()
        return session

    def find(self, given: str) -> Session | None:
        """
        The session whose id is *given*, if it goes on.
        """
        # Found by its mark: how long that takes tells nothing of the id.
        session = self._sessions.get(_mark(given))
        if session is None or not self.goes_on(session):
            return None
        session.id = given
        return session

    def touch(self, session: Session) -> None:
        """
        Somebody does something in it.
        """
        session.seen = self._clock.monotonic()
        if session.seen - session.noted >= NOTED_EVERY.total_seconds():
            self._note()

    def goes_on(self, session: Session) -> bool:
        """
        Whether a session has not ended by now.
        """
        now = self._clock.monotonic()
        if now - session.seen >= IDLE.total_seconds() or now - session.began >= LONGEST.total_seconds():
            self.end(session)
        return session.mark in self._sessions

    def end(self, session: Session) -> None:
        if self._sessions.pop(session.mark, None) is not None:
            self._note()

    def end_others(self, session: Session) -> None:
        """
        Sign out every browser but that of *session*.
        """
        self._sessions = {session.mark: session}
        self._note()

    def _note(self) -> None:
        now, seconds = self._clock.now(), self._clock.monotonic()
        rows = []
        for session in self._sessions.values():
            session.noted = session.seen
            began, seen = (now - timedelta(seconds=seconds - at) for at in (session.began, session.seen))
            rows.append({"mark": session.mark, "began": began.isoformat(), "seen": seen.isoformat()})
        self._notes.write(json.dumps(rows))

    def _noted(self) -> list[Session]:
        """
        The sessions that another run noted; none where that cannot be read.
        """
        now, seconds = self._clock.now(), self._clock.monotonic()

        def at(noted: str) -> float:
            age = (now - datetime.fromisoformat(noted)).total_seconds()
            if age < 0:
                # The clock was set back: how old this is cannot be told.
                raise ValueError(noted)
            return seconds - age

        try:
            return [
                Session(mark=row["mark"], began=at(row["began"]), seen=at(row["seen"]), noted=at(row["seen"]))
                for row in json.loads(self._notes.read() or "[]")
            ]
        except (ValueError, TypeError, KeyError):
            return []


def _mark(id_: str) -> str:
    return hashlib.sha256(id_.encode("utf-8", "surrogateescape")).hexdigest()
