"""
Cells of a CSV file that a spreadsheet opens without taking a person's words for a formula.
"""

from collections.abc import Iterable

# What a spreadsheet may take for the beginning of a formula, in both widths
# (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA_MARKS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")

_GUARD = "'"


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
