"""Bytes to text: UTF-8 if they decode as such, which other text almost never does, and only then by label."""

import json
import re
from contextlib import suppress
from encodings.aliases import aliases
from urllib.parse import unquote, unquote_to_bytes

from callrail_relay.domain import read_table
from callrail_relay.domain.message import Reason

_TABLES = read_table(__package__, "charset")
_CHARACTER_SETS = frozenset(_TABLES["character_sets"].split())
_LATIN = frozenset(_TABLES["latin"].split())
_IN_PRACTICE: dict[str, str] = _TABLES["in_practice"]

# UTF-8's most common sequences, or the starts that are left when they're cut. In other character sets people
# don't type what these bytes mean, so a byte of the text is broken. Some are words in Cyrillic and Chinese.
_BROKEN_UTF8 = re.compile(rb"\xe2\x80|\xf0\x9f(?![\xc0-\xff])")
_BROKEN_UTF8_IN_LATIN = re.compile(
    rb"[\xc2\xc3][\x80-\xbf]|\xe2[\x80-\xbf]{2}"
    rb"|[a-z][\xc2\xc3]|(?<![A-Za-z\x80-\xff])[\xe2\xf0](?![A-Za-z\x80-\xff])"  # cut to one byte
)
_CONTROLS = re.compile("[\x80-\x9f]")  # what bytes that no text contains decode to: the label is wrong

# The only one whose text also decodes as UTF-8: it switches character sets by escapes.
_SEVEN_BIT = "iso2022_jp"

_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")


class UnparsedError(Exception):
    def __init__(self, problem: str, **parameters: str | int) -> None:
        self.reason = Reason("unreadable", {"problem": problem, **parameters})
        super().__init__(problem)


def label(content_type: str | None) -> str | None:
    """Return Python's name for the character set in *content_type*; None if there's no real one."""
    found = re.search(r";\s*charset\s*=\s*[\"']?([\w.:-]+)", content_type or "", re.IGNORECASE | re.ASCII)
    if found is None:
        return None
    name = re.sub("[-.:]", "_", found[1].lower()).removeprefix("x_")
    name = aliases.get(name, name)
    name = _IN_PRACTICE.get(name, name)
    return name if name in _CHARACTER_SETS else None


def decode(body: bytes, content_type: str | None) -> str:
    """Return *body* as text: by byte order mark, else as UTF-8, else by label. Raises UnparsedError."""
    # JSON and forms start with ASCII, so NULs among the first bytes reveal wide characters (RFC 4627).
    if (detected := json.detect_encoding(body)) != "utf-8":
        return _decode(body, detected)
    labeled = label(content_type)
    mark = b"\x1b" if labeled == _SEVEN_BIT else b"\0"
    if labeled and labeled.startswith((_SEVEN_BIT, "utf_")) and mark in body:
        return _decode(body, labeled)
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        if labeled is None or _is_broken_utf8(body, labeled):
            raise UnparsedError("not_utf8", byte=exc.start + 1) from exc
        return _decode(body, labeled)


def unescape(text: str, labeled: str | None) -> str:
    """Return *text* with its %XX escapes decoded. Bytes that aren't text become lone surrogates."""
    if not _ESCAPE.search(text):
        return text
    if labeled != _SEVEN_BIT or b"\x1b" not in unquote_to_bytes(text):
        try:
            return unquote(text, errors="strict")
        except UnicodeDecodeError:
            pass
    # Escapes are single bytes, whatever the form around them is written in.
    data = unquote_to_bytes(text)
    if labeled and not labeled.startswith("utf_") and not _is_broken_utf8(data, labeled):
        with suppress(UnparsedError):
            _decode(data, labeled)
            return unquote(text, encoding=labeled)
    return unquote(text, errors="surrogateescape")


def _is_broken_utf8(data: bytes, labeled: str) -> bool:
    """Whether *data* is UTF-8 except for a few bytes, whatever its label says."""
    if _BROKEN_UTF8.search(data) or (labeled in _LATIN and _BROKEN_UTF8_IN_LATIN.search(data)):
        return True
    text = data.decode(errors="replace")
    broken = text.count("\ufffd")
    return sum(map("\x7f".__lt__, text)) > 3 * broken  # more than two characters per broken place


def _decode(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise UnparsedError("not_encoding", byte=exc.start + 1, encoding=_shown(encoding)) from exc
    if not encoding.startswith("utf") and (control := _CONTROLS.search(text)):
        byte = len(text[: control.start()].encode(encoding)) + 1
        raise UnparsedError("not_encoding", byte=byte, encoding=_shown(encoding))
    return text


def _shown(encoding: str) -> str:
    return encoding.upper().replace("_", "-").removesuffix("-SIG")
