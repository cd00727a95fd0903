"""Words from outside, made safe to show on a terminal."""

import json
import re
from collections.abc import Callable

# Controls (C0, DEL, C1) steer a terminal; directions and unseen marks make words look like others; the
# separators and surrogates break lines or the output. A line break and a tab are words; so are the joiners
# (U+200C, U+200D) and selectors, which emoji and some languages are written with.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000\U000e0001]"
)
# A joiner behind a plain letter or sign joins nothing, and is there to be overlooked.
_STRAY_JOINERS = re.compile("(?<=[\x20-\x7e])[\u200c\u200d]+")
# Tags spell the flags of England, Scotland and Wales behind a black flag; elsewhere they are unseen letters.
_TAGS = re.compile("(\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f)|[\U000e0020-\U000e007f]")


def printable(words: str) -> str:
    r"""
    *words* as a terminal may show them: what would steer it or hide is written out, such as ``\x1b``.

    Line breaks, accents and emoji stay as they are.
    """
    if words.isascii() and words.isprintable():
        return words
    return _safe(words.replace("\r\n", "\n"), _written)


def printable_line(words: str) -> str:
    r"""The same for what must stay on one line: a line break and a tab are written out, too."""
    return printable(words).replace("\n", "\\n").replace("\t", "\\t")


def printable_json(document: str) -> str:
    r"""A JSON document whose strings hold nothing of that raw: ``\u202e`` instead, which reads as before."""
    return _safe(document, lambda found: json.dumps(found[0])[1:-1])


def _safe(words: str, written: Callable[[re.Match[str]], str]) -> str:
    words = _UNSAFE.sub(written, _TAGS.sub(lambda found: found[1] or written(found), words))
    return _STRAY_JOINERS.sub(written, words)


def _written(found: re.Match[str]) -> str:
    return "".join(map(_escape, map(ord, found[0])))


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
