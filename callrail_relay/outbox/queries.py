"""Reads requests and messages: by id, and those that match a filter, newest first; and counts."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain.delivery import RECENT, UNDONE, Counts
from callrail_relay.domain.mapper import StoredSubmission
from callrail_relay.domain.message import (
    OPEN,
    Actor,
    Attempt,
    Decision,
    Evidence,
    Message,
    MessageFilter,
    Segment,
    Status,
    first_id,
)
from callrail_relay.domain.phone import BadPhone, normalize
from callrail_relay.domain.views import Page
from callrail_relay.outbox.columns import Condition
from callrail_relay.outbox.rows import from_row, latest, portions, route_of
from callrail_relay.outbox.tables import (
    attempts,
    decisions,
    evidence,
    is_released_by_itself,
    messages,
    opt_outs,
    segments,
    submissions,
    tallies,
)
from callrail_relay.outbox.transaction import Row, Transaction

LOOKED_THROUGH = 30_000  # texts in which one statement searches for words
SHORTEST_END = 6  # characters of an id's end that can stand for it, if only one message has them


def find_messages(tx: Transaction, *ids: str) -> list[Message]:
    """Return the messages with these ids, and all messages of submissions with these ids, in order."""
    rows: list[Row] = []
    for some in portions(ids):
        query = sa.select(messages).where(sa.or_(messages.c.id.in_(some), messages.c.submission_id.in_(some)))
        rows += tx.execute(query)
    return with_segments(tx, sorted(rows, key=lambda row: row.seq))


def read_submission(tx: Transaction, submission_id: str) -> StoredSubmission:
    """Return a request as it came in; it never changes."""
    row = tx.row_of(submissions, submission_id)
    query = sa.select(messages.c.id).where(messages.c.submission_id == submission_id).order_by(messages.c.seq)
    return from_row(StoredSubmission, row, message_ids=tuple(tx.scalars(query)))


def find_ids(tx: Transaction, part: str, *, limit: int) -> list[str]:
    """Return ids of messages whose own or request's id starts with *part*, or ends with it (6 or more)."""
    patterns = [f"{part}%", *([f"%{part}"] if len(part) >= SHORTEST_END else [])]
    fits = [id_.like(one) for id_ in (messages.c.id, messages.c.submission_id) for one in patterns]
    query = sa.select(messages.c.id).where(sa.or_(*fits)).order_by(messages.c.seq.desc()).limit(limit)
    return list(tx.scalars(query))


def with_segments(tx: Transaction, rows: Sequence[Row]) -> list[Message]:
    """Return the messages of these rows, in their order."""
    of_message: dict[int, list[Segment]] = defaultdict(list)
    decided: dict[int, list[Decision]] = defaultdict(list)
    for seqs in portions(row.seq for row in rows):
        _read_segments(tx, seqs, of_message)
        query = sa.select(decisions).where(decisions.c.message_seq.in_(seqs)).order_by(decisions.c.id)
        for row in tx.execute(query):
            actor = Actor(name=row.person, note=row.note)
            was = {name: (row.before or {}).get(name) for name in ("text", "recipient")}
            decision = from_row(Decision, row, actor=actor, overridden=row.reasons, **was)
            decided[row.message_seq].append(decision)
    blocked = _read_blocks(tx) if any(row.status in OPEN for row in rows) else {}

    def message(row: Row) -> Message:
        key = (row.tracking_number, row.recipient)
        return from_row(
            Message,
            row,
            route=None if row.account_id is None else route_of(row),
            segments=tuple(of_message[row.seq]),
            release_at=row.release_at if row.status == Status.HELD else None,
            decisions=tuple(decided[row.seq]),
            blocked_until=blocked.get(key) if row.status == Status.QUEUED else None,
        )

    return [message(row) for row in rows]


def _read_blocks(tx: Transaction) -> dict[tuple[str, str], datetime]:
    """Return the people whose texts wait for the look-up of an earlier one, and until when."""
    key = (attempts.c.tracking_number, attempts.c.recipient)
    blocking = (attempts.c.blocks_until.is_not(None), attempts.c.blocks_until > tx.now)
    query = sa.select(*key, sa.func.max(attempts.c.blocks_until)).where(*blocking).group_by(*key)
    return {(number, recipient): until for number, recipient, until in tx.execute(query)}


def _read_segments(tx: Transaction, seqs: list[int], of_message: dict[int, list[Segment]]) -> None:
    of_these = segments.c.message_seq.in_(seqs)
    tried = attempts.c.segment_id.in_(sa.select(segments.c.id).where(of_these))
    learnt: dict[int, list[Evidence]] = defaultdict(list)
    query = sa.select(evidence).join(attempts, attempts.c.id == evidence.c.attempt_id).where(tried)
    for row in tx.execute(query.order_by(evidence.c.id)):
        learnt[row.attempt_id].append(from_row(Evidence, row))
    tries: dict[int, list[Attempt]] = defaultdict(list)
    for row in tx.execute(sa.select(attempts).where(tried).order_by(attempts.c.id)):
        tries[row.segment_id].append(from_row(Attempt, row, evidence=tuple(learnt[row.id])))
    for row in tx.execute(sa.select(segments).where(of_these).order_by(segments.c.position)):
        of_message[row.message_seq].append(from_row(Segment, row, attempts=tuple(tries[row.id])))


def find_page(tx: Transaction, query: sa.Select[Any], wanted: MessageFilter) -> Page[Row]:
    """Return the next page of *query*, which reads messages newest first."""
    first = 1 if wanted.since is None else first_since(tx, wanted.since)
    if first is None:
        return Page([])
    end = min(wanted.before or _END, _END if wanted.until is None else _end(tx, wanted.until))
    begin = first
    if (wanted.words or wanted.name) and not (wanted.recipient or wanted.opportunity_id):
        last = tx.scalar(sa.select(sa.func.max(messages.c.seq))) or 0
        begin = max(first, min(end, last + 1) - LOOKED_THROUGH)
    query = query.where(messages.c.seq >= begin, messages.c.seq < end, *_conditions(tx, wanted))
    query = query.limit(wanted.limit + 1 if wanted.limit else None)
    # One status at a time, because only then an index has them in the page's order. With a narrow condition,
    # no status index is used: without statistics all seem equally good, and that one has all sent texts.
    narrow = any((wanted.recipient, wanted.opportunity_id, wanted.sender_id))
    column = sa.func.coalesce(messages.c.status, "") if narrow else messages.c.status
    queries = [query.where(column == status) for status in wanted.statuses] or [query]
    found: list[Row] = [row for one in queries for row in tx.execute(one)]
    found.sort(key=lambda row: row.seq, reverse=True)
    if 0 < wanted.limit < len(found):
        return Page(found[: wanted.limit], older=found[wanted.limit - 1].seq)
    rest = latest(messages, messages.c.seq >= first, messages.c.seq < begin)
    if begin > first and (older := tx.execute(rest).first()):
        return Page(found, older=older.seq + 1, searched_to=older.received_at)
    return Page(found)


_END = 2**63 - 1  # larger than every number


def first_since(tx: Transaction, since: datetime) -> int | None:
    """Return the number of the first message received since *since*, which every index has at its end."""
    query = sa.select(messages.c.seq).where(messages.c.received_at >= since)
    return tx.scalar(query.order_by(messages.c.received_at, messages.c.seq).limit(1))


def _end(tx: Transaction, until: datetime) -> int:
    before = sa.select(messages.c.seq).where(messages.c.received_at < until)
    newest = before.order_by(messages.c.received_at.desc(), messages.c.seq.desc()).limit(1)
    return (tx.scalar(newest) or 0) + 1


def _conditions(tx: Transaction, wanted: MessageFilter) -> Iterator[Condition]:
    """The filter's conditions on a message, except for status and number."""
    for name in ("recipient", "tracking_number", "opportunity_id", "sender_id"):
        if (value := getattr(wanted, name)) is not None:
            yield messages.c[name] == value
    if wanted.since is not None:
        yield messages.c.received_at >= wanted.since
    if wanted.until is not None:
        yield messages.c.received_at < wanted.until
    if wanted.name is not None:
        yield _contains(tx, messages.c.seller, wanted.name)
    if wanted.words:
        columns = (messages.c.text, messages.c.seller)
        found = (sa.or_(*(_contains(tx, one, word) for one in columns)) for word in wanted.words)
        fitting = [sa.and_(*found)]
        with contextlib.suppress(BadPhone):
            fitting.append(messages.c.recipient == normalize(" ".join(wanted.words)))
        yield sa.or_(*fitting)


def _contains(tx: Transaction, column: sa.Column[str | None], words: str) -> Condition:
    """Whether *column* contains *words* in any case; SQLite's LIKE ignores case by itself, twice as fast."""
    pattern = "%" + "".join(f"/{letter}" if letter in "/%_" else letter for letter in words) + "%"
    if tx.is_sqlite:
        return column.like(pattern, escape="/")
    return column.ilike(pattern, escape="/")


def list_messages(tx: Transaction, wanted: MessageFilter) -> list[Message]:
    """Return the messages that match the filter, newest first; words are searched for in all of them."""
    query = sa.select(messages).order_by(messages.c.seq.desc())
    page = find_page(tx, query, wanted)
    found = [*page.rows]
    while page.searched_to is not None and (not wanted.limit or len(found) < wanted.limit):
        rest = replace(wanted, before=page.older, limit=wanted.limit and wanted.limit - len(found))
        page = find_page(tx, query, rest)
        found += page.rows
    return with_segments(tx, found)


def count_by_status(tx: Transaction) -> dict[Status, int]:
    """Count the messages with each status, 0 if there are none."""
    query = sa.select(tallies.c.status, sa.func.sum(tallies.c.messages)).group_by(tallies.c.status)
    counted = {status: int(number) for status, number in tx.execute(query)}
    return {status: counted.get(status, 0) for status in Status}


def read_counts(tx: Transaction) -> Counts:
    """Count the texts that aren't done, and those of the last day."""
    undone = {status: tx.count(messages, messages.c.status == status) for status in UNDONE}
    first = sa.select(messages.c.received_at).order_by(messages.c.seq).limit(1)
    oldest = {status: tx.scalar(first.where(messages.c.status == status)) for status in UNDONE}
    # Ids are in order of time, and indexed. With GROUP BY, SQLite would read all messages instead.
    query = sa.select(messages.c.status).where(messages.c.id >= first_id(tx.now - RECENT))
    found = Counter(tx.scalars(query))
    return Counts(
        undone=undone,
        oldest={status: at for status, at in oldest.items() if at is not None},
        recent={status: found[status] for status in Status},
        releasing=tx.count(messages, is_released_by_itself()),
        look_ups=tx.count(attempts, attempts.c.next_lookup_at.is_not(None)),
    )


def count_opt_outs(tx: Transaction) -> int:
    return tx.count(opt_outs)
