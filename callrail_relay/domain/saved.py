"""Reads saved texts of IF3's: files of JSON or forms, and the envelopes of other programs."""

from collections.abc import Iterator

from callrail_relay.domain.charset import UnparsedError, decode
from callrail_relay.domain.message import Reason
from callrail_relay.domain.payload import (
    Entry,
    Fields,
    Payload,
    Unreadable,
    first,
    form,
    is_blank,
    is_payload,
    json_at,
    no_payload,
    parse,
    to_entry,
)

_MOST_LEVELS = 3


def read_saved(document: bytes) -> list[Entry]:
    """
    The texts in a saved file, for ``replay``: JSON documents or lines, forms, Zapier's and n8n's envelopes.

    Envelopes are opened three levels deep at most. What holds no text is reported as ``Unreadable``.
    """
    try:
        text = decode(document, None)
    except UnparsedError as fault:
        return [Unreadable((fault.reason,))]
    return list(_from_lines(text))


def _from_lines(text: str) -> Iterator[Entry]:
    """The entries of every document and form line; lines in a row that are neither are reported once."""
    skipped: list[int] = []
    for number, value in _documents(text):
        if value is None:
            skipped.append(number)
            continue
        yield from _skipped(skipped)
        skipped = []
        yield from [value] if isinstance(value, Unreadable) else _walk(value, _MOST_LEVELS)
    yield from _skipped(skipped)


def _skipped(lines: list[int]) -> Iterator[Unreadable]:
    if lines:
        last = {"problem": "lines", "last": lines[-1]} if len(lines) > 1 else {"problem": "line"}
        yield Unreadable((Reason("unreadable", {"line": lines[0], **last}),))


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
        value, end = json_at(text, start)
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
        fields = form(line, None)
    except UnparsedError:
        return None
    return fields if is_payload(fields) else None


def _walk(value: object, levels: int) -> list[Entry]:
    """The entries in *value*, which may be wrapped *levels* times."""
    if is_payload(value) or not isinstance(value, dict | list):
        return [to_entry(value)]
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
    if "rawrequest" in envelope or "cleanedrequest" in envelope:
        return _either(envelope, levels)
    for name, beside, otherwise in _ENVELOPES:
        if name in envelope and (not beside or any(one in envelope for one in beside)):
            return _step(_content(envelope, name, *otherwise), envelope, levels)
    return [to_entry(envelope)]


def _content(envelope: Fields, *names: str) -> object:
    """The first of *names* in an envelope that is not empty: the body, else the query."""
    for name in names:
        content = first(envelope, name)
        if not is_blank(content) and content not in (None, {}, []):
            return content
    return None


def _either(envelope: Fields, levels: int) -> list[Entry]:
    """What Zapier's raw request holds, or its cleaned one if the raw one holds no text."""
    raw = _step(first(envelope, "rawrequest"), envelope, levels)
    if any(isinstance(entry, Payload) for entry in raw):
        return raw
    cleaned = _step(first(envelope, "cleanedrequest"), envelope, levels)
    return cleaned if any(isinstance(entry, Payload) for entry in cleaned) else raw


def _step(content: object, envelope: Fields, levels: int) -> list[Entry]:
    """The entries in what an envelope holds, parsed by the content type beside it if it is text."""
    if isinstance(content, str):
        try:
            content = parse(content, _content_type(envelope))
        except UnparsedError as fault:
            return [Unreadable((fault.reason,))]
    if content in (None, {}, []):
        return [no_payload(problem="empty_envelope")]
    return _walk(content, levels)


def _content_type(envelope: Fields) -> str | None:
    headers = first(envelope, "headers")
    value = first(headers, "content-type") if isinstance(headers, dict) else None
    if isinstance(value, list):  # webhook.site lists the values of each header
        value = next(iter(value), None)
    return value if isinstance(value, str) else None
