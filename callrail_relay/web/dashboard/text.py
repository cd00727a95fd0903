"""The page of one text, and its timeline."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.domain.message import OPEN, Attempt, Message, Reason, Status, Verb
from callrail_relay.domain.outcome import OutcomeKind, Sent
from callrail_relay.domain.views import RawRequest
from callrail_relay.sentences import plural
from callrail_relay.service.overview import History, OneText
from callrail_relay.web.auth import Session
from callrail_relay.web.dashboard.actions import allowed
from callrail_relay.web.dashboard.frame import Frame
from callrail_relay.web.dashboard.words import SOURCE_WORDS, STATUS_WORDS, phone

OUTCOMES = {
    OutcomeKind.SENT: ("sent", "Accepted by CallRail"),
    OutcomeKind.NOT_SENT: ("queued", "CallRail wasn't reached, so nothing was sent"),
    OutcomeKind.REJECTED: ("failed", "Rejected by CallRail"),
    OutcomeKind.RATE_LIMITED: ("queued", "CallRail asked to wait"),
    OutcomeKind.UNKNOWN: ("unknown", "No confirmation from CallRail"),
}

DECISIONS = {
    Verb.APPROVE: "approved it",
    Verb.CANCEL: "canceled it",
    Verb.RESEND: "sent it again",
    Verb.MARK_SENT: "marked it as sent",
    Verb.REMAP: "retried it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a text's way. Of what is ahead ``at`` is when at the latest, or None."""

    icon: str
    title: str
    at: datetime | None = None
    details: tuple[str | Reason, ...] = ()
    ahead: bool = False


def steps(text: OneText) -> list[Step]:
    """All steps that a text has gone, by time, and then what is ahead of it."""
    gone = [*_arrival(text), *_decisions(text), *_attempts(text.message)]
    gone.sort(key=lambda step: step.at or text.message.received_at)
    return [*gone, *_standing(text), *_ahead(text)]


def _arrival(text: OneText) -> Iterator[Step]:
    message = text.message
    yield Step(icon="arrived", title=f"Received {SOURCE_WORDS[message.source]}", at=message.received_at)
    if message.route is None or message.recipient is None or message.text is None:
        return
    parts = len(message.segments)
    size = "" if parts < 2 else f", {plural(parts, 'part')}"
    yield Step(
        icon="mapped",
        title=f"To {phone(message.recipient)} from {phone(message.route.tracking_number)}{size}",
        at=message.received_at,
    )


def _decisions(text: OneText) -> Iterator[Step]:
    for decision in text.message.decisions:
        details = [decision.actor.note] if decision.actor.note else []
        if decision.overridden:
            details.append(f"Overridden: {_codes(decision.overridden)}.")
        title = f"{decision.actor.name} {DECISIONS[decision.verb]}"
        title = title[:1].upper() + title[1:]
        yield Step(icon="person", title=title, at=decision.decided_at, details=tuple(details))
    approved = text.history.approved
    if approved and not text.message.decisions:
        # Decided in advance, as by `replay --force`.
        yield Step(
            icon="person",
            title="A person overrode what held it",
            at=text.message.received_at,
            details=(f"Overridden: {_codes(approved)}.",),
        )


def _codes(codes: tuple[str, ...]) -> str:
    return ", ".join(code.replace("_", " ") for code in codes)


def _attempts(message: Message) -> Iterator[Step]:
    several = len(message.segments) > 1
    for segment in message.segments:
        for attempt in segment.attempts:
            yield from _attempt(attempt, f"Part {segment.position}: " if several else "")


def _attempt(attempt: Attempt, segment: str) -> Iterator[Step]:
    if attempt.outcome is None:
        yield Step(icon="sending", title=f"{segment}Being sent to CallRail", at=attempt.started_at)
        return
    icon, words = OUTCOMES[attempt.outcome]
    if attempt.outcome is OutcomeKind.REJECTED and attempt.http_status is None:
        words = "Can't be sent"  # CallRail was not asked
    code = f" ({attempt.http_status})" if attempt.http_status else ""
    yield Step(
        icon=icon,
        title=f"{segment}{words}{code}",
        at=attempt.finished_at,
        details=(attempt.detail,) if attempt.detail and attempt.detail != Sent.detail else (),
    )
    for one in attempt.evidence:
        yield Step(
            icon="looked", title=f"{segment}Checked with CallRail", at=one.noted_at, details=(one.detail,)
        )


def _standing(text: OneText) -> Iterator[Step]:
    """The text's current status."""
    message = text.message
    details = message.reasons
    match message.status:
        case Status.HELD | Status.FAILED | Status.UNKNOWN:
            yield Step(icon=message.status, title=STATUS_WORDS[message.status])
        case Status.CANCELLED:
            yield Step(icon="cancelled", title="Canceled", details=details)
        case Status.SENT if details:
            yield Step(icon="note", title="Good to know", details=details)
        case _ if details:
            yield Step(icon="waiting", title="Waiting")


def _ahead(text: OneText) -> Iterator[Step]:
    message = text.message
    for segment in message.segments:
        for attempt in segment.attempts:
            if attempt.look_at is not None:
                title = "Will be checked with CallRail"
                yield Step(icon="looked", title=title, at=attempt.look_at, ahead=True)
    if message.status is Status.HELD and text.history.release_at is not None:
        yield Step(icon="waiting", title="Will be sent", at=text.history.release_at, ahead=True)
    if message.status in OPEN:
        left = sum(segment.status in OPEN for segment in message.segments)
        parts = "" if left < 2 else f"{plural(left, 'part')} "
        yield Step(icon="sending", title=f"Next: {parts}sent to CallRail", ahead=True)


class TextPage:
    def __init__(self, frame: Frame, history: History) -> None:
        self._frame = frame
        self._history = history

    async def show(self, request: Request, session: Session) -> Response:
        """One text; a submission of several shows which they are."""
        found = await self._history.text(request.path_params["id"])
        if len(found) > 1:
            texts = [one.message for one in found]
            return await self._frame.draw(request, session, "submission.html", texts=texts)
        [text] = found
        message = text.message
        verbs = allowed(
            message.status,
            message.source,
            message.reasons,
            complete=message.is_complete,
            opted_out=text.history.opted_out,
        )
        return await self._frame.draw(
            request, session, "text.html", text=text, message=message, steps=steps(text), verbs=verbs
        )

    async def raw(self, request: Request, session: Session) -> Response:
        """The request as it came."""
        [text, *_] = await self._history.text(request.path_params["id"])
        raw = text.history.raw
        body = "" if raw is None else readable(raw)
        return await self._frame.draw(request, session, "raw.html", message=text.message, raw=raw, body=body)


def readable(raw: RawRequest) -> str:
    """A body to read: JSON in lines, a form field by field, else as it is."""
    body = raw.body.decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        pass
    if (raw.content_type or "").startswith("application/x-www-form-urlencoded"):
        return "\n".join(f"{name} = {value}" for name, value in parse_qsl(body, keep_blank_values=True))
    return body
