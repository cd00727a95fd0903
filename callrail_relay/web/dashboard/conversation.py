"""*Conversation*: what went out to a person and what came back."""

from collections.abc import Sequence
from datetime import date, datetime
from itertools import groupby

from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.domain.phone import BadPhone, normalise
from callrail_relay.domain.views import Utterance
from callrail_relay.errors import NotFound
from callrail_relay.service.overview import History
from callrail_relay.web.auth import Session
from callrail_relay.web.dashboard.frame import Frame


class ConversationPage:
    def __init__(self, frame: Frame, history: History) -> None:
        self._frame = frame
        self._history = history

    async def show(self, request: Request, session: Session) -> Response:
        recipient = _number(request.path_params["recipient"])
        tracking_number = _number(request.path_params["tracking_number"])
        before = _instant(request.query_params.get("before", ""))
        conversation = await self._history.conversation(tracking_number, recipient, before)
        if not conversation.utterances:
            raise NotFound("There is no text to this person from this number.")
        return await self._frame.draw(
            request,
            session,
            "conversation.html",
            conversation=conversation,
            days=by_day(conversation.utterances),
            address=request.url.path,
            older=None if conversation.older is None else conversation.older.isoformat(),
        )


def by_day(utterances: Sequence[Utterance]) -> list[tuple[date, list[Utterance]]]:
    """The bubbles of each day, by this machine's clock."""
    days = groupby(utterances, key=lambda one: one.at.astimezone().date())
    return [(day, list(ones)) for day, ones in days]


def _number(raw: str) -> str:
    try:
        return normalise(raw)
    except BadPhone as exc:
        raise NotFound("There is no such conversation.") from exc


def _instant(raw: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(raw)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None
