"""The budget of accounts: what our attempts, and texts by others, use of the hour and day, and what waits."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.account import DAY, HOUR, Account, Limits, Window, drains_at
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.message import OPEN, Status
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.outbox.columns import ACCOUNT_ID, Condition, Instant
from callrail_relay.outbox.rows import from_row, last_of, number
from callrail_relay.outbox.tables import (
    accounts,
    attempts,
    callrail_texts,
    is_by_others,
    is_open,
    messages,
    segments,
    tallies,
)
from callrail_relay.outbox.transaction import Row, Transaction


def windows_since(now: datetime) -> dict[str, datetime]:
    """Return where the current hour and day start, by the names of the statements' parameters."""
    return {"since_hour": now - HOUR, "since_day": now - DAY}


def _ours_and_others(
    since: sa.ColumnElement[datetime], account_id: sa.ColumnElement[str]
) -> tuple[tuple[Condition, ...], ...]:
    """Conditions for our attempts, and texts by others, that count in an account's budget after *since*."""
    return (
        (attempts.c.account_id == account_id, attempts.c.counted_at > since),
        (callrail_texts.c.account_id == account_id, callrail_texts.c.written_at > since, is_by_others),
    )


def used(since: str) -> sa.ColumnElement[int]:
    """SQL for how much of an account's budget is used after the instant that is bound as *since*."""
    ours, others = _ours_and_others(sa.bindparam(since, type_=Instant), accounts.c.id)
    return number(attempts, *ours) + number(callrail_texts, *others)


def uses(*which: Condition) -> sa.Subquery:
    """SQL for the instants (``at``) from which each use counts; it takes ``account_id`` and ``since``."""
    ours, others = _ours_and_others(sa.bindparam("since", type_=Instant), ACCOUNT_ID)
    of_ours = sa.select(attempts.c.counted_at.label("at")).where(*ours, *which)
    return sa.union_all(of_ours, sa.select(callrail_texts.c.written_at.label("at")).where(*others)).subquery()


_USES = sa.select(uses().c.at)


def read_windows(
    tx: Transaction,
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
        counts = account.excess_at is not None and account.excess_at + length > tx.now
        others = [account.excess_at] * excess if counts else []
        found = Window(own + len(others), allowed)
        lacking = found.lacks(needed + kept)
        if lacking == 0:
            return found
        known = tx.scalars(_USES, {"account_id": account.id, "since": tx.now - length}).all()
        ends = sorted(at + length for at in (*known, *others) if at is not None)
        return replace(found, free_at=ends[lacking - 1] if lacking <= len(ends) else tx.now + length)

    return (
        window(HOUR, allowed.per_hour, account.hour_excess, used[0]),
        window(DAY, allowed.per_day, account.day_excess, used[1]),
    )


def read_account_statuses(tx: Transaction, account_ids: Sequence[str], limits: Limits) -> list[AccountStatus]:
    """Return the status of each of *account_ids*, and of other accounts that texts wait for."""
    ours, waiting = dict.fromkeys(account_ids), dict.fromkeys(sorted(tx.scalars(_WAITED_FOR)))
    known = {row.id: row for row in tx.execute(_KNOWN, windows_since(tx.now))}
    return [
        _account_status(tx, known.get(id_) or id_, limits, foreign=id_ not in ours) for id_ in ours | waiting
    ]


def _account_status(tx: Transaction, found: Row | str, limits: Limits, *, foreign: bool) -> AccountStatus:
    """Return the status of an account: *found* is its row, or its id if only others texted from it."""
    if isinstance(found, str):
        account, pending = Account(id=found), 0
        at = tx.scalars(_USES, {"account_id": found, "since": tx.now - DAY}).all()
        so_far = (sum(one > tx.now - HOUR for one in at), len(at))
    else:
        account = from_row(Account, found)
        so_far, pending = (found.hour, found.day), int(found.planned or 0) - found.gone
    hour, day = read_windows(tx, account, limits, used=so_far)
    account = account.current(tx.now)
    begin = account.wait_until or tx.now
    ends = None if foreign or account.paused_since is not None or pending <= 0 else begin
    if ends is not None and pending > min(hour.room, day.room):
        known = tx.scalars(_KNOWN_USES, {"account_id": account.id, "since": tx.now - DAY}).all()
        allowed = Limits(hour.allowed, day.allowed)
        counted = sorted([*known, *account.used_by_others()])
        ends = drains_at(begin, pending=pending, counted=counted, limits=allowed)
    return AccountStatus(
        account=account, hour=hour, day=day, pending=pending, drains_at=ends, foreign=foreign
    )


_OPEN_TALLY = tallies.c.status.in_(OPEN)
_WAITED_FOR = sa.select(tallies.c.account_id).where(_OPEN_TALLY, tallies.c.messages > 0).distinct()
_PLANNED = sa.select(sa.func.sum(tallies.c.segments)).where(
    tallies.c.account_id == accounts.c.id, _OPEN_TALLY
)
# Of queued messages, only those that were split again have finished segments. Their status is compared as an
# expression, so that their own small index is used, not the one with thousands that wait.
_GONE = [
    number(
        messages.join(segments, segments.c.message_seq == messages.c.seq),
        messages.c.account_id == accounts.c.id,
        which,
        segments.c.status.not_in([Status.QUEUED, Status.SENDING]),
    )
    for which in (
        sa.and_(is_open(), messages.c.status == Status.SENDING),
        sa.and_(messages.c.status.concat("") == Status.QUEUED, messages.c.cut_to.is_not(None)),
    )
]
# All accounts in one statement: each index is asked once per account. The unsent segments of open messages
# are the planned ones without those gone.
_KNOWN = sa.select(
    accounts,
    used("since_hour").label("hour"),
    used("since_day").label("day"),
    _PLANNED.scalar_subquery().label("planned"),
    (_GONE[0] + _GONE[1]).label("gone"),
)
# What is in flight is among the pending.
_KNOWN_USES = sa.select(uses(attempts.c.finished_at.is_not(None)).c.at)


_ACCEPTED_AT = (
    sa.select(attempts.c.finished_at)
    .where(attempts.c.account_id == accounts.c.id, attempts.c.counted_at.is_not(None))
    .where(attempts.c.outcome == OutcomeKind.SENT)
    .order_by(attempts.c.counted_at.desc())
    .limit(1)
)
_ACCEPTED = sa.select(accounts.c.id, _ACCEPTED_AT.scalar_subquery())


def last_accepted(tx: Transaction, account_ids: Sequence[str]) -> datetime | None:
    """Return when CallRail accepted the newest text of these accounts."""
    ours = frozenset(account_ids)
    return last_of(*(accepted_at for id_, accepted_at in tx.execute(_ACCEPTED) if id_ in ours))
