"""Reading for the dashboard: each statement costs the same however many texts are kept."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain.account import DAY, HOUR
from callrail_relay.domain.message import OPEN, Source, Status
from callrail_relay.domain.views import (
    QUARTER,
    Arrivals,
    Bucket,
    ChatMessage,
    Conversation,
    MessageSummary,
    OldestUse,
    Overview,
    RawRequest,
    TextFilter,
    TextHistory,
    TextPage,
    Waiting,
)
from callrail_relay.outbox.opt_outs import is_opted_out
from callrail_relay.outbox.rows import Row, contains, latest, mentions, of_pair
from callrail_relay.outbox.tables import (
    EPOCH,
    MICROSECOND,
    Instant,
    accounts,
    attempts,
    callrail_texts,
    decisions,
    evidence,
    is_released_by_itself,
    messages,
    opt_outs,
    submissions,
    tallies,
)

PILE = 10
"""Texts of one kind that are read to be shown; the others are only counted."""

LOOKED_THROUGH = 30_000
"""Texts that one search for words looks through; it goes on from there when asked to."""

_TO_THEM = of_pair(opt_outs, messages.c.tracking_number, messages.c.recipient)
_IS_OPTED_OUT = sa.exists().where(*_TO_THEM).correlate(messages)

ROW_COLUMNS: Sequence[sa.ColumnElement[Any]] = (
    messages.c.seq,
    messages.c.id,
    messages.c.status,
    messages.c.source,
    messages.c.received_at,
    messages.c.reasons,
    messages.c.recipient,
    messages.c.tracking_number,
    messages.c.seller,
    messages.c.text,
    messages.c.sent_at,
    messages.c.release_at,
    _IS_OPTED_OUT.label("is_opted_out"),
)


def read_overview(
    connection: sa.Connection,
    now: datetime,
    account_ids: Sequence[str],
    arrivals_since: datetime,
    failed_since: datetime,
) -> Overview:
    """What waits, and how many texts came in since *arrivals_since*."""
    return Overview(
        now=now,
        waiting=read_waiting(connection, now, failed_since),
        arrivals=read_arrivals(connection, now, arrivals_since, None),
        oldest={one: _oldest_use(connection, now, one) for one in account_ids},
        any_texts=connection.scalar(sa.select(messages.c.seq).limit(1)) is not None,
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of what waits: how the newest of them are read, and how they are counted."""

    rows: sa.Select[Any]
    count: sa.ScalarSelect[int]


def _kind(*which: sa.ColumnElement[bool], count: sa.ScalarSelect[int] | None = None) -> _Kind:
    """Texts that fulfill this; *count* is how many those are, if that is known without going through them."""
    rows = sa.select(*ROW_COLUMNS).where(*which).order_by(messages.c.seq.desc())
    return _Kind(rows.limit(sa.bindparam("shown")), _number(messages, *which) if count is None else count)


def _number(table: sa.FromClause, *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(table).where(*where).scalar_subquery()


def _tallied(*statuses: Status) -> sa.ScalarSelect[int]:
    """How many texts have one of *statuses*, however many they are."""
    total = sa.cast(sa.func.coalesce(sa.func.sum(tallies.c.messages), 0), sa.BigInteger)
    return sa.select(total).where(tallies.c.status.in_(statuses)).scalar_subquery()


def _all_but(status: Status, others: _Kind) -> sa.ScalarSelect[int]:
    return sa.select(_tallied(status) - others.count).scalar_subquery()


_LOOKED_UP = messages.c.seq.in_(sa.select(attempts.c.message_seq).where(attempts.c.look_at.is_not(None)))
_FROM_FIRST = messages.c.seq >= sa.bindparam("first", type_=sa.BigInteger)
_HELD, _UNKNOWN = messages.c.status == Status.HELD, messages.c.status == Status.UNKNOWN
RELEASED_LATER = _kind(is_released_by_itself())
HELD = _kind(_HELD, messages.c.release_at.is_(None), count=_all_but(Status.HELD, RELEASED_LATER))
LOOKED_UP = _kind(_UNKNOWN, _LOOKED_UP)
UNKNOWN = _kind(_UNKNOWN, ~_LOOKED_UP, count=_all_but(Status.UNKNOWN, LOOKED_UP))
FAILED = _kind(messages.c.status == Status.FAILED, _FROM_FIRST)
_FOR_PERSON = sa.select(HELD.count + UNKNOWN.count + FAILED.count)
_QUEUED = sa.select(_tallied(*OPEN))


def read_waiting(connection: sa.Connection, now: datetime, failed_since: datetime) -> Waiting:
    """What waits for a person or by itself, and what failed since *failed_since*."""
    found = _pile(connection, LOOKED_UP)
    return Waiting(
        held=_pile(connection, HELD),
        unknown=_pile(connection, UNKNOWN),
        failed=_pile(connection, FAILED, first=_first_since(connection, failed_since)),
        looked_up=replace(found, rows=tuple(replace(row, looked_up=True) for row in found.rows)),
        released_later=_pile(connection, RELEASED_LATER),
        queued=int(connection.scalar(_QUEUED) or 0),
    )


def _pile(connection: sa.Connection, kind: _Kind, **parameters: int | None) -> Bucket:
    rows = connection.execute(kind.rows, {"shown": PILE, **parameters}).all()
    count = len(rows)
    if count == PILE:
        count = int(connection.scalar(sa.select(kind.count), parameters) or 0)
    return Bucket(count=count, rows=tuple(_text_row(row) for row in rows))


def from_seq(connection: sa.Connection, since: datetime) -> sa.ColumnElement[bool]:
    """Whether a message came in since *since*, as a bound of its number, which every index has at its end."""
    first = _first_since(connection, since)
    return sa.false() if first is None else messages.c.seq >= first


def count_for_person(connection: sa.Connection, now: datetime, failed_since: datetime) -> int:
    """How many texts wait for a person, as ``read_waiting`` counts them."""
    first = _first_since(connection, failed_since)
    return int(connection.scalar(_FOR_PERSON, {"first": first}) or 0)


def _first_since(connection: sa.Connection, since: datetime) -> int | None:
    """The number of the first message that came in since *since*, which every index has at its end."""
    return connection.scalar(_FIRST_SINCE, {"since": since})


_FIRST_SINCE = (
    sa.select(messages.c.seq)
    .where(messages.c.received_at >= sa.bindparam("since", type_=Instant))
    .order_by(messages.c.received_at, messages.c.seq)
    .limit(1)
)


def read_arrivals(
    connection: sa.Connection, now: datetime, since: datetime, until: datetime | None
) -> tuple[Arrivals, ...]:
    """Count the texts that came from *since* to before *until*, by quarter of an hour and by status."""
    length = sa.literal(QUARTER // MICROSECOND, sa.BigInteger, literal_execute=True)
    quarter = (sa.type_coerce(messages.c.received_at, sa.BigInteger) // length).label("quarter")
    query = (
        sa.select(quarter, messages.c.status, sa.func.count())
        .where(messages.c.received_at >= since)
        .group_by(quarter, messages.c.status)
    )
    if until is not None:
        query = query.where(messages.c.received_at < until)
    return tuple(
        Arrivals(begins=EPOCH + int(number) * QUARTER, status=Status(status), count=count)
        for number, status, count in connection.execute(query)
    )


def _oldest_use(connection: sa.Connection, now: datetime, account_id: str) -> OldestUse:
    hour, day = (
        connection.scalar(_OLDEST_USE, {"account_id": account_id, "since": now - length})
        for length in (HOUR, DAY)
    )
    return OldestUse(hour=hour, day=day)


_OLDEST_USE = sa.select(sa.func.min(attempts.c.counted_at)).where(
    attempts.c.account_id == sa.bindparam("account_id"),
    attempts.c.counted_at > sa.bindparam("since", type_=Instant),
)


def read_page(connection: sa.Connection, now: datetime, wanted: TextFilter) -> TextPage:
    """Return the next page; words are looked for in LOOKED_THROUGH texts at a time."""
    bounds, floor = _bounds(connection, wanted)
    where = [*_narrow(connection, wanted), *bounds]
    narrow = any((wanted.recipient, wanted.opportunity_id, wanted.sender_id))
    query = sa.select(*ROW_COLUMNS).where(*where).order_by(messages.c.seq.desc()).limit(wanted.limit + 1)
    # By one status at a time: only so the index holds them in the order of the page.
    found = [
        row
        for one in wanted.statuses or (None,)
        for row in connection.execute(query.where(*of_status(one, narrow=narrow)))
    ]
    found.sort(key=lambda row: row.seq, reverse=True)
    rows = tuple(_text_row(row) for row in found[: wanted.limit])
    if len(found) > wanted.limit:
        return TextPage(rows=rows, older=rows[-1].seq)
    rest = floor and connection.execute(latest(messages, messages.c.seq <= floor)).first()
    if not rest:
        return TextPage(rows=rows)
    return TextPage(rows=rows, older=rest.seq + 1, searched_to=rest.received_at)


def _bounds(connection: sa.Connection, wanted: TextFilter) -> tuple[list[sa.ColumnElement[bool]], int | None]:
    """The part of the numbers that a page is looked for in, and where it ends although there may be more."""
    bounds: list[sa.ColumnElement[bool]] = []
    if wanted.before is not None:
        bounds.append(messages.c.seq < wanted.before)
    if wanted.since is not None:
        bounds += [from_seq(connection, wanted.since), messages.c.received_at >= wanted.since]
    if wanted.until is not None:
        bounds += [_to_seq(connection, wanted.until), messages.c.received_at < wanted.until]
    if not (wanted.words or wanted.name) or wanted.recipient or wanted.opportunity_id or wanted.since:
        return bounds, None
    newest = wanted.before or (connection.scalar(sa.select(sa.func.max(messages.c.seq))) or 0) + 1
    floor = newest - LOOKED_THROUGH
    return [*bounds, messages.c.seq >= floor], floor - 1


def _to_seq(connection: sa.Connection, until: datetime) -> sa.ColumnElement[bool]:
    before = sa.select(messages.c.seq).where(messages.c.received_at < until)
    newest = before.order_by(messages.c.received_at.desc(), messages.c.seq.desc()).limit(1)
    last = connection.scalar(newest)
    return sa.false() if last is None else messages.c.seq <= last


def _narrow(connection: sa.Connection, wanted: TextFilter) -> Iterable[sa.ColumnElement[bool]]:
    for column, value in (
        (messages.c.recipient, wanted.recipient),
        (messages.c.tracking_number, wanted.tracking_number),
        (messages.c.opportunity_id, wanted.opportunity_id),
        (messages.c.sender_id, wanted.sender_id),
    ):
        if value is not None:
            yield column == value
    if wanted.name is not None:
        yield contains(connection, messages.c.seller, wanted.name)
    for word in wanted.words:
        yield mentions(connection, word)


def of_status(status: Status | None, *, narrow: bool) -> list[sa.ColumnElement[bool]]:
    """
    Whether a message has *status*; beside a *narrow* condition so that no index of the status is used.

    Without statistics a database takes all indexes for equally good, and would walk all sent texts.
    """
    if status is None:
        return []
    return [sa.func.coalesce(messages.c.status, "") == status if narrow else messages.c.status == status]


def read_history(connection: sa.Connection, now: datetime, message_id: str) -> TextHistory:
    """What is known of one text beside the message itself."""
    of_message = (messages.c.id == message_id, submissions.c.id == messages.c.submission_id)
    query = sa.select(
        submissions,
        messages.c.approved,
        messages.c.release_at,
        _IS_OPTED_OUT.label("is_opted_out"),
    )
    row = connection.execute(query.where(*of_message)).first()
    if row is None:
        return TextHistory()
    raw = RawRequest(
        received_at=row.received_at, content_type=row.content_type, query=row.query, body=row.body
    )
    return TextHistory(
        approved=tuple(row.approved), release_at=row.release_at, raw=raw, opted_out=row.is_opted_out
    )


def read_conversation(
    connection: sa.Connection,
    now: datetime,
    tracking_number: str,
    recipient: str,
    before: datetime | None,
    limit: int,
) -> Conversation:
    """The latest *limit* texts between a person and one of our numbers, before *before* if it is given."""
    said = [*_ours(connection, tracking_number, recipient, before, limit + 1)]
    said += _theirs(connection, tracking_number, recipient, before, limit + 1)
    said.sort(key=lambda one: one.at)
    shown = said[-limit:]
    return Conversation(
        recipient=recipient,
        tracking_number=tracking_number,
        seller=connection.scalar(latest(messages.c.seller, messages.c.recipient == recipient)),
        messages=tuple(shown),
        older=shown[0].at if len(said) > limit else None,
        opted_out=is_opted_out(connection, now, tracking_number, recipient),
    )


def _ours(
    connection: sa.Connection, tracking_number: str, recipient: str, before: datetime | None, limit: int
) -> Iterable[ChatMessage]:
    query = (
        sa.select(messages)
        .where(*of_pair(messages, tracking_number, recipient))
        .order_by(messages.c.seq.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(messages.c.received_at < before)
    for row in connection.execute(query):
        yield ChatMessage(
            at=row.received_at, inbound=False, content=row.text, message_id=row.id, status=Status(row.status)
        )


def _theirs(
    connection: sa.Connection, tracking_number: str, recipient: str, before: datetime | None, limit: int
) -> Iterable[ChatMessage]:
    """What the person wrote, and what others sent from our number."""
    table = callrail_texts
    query = (
        sa.select(table.c.written_at, table.c.direction, table.c.content)
        .where(
            *of_pair(table, tracking_number, recipient),
            sa.or_(table.c.direction == "in", table.c.attempt_id.is_(None)),
        )
        .order_by(table.c.written_at.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(table.c.written_at < before)
    for row in connection.execute(query):
        yield ChatMessage(at=row.written_at, inbound=row.direction == "in", content=row.content)


def read_marker(connection: sa.Connection, now: datetime) -> str:
    """Return a value that changes with all that a page could show, from the ends of indexes alone."""
    standing = connection.execute(_STANDING).all()
    seen = repr((tuple(connection.execute(_MARKER).one()), [tuple(row) for row in standing]))
    return hashlib.blake2b(seen.encode(), digest_size=8).hexdigest()


def _newest(column: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    return sa.select(sa.func.max(column)).scalar_subquery()


_MARKER = sa.select(
    _newest(messages.c.seq),
    _newest(attempts.c.id),
    _newest(evidence.c.id),
    _newest(decisions.c.id),
    _newest(callrail_texts.c.received_at),
    # By the account, so that the index of what is in flight is used.
    _number(attempts, attempts.c.account_id > "", attempts.c.finished_at.is_(None)),
    _number(opt_outs),
    *(
        _number(messages, messages.c.status == sa.literal(status, literal_execute=True))
        for status in (Status.HELD, Status.UNKNOWN, *OPEN)
    ),
)
_STANDING = sa.select(accounts).order_by(accounts.c.id)


def _text_row(row: Row) -> MessageSummary:
    return MessageSummary(
        seq=row.seq,
        id=row.id,
        status=Status(row.status),
        source=Source(row.source),
        received_at=row.received_at,
        reasons=row.reasons,
        recipient=row.recipient,
        tracking_number=row.tracking_number,
        seller=row.seller,
        text=row.text,
        sent_at=row.sent_at,
        release_at=row.release_at,
        opted_out=row.is_opted_out,
    )
