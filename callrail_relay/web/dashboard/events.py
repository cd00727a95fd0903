"""Telling a page that something changed, by server-sent events; what it then is, the page asks for itself."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from callrail_relay.service.changes import ChangeFeed
from callrail_relay.web.auth import Login, Session

MOST_STREAMS = 50


class Events:
    """One stream for each page that is open."""

    def __init__(self, feed: ChangeFeed, login: Login) -> None:
        self._feed = feed
        self._login = login
        self._open = 0

    async def stream(self, request: Request) -> Response:
        session = self._login.session(request)
        if session is None:
            return PlainTextResponse("Signed out", 401)
        if self._open >= MOST_STREAMS:
            return PlainTextResponse("Too Many Streams", 503, {"Retry-After": "30"})
        # After a break the page says which version it saw last.
        known = request.headers.get("last-event-id") or request.query_params.get("since", "")
        return StreamingResponse(self._lines(session, known), media_type="text/event-stream")

    async def _lines(self, session: Session, known: str) -> AsyncIterator[str]:
        self._open += 1
        try:
            # Something comes at once, so that the page knows that it is connected.
            yield ": connected\n\n"
            async for version in self._feed.versions(known):
                if not self._login.goes_on(session):
                    yield "event: ended\ndata: signed out\n\n"
                    return
                yield ": still here\n\n" if version == known else _changed(version)
                known = version
        finally:
            self._open -= 1


def _changed(version: str) -> str:
    return f"id: {version}\nevent: changed\ndata: {version}\n\n"
