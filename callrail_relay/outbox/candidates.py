"""Finds the messages of an account that may be sent now, and when the next one may be."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain.account import Account
from callrail_relay.domain.delivery import ClaimPolicy
from callrail_relay.domain.message import Status
from callrail_relay.outbox.columns import ACCOUNT_ID, NOW, Condition, Instant
from callrail_relay.outbox.rows import of_pair, soonest
from callrail_relay.outbox.tables import (
    attempts,
    is_open,
    is_released_by_itself,
    messages,
    opt_outs,
    possible_opt_outs,
    segments,
)
from callrail_relay.outbox.transaction import Row, Transaction


def candidates(
    tx: Transaction, policy: ClaimPolicy, account: Account, status: Status, most: int
) -> Sequence[Row]:
    """Return the first messages with this status that may be sent, *most* at most, one per person."""
    asked = {
        "account_id": account.id,
        "now": tx.now,
        "since": tx.now - policy.recipient_interval,
        "most": most,
    }
    return tx.execute(_UNDER_WAY if status is Status.SENDING else _QUEUED, asked).all()


def next_due(tx: Transaction, policy: ClaimPolicy, account: Account) -> datetime | None:
    """Return when a message that waits for a time may be sent; None if all wait for something else."""
    asked = {"account_id": account.id, "now": tx.now, "since": tx.now - policy.recipient_interval}
    found = tx.execute(_NEXT, asked).one()
    just_sent = found.just_sent and found.just_sent + policy.recipient_interval
    return soonest(found.not_before, just_sent, found.looked_up, found.released)


# The statements are built once, because building one takes longer than running it. Their parameters:
_SINCE = sa.bindparam("since", type_=Instant)


def with_opt_outs() -> sa.Select[Any]:
    """Messages, and what the guards must know about the person each time they judge one."""
    return sa.select(
        messages,
        sa.exists().where(*_to_the_same(opt_outs)).label("is_opted_out"),
        sa.exists().where(*_to_the_same(possible_opt_outs)).label("is_doubted"),
    )


def _turn(status: Status, *conditions: Condition) -> sa.Select[Any]:
    """The first due messages in order of arrival, without people who were texted just now."""
    just_sent = sa.exists().where(
        *_to_the_same(attempts), attempts.c.finished_at > _SINCE, attempts.c.counted_at.is_not(None)
    )
    # An expression, so that the index by arrival is used, which needs no sorting, and none by time.
    is_due = sa.literal_column("messages.not_before + 0", Instant) <= NOW
    return (
        with_opt_outs()
        .add_columns(sa.exists().where(segments.c.message_seq == messages.c.seq).label("is_cut"))
        .where(messages.c.account_id == ACCOUNT_ID, is_open(), messages.c.status == status, is_due)
        .where(*conditions, ~just_sent)
        .order_by(messages.c.seq)
        .limit(sa.bindparam("most", type_=sa.Integer))
        # Lock the rows, so that another node can't cancel what is claimed here.
        .with_for_update(of=messages)
    )


def _under_way() -> sa.Select[Any]:
    """
    Partly sent messages with nothing in flight to that person.

    There can be two for one person, if one was unknown when the other began. The one whose segment was sent
    last goes first, so that the parts of one text stay together.
    """
    in_flight = sa.exists().where(
        attempts.c.account_id == ACCOUNT_ID, attempts.c.finished_at.is_(None), *_to_the_same(attempts)
    )
    other = messages.alias()
    began_later = sa.exists().where(
        _same_key(other), other.c.status == Status.SENDING, _last_attempt(other) > _last_attempt(messages)
    )
    waits = _looked_up(attempts.c.message_seq != messages.c.seq)
    return _turn(Status.SENDING, ~in_flight, ~began_later, ~waits)


def _queued() -> sa.Select[Any]:
    """Queued messages with no earlier open message to that person."""
    other = messages.alias()
    blocked = sa.exists().where(
        _same_key(other),
        other.c.seq != messages.c.seq,
        sa.or_(other.c.status == Status.SENDING, other.c.seq < messages.c.seq),
    )
    return _turn(Status.QUEUED, ~blocked, ~_looked_up())


def _to_the_same(table: sa.FromClause) -> tuple[Condition, Condition]:
    """Match rows about the person and the number of the message."""
    return of_pair(table, messages.c.tracking_number, messages.c.recipient)


def _same_key(other: sa.FromClause) -> Condition:
    """Match other open messages to the same person from the same number."""
    # Within the account: texts that wait for a number that is no longer ours must not block the others.
    return sa.and_(*_to_the_same(other), is_open(other), other.c.account_id == messages.c.account_id)


def _last_attempt(table: sa.FromClause) -> sa.ScalarSelect[int]:
    """The latest attempt at any segment of a message."""
    query = sa.select(sa.func.max(attempts.c.id)).join(segments, segments.c.id == attempts.c.segment_id)
    return query.where(segments.c.message_seq == table.c.seq).correlate(table).scalar_subquery()


def _looked_up(*which: Condition) -> sa.Exists:
    """Whether it's still unknown if an earlier text to the same person arrived."""
    return sa.exists().where(*_to_the_same(attempts), attempts.c.blocks_until > NOW, *which)


def _next() -> sa.Select[datetime, datetime, datetime, datetime]:
    """When the next message that waits for a time is due, by what it waits for."""
    waiting = sa.exists().where(messages.c.account_id == ACCOUNT_ID, is_open(), *_to_the_same(attempts))

    def first(column: sa.Column[datetime], *which: Condition) -> sa.ScalarSelect[datetime]:
        earliest = sa.select(sa.func.min(column)).where(column.table.c.account_id == ACCOUNT_ID, *which)
        return earliest.scalar_subquery()

    return sa.select(
        first(messages.c.not_before, is_open(), messages.c.not_before > NOW).label("not_before"),
        first(attempts.c.finished_at, attempts.c.counted_at > _SINCE, waiting).label("just_sent"),
        first(attempts.c.blocks_until, attempts.c.blocks_until > NOW, waiting).label("looked_up"),
        # What was just held is released later, too.
        first(messages.c.release_at, is_released_by_itself(), messages.c.release_at > NOW).label("released"),
    )


_UNDER_WAY, _QUEUED, _NEXT = _under_way(), _queued(), _next()
