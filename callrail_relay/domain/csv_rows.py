"""Cells of a CSV file that no spreadsheet reads as a formula, and whole numbers as they write them."""

import re
from collections.abc import Iterable

# Where a cell begins as a formula (https://owasp.org/www-community/attacks/CSV_Injection), in both widths of
# the marks. Some programs drop spaces, apostrophes and quotes before it. Inside of our cell another one
# begins where a program takes semicolons or tabs for separators, as Excel does in half of Europe, and where
# such a program, not knowing our quotes, takes a line break for the end of the row.
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


def _quoted(cell: str) -> str:
    # csv.writer leaves a lone carriage return without quotes, and csv.reader then ends the row there. Some
    # programs take semicolons and tabs for separators, beside commas.
    if any(mark in cell for mark in ',;\t"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


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
