"""
A clock that was ahead and is set back: what it wrote must not wait until the time has come again.

What a budget counts, when a text may leave, when an outcome is looked up: all of it is kept as
instants. Those that lie ahead after the clock was set back are moved by as much as the clock was,
so that each is as far from now as it was before.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.outbox.claim import look_at_all
from callrail_relay.outbox.tables import (
    EPOCH,
    MICROSECOND,
    Instant,
    accounts,
    attempts,
    callrail_texts,
    contacts,
    decisions,
    evidence,
    incidents,
    messages,
    polls,
    submissions,
    suppressions,
)

TOLERANCE = timedelta(seconds=2)
"""Clocks are corrected by less than this all the time, and no text waits long for it."""

_TABLES = (
    submissions,
    messages,
    decisions,
    attempts,
    evidence,
    accounts,
    suppressions,
    callrail_texts,
    polls,
    incidents,
    contacts,
)
_OF_CALLRAIL = (callrail_texts.c.written_at,)


def latest_instant(connection: sa.Connection, now: datetime) -> datetime:
    """The latest instant at which something was written, as far as the newest rows tell; *now* for none."""
    newest = (
        sa.select(messages.c.received_at).order_by(messages.c.seq.desc()).limit(1),
        sa.select(attempts.c.started_at).order_by(attempts.c.id.desc()).limit(1),
        sa.select(attempts.c.finished_at).order_by(attempts.c.id.desc()).limit(1),
        sa.select(evidence.c.noted_at).order_by(evidence.c.id.desc()).limit(1),
    )
    instants = [connection.scalar(query) for query in newest]
    return max((instant for instant in instants if instant is not None), default=now)


def bring_back(connection: sa.Connection, now: datetime, latest: datetime) -> None:
    """
    Move every instant after *now* by as much as the clock was set back from *latest*.

    Whoever else saw the same and came first has done it: then nothing is ahead any more. When accounts are to
    be looked at is found anew in any case, were it for a second: it may have been written when nothing else
    was.
    """
    look_at_all(connection, now)
    newest = latest_instant(connection, now)
    if newest <= now + TOLERANCE:
        return
    # Another process may have seen the clock later than this one. All of it at once: moved in part here and
    # as a whole there, a use of the budget would be free again too early.
    set_back = (newest if newest > latest + TOLERANCE else latest) - now
    back = set_back // MICROSECOND
    for column in _columns():
        stored = sa.type_coerce(column, sa.BigInteger)
        connection.execute(
            sa.update(column.table)
            .where(stored > (now - EPOCH) // MICROSECOND)
            .values({column: sa.type_coerce(stored - back, Instant)})
        )


def _columns() -> Iterator[sa.Column[datetime]]:
    for table in _TABLES:
        for column in table.columns:
            if isinstance(column.type, Instant) and column not in _OF_CALLRAIL:
                yield column
