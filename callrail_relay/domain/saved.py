"""Reads saved texts of IF3's: files of JSON or forms, and the envelopes of other programs."""

from collections.abc import Iterator
from itertools import groupby

from callrail_relay.domain import payload
from callrail_relay.domain.charset import UnparsedError, decode
from callrail_relay.domain.message import Reason
from callrail_relay.domain.payload import Entry, Fields, Payload, Unreadable, first, is_payload

_MOST_LEVELS = 3


def read_saved(document: bytes) -> list[Entry]:
    """The texts in a saved file: JSON documents or lines, forms, envelopes; ``Unreadable`` for all else."""
    try:
        text = decode(document, None)
    except UnparsedError as fault:
        return [Unreadable((fault.reason,))]
    entries: list[Entry] = []
    for is_read, documents in groupby(_documents(text), key=lambda one: one[1] is not None):
        if is_read:
            for _, value in documents:
                entries += [value] if isinstance(value, Unreadable) else _walk(value, _MOST_LEVELS)
        else:
            lines = [number for number, _ in documents]
            last = {"problem": "lines", "last": lines[-1]} if len(lines) > 1 else {"problem": "line"}
            entries.append(Unreadable((Reason("unreadable", {"line": lines[0], **last}),)))
    return entries


def _documents(text: str) -> Iterator[tuple[int, object]]:
    """Line number and value of each document: Unreadable for JSON with a mistake, None for any other line."""
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
    """The JSON document at *start*, and the end of its last line; Unreadable if it has a mistake."""
    try:
        value, end = payload.json_at(text, start)
    except UnparsedError as fault:
        # Its texts must not come out of it one by one, out of order. As programs write JSON, the lines of the
        # rest are indented, or only close a bracket.
        end = end_of_line
        while end < len(text) and (text[end].isspace() or text[end] in "]}"):
            end = _line_end(text, end)
        return Unreadable((fault.reason,)), end
    end_of_last = _line_end(text, end)
    return (None, end_of_line) if text[end:end_of_last].strip() else (value, end_of_last)


def _line_end(text: str, start: int) -> int:
    newline = text.find("\n", start)
    return len(text) if newline < 0 else newline + 1


def _form_line(line: str) -> Fields | None:
    try:
        fields = payload.form(line, None)
    except UnparsedError:
        return None
    return fields if is_payload(fields) else None


def _walk(value: object, levels: int) -> list[Entry]:
    if is_payload(value) or not isinstance(value, dict | list):
        return [payload.to_entry(value)]
    if levels == 0:
        return [Unreadable((Reason("too_deep", {"limit": _MOST_LEVELS}),))]
    if isinstance(value, list):
        return [entry for element in value for entry in _walk(element, levels - 1)]
    return _unwrap(value, levels - 1)


# The field that holds the content, the fields of which one is beside it, and what counts if it is empty.
_QUERY = ("querystring", "query")
_ENVELOPES = (
    ("content", ("method", "headers"), _QUERY),  # Zapier, webhook.site
    ("raw_body", (), ()),  # Zapier's Catch Raw Hook
    ("body", ("headers", "webhookurl"), _QUERY),  # n8n
    ("payload", (), ("req",)),  # Node-RED
    ("json", (), ()),  # an item of n8n
    ("data", ("total", "per_page"), ()),  # webhook.site
)


def _unwrap(envelope: Fields, levels: int) -> list[Entry]:
    """The entries in an envelope that is known; anything else is reported and not searched."""
    if "rawrequest" in envelope or "cleanedrequest" in envelope:  # Zapier's; the raw one, if it holds a text
        found = [_step(first(envelope, name), envelope, levels) for name in ("rawrequest", "cleanedrequest")]
        return next((one for one in found if any(isinstance(entry, Payload) for entry in one)), found[0])
    for name, beside, otherwise in _ENVELOPES:
        if name in envelope and (not beside or any(one in envelope for one in beside)):
            contents = [first(envelope, one) for one in (name, *otherwise)]
            filled = [one for one in contents if not payload.is_blank(one) and one not in (None, {}, [])]
            return _step(filled[0] if filled else None, envelope, levels)
    return [payload.to_entry(envelope)]


def _step(content: object, envelope: Fields, levels: int) -> list[Entry]:
    """The entries in what an envelope holds, parsed by the content type beside it if it is text."""
    if isinstance(content, str):
        try:
            content = payload.parse(content, _content_type(envelope))
        except UnparsedError as fault:
            return [Unreadable((fault.reason,))]
    if content in (None, {}, []):
        return [payload.no_payload(problem="empty_envelope")]
    return _walk(content, levels)


def _content_type(envelope: Fields) -> str | None:
    headers = first(envelope, "headers")
    value = first(headers, "content-type") if isinstance(headers, dict) else None
    if isinstance(value, list):  # webhook.site lists the values of each header
        value = next(iter(value), None)
    return value if isinstance(value, str) else None
