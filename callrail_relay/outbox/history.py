"""
Reading for the dashboard: each statement costs the same however many texts are kept.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain.budget import DAY, HOUR
from callrail_relay.domain.history import (
    MOST_COUNTED,
    QUARTER,
    Arrivals,
    Conversation,
    OldestUse,
    Overview,
    Pile,
    RawRequest,
    TextFilter,
    TextHistory,
    TextPage,
    TextRow,
    Utterance,
    Waiting,
)
from callrail_relay.domain.message import OPEN, Source, Status
from callrail_relay.domain.suppression import Suppression
from callrail_relay.outbox.suppressing import is_suppressed
from callrail_relay.outbox.tables import (
    EPOCH,
    MICROSECOND,
    accounts,
    attempts,
    callrail_texts,
    decisions,
    evidence,
    is_open,
    messages,
    submissions,
    suppressions,
)
from callrail_relay.outbox.values import Row, reasons_from_json

PILE = 10
"""Texts of one kind that are read to be shown; the others are only counted."""

LOOKED_THROUGH = 30_000
"""Texts that one search for words looks through; it goes on from there when asked to."""

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
)


def read_overview(
    connection: sa.Connection,
    now: datetime,
    account_ids: Sequence[str],
    arrivals_since: datetime,
    failed_since: datetime,
) -> Overview:
    """
    What waits, and how many texts came in since *arrivals_since*.
    """
    return Overview(
        now=now,
        waiting=read_waiting(connection, now, failed_since),
        arrivals=read_arrivals(connection, now, arrivals_since, None),
        oldest={one: _oldest_use(connection, now, one) for one in account_ids},
        any_texts=connection.scalar(sa.select(messages.c.seq).limit(1)) is not None,
    )


def read_waiting(connection: sa.Connection, now: datetime, failed_since: datetime) -> Waiting:
    """
    What waits for a person or by itself, and what failed since *failed_since*.
    """
    looked_up = messages.c.seq.in_(sa.select(attempts.c.message_seq).where(attempts.c.look_at.is_not(None)))
    held, unknown = messages.c.status == Status.HELD, messages.c.status == Status.UNKNOWN
    failed = (messages.c.status == Status.FAILED, from_seq(connection, failed_since))
    found = _pile(connection, unknown, looked_up)
    return Waiting(
        held=_pile(connection, held, messages.c.release_at.is_(None)),
        unknown=_pile(connection, unknown, ~looked_up),
        failed=_pile(connection, *failed),
        looked_up=replace(found, rows=tuple(replace(row, looked_up=True) for row in found.rows)),
        released_later=_pile(connection, held, messages.c.release_at.is_not(None)),
        queued=connection.scalar(sa.select(sa.func.count()).select_from(messages).where(is_open())) or 0,
    )


def _pile(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> Pile:
    rows = connection.execute(
        sa.select(*ROW_COLUMNS).where(*where).order_by(messages.c.seq.desc()).limit(PILE)
    ).all()
    count = len(rows)
    if count == PILE:
        some = sa.select(messages.c.seq).where(*where).limit(MOST_COUNTED + 1).subquery()
        count = connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0
    return Pile(count=count, rows=tuple(_text_row(row) for row in rows))


def from_seq(connection: sa.Connection, since: datetime) -> sa.ColumnElement[bool]:
    """
    Whether a message came in since *since*, as a bound of its number, which every index has at its end.
    """
    first = connection.scalar(
        sa.select(messages.c.seq)
        .where(messages.c.received_at >= since)
        .order_by(messages.c.received_at, messages.c.seq)
        .limit(1)
    )
    return sa.false() if first is None else messages.c.seq >= first


def read_arrivals(
    connection: sa.Connection, now: datetime, since: datetime, until: datetime | None
) -> tuple[Arrivals, ...]:
    """
    How many texts came in from *since* to before *until*, by quarters of an hour and by what became of them.
    """
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
    def oldest(length: timedelta) -> datetime | None:
        found: datetime | None = connection.scalar(
            sa.select(sa.func.min(attempts.c.counted_at)).where(
                attempts.c.account_id == account_id, attempts.c.counted_at > now - length
            )
        )
        return found

    return OldestUse(hour=oldest(HOUR), day=oldest(DAY))


def read_page(connection: sa.Connection, now: datetime, wanted: TextFilter) -> TextPage:
    """
    One page of texts by *wanted*: it begins where the page before it ended, and passes over nothing twice.

    Words are looked for in LOOKED_THROUGH texts at a time, so that a word that is nowhere costs no more.
    """
    bounds, floor = _bounds(connection, wanted)
    where = [*_narrow(wanted), *bounds]
    # By one status at a time: only so the index holds them in the order of the page.
    found = [
        row
        for one in wanted.statuses or (None,)
        for row in connection.execute(
            sa.select(*ROW_COLUMNS)
            .where(*where, *of_status(one, narrow=_is_narrow(wanted)))
            .order_by(messages.c.seq.desc())
            .limit(wanted.limit + 1)
        )
    ]
    found.sort(key=lambda row: row.seq, reverse=True)
    rows = tuple(_text_row(row) for row in found[: wanted.limit])
    if len(found) > wanted.limit:
        return TextPage(rows=rows, older=rows[-1].seq)
    rest = None if floor is None else _at_most(connection, floor)
    if rest is None:
        return TextPage(rows=rows)
    seq, received_at = rest
    return TextPage(rows=rows, older=seq + 1, searched_to=received_at)


def _bounds(connection: sa.Connection, wanted: TextFilter) -> tuple[list[sa.ColumnElement[bool]], int | None]:
    """
    The part of the numbers that a page is looked for in, and where it ends although there may be more.
    """
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
    last = connection.scalar(
        sa.select(messages.c.seq)
        .where(messages.c.received_at < until)
        .order_by(messages.c.received_at.desc(), messages.c.seq.desc())
        .limit(1)
    )
    return sa.false() if last is None else messages.c.seq <= last


def _at_most(connection: sa.Connection, seq: int) -> tuple[int, datetime] | None:
    query = (
        sa.select(messages.c.seq, messages.c.received_at)
        .where(messages.c.seq <= seq)
        .order_by(messages.c.seq.desc())
        .limit(1)
    )
    found = connection.execute(query).first()
    return None if found is None else (found.seq, found.received_at)


def _narrow(wanted: TextFilter) -> Iterable[sa.ColumnElement[bool]]:
    for column, value in (
        (messages.c.recipient, wanted.recipient),
        (messages.c.tracking_number, wanted.tracking_number),
        (messages.c.opportunity_id, wanted.opportunity_id),
        (messages.c.sender_id, wanted.sender_id),
    ):
        if value is not None:
            yield column == value
    if wanted.name is not None:
        yield messages.c.seller.icontains(wanted.name, autoescape=True)
    for word in wanted.words:
        yield sa.or_(
            messages.c.text.icontains(word, autoescape=True),
            messages.c.seller.icontains(word, autoescape=True),
        )


def _is_narrow(wanted: TextFilter) -> bool:
    return any((wanted.recipient, wanted.opportunity_id, wanted.sender_id))


def of_status(status: Status | None, *, narrow: bool) -> list[sa.ColumnElement[bool]]:
    """
    Whether a message has *status*; beside a *narrow* condition in a form that no index is used for.

    A database without statistics takes all indexes for equally good, and walks all sent texts.
    """
    if status is None:
        return []
    return [sa.func.coalesce(messages.c.status, "") == status if narrow else messages.c.status == status]


def read_history(connection: sa.Connection, now: datetime, message_id: str) -> TextHistory:
    """
    What is known of one text beside the message itself.
    """
    row = connection.execute(
        sa.select(
            messages.c.approved,
            messages.c.release_at,
            messages.c.tracking_number,
            messages.c.recipient,
            submissions.c.received_at,
            submissions.c.content_type,
            submissions.c.query,
            submissions.c.body,
        )
        .join(submissions, submissions.c.id == messages.c.submission_id)
        .where(messages.c.id == message_id)
    ).first()
    if row is None:
        return TextHistory()
    return TextHistory(
        approved=tuple(row.approved),
        release_at=row.release_at,
        raw=RawRequest(
            received_at=row.received_at, content_type=row.content_type, query=row.query, body=row.body
        ),
        suppressed=(
            row.recipient is not None
            and row.tracking_number is not None
            and is_suppressed(connection, now, row.tracking_number, row.recipient)
        ),
    )


def read_conversation(
    connection: sa.Connection,
    now: datetime,
    tracking_number: str,
    recipient: str,
    before: datetime | None,
    limit: int,
) -> Conversation:
    """
    The latest *limit* texts between a person and one of our numbers, before *before* where it is given.
    """
    said = [*_ours(connection, tracking_number, recipient, before, limit + 1)]
    said += _theirs(connection, tracking_number, recipient, before, limit + 1)
    said.sort(key=lambda one: one.at)
    shown = said[-limit:]
    return Conversation(
        recipient=recipient,
        tracking_number=tracking_number,
        seller=_seller(connection, recipient),
        utterances=tuple(shown),
        older=shown[0].at if len(said) > limit else None,
        suppressed=is_suppressed(connection, now, tracking_number, recipient),
    )


def _ours(
    connection: sa.Connection, tracking_number: str, recipient: str, before: datetime | None, limit: int
) -> Iterable[Utterance]:
    query = (
        sa.select(*ROW_COLUMNS)
        .where(messages.c.recipient == recipient, messages.c.tracking_number == tracking_number)
        .order_by(messages.c.seq.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(messages.c.received_at < before)
    for row in connection.execute(query):
        yield Utterance(
            at=row.received_at,
            inbound=False,
            content=row.text,
            message_id=row.id,
            status=Status(row.status),
        )


def _theirs(
    connection: sa.Connection, tracking_number: str, recipient: str, before: datetime | None, limit: int
) -> Iterable[Utterance]:
    """
    What the person wrote, and what others sent from our number; our own texts stand in the outbox already.
    """
    table = callrail_texts
    query = (
        sa.select(table.c.written_at, table.c.direction, table.c.content)
        .where(
            table.c.tracking_number == tracking_number,
            table.c.recipient == recipient,
            sa.or_(table.c.direction == "in", table.c.attempt_id.is_(None)),
        )
        .order_by(table.c.written_at.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(table.c.written_at < before)
    for row in connection.execute(query):
        yield Utterance(at=row.written_at, inbound=row.direction == "in", content=row.content)


def _seller(connection: sa.Connection, recipient: str) -> str | None:
    query = (
        sa.select(messages.c.seller)
        .where(messages.c.recipient == recipient)
        .order_by(messages.c.seq.desc())
        .limit(1)
    )
    return connection.scalar(query)


def read_suppressions(connection: sa.Connection, now: datetime, limit: int) -> list[Suppression]:
    """
    The newest *limit* entries of the list of people who opted out.
    """
    query = (
        sa.select(suppressions)
        .order_by(suppressions.c.created_at.desc(), suppressions.c.recipient)
        .limit(limit)
    )
    return [
        Suppression(
            tracking_number=row.tracking_number,
            recipient=row.recipient,
            reason=row.reason,
            created_at=row.created_at,
        )
        for row in connection.execute(query)
    ]


def read_marker(connection: sa.Connection, now: datetime) -> str:
    """
    Words that are others after every change that a page could show, whoever made it.

    It is asked for again and again while somebody looks, so that every part of it is the end of an index.
    """

    def newest(column: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
        return sa.select(sa.func.max(column)).scalar_subquery()

    def count(table: sa.FromClause, *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
        return sa.select(sa.func.count()).select_from(table).where(*where).scalar_subquery()

    waiting = [
        count(messages, messages.c.status == sa.literal(status, literal_execute=True))
        for status in (Status.HELD, Status.UNKNOWN, *OPEN)
    ]
    parts = connection.execute(
        sa.select(
            newest(messages.c.seq),
            newest(attempts.c.id),
            newest(evidence.c.id),
            newest(decisions.c.id),
            newest(callrail_texts.c.received_at),
            # By the account, so that the index of what is in flight is used.
            count(attempts, attempts.c.account_id > "", attempts.c.finished_at.is_(None)),
            count(suppressions),
            *waiting,
        )
    ).one()
    standing = connection.execute(sa.select(accounts).order_by(accounts.c.id)).all()
    seen = repr((tuple(parts), [tuple(row) for row in standing]))
    return hashlib.blake2b(seen.encode(), digest_size=8).hexdigest()


def _text_row(row: Row) -> TextRow:
    return TextRow(
        seq=row.seq,
        id=row.id,
        status=Status(row.status),
        source=Source(row.source),
        received_at=row.received_at,
        reasons=reasons_from_json(row.reasons),
        recipient=row.recipient,
        tracking_number=row.tracking_number,
        seller=row.seller,
        text=row.text,
        sent_at=row.sent_at,
        release_at=row.release_at,
    )
