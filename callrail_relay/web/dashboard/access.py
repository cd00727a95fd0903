"""The way in and out: the link that is good once, and signing out."""

import hmac

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from callrail_relay.clock import Clock
from callrail_relay.web.auth import COOKIE, Session, set_cookie
from callrail_relay.web.dashboard.frame import Form, Frame, read_form
from callrail_relay.web.public import FailedSecrets

USED = "This link does not work any more."
NEW_LINK = "A link is good once. Run `callrail-relay dashboard` on the relay's computer for a new one."


class Access:
    """*link_secret* lets a program of the relay's own user have a new link."""

    def __init__(self, frame: Frame, clock: Clock, link_secret: str) -> None:
        self._frame = frame
        self._link_secret = link_secret
        self._clock = clock
        self._failed = FailedSecrets()

    async def page(self, request: Request) -> Response:
        """
        The page of a link. It opens nothing: programs that preview a link, or check it, use it up for nobody.
        """
        token = request.query_params.get("token", "")
        if self._frame.login.knows_link(token):
            return self._frame.link_page(token)
        return self._refused(request)

    async def enter(self, request: Request) -> Response:
        """Open a session for the token that the page of a link brings along."""
        session = self._frame.login.enter((await read_form(request)).get("token", ""))
        if session is None:
            return self._refused(request)
        response = RedirectResponse("/", 303)
        set_cookie(response, session)
        return response

    async def link(self, request: Request) -> Response:
        """A new link for whoever has the secret of this run."""
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, f"Bearer {self._link_secret}".encode()):
            return self._refused(request)
        token = self._frame.login.new_token()
        return JSONResponse({"url": str(request.url.replace(path="/login", query=f"token={token}"))})

    def _refused(self, request: Request) -> Response:
        address = request.client.host if request.client else ""
        if self._failed.too_many(address, self._clock.monotonic()):
            return self._frame.plain("Too many wrong links.", "Wait a minute, and try again.", 429)
        return self._frame.plain(USED, NEW_LINK, 403)

    async def end_others(self, request: Request, session: Session, form: Form) -> Response:
        """Sign out every other browser."""
        session = self._frame.login.sign_out_others(session)
        response = await self._frame.done(session, form, "All other browsers are signed out.", back="/setup")
        set_cookie(response, session)
        return response

    async def leave(self, request: Request, session: Session, form: Form) -> Response:
        self._frame.login.sign_out(session)
        response = self._frame.signed_out()
        response.status_code = 200
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response
