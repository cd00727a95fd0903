"""Maps IF3's fields to CallRail's parameters: turns what came in into messages, judged without the store."""

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from callrail_relay.domain import guards, payload
from callrail_relay.domain.account import Limits
from callrail_relay.domain.guards import GuardPolicy, Verdict, similarity_words
from callrail_relay.domain.message import IF3Context, Reason, Segment, Source, Status
from callrail_relay.domain.payload import Entry, Payload, read_request
from callrail_relay.domain.phone import BadPhone, normalize
from callrail_relay.domain.routing import Route, Routes
from callrail_relay.domain.saved import read_saved
from callrail_relay.domain.segmentation import split_text

# Faults of a field that count only if it's needed: one phone of two is enough.
_DECIDED_BY_FIELD = frozenset({"bad_phone", "two_phones", "bad_text", "bad_id"})


@dataclass(frozen=True, slots=True)
class MappedText(IF3Context):
    """One text from IF3, as CallRail takes it; ``reasons`` say why it can't be sent."""

    recipient: str | None = None
    text: str | None = None
    route: Route | None = None
    reasons: tuple[Reason, ...] = ()

    def callrail_parameters(self) -> dict[str, str]:
        """Return CallRail's parameters of the text, of any length; ValueError if there are reasons not to."""
        if self.reasons or self.recipient is None or self.text is None or self.route is None:
            codes = ", ".join(reason.code for reason in self.reasons) or "it is incomplete"
            raise ValueError(f"this text can't be sent: {codes}")
        return send_parameters(self.route, self.recipient, self.text)

    def similarity_words(self) -> frozenset[str] | None:
        return None if self.text is None else similarity_words(self.text, self.seller)


def send_parameters(route: Route, recipient: str, content: str) -> dict[str, str]:
    """Return the parameters of one text at CallRail: IF3's names end here."""
    return {
        "company_id": route.company_id,
        "tracking_number": route.tracking_number,
        "customer_phone_number": recipient,
        "content": content,
    }


def map_webhook(
    body: bytes, *, content_type: str | None = None, query: str = "", routes: Routes | Route
) -> list[MappedText]:
    """Return every text in one request of IF3's webhook; ``[]`` for a ping. Nothing in a body raises."""
    table = _as_table(routes)
    try:
        entries = read_request(body, content_type=content_type, query=query)
    except Exception as error:  # noqa: BLE001 - with the right secret, no content is refused
        return [failed(error)]
    return [_safely(partial(map_entry, entry, table)) for entry in entries]


def map_payload(fields: Mapping[str, object], *, routes: Routes | Route) -> MappedText:
    """Return the text of one payload that is a mapping already, such as parsed JSON; nothing in it raises."""
    return _safely(lambda: map_entry(payload.to_entry(payload.as_json(fields)), _as_table(routes)))


def _as_table(routes: Routes | Route) -> Routes:
    return Routes(default=routes) if isinstance(routes, Route) else routes


def _safely(map_one: Callable[[], MappedText]) -> MappedText:
    try:
        return map_one()
    except Exception as error:  # noqa: BLE001 - as above
        return failed(error)


def failed(error: Exception) -> MappedText:
    """Return what is held because the program itself failed."""
    return MappedText(reasons=(Reason("internal", {"error": type(error).__name__}),))


def map_entry(entry: Entry, routes: Routes) -> MappedText:
    if isinstance(entry, Reason):
        return MappedText(reasons=(entry,))
    recipient, phone_faults = _recipient(entry)
    bad_text, bad_id = _faults(entry, "bad_text"), _faults(entry, "bad_id")
    text = None if bad_text or _shows_nothing(entry.message or "") else entry.message
    route = None if bad_id else routes.choose(team_id=entry.team_id, sender_id=entry.sender_id)
    text_faults = bad_text or (() if text else (Reason("no_text"),))
    route_faults = bad_id or (() if route else (Reason("no_route"),))
    others = (fault for fault in entry.faults if fault.code not in _DECIDED_BY_FIELD)
    return MappedText(
        recipient=recipient,
        text=text,
        route=route,
        reasons=(*phone_faults, *text_faults, *route_faults, *others),
        **entry.if3_context(),
    )


def map_direct(*, to: str, text: str, routes: Routes, sender: str | Route | None) -> MappedText:
    """Map a text that a person types here; *sender* is our number to send it from, as E.164, or its route."""
    recipient, faults = _given_phone(to)
    if _shows_nothing(text):
        faults += (Reason("no_text"),)
    elif not payload.is_storable(text):
        faults += (Reason("bad_text", {"problem": "broken_character"}),)
    route, route_faults = (sender, ()) if isinstance(sender, Route) else _given_route(routes, sender)
    return MappedText(recipient=recipient, text=text, route=route, reasons=faults + route_faults)


def _faults(given: Payload, code: str) -> tuple[Reason, ...]:
    return tuple(fault for fault in given.faults if fault.code == code)


def _recipient(given: Payload) -> tuple[str | None, tuple[Reason, ...]]:
    """Return the one valid phone number of the two fields; an invalid one beside it does no harm."""
    if twice := _faults(given, "two_phones"):
        return None, twice
    faults = _faults(given, "bad_phone")
    valid: list[str] = []
    for raw in filter(None, (given.seller_phone_non_international, given.seller_phone)):
        number, reasons = _given_phone(raw)
        valid += [number] if number else []
        faults += reasons
    if not valid:
        return None, tuple(dict.fromkeys(faults)) or (Reason("no_phone"),)
    if len(set(valid)) > 1:
        return None, (Reason("two_phones", {"first": valid[0], "second": valid[1]}),)
    return valid[0], ()


def _given_phone(raw: str) -> tuple[str | None, tuple[Reason, ...]]:
    try:
        return normalize(raw), ()
    except BadPhone as exc:
        return None, (exc.reason,)


def _given_route(routes: Routes, sender: str | None) -> tuple[Route | None, tuple[Reason, ...]]:
    """Return the route of the tracking number *sender*, else the default, else the only one there is."""
    known = list(routes)
    if not known:
        return None, (Reason("no_sender", {"problem": "none"}),)
    if sender is not None:
        route = next((route for route in known if route.tracking_number == sender), None)
        return route, () if route else (Reason("bad_sender", {"typed": sender}),)
    chosen = routes.choose(team_id=None, sender_id=None)
    if chosen is None and len(known) > 1:
        return None, (Reason("no_sender"),)
    return chosen or known[0], ()


def _shows_nothing(text: str) -> bool:
    """Whether *text* is only white space, or characters that are never seen, such as zero-width spaces."""
    return all(c.isspace() or unicodedata.category(c) in ("Cc", "Cf") for c in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingPolicy:
    routes: Routes
    guards: GuardPolicy
    max_characters: int
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    id: str
    draft: MappedText
    verdict: Verdict
    segment_count: int
    skip_identical: bool = False  # leave it out if the same text is in the store already (a replay)
    approved: tuple[str, ...] = ()  # codes of reasons that a person overrode in advance

    @property
    def fingerprint(self) -> bytes | None:
        """Return 16 bytes that are equal for the same words to the same person from the same number."""
        draft = self.draft
        if draft.route is None or draft.recipient is None or draft.text is None:
            return None
        parts = (draft.route.tracking_number, draft.recipient, draft.text)
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSubmission:
    id: str
    body: bytes
    content_type: str | None = None
    query: str | None = None
    repeat_key: bytes | None = None  # equal for a request that is sent again


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubmission(RawSubmission):
    source: Source
    messages: tuple[NewMessage, ...]
    guards: GuardPolicy  # for the guards that only the store can ask
    woke_at: datetime | None = None  # when the machine woke, if it was lately


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSubmission(RawSubmission):
    source: Source
    message_ids: tuple[str, ...]  # in the order in which it contained them


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    message_id: str
    status: Status
    verdict: Verdict
    duplicate_of: str | None = None  # the same text, because of which this one was left out


def map_stored(stored: StoredSubmission, policy: MappingPolicy, now: datetime) -> list[MappedText]:
    if stored.source is Source.SEND:  # what can't be mapped there is never stored
        return []
    if stored.source is Source.REPLAY:
        return map_saved(stored.body, policy, now)[0]
    query, routes = stored.query or "", policy.routes
    return map_webhook(stored.body, content_type=stored.content_type, query=query, routes=routes)


_OF_AGE = ("bad_time", "too_old")


def map_saved(document: bytes, policy: MappingPolicy, now: datetime) -> tuple[list[MappedText], list[Reason]]:
    """Map a saved file's texts, a history's judged by age at *now*; also return why the rest is skipped."""
    entries, drafts = read_saved(document), []
    holds_old = policy.guards.too_old is guards.Mode.HOLD
    for entry in (one for one in entries if isinstance(one, Payload)):
        draft = map_entry(entry, policy.routes)
        found = (*draft.reasons, guards.too_old(entry.came_at, now, policy.guards.max_age))
        reasons = tuple(one for one in found if one and (holds_old or one.code not in _OF_AGE))
        drafts.append(replace(draft, reasons=reasons))
    return drafts, [entry for entry in entries if isinstance(entry, Reason)]


def new_submission(
    raw: RawSubmission,
    source: Source,
    drafts: Iterable[MappedText],
    policy: MappingPolicy,
    new_id: Callable[[], str],
    woke_at: datetime | None = None,
) -> NewSubmission:
    messages = tuple(new_message(new_id(), draft, policy) for draft in drafts)
    known: dict[str, Any] = {name: getattr(raw, name) for name in RawSubmission.__slots__}
    return NewSubmission(**known, source=source, messages=messages, guards=policy.guards, woke_at=woke_at)


def new_message(id_: str, draft: MappedText, policy: MappingPolicy) -> NewMessage:
    count = len(split_text(draft.text, max_characters=policy.max_characters)) if draft.text else 0
    most = min(policy.limits.per_hour, policy.limits.per_day)
    holds = (*draft.reasons, guards.too_long(count, most)) if count > most else draft.reasons
    verdict = Verdict(holds).joined(policy.guards.merge_tag, guards.merge_tag(draft.text))
    return NewMessage(id=id_, draft=draft, verdict=verdict, segment_count=max(1, count))


def planned_segments(text: str | None, max_characters: int) -> tuple[Segment, ...]:
    pieces = enumerate(split_text(text or "", max_characters=max_characters), start=1)
    return tuple(Segment(position=number, content=one, status=Status.QUEUED) for number, one in pieces)


def repeat_key(key: str, body: bytes, query: str) -> bytes:
    """Return 16 bytes that are equal for the same request and content under its sender's same key."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (key.encode(errors="surrogatepass"), query.encode(errors="surrogatepass"), body):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()
