"""Reads messages, requests and counts, and everything for an export."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.account import DAY, Account, Limits, drains_at
from callrail_relay.domain.delivery import RECENT, UNDONE, AccountStatus, Counts
from callrail_relay.domain.message import (
    OPEN,
    Attempt,
    Decision,
    Evidence,
    Export,
    Message,
    MessageFilter,
    Segment,
    Status,
    first_id,
)
from callrail_relay.outbox.claim import count_used, read_windows, uses
from callrail_relay.outbox.history import LOOKED_THROUGH, from_seq, of_status
from callrail_relay.outbox.rows import (
    Row,
    attempt_from_row,
    mentions,
    message_from_row,
    read_account,
    read_decisions,
)
from callrail_relay.outbox.rows import portions as in_portions
from callrail_relay.outbox.tables import (
    attempts,
    evidence,
    is_open,
    is_released_by_itself,
    messages,
    opt_outs,
    segments,
    tallies,
)


def list_messages(connection: sa.Connection, now: datetime, wanted: MessageFilter) -> list[Message]:
    """The messages that pass the filter, newest first."""
    narrow = wanted.recipient is not None
    where = list(conditions(connection, wanted))
    found: list[Row] = []
    for portion in portions(connection, wanted):
        # By one status at a time: only so an index holds them in this order.
        for status in wanted.statuses or (None,):
            query = sa.select(messages).where(*where, *portion, *of_status(status, narrow=narrow))
            query = query.order_by(messages.c.seq.desc())
            if wanted.limit:
                query = query.limit(wanted.limit)
            found += connection.execute(query).all()
        if 0 < wanted.limit <= len(found):
            break
    found.sort(key=lambda row: row.seq, reverse=True)
    return with_segments(connection, now, found[: wanted.limit or None])


def conditions(connection: sa.Connection, wanted: MessageFilter) -> Iterator[sa.ColumnElement[bool]]:
    """What a message has to fulfil to pass the filter, its status aside."""
    if wanted.recipient is not None:
        yield messages.c.recipient == wanted.recipient
    if wanted.since is not None:
        yield from_seq(connection, wanted.since)
        yield messages.c.received_at >= wanted.since
    if wanted.search is not None:
        yield mentions(connection, wanted.search)


def portions(
    connection: sa.Connection, wanted: MessageFilter
) -> Iterator[tuple[sa.ColumnElement[bool], ...]]:
    """The parts to look for messages in, newest first: LOOKED_THROUGH texts each if it is for words."""
    if wanted.search is None or wanted.recipient is not None:
        yield ()
        return
    last = last_seq(connection)
    for newest in range(last, 0, -LOOKED_THROUGH):
        yield messages.c.seq <= newest, messages.c.seq > newest - LOOKED_THROUGH


def last_seq(connection: sa.Connection) -> int:
    """The place of the newest message; 0 if there is none."""
    return connection.scalar(sa.select(sa.func.max(messages.c.seq))) or 0


def find_messages(connection: sa.Connection, now: datetime, id_: str) -> list[Message]:
    """The message with this id, or all messages of the submission with this id, in order."""
    query = (
        sa.select(messages)
        .where(sa.or_(messages.c.id == id_, messages.c.submission_id == id_))
        .order_by(messages.c.seq)
    )
    return with_segments(connection, now, connection.execute(query).all())


def with_segments(connection: sa.Connection, now: datetime, rows: Sequence[Row]) -> list[Message]:
    """The messages of these rows, in their order."""
    by_message: dict[int, list[Segment]] = defaultdict(list)
    decided: dict[int, list[Decision]] = {}
    for seqs in in_portions(row.seq for row in rows):
        _read_segments(connection, seqs, by_message)
        decided |= read_decisions(connection, seqs)
    blocked = _read_blocks(connection, now) if any(row.status in OPEN for row in rows) else {}
    blocks = (blocked.get((row.tracking_number, row.recipient)) for row in rows)
    return [
        message_from_row(row, tuple(by_message[row.seq]), tuple(decided.get(row.seq, ())), until)
        for row, until in zip(rows, blocks, strict=True)
    ]


def _read_blocks(connection: sa.Connection, now: datetime) -> dict[tuple[str, str], datetime]:
    """The people whose texts wait for an earlier one that is being looked up, and until when."""
    query = (
        sa.select(attempts.c.tracking_number, attempts.c.recipient, sa.func.max(attempts.c.blocks_until))
        .where(attempts.c.blocks_until.is_not(None), attempts.c.blocks_until > now)
        .group_by(attempts.c.tracking_number, attempts.c.recipient)
    )
    return {(number, recipient): until for number, recipient, until in connection.execute(query)}


def _read_segments(connection: sa.Connection, seqs: list[int], by_message: dict[int, list[Segment]]) -> None:
    of_these = segments.c.message_seq.in_(seqs)
    tried = attempts.c.segment_id.in_(sa.select(segments.c.id).where(of_these))
    learnt: dict[int, list[Evidence]] = defaultdict(list)
    query = sa.select(evidence).join(attempts, attempts.c.id == evidence.c.attempt_id).where(tried)
    for row in connection.execute(query.order_by(evidence.c.id)):
        learnt[row.attempt_id].append(Evidence(noted_at=row.noted_at, detail=row.detail))
    tries: dict[int, list[Attempt]] = defaultdict(list)
    for row in connection.execute(sa.select(attempts).where(tried).order_by(attempts.c.id)):
        tries[row.segment_id].append(attempt_from_row(row, tuple(learnt[row.id])))
    for row in connection.execute(sa.select(segments).where(of_these).order_by(segments.c.position)):
        status = Status(row.status)
        by_message[row.message_seq].append(
            Segment(position=row.position, content=row.content, status=status, attempts=tuple(tries[row.id]))
        )


def count_by_status(connection: sa.Connection, now: datetime) -> dict[Status, int]:
    """How many messages have each status; a status that none has counts 0."""
    query = sa.select(tallies.c.status, sa.func.sum(tallies.c.messages)).group_by(tallies.c.status)
    counted = {status: int(number) for status, number in connection.execute(query)}
    return {status: counted.get(status, 0) for status in Status}


def read_standings(
    connection: sa.Connection, now: datetime, account_ids: Sequence[str], limits: Limits
) -> list[AccountStatus]:
    """How each of *account_ids* stands, and each other account that texts wait for."""
    waiting = connection.scalars(_WAITED_FOR).all()
    ids = dict.fromkeys([*account_ids, *sorted(waiting)])
    return [_standing(connection, now, account_id, limits) for account_id in ids]


def _standing(connection: sa.Connection, now: datetime, account_id: str, limits: Limits) -> AccountStatus:
    account = read_account(connection, account_id)
    hour, day = read_windows(connection, now, account, limits, used=count_used(connection, now, account_id))
    planned, *gone = (connection.scalar(one, {"account_id": account_id}) or 0 for one in (_PLANNED, *_GONE))
    # Segments of open messages that were not sent yet.
    pending = int(planned) - sum(gone)
    drains_at = _drains_at(connection, now, account, limits, pending, at_once=min(hour.room, day.room))
    return AccountStatus(account=account, hour=hour, day=day, pending=pending, drains_at=drains_at)


_OPEN_TALLY = tallies.c.status.in_(OPEN)
_WAITED_FOR = sa.select(tallies.c.account_id).where(_OPEN_TALLY, tallies.c.messages > 0).distinct()
_ACCOUNT = sa.bindparam("account_id", type_=sa.String)
_PLANNED = sa.select(sa.func.sum(tallies.c.segments)).where(tallies.c.account_id == _ACCOUNT, _OPEN_TALLY)
# Of those that are queued only what was cut anew has segments that are done with. There the status is an
# expression, so that the index of just these is taken, and not that of thousands that wait.
_GONE = [
    sa.select(sa.func.count())
    .select_from(messages.join(segments, segments.c.message_seq == messages.c.seq))
    .where(
        messages.c.account_id == _ACCOUNT, which, segments.c.status.not_in([Status.QUEUED, Status.SENDING])
    )
    for which in (
        sa.and_(is_open(), messages.c.status == Status.SENDING),
        sa.and_(messages.c.status.concat("") == Status.QUEUED, messages.c.cut_to.is_not(None)),
    )
]


def _drains_at(
    connection: sa.Connection, now: datetime, account: Account, limits: Limits, pending: int, *, at_once: int
) -> datetime | None:
    if account.paused_since is not None:
        return None
    begin = now if account.wait_until is None else max(now, account.wait_until)
    if 0 < pending <= at_once:
        return begin
    known = connection.scalars(_KNOWN_USES, {"account_id": account.id, "since": now - DAY}).all()
    allowed = limits.lowered(hour_allowed=account.hour_allowed, day_allowed=account.day_allowed)
    counted = sorted([*known, *account.used_by_others()])
    return drains_at(begin, pending=pending, counted=counted, limits=allowed)


# What is in flight is among the pending.
_KNOWN_USES = sa.select(uses(attempts.c.finished_at.is_not(None)).c.at)


def plan_export(connection: sa.Connection, now: datetime, wanted: MessageFilter) -> Export:
    """How many messages pass the filter now; what comes in later is not in the export."""
    return Export(wanted=wanted, count=_count(connection, wanted), last=last_seq(connection))


def _count(connection: sa.Connection, wanted: MessageFilter) -> int:
    if (wanted.recipient, wanted.since, wanted.search) == (None, None, None):
        counted = sa.select(sa.func.sum(tallies.c.messages)).where(*_of_statuses(tallies, wanted))
        return int(connection.scalar(counted) or 0)
    where = [*conditions(connection, wanted), *_of_statuses(messages, wanted)]
    number = sa.select(sa.func.count()).select_from(messages)
    return sum(
        connection.execute(number.where(*where, *portion)).scalar_one()
        for portion in portions(connection, wanted)
    )


def read_portion(
    connection: sa.Connection, now: datetime, export: Export, *, after: int, size: int
) -> tuple[list[Message], int]:
    """
    Return the next messages of *export* after the place *after*, *size* at most, and the place of the last.

    Each portion is a separate transaction, so that a long export doesn't block writes.
    """
    where = [*conditions(connection, export.wanted), *_of_statuses(messages, export.wanted)]
    # If it is for words, no statement looks through more than so many, as in a list.
    step = LOOKED_THROUGH if export.wanted.search is not None else max(1, export.last - after)
    for begin in range(after, export.last, step):
        query = (
            sa.select(messages)
            .where(messages.c.seq > begin, messages.c.seq <= min(begin + step, export.last), *where)
            .order_by(messages.c.seq)
            .limit(size)
        )
        rows = connection.execute(query).all()
        if rows:
            return with_segments(connection, now, rows), rows[-1].seq
    return [], after


def _of_statuses(table: sa.FromClause, wanted: MessageFilter) -> list[sa.ColumnElement[bool]]:
    return [table.c.status.in_(wanted.statuses)] if wanted.statuses else []


def read_counts(connection: sa.Connection, now: datetime) -> Counts:
    """The texts that are not done, and those of the last day."""
    undone = {status: _count_where(connection, messages.c.status == status) for status in UNDONE}
    oldest = {status: _oldest(connection, status) for status in UNDONE}
    # Ids are in the order of time, and have an index. To group them, SQLite would read all messages instead.
    query = sa.select(messages.c.status).where(messages.c.id >= first_id(now - RECENT))
    found = Counter(connection.scalars(query))
    return Counts(
        undone=undone,
        oldest={status: instant for status, instant in oldest.items() if instant is not None},
        recent={status: found[status] for status in Status},
        releasing=_count_where(connection, is_released_by_itself()),
        look_ups=_count_where(connection, attempts.c.look_at.is_not(None)),
    )


def _count_where(connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).where(which)) or 0


def _oldest(connection: sa.Connection, status: Status) -> datetime | None:
    query = sa.select(messages.c.received_at).where(messages.c.status == status).order_by(messages.c.seq)
    return connection.scalar(query.limit(1))


def count_opt_outs(connection: sa.Connection, now: datetime) -> int:
    """How many entries the list of opt-outs has."""
    return connection.scalar(sa.select(sa.func.count()).select_from(opt_outs)) or 0
