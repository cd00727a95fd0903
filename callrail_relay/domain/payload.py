"""
Reads what IF3 sends into payloads.

Nothing that can be in a body is an error here. What reads wrong becomes a fault of the field or of the
whole, so that a person sees it. Field names and variants: the IF3 help article "Callrail API V3"
(https://investorfuse.document360.io/docs/callrail-api-v3).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from callrail_relay.domain.charset import UnparsedError, decode
from callrail_relay.domain.csv_rows import whole_number
from callrail_relay.domain.message import Reason
from callrail_relay.domain.parsing import (
    IF3_FIELDS,
    Doubtful,
    Fields,
    Number,
    first,
    form,
    is_blank,
    parse,
)

# More texts in one request than a person types look like a mass text, which CallRail's terms forbid.
MOST_PAYLOADS = 20

# More than these in one request are one entry: no person looks at each, and none can be a real text and its
# phone in the room there is.
MOST_ENTRIES = 1000

# Names are for display; a longer one is cut.
_LONGEST_NAME = 200
_LONGEST_PHONE = 200

_ROUTING_IDS = ("team_id", "sender_id")
# PostgreSQL keeps no NUL, and no database keeps half a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Payload:
    """
    One text as IF3 sent it: its fields as text, None where one is missing or unusable.

    ``faults`` says what is wrong with single fields: ``bad_text``, ``doubtful_text``, ``bad_phone``,
    ``two_phones``, ``bad_id``, and ``bulk`` for all of a request that holds too many.
    """

    message: str | None = None
    seller_phone: str | None = None
    seller_phone_non_international: str | None = None
    opportunity_id: str | None = None
    sender_id: str | None = None
    seller_id: str | None = None
    seller: str | None = None
    team_id: str | None = None
    faults: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """
    Something in which no text could be found, and why: ``unreadable``, ``not_a_payload``, ``too_deep``, or
    ``bulk`` for too many to be kept each by itself.
    """

    faults: tuple[Reason, ...]


Entry = Payload | Unreadable


def read_request(body: bytes, *, content_type: str | None, query: str = "") -> list[Entry]:
    """
    The texts in one request to the webhook, in their order; none for a ping (an empty body or ``{}``).

    *body* is decompressed and limited in size by the caller; *query* is the query string, read where
    the body is empty. More than ``MOST_PAYLOADS`` texts all carry the fault ``bulk``.
    """
    try:
        value = parse(decode(body, content_type), content_type)
    except UnparsedError as fault:
        return [unreadable(str(fault))]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value in (None, {}, []):
        return _from_query(query)
    if isinstance(value, list):
        return _from_list(value)
    return [to_entry(value)]


def is_storable(text: str) -> bool:
    """Whether every database can keep *text*: it holds no NUL and no half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None


def is_payload(value: object) -> TypeGuard[Fields]:
    return isinstance(value, dict) and (
        "message" in value or any(name.startswith("seller_phone") for name in value)
    )


def to_entry(value: object, *faults: Reason) -> Entry:
    """*value* as a payload that has these *faults* as well, or Unreadable if it is none."""
    if is_payload(value):
        return _Reader(value).payload(faults)
    return no_payload("It names neither a message nor a phone (seller_phone), so it is not a text from IF3.")


def unreadable(detail: str) -> Unreadable:
    return Unreadable((Reason("unreadable", detail),))


def no_payload(detail: str) -> Unreadable:
    return Unreadable((Reason("not_a_payload", detail),))


def _from_query(query: str) -> list[Entry]:
    """The text whose fields came in the query string; a query of other things does not make a ping a text."""
    try:
        fields = form(query, None)
    except UnparsedError as fault:
        # A form that is too large may hold a text; what is no form is of other things.
        return [unreadable(str(fault))] if "=" in query and not query.startswith("<") else []
    return [to_entry(fields)] if fields.keys() & IF3_FIELDS else []


def _from_list(values: list[object]) -> list[Entry]:
    """An entry for each payload, and one for each other element, of which the 21st and later share one."""
    payloads = sum(map(is_payload, values))
    if payloads <= MOST_PAYLOADS:
        return list(_few_unreadable([to_entry(value) for value in values]))
    if payloads > MOST_ENTRIES:
        too_many = Reason(
            "bulk",
            f"It holds {payloads} texts in one request, which look like a mass text, and CallRail's terms"
            " forbid that. They are kept as one; if a person wrote each, send them again a few at a time.",
        )
        return [Unreadable((too_many,))]
    bulk = Reason(
        "bulk",
        f"It came with {payloads - 1} others in one request, and more than {MOST_PAYLOADS} look like a"
        " mass text, which CallRail's terms forbid. Approve it only if a person wrote it to this person.",
    )
    return list(_few_unreadable([to_entry(value, bulk) for value in values]))


def _few_unreadable(entries: list[Entry]) -> Iterator[Entry]:
    """A request of thousands of zeros does not become thousands of held rows."""
    unreadable = 0
    for entry in entries:
        unreadable += isinstance(entry, Unreadable)
        if isinstance(entry, Payload) or unreadable <= MOST_PAYLOADS:
            yield entry
    if unreadable > MOST_PAYLOADS:
        yield no_payload(f"{unreadable - MOST_PAYLOADS} more elements of the list are not texts from IF3.")


@dataclass(slots=True)
class _Reader:
    """Takes IF3's fields out of an object, and notes what is wrong with them."""

    fields: Fields
    faults: list[Reason] = field(default_factory=list)

    def payload(self, faults: tuple[Reason, ...]) -> Payload:
        return Payload(
            message=self._message(),
            seller_phone=self._phone("seller_phone"),
            seller_phone_non_international=self._phone("seller_phone_non_international"),
            opportunity_id=self._id("opportunity_id"),
            sender_id=self._id("sender_id"),
            seller_id=self._id("seller_id"),
            seller=_name_in(self._one("seller", None)),
            team_id=self._id("team_id"),
            faults=(*self.faults, *faults),
        )

    def _message(self) -> str | None:
        value = self._one("message", "bad_text")
        if value is None:
            return None
        text = _text(value)
        if text is None:
            self._fault("bad_text", f"The message is {_kind(value)}, not a text.")
        elif "\x00" in text:
            self._fault("bad_text", "The message holds a NUL character, which cannot be kept or sent.")
        elif not is_storable(text):
            self._fault(
                "bad_text",
                "The message holds a character that came in broken (half of an emoji, or bytes that are no"
                " text): send it again from IF3.",
            )
        else:
            if isinstance(value, Doubtful):
                self._fault("doubtful_text", value.why)
            return text
        return None

    def _phone(self, name: str) -> str | None:
        value = self._one(name, "two_phones")
        if value is None:
            return None
        text = _text(value)
        if isinstance(value, Number) and whole_number(value) is None:
            self._fault(
                "bad_phone", f"{name} was rounded by a spreadsheet ({value}): its last digits are lost."
            )
        elif text is None:
            self._fault("bad_phone", f"{name} is {_kind(value)}, not a phone number.")
        elif not is_storable(text) or len(text.strip()) > _LONGEST_PHONE:
            self._fault("bad_phone", f"{name} is not written as a phone number.")
        else:
            return text.strip() or None
        return None

    def _id(self, name: str) -> str | None:
        # A wrong route would be worse than a text that waits; nothing depends on the other ids.
        routing = name in _ROUTING_IDS
        value = self._one(name, "bad_id" if routing else None)
        if value is None:
            return None
        text = _text(value)
        plain = None if text is None else whole_number(text.strip())
        if routing and plain is None:
            kind = _kind(value) if text is None else "a number that a spreadsheet rounded"
            self._fault("bad_id", f"{name} is {kind}, so that no tracking number can be chosen by it.")
        return _shown(plain)

    def _one(self, name: str, code: str | None) -> object:
        """
        The value of *name*; None, with a fault of that *code* if there is one, where it has two that differ.
        """
        given = self.fields.get(name)
        if given is None:
            return None
        if len(given) == 1:
            return given[0]
        values = [value for value in given if value is not None]
        values = [value for value in values if not is_blank(value)] or values
        if not values:
            return None
        texts = [_text(value) for value in values]
        if None in texts or len(set(texts)) > 1:
            if code is not None:
                self._fault(code, f"{name} is given more than once, and differently.")
            return None
        return values[0]

    def _fault(self, code: str, detail: str) -> None:
        self.faults.append(Reason(code, detail))


def _text(value: object) -> str | None:
    """A text, or a whole number in digits; None for anything else."""
    if isinstance(value, Number):
        return value.whole()
    return str(value) if isinstance(value, str) else None


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else "a number that is not whole"


def _shown(text: str | None) -> str | None:
    """*text* as it can be stored and shown; None where nothing is left of it."""
    if text is None:
        return None
    return _UNSTORABLE.sub("\ufffd", text.strip()[:_LONGEST_NAME]) or None


def _name_in(seller: object) -> str | None:
    """The contact's name, from a text or from the entry of a contact."""
    if seller is None:
        return None
    if not isinstance(seller, dict):
        return _shown(_text(seller))
    for names in (("name",), ("full_name",), ("display_name",), ("first_name", "last_name")):
        parts = [_shown(_text(first(seller, name))) for name in names]
        if any(parts):
            return _shown(" ".join(part for part in parts if part))
    return None
