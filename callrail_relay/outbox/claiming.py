"""
Taking the next segment for sending.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain import guards
from callrail_relay.domain.account import Account
from callrail_relay.domain.claim import Claim, ClaimPolicy, ClaimResult, Held
from callrail_relay.domain.message import Status
from callrail_relay.domain.reason import Reason
from callrail_relay.domain.routing import Route
from callrail_relay.domain.segmentation import segments as cut
from callrail_relay.outbox import windows
from callrail_relay.outbox.suppressing import is_suppressed
from callrail_relay.outbox.tables import (
    Instant,
    accounts,
    attempts,
    is_open,
    is_released_by_itself,
    messages,
    segments,
)
from callrail_relay.outbox.values import Row, lock_account, reasons_from_json, reasons_to_json

LOCKED_RETRY = timedelta(seconds=0.05)
"""When to look again at an account that another node had in hand."""

PAUSED_RETRY = timedelta(seconds=60)
"""How long nobody looks at a paused account because of a text that comes in."""


def claim(connection: sa.Connection, now: datetime, node: str, policy: ClaimPolicy) -> ClaimResult:
    """
    Take the next segment that may leave, with its attempt row and its place in the budget.

    At most one segment per tracking number and recipient is in flight, texts to one
    person leave in the order in which they came, and no window of any account is
    passed: all three hold because this transaction reads and writes them together,
    with the account's row locked. Accounts are looked at in turn; one that another
    node has in hand just now is left to it for a moment.
    """
    held: list[Held] = []
    wake_ats: list[datetime | None] = []
    closed: list[datetime] = []
    for number, account_id in enumerate(_accounts_with_work(connection, now, policy)):
        # Waiting for a lock while holding another is how two nodes come to wait for each other.
        account = lock_account(connection, account_id, wait=number == 0)
        if account is None:
            wake_ats.append(now + LOCKED_RETRY)
            continue
        result = _claim_from(connection, now, node, policy, account)
        held.extend(result.held)
        if result.claim is not None:
            return replace(result, held=tuple(held))
        wake_ats.append(result.wake_at)
        if result.closed_until is not None:
            closed.append(result.closed_until)
    # Asked last: what was held just now is released again too.
    wake_ats.append(_next_release(connection, now, policy))
    closed_until = min(closed) if closed and len(closed) == len(policy.accounts) else None
    return ClaimResult(wake_at=_soonest(*wake_ats), closed_until=closed_until, held=tuple(held))


def _accounts_with_work(connection: sa.Connection, now: datetime, policy: ClaimPolicy) -> list[str]:
    """
    Accounts with open messages, the one whose first has waited longest first; then those with messages that
    are not held any longer.
    """
    asked = {"accounts": list(policy.accounts), "now": now}
    with_work = connection.scalars(_ACCOUNTS_WITH_WORK, asked).all()
    return list(dict.fromkeys([*with_work, *connection.scalars(_ACCOUNTS_RELEASING, asked)]))


def _next_release(connection: sa.Connection, now: datetime, policy: ClaimPolicy) -> datetime | None:
    """
    When the next message that is held until an instant is queued by itself.
    """
    asked = {"accounts": list(policy.accounts), "now": now}
    release_at: datetime | None = connection.scalar(_NEXT_RELEASE, asked)
    return release_at


def _release(connection: sa.Connection, now: datetime, account_id: str) -> None:
    """
    Queue what was held until now; its guards are asked again when its turn comes.
    """
    for row in connection.execute(_RELEASED, {"account_id": account_id, "now": now}).all():
        others = [reason for reason in reasons_from_json(row.reasons) if reason.code != "quiet_hours"]
        connection.execute(
            sa.update(messages)
            .where(messages.c.seq == row.seq)
            .values(status=Status.QUEUED, reasons=reasons_to_json(others))
        )


def _claim_from(
    connection: sa.Connection, now: datetime, node: str, policy: ClaimPolicy, account: Account
) -> ClaimResult:
    _release(connection, now, account.id)
    if account.paused_since is not None:
        # News tell when it is resumed; this is for those that are missed.
        return ClaimResult(closed_until=now + PAUSED_RETRY)
    if account.waits(now):
        return ClaimResult(wake_at=account.wait_until, closed_until=account.wait_until)
    if account.strikes and _in_flight(connection, account.id):
        # One probe at a time; its end wakes us.
        return ClaimResult()
    held: list[Held] = []
    waits: datetime | None = None
    for row in _candidates(connection, now, policy, account):
        verdict = _judge(connection, now, policy, row)
        if verdict.holds:
            held.append(_hold(connection, row, verdict))
            continue
        result = _begin(connection, now, node, policy, account, row)
        held.extend(result.held)
        if result.claim is not None:
            return replace(result, held=tuple(held))
        if result.wake_at is not None:
            waits = result.wake_at
            break
    # Even where the budget is used up, a text under way may have its room and its next segment soon due.
    wake_at = _soonest(waits, _next_due(connection, now, policy, account))
    return ClaimResult(wake_at=wake_at, closed_until=waits, held=tuple(held))


def _in_flight(connection: sa.Connection, account_id: str) -> bool:
    return connection.execute(_IN_FLIGHT, {"account_id": account_id}).first() is not None


def _candidates(
    connection: sa.Connection, now: datetime, policy: ClaimPolicy, account: Account
) -> Iterator[Row]:
    """
    Messages whose turn it is: those under way first, then the queued ones in the order of arrival.

    Lazy, one query a row: what is done to one candidate shows in the choice of the next.
    """
    facts = {
        "account_id": account.id,
        "accounts": list(policy.accounts),
        "now": now,
        "since": now - policy.recipient_interval,
    }
    for query in (_UNDER_WAY, _QUEUED):
        while (row := connection.execute(query, facts).first()) is not None:
            yield row


# The statements are put together once, since that takes longer than to carry them out. They ask by:
_ACCOUNT = sa.bindparam("account_id", type_=sa.String)
# As an expression, so that no index by time is taken: the one by arrival gives the first without sorting all.
_IS_DUE = sa.literal_column("messages.not_before + 0", Instant) <= sa.bindparam("now", type_=Instant)
_ACCOUNTS = sa.bindparam("accounts", expanding=True, type_=sa.String)
_NOW = sa.bindparam("now", type_=Instant)
_SINCE = sa.bindparam("since", type_=Instant)
_SEQ = sa.bindparam("message_seq", type_=sa.BigInteger)


def _first(status: Status) -> sa.ScalarSelect[int]:
    """
    The first message of an account that is open and has *status*.
    """
    return (
        sa.select(messages.c.seq)
        .where(messages.c.account_id == accounts.c.id, is_open(), messages.c.status == status)
        .order_by(messages.c.seq)
        .limit(1)
        .correlate(accounts)
        .scalar_subquery()
    )


# By the account, and not by its messages, of which thousands may wait.
_FIRST_OPEN = sa.func.coalesce(_first(Status.SENDING), _first(Status.QUEUED))
_ACCOUNTS_WITH_WORK = (
    sa.select(accounts.c.id)
    .where(accounts.c.id.in_(_ACCOUNTS), _FIRST_OPEN.is_not(None))
    .order_by(_FIRST_OPEN)
)
_ACCOUNTS_RELEASING = (
    sa.select(messages.c.account_id)
    .where(is_released_by_itself(), messages.c.account_id.in_(_ACCOUNTS), messages.c.release_at <= _NOW)
    .distinct()
    .order_by(messages.c.account_id)
)
_NEXT_RELEASE = sa.select(sa.func.min(messages.c.release_at)).where(
    is_released_by_itself(), messages.c.account_id.in_(_ACCOUNTS), messages.c.release_at > _NOW
)
_RELEASED = (
    sa.select(messages.c.seq, messages.c.reasons)
    .where(is_released_by_itself(), messages.c.account_id == _ACCOUNT, messages.c.release_at <= _NOW)
    .with_for_update()
)
_IN_FLIGHT = (
    sa.select(attempts.c.id)
    .where(attempts.c.account_id == _ACCOUNT, attempts.c.finished_at.is_(None))
    .limit(1)
)


def _under_way() -> sa.Select[Any]:
    """
    Messages of which some segments have left and the next one is due, with nothing in flight to that person.

    There may be two to one person, where one was unknown while the other began: the one whose segment
    left last goes on to its end, so that parts of one text stay together.
    """
    in_flight = sa.exists().where(
        attempts.c.account_id == _ACCOUNT,
        attempts.c.finished_at.is_(None),
        attempts.c.tracking_number == messages.c.tracking_number,
        attempts.c.recipient == messages.c.recipient,
    )
    other = messages.alias()
    began_later = sa.exists().where(
        other.c.tracking_number == messages.c.tracking_number,
        other.c.recipient == messages.c.recipient,
        is_open(other),
        other.c.account_id.in_(_ACCOUNTS),
        other.c.status == Status.SENDING,
        _last_attempt(other) > _last_attempt(messages),
    )
    return (
        sa.select(messages)
        .where(
            messages.c.account_id == _ACCOUNT,
            is_open(),
            messages.c.status == Status.SENDING,
            _IS_DUE,
            ~in_flight,
            ~began_later,
            ~_looked_up(attempts.c.message_seq != messages.c.seq),
            ~_just_sent(),
        )
        .order_by(messages.c.seq)
    )


def _last_attempt(table: sa.FromClause) -> sa.ScalarSelect[int]:
    """
    The latest attempt at any segment of a message.
    """
    return (
        sa.select(sa.func.max(attempts.c.id))
        .join(segments, segments.c.id == attempts.c.segment_id)
        .where(segments.c.message_seq == table.c.seq)
        .correlate(table)
        .scalar_subquery()
    )


def _looked_up(*which: sa.ColumnElement[bool]) -> sa.Exists:
    """
    Whether it is not known yet if an earlier text to the same person arrived.
    """
    return sa.exists().where(
        attempts.c.tracking_number == messages.c.tracking_number,
        attempts.c.recipient == messages.c.recipient,
        attempts.c.blocks_until > _NOW,
        *which,
    )


def _just_sent() -> sa.Exists:
    """
    Whether a text to the same person left less than the interval ago.
    """
    return sa.exists().where(
        attempts.c.tracking_number == messages.c.tracking_number,
        attempts.c.recipient == messages.c.recipient,
        attempts.c.finished_at > _SINCE,
        attempts.c.counted_at.is_not(None),
    )


def _queued() -> sa.Select[Any]:
    """
    Queued messages that are due, with nothing open before them to the same person and nothing just sent.
    """
    other = messages.alias()
    blocked = sa.exists().where(
        other.c.tracking_number == messages.c.tracking_number,
        other.c.recipient == messages.c.recipient,
        is_open(other),
        # What waits for an account that is not ours any more must not stop the others for ever.
        other.c.account_id.in_(_ACCOUNTS),
        other.c.seq != messages.c.seq,
        sa.or_(other.c.status == Status.SENDING, other.c.seq < messages.c.seq),
    )
    return (
        sa.select(messages)
        .where(
            messages.c.account_id == _ACCOUNT,
            is_open(),
            messages.c.status == Status.QUEUED,
            _IS_DUE,
            ~blocked,
            ~_looked_up(),
            ~_just_sent(),
        )
        .order_by(messages.c.seq)
    )


# The row is locked, so that nobody cancels on another node what is being claimed here.
_UNDER_WAY = _under_way().limit(1).with_for_update(of=messages)
_QUEUED = _queued().limit(1).with_for_update(of=messages)


def _judge(connection: sa.Connection, now: datetime, policy: ClaimPolicy, row: Row) -> guards.Verdict:
    """
    The guards whose answer time or new knowledge can change.

    A message under way is not stopped half-way, except where the person opted out since.
    """
    suppressed = is_suppressed(connection, now, row.tracking_number, row.recipient)
    around = guards.Circumstances(now=now, suppressed=suppressed)
    if row.status == Status.QUEUED:
        waiting_since = max(row.received_at, row.release_at or row.received_at)
        around = replace(around, waiting_since=waiting_since, recipient=row.recipient)
    verdict = guards.judge(policy.guards, around, approved=row.approved)
    _mention(connection, row, verdict.warnings)
    return verdict


def _mention(connection: sa.Connection, row: Row, warnings: tuple[Reason, ...]) -> None:
    """
    Add what a guard set to "warn" found to the message, once.
    """
    known = reasons_from_json(row.reasons)
    new = [warning for warning in warnings if warning not in known]
    if new:
        connection.execute(
            sa.update(messages)
            .where(messages.c.seq == row.seq)
            .values(reasons=reasons_to_json((*known, *new)))
        )


def _hold(connection: sa.Connection, row: Row, verdict: guards.Verdict) -> Held:
    connection.execute(
        sa.update(messages)
        .where(messages.c.seq == row.seq)
        .values(
            status=Status.HELD,
            release_at=verdict.release_at,
            reasons=reasons_to_json((*reasons_from_json(row.reasons), *verdict.holds)),
        )
    )
    return Held(message_id=row.id, reasons=verdict.holds)


def _begin(
    connection: sa.Connection, now: datetime, node: str, policy: ClaimPolicy, account: Account, row: Row
) -> ClaimResult:
    """
    Claim the next segment of *row* if its whole message fits both windows, else say when it will.
    """
    stored = _stored_segments(connection, row)
    waiting = stored or _planned_segments(policy, account, row)
    under_way = row.status == Status.SENDING
    kept = 0 if under_way else windows.reserved(connection, account.id)
    needed = 1 if under_way else len(waiting)
    hour, day = windows.read_windows(connection, now, account, policy.limits, needed=needed, kept=kept)
    if needed > min(hour.allowed, day.allowed) > 0:
        too_long = guards.Verdict(holds=(guards.too_long(needed, min(hour.allowed, day.allowed)),))
        return ClaimResult(held=(_hold(connection, row, too_long),))
    free_ats = [window.free_at for window in (hour, day) if window.free_at is not None]
    if free_ats:
        return ClaimResult(wake_at=max(free_ats))
    segment_id = (
        _take_segment(connection, row.seq, waiting[0][0])
        if stored
        else _write_taken(connection, row, waiting)
    )
    return ClaimResult(claim=_take(connection, now, node, policy, row, segment_id, waiting[0]))


def _stored_segments(connection: sa.Connection, row: Row) -> list[tuple[int, str]]:
    """
    Position and content of every segment still to leave; none where the text has not been cut yet.
    """
    stored = connection.execute(_STORED_SEGMENTS, {"message_seq": row.seq})
    return [(segment.position, segment.content) for segment in stored]


_STORED_SEGMENTS = (
    sa.select(segments.c.position, segments.c.content)
    .where(segments.c.message_seq == _SEQ, segments.c.status == Status.QUEUED)
    .order_by(segments.c.position)
)


def _planned_segments(policy: ClaimPolicy, account: Account, row: Row) -> list[tuple[int, str]]:
    """
    The same for a text that is cut now, when its turn comes, by the length that holds now.
    """
    limit = min(policy.max_characters, account.max_characters or policy.max_characters)
    return list(enumerate(cut(row.text, limit), start=1))


def write_segments(
    connection: sa.Connection,
    message_seq: int,
    pieces: list[tuple[int, str]],
    *,
    replaces: int | None = None,
    replacing: int = 0,
) -> None:
    """
    Add segments that wait to leave, each with its position; the first *replacing* replace another one.
    """
    connection.execute(
        sa.insert(segments),
        [
            {
                "message_seq": message_seq,
                "position": position,
                "content": content,
                "status": Status.QUEUED,
                "replaces": replaces if number < replacing else None,
            }
            for number, (position, content) in enumerate(pieces)
        ],
    )
    connection.execute(
        sa.update(messages).where(messages.c.seq == message_seq).values(segment_count=pieces[-1][0])
    )


_INSERT_SEGMENT = sa.insert(segments).returning(segments.c.id)
_TAKE_SEGMENT = (
    sa.update(segments)
    .where(segments.c.message_seq == sa.bindparam("of"), segments.c.position == sa.bindparam("at"))
    .values(status=Status.SENDING)
    .returning(segments.c.id)
)
_TAKE_MESSAGE = sa.update(messages).where(messages.c.seq == _SEQ).values(status=Status.SENDING)
_INSERT_ATTEMPT = sa.insert(attempts).returning(attempts.c.id)


def _write_taken(connection: sa.Connection, row: Row, pieces: list[tuple[int, str]]) -> int:
    """
    Add the segments of a text that was cut just now, the first of them as taken; returns its id.
    """
    position, content = pieces[0]
    segment_id = connection.execute(
        _INSERT_SEGMENT,
        {"message_seq": row.seq, "position": position, "content": content, "status": Status.SENDING},
    ).scalar_one()
    if pieces[1:]:
        write_segments(connection, row.seq, pieces[1:])
    elif row.segment_count != 1:
        connection.execute(sa.update(messages).where(messages.c.seq == row.seq).values(segment_count=1))
    return int(segment_id)


def _take_segment(connection: sa.Connection, message_seq: int, position: int) -> int:
    return int(connection.execute(_TAKE_SEGMENT, {"of": message_seq, "at": position}).scalar_one())


def _take(
    connection: sa.Connection,
    now: datetime,
    node: str,
    policy: ClaimPolicy,
    row: Row,
    segment_id: int,
    segment: tuple[int, str],
) -> Claim:
    """
    Write the attempt at a segment that was taken.
    """
    connection.execute(_TAKE_MESSAGE, {"message_seq": row.seq})
    attempt_id = connection.execute(
        _INSERT_ATTEMPT,
        {
            "segment_id": segment_id,
            "message_seq": row.seq,
            "account_id": row.account_id,
            "tracking_number": row.tracking_number,
            "recipient": row.recipient,
            "node": node,
            "started_at": now,
            "lease_until": now + policy.lease,
            "counted_at": now,
        },
    ).scalar_one()
    position, content = segment
    return Claim(
        attempt_id=attempt_id,
        message_id=row.id,
        position=position,
        route=Route(row.account_id, row.company_id, row.tracking_number),
        recipient=row.recipient,
        content=content,
    )


def _next_due(
    connection: sa.Connection, now: datetime, policy: ClaimPolicy, account: Account
) -> datetime | None:
    """
    When a message of this account that waits for its own time may leave; None when all wait for news.
    """
    query = sa.select(sa.func.min(messages.c.not_before)).where(
        messages.c.account_id == account.id,
        is_open(),
        messages.c.not_before > now,
    )
    waiting = sa.exists().where(
        messages.c.account_id == account.id,
        is_open(),
        messages.c.tracking_number == attempts.c.tracking_number,
        messages.c.recipient == attempts.c.recipient,
    )
    just_sent = sa.select(sa.func.min(attempts.c.finished_at)).where(
        attempts.c.account_id == account.id,
        attempts.c.counted_at > now - policy.recipient_interval,
        waiting,
    )
    first: datetime | None = connection.scalar(just_sent)
    looked_up = sa.select(sa.func.min(attempts.c.blocks_until)).where(
        attempts.c.account_id == account.id, attempts.c.blocks_until > now, waiting
    )
    return _soonest(
        connection.scalar(query),
        first and first + policy.recipient_interval,
        connection.scalar(looked_up),
    )


def _soonest(*instants: datetime | None) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)
