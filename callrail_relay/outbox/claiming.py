"""
Taking the next segment for sending.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

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
from callrail_relay.outbox.tables import attempts, is_open, is_released_by_itself, messages, segments
from callrail_relay.outbox.values import Row, lock_accounts, reasons_from_json, reasons_to_json


def claim(connection: sa.Connection, now: datetime, node: str, policy: ClaimPolicy) -> ClaimResult:
    """
    Take the next segment that may leave, with its attempt row and its place in the budget.

    At most one segment per tracking number and recipient is in flight, texts to one
    person leave in the order in which they came, and no window of any account is
    passed: all three hold because this transaction reads and writes them together,
    with the accounts' rows locked.
    """
    held: list[Held] = []
    wake_ats: list[datetime | None] = []
    with_work = _accounts_with_work(connection, now, policy)
    accounts = lock_accounts(connection, with_work)
    for account_id in with_work:
        result = _claim_from(connection, now, node, policy, accounts[account_id])
        held.extend(result.held)
        if result.claim is not None:
            return replace(result, held=tuple(held))
        wake_ats.append(result.wake_at)
    # Asked last: what was held just now is released again too.
    wake_ats.append(_next_release(connection, now, policy))
    return ClaimResult(wake_at=_soonest(*wake_ats), held=tuple(held))


def _accounts_with_work(connection: sa.Connection, now: datetime, policy: ClaimPolicy) -> list[str]:
    """
    Accounts with open messages, the one whose first has waited longest first; then those with messages that
    are not held any longer.
    """
    query = (
        sa.select(messages.c.account_id)
        .where(is_open(), messages.c.account_id.in_(policy.accounts))
        .group_by(messages.c.account_id)
        .order_by(sa.func.min(messages.c.seq))
    )
    released = (
        sa.select(messages.c.account_id)
        .where(is_released_by_itself(), messages.c.account_id.in_(policy.accounts))
        .where(messages.c.release_at <= now)
        .distinct()
        .order_by(messages.c.account_id)
    )
    return list(dict.fromkeys([*connection.scalars(query), *connection.scalars(released)]))


def _next_release(connection: sa.Connection, now: datetime, policy: ClaimPolicy) -> datetime | None:
    """
    When the next message that is held until an instant is queued by itself.
    """
    query = sa.select(sa.func.min(messages.c.release_at)).where(
        is_released_by_itself(), messages.c.account_id.in_(policy.accounts), messages.c.release_at > now
    )
    release_at: datetime | None = connection.scalar(query)
    return release_at


def _release(connection: sa.Connection, now: datetime, account_id: str) -> None:
    """
    Queue what was held until now; its guards are asked again when its turn comes.
    """
    query = sa.select(messages.c.seq, messages.c.reasons).where(
        is_released_by_itself(), messages.c.account_id == account_id, messages.c.release_at <= now
    )
    for row in connection.execute(query.with_for_update()).all():
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
        return ClaimResult()
    if account.waits(now):
        return ClaimResult(wake_at=account.wait_until)
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
    return ClaimResult(wake_at=wake_at, held=tuple(held))


def _in_flight(connection: sa.Connection, account_id: str) -> bool:
    query = sa.select(attempts.c.id).where(
        attempts.c.account_id == account_id, attempts.c.finished_at.is_(None)
    )
    return connection.execute(query.limit(1)).first() is not None


def _candidates(
    connection: sa.Connection, now: datetime, policy: ClaimPolicy, account: Account
) -> Iterator[Row]:
    """
    Messages whose turn it is: those under way first, then the queued ones in the order of arrival.

    Lazy, one query a row: what is done to one candidate shows in the choice of the next.
    """
    for query in (
        _under_way(account.id, now, policy),
        _queued(account.id, now, policy),
    ):
        # The row is locked, so that nobody cancels on another node what is being claimed here.
        while (row := connection.execute(query.limit(1).with_for_update(of=messages)).first()) is not None:
            yield row


def _under_way(account_id: str, now: datetime, policy: ClaimPolicy) -> sa.Select[tuple[object, ...]]:
    """
    Messages of which some segments have left and the next one is due, with nothing in flight to that person.

    There may be two to one person, where one was unknown while the other began: the one whose segment
    left last goes on to its end, so that parts of one text stay together.
    """
    in_flight = sa.exists().where(
        attempts.c.account_id == account_id,
        attempts.c.finished_at.is_(None),
        attempts.c.tracking_number == messages.c.tracking_number,
        attempts.c.recipient == messages.c.recipient,
    )
    other = messages.alias()
    began_later = sa.exists().where(
        other.c.tracking_number == messages.c.tracking_number,
        other.c.recipient == messages.c.recipient,
        is_open(other),
        other.c.account_id.in_(policy.accounts),
        other.c.status == Status.SENDING,
        _last_attempt(other) > _last_attempt(messages),
    )
    return (
        sa.select(messages)
        .where(
            messages.c.account_id == account_id,
            is_open(),
            messages.c.status == Status.SENDING,
            messages.c.not_before <= now,
            ~in_flight,
            ~began_later,
            ~_looked_up(now, attempts.c.message_seq != messages.c.seq),
            ~_just_sent(now, policy),
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


def _looked_up(now: datetime, *which: sa.ColumnElement[bool]) -> sa.Exists:
    """
    Whether it is not known yet if an earlier text to the same person arrived.
    """
    return sa.exists().where(
        attempts.c.tracking_number == messages.c.tracking_number,
        attempts.c.recipient == messages.c.recipient,
        attempts.c.blocks_until > now,
        *which,
    )


def _just_sent(now: datetime, policy: ClaimPolicy) -> sa.Exists:
    """
    Whether a text to the same person left less than the interval ago.
    """
    return sa.exists().where(
        attempts.c.tracking_number == messages.c.tracking_number,
        attempts.c.recipient == messages.c.recipient,
        attempts.c.finished_at > now - policy.recipient_interval,
        attempts.c.counted_at.is_not(None),
    )


def _queued(account_id: str, now: datetime, policy: ClaimPolicy) -> sa.Select[tuple[object, ...]]:
    """
    Queued messages that are due, with nothing open before them to the same person and nothing just sent.
    """
    other = messages.alias()
    blocked = sa.exists().where(
        other.c.tracking_number == messages.c.tracking_number,
        other.c.recipient == messages.c.recipient,
        is_open(other),
        # What waits for an account that is not ours any more must not stop the others for ever.
        other.c.account_id.in_(policy.accounts),
        other.c.seq != messages.c.seq,
        sa.or_(other.c.status == Status.SENDING, other.c.seq < messages.c.seq),
    )
    return (
        sa.select(messages)
        .where(
            messages.c.account_id == account_id,
            is_open(),
            messages.c.status == Status.QUEUED,
            messages.c.not_before <= now,
            ~blocked,
            ~_looked_up(now),
            ~_just_sent(now, policy),
        )
        .order_by(messages.c.seq)
    )


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
    if not stored:
        write_segments(connection, row.seq, waiting)
    return ClaimResult(claim=_take(connection, now, node, policy, row, waiting))


def _stored_segments(connection: sa.Connection, row: Row) -> list[tuple[int, str]]:
    """
    Position and content of every segment still to leave; none where the text has not been cut yet.
    """
    query = (
        sa.select(segments.c.position, segments.c.content)
        .where(segments.c.message_seq == row.seq, segments.c.status == Status.QUEUED)
        .order_by(segments.c.position)
    )
    return [(segment.position, segment.content) for segment in connection.execute(query)]


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


def _take(
    connection: sa.Connection,
    now: datetime,
    node: str,
    policy: ClaimPolicy,
    row: Row,
    waiting: list[tuple[int, str]],
) -> Claim:
    position, content = waiting[0]
    segment_id = connection.execute(
        sa.update(segments)
        .where(segments.c.message_seq == row.seq, segments.c.position == position)
        .values(status=Status.SENDING)
        .returning(segments.c.id)
    ).scalar_one()
    connection.execute(sa.update(messages).where(messages.c.seq == row.seq).values(status=Status.SENDING))
    attempt_id = connection.execute(
        sa.insert(attempts)
        .values(
            segment_id=segment_id,
            message_seq=row.seq,
            account_id=row.account_id,
            tracking_number=row.tracking_number,
            recipient=row.recipient,
            node=node,
            started_at=now,
            lease_until=now + policy.lease,
            counted_at=now,
        )
        .returning(attempts.c.id)
    ).scalar_one()
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
