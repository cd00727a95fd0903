"""
From bytes to values: JSON and URL-encoded forms, told apart by what they are rather than by what they say.
"""

import codecs
import json
import re
from functools import lru_cache
from urllib.parse import parse_qsl

_MOST_FORM_FIELDS = 1000

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

# A JSON object or a form: every value a name was given, in order, so that a name given twice shows.
Fields = dict[str, list[object]]


class Number(str):
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


class UnparsedError(Exception):
    """
    Bytes or text that are neither JSON nor a form.
    """


def decode(body: bytes, content_type: str | None) -> str:
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
        raise UnparsedError(
            f"Its bytes are not {encoding.upper()} text from byte {exc.start + 1} on: the sender must encode"
            " it as its content type says."
        ) from exc


def _charset(content_type: str | None) -> str:
    declared = re.search(r";\s*charset\s*=\s*[\"']?([\w-]+)", content_type or "", re.IGNORECASE)
    return _CHARSETS.get(declared[1].lower(), "utf-8") if declared else "utf-8"


def parse(text: str, content_type: str | None) -> object:
    """
    *text* as JSON values or ``Fields``, by its first character rather than by its type; None for nothing.
    """
    text = text.strip()
    if not text:
        return None
    if text[0] in "{[":
        try:
            return _json(text)
        except UnparsedError:
            if "form" not in (content_type or "").lower():
                raise
    return form(text, content_type)


def _json(text: str) -> object:
    value, end = json_at(text, 0)
    if end < len(text):
        raise UnparsedError("It is JSON with something behind it: the sender must send one JSON document.")
    return value


def json_at(text: str, start: int) -> tuple[object, int]:
    """
    The JSON document that begins at *start*, and where it ends.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError as exc:
        raise UnparsedError("It is JSON nested too deeply to be read.") from exc
    except ValueError as exc:
        raise UnparsedError(
            "It begins as JSON and breaks off or is malformed: the sender must mend it."
        ) from exc
    return value, end


def form(text: str, content_type: str | None) -> Fields:
    encoding = _charset(content_type)
    if encoding.startswith("utf-16"):
        encoding = "utf-8"  # %XX escapes are single bytes, whatever the page around them is written in
    # Inside another format a person's words could look like fields.
    if "=" not in text or text.startswith("<") or "multipart/" in (content_type or "").lower():
        raise UnparsedError("It is neither JSON nor a URL-encoded form.")
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
        raise UnparsedError(f"It is a form of more than {_MOST_FORM_FIELDS} fields.") from exc
    return _fields(pairs)


def _fields(pairs: list[tuple[str, str]] | list[tuple[str, object]]) -> Fields:
    """
    Names without case, white space around them, or doubled underscores (``seller__phone``).
    """
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
    """
    The first value of *name* that is not null.
    """
    return next((value for value in fields.get(name, []) if value is not None), None)
