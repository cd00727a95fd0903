"""Words from outside, made safe to show on a terminal and in the cells of a spreadsheet, and its numbers."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _csv import Reader

# Controls steer a terminal, directions and unseen marks make words look like others, separators and
# surrogates break lines or the output. Line breaks, tabs, joiners (U+200C, U+200D) and selectors stay.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000\U000e0001]"
)
# A joiner behind a plain letter or sign joins nothing, and is there to be overlooked.
_STRAY_JOINERS = re.compile("(?<=[\x20-\x7e])[\u200c\u200d]+")
# Tags spell the flags of England, Scotland and Wales behind a black flag; elsewhere they are unseen letters.
_TAGS = re.compile("(\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f)|[\U000e0020-\U000e007f]")


def printable(words: str) -> str:
    r"""*words* as a terminal may show them: what would steer it or hide is written out, such as ``\x1b``."""
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
    return found[0].encode("unicode_escape").decode().replace("\\r", "\\x0d")


def shortened(words: str | None, most: int = 160) -> str:
    """The beginning of *words* on one line, up to the end of a word."""
    line = " ".join((words or "").split())
    if len(line) <= most:
        return line
    whole, _, _ = line[:most].rpartition(" ")
    return f"{whole or line[: most - 1]}…"


# Where a cell begins as a formula (https://owasp.org/www-community/attacks/CSV_Injection). Some programs drop
# spaces, apostrophes and quotes before it, or take semicolons, tabs and line breaks in a cell for its end.
_FORMULA = "[=+@\uff1d\uff0b\uff0d\uff20-]"
_BEGINS = (
    rf"(?:(?<![\s\S]){{guard}}(?=['\"]*(?:[\t\r\n]|['\"\s]*{_FORMULA}))"
    rf"|(?<=[;\t\r\n]){{guard}}(?=(?:['\"]|[^\S\t\r\n])*{_FORMULA}))"
)
_UNGUARDED = re.compile(_BEGINS.format(guard=""))
_GUARDED = re.compile(_BEGINS.format(guard="'"))

# 42.0 and 2,025,550,149
_DECIMAL = re.compile(r"([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.0*)?")
# 2.025550149E+09; without a point or a sign it may be an id that is no number
_SCIENTIFIC = re.compile(r"([0-9])(?:\.([0-9]+)[eE]\+?|[eE]\+)([0-9]{1,2})")


def guarded(words: str) -> str:
    """*words* as a cell: with an apostrophe wherever a spreadsheet could find the beginning of a formula."""
    return _UNGUARDED.sub("'", words)


def unguarded(cell: str) -> str:
    """The words that ``guarded`` made *cell* from."""
    return _GUARDED.sub("", cell)


def lines(rows: Iterable[Iterable[str]]) -> str:
    """*rows* as lines of CSV (RFC 4180, with the line ends of the programs that read a pipe)."""
    return "".join(",".join(_quoted(cell) for cell in row) + "\n" for row in rows)


def rows_of(text: str, *, strict: bool = False) -> "Reader":
    """Return the rows of CSV, by the separator of its first line: Excel writes the one of its country."""
    head = text.lstrip().partition("\n")[0]
    return csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=strict)


def _quoted(cell: str) -> str:
    # csv.writer leaves a lone carriage return without quotes, and csv.reader then ends the row there. Some
    # programs take semicolons and tabs for separators, beside commas.
    if any(mark in cell for mark in ',;\t"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def plain_digits(text: str) -> str:
    """*text* with the digits of every script as 0 to 9."""
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def whole_number(text: str) -> str | None:
    """*text* without what a spreadsheet adds to a whole number (``42.0``); None if the number was rounded."""
    decimal = _DECIMAL.fullmatch(text)
    if decimal is not None:
        return decimal[1].replace(",", "")
    scientific = _SCIENTIFIC.fullmatch(text)
    if scientific is None:
        return text
    digits, places = scientific[1] + (scientific[2] or ""), int(scientific[3]) + 1
    if len(digits) < places:
        return None
    return text if digits[places:].strip("0") else digits[:places]
