"""
Who may look at the private listener: whoever holds a link from the terminal.
"""

import hmac
import secrets
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.clock import Clock
from callrail_relay.web.sessions import NoNotes, Notes, Session, Sessions

COOKIE = "callrail_relay_session"

LINK_LASTS = timedelta(minutes=10)
"""How long a link is good that was asked for while the relay runs; that of its start is good until used."""

MOST_LINKS = 20

LIVE_HEADER = "x-live"
"""Marks the requests that a page makes by itself."""


class Login:
    """
    Links that are good once and end with the relay, and the sessions that they open.
    """

    def __init__(self, clock: Clock, notes: Notes | None = None) -> None:
        self.sessions = Sessions(clock, notes or NoNotes())
        self._clock = clock
        self._links: dict[str, float | None] = {}
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
        return self.sessions.begin()

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
        session = self.sessions.find(request.cookies.get(COOKIE, ""))
        if session is not None and not by_itself and LIVE_HEADER not in request.headers:
            self.sessions.touch(session)
        return session


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
