"""
The list of people who opted out as a CSV file: written for a spreadsheet, read from whatever one made of it.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from callrail_relay.domain.charset import UnparsedError, decode
from callrail_relay.domain.csv_rows import guarded, lines, unguarded
from callrail_relay.domain.message import instant
from callrail_relay.domain.phone import BadPhone, normalise
from callrail_relay.errors import UsageFault


class Origin(StrEnum):
    """Whose word put a person on the list."""

    REPLY = "reply"
    """The person's own: a keyword by which CallRail opts them out as well, and asks for YES to undo it."""

    WORDS = "own words"
    """The person's own, in words that mean nothing to CallRail: a YES then answers something else."""

    REFUSAL = "refusal"
    """CallRail's: it refused a text since the person had opted out there."""

    BY_HAND = "by hand"
    """Somebody's in the office, or that of a list that was imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleOptOut:
    """A reply that may ask for no more texts; ``words`` are empty once they were removed for their age."""

    words: str
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """A person who opted out of texts from one tracking number, since when and why."""

    tracking_number: str
    recipient: str
    reason: str
    created_at: datetime
    origin: Origin = Origin.BY_HAND

    def document(self) -> dict[str, Any]:
        return {
            "recipient": self.recipient,
            "tracking_number": self.tracking_number,
            "reason": self.reason,
            "created_at": instant(self.created_at),
        }


COLUMNS = ("tracking_number", "recipient", "reason", "created_at")
IMPORTED = "From an imported list."

_LONGEST_REASON = 1000
_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPerson:
    """A line of a list; without a ``tracking_number`` for all of ours, without ``created_at`` from now on."""

    recipient: str
    tracking_number: str | None = None
    reason: str = IMPORTED
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that names nobody who can be put on the list: its number in the file, and why."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedList:
    """What an imported file holds, and the names of its columns that were passed over."""

    people: tuple[ListedPerson, ...]
    bad_lines: tuple[BadLine, ...] = ()
    ignored_columns: tuple[str, ...] = ()


def write_list(entries: Iterable[OptOut]) -> str:
    """*entries* as CSV, with a header."""
    rows = (
        (one.tracking_number, one.recipient, guarded(one.reason), instant(one.created_at) or "")
        for one in entries
    )
    return lines([COLUMNS, *rows])


def read_list(document: bytes, *, now: datetime) -> ImportedList:
    """
    The people in a CSV file, each line judged by itself: a wrong one must not keep the others off the list.

    Takes commas, semicolons or tabs, columns in any order, and a file without a header
    that holds nothing but phone numbers. Raises UsageFault where nothing of it can be read.
    """
    text = _text(document)
    rows = _rows(text)
    first = next(rows, None)
    if first is None:
        raise UsageFault(
            "The file is empty; it needs the header tracking_number,recipient,reason,created_at."
        )
    number, cells = first
    names = [cell.strip().lower().replace(" ", "_") for cell in cells]
    if "recipient" not in names:
        return _without_header([(number, cells), *rows])
    doubled = sorted({name for name in names if name in COLUMNS and names.count(name) > 1})
    if doubled:
        raise UsageFault(f"The file has the column {doubled[0]} twice; leave one.")
    judged = [_under(names, number, cells, now) for number, cells in rows]
    return _gathered(judged, ignored=tuple(name for name in names if name and name not in COLUMNS))


def _text(document: bytes) -> str:
    """UTF-8 or what its mark says, else Windows-1252, as Excel writes it."""
    for declared in (None, "text/csv; charset=windows-1252"):
        try:
            return decode(document, declared)
        except UnparsedError:
            continue
    raise UsageFault("The file is not text; save it again as CSV in UTF-8.")


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold anything, each with the number of its first line."""
    head = text.lstrip().partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    ended = 0
    try:
        for cells in reader:
            begun, ended = ended + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                yield begun, cells
    except csv.Error as error:
        raise UsageFault(
            f"Line {reader.line_num} of the file is not CSV ({error}); mend or remove it."
        ) from error


def _without_header(rows: Sequence[tuple[int, list[str]]]) -> ImportedList:
    """A file of phone numbers alone, one on a line."""
    alone = all(len([cell for cell in cells if cell.strip()]) == 1 for _, cells in rows)
    judged = [_judged(number, {"recipient": _only(cells)}, None) for number, cells in rows] if alone else []
    if not any(isinstance(one, ListedPerson) for one in judged):
        raise UsageFault(
            "The file has no column recipient; its first line must be tracking_number,recipient,reason,"
            "created_at, of which only recipient is needed."
        )
    return _gathered(judged)


def _only(cells: Sequence[str]) -> str:
    return next(cell for cell in cells if cell.strip())


def _gathered(judged: Sequence[ListedPerson | BadLine], ignored: tuple[str, ...] = ()) -> ImportedList:
    return ImportedList(
        people=tuple(one for one in judged if isinstance(one, ListedPerson)),
        bad_lines=tuple(one for one in judged if isinstance(one, BadLine)),
        ignored_columns=ignored,
    )


def _under(names: list[str], number: int, cells: list[str], now: datetime) -> ListedPerson | BadLine:
    if any(cell.strip() for cell in cells[len(names) :]):
        # A comma in a reason that nobody put in quotes: what follows it stands in the wrong column.
        return BadLine(number=number, reason="it has more cells than there are columns.")
    return _judged(number, dict(zip(names, cells, strict=False)), now)


def _judged(number: int, cells: dict[str, str], now: datetime | None) -> ListedPerson | BadLine:
    try:
        return ListedPerson(
            recipient=_phone("recipient", cells.get("recipient", "")),
            tracking_number=_given_phone("tracking_number", cells.get("tracking_number", "")),
            reason=_reason(cells.get("reason", "")),
            created_at=_instant(cells.get("created_at", ""), now),
        )
    except ValueError as fault:
        return BadLine(number=number, reason=f"{fault}.")


def _phone(name: str, cell: str) -> str:
    try:
        return normalise(unguarded(cell.strip()))
    except BadPhone as fault:
        raise ValueError(f"its {name} cannot be used: {fault}") from fault


def _given_phone(name: str, cell: str) -> str | None:
    return _phone(name, cell) if cell.strip() else None


def _reason(cell: str) -> str:
    words = unguarded(cell).strip()
    if len(words) > _LONGEST_REASON:
        raise ValueError(f"its reason is longer than {_LONGEST_REASON} characters")
    if "\0" in words:
        raise ValueError("its reason holds a character that is no text")
    return words or IMPORTED


def _instant(cell: str, now: datetime | None) -> datetime | None:
    words = cell.strip()
    if not words:
        return None
    try:
        read = datetime.fromisoformat(words)
    except ValueError as fault:
        raise ValueError(
            "its created_at is no date such as 2026-11-23T15:00:00Z; write it so, or leave it empty"
        ) from fault
    when = read if read.tzinfo is not None else read.replace(tzinfo=UTC)
    if now is not None and when > now:
        raise ValueError(
            "its created_at is still to come; write when the person opted out, or leave it empty"
        )
    return when.astimezone(UTC)
