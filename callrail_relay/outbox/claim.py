"""Taking the next segment for sending, within the budget: the attempts are its ledger."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain import guards
from callrail_relay.domain.account import DAY, HOUR, Account, Limits, Window
from callrail_relay.domain.delivery import Claim, ClaimPolicy, ClaimResult, Held
from callrail_relay.domain.message import Status
from callrail_relay.domain.segmentation import split_text
from callrail_relay.outbox.candidates import candidates, next_due
from callrail_relay.outbox.opt_outs import read_possible_opt_outs
from callrail_relay.outbox.rows import Row, change, last_of, lock_account, route_of, soonest
from callrail_relay.outbox.tables import (
    ACCOUNT_ID,
    EPOCH,
    MICROSECOND,
    NOW,
    Condition,
    Instant,
    accounts,
    accounts_in_order,
    attempts,
    callrail_texts,
    is_by_others,
    is_open,
    is_released_by_itself,
    messages,
    segments,
)

LOCKED_RETRY = timedelta(seconds=0.05)  # when to look again at an account that another node had locked
PAUSED_RETRY = timedelta(seconds=60)  # how long a text that comes in brings no look at a paused account
ROOM_RETRY = timedelta(seconds=60)  # when to look again if there is room, but not enough for the next text
AT_ONCE = 50  # texts held or released in one transaction: while it lasts, webhooks wait for the database
_PORTION = 20  # due accounts that are read at a time: mostly the first one will do


def claim(connection: sa.Connection, now: datetime, node: str, policy: ClaimPolicy) -> ClaimResult:
    """
    Take the next segment that may be sent, with its attempt row and its place in the budget.

    At most one segment per tracking number and recipient is in flight, texts to one person are sent in the
    order in which they came, and no window of any account is passed: all three hold because this transaction
    reads and writes them together, with the account's row locked. Only accounts that are due are looked at,
    in turn; one that another node has locked is left to it, so that many nodes claim at the same time.
    """
    held: list[Held] = []
    locked: list[Row] = []
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
        wake_at = soonest(wake_at, now + LOCKED_RETRY)
    return ClaimResult(wake_at=wake_at, held=tuple(held))


def take_up_forgotten(connection: sa.Connection, now: datetime) -> None:
    """Have accounts looked at whose texts wait, and that are never due because of some fault."""
    waits = sa.exists().where(messages.c.account_id == accounts.c.id, is_open())
    forgotten = accounts_in_order(accounts.c.due_at.is_(None), accounts.c.paused_since.is_(None), waits)
    connection.execute(sa.update(accounts).where(forgotten).values(due_at=now))


def _lock_due(
    connection: sa.Connection, now: datetime, policy: ClaimPolicy, locked: list[Row]
) -> Iterator[Account]:
    """
    Yield our due accounts, each locked in its turn; *locked* gets those that another node has locked.

    If all are, the first one is waited for. While one is locked here, none is waited for: two nodes would
    come to wait for each other.
    """
    alone, after, last = True, EPOCH - MICROSECOND, ""
    while rows := connection.execute(_DUE, {"now": now, "after": after, "last": last}).all():
        for row in (row for row in rows if row.id in policy.accounts):
            account = lock_account(connection, row, wait=False)
            if account is None:
                locked.append(row)
            else:
                alone = False
                yield account
        if len(rows) < _PORTION:
            break
        after, last = rows[-1].due_at, rows[-1].id
    if alone and locked:
        account = lock_account(connection, locked.pop(0), wait=True)
        if account is not None:
            yield account


_Facts = sa.Row[bool, bool, bool, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """The result of a look at an account: a claim, or when to look again."""

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
    if not facts.is_waiting or (account.strikes and facts.is_in_flight):
        # One probe at a time; it is looked at when that has ended.
        return _Look()
    look = _claim_text(connection, now, node, policy, account, facts)
    if look.claim is not None or look.due_at == now:
        return look
    # Even if the budget is used up, a text under way may have its room and its next segment soon due.
    return replace(look, due_at=soonest(look.due_at, next_due(connection, now, policy, account)))


def _claim_text(
    connection: sa.Connection, now: datetime, node: str, policy: ClaimPolicy, account: Account, facts: _Facts
) -> _Look:
    """Claim from the first text that may be sent, and hold those before it that may not, AT_ONCE at most."""
    held: list[Held] = []
    for row in candidates(connection, now, policy, account, under_way=facts.reserved > 0):
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
    """Queue what was held until now, AT_ONCE at most, and return how many; their guards are asked again."""
    released = connection.execute(_RELEASED, {"account_id": account_id, "now": now}).all()
    for row in released:
        others = [reason for reason in row.reasons if reason.code != "quiet_hours"]
        change(connection, messages, row.seq, status=Status.QUEUED, reasons=others)
    return len(released)


def _ours_and_others(since: sa.ColumnElement[datetime]) -> tuple[tuple[Condition, ...], ...]:
    """Which attempts, and which texts by others, count in the budget of ``account_id`` after *since*."""
    return (
        (attempts.c.account_id == ACCOUNT_ID, attempts.c.counted_at > since),
        (callrail_texts.c.account_id == ACCOUNT_ID, callrail_texts.c.written_at > since, is_by_others),
    )


def _used(since: str) -> sa.ColumnElement[int]:
    both = _ours_and_others(sa.bindparam(since, type_=Instant))
    ours, others = (sa.select(sa.func.count()).where(*which).scalar_subquery() for which in both)
    return ours + others


_HOUR_AND_DAY = _used("since_hour").label("hour"), _used("since_day").label("day")
_USED = sa.select(*_HOUR_AND_DAY)


def count_used(connection: sa.Connection, now: datetime, account_id: str) -> tuple[int, int]:
    """Return the uses of the account's budget in the last hour and in the last day."""
    asked = {"account_id": account_id, "since_hour": now - HOUR, "since_day": now - DAY}
    row = connection.execute(_USED, asked).one()
    return row.hour, row.day


def uses(*which: Condition) -> sa.Subquery:
    """The instants (``at``) from which each use of the budget counts; by ``account_id`` and ``since``."""
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
    """The hour and the day, of *used* each; ``free_at`` is when *needed* more fit, beside *kept* reserved."""
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


_LAST = sa.tuple_(sa.bindparam("after", type_=Instant), sa.bindparam("last", type_=sa.String))
_DUE = (
    sa.select(accounts)
    .where(accounts.c.due_at <= NOW, sa.tuple_(accounts.c.due_at, accounts.c.id) > _LAST)
    .order_by(accounts.c.due_at, accounts.c.id)
    .limit(_PORTION)
)
_NEXT_DUE = sa.select(sa.func.min(accounts.c.due_at)).where(accounts.c.due_at > NOW)
_PUT_OFF = (
    sa.update(accounts)
    .where(accounts.c.id == sa.bindparam("of"))
    .values(due_at=sa.bindparam("due", type_=Instant), closed_until=sa.bindparam("closed", type_=Instant))
)

_IS_RELEASED = is_released_by_itself(), messages.c.account_id == ACCOUNT_ID, messages.c.release_at <= NOW
_RELEASED = (
    sa.select(messages.c.seq, messages.c.reasons)
    .where(*_IS_RELEASED)
    .order_by(messages.c.release_at)
    .limit(AT_ONCE)
    .with_for_update()
)
_IN_FLIGHT = sa.exists().where(attempts.c.account_id == ACCOUNT_ID, attempts.c.finished_at.is_(None))
# Segments still to be sent of messages that are under way: their room is not given to others.
_RESERVED = (
    sa.select(sa.func.count())
    .join_from(messages, segments, segments.c.message_seq == messages.c.seq)
    .where(messages.c.account_id == ACCOUNT_ID, is_open(), messages.c.status == Status.SENDING)
    .where(segments.c.status == Status.QUEUED)
)
# What there is to know of an account before a text is chosen: all of it in one statement.
_FACTS = sa.select(
    sa.exists().where(*_IS_RELEASED).label("is_releasing"),
    sa.or_(
        sa.exists().where(messages.c.account_id == ACCOUNT_ID, is_open()),
        sa.exists().where(messages.c.account_id == ACCOUNT_ID, is_released_by_itself()),
    ).label("is_waiting"),
    _IN_FLIGHT.label("is_in_flight"),
    _RESERVED.scalar_subquery().label("reserved"),
    *_HOUR_AND_DAY,
)


def _judge(connection: sa.Connection, now: datetime, policy: ClaimPolicy, row: Row) -> guards.Verdict:
    """Ask the guards whose answer may change; a message under way is stopped by an opt-out alone."""
    around = guards.Circumstances(now=now, opted_out=row.is_opted_out)
    if row.status == Status.QUEUED:
        replies = read_possible_opt_outs(connection, [row.recipient]) if row.is_doubted else {}
        around = replace(
            around,
            possible_opt_out=replies.get((row.tracking_number, row.recipient)),
            waiting_since=_waiting_since(row),
            recipient=row.recipient,
        )
    verdict = guards.judge(policy.guards, around, approved=row.approved)
    new = [warning for warning in verdict.warnings if warning not in row.reasons]
    if new:
        change(connection, messages, row.seq, reasons=(*row.reasons, *new))
    return verdict


def _waiting_since(row: Row) -> datetime:
    since: datetime = max(row.received_at, row.release_at or row.received_at)
    return since


def _hold(connection: sa.Connection, row: Row, verdict: guards.Verdict) -> Held:
    held = {"status": Status.HELD, "release_at": verdict.release_at}
    change(connection, messages, row.seq, **held, reasons=(*row.reasons, *verdict.holds))
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
    """
    Claim the next segment of *row* if its whole message fits both windows: mark both as being sent, and write
    the attempt. Else say when it will fit; until then those behind it wait as well.
    """
    waiting: list[tuple[int, str]] = []
    if row.is_cut:
        waiting = [(at, content) for at, content in connection.execute(_WAITING_SEGMENTS, {"of": row.seq})]
    if not waiting:
        # Cut when its turn comes, by the length that holds now.
        limit = min(policy.max_characters, account.max_characters or policy.max_characters)
        waiting = list(enumerate(split_text(row.text, max_characters=limit), start=1))
    # Of those that are under way themselves the room is kept already.
    needed, kept = (1, 0) if row.status == Status.SENDING else (len(waiting), facts.reserved)

    def windows_for(needed: int) -> tuple[Window, Window]:
        used = (facts.hour, facts.day)
        return read_windows(connection, now, account, policy.limits, used=used, needed=needed, kept=kept)

    hour, day = windows_for(needed)
    if needed > min(hour.allowed, day.allowed) > 0:
        too_long = guards.Verdict(holds=(guards.too_long(needed, min(hour.allowed, day.allowed)),))
        return _Look(held=(_hold(connection, row, too_long),))
    free_at = last_of(hour.free_at, day.free_at)
    if free_at is not None:
        room_at = last_of(*(window.free_at for window in windows_for(1)))
        if room_at is not None:
            return _Look(due_at=room_at, closed_until=room_at)
        # A shorter one could be sent now, and may be once this one is too old, or is held.
        too_old_at = _waiting_since(row) + policy.guards.max_age + MICROSECOND
        return _Look(due_at=soonest(free_at, now + ROOM_RETRY, too_old_at if too_old_at > now else None))
    position, content = waiting[0]
    if row.is_cut:
        segment_id = connection.execute(_TAKE_SEGMENT, {"of": row.seq, "at": position}).scalar_one()
        count = row.segment_count
    else:
        segment_id = _write_segments(connection, row.seq, waiting)
        count = len(waiting)
    connection.execute(_TAKE_MESSAGE, {"of": row.seq, "count": count})
    attempt = {
        "segment_id": segment_id,
        "message_seq": row.seq,
        "account_id": row.account_id,
        "tracking_number": row.tracking_number,
        "recipient": row.recipient,
        "node": node,
        "started_at": now,
        "lease_until": now + policy.lease,
        "counted_at": now,
    }
    attempt_id = connection.execute(_INSERT_ATTEMPT, attempt).scalar_one()
    claim = Claim(
        attempt_id=attempt_id,
        message_id=row.id,
        position=position,
        route=route_of(row),
        recipient=row.recipient,
        content=content,
    )
    return _Look(claim=claim)


def _write_segments(connection: sa.Connection, message_seq: int, pieces: list[tuple[int, str]]) -> int:
    """Write the segments of a message, the first one as being sent; return its id."""
    first, *rest = [
        {"message_seq": message_seq, "position": position, "content": content, "status": Status.QUEUED}
        for position, content in pieces
    ]
    id_: int = connection.execute(_INSERT_SEGMENT, first | {"status": Status.SENDING}).scalar_one()
    if rest:
        connection.execute(sa.insert(segments), rest)
    return id_


_OF_MESSAGE = segments.c.message_seq == sa.bindparam("of"), segments.c.status == Status.QUEUED
_WAITING_SEGMENTS = (
    sa.select(segments.c.position, segments.c.content).where(*_OF_MESSAGE).order_by(segments.c.position)
)
_TAKE_SEGMENT = (
    sa.update(segments)
    .where(*_OF_MESSAGE, segments.c.position == sa.bindparam("at"))
    .values(status=Status.SENDING)
    .returning(segments.c.id)
)
_TAKE_MESSAGE = (
    sa.update(messages)
    .where(messages.c.seq == sa.bindparam("of"))
    .values(status=Status.SENDING, segment_count=sa.bindparam("count"))
)
_INSERT_SEGMENT = sa.insert(segments).returning(segments.c.id)
_INSERT_ATTEMPT = sa.insert(attempts).returning(attempts.c.id)


Due = tuple[datetime | None, datetime | None]


def newest_due(connection: sa.Connection, now: datetime) -> Due:
    """
    When the account, and the look-up, that became due last did so.

    Every change that lets a text be sent, or an outcome be looked up, records in the store when that is due.
    So a process that sleeps asks this once a second, and needs no other one to wake it.
    """
    row = connection.execute(_NEWEST_DUE, {"now": now}).one()
    return row[0], row[1]


def _newest(column: sa.Column[datetime]) -> sa.ScalarSelect[datetime]:
    return sa.select(sa.func.max(column)).where(column <= NOW).scalar_subquery()


_NEWEST_DUE = sa.select(_newest(accounts.c.due_at), _newest(attempts.c.next_lookup_at))
