"""Taking the next segment for sending."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain import guards
from callrail_relay.domain.account import DAY, HOUR, Account, Window
from callrail_relay.domain.delivery import Claim, ClaimPolicy, ClaimResult, Held
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.opt_outs import PossibleOptOut
from callrail_relay.domain.routing import Route
from callrail_relay.domain.segmentation import split_text
from callrail_relay.outbox import windows
from callrail_relay.outbox.rows import Row, reasons_from_json, reasons_to_json, try_account
from callrail_relay.outbox.tables import (
    EPOCH,
    MICROSECOND,
    Instant,
    accounts,
    accounts_in_order,
    attempts,
    is_open,
    is_released_by_itself,
    messages,
    opt_outs,
    possible_opt_outs,
    segments,
)

LOCKED_RETRY = timedelta(seconds=0.05)
"""When to look again at an account that another node had in hand."""

PAUSED_RETRY = timedelta(seconds=60)
"""How long nobody looks at a paused account because of a text that comes in."""

ROOM_RETRY = timedelta(seconds=60)
"""When to look again at an account that has some room, and a text that does not fit into it."""

_PORTION = 20
"""Accounts that are due are read so many at a time: mostly the first one will do."""

AT_ONCE = 50
"""So many texts are held or released in one transaction: while it lasts, webhooks wait for the database."""


def claim(connection: sa.Connection, now: datetime, node: str, policy: ClaimPolicy) -> ClaimResult:
    """
    Take the next segment that may leave, with its attempt row and its place in the budget.

    At most one segment per tracking number and recipient is in flight, texts to one
    person leave in the order in which they came, and no window of any account is
    passed: all three hold because this transaction reads and writes them together,
    with the account's row locked. Only accounts that are due are looked at, in turn;
    one that another node has in hand just now is left to it, so that many nodes claim
    at the same time.
    """
    held: list[Held] = []
    locked: list[str] = []
    for account in _lock_due(connection, now, policy, locked):
        look = _claim_from(connection, now, node, policy, account)
        held.extend(look.held)
        if look.claim is not None:
            return ClaimResult(claim=look.claim, held=tuple(held))
        connection.execute(_PUT_OFF, {"of": account.id, "due": look.due_at, "closed": look.closed_until})
        if look.due_at == now:
            return ClaimResult(wake_at=now, held=tuple(held))
    wake_at: datetime | None = connection.scalar(_NEXT_DUE, {"now": now})
    if locked:
        wake_at = _soonest(wake_at, now + LOCKED_RETRY)
    return ClaimResult(wake_at=wake_at, held=tuple(held))


def take_up_forgotten(connection: sa.Connection, now: datetime) -> None:
    """
    Have accounts looked at whose texts wait, and of which it is not known when they are to be looked at.

    There is no way to come to that, but for a fault; and a text must not wait for ever because of one.
    """
    connection.execute(_TAKE_UP_FORGOTTEN, {"now": now})


def look_at_all(connection: sa.Connection, now: datetime) -> None:
    """Have every account looked at: what was found before was found under other settings."""
    connection.execute(_LOOK_AT_ALL, {"now": now})


def _lock_due(
    connection: sa.Connection, now: datetime, policy: ClaimPolicy, locked: list[str]
) -> Iterator[Account]:
    """
    The due accounts, each locked when its turn comes; those that somebody else has in hand go into *locked*.

    Where that is so of all of them, the first one is waited for. While one is locked here, none is: that is
    how two nodes come to wait for each other.
    """
    alone = True
    for account_id in _due_accounts(connection, now, policy):
        account = try_account(connection, account_id, wait=False)
        if account is None:
            locked.append(account_id)
        else:
            alone = False
            yield account
    if alone and locked:
        account = try_account(connection, locked.pop(0), wait=True)
        if account is not None:
            yield account


def _due_accounts(connection: sa.Connection, now: datetime, policy: ClaimPolicy) -> Iterator[str]:
    """Those of our accounts that are to be looked at, the one whose turn was longest ago first."""
    after, last = EPOCH - MICROSECOND, ""
    while rows := connection.execute(_DUE, {"now": now, "after": after, "last": last}).all():
        for row in rows:
            if row.id in policy.accounts:
                yield row.id
        if len(rows) < _PORTION:
            return
        after, last = rows[-1].due_at, rows[-1].id


_Facts = sa.Row[bool, bool, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What a look at one account came to: a claim, or when to look again and until when nothing can leave."""

    claim: Claim | None = None
    due_at: datetime | None = None
    closed_until: datetime | None = None
    held: tuple[Held, ...] = ()


def _claim_from(
    connection: sa.Connection, now: datetime, node: str, policy: ClaimPolicy, account: Account
) -> _Look:
    facts = _read_facts(connection, now, account.id)
    if facts.is_releasing and _release(connection, now, account.id) == AT_ONCE:
        return _Look(due_at=now)
    if account.paused_since is not None:
        # It is looked at when it is resumed.
        return _Look(closed_until=now + PAUSED_RETRY)
    if account.waits(now):
        return _Look(due_at=account.wait_until, closed_until=account.wait_until)
    if account.strikes and facts.is_in_flight:
        # One probe at a time; it is looked at when that has ended.
        return _Look()
    look = _claim_text(connection, now, node, policy, account, facts)
    if look.claim is not None or look.due_at == now:
        return look
    # Even where the budget is used up, a text under way may have its room and its next segment soon due.
    return replace(look, due_at=_soonest(look.due_at, _next_due(connection, now, policy, account)))


def _claim_text(
    connection: sa.Connection,
    now: datetime,
    node: str,
    policy: ClaimPolicy,
    account: Account,
    facts: _Facts,
) -> _Look:
    """
    Claim from the first text that may leave, and hold those before it that may not; some of them at a time.
    """
    held: list[Held] = []
    for row in _candidates(connection, now, policy, account, under_way=facts.reserved > 0):
        if len(held) == AT_ONCE:
            return _Look(due_at=now, held=tuple(held))
        verdict = _judge(connection, now, policy, row)
        if verdict.holds:
            held.append(_hold(connection, row, verdict))
            if row.status == Status.SENDING:
                # The room that was kept for the rest of it is free.
                facts = _read_facts(connection, now, account.id)
            continue
        look = _begin(connection, now, node, policy, account, row, facts)
        held.extend(look.held)
        if look.claim is not None or look.due_at is not None:
            return replace(look, held=tuple(held))
    return _Look(held=tuple(held))


def _read_facts(connection: sa.Connection, now: datetime, account_id: str) -> _Facts:
    asked = {"account_id": account_id, "now": now, "since_hour": now - HOUR, "since_day": now - DAY}
    return connection.execute(_FACTS, asked).one()


def _release(connection: sa.Connection, now: datetime, account_id: str) -> int:
    """
    Queue what was held until now, some of it at a time, and say how many texts that were.

    Their guards are asked again when their turn comes.
    """
    released = connection.execute(_RELEASED, {"account_id": account_id, "now": now}).all()
    for row in released:
        others = [reason for reason in reasons_from_json(row.reasons) if reason.code != "quiet_hours"]
        connection.execute(
            sa.update(messages)
            .where(messages.c.seq == row.seq)
            .values(status=Status.QUEUED, reasons=reasons_to_json(others))
        )
    return len(released)


def _candidates(
    connection: sa.Connection, now: datetime, policy: ClaimPolicy, account: Account, *, under_way: bool
) -> Iterator[Row]:
    """
    Messages whose turn it is: those *under_way* first, where there are any, then the queued ones in the order
    of arrival.

    Lazy, one query a row: what is done to one candidate shows in the choice of the next.
    """
    asked = {"account_id": account.id, "now": now, "since": now - policy.recipient_interval}
    for query in (_UNDER_WAY, _QUEUED) if under_way else (_QUEUED,):
        while (row := connection.execute(query, asked).first()) is not None:
            yield row


# The statements are put together once, since that takes longer than to carry them out. They ask by:
_ACCOUNT = sa.bindparam("account_id", type_=sa.String)
# As an expression, so that no index by time is taken: the one by arrival gives the first without sorting all.
_IS_DUE = sa.literal_column("messages.not_before + 0", Instant) <= sa.bindparam("now", type_=Instant)
_NOW = sa.bindparam("now", type_=Instant)
_SINCE = sa.bindparam("since", type_=Instant)
_SEQ = sa.bindparam("message_seq", type_=sa.BigInteger)

_DUE = (
    sa.select(accounts.c.id, accounts.c.due_at)
    .where(
        accounts.c.due_at <= _NOW,
        sa.tuple_(accounts.c.due_at, accounts.c.id)
        > sa.tuple_(sa.bindparam("after", type_=Instant), sa.bindparam("last", type_=sa.String)),
    )
    .order_by(accounts.c.due_at, accounts.c.id)
    .limit(_PORTION)
)
_NEXT_DUE = sa.select(sa.func.min(accounts.c.due_at)).where(accounts.c.due_at > _NOW)
_PUT_OFF = (
    sa.update(accounts)
    .where(accounts.c.id == sa.bindparam("of"))
    .values(due_at=sa.bindparam("due", type_=Instant), closed_until=sa.bindparam("closed", type_=Instant))
)
_LOOK_AT_ALL = sa.update(accounts).where(accounts_in_order()).values(due_at=_NOW, closed_until=None)
_TAKE_UP_FORGOTTEN = (
    sa.update(accounts)
    .where(
        accounts_in_order(
            accounts.c.due_at.is_(None),
            accounts.c.paused_since.is_(None),
            sa.exists().where(messages.c.account_id == accounts.c.id, is_open()),
        )
    )
    .values(due_at=_NOW)
)

_RELEASED = (
    sa.select(messages.c.seq, messages.c.reasons)
    .where(is_released_by_itself(), messages.c.account_id == _ACCOUNT, messages.c.release_at <= _NOW)
    .order_by(messages.c.release_at)
    .limit(AT_ONCE)
    .with_for_update()
)
_FACTS = sa.select(
    sa.exists()
    .where(is_released_by_itself(), messages.c.account_id == _ACCOUNT, messages.c.release_at <= _NOW)
    .label("is_releasing"),
    sa.exists()
    .where(attempts.c.account_id == _ACCOUNT, attempts.c.finished_at.is_(None))
    .label("is_in_flight"),
    windows.reserved(_ACCOUNT).label("reserved"),
    windows.used(_ACCOUNT, sa.bindparam("since_hour", type_=Instant)).label("hour"),
    windows.used(_ACCOUNT, sa.bindparam("since_day", type_=Instant)).label("day"),
)
"""What there is to know of an account before a text is chosen: all of it in one statement."""


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
        _same_key(other),
        other.c.status == Status.SENDING,
        _last_attempt(other) > _last_attempt(messages),
    )
    return (
        _candidate()
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


def _candidate() -> sa.Select[Any]:
    """A message with what decides about it besides."""
    return sa.select(
        messages,
        sa.exists()
        .where(
            opt_outs.c.tracking_number == messages.c.tracking_number,
            opt_outs.c.recipient == messages.c.recipient,
        )
        .label("is_opted_out"),
        sa.exists()
        .where(
            possible_opt_outs.c.tracking_number == messages.c.tracking_number,
            possible_opt_outs.c.recipient == messages.c.recipient,
        )
        .label("is_doubted"),
        sa.exists().where(segments.c.message_seq == messages.c.seq).label("is_cut"),
    )


def _same_key(other: sa.FromClause) -> sa.ColumnElement[bool]:
    """
    Whether another message that is open goes to the same person from the same number.

    A number belongs to one account. What waits for an account that is not ours any more must not stop the
    others for ever.
    """
    return sa.and_(
        other.c.tracking_number == messages.c.tracking_number,
        other.c.recipient == messages.c.recipient,
        is_open(other),
        other.c.account_id == messages.c.account_id,
    )


def _last_attempt(table: sa.FromClause) -> sa.ScalarSelect[int]:
    """The latest attempt at any segment of a message."""
    return (
        sa.select(sa.func.max(attempts.c.id))
        .join(segments, segments.c.id == attempts.c.segment_id)
        .where(segments.c.message_seq == table.c.seq)
        .correlate(table)
        .scalar_subquery()
    )


def _looked_up(*which: sa.ColumnElement[bool]) -> sa.Exists:
    """Whether it is not known yet if an earlier text to the same person arrived."""
    return sa.exists().where(
        attempts.c.tracking_number == messages.c.tracking_number,
        attempts.c.recipient == messages.c.recipient,
        attempts.c.blocks_until > _NOW,
        *which,
    )


def _just_sent() -> sa.Exists:
    """Whether a text to the same person left less than the interval ago."""
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
        _same_key(other),
        other.c.seq != messages.c.seq,
        sa.or_(other.c.status == Status.SENDING, other.c.seq < messages.c.seq),
    )
    return (
        _candidate()
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
    around = guards.Circumstances(now=now, opted_out=row.is_opted_out)
    if row.status == Status.QUEUED:
        waiting_since = max(row.received_at, row.release_at or row.received_at)
        around = replace(
            around,
            possible_opt_out=_possible_opt_out(connection, row),
            waiting_since=waiting_since,
            recipient=row.recipient,
        )
    verdict = guards.judge(policy.guards, around, approved=row.approved)
    _mention(connection, row, verdict.warnings)
    return verdict


def _possible_opt_out(connection: sa.Connection, row: Row) -> PossibleOptOut | None:
    if not row.is_doubted:
        return None
    pair = {"tracking_number": row.tracking_number, "recipient": row.recipient}
    query = sa.select(possible_opt_outs.c.words, possible_opt_outs.c.written_at).filter_by(**pair)
    found = connection.execute(query).one()
    return PossibleOptOut(words=found.words, written_at=found.written_at)


def _mention(connection: sa.Connection, row: Row, warnings: tuple[Reason, ...]) -> None:
    """Add what a guard set to "warn" found to the message, once."""
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
    connection: sa.Connection,
    now: datetime,
    node: str,
    policy: ClaimPolicy,
    account: Account,
    row: Row,
    facts: _Facts,
) -> _Look:
    """Claim the next segment of *row* if its whole message fits both windows, else say when it will."""
    stored = _stored_segments(connection, row) if row.is_cut else []
    waiting = stored or _planned_segments(policy, account, row)
    # Of those that are under way themselves the room is kept already.
    needed, kept = (1, 0) if row.status == Status.SENDING else (len(waiting), facts.reserved)

    def windows_for(needed: int) -> tuple[Window, Window]:
        used = (facts.hour, facts.day)
        return windows.read_windows(
            connection, now, account, policy.limits, used=used, needed=needed, kept=kept
        )

    hour, day = windows_for(needed)
    if needed > min(hour.allowed, day.allowed) > 0:
        too_long = guards.Verdict(holds=(guards.too_long(needed, min(hour.allowed, day.allowed)),))
        return _Look(held=(_hold(connection, row, too_long),))
    free_at = _free_at((hour, day))
    if free_at is not None:
        return _wait_for_room(now, policy, row, free_at, room_at=_free_at(windows_for(1)))
    segment_id = (
        _take_segment(connection, row.seq, waiting[0][0])
        if stored
        else _write_taken(connection, row, waiting)
    )
    return _Look(claim=_take(connection, now, node, policy, row, segment_id, waiting[0]))


def _free_at(both: tuple[Window, Window]) -> datetime | None:
    return max((window.free_at for window in both if window.free_at is not None), default=None)


def _wait_for_room(
    now: datetime, policy: ClaimPolicy, row: Row, free_at: datetime, *, room_at: datetime | None
) -> _Look:
    """
    Until a message fits the budget, at *free_at*, those behind it wait as well.

    *room_at* is when any text may leave again; None where a shorter one could leave now. Then it is looked at
    again before *free_at*: when what is first does not leave any more, because it is too old by then or for
    whatever else, the next one may.
    """
    if room_at is not None:
        return _Look(due_at=room_at, closed_until=room_at)
    waiting_since = max(row.received_at, row.release_at or row.received_at)
    too_old_at = waiting_since + policy.guards.max_age + MICROSECOND
    return _Look(due_at=_soonest(free_at, now + ROOM_RETRY, too_old_at if too_old_at > now else None))


def _stored_segments(connection: sa.Connection, row: Row) -> list[tuple[int, str]]:
    """Position and content of every segment still to leave; none where the text has not been cut yet."""
    stored = connection.execute(_STORED_SEGMENTS, {"message_seq": row.seq})
    return [(segment.position, segment.content) for segment in stored]


_STORED_SEGMENTS = (
    sa.select(segments.c.position, segments.c.content)
    .where(segments.c.message_seq == _SEQ, segments.c.status == Status.QUEUED)
    .order_by(segments.c.position)
)


def _planned_segments(policy: ClaimPolicy, account: Account, row: Row) -> list[tuple[int, str]]:
    """The same for a text that is cut now, when its turn comes, by the length that holds now."""
    limit = min(policy.max_characters, account.max_characters or policy.max_characters)
    return list(enumerate(split_text(row.text, max_characters=limit), start=1))


def write_segments(
    connection: sa.Connection,
    message_seq: int,
    pieces: list[tuple[int, str]],
    *,
    replaces: int | None = None,
    replacing: int = 0,
) -> None:
    """Add segments that wait to leave, each with its position; the first *replacing* replace another one."""
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
    """Add the segments of a text that was cut just now, the first of them as taken; returns its id."""
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
    """Write the attempt at a segment that was taken."""
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
    """When a message of this account that waits for its own time may leave; None when all wait for news."""
    asked = {"account_id": account.id, "now": now, "since": now - policy.recipient_interval}
    found = connection.execute(_NEXT, asked).one()
    return _soonest(
        found.not_before,
        found.just_sent and found.just_sent + policy.recipient_interval,
        found.looked_up,
        found.released,
    )


def _next() -> sa.Select[Any]:
    waiting = sa.exists().where(
        messages.c.account_id == _ACCOUNT,
        is_open(),
        messages.c.tracking_number == attempts.c.tracking_number,
        messages.c.recipient == attempts.c.recipient,
    )
    return sa.select(
        sa.select(sa.func.min(messages.c.not_before))
        .where(messages.c.account_id == _ACCOUNT, is_open(), messages.c.not_before > _NOW)
        .scalar_subquery()
        .label("not_before"),
        sa.select(sa.func.min(attempts.c.finished_at))
        .where(attempts.c.account_id == _ACCOUNT, attempts.c.counted_at > _SINCE, waiting)
        .scalar_subquery()
        .label("just_sent"),
        sa.select(sa.func.min(attempts.c.blocks_until))
        .where(attempts.c.account_id == _ACCOUNT, attempts.c.blocks_until > _NOW, waiting)
        .scalar_subquery()
        .label("looked_up"),
        # What was held just now is released again, too.
        sa.select(sa.func.min(messages.c.release_at))
        .where(is_released_by_itself(), messages.c.account_id == _ACCOUNT, messages.c.release_at > _NOW)
        .scalar_subquery()
        .label("released"),
    )


_NEXT = _next()


def _soonest(*instants: datetime | None) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)
