"""
Who may look at the private listener: whoever holds the link from the terminal.
"""

import hmac
import secrets

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

COOKIE = "callrail_relay_session"


class Login:
    """
    A link that is good once, and the one session that it opens, until the relay ends.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)
        self._used = False
        self._session = secrets.token_urlsafe(32)

    def enter(self, request: Request) -> Response | None:
        """
        The way in for whoever has the token, None for everybody else and for the second time.
        """
        given = request.query_params.get("token", "")
        if self._used or not hmac.compare_digest(given.encode(), self.token.encode()):
            return None
        self._used = True
        response = RedirectResponse("/", 303)
        response.set_cookie(COOKIE, self._session, httponly=True, samesite="strict", path="/")
        return response

    def knows(self, request: Request) -> bool:
        """
        Whether the request belongs to the session.
        """
        given = request.cookies.get(COOKIE, "")
        return hmac.compare_digest(given.encode(), self._session.encode())
