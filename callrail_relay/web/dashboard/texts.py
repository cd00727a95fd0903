"""The pages of texts and of one conversation."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import groupby
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.domain.message import Status
from callrail_relay.domain.phone import BadPhone, normalise
from callrail_relay.domain.views import ChatMessage, TextFilter
from callrail_relay.errors import NotFound
from callrail_relay.service.overview import History
from callrail_relay.web.auth import Session
from callrail_relay.web.dashboard.frame import Frame

FIELDS = ("status", "search", "person", "day", "opportunity", "sender")
MOST_WORDS = 8
LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The form as it was filled in, its filter, and what could not be understood."""

    fields: Mapping[str, str]
    wanted: TextFilter
    faults: tuple[str, ...] = ()

    @property
    def narrowed(self) -> bool:
        return any(self.fields.values())

    def address(self, **changes: object) -> str:
        """The address of this page with some fields changed."""
        fields: dict[str, object] = {**self.fields, **changes}
        given = {name: value for name, value in fields.items() if value not in (None, "")}
        return f"/texts?{urlencode(given)}" if given else "/texts"


class TextsPage:
    def __init__(self, frame: Frame, history: History) -> None:
        self._frame = frame
        self._history = history

    async def show(self, request: Request, session: Session) -> Response:
        asked = read_filter(request.query_params)
        page = await self._history.page(asked.wanted)
        return await self._frame.draw(
            request, session, "texts.html", asked=asked, page=page, statuses=list(Status)
        )


def read_filter(query: Mapping[str, str]) -> Asked:
    """Read the fields of the form. One that can't be understood is left out, and named."""
    fields = {name: query.get(name, "").strip()[:LONGEST] for name in FIELDS}
    faults: list[str] = []
    recipient, name = _person(fields["person"])
    since, until = _day(fields["day"], faults)
    before = query.get("before", "")
    wanted = TextFilter(
        statuses=_statuses(fields["status"], faults),
        recipient=recipient,
        name=name,
        opportunity_id=fields["opportunity"] or None,
        sender_id=fields["sender"] or None,
        since=since,
        until=until,
        words=tuple(fields["search"].split()[:MOST_WORDS]),
        before=int(before) if re.fullmatch("[0-9]{1,18}", before) else None,
    )
    return Asked(fields=fields, wanted=wanted, faults=tuple(faults))


def _statuses(name: str, faults: list[str]) -> tuple[Status, ...]:
    if not name:
        return ()
    try:
        return (Status(name),)
    except ValueError:
        faults.append(f"There is no status “{name}”.")
        return ()


def _person(given: str) -> tuple[str | None, str | None]:
    """A person's number, or a part of the name."""
    try:
        return normalise(given), None
    except BadPhone:
        return None, given or None


def _day(given: str, faults: list[str]) -> tuple[datetime | None, datetime | None]:
    if not given:
        return None, None
    try:
        # From midnight to midnight by this machine's clock.
        day = date.fromisoformat(given)
        first, last = (datetime.combine(one, time()) for one in (day, day + timedelta(days=1)))
        return first.astimezone(), last.astimezone()
    except (ValueError, OverflowError):
        faults.append(f"“{given}” isn't a date. Write it as 2026-11-23.")
        return None, None


class ConversationPage:
    def __init__(self, frame: Frame, history: History) -> None:
        self._frame = frame
        self._history = history

    async def show(self, request: Request, session: Session) -> Response:
        recipient = _number(request.path_params["recipient"])
        tracking_number = _number(request.path_params["tracking_number"])
        before = _instant(request.query_params.get("before", ""))
        conversation = await self._history.conversation(tracking_number, recipient, before)
        if not conversation.messages:
            raise NotFound("There is no text to this person from this number.")
        return await self._frame.draw(
            request,
            session,
            "conversation.html",
            conversation=conversation,
            days=by_day(conversation.messages),
            address=request.url.path,
            older=None if conversation.older is None else conversation.older.isoformat(),
        )


def by_day(messages: Sequence[ChatMessage]) -> list[tuple[date, list[ChatMessage]]]:
    """The bubbles of each day, by this machine's clock."""
    days = groupby(messages, key=lambda one: one.at.astimezone().date())
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
