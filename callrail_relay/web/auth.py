"""Who may use the dashboard: a link works once and opens a session, which is a signed cookie."""

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from dataclasses import astuple, dataclass, replace
from datetime import timedelta

from itsdangerous import BadData, URLSafeSerializer
from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.clock import Clock
from callrail_relay.domain.people import Person
from callrail_relay.service.people import People
from callrail_relay.service.tokens import new_token

COOKIE = "callrail_relay_session"  # and the port: browsers send cookies to all ports of a host
IDLE = timedelta(hours=12)  # an unused session ends; a page that updates itself doesn't count as use
LONGEST = timedelta(days=7)
RENEW_EVERY = timedelta(minutes=5)  # the cookie, while a person works
LINK_LASTS = timedelta(minutes=10)  # of one asked for later; the one from the start works until used
MOST_NOTICES = 200
MOST_SIGNED_OUT = 1000
LIVE_HEADER = "x-live"  # marks the requests that a page makes by itself


@dataclass(frozen=True, slots=True)
class Notice:
    """What to tell a person about the last action, once; *fault* if it wasn't done, *undo* to undo it."""

    words: str
    fault: bool = False
    undo: str | None = None  # the batch of what was decided


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser. *began* and *seen* are seconds since 1970."""

    id: str  # every form contains it, and a page elsewhere can't know it
    began: float
    seen: float
    person: str  # empty if they signed in by a link
    stamp: str  # it ends when the person has another stamp


class Login:
    """Links that work once, and the sessions they open."""

    def __init__(self, clock: Clock, people: People, key: str | None = None) -> None:
        self._clock = clock
        self.people = people
        self._serializer = URLSafeSerializer(
            key or new_token(), salt="callrail-relay session", signer_kwargs={"digest_method": hashlib.sha256}
        )
        self._links: dict[str, float] = {}
        self._signed_out = deque[str](maxlen=MOST_SIGNED_OUT)
        self._notices: OrderedDict[tuple[str, str], Notice] = OrderedDict()
        self.token = self.new_token(timedelta.max)
        self.link_secret = new_token()  # lets a program of the relay's own user have a new link

    def new_token(self, lasts: timedelta = LINK_LASTS) -> str:
        """Return the token of another link, which works once."""
        token = new_token()
        self._links[token] = self._clock.monotonic() + lasts.total_seconds()
        return token

    def end_links(self) -> None:
        """End all links that aren't used yet."""
        self._links = {}

    async def enter(self, given: str, name: str | None = None, password: str = "") -> Session | None:
        """
        Open a session for a good token, which is used up; None for any other.

        A *name* adds a person. Raises UsageError, NotAllowed.
        """
        if (token := self.find_link(given)) is None:
            return None
        links = self._links  # others once all were ended
        until = links.pop(token)  # first: one link makes one person
        person = None
        try:
            person = await (self.people.by_link() if name is None else self.people.add(name, password))
        finally:
            if person is None:
                links[token] = until
        if person is None or links is self._links:
            return person and self.open(person)
        if name is not None:  # all links were ended while the password was hashed
            await self.people.remove(person.name)
        return None

    def open(self, person: Person) -> Session:
        now = self._clock.now().timestamp()
        return Session(secrets.token_urlsafe(16), now, now, person.name, person.stamp)

    def find_link(self, given: str) -> str | None:
        """Return *given* if it's a good link's token; looking doesn't use it up."""
        now = self._clock.monotonic()
        for token in [token for token, until in self._links.items() if until <= now]:
            del self._links[token]
        wanted = given.encode("utf-8", "surrogateescape")
        return next((token for token in self._links if hmac.compare_digest(wanted, token.encode())), None)

    async def session(self, request: Request) -> Session | None:
        """Return the session of a request, if it goes on. Raises Unavailable."""
        try:
            session = Session(*self._serializer.loads(request.cookies.get(cookie_name(request), "")))
        except (BadData, TypeError):  # TypeError: an earlier version signed it
            return None
        return session if await self.goes_on(session) else None

    async def goes_on(self, session: Session) -> bool:
        """Return whether a session hasn't ended. One from the future, by a clock set back, has."""
        now = self._clock.now().timestamp()
        return (
            session.id not in self._signed_out
            and session.began <= session.seen <= now
            and now - session.seen < IDLE.total_seconds()
            and now - session.began < LONGEST.total_seconds()
            and await self.people.admit(session.person, session.stamp)
        )

    def renew(self, request: Request, response: Response, session: Session) -> None:
        """Renew the cookie, unless the page made the request by itself, or it was changed already."""
        now = self._clock.now().timestamp()
        is_due = now - session.seen >= RENEW_EVERY.total_seconds()
        if is_due and LIVE_HEADER not in request.headers and "set-cookie" not in response.headers:
            self.set_cookie(request, response, replace(session, seen=now))

    def set_cookie(self, request: Request, response: Response, session: Session) -> None:
        cookie = self._serializer.dumps(astuple(session))
        response.set_cookie(cookie_name(request), cookie, httponly=True, samesite="strict", path="/")

    def sign_out(self, session: Session) -> None:
        """End a session. A copy of its cookie is refused until the relay restarts."""
        self._signed_out.append(session.id)

    def keep_notice(self, session: Session, notice: Notice) -> str:
        """Keep a notice for the next page, and return the name by which that page finds it."""
        name = secrets.token_urlsafe(6)
        self._notices[session.id, name] = notice
        if len(self._notices) > MOST_NOTICES:
            self._notices.popitem(last=False)
        return name

    def take_notice(self, session: Session, name: str) -> Notice | None:
        return self._notices.pop((session.id, name), None)


def cookie_name(request: Request) -> str:
    """Return the name of the session's cookie, a different one for each port of a host."""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isdecimal() else COOKIE
