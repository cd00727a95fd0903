"""Reading many messages in portions, oldest first."""

from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.message import Export, Message, MessageFilter
from callrail_relay.outbox.history import LOOKED_THROUGH
from callrail_relay.outbox.queries import conditions, last_seq, portions, with_segments
from callrail_relay.outbox.tables import messages, tallies


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
    The next messages of *export* behind the place *after*, *size* at most, and the place of the last of them.

    Each portion is a transaction of its own: no export keeps others from writing, however long it takes.
    """
    where = [*conditions(connection, export.wanted), *_of_statuses(messages, export.wanted)]
    # Where it is for words, no statement looks through more than so many, as in a list.
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
