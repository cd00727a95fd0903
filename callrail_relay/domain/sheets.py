"""
Spreadsheets: cells that none of them takes for a formula, and whole numbers as they write them.
"""

import re
from collections.abc import Iterable

# What a spreadsheet may take for the beginning of a formula, in both widths
# (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA_MARKS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")

_GUARD = "'"

# 42.0 and 2,025,550,149
_DECIMAL = re.compile(r"([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.0*)?")
# 2.025550149E+09; without a point or a sign it may be an id that is no number
_SCIENTIFIC = re.compile(r"([0-9])(?:\.([0-9]+)[eE]\+?|[eE]\+)([0-9]{1,2})")


def guarded(words: str) -> str:
    """
    *words* as a cell: with an apostrophe before them where a spreadsheet could take them for a formula.
    """
    return f"{_GUARD}{words}" if _looks_like_formula(words.lstrip(_GUARD)) else words


def unguarded(cell: str) -> str:
    """
    The words that ``guarded`` made *cell* from.
    """
    if cell.startswith(_GUARD) and _looks_like_formula(cell.lstrip(_GUARD)):
        return cell.removeprefix(_GUARD)
    return cell


def lines(rows: Iterable[Iterable[str]]) -> str:
    """
    *rows* as lines of CSV (RFC 4180, with the line ends of the programs that read a pipe).
    """
    return "".join(",".join(_quoted(cell) for cell in row) + "\n" for row in rows)


def _quoted(cell: str) -> str:
    # csv.writer leaves a lone carriage return without quotes, and csv.reader then ends the row there.
    if any(mark in cell for mark in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _looks_like_formula(words: str) -> bool:
    # Some programs drop the spaces before a formula.
    return words.startswith(_FORMULA_MARKS) or words.lstrip().startswith(_FORMULA_MARKS)


def whole_number(text: str) -> str | None:
    """
    The digits of a whole number that a spreadsheet or a float wrote (``42.0``); any other *text* as it is.

    None if the number was rounded on the way (``2.02555E+09``).
    """
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
