"""Counting the budget: the attempts are its ledger, with the texts that others sent according to CallRail."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.account import DAY, HOUR, Account, Limits, Window
from callrail_relay.domain.message import Status
from callrail_relay.outbox.tables import Instant, attempts, callrail_texts, is_open, messages, segments


def used(account_id: sa.ColumnElement[str], since: sa.ColumnElement[datetime]) -> sa.ColumnElement[int]:
    """How many uses of an account's budget began to count after *since*."""
    ours = sa.select(sa.func.count()).where(*_ours(account_id, since)).scalar_subquery()
    others = sa.select(sa.func.count()).where(*_others(account_id, since)).scalar_subquery()
    return ours + others


def count_used(connection: sa.Connection, now: datetime, account_id: str) -> tuple[int, int]:
    """The uses of the account's budget in the last hour and in the last day."""
    asked = {"account_id": account_id, "since_hour": now - HOUR, "since_day": now - DAY}
    row = connection.execute(_USED, asked).one()
    return row.hour, row.day


def uses(*which: sa.ColumnElement[bool]) -> sa.Subquery:
    """
    The instants (``at``) from which each use of the budget counts; asks by ``account_id`` and ``since``.
    """
    ours = sa.select(attempts.c.counted_at.label("at")).where(*_ours(_ACCOUNT, _SINCE), *which)
    others = sa.select(callrail_texts.c.written_at.label("at")).where(*_others(_ACCOUNT, _SINCE))
    return sa.union_all(ours, others).subquery()


def _ours(
    account_id: sa.ColumnElement[str], since: sa.ColumnElement[datetime]
) -> tuple[sa.ColumnElement[bool], ...]:
    return attempts.c.account_id == account_id, attempts.c.counted_at > since


def _others(
    account_id: sa.ColumnElement[str], since: sa.ColumnElement[datetime]
) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        callrail_texts.c.account_id == account_id,
        callrail_texts.c.written_at > since,
        # In the very words of the partial index, which holds no others.
        callrail_texts.c.direction == sa.literal_column("'out'"),
        callrail_texts.c.attempt_id.is_(None),
    )


_ACCOUNT = sa.bindparam("account_id", type_=sa.String)
_SINCE = sa.bindparam("since", type_=Instant)
_USED = sa.select(
    used(_ACCOUNT, sa.bindparam("since_hour", type_=Instant)).label("hour"),
    used(_ACCOUNT, sa.bindparam("since_day", type_=Instant)).label("day"),
)


def reserved(account_id: sa.ColumnElement[str]) -> sa.ScalarSelect[int]:
    """Segments still to leave of messages that are under way: their room is not given to others."""
    return (
        sa.select(sa.func.count())
        .select_from(messages.join(segments, segments.c.message_seq == messages.c.seq))
        .where(
            messages.c.account_id == account_id,
            is_open(),
            messages.c.status == Status.SENDING,
            segments.c.status == Status.QUEUED,
        )
        .scalar_subquery()
    )


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
    room = needed + kept
    return (
        _window(connection, now, account, HOUR, allowed.per_hour, account.hour_excess, used[0], room),
        _window(connection, now, account, DAY, allowed.per_day, account.day_excess, used[1], room),
    )


def _window(
    connection: sa.Connection,
    now: datetime,
    account: Account,
    length: timedelta,
    allowed: int,
    excess: int,
    own: int,
    needed: int,
) -> Window:
    # What CallRail counts beyond them is known only in sum, so all of it counts until it is a window old.
    excess_ends = None if account.excess_at is None else account.excess_at + length
    others = excess if excess_ends is not None and excess_ends > now else 0
    used = own + others
    lacking = Window(used, allowed).lacks(needed)
    if lacking == 0:
        return Window(used, allowed)

    def room_after(uses: int, earliest: datetime) -> datetime | None:
        """When so many of the known uses have run out; None if there are fewer."""
        if uses > own:
            return None
        if uses <= 0:
            return earliest
        return max(earliest, _counted_at(connection, now, account.id, length, uses) + length)

    free_ats = [room_after(lacking, now)]
    if excess_ends is not None and others:
        free_ats.append(room_after(lacking - others, excess_ends))
    free_at = min((instant for instant in free_ats if instant is not None), default=now + length)
    return Window(used, allowed, free_at)


def _counted_at(
    connection: sa.Connection, now: datetime, account_id: str, length: timedelta, nth: int
) -> datetime:
    """The instant from which the *nth* oldest use in the window counts."""
    counted = uses()
    query = sa.select(counted.c.at).order_by(counted.c.at).offset(nth - 1).limit(1)
    found: datetime = connection.execute(
        query, {"account_id": account_id, "since": now - length}
    ).scalar_one()
    return found
