"""*One text*: its way as a timeline, the request it came with, and what a person may say of it."""

import json
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.domain.views import RawRequest
from callrail_relay.service.overview import History
from callrail_relay.web.auth import Session
from callrail_relay.web.dashboard.actions import allowed
from callrail_relay.web.dashboard.frame import Frame
from callrail_relay.web.dashboard.timeline import steps


class TextPage:
    def __init__(self, frame: Frame, history: History) -> None:
        self._frame = frame
        self._history = history

    async def show(self, request: Request, session: Session) -> Response:
        """One text; a submission of several shows which they are."""
        found = await self._history.text(request.path_params["id"])
        if len(found) > 1:
            return await self._frame.draw(
                request, session, "submission.html", texts=[one.message for one in found]
            )
        [text] = found
        message = text.message
        complete = None not in (message.recipient, message.text, message.route)
        return await self._frame.draw(
            request,
            session,
            "text.html",
            text=text,
            message=message,
            steps=steps(text),
            verbs=allowed(
                message.status,
                message.source,
                message.reasons,
                complete=complete,
                suppressed=text.history.suppressed,
            ),
        )

    async def raw(self, request: Request, session: Session) -> Response:
        """The request as it came."""
        [text, *_] = await self._history.text(request.path_params["id"])
        raw = text.history.raw
        return await self._frame.draw(
            request,
            session,
            "raw.html",
            message=text.message,
            raw=raw,
            body="" if raw is None else readable(raw),
        )


def readable(raw: RawRequest) -> str:
    """A body for a person to read: JSON in lines, a form field by field, else as it is."""
    body = raw.body.decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        pass
    if (raw.content_type or "").startswith("application/x-www-form-urlencoded"):
        return "\n".join(f"{name} = {value}" for name, value in parse_qsl(body, keep_blank_values=True))
    return body
