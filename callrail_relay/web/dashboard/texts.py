"""The pages of texts, of one text with its timeline, and of one conversation."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from callrail_relay.domain.mapper import RawSubmission
from callrail_relay.domain.message import OPEN, Message, MessageFilter, Reason, Status, Verb, read_instant
from callrail_relay.domain.outcome import OutcomeKind, Sent
from callrail_relay.domain.phone import BadPhone, normalize
from callrail_relay.domain.printable import guarded, lines, printable
from callrail_relay.errors import NotFound
from callrail_relay.sentences import phone, plural, says
from callrail_relay.web.dashboard.frame import UTF8_MARK, Visit, csv_file
from callrail_relay.web.dashboard.words import STATUS_WORDS, STEPS, WORDS, say, sentence

FIELDS = ("status", "search", "person", "from", "to", "number", "opportunity", "sender")
MOST_WORDS = 8
LONGEST = 200
BUBBLES = 60  # of a conversation, on one page


async def show_all(visit: Visit) -> Response:
    asked = read_filter(visit.request.query_params)
    dashboard = visit.dashboard
    page = await dashboard.history.page(asked.wanted)
    counts = {} if asked.narrowed else await dashboard.history.counts()
    return await visit.draw(
        "texts.html",
        asked=asked,
        page=page,
        counts=counts,
        total=counts.get(asked.wanted.statuses[0]) if asked.wanted.statuses else sum(counts.values()),
        numbers=sorted(dashboard.operations.mapping.routes.tracking_numbers),
    )


async def download(visit: Visit) -> Response:
    """Download what the page shows, and everything on its next pages, as CSV."""
    asked = read_filter(visit.request.query_params)
    name = f"messages-{visit.dashboard.clock.now().astimezone():%Y-%m-%d}.csv"
    return csv_file(name, _csv(visit, asked.wanted))


async def _csv(visit: Visit, wanted: MessageFilter) -> AsyncIterator[str]:
    yield UTF8_MARK + lines([WORDS["csv"]])
    async for portion in visit.dashboard.operations.export(wanted):
        now = visit.dashboard.clock.now()
        yield lines(_cells(message, now) for message in portion)


def _cells(text: Message, now: datetime) -> list[str]:
    """Return one line of the file; what others wrote can't be a formula, and our own numbers need no mark."""
    reasons = " ".join(sentence(reason, now).striptags() for reason in text.reasons)
    times = (text.received_at, text.sent_at)
    came, went = (f"{at.astimezone():%Y-%m-%d %H:%M:%S}" if at else "" for at in times)
    name, words, why = (guarded(printable(one or "")) for one in (text.seller, text.text, reasons))
    number = text.route.tracking_number if text.route else ""
    return [came, name, text.recipient or "", number, words, STATUS_WORDS[text.status], why, went, text.id]


async def show(visit: Visit) -> Response:
    """Show one text; a submission with several shows which they are."""
    found = await visit.dashboard.operations.find(visit.request.path_params["id"])
    if len(found) > 1:
        return await visit.draw("submission.html", texts=found)
    [message] = found
    [row] = await visit.dashboard.history.rows([message.id])
    return await visit.draw("text.html", message=message, row=row, steps=steps(message))


async def show_request(visit: Visit) -> Response:
    [message, *_] = await visit.dashboard.operations.find(visit.request.path_params["id"])
    raw = await visit.dashboard.history.request(message.submission_id)
    return await visit.draw("raw.html", message=message, raw=raw, body=readable(raw))


async def show_conversation(visit: Visit) -> Response:
    before = read_instant(visit.request.query_params.get("before", ""))
    conversation = await visit.dashboard.history.conversation(
        **visit.request.path_params, before=before, limit=BUBBLES
    )
    if not conversation.messages:
        raise NotFound(say("no_conversation"))
    # By this machine's clock.
    days = groupby(conversation.messages, key=lambda one: one.at.astimezone().date())
    return await visit.draw(
        "conversation.html", conversation=conversation, days=[(day, list(messages)) for day, messages in days]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The form as it was filled in, its filter, and what couldn't be understood."""

    fields: Mapping[str, str]
    wanted: MessageFilter
    faults: list[str]

    @property
    def narrowed(self) -> bool:
        """Whether anything but the status narrows it."""
        return any(value for name, value in self.fields.items() if name != "status")

    def address(self, **changes: object) -> str:
        """Return the address of this page with some fields changed."""
        given = {name: value for name, value in {**self.fields, **changes}.items() if value not in (None, "")}
        return f"/texts?{urlencode(given)}" if given else "/texts"


def read_filter(query: Mapping[str, str]) -> Asked:
    """Read the fields of the form. One that can't be understood is left out, and named."""
    fields = {name: query.get(name, "").strip()[:LONGEST] for name in FIELDS}
    faults: list[str] = []
    try:
        recipient, name = normalize(fields["person"]), None
    except BadPhone:
        recipient, name = None, fields["person"] or None
    statuses = tuple(status for status in Status if status == fields["status"])
    if fields["status"] and not statuses:
        faults.append(say("no_status", typed=fields["status"]))
    before = query.get("before", "")
    wanted = MessageFilter(
        statuses=statuses,
        recipient=recipient,
        tracking_number=fields["number"] or None,
        name=name,
        opportunity_id=fields["opportunity"] or None,
        sender_id=fields["sender"] or None,
        since=_edge(fields["from"], 0, faults),
        until=_edge(fields["to"], 1, faults),
        words=tuple(fields["search"].split()[:MOST_WORDS]),
        before=int(before) if re.fullmatch("[0-9]{1,18}", before) else None,
    )
    return Asked(fields=fields, wanted=wanted, faults=faults)


def _edge(typed: str, days: int, faults: list[str]) -> datetime | None:
    """Return an instant, or midnight *days* after a date, by this machine's clock; an error for others."""
    try:
        if typed:
            is_date = len(typed) <= len("2026-11-23")
            return (datetime.fromisoformat(typed) + timedelta(days=days * is_date)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):  # Windows: before 1970
        faults.append(say("no_day", typed=typed))
    return None


def readable(raw: RawSubmission) -> str:
    """Return a body to read: JSON in lines, a form field by field, else as it is."""
    body = raw.body.decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        pass
    if (raw.content_type or "").startswith("application/x-www-form-urlencoded"):
        return "\n".join(f"{name} = {value}" for name, value in parse_qsl(body, keep_blank_values=True))
    return body


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a text's history, or one to come: then ``at`` is the latest time for it, or None."""

    icon: str
    title: str
    at: datetime | None = None
    details: tuple[str | Reason, ...] = ()
    ahead: bool = False


def steps(message: Message) -> list[Step]:
    """Return all steps that a text has taken, by time, and then what is ahead of it."""
    gone = [*_arrival(message), *_decisions(message), *_attempts(message)]
    gone.sort(key=lambda step: step.at or message.received_at)
    return [*gone, *_current_step(message), *_ahead(message)]


def _arrival(message: Message) -> Iterator[Step]:
    yield Step(
        "arrived", STEPS["arrived"].format(source=WORDS["source"][message.source]), message.received_at
    )
    if message.route is not None and message.is_complete:
        parts = len(message.segments)
        size = "" if parts < 2 else STEPS["mapped_parts"].format(parts=plural(parts, "part"))
        to, ours = phone(message.recipient), phone(message.route.tracking_number)
        title = STEPS["mapped"].format(to=to, ours=ours, parts=size)
        yield Step("mapped", title, message.received_at)


def _decisions(message: Message) -> Iterator[Step]:
    for decision in message.decisions:
        details = [decision.actor.note] if decision.actor.note else []
        if decision.overridden:
            details.append(_overridden(decision.overridden))
        if decision.verb is Verb.EDIT:
            details.append(STEPS["before"].format(text=decision.text or "", to=phone(decision.recipient)))
        title = f"{decision.actor.name} {WORDS['decisions'][decision.verb]}"
        yield Step("person", title[:1].upper() + title[1:], decision.decided_at, tuple(details))
    if message.approved and not message.decisions:
        # Decided in advance, as by `replay --force`.
        details = [_overridden(message.approved)]
        yield Step("person", STEPS["in_advance"], message.received_at, tuple(details))


def _overridden(codes: tuple[str, ...]) -> str:
    return STEPS["overridden"].format(codes=", ".join(code.replace("_", " ") for code in codes))


def _attempts(message: Message) -> Iterator[Step]:
    several = len(message.segments) > 1
    for segment in message.segments:
        part = STEPS["part"].format(position=segment.position) if several else ""
        for attempt in segment.attempts:
            if attempt.outcome is None:
                yield Step("sending", part + STEPS["attempt"], attempt.started_at)
                continue
            icon, words = WORDS["outcomes"][attempt.outcome]
            if attempt.outcome is OutcomeKind.REJECTED and attempt.http_status is None:
                words = STEPS["unsendable"]  # CallRail wasn't asked
            code = f" ({attempt.http_status})" if attempt.http_status else ""
            details = (attempt.detail,) if attempt.detail and attempt.detail != Sent.detail else ()
            yield Step(icon, f"{part}{words}{code}", attempt.finished_at, details)
            for one in attempt.evidence:
                yield Step("looked", part + STEPS["checked"], one.noted_at, (one.detail,))


def _current_step(message: Message) -> Iterator[Step]:
    """Yield the text's current status."""
    details = message.reasons
    match message.status:
        case Status.HELD | Status.FAILED | Status.UNKNOWN:
            yield Step(message.status, STATUS_WORDS[message.status])
        case Status.CANCELLED | Status.SHADOW:
            yield Step(message.status, STATUS_WORDS[message.status], details=tuple(map(says, details)))
        case Status.SENT if details:
            yield Step("note", STEPS["note"], details=details)
        case _ if details:
            yield Step("waiting", STEPS["waiting"])


def _ahead(message: Message) -> Iterator[Step]:
    for segment in message.segments:
        for attempt in segment.attempts:
            if attempt.next_lookup_at is not None:
                yield Step("looked", STEPS["check_ahead"], attempt.next_lookup_at, ahead=True)
    if message.release_at is not None:
        yield Step("waiting", STEPS["release_ahead"], message.release_at, ahead=True)
    if message.status in OPEN:
        left = sum(segment.status in OPEN for segment in message.segments)
        parts = "" if left < 2 else f"{plural(left, 'part')} "
        yield Step("sending", STEPS["next"].format(parts=parts), ahead=True)
