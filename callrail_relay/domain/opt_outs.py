"""Opt-outs, and their list as a CSV file: written for a spreadsheet, and read back from one."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from callrail_relay.domain import sentences_from
from callrail_relay.domain.charset import UnparsedError, decode
from callrail_relay.domain.message import as_json, instant, read_instant
from callrail_relay.domain.phone import BadPhone, normalize
from callrail_relay.domain.printable import guarded, lines, rows_of, unguarded
from callrail_relay.errors import UsageError


class Origin(StrEnum):
    REPLY = "reply"  # the person, by a keyword with which CallRail opts them out, too
    WORDS = "own words"  # the person, in words that mean nothing to CallRail
    REFUSAL = "refusal"  # CallRail: it rejected a text because the person had opted out there
    BY_HAND = "by hand"  # the office, or an imported list


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleOptOut:
    words: str  # empty once they were removed for their age
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    tracking_number: str
    recipient: str
    reason: str
    created_at: datetime
    origin: Origin = Origin.BY_HAND

    def document(self) -> dict[str, Any]:
        return dict(as_json(self, "recipient", "tracking_number", "reason", "created_at"))


COLUMNS = ("tracking_number", "recipient", "reason", "created_at")
_HEADER = ",".join(COLUMNS)
IMPORTED = "From an imported list."

_LONGEST_REASON = 1000
_sentence = sentences_from(__package__, "opt_outs")


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedList:
    people: tuple[OptOut, ...]  # one without a tracking number counts for all of ours
    bad_lines: tuple[BadLine, ...] = ()
    ignored_columns: tuple[str, ...] = ()


def write_list(entries: Iterable[OptOut]) -> str:
    rows = [
        (one.tracking_number, one.recipient, guarded(one.reason), instant(one.created_at) or "")
        for one in entries
    ]
    return lines([COLUMNS, *rows])


def read_list(document: bytes, *, now: datetime) -> ImportedList:
    """Return the people in a CSV file, judging each line by itself. Raises UsageError if it can't be read."""
    rows = list(_rows(_text(document)))
    if not rows:
        raise UsageError(_sentence("empty", columns=_HEADER))
    names = [cell.strip().lower().replace(" ", "_") for cell in rows[0][1]]
    if "recipient" in names:
        if doubled := sorted(name for name in COLUMNS if names.count(name) > 1):
            raise UsageError(_sentence("twice", column=doubled[0]))
        judged = [_judge(number, names, cells, now) for number, cells in rows[1:]]
    else:
        names = []
        alone = [(number, [cell for cell in cells if cell.strip()]) for number, cells in rows]
        judged = [_judge(number, ["recipient"], cells, now) for number, cells in alone]
        if any(len(cells) > 1 for _, cells in alone) or all(isinstance(one, BadLine) for one in judged):
            raise UsageError(_sentence("no_recipient", columns=_HEADER))
    return ImportedList(
        people=tuple(one for one in judged if isinstance(one, OptOut)),
        bad_lines=tuple(one for one in judged if isinstance(one, BadLine)),
        ignored_columns=tuple(name for name in names if name and name not in COLUMNS),
    )


def _text(document: bytes) -> str:
    """UTF-8 or what its mark says, else Windows-1252, as Excel writes it."""
    try:
        return decode(document, "text/csv; charset=windows-1252")
    except UnparsedError as error:
        raise UsageError(_sentence("no_text")) from error


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that contain anything, each with the number of its first line."""
    reader = rows_of(text)
    ended = 0
    try:
        for cells in reader:
            begun, ended = ended + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                yield begun, cells
    except csv.Error as exc:
        raise UsageError(_sentence("no_csv", line=reader.line_num, why=exc)) from exc


def _judge(number: int, names: Sequence[str], cells: Sequence[str], now: datetime) -> OptOut | BadLine:
    if any(cell.strip() for cell in cells[len(names) :]):
        # A comma in an unquoted reason: what follows it is in the wrong column.
        return BadLine(number=number, reason=_sentence("more_cells"))
    row = dict.fromkeys(COLUMNS, "") | dict(zip(names, cells, strict=False))
    number_of_ours = row["tracking_number"]
    try:
        return OptOut(
            tracking_number=_phone("tracking_number", number_of_ours) if number_of_ours.strip() else "",
            recipient=_phone("recipient", row["recipient"]),
            reason=_reason(row["reason"]),
            created_at=_instant(row["created_at"].strip(), now),
        )
    except ValueError as fault:
        return BadLine(number=number, reason=str(fault))


def _phone(name: str, cell: str) -> str:
    try:
        return normalize(unguarded(cell.strip()))
    except BadPhone as fault:
        raise ValueError(_sentence("bad_phone", name=name, why=fault)) from fault


def _reason(cell: str) -> str:
    words = unguarded(cell).strip()
    if len(words) > _LONGEST_REASON:
        raise ValueError(_sentence("long_reason", most=_LONGEST_REASON))
    if "\0" in words:
        raise ValueError(_sentence("bad_reason"))
    return words or IMPORTED


def _instant(cell: str, now: datetime) -> datetime:
    if not cell:
        return now
    if (when := read_instant(cell, UTC)) is None:
        raise ValueError(_sentence("no_date"))
    if when > now:
        raise ValueError(_sentence("future"))
    return when
