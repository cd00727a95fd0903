"""
Who may look at the private listener: whoever holds a link from the terminal.
"""

import hmac
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.clock import Clock

COOKIE = "callrail_relay_session"

IDLE = timedelta(hours=12)
"""A session ends when nobody did anything in it for so long; a page that updates itself is nobody."""

LONGEST = timedelta(days=7)
"""A session ends after this time in any case."""

LINK_LASTS = timedelta(minutes=10)
"""How long a link is good that was asked for while the relay runs; that of its start is good until used."""

MOST_SESSIONS = 50
MOST_LINKS = 20
MOST_NOTICES = 20

LIVE_HEADER = "x-live"
"""Marks the requests that a page makes by itself."""


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
    One browser that is logged in.

    ``csrf`` stands in every form: a page elsewhere cannot know it. Instants are seconds of a clock that
    nobody sets.
    """

    began: float
    seen: float
    id: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    notices: dict[str, Notice] = field(default_factory=dict)

    def tell(self, notice: Notice) -> str:
        """
        Keep a notice for the next page, and return the name by which that page finds it.
        """
        name = secrets.token_urlsafe(6)
        self.notices[name] = notice
        while len(self.notices) > MOST_NOTICES:
            self.notices.pop(next(iter(self.notices)))
        return name


class Login:
    """
    Links that are good once, and the sessions that they open. All of it ends with the relay.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._links: dict[str, float | None] = {}
        self._sessions: dict[str, Session] = {}
        self.token = self._new_link(None)

    def new_token(self) -> str:
        """
        The token of one more link, good once and for LINK_LASTS.
        """
        return self._new_link(self._clock.monotonic() + LINK_LASTS.total_seconds())

    def _new_link(self, until: float | None) -> str:
        token = secrets.token_urlsafe(32)
        self._links[token] = until
        while len(self._links) > MOST_LINKS:
            self._links.pop(next(iter(self._links)))
        return token

    def knows_link(self, given: str) -> bool:
        """
        Whether a link is good; looking does not use it up.
        """
        return self._find_link(given) is not None

    def enter(self, given: str) -> Session | None:
        """
        A new session for whoever has a good token, None for everybody else; the token is used up.
        """
        token = self._find_link(given)
        if token is None:
            return None
        del self._links[token]
        now = self._clock.monotonic()
        session = Session(began=now, seen=now)
        self._sessions[session.id] = session
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        return session

    def _find_link(self, given: str) -> str | None:
        now = self._clock.monotonic()
        for token in [token for token, until in self._links.items() if until is not None and until <= now]:
            del self._links[token]
        return next((token for token in self._links if _same(given, token)), None)

    def session(self, request: Request, *, by_itself: bool = False) -> Session | None:
        """
        The session that a request belongs to, if it goes on.

        *by_itself* where no person made it, as those do not that a live page makes.
        """
        given = request.cookies.get(COOKIE, "")
        session = next((one for id_, one in self._sessions.items() if _same(given, id_)), None)
        if session is None or not self.goes_on(session):
            return None
        if not by_itself and LIVE_HEADER not in request.headers:
            session.seen = self._clock.monotonic()
        return session

    def goes_on(self, session: Session) -> bool:
        """
        Whether a session has not ended by now.
        """
        now = self._clock.monotonic()
        if now - session.seen >= IDLE.total_seconds() or now - session.began >= LONGEST.total_seconds():
            self.end(session)
        return session.id in self._sessions

    def end(self, session: Session) -> None:
        self._sessions.pop(session.id, None)


def set_cookie(response: Response, session: Session) -> None:
    """
    Hand a browser its session: no script reads it, and no other site's page sends it along.
    """
    response.set_cookie(COOKIE, session.id, httponly=True, samesite="strict", path="/")


def _same(given: str, wanted: str) -> bool:
    """
    Whether two secrets are the same, in a time that does not tell how much of them is.
    """
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())
