"""
The store's time, and a clock that is set back.

When the clock was set back, instants that lie ahead move back by as much, so each stays as far from now as it
was. Reading them as "now" wouldn't do: an hour's budget wouldn't free up before the old time came again, and
a text that CallRail shows at the right time wouldn't be found.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.clock import AdjustedClock
from callrail_relay.outbox.columns import EPOCH, MICROSECOND, Instant
from callrail_relay.outbox.rows import last_of, look_at_all
from callrail_relay.outbox.tables import attempts, evidence, messages, metadata, polls
from callrail_relay.outbox.transaction import Transaction

TOLERANCE = timedelta(seconds=2)  # clocks are corrected by less all the time, and no text waits long for it

# The instants that decide what happens when.
_DECIDING = [
    metadata.tables[table].c[name]
    for table, names in {
        "submissions": "received_at",
        "messages": "received_at not_before release_at",
        "attempts": "started_at lease_until finished_at counted_at next_lookup_at look_until blocks_until",
        "polls": "began_at lease_until finished_at",
        "accounts": "wait_until excess_at",
        "contacts": "answered_at failed_at",
        "suppressions": "created_at",
        "evidence": "noted_at",
        "callrail_texts": "forward_at",
        "forwards": "received_at lease_until",
        "incidents": "telling_until",
    }.items()
    for name in names.split()
]


def database_now(connection: sa.Connection, clock: AdjustedClock) -> datetime:
    """Return PostgreSQL's time, and set *clock* by it."""
    query = sa.select(sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger))
    microseconds: int = connection.execute(query).scalar_one()
    now = EPOCH + microseconds * MICROSECOND
    clock.adjust(now)
    return now


def latest_instant(tx: Transaction) -> datetime:
    """Return when something was last written, by the newest rows; *now* if there are none."""
    newest = (
        sa.select(messages.c.received_at).order_by(messages.c.seq.desc()).limit(1),
        sa.select(attempts.c.started_at).order_by(attempts.c.id.desc()).limit(1),
        sa.select(attempts.c.finished_at).order_by(attempts.c.id.desc()).limit(1),
        sa.select(evidence.c.noted_at).order_by(evidence.c.id.desc()).limit(1),
        sa.select(polls.c.began_at).order_by(polls.c.id.desc()).limit(1),
    )
    return last_of(*(tx.scalar(query) for query in newest)) or tx.now


def bring_back(tx: Transaction, latest: datetime) -> None:
    """
    Move what is after *now* back by as much as the clock was set back from *latest*.

    If another process saw it first, nothing is in the future by now. Accounts come due in any case: their due
    times may have been written when nothing else was.
    """
    look_at_all(tx)
    newest = latest_instant(tx)
    if newest <= tx.now + TOLERANCE:
        return
    # Another process may have seen a later time than this one. Everything moves by the same amount: if some
    # instants moved by less, a use of the budget would end too early.
    back = ((newest if newest > latest + TOLERANCE else latest) - tx.now) // MICROSECOND
    # Such a poll may have begun after everything written since: the next one covers its time again.
    tx.execute(sa.update(polls).where(polls.c.began_at > tx.now).values(finished_at=None))
    for column in _DECIDING:
        stored = sa.type_coerce(column, sa.BigInteger)
        ahead = sa.update(column.table).where(stored > (tx.now - EPOCH) // MICROSECOND)
        tx.execute(ahead.values({column: sa.type_coerce(stored - back, Instant)}))
