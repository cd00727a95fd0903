"""Counting the budget: the attempts are its ledger, with the texts that others sent according to CallRail."""

from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.account import DAY, HOUR, Account, Limits, Window
from callrail_relay.domain.message import Status
from callrail_relay.outbox.tables import Instant, attempts, callrail_texts, is_open, messages, segments

Conditions = tuple[sa.ColumnElement[bool], ...]

_ACCOUNT = sa.bindparam("account_id", type_=sa.String)


def used(since: sa.ColumnElement[datetime]) -> sa.ColumnElement[int]:
    """How many uses of the budget of ``account_id`` began to count after *since*."""
    count = sa.select(sa.func.count())
    ours = count.where(*_ours(since)).scalar_subquery()
    return ours + count.where(*_others(since)).scalar_subquery()


def _ours(since: sa.ColumnElement[datetime]) -> Conditions:
    return attempts.c.account_id == _ACCOUNT, attempts.c.counted_at > since


def _others(since: sa.ColumnElement[datetime]) -> Conditions:
    return (
        callrail_texts.c.account_id == _ACCOUNT,
        callrail_texts.c.written_at > since,
        # In the very words of the partial index, which holds no others.
        callrail_texts.c.direction == sa.literal_column("'out'"),
        callrail_texts.c.attempt_id.is_(None),
    )


USED = (
    used(sa.bindparam("since_hour", type_=Instant)).label("hour"),
    used(sa.bindparam("since_day", type_=Instant)).label("day"),
)
_USED = sa.select(*USED)


def count_used(connection: sa.Connection, now: datetime, account_id: str) -> tuple[int, int]:
    """Return the uses of the account's budget in the last hour and in the last day."""
    asked = {"account_id": account_id, "since_hour": now - HOUR, "since_day": now - DAY}
    row = connection.execute(_USED, asked).one()
    return row.hour, row.day


def uses(*which: sa.ColumnElement[bool]) -> sa.Subquery:
    """
    The instants (``at``) from which each use of the budget counts; asks by ``account_id`` and ``since``.
    """
    since = sa.bindparam("since", type_=Instant)
    ours = sa.select(attempts.c.counted_at.label("at")).where(*_ours(since), *which)
    others = sa.select(callrail_texts.c.written_at.label("at")).where(*_others(since))
    return sa.union_all(ours, others).subquery()


_USES = sa.select(uses().c.at)

RESERVED = (
    sa.select(sa.func.count())
    .select_from(messages.join(segments, segments.c.message_seq == messages.c.seq))
    .where(
        messages.c.account_id == _ACCOUNT,
        is_open(),
        messages.c.status == Status.SENDING,
        segments.c.status == Status.QUEUED,
    )
    .scalar_subquery()
)
"""Segments still to be sent of messages that are under way: their room is not given to others."""


def read_windows(
    connection: sa.Connection,
    now: datetime,
    account: Account,
    limits: Limits,
    *,
    used: tuple[int, int],
    needed: int = 1,
    kept: int = 0,
) -> tuple[Window, Window]:
    """
    Return the hour and the day of *account*; *used* are its own uses in both.

    ``free_at`` is when *needed* more fit, beside *kept* that are spoken for.
    """
    allowed = limits.lowered(hour_allowed=account.hour_allowed, day_allowed=account.day_allowed)

    def window(length: timedelta, allowed: int, excess: int, own: int) -> Window:
        # What CallRail counts beyond ours is known only in sum, so all of it counts until it is a window old.
        counts = account.excess_at is not None and account.excess_at + length > now
        others = [account.excess_at] * excess if counts else []
        found = Window(own + len(others), allowed)
        lacking = found.lacks(needed + kept)
        if lacking == 0:
            return found
        known = connection.scalars(_USES, {"account_id": account.id, "since": now - length}).all()
        ends = sorted(at + length for at in (*known, *others) if at is not None)
        return replace(found, free_at=ends[lacking - 1] if lacking <= len(ends) else now + length)

    return (
        window(HOUR, allowed.per_hour, account.hour_excess, used[0]),
        window(DAY, allowed.per_day, account.day_excess, used[1]),
    )
