"""The budget of an account: what our attempts, and texts by others, use of its hour and day."""

from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.account import DAY, HOUR, Account, Limits, Window
from callrail_relay.outbox.tables import (
    ACCOUNT_ID,
    Condition,
    Instant,
    attempts,
    callrail_texts,
    is_by_others,
)


def windows_since(now: datetime) -> dict[str, datetime]:
    """Return where the current hour and day start, by the names of the statements' parameters."""
    return {"since_hour": now - HOUR, "since_day": now - DAY}


def _ours_and_others(
    since: sa.ColumnElement[datetime], account_id: sa.ColumnElement[str] = ACCOUNT_ID
) -> tuple[tuple[Condition, ...], ...]:
    """Conditions for our attempts, and texts by others, that count in an account's budget after *since*."""
    return (
        (attempts.c.account_id == account_id, attempts.c.counted_at > since),
        (callrail_texts.c.account_id == account_id, callrail_texts.c.written_at > since, is_by_others),
    )


def used(since: str, account_id: sa.ColumnElement[str] = ACCOUNT_ID) -> sa.ColumnElement[int]:
    """SQL for how much of an account's budget is used after the instant that is bound as *since*."""
    both = _ours_and_others(sa.bindparam(since, type_=Instant), account_id)
    ours, others = (sa.select(sa.func.count()).where(*which).scalar_subquery() for which in both)
    return ours + others


_USED = sa.select(used("since_hour").label("hour"), used("since_day").label("day"))


def count_used(connection: sa.Connection, now: datetime, account_id: str) -> tuple[int, int]:
    """Return how much of the account's hour and day is used."""
    row = connection.execute(_USED, {"account_id": account_id, **windows_since(now)}).one()
    return row.hour, row.day


def uses(*which: Condition) -> sa.Subquery:
    """SQL for the instants (``at``) from which each use counts; it takes ``account_id`` and ``since``."""
    ours, others = _ours_and_others(sa.bindparam("since", type_=Instant))
    of_ours = sa.select(attempts.c.counted_at.label("at")).where(*ours, *which)
    return sa.union_all(of_ours, sa.select(callrail_texts.c.written_at.label("at")).where(*others)).subquery()


_USES = sa.select(uses().c.at)


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
    """Return the hour and the day; ``free_at`` is when *needed* more fit, beside *kept* reserved ones."""
    allowed = limits.lowered(hour_allowed=account.hour_allowed, day_allowed=account.day_allowed)

    def window(length: timedelta, allowed: int, excess: int, own: int) -> Window:
        # CallRail's count beyond ours is known only in total, so all of it counts until it's a window old.
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
