"""
Reads what IF3 sends, and what was saved of it elsewhere, into payloads.

Nothing that can be in a body is an error here. What reads wrong becomes a fault of the field or of the
whole, so that a person sees it. Field names, variants and envelopes: the IF3 help article "Callrail API V3"
(https://investorfuse.document360.io/docs/callrail-api-v3) and Zapier's and n8n's pages on webhooks.
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeGuard
from urllib.parse import parse_qsl

from callrail_relay.domain.reason import Reason

# More texts in one request than a person types look like a mass text, which CallRail's terms forbid.
MOST_PAYLOADS = 20

# Names are for display; a longer one is cut.
_LONGEST_NAME = 200
_LONGEST_PHONE = 200
_MOST_FORM_FIELDS = 1000
_MOST_LEVELS = 3

_ROUTING_IDS = ("team_id", "sender_id")
_IF3_FIELDS = frozenset(
    {
        "opportunity_id",
        "message",
        "sender_id",
        "seller_id",
        "seller",
        "seller_phone",
        "seller_phone_non_international",
        "team_id",
    }
)

# A declared character set, as the senders of forms and JSON name them. ASCII is part of UTF-8, and what
# calls itself ISO 8859-1 is Windows-1252 (https://encoding.spec.whatwg.org/#names-and-labels). Any other
# name counts as none: Python's own registry also knows codecs that are no character sets.
_CHARSETS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
    "utf-16": "utf-16-le",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark begins alike
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# PostgreSQL keeps no NUL, and no database keeps half a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Payload:
    """
    One text as IF3 sent it: its fields as text, None where one is missing or unusable.

    ``faults`` says what is wrong with single fields: ``bad_text``, ``bad_phone``, ``two_phones``,
    ``bad_id``, and ``bulk`` for all of a request that holds too many.
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
    Something in which no text could be found, and why: ``unreadable``, ``not_a_payload`` or ``too_deep``.
    """

    faults: tuple[Reason, ...]


Entry = Payload | Unreadable

# A JSON object or a form: every value a name was given, in order, so that a name given twice shows.
_Fields = dict[str, list[object]]


class _Number(str):
    """
    A JSON number as it was written: no length is too long for it, and no digit gets lost.
    """

    __slots__ = ()

    def whole(self) -> str | None:
        """
        The number in plain digits; None where it is not a whole one.
        """
        if re.fullmatch("-?[0-9]+", self):
            return str(self)
        value = float(self)
        # Beyond 2**53 a float no longer tells neighbouring whole numbers apart.
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else None


class _UnparsedError(Exception):
    """
    Bytes or text that are neither JSON nor a form.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.entry = Unreadable((Reason("unreadable", detail),))


def read_request(body: bytes, *, content_type: str | None, query: str = "") -> list[Entry]:
    """
    The texts in one request to the webhook, in their order; none for a ping (an empty body or ``{}``).

    *body* is decompressed and limited in size by the caller; *query* is the query string, read where
    the body is empty. More than ``MOST_PAYLOADS`` texts all carry the fault ``bulk``.
    """
    try:
        value = _parse(_decode(body, content_type), content_type)
    except _UnparsedError as fault:
        return [fault.entry]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value in (None, {}, []):
        return _from_query(query)
    if isinstance(value, list):
        return _from_list(value)
    return [_entry(value)]


def read_saved(document: bytes) -> list[Entry]:
    """
    The texts in a saved file, for ``replay``: JSON documents or lines, forms, Zapier's and n8n's envelopes.

    Envelopes are opened three levels deep at most. What holds no text is reported as ``Unreadable``.
    """
    try:
        text = _decode(document, None)
    except _UnparsedError as fault:
        return [fault.entry]
    return list(_from_lines(text))


def is_storable(text: str) -> bool:
    """
    Whether every database can keep *text*: it holds no NUL and no half of a surrogate pair.
    """
    return _UNSTORABLE.search(text) is None


# --- from bytes to values --------------------------------------------------------------------------------


def _decode(body: bytes, content_type: str | None) -> str:
    """
    *body* as text, by its byte order mark, else the declared character set, else UTF-8.
    """
    encoding = _charset(content_type)
    for mark, marked in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            body, encoding = body[len(mark) :], marked
            break
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as exc:
        raise _UnparsedError(
            f"Its bytes are not {encoding.upper()} text from byte {exc.start + 1} on: the sender must encode"
            " it as its content type says."
        ) from exc


def _charset(content_type: str | None) -> str:
    declared = re.search(r";\s*charset\s*=\s*[\"']?([\w-]+)", content_type or "", re.IGNORECASE)
    return _CHARSETS.get(declared[1].lower(), "utf-8") if declared else "utf-8"


def _parse(text: str, content_type: str | None) -> object:
    """
    *text* as JSON values or ``_Fields``, by its first character rather than by its type; None for nothing.
    """
    text = text.strip()
    if not text:
        return None
    if text[0] in "{[":
        try:
            return _json(text)
        except _UnparsedError:
            if "form" not in (content_type or "").lower():
                raise
    return _form(text, content_type)


def _json(text: str) -> object:
    value, end = _json_at(text, 0)
    if end < len(text):
        raise _UnparsedError("It is JSON with something behind it: the sender must send one JSON document.")
    return value


def _json_at(text: str, start: int) -> tuple[object, int]:
    """
    The JSON document that begins at *start*, and where it ends.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError as exc:
        raise _UnparsedError("It is JSON nested too deeply to be read.") from exc
    except ValueError as exc:
        raise _UnparsedError(
            "It begins as JSON and breaks off or is malformed: the sender must mend it."
        ) from exc
    return value, end


def _form(text: str, content_type: str | None) -> _Fields:
    encoding = _charset(content_type)
    if encoding.startswith("utf-16"):
        encoding = "utf-8"  # %XX escapes are single bytes, whatever the page around them is written in
    # Inside another format a person's words could look like fields.
    if "=" not in text or text.startswith("<") or "multipart/" in (content_type or "").lower():
        raise _UnparsedError("It is neither JSON nor a URL-encoded form.")
    try:
        # Escapes that are no text become lone surrogates, so that only their own field is at fault.
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            encoding=encoding,
            errors="surrogateescape",
            max_num_fields=_MOST_FORM_FIELDS,
        )
    except ValueError as exc:
        raise _UnparsedError(f"It is a form of more than {_MOST_FORM_FIELDS} fields.") from exc
    return _fields(pairs)


def _fields(pairs: list[tuple[str, str]] | list[tuple[str, object]]) -> _Fields:
    """
    Names without case, white space around them, or doubled underscores (``seller__phone``).
    """
    fields: _Fields = {}
    for name, value in pairs:
        fields.setdefault(re.sub("_+", "_", name.strip().lower()), []).append(value)
    return fields


# Control characters inside a string are not strict JSON; a line break that was not escaped is still one.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_fields, parse_int=_Number, parse_float=_Number, parse_constant=_Number, strict=False
)


# --- from values to entries ------------------------------------------------------------------------------


def _is_payload(value: object) -> TypeGuard[_Fields]:
    return isinstance(value, dict) and any(
        name == "message" or name.startswith("seller_phone") for name in value
    )


def _entry(value: object) -> Entry:
    if _is_payload(value):
        return _Reader(value).payload()
    return _no_payload("It names neither a message nor a phone (seller_phone), so it is not a text from IF3.")


def _no_payload(detail: str) -> Unreadable:
    return Unreadable((Reason("not_a_payload", detail),))


def _from_query(query: str) -> list[Entry]:
    """
    The text whose fields came in the query string; a query of other things does not make a ping a text.
    """
    try:
        fields = _form(query, None)
    except _UnparsedError:
        return []
    return [_entry(fields)] if fields.keys() & _IF3_FIELDS else []


def _from_list(values: list[object]) -> list[Entry]:
    """
    An entry for each payload, and one for each other element, of which the 21st and later share one.
    """
    entries = [_entry(value) for value in values]
    payloads = sum(isinstance(entry, Payload) for entry in entries)
    if payloads > MOST_PAYLOADS:
        bulk = Reason(
            "bulk",
            f"It came with {payloads - 1} others in one request, and more than {MOST_PAYLOADS} look like a"
            " mass text, which CallRail's terms forbid. Approve it only if a person wrote it to this person.",
        )
        entries = [
            replace(entry, faults=(*entry.faults, bulk)) if isinstance(entry, Payload) else entry
            for entry in entries
        ]
    return list(_few_unreadable(entries))


def _few_unreadable(entries: list[Entry]) -> Iterator[Entry]:
    """
    A request of thousands of zeros does not become thousands of held rows.
    """
    unreadable = 0
    for entry in entries:
        unreadable += isinstance(entry, Unreadable)
        if isinstance(entry, Payload) or unreadable <= MOST_PAYLOADS:
            yield entry
    if unreadable > MOST_PAYLOADS:
        yield _no_payload(f"{unreadable - MOST_PAYLOADS} more elements of the list are not texts from IF3.")


@dataclass(slots=True)
class _Reader:
    """
    Takes IF3's fields out of an object, and notes what is wrong with them.
    """

    fields: _Fields
    faults: list[Reason] = field(default_factory=list)

    def payload(self) -> Payload:
        return Payload(
            message=self._message(),
            seller_phone=self._phone("seller_phone"),
            seller_phone_non_international=self._phone("seller_phone_non_international"),
            opportunity_id=self._id("opportunity_id"),
            sender_id=self._id("sender_id"),
            seller_id=self._id("seller_id"),
            seller=_name_in(self._one("seller", None)),
            team_id=self._id("team_id"),
            faults=tuple(self.faults),
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
            return text
        return None

    def _phone(self, name: str) -> str | None:
        value = self._one(name, "two_phones")
        if value is None:
            return None
        text = _text(value)
        if text is None:
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
        text = _text(value)
        if routing and value is not None and text is None:
            self._fault(
                "bad_id", f"{name} is {_kind(value)}, so that no tracking number can be chosen by it."
            )
        return _shown(text)

    def _one(self, name: str, code: str | None) -> object:
        """
        The value of *name*; None, with a fault of that *code* if there is one, where it has two that differ.
        """
        values = [value for value in self.fields.get(name, []) if value is not None]
        values = [value for value in values if not _is_blank(value)] or values
        if not values:
            return None
        texts = [_text(value) for value in values]
        if len(values) > 1 and (None in texts or len(set(texts)) > 1):
            if code is not None:
                self._fault(code, f"{name} is given more than once, and differently.")
            return None
        return values[0]

    def _fault(self, code: str, detail: str) -> None:
        self.faults.append(Reason(code, detail))


def _text(value: object) -> str | None:
    """
    A text, or a whole number in digits; None for anything else.
    """
    if isinstance(value, _Number):
        return value.whole()
    return value if isinstance(value, str) else None


def _is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else "a number that is not whole"


def _shown(text: str | None) -> str | None:
    """
    *text* as it can be stored and shown; None where nothing is left of it.
    """
    if text is None:
        return None
    return _UNSTORABLE.sub("\ufffd", text.strip()[:_LONGEST_NAME]) or None


def _name_in(seller: object) -> str | None:
    """
    The contact's name, from a text or from the entry of a contact.
    """
    if not isinstance(seller, dict):
        return _shown(_text(seller))
    for names in (("name",), ("full_name",), ("display_name",), ("first_name", "last_name")):
        parts = [_shown(_text(_first(seller, name))) for name in names]
        if any(parts):
            return _shown(" ".join(part for part in parts if part))
    return None


# --- saved files and their envelopes ---------------------------------------------------------------------


def _from_lines(text: str) -> Iterator[Entry]:
    """
    The entries of every JSON document that begins on a line of its own, and of every line that is a form.

    Lines in a row that are neither are reported once.
    """
    skipped: list[int] = []
    for number, value in _documents(text):
        if value is None:
            skipped.append(number)
            continue
        yield from _skipped(skipped)
        skipped = []
        yield from _walk(value, _MOST_LEVELS)
    yield from _skipped(skipped)


def _skipped(lines: list[int]) -> Iterator[Unreadable]:
    if not lines:
        return
    which = f"Line {lines[0]} is" if len(lines) == 1 else f"Lines {lines[0]} to {lines[-1]} are"
    yield Unreadable((Reason("unreadable", f"{which} neither JSON nor a form with IF3's fields."),))


def _documents(text: str) -> Iterator[tuple[int, object]]:
    """
    Line number and value of each document; None for a line that is part of none.
    """
    number, start = 1, 0
    while start < len(text):
        newline = text.find("\n", start)
        end = len(text) if newline < 0 else newline + 1
        line = text[start:end].strip()
        if line[:1] in ("{", "["):
            value, end = _document_at(text, text.index(line[0], start), end)
            yield number, value
        elif line:
            yield number, _form_line(line)
        number += text.count("\n", start, end)
        start = end


def _document_at(text: str, start: int, end_of_line: int) -> tuple[object, int]:
    """
    The JSON document at *start*, and the end of its last line; None where it shares that line.
    """
    try:
        value, end = _json_at(text, start)
    except _UnparsedError:
        return None, end_of_line
    newline = text.find("\n", end)
    end_of_last = len(text) if newline < 0 else newline + 1
    return (None, end_of_line) if text[end:end_of_last].strip() else (value, end_of_last)


def _form_line(line: str) -> _Fields | None:
    try:
        fields = _form(line, None)
    except _UnparsedError:
        return None
    return fields if _is_payload(fields) else None


def _walk(value: object, levels: int) -> list[Entry]:
    """
    The entries in *value*, which may be wrapped *levels* times.
    """
    if _is_payload(value) or not isinstance(value, dict | list):
        return [_entry(value)]
    if levels == 0:
        return [
            Unreadable(
                (Reason("too_deep", f"It is wrapped in more than {_MOST_LEVELS} lists or envelopes."),)
            )
        ]
    if isinstance(value, list):
        return [entry for element in value for entry in _walk(element, levels - 1)]
    return _unwrap(value, levels - 1)


def _unwrap(envelope: _Fields, levels: int) -> list[Entry]:
    """
    The entries in a Zapier or n8n envelope; anything else is reported and not searched.
    """
    has_headers = "headers" in envelope
    if "rawrequest" in envelope or "cleanedrequest" in envelope:
        return _either(envelope, levels)
    if "content" in envelope and ("method" in envelope or has_headers):
        content = _first(envelope, "content")
        if _is_blank(content) or content in (None, {}, []):
            content = _first(envelope, "querystring")
        return _step(content, envelope, levels)
    if "raw_body" in envelope:
        return _step(_first(envelope, "raw_body"), envelope, levels)
    if "body" in envelope and (has_headers or "webhookurl" in envelope):
        return _step(_first(envelope, "body"), envelope, levels)
    return [_entry(envelope)]


def _either(envelope: _Fields, levels: int) -> list[Entry]:
    """
    What Zapier's raw request holds, or its cleaned one where the raw one holds no text.
    """
    raw = _step(_first(envelope, "rawrequest"), envelope, levels)
    if any(isinstance(entry, Payload) for entry in raw):
        return raw
    cleaned = _step(_first(envelope, "cleanedrequest"), envelope, levels)
    return cleaned if any(isinstance(entry, Payload) for entry in cleaned) else raw


def _step(content: object, envelope: _Fields, levels: int) -> list[Entry]:
    """
    The entries in what an envelope holds, parsed by the content type beside it where it is text.
    """
    if isinstance(content, str):
        try:
            content = _parse(content, _content_type(envelope))
        except _UnparsedError as fault:
            return [fault.entry]
    if content in (None, {}, []):
        return [_no_payload("Its envelope is empty: there is no text in it.")]
    return _walk(content, levels)


def _content_type(envelope: _Fields) -> str | None:
    headers = _first(envelope, "headers")
    value = _first(headers, "content-type") if isinstance(headers, dict) else None
    return value if isinstance(value, str) else None


def _first(fields: _Fields, name: str) -> object:
    """
    The first value of *name* that is not null.
    """
    return next((value for value in fields.get(name, []) if value is not None), None)
