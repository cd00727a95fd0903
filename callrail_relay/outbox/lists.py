"""Lists of messages that match a filter: pages, newest first, and exports, oldest first."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain.message import Export, Message, MessageFilter
from callrail_relay.domain.phone import BadPhone, normalize
from callrail_relay.domain.views import Page
from callrail_relay.outbox.queries import with_segments
from callrail_relay.outbox.rows import Row, count, latest
from callrail_relay.outbox.tables import Condition, messages

LOOKED_THROUGH = 30_000  # texts in which one statement searches for words


def find_page(connection: sa.Connection, query: sa.Select[Any], wanted: MessageFilter) -> Page[Row]:
    """Return the next page of *query*, which reads messages newest first."""
    first = 1 if wanted.since is None else first_since(connection, wanted.since)
    if first is None:
        return Page([])
    end = min(wanted.before or _END, _END if wanted.until is None else _end(connection, wanted.until))
    begin = first
    if (wanted.words or wanted.name) and not (wanted.recipient or wanted.opportunity_id):
        begin = max(first, min(end, _last_seq(connection) + 1) - LOOKED_THROUGH)
    query = query.where(messages.c.seq >= begin, messages.c.seq < end, *_conditions(connection, wanted))
    query = query.limit(wanted.limit + 1 if wanted.limit else None)
    # One status at a time, because only then an index has them in the page's order. With a narrow condition,
    # no status index is used: without statistics all seem equally good, and that one has all sent texts.
    narrow = any((wanted.recipient, wanted.opportunity_id, wanted.sender_id))
    column = sa.func.coalesce(messages.c.status, "") if narrow else messages.c.status
    queries = [query.where(column == status) for status in wanted.statuses] or [query]
    found: list[Row] = [row for one in queries for row in connection.execute(one)]
    found.sort(key=lambda row: row.seq, reverse=True)
    if 0 < wanted.limit < len(found):
        return Page(found[: wanted.limit], older=found[wanted.limit - 1].seq)
    rest = latest(messages, messages.c.seq >= first, messages.c.seq < begin)
    if begin > first and (older := connection.execute(rest).first()):
        return Page(found, older=older.seq + 1, searched_to=older.received_at)
    return Page(found)


_END = 2**63 - 1  # larger than every number


def first_since(connection: sa.Connection, since: datetime) -> int | None:
    """Return the number of the first message received since *since*, which every index has at its end."""
    query = sa.select(messages.c.seq).where(messages.c.received_at >= since)
    return connection.scalar(query.order_by(messages.c.received_at, messages.c.seq).limit(1))


def _end(connection: sa.Connection, until: datetime) -> int:
    before = sa.select(messages.c.seq).where(messages.c.received_at < until)
    newest = before.order_by(messages.c.received_at.desc(), messages.c.seq.desc()).limit(1)
    return (connection.scalar(newest) or 0) + 1


def _last_seq(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.max(messages.c.seq))) or 0


def _conditions(connection: sa.Connection, wanted: MessageFilter) -> Iterator[Condition]:
    """The filter's conditions on a message, except for status and number."""
    for name in ("recipient", "tracking_number", "opportunity_id", "sender_id"):
        if (value := getattr(wanted, name)) is not None:
            yield messages.c[name] == value
    if wanted.since is not None:
        yield messages.c.received_at >= wanted.since
    if wanted.until is not None:
        yield messages.c.received_at < wanted.until
    if wanted.name is not None:
        yield _contains(connection, messages.c.seller, wanted.name)
    if wanted.words:
        columns = (messages.c.text, messages.c.seller)
        found = (sa.or_(*(_contains(connection, one, word) for one in columns)) for word in wanted.words)
        yield sa.or_(sa.and_(*found), *_to_number(" ".join(wanted.words)))


def _to_number(words: str) -> Iterator[Condition]:
    """Whether a message went to this phone number, if it is one."""
    with contextlib.suppress(BadPhone):
        yield messages.c.recipient == normalize(words)


def _contains(connection: sa.Connection, column: sa.Column[str | None], words: str) -> Condition:
    """Whether *column* contains *words* in any case; SQLite's LIKE ignores case by itself, twice as fast."""
    pattern = "%" + "".join(f"/{letter}" if letter in "/%_" else letter for letter in words) + "%"
    if connection.dialect.name == "sqlite":
        return column.like(pattern, escape="/")
    return column.ilike(pattern, escape="/")


def list_messages(connection: sa.Connection, now: datetime, wanted: MessageFilter) -> list[Message]:
    """Return the messages that match the filter, newest first; words are searched for in all of them."""
    query = sa.select(messages).order_by(messages.c.seq.desc())
    page = find_page(connection, query, wanted)
    found = [*page.rows]
    while page.searched_to is not None and (not wanted.limit or len(found) < wanted.limit):
        rest = replace(wanted, before=page.older, limit=wanted.limit and wanted.limit - len(found))
        page = find_page(connection, query, rest)
        found += page.rows
    return with_segments(connection, now, found)


def plan_export(connection: sa.Connection, now: datetime, wanted: MessageFilter) -> Export:
    """Count the messages that match the filter now; the export has no later ones."""
    last = _last_seq(connection)
    where = _exported(connection, wanted)
    counts = [count(connection, messages, *where, *stretch) for stretch in _stretches(0, last)]
    return Export(wanted=wanted, count=sum(counts), last=last)


def read_portion(
    connection: sa.Connection, now: datetime, export: Export, *, after: int, size: int
) -> tuple[list[Message], int]:
    """Return the next *size* messages of *export* after the place *after*, and the place of the last one."""
    # Each portion is a transaction of its own, so that a long export doesn't block writes.
    query = sa.select(messages).where(*_exported(connection, export.wanted))
    query = query.order_by(messages.c.seq).limit(size)
    for stretch in _stretches(after, export.last):
        if rows := connection.execute(query.where(*stretch)).all():
            return with_segments(connection, now, rows), rows[-1].seq
    return [], after


def _stretches(after: int, last: int) -> Iterator[tuple[Condition, Condition]]:
    """The parts to search for an export's messages: no statement searches more than that of a list."""
    for begin in range(after, last, LOOKED_THROUGH):
        yield messages.c.seq > begin, messages.c.seq <= min(begin + LOOKED_THROUGH, last)


def _exported(connection: sa.Connection, wanted: MessageFilter) -> list[Condition]:
    among = [messages.c.status.in_(wanted.statuses)] if wanted.statuses else []
    return [*_conditions(connection, wanted), *among]
