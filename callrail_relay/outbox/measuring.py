"""Counting for whoever watches, without a look at what is long done."""

from collections import Counter
from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.delivery import RECENT, UNDONE, Counts
from callrail_relay.domain.message import Status, first_id
from callrail_relay.outbox.tables import attempts, messages, suppressions


def read_counts(connection: sa.Connection, now: datetime) -> Counts:
    """The texts that are not done, and those of the last day."""
    undone = {status: _count(connection, messages.c.status == status) for status in UNDONE}
    oldest = {status: _oldest(connection, status) for status in UNDONE}
    # Ids are in the order of time, and have an index. To group them, SQLite would read all messages instead.
    query = sa.select(messages.c.status).where(messages.c.id >= first_id(now - RECENT))
    found = Counter(connection.scalars(query))
    return Counts(
        undone=undone,
        oldest={status: instant for status, instant in oldest.items() if instant is not None},
        recent={status: found[status] for status in Status},
        releasing=count_releasing(connection, now),
        look_ups=_count(connection, attempts.c.look_at.is_not(None)),
    )


def _count(connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).where(which)) or 0


def _oldest(connection: sa.Connection, status: Status) -> datetime | None:
    query = (
        sa.select(messages.c.received_at).where(messages.c.status == status).order_by(messages.c.seq).limit(1)
    )
    return connection.scalar(query)


def count_releasing(connection: sa.Connection, now: datetime) -> int:
    """Held texts that leave by themselves, as those of quiet hours do."""
    return _count(connection, sa.and_(messages.c.release_at.is_not(None), messages.c.status == Status.HELD))


def count_suppressions(connection: sa.Connection, now: datetime) -> int:
    """How many entries the list of opt-outs has."""
    return connection.scalar(sa.select(sa.func.count()).select_from(suppressions)) or 0
