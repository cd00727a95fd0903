"""
Noticing that there is something to do, whichever process left it.

Everything that lets a text leave, or an outcome be looked up, says in the store when that is due. So a
process that sleeps needs no other one to wake it: it asks once a second what has become due.
"""

from datetime import datetime

import sqlalchemy as sa

from callrail_relay.outbox.tables import Instant, accounts, attempts

Due = tuple[datetime | None, datetime | None]
"""When the account, and when the look-up, that became due last did so; None where none is due."""


def newest_due(connection: sa.Connection, now: datetime) -> Due:
    """What became due last: whoever got another answer before has something to do."""
    row = connection.execute(_NEWEST_DUE, {"now": now}).one()
    return row.account, row.lookup


def _newest(column: sa.Column[datetime]) -> sa.ScalarSelect[datetime]:
    due = column <= sa.bindparam("now", type_=Instant)
    return sa.select(sa.func.max(column)).where(due).scalar_subquery()


_NEWEST_DUE = sa.select(
    _newest(accounts.c.due_at).label("account"), _newest(attempts.c.look_at).label("lookup")
)
