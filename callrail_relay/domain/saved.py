"""Reads saved texts from IF3: files of JSON or forms, other programs' envelopes, and Zapier's history."""

import csv
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby, product

from callrail_relay.domain import payload, read_table
from callrail_relay.domain.charset import UnparsedError, decode
from callrail_relay.domain.message import Reason, instant, read_instant
from callrail_relay.domain.payload import Entry, Fields, Payload, first, is_blank, is_payload
from callrail_relay.domain.printable import rows_of

_MOST_LEVELS = 3
_OPEN_LIST = re.compile(r"(?:.*\[|\[\s*[\[{].*[^\]\s])[ \t\r]*\n\s*^(?=\S)", re.MULTILINE)
_TABLES = read_table(__package__, "saved")


def read_saved(document: bytes) -> list[Entry]:
    """Return the texts in a saved file: JSON documents or lines, forms, envelopes; reasons for the rest."""
    try:
        text = decode(document, None)
    except UnparsedError as fault:
        return [Reason("unreadable", {**fault.reason.parameters, "problem": "file"})]
    if entries := _csv_entries(text):
        return entries
    for is_read, documents in groupby(_documents(text), key=lambda one: one[1] is not None):
        if is_read:
            for _, value in documents:
                entries += [value] if isinstance(value, Reason) else _walk(value, _MOST_LEVELS)
        else:
            lines = [number for number, _ in documents]
            last = {"problem": "lines", "last": lines[-1]} if len(lines) > 1 else {"problem": "line"}
            entries.append(Reason("unreadable", {"line": lines[0], **last}))
    return entries


def _documents(text: str) -> Iterator[tuple[int, object]]:
    """Yield line number and value of each document: a reason for broken JSON, None for any other line."""
    number, start = 1, 0
    while start < len(text):
        end = _line_end(text, start)
        line = text[start:end].strip()
        if line[:1] in ("{", "[", '"'):
            value, end = _document_at(text, text.index(line[0], start), end)
            yield number, value
        elif line:
            yield number, _form_line(line)
        number += text.count("\n", start, end)
        start = end


def _document_at(text: str, start: int, end_of_line: int) -> tuple[object, int]:
    """Return the JSON document at *start* and its last line's end; a reason or None if it can't be read."""
    try:
        value, end = payload.json_at(text, start)
    except UnparsedError as fault:
        if fault.reason.parameters["problem"] == "json_text":  # usually a row of CSV
            return None, end_of_line
        # Its texts must not come out of it one by one, out of order. In JSON written by programs, the other
        # lines are indented, or only close a bracket; a person may start a line with each text of a list.
        end, in_list = end_of_line, _OPEN_LIST.match(text, start)
        while end < len(text) and (in_list or text[end].isspace() or text[end] in "]}"):
            begin, end = end, _line_end(text, end)
            line = text[begin:end].rstrip()
            if line.startswith("]") or (line.endswith("]") and not line[0].isspace()):
                in_list = None
        return fault.reason, end
    end_of_last = _line_end(text, end)
    # The texts of a list are often kept without its brackets.
    rest = text[end:end_of_last].strip().strip(",;")
    return (None, end_of_line) if rest else (value, end_of_last)


def _line_end(text: str, start: int) -> int:
    newline = text.find("\n", start)
    return len(text) if newline < 0 else newline + 1


def _form_line(line: str) -> Fields | None:
    with suppress(UnparsedError):
        if is_payload(fields := payload.form(line, None)):
            return fields
    return None


def _walk(value: object, levels: int) -> list[Entry]:
    if isinstance(value, dict) and (task := _task(value)):
        return [task]
    if is_payload(value) or not isinstance(value, dict | list):
        return [payload.to_entry(value)]
    if levels == 0:
        return [Reason("too_deep", {"limit": _MOST_LEVELS})]
    if isinstance(value, list):
        return [entry for element in value for entry in _walk(element, levels - 1)]
    return _unwrap(value, levels - 1)


def _unwrap(envelope: Fields, levels: int) -> list[Entry]:
    """Return the entries in a known envelope; any other one is reported and not searched."""
    if "rawrequest" in envelope or "cleanedrequest" in envelope:  # Zapier's; the raw one, if it has a text
        found = [_step(first(envelope, name), envelope, levels) for name in ("rawrequest", "cleanedrequest")]
        return next((one for one in found if any(isinstance(entry, Payload) for entry in one)), found[0])
    for known in _TABLES["envelopes"]:
        beside = known.get("beside")
        if known["content"] in envelope and (not beside or any(one in envelope for one in beside)):
            contents = [first(envelope, one) for one in (known["content"], *known.get("otherwise", ()))]
            filled = [one for one in contents if not payload.is_blank(one) and one not in (None, {}, [])]
            return _step(filled[0] if filled else None, envelope, levels)
    return [payload.to_entry(envelope)]


def _step(content: object, envelope: Fields, levels: int) -> list[Entry]:
    """Return the entries in what an envelope contains; if it's text, parsed by the content type beside it."""
    if isinstance(content, str):
        try:
            content = payload.parse(content, _content_type(envelope))
        except UnparsedError as fault:
            return [fault.reason]
    if content in (None, {}, []):
        return [payload.no_payload(problem="empty_envelope")]
    return _walk(content, levels)


def _content_type(envelope: Fields) -> str | None:
    headers = first(envelope, "headers")
    value = first(headers, "content-type") if isinstance(headers, dict) else None
    if isinstance(value, list):  # webhook.site lists the values of each header
        value = next(iter(value), None)
    return value if isinstance(value, str) else None


_ENDS, _TIMES = (_TABLES["history"][name] for name in ("ends", "times"))
_SUCCESS = re.compile(
    r"(?!.*\b(?:not|never)\b).*\b(?:success|succeeded|(?:completed?|done|finished|sent)\b)", re.IGNORECASE
)
_STEP = re.compile(r"^(?:(?:\d+|step|data|inputs?|outputs?|trigger|catch_hook|querystring|body)[._]+)+")


def _task(value: Fields) -> Entry | None:
    """Return the text of a run in Zapier's history, wherever it is in there; None if it isn't a run."""
    ends, times = ([first(value, name) for name in names if name in value] for names in (_ENDS, _TIMES))
    ended = [one or "" for one in ends if isinstance(one, str | None)]
    if not ended or not times:
        return None
    found = payload.dig(value)
    if found is None:
        return payload.no_payload()
    came_at = next((at for one in times if (at := _instant(one)) is not None), None)
    is_unclear = came_at is None and any(one and not is_blank(one) for one in times)
    faults = [Reason("bad_time")] if is_unclear else []
    if any(map(_SUCCESS.match, ended)):
        faults = [Reason("sent_by_zapier", {"written_at": instant(came_at)} if came_at else {})]
    entry = payload.to_entry(found, *faults)
    return replace(entry, came_at=came_at) if isinstance(entry, Payload) else entry


def _csv_entries(text: str) -> list[Entry]:
    """Return the texts in a CSV file of Zapier's history; none if it isn't one."""
    entries: list[Entry] = []
    names: list[str] = []
    reader = rows_of(text.lstrip("\ufeff"), strict=True)
    rows = filter(any, reader)
    try:
        header = next(rows, [])
        names = [_STEP.sub("", re.sub(r"[\W_]+", "_", one.strip().lower())) for one in header]
        if not ({*names} & {*_ENDS} and {*names} & {*_TIMES}):
            return []
        # A run without an end or a time is a run, too. The trigger's cells come first, and win.
        blank: Fields = {name: [""] for name in names if name in (*_ENDS, *_TIMES)}
        for row in rows:
            cells = reversed([*zip(names, row, strict=False)])
            run = blank | {name: [cell] for name, cell in cells if cell}
            if len(row) > len(names):  # a text may be cut there, whether or not the last cell is empty
                entries.append(Reason("unreadable", {"problem": "cells", "line": reader.line_num}))
            else:
                entries.append(_task(run) or payload.to_entry(run))
    except csv.Error:
        if names:
            return [Reason("unreadable", {"problem": "csv", "line": reader.line_num})]
    return entries


def _instant(value: object) -> datetime | None:
    """Return when a run was, in UTC unless it says otherwise; None if it can't be read."""
    written = " ".join(re.sub(r",|\bat\b|\b(?:UTC|GMT)$", " ", str(value)).split())
    if re.fullmatch(r"\d{10}(?:\d{3})?(?:\.\d+)?", written):
        seconds = float(written)
        return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)
    if (at := read_instant(written, UTC)) is not None:
        return at
    for day, time in product(_TABLES["history"]["days"], _TABLES["history"]["times_of_day"]):
        with suppress(ValueError):
            return read_instant(datetime.strptime(written, day + time), UTC)  # noqa: DTZ007 - a zone is added
    return None
