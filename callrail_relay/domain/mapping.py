"""
Turns a payload, or the words of ``send``, into a draft: whom the text goes to, what it says, where it leaves.
"""

import hashlib
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime

from callrail_relay.domain.guards import GuardPolicy, Verdict
from callrail_relay.domain.message import Reason, Source, Status
from callrail_relay.domain.payload import Entry, Payload, Unreadable, is_storable
from callrail_relay.domain.phone import BadPhone, normalise
from callrail_relay.domain.routing import Route, Routes
from callrail_relay.domain.similarity import similarity_words
from callrail_relay.errors import SettingsFault, UsageFault

# Faults of a field that count only as far as the field is needed: one phone of two is enough.
_DECIDED_BY_FIELD = frozenset({"bad_phone", "two_phones", "bad_text", "bad_id"})


@dataclass(frozen=True, slots=True)
class Draft:
    """
    What a payload became: all that a message needs, or the faults for which it is held.

    ``recipient`` is E.164. Ids and the seller's name are IF3's own, for display and for choosing a route.
    """

    recipient: str | None = None
    text: str | None = None
    route: Route | None = None
    opportunity_id: str | None = None
    sender_id: str | None = None
    seller_id: str | None = None
    seller: str | None = None
    team_id: str | None = None
    faults: tuple[Reason, ...] = ()

    def similarity_words(self) -> frozenset[str] | None:
        """The words by which mass texts are found; None where there are too few to judge."""
        return None if self.text is None else similarity_words(self.text, self.seller)


def map_entry(entry: Entry, routes: Routes) -> Draft:
    """*entry* as a draft, with every fault of it and not only the first."""
    if isinstance(entry, Unreadable):
        return Draft(faults=entry.faults)
    recipient, phone_faults = _recipient(entry)
    text, text_faults = _text(entry)
    route, route_faults = _route(entry, routes)
    others = tuple(fault for fault in entry.faults if fault.code not in _DECIDED_BY_FIELD)
    return Draft(
        recipient=recipient,
        text=text,
        route=route,
        opportunity_id=entry.opportunity_id,
        sender_id=entry.sender_id,
        seller_id=entry.seller_id,
        seller=entry.seller,
        team_id=entry.team_id,
        faults=(*phone_faults, *text_faults, *route_faults, *others),
    )


def map_direct(*, to: str, text: str, routes: Routes, sender: str | Route | None) -> Draft:
    """
    A text given on the command line as a draft; *sender* is the tracking number to send it
    from, or the whole route where that is known.

    Raises ``UsageFault`` for a phone, a text or a number that will not do, ``SettingsFault`` where there
    is no tracking number at all.
    """
    recipient = _given_phone("--to", to)
    if _shows_nothing(text):
        raise UsageFault("--message is empty: give the text to send.")
    if not is_storable(text):
        raise UsageFault("--message holds a character that is no text: type it again.")
    return Draft(
        recipient=recipient,
        text=text,
        route=sender if isinstance(sender, Route) else _given_route(routes, sender),
    )


def _recipient(payload: Payload) -> tuple[str | None, tuple[Reason, ...]]:
    """The one valid phone of the two fields; an invalid one beside it does no harm."""
    twice = tuple(fault for fault in payload.faults if fault.code == "two_phones")
    if twice:
        return None, twice
    valid: list[str] = []
    faults = [fault for fault in payload.faults if fault.code == "bad_phone"]
    for raw in (payload.seller_phone_non_international, payload.seller_phone):
        try:
            valid += [normalise(raw)] if raw else []
        except BadPhone as exc:
            faults.append(Reason("bad_phone", f"{exc}. Fix the contact in IF3."))
    if not valid:
        return None, tuple(dict.fromkeys(faults)) or (
            Reason("no_phone", "It names no phone number to send to."),
        )
    if len(set(valid)) > 1:
        both = f"The contact has two different numbers, {valid[0]} and {valid[1]}"
        return None, (Reason("two_phones", f"{both}. Fix the contact in IF3 and send it again."),)
    return valid[0], ()


def _text(payload: Payload) -> tuple[str | None, tuple[Reason, ...]]:
    """The person's words, unchanged, white space around them included."""
    bad = tuple(fault for fault in payload.faults if fault.code == "bad_text")
    if bad:
        return None, bad
    if payload.message is None or _shows_nothing(payload.message):
        return None, (Reason("no_text", "Its message is empty, so there is nothing to send."),)
    return payload.message, ()


def _route(payload: Payload, routes: Routes) -> tuple[Route | None, tuple[Reason, ...]]:
    bad = tuple(fault for fault in payload.faults if fault.code == "bad_id")
    if bad:
        return None, bad
    route = routes.choose(team_id=payload.team_id, sender_id=payload.sender_id)
    if route is not None:
        return route, ()
    detail = (
        "No route fits its team_id and sender_id: add one under [[routes]], or a tracking_number under"
        " [callrail], and send the text again."
    )
    return None, (Reason("no_route", detail),)


def _given_phone(option: str, raw: str) -> str:
    try:
        return normalise(raw)
    except BadPhone as exc:
        raise UsageFault(f"{option} cannot be used: {exc}. Write it as +1 and ten digits.") from exc


def _given_route(routes: Routes, sender: str | None) -> Route:
    """The route of the tracking number *sender*, else the default, else the only one there is."""
    known = list(routes)
    if not known:
        raise SettingsFault("No tracking number is set up to send from: run `callrail-relay configure`.")
    if sender is not None:
        number = _given_phone("--from", sender)
        for route in known:
            if route.tracking_number == number:
                return route
        raise UsageFault(f"--from names {number}, which is not one of your tracking numbers.")
    chosen = routes.choose(team_id=None, sender_id=None)
    if chosen is None and len(known) > 1:
        raise UsageFault("There are several tracking numbers and no default: name one with --from.")
    return chosen or known[0]


def _shows_nothing(text: str) -> bool:
    """Whether *text* is empty, white space, or characters that are never seen, as a zero-width space."""
    return all(c.isspace() or unicodedata.category(c) in ("Cc", "Cf") for c in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """
    One text, mapped and judged, ready to be stored.

    ``skip_identical``   leave it out when the same text is in the store already (a replay)
    ``approved``         codes of reasons that a person overrode in advance
    """

    id: str
    draft: Draft
    verdict: Verdict
    segment_count: int
    skip_identical: bool = False
    approved: tuple[str, ...] = ()
    fingerprint: bytes | None = field(init=False)

    def __post_init__(self) -> None:
        # Asked for several times, and reckoned once.
        object.__setattr__(self, "fingerprint", fingerprint(self.draft))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubmission:
    """
    One request as it came in, byte for byte, with the messages it holds.

    ``guards`` is the policy of those guards that only the store can ask. ``woke_at`` is when the machine
    woke, if that was lately. ``repeat_key`` is the same for a request that is sent again, if its sender marks
    that.
    """

    id: str
    source: Source
    body: bytes
    content_type: str | None = None
    query: str | None = None
    messages: tuple[NewMessage, ...]
    guards: GuardPolicy = field(default_factory=GuardPolicy)
    woke_at: datetime | None = None
    repeat_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSubmission:
    """One request to the webhook as it came in, byte for byte."""

    id: str
    body: bytes
    content_type: str | None = None
    query: str | None = None
    repeat_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSubmission:
    """A request as it was stored, with the ids of its messages in the order in which it held them."""

    source: Source
    body: bytes
    content_type: str | None
    query: str | None
    message_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What a new message became: stored, or left out because *duplicate_of* is the same text."""

    message_id: str
    status: Status
    verdict: Verdict
    duplicate_of: str | None = None


@dataclass(frozen=True, slots=True)
class Repeated:
    """A request that its sender repeated: what came the first time is stored as *submission_id*."""

    submission_id: str


def repeat_key(key: str, body: bytes, query: str) -> bytes:
    """
    16 bytes that are equal for the same request under the same key of its sender.

    The content is part of it: under a key that a sender uses twice by mistake, no text is lost.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (key.encode(errors="surrogatepass"), query.encode(errors="surrogatepass"), body):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()


def fingerprint(draft: Draft) -> bytes | None:
    """16 bytes that are equal for the same words to the same person from the same tracking number."""
    if draft.route is None or draft.recipient is None or draft.text is None:
        return None
    parts = (draft.route.tracking_number, draft.recipient, draft.text)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()
