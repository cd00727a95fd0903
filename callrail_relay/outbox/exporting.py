"""
Reading many messages in portions, oldest first.
"""

from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.message import Export, Message, MessageFilter
from callrail_relay.outbox.reading import conditions, with_segments
from callrail_relay.outbox.tables import messages


def plan_export(connection: sa.Connection, now: datetime, wanted: MessageFilter) -> Export:
    """
    How many messages pass the filter now; what comes in later is not in the export.
    """
    query = sa.select(sa.func.count(), sa.func.max(messages.c.seq)).where(*conditions(connection, wanted))
    count, last = connection.execute(query).one()
    return Export(wanted=wanted, count=count, last=last or 0)


def read_portion(
    connection: sa.Connection, now: datetime, export: Export, *, after: int, size: int
) -> tuple[list[Message], int]:
    """
    The next messages of *export* behind the place *after*, *size* at most, and the place of the last of them.

    Each portion is a transaction of its own: no export keeps others from writing, however long it takes.
    """
    query = (
        sa.select(messages)
        .where(messages.c.seq > after, messages.c.seq <= export.last, *conditions(connection, export.wanted))
        .order_by(messages.c.seq)
        .limit(size)
    )
    rows = connection.execute(query).all()
    return with_segments(connection, now, rows), rows[-1].seq if rows else after
