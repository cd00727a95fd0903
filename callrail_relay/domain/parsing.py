"""
From text to values: JSON and URL-encoded forms, told apart by what they are rather than by what they say.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from callrail_relay.domain import charset
from callrail_relay.domain.charset import UnparsedError

IF3_FIELDS = frozenset(
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

_MOST_FORM_FIELDS = 1000

# A JSON object or a form: every value a name was given, in order, so that a name given twice shows.
Fields = dict[str, list[object]]


class Number(str):
    """A JSON number as it was written: no length is too long for it, and no digit gets lost."""

    __slots__ = ()

    def whole(self) -> str | None:
        """The number in plain digits; None where it is not a whole one."""
        if re.fullmatch("-?[0-9]+", self):
            return str(self)
        value = float(self)
        # Beyond 2**53 a float no longer tells neighbouring whole numbers apart.
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else None


class Doubtful(str):
    """A value of a form that may not read as it was written; *why* says so to a person."""

    __slots__ = ("why",)
    why: str

    def __new__(cls, text: str, why: str) -> Self:
        self = super().__new__(cls, text)
        self.why = why
        return self


def parse(text: str, content_type: str | None) -> object:
    """
    *text* as JSON values or ``Fields``, by its first character rather than by its type; None for nothing.

    JSON that was encoded twice is unwrapped once. Raises UnparsedError.
    """
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


# --- JSON ------------------------------------------------------------------------------------------------


def _whole_json(text: str, start: int) -> object:
    value, end = json_at(text, start)
    if rest := text[end:].strip():
        raise UnparsedError(
            f"There is more behind the end of the JSON, at {_place(text, text.index(rest, end))}: the sender"
            " must send one JSON document."
        )
    return value


def json_at(text: str, start: int) -> tuple[object, int]:
    """The JSON document that begins at *start*, and where it ends. Raises UnparsedError."""
    value, end = _json_at(text, start)
    if not isinstance(value, str):
        return value, end
    inner = value.strip()
    if inner[:1] not in ("{", "["):
        raise UnparsedError("It is a JSON text, and not an object with IF3's fields.")
    value, inner_end = _json_at(inner, 0)
    if inner_end < len(inner):
        raise UnparsedError("It is JSON encoded twice, with something behind the inner document.")
    return value, end


def _json_at(text: str, start: int) -> tuple[object, int]:
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError as exc:
        raise UnparsedError("It is JSON nested too deeply to be read.") from exc
    except json.JSONDecodeError as exc:
        at, remedy = _remedy(text, exc)
        raise UnparsedError(f"It is not valid JSON at {_place(text, at)}: {remedy}.") from exc


def _place(text: str, at: int) -> str:
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"


_CURLY = "“”„‟«»″"
_CURLY_END = re.compile(rf"[{_CURLY}]\s*[,:}}\]]")
_CURLY_CLOSED = re.compile(rf'{_CURLY_END.pattern}\s*"$')
_REMEDIES = {
    "Expecting property name enclosed in double quotes": 'a field name in quotes (") is missing',
    "Expecting ':' delimiter": "a colon is missing after the field name",
    "Expecting ',' delimiter": (
        'a comma or a closing bracket is missing; a quote (") inside a text must be written as \\"'
    ),
    "Expecting value": "a value is missing; only text in quotes, numbers, true, false and null are JSON",
    "Unterminated string starting at": 'the closing quote (") of the text that begins here is missing',
    "Invalid \\escape": "a backslash inside a text must be written as \\\\",
}


def _remedy(text: str, error: json.JSONDecodeError) -> tuple[int, str]:
    """Where a person has to change the JSON, and how."""
    at = error.pos
    before = text[max(0, at - 50) : at]
    here = text[at : at + 1]
    if here and here in _CURLY:
        return at, f'write the curly quote {here} as a straight one (")'
    # A curly quote in the place of the closing one: the text went on until the next straight one, or the end.
    unclosed = error.msg.startswith("Unterminated")
    curly = _CURLY_END.search(text, at) if unclosed else _CURLY_CLOSED.search(text, at - len(before), at)
    if curly:
        return curly.start(), f'write the curly quote {curly[0][0]} as a straight one (")'
    if here and here in "'‘’`":  # noqa: RUF001 - as people type them
        return at, f'write the single quote {here} as a double one (")'
    # Python points at the comma from release 3.13 on, and behind it before.
    comma = at if here == "," else at - len(before) + len(before.rstrip()) - 1
    closing = text[comma + 1 : comma + 50].lstrip()[:1]
    if text[comma : comma + 1] == "," and closing and closing in "}]":
        return comma, f"remove the comma before {closing}"
    if not text[at:].strip():
        return at, "it breaks off here; it must be sent whole"
    return at, next((remedy for fault, remedy in _REMEDIES.items() if fault in error.msg), error.msg)


# --- URL-encoded forms -----------------------------------------------------------------------------------


# The fields in which people write: only these can hold an "&".
_WRITTEN = frozenset({"message", "seller"})

# No sender that escapes a form's values lets these through.
_NEVER_IN_FORMS = re.compile(r'[^!-~]|["<>\\^`{|}#\[\]]')
_RAW = re.compile(rf"{_NEVER_IN_FORMS.pattern}|[=?]|://")
_ESCAPED = re.compile(r"\+|%[0-9A-Fa-f]{2}")
_FIELD_NAME = re.compile(r"[\w.+~!*'()$%\[\]-]+", re.ASCII)
_LONGEST_LINK = 2000

_LOOSE_AMPERSAND = (
    "The form has an & that the sender did not escape as %26, so it is not certain where the text ends. Read"
    " it, and approve it if nothing is missing or too much."
)
_HALF_ESCAPED = (
    "The sender of the form escaped only parts of the text (it has both spaces and %XX), so it may read"
    " differently from what was written. Read it, and approve it if it is right."
)


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is between two ``&`` of a form; *name* is None where it cannot be a field of any form."""

    raw: str
    name: str | None
    value: str


def form(text: str, content_type: str | None) -> Fields:
    """
    The fields of a URL-encoded form. Raises UnparsedError.

    An ``&`` that was not escaped is part of the text where that is certain; where it is not, the whole is
    ``Doubtful``.
    """
    # Inside another format a person's words could look like fields.
    if "multipart/" in (content_type or "").lower():
        raise UnparsedError("It is a multipart form: the sender must send JSON or a URL-encoded form.")
    if "=" not in text or text.lstrip().startswith("<"):
        raise UnparsedError("It is neither JSON nor a URL-encoded form.")
    if text.count("&") >= _MOST_FORM_FIELDS:
        raise UnparsedError(f"It is a form of more than {_MOST_FORM_FIELDS} fields.")
    labeled = charset.label(content_type)
    return _fields(_pairs([_piece(raw, labeled) for raw in text.split("&")], labeled))


def _piece(raw: str, labeled: str | None) -> _Piece:
    name, equals, value = raw.partition("=")
    plain = _plain_name(charset.unescape(name.replace("+", " "), labeled))
    is_field = equals and (plain in IF3_FIELDS or _FIELD_NAME.fullmatch(name))
    return _Piece(raw, plain if is_field else None, value)


def _pairs(pieces: Sequence[_Piece], labeled: str | None) -> Iterator[tuple[str, str]]:
    known = [piece.name for piece in pieces if piece.name in IF3_FIELDS]
    # Where a text may go on behind a field's name, the field's real value is there as well.
    twice = len(known) > len(set(known)) or any(
        piece.name in IF3_FIELDS and piece.raw[:1].isspace() for piece in pieces
    )
    at = 0
    while at < len(pieces):
        piece, at = pieces[at], at + 1
        if piece.name not in _WRITTEN:
            if piece.name is not None:
                yield piece.name, _value(piece.value, labeled)
            continue
        end = next((i for i in range(at, len(pieces)) if pieces[i].name in IF3_FIELDS), len(pieces))
        yield piece.name, _written(piece.value, pieces[at:end], labeled, twice=twice)
        at = end


def _written(value: str, others: Sequence[_Piece], labeled: str | None, *, twice: bool) -> str:
    """
    What a person wrote, which begins with *value*; *others* come before the next field of IF3's.

    They are part of it where no form could hold them as fields, or where they go on with a link's query. A
    sender that escapes its values means a field of its own, which is left out. All else is doubtful.
    """
    raw = bool(_RAW.search(value)) or any(
        _NEVER_IN_FORMS.search(piece.value if piece.name else piece.raw) for piece in others
    )
    escaped = not raw and bool(_ESCAPED.search(value))
    if not raw:
        last = max((i for i, piece in enumerate(others) if piece.raw and piece.name is None), default=-1)
        others = others[: last + 1]
    doubtful = raw and twice
    for piece in others:
        if piece.name is None and piece.raw:
            doubtful |= escaped
        else:
            doubtful |= not (raw and piece.raw and _is_in_query(value))
        value += f"&{piece.raw}"
    if doubtful:
        return Doubtful(_value(value, labeled), _LOOSE_AMPERSAND)
    read = _value(value, labeled)
    return Doubtful(read, _HALF_ESCAPED) if _has_space(value) and read != value else read


def _is_in_query(text: str) -> bool:
    """Whether *text* ends inside the query of a link."""
    tail = text[-_LONGEST_LINK:]
    link, _, query = "".join(tail.split()[-1:] if not tail[-1:].isspace() else ()).partition("?")
    return "=" in query and ("." in link or "/" in link)


def _value(value: str, labeled: str | None) -> str:
    """A value without its escapes. One with a plain space was not escaped, and a "+" in it is a plus."""
    return charset.unescape(value if _has_space(value) else value.replace("+", " "), labeled)


def _has_space(text: str) -> bool:
    return re.search(r"\s", text) is not None


# --- fields ----------------------------------------------------------------------------------------------


def _fields(pairs: Iterable[tuple[str, object]]) -> Fields:
    """Names without case, white space around them, or doubled underscores (``seller__phone``)."""
    fields: Fields = {}
    for name, value in pairs:
        fields.setdefault(_plain_name(name), []).append(value)
    return fields


@lru_cache(maxsize=256)  # the same few names come all the time
def _plain_name(name: str) -> str:
    return re.sub("_+", "_", name.strip().lower())


# Control characters inside a string are not strict JSON; a line break that was not escaped is still one.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_fields, parse_int=Number, parse_float=Number, parse_constant=Number, strict=False
)


def is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def first(fields: Fields, name: str) -> object:
    """The first value of *name* that is not null."""
    return next((value for value in fields.get(name, []) if value is not None), None)
