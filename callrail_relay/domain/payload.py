"""Reads what IF3 sends into payloads. Nothing in a body is an error: what can't be read becomes a reason."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from itertools import chain, pairwise
from typing import NamedTuple, Self, TypeGuard

from callrail_relay.domain import charset
from callrail_relay.domain.charset import UnparsedError, decode
from callrail_relay.domain.message import IF3Context, Reason
from callrail_relay.domain.printable import whole_number
from callrail_relay.domain.routing import plain_id

# https://investorfuse.document360.io/docs/callrail-api-v3
IF3_FIELDS = frozenset((
    "message", "seller_phone", "seller_phone_non_international", "seller", "seller_id", "sender_id",
    "opportunity_id", "team_id",
))  # fmt: skip

MOST_PAYLOADS = 20  # more texts in one request look like a mass text, which CallRail's terms forbid
MOST_ENTRIES = 1000  # more become one entry: none has room for a text and a phone number
_MOST_FORM_FIELDS = 1000
_LONGEST = 200  # of a phone number, and of a name, which is cut: it's only for display
# What a web page's escaping, or an editor for web pages, leaves in a text: "&#39;", "Jos&eacute;", "<br>".
_WEB_CODE = re.compile(
    "&(?:#[0-9]{2,6}|#x[0-9a-f]{2,5}|amp|apos|quot|lt|gt|nbsp|hellip|euro|[lr][sd]quo|[mn]dash|frac[1-4]{2}"
    "|[a-z](?:acute|grave|circ|tilde|uml|cedil));|</(?:p|div|span|strong|em|li|a)>|<(?:br|p|div) ?/?>",
    re.IGNORECASE,
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # no NUL in PostgreSQL, no half a surrogate pair

Fields = dict[str, list[object]]  # every value a name was given, in order, so a name given twice shows


class Number(str):  # a JSON number as it was written: none is too long, and no digit is lost
    __slots__ = ()

    def whole(self) -> str | None:
        """The number in plain digits; None if it isn't a whole one."""
        if re.fullmatch("-?[0-9]+", self):
            return str(self)
        value = float(self)  # beyond 2**53, it can't tell neighboring whole numbers apart
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else None


class Doubtful(str):
    __slots__ = ("problem",)
    problem: str  # why the value may not read as it was written

    def __new__(cls, text: str, problem: str) -> Self:
        self = super().__new__(cls, text)
        self.problem = problem
        return self


@dataclass(frozen=True, slots=True)
class Payload(IF3Context):
    message: str | None = None  # like all of them, None if missing or unusable
    seller_phone: str | None = None
    seller_phone_non_international: str | None = None
    faults: tuple[Reason, ...] = ()
    came_at: datetime | None = None  # of a text from another program's history


Entry = Payload | Reason  # why something isn't a payload


def read_request(body: bytes, *, content_type: str | None, query: str = "") -> list[Entry]:
    """Return the texts in one request to the webhook, in order; *query* is read if the body is empty."""
    try:
        text = decode(body, content_type)
        value = parse(text, content_type)
    except UnparsedError as fault:
        return [fault.reason]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value in (None, {}, []):
        is_ping = "".join(text.split()) in ("", "{}", "[]")
        return _from_query(query) or ([] if is_ping else [no_payload()])
    return _from_list(value) if isinstance(value, list) else [to_entry(value)]


def is_storable(text: str) -> bool:
    return _UNSTORABLE.search(text) is None


def storable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def is_payload(value: object) -> TypeGuard[Fields]:
    return isinstance(value, dict) and (
        "message" in value or any(name.startswith("seller_phone") for name in value)
    )


def to_entry(value: object, *faults: Reason) -> Entry:
    """Return *value* as a payload that has these *faults*, too, or why it isn't one."""
    if is_payload(value):
        return _Reader(value).payload(faults)
    # JSON that was posted as a form is the name of a field.
    names = [*value] if isinstance(value, dict) else []
    return no_payload() if dig([names, value]) is None else no_payload(problem="wrapped")


def dig(value: object, levels: int = 8) -> Fields | None:
    """Return the first payload in *value*: also within what it contains, and in JSON text."""
    if isinstance(value, str) and len(value) > len('{"message":') and value.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            value = _DECODER.decode(value)
    if is_payload(value):
        return value
    if levels == 0 or not isinstance(value, dict | list):
        return None
    inner = chain.from_iterable(value.values()) if isinstance(value, dict) else value
    return next((found for one in inner if (found := dig(one, levels - 1)) is not None), None)


def as_json(value: object) -> object:
    """Return *value*, which a Python program made, as ``parse`` would return it."""
    if isinstance(value, Mapping):
        return _fields((str(name), as_json(one)) for name, one in value.items())
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return Number(str(value))
    return value


def no_payload(**parameters: str | int) -> Reason:
    return Reason("not_a_payload", parameters)


def _from_query(query: str) -> list[Entry]:
    """Return the text whose fields came in the query; one of other things doesn't make a ping a text."""
    try:
        fields = form(query, None)
    except UnparsedError as fault:  # too large a form may contain a text; others don't
        return [fault.reason] if "=" in query and not query.startswith("<") else []
    return [to_entry(fields)] if fields.keys() & IF3_FIELDS else []


def _from_list(values: list[object]) -> list[Entry]:
    """Return an entry per payload and per other element; the 21st and later of those share one."""
    payloads = sum(map(is_payload, values))
    if payloads > MOST_ENTRIES:
        return [Reason("bulk", {"problem": "kept_as_one", "texts": payloads})]
    is_bulk = payloads > MOST_PAYLOADS
    bulk = (Reason("bulk", {"texts": payloads, "limit": MOST_PAYLOADS}),) if is_bulk else ()
    entries: list[Entry] = []
    unreadable = 0
    for value in values:
        unreadable += not is_payload(value)
        if is_payload(value) or unreadable <= MOST_PAYLOADS:
            entries.append(to_entry(value, *bulk))
    if unreadable > MOST_PAYLOADS:
        entries.append(no_payload(problem="more", count=unreadable - MOST_PAYLOADS))
    return entries


@dataclass(slots=True)
class _Reader:
    fields: Fields
    faults: list[Reason] = field(default_factory=list)

    def payload(self, faults: tuple[Reason, ...]) -> Payload:
        message, seller = self._message(), _name(self._one("seller", None))
        phones = {name: self._phone(name) for name in ("seller_phone", "seller_phone_non_international")}
        ids = {name: self._id(name) for name in ("opportunity_id", "sender_id", "seller_id", "team_id")}
        known = {**phones, **ids}
        return Payload(message=message, seller=seller, faults=(*self.faults, *faults), came_at=None, **known)

    def _message(self) -> str | None:
        value = self._one("message", "bad_text")
        text = _text(value)
        if text is None and value is not None:
            self._fault("bad_text", "not_text", kind=_kind(value))
        elif text is not None and not is_storable(text):
            self._fault("bad_text", "nul" if "\x00" in text else "broken_character")
            return None
        elif isinstance(value, Doubtful):
            self._fault("doubtful_text", value.problem)
        elif text is not None and (code := _WEB_CODE.search(text)):
            self._fault("doubtful_text", "web_code", found=code[0])
        return text

    def _phone(self, name: str) -> str | None:
        value = self._one(name, "two_phones")
        text = _text(value)
        if isinstance(value, Number) and whole_number(value) is None:
            self._fault("bad_phone", "rounded", typed=str(value))
        elif text is None and value is not None:
            self._fault("bad_phone", "not_text", field=name, kind=_kind(value))
        elif text is not None and (not is_storable(text) or len(text.strip()) > _LONGEST):
            self._fault("bad_phone", "not_written", field=name)
        else:
            return (text or "").strip() or None
        return None

    def _id(self, name: str) -> str | None:
        # A wrong route would be worse than a text that waits; nothing depends on the other ids.
        routing = name in ("team_id", "sender_id")
        value = self._one(name, "bad_id" if routing else None)
        text = _text(value)
        plain = None if text is None else plain_id(text)
        if plain is not None and re.fullmatch("-?[0-9]+[.,][0-9]+", plain):  # as JSON's number would be
            value = Number(plain.replace(",", "."))
            text = plain = value.whole()
        if routing and text is None and value is not None:
            self._fault("bad_id", "not_text", field=name, kind=_kind(value))
        elif routing and text is not None and plain is None:
            self._fault("bad_id", "rounded", field=name)
        return _shown(plain)

    def _one(self, name: str, code: str | None) -> object:
        """Return the one value of *name*; None for two, with a fault of this *code* if given."""
        given = self.fields.get(name, [None])
        if len(given) == 1:
            return given[0]
        values = [value for value in given if value is not None]
        values = [value for value in values if not is_blank(value)] or values
        texts = {_text(value) for value in values}
        if None not in texts and len(texts) <= 1:
            return values[0] if values else None
        if code is not None:
            self._fault(code, "given_twice", field=name)
        return None

    def _fault(self, code: str, problem: str, **parameters: str) -> None:
        self.faults.append(Reason(code, {"problem": problem, **parameters}))


def _text(value: object) -> str | None:
    """Return a text, or a whole number in digits; None for anything else."""
    if isinstance(value, Number):
        return value.whole()
    return str(value) if isinstance(value, str) else None


def _kind(value: object) -> str:
    kinds = {bool: "true or false", list: "a list", dict: "an object", Number: "a number that isn't whole"}
    return kinds.get(type(value), "not text")


def _shown(value: object) -> str | None:
    """Return *value* so that it can be stored and shown; None if it's no text, or nothing is left of it."""
    return storable((_text(value) or "").strip()[:_LONGEST]) or None


def _name(seller: object) -> str | None:
    """Return the contact's name, from a text or from a contact's entry."""
    if not isinstance(seller, dict):
        return _shown(seller)
    for names in (("name",), ("full_name",), ("display_name",), ("first_name", "last_name")):
        if parts := [part for name in names if (part := _shown(first(seller, name)))]:
            return _shown(" ".join(parts))
    return None


def parse(text: str, content_type: str | None) -> object:
    """Return *text* as JSON values or ``Fields``, by its start; None if empty. Raises UnparsedError."""
    start = len(text) - len(text.lstrip())
    if start == len(text):
        return None
    if text[start] in '{["':
        try:
            return _whole_json(text, start)
        except UnparsedError:
            if "form" not in (content_type or "").lower():
                raise
    return form(text.strip("\r\n"), content_type)


def _whole_json(text: str, start: int) -> object:
    value, end = json_at(text, start)
    if rest := text[end:].strip():
        raise UnparsedError("json_twice", **_place(text, text.index(rest, end)))
    return value


def json_at(text: str, start: int) -> tuple[object, int]:
    """Return the JSON document that begins at *start*, unwrapped if it was encoded twice, and its end."""
    value, end = _json_at(text, start)
    if not isinstance(value, str):
        return value, end
    inner = value.strip()
    if inner[:1] not in ("{", "["):
        raise UnparsedError("json_text")
    value, inner_end = _json_at(inner, 0)
    if inner_end < len(inner):
        raise UnparsedError("json_in_json")
    return value, end


def _json_at(text: str, start: int) -> tuple[object, int]:
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError as exc:
        raise UnparsedError("json_too_deep") from exc
    except json.JSONDecodeError as exc:
        at, mistake, found = _mistake(text, exc)
        raise UnparsedError(mistake, **found, **_place(text, at)) from exc


def _place(text: str, at: int) -> dict[str, int]:
    return {"line": text.count("\n", 0, at) + 1, "column": at - text.rfind("\n", 0, at)}


_CURLY = "“”„‟«»″"
_CURLY_END = re.compile(rf"[{_CURLY}]\s*[,:}}\]]")
_CURLY_CLOSED = re.compile(rf'{_CURLY_END.pattern}\s*"$')
_MISTAKES = {
    "Expecting property name enclosed in double quotes": "json_no_name",
    "Expecting ':' delimiter": "json_no_colon",
    "Expecting ',' delimiter": "json_no_comma",
    "Expecting value": "json_no_value",
    "Unterminated string starting at": "json_no_quote",
    "Invalid \\escape": "json_backslash",
}


def _mistake(text: str, error: json.JSONDecodeError) -> tuple[int, str, dict[str, str]]:
    """Say where a person has to change the JSON, and what is wrong there."""
    at = error.pos
    before = text[max(0, at - 50) : at]
    here = text[at : at + 1]
    if here and here in _CURLY:
        return at, "json_curly_quote", {"found": here}
    # A curly quote in place of the closing one: the text went on until the next straight one, or the end.
    unclosed = error.msg.startswith("Unterminated")
    curly = _CURLY_END.search(text, at) if unclosed else _CURLY_CLOSED.search(text, at - len(before), at)
    if curly:
        return curly.start(), "json_curly_quote", {"found": curly[0][0]}
    if here and here in "'‘’`":  # noqa: RUF001 - as people type them
        return at, "json_single_quote", {"found": here}
    # Python points at the comma from release 3.13 on, and behind it before.
    comma = at if here == "," else at - len(before) + len(before.rstrip()) - 1
    closing = text[comma + 1 : comma + 50].lstrip()[:1]
    if text[comma : comma + 1] == "," and closing and closing in "}]":
        return comma, "json_last_comma", {"found": closing}
    if not text[at:].strip():
        return at, "json_cut_off", {}
    mistakes = (name for fault, name in _MISTAKES.items() if fault in error.msg)
    return at, next(mistakes, "json_invalid"), {}


# The fields in which people write: only these can contain an "&".
_WRITTEN = frozenset({"message", "seller"})

# No sender that escapes a form's values lets these through.
_NEVER_IN_FORMS = re.compile(r'[^!-~]|["<>\\^`{|}#\[\]]')
_RAW = re.compile(rf"{_NEVER_IN_FORMS.pattern}|[=?]|://")
_ESCAPED = re.compile(r"\+|%[0-9A-Fa-f]{2}")
# JavaScript's encodeURI writes a space as %20 and keeps these and "&"; its escape() makes what no form has.
_LEFT_BY_ENCODE_URI = re.compile("[,:;@$+]")
_MADE_BY_ESCAPE = re.compile("%u[0-9A-Fa-f]{4}")
_FIELD_NAME = re.compile(r"[\w.+~!*'()$%\[\]-]+", re.ASCII)
_SPACE = r"(?:\+|%(?:20|0[9AaDd]))"
# People put white space around an "&" and a "=". After an "&", only a field's name of two words has some.
_AROUND_AMPERSAND = re.compile(rf"&{_SPACE}|{_SPACE}&[^=]*{_SPACE}|&[^=]*{_SPACE}={_SPACE}")
_SPACED_AMPERSAND = re.compile(rf"{_SPACE}&{_SPACE}")
_LONGEST_LINK = 2000


class _Piece(NamedTuple):
    raw: str
    name: str | None  # None if it can't be a field of any form
    value: str
    is_words: bool  # whether it continues a text that is before it


def form(text: str, content_type: str | None) -> Fields:
    """Return the fields of a URL-encoded form. Raises UnparsedError."""
    if "multipart/" in (content_type or "").lower():  # a person's words in it could look like fields
        raise UnparsedError("multipart")
    if "=" not in text or text.lstrip().startswith("<"):
        raise UnparsedError("no_form")
    if text.count("&") >= _MOST_FORM_FIELDS:
        raise UnparsedError("too_many_fields", limit=_MOST_FORM_FIELDS)
    labeled = charset.label(content_type)
    raws = text.split("&")
    return _fields(_pairs([_piece(*pair, labeled) for pair in pairwise(["", *raws])], labeled))


def _piece(before: str, raw: str, labeled: str | None) -> _Piece:
    name, equals, value = raw.partition("=")
    plain = _plain_name(charset.unescape(name.replace("+", " "), labeled))
    joint = f"{before[-3:]}&{raw}"
    is_field = equals and (
        plain in IF3_FIELDS or (_FIELD_NAME.fullmatch(name) and not _AROUND_AMPERSAND.search(joint))
    )
    is_words = not is_field or bool(_SPACED_AMPERSAND.search(joint))
    return _Piece(raw, plain if is_field else None, value, is_words)


def _pairs(pieces: Sequence[_Piece], labeled: str | None) -> Iterator[tuple[str, str]]:
    known = [piece for piece in pieces if piece.name in IF3_FIELDS]
    # Where a text may go on after a field's name, the field's real value is there as well.
    twice = len(known) > len({one.name for one in known}) or any(one.raw[:1].isspace() for one in known)
    at = 0
    while at < len(pieces):
        piece, at = pieces[at], at + 1
        if piece.name in _WRITTEN:
            ends = (
                i for i in range(at, len(pieces)) if pieces[i].name in IF3_FIELDS and not pieces[i].is_words
            )
            end = next(ends, len(pieces))
            yield piece.name, _written(piece.value, pieces[at:end], labeled, twice=twice)
            at = end
        elif piece.name is not None:
            yield piece.name, _value(piece.value, labeled)


def _written(value: str, others: Sequence[_Piece], labeled: str | None, *, twice: bool) -> str:
    """Return *value* with the *others* that belong to it: no form has them, or they continue a link."""
    unescaped = (_NEVER_IN_FORMS.search(piece.value if piece.name else piece.raw) for piece in others)
    encode_uri = "%20" in value and _LEFT_BY_ENCODE_URI.search(value)
    raw = bool(_RAW.search(value) or encode_uri) or any(unescaped)
    escaped = bool(_ESCAPED.search(value))
    if not raw:
        last = max((i for i, piece in enumerate(others) if piece.raw and piece.is_words), default=-1)
        others = others[: last + 1]
    doubtful = raw and twice
    for piece in others:
        is_text = piece.is_words and piece.raw
        if is_text:
            doubtful |= not raw and (escaped or "=" in piece.raw)
        else:
            doubtful |= not (raw and piece.raw and _is_in_query(value))
        value += f"&{piece.raw}"
    read = _value(value, labeled)
    if doubtful:
        return Doubtful(read, "loose_ampersand")
    half = (re.search(r"\s", value) and read != value) or ("%20" in value and "+" in value)
    return Doubtful(read, "half_escaped") if half or _MADE_BY_ESCAPE.search(value) else read


def _is_in_query(text: str) -> bool:
    """Whether *text* ends inside the query of a link."""
    end = text[-_LONGEST_LINK:]
    link, _, query = re.split(r"\s" if re.search(r"\s", end) else _SPACE, end)[-1].partition("?")
    return "=" in query and ("." in link or "/" in link)


def _value(value: str, labeled: str | None) -> str:
    """Return a value without its escapes. A "+" is a plus if its spaces are written in another way."""
    return charset.unescape(value if re.search(r"\s|%20", value) else value.replace("+", " "), labeled)


def _fields(pairs: Iterable[tuple[str, object]]) -> Fields:
    fields: Fields = {}
    for name, value in pairs:
        fields.setdefault(_plain_name(name), []).append(value)
    return fields


@lru_cache(maxsize=256)  # the same few names come all the time
def _plain_name(name: str) -> str:
    """Return *name* without case, white space around it, or doubled underscores (``seller__phone``)."""
    return re.sub("_+", "_", name.strip().lower())


# Control characters inside a string aren't strict JSON, but an unescaped line break is still one.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_fields, parse_int=Number, parse_float=Number, parse_constant=Number, strict=False
)


def is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def first(fields: Fields, name: str) -> object:
    return next((value for value in fields.get(name, []) if value is not None), None)
