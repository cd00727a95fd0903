"""
Reads what was saved elsewhere of IF3's texts: files of JSON or forms, and Zapier's and n8n's envelopes.
"""

from collections.abc import Iterator

from callrail_relay.domain.parsing import Fields, UnparsedError, decode, first, form, is_blank, json_at, parse
from callrail_relay.domain.payload import (
    Entry,
    Payload,
    Unreadable,
    is_payload,
    no_payload,
    to_entry,
    unreadable,
)
from callrail_relay.domain.reason import Reason

_MOST_LEVELS = 3


def read_saved(document: bytes) -> list[Entry]:
    """
    The texts in a saved file, for ``replay``: JSON documents or lines, forms, Zapier's and n8n's envelopes.

    Envelopes are opened three levels deep at most. What holds no text is reported as ``Unreadable``.
    """
    try:
        text = decode(document, None)
    except UnparsedError as fault:
        return [unreadable(str(fault))]
    return list(_from_lines(text))


def _from_lines(text: str) -> Iterator[Entry]:
    """
    The entries of every JSON document that begins on a line of its own, and of every line that is a form.

    Lines in a row that are neither are reported once.
    """
    skipped: list[int] = []
    for number, value in _documents(text):
        if value is None:
            skipped.append(number)
            continue
        yield from _skipped(skipped)
        skipped = []
        yield from _walk(value, _MOST_LEVELS)
    yield from _skipped(skipped)


def _skipped(lines: list[int]) -> Iterator[Unreadable]:
    if not lines:
        return
    which = f"Line {lines[0]} is" if len(lines) == 1 else f"Lines {lines[0]} to {lines[-1]} are"
    yield Unreadable((Reason("unreadable", f"{which} neither JSON nor a form with IF3's fields."),))


def _documents(text: str) -> Iterator[tuple[int, object]]:
    """
    Line number and value of each document; None for a line that is part of none.
    """
    number, start = 1, 0
    while start < len(text):
        newline = text.find("\n", start)
        end = len(text) if newline < 0 else newline + 1
        line = text[start:end].strip()
        if line[:1] in ("{", "["):
            value, end = _document_at(text, text.index(line[0], start), end)
            yield number, value
        elif line:
            yield number, _form_line(line)
        number += text.count("\n", start, end)
        start = end


def _document_at(text: str, start: int, end_of_line: int) -> tuple[object, int]:
    """
    The JSON document at *start*, and the end of its last line; None where it shares that line.
    """
    try:
        value, end = json_at(text, start)
    except UnparsedError:
        return None, end_of_line
    newline = text.find("\n", end)
    end_of_last = len(text) if newline < 0 else newline + 1
    return (None, end_of_line) if text[end:end_of_last].strip() else (value, end_of_last)


def _form_line(line: str) -> Fields | None:
    try:
        fields = form(line, None)
    except UnparsedError:
        return None
    return fields if is_payload(fields) else None


def _walk(value: object, levels: int) -> list[Entry]:
    """
    The entries in *value*, which may be wrapped *levels* times.
    """
    if is_payload(value) or not isinstance(value, dict | list):
        return [to_entry(value)]
    if levels == 0:
        return [
            Unreadable(
                (Reason("too_deep", f"It is wrapped in more than {_MOST_LEVELS} lists or envelopes."),)
            )
        ]
    if isinstance(value, list):
        return [entry for element in value for entry in _walk(element, levels - 1)]
    return _unwrap(value, levels - 1)


def _unwrap(envelope: Fields, levels: int) -> list[Entry]:
    """
    The entries in a Zapier or n8n envelope; anything else is reported and not searched.
    """
    has_headers = "headers" in envelope
    if "rawrequest" in envelope or "cleanedrequest" in envelope:
        return _either(envelope, levels)
    if "content" in envelope and ("method" in envelope or has_headers):
        content = first(envelope, "content")
        if is_blank(content) or content in (None, {}, []):
            content = first(envelope, "querystring")
        return _step(content, envelope, levels)
    if "raw_body" in envelope:
        return _step(first(envelope, "raw_body"), envelope, levels)
    if "body" in envelope and (has_headers or "webhookurl" in envelope):
        return _step(first(envelope, "body"), envelope, levels)
    return [to_entry(envelope)]


def _either(envelope: Fields, levels: int) -> list[Entry]:
    """
    What Zapier's raw request holds, or its cleaned one where the raw one holds no text.
    """
    raw = _step(first(envelope, "rawrequest"), envelope, levels)
    if any(isinstance(entry, Payload) for entry in raw):
        return raw
    cleaned = _step(first(envelope, "cleanedrequest"), envelope, levels)
    return cleaned if any(isinstance(entry, Payload) for entry in cleaned) else raw


def _step(content: object, envelope: Fields, levels: int) -> list[Entry]:
    """
    The entries in what an envelope holds, parsed by the content type beside it where it is text.
    """
    if isinstance(content, str):
        try:
            content = parse(content, _content_type(envelope))
        except UnparsedError as fault:
            return [unreadable(str(fault))]
    if content in (None, {}, []):
        return [no_payload("Its envelope is empty: there is no text in it.")]
    return _walk(content, levels)


def _content_type(envelope: Fields) -> str | None:
    headers = first(envelope, "headers")
    value = first(headers, "content-type") if isinstance(headers, dict) else None
    return value if isinstance(value, str) else None
