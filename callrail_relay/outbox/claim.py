"""Claims the next segments to send, within the budget. The attempts are its ledger."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain import guards
from callrail_relay.domain.account import Account, Window
from callrail_relay.domain.delivery import Claim, ClaimPolicy, ClaimResult, Held
from callrail_relay.domain.message import Status
from callrail_relay.domain.segmentation import split_text
from callrail_relay.outbox.budget import read_windows, used, windows_since
from callrail_relay.outbox.candidates import candidates, next_due, with_opt_outs
from callrail_relay.outbox.opt_outs import read_opt_outs
from callrail_relay.outbox.rows import (
    Row,
    account_columns,
    account_of,
    change,
    last_of,
    lock_account,
    portions,
    route_of,
    soonest,
)
from callrail_relay.outbox.tables import (
    ACCOUNT_ID,
    EPOCH,
    MICROSECOND,
    NOW,
    Instant,
    accounts,
    accounts_in_order,
    attempts,
    is_open,
    is_released_by_itself,
    messages,
    segments,
)

LOCKED_RETRY = timedelta(seconds=0.05)  # when to retry an account that another node has locked
LOOK_AGAIN = timedelta(seconds=1)  # when to look behind texts that are in flight
PAUSED_RETRY = timedelta(seconds=60)  # how long a new text doesn't make a paused account due
ROOM_RETRY = timedelta(seconds=60)  # when to look again if there's room, but not enough for the next text
AT_ONCE = 50  # texts held or released per transaction, since webhooks wait meanwhile
_PORTION = 20  # due accounts to read at a time


def claim(
    connection: sa.Connection, now: datetime, node: str, policy: ClaimPolicy, *, most: int = 1
) -> ClaimResult:
    """
    Claim the next segments that may be sent, *most* at most, each with its attempt and its place in the
    budget.

    At most one segment per tracking number and recipient is in flight, texts to one person are sent in order
    of arrival, and no account exceeds its hour or day. All three hold because one transaction reads and
    writes them, with the account's row locked. Only due accounts are examined, in turn. One that another node
    has locked is left to that node, so many nodes can claim at once.
    """
    held: list[Held] = []
    put_off: dict[str, _Look] = {}
    is_over = False
    batch, others = _Batch(connection, now, node, policy, most), _Others()
    for account, facts in _lock_due(connection, now, policy, others, most):
        look = _claim_from(batch, account, facts)
        held.extend(look.held)
        # An account with texts in flight stays due: each outcome changes what may be claimed next.
        if look.due_at == now or not look.has_claimed:
            put_off[account.id] = look
        is_over = look.due_at == now
        if is_over or batch.room == 0:
            break
    claims = batch.write()
    if put_off:
        rows = [{"of": id_, "due": one.due_at, "closed": one.closed_until} for id_, one in put_off.items()]
        connection.execute(_PUT_OFF, rows)
    if is_over:
        return ClaimResult(claims=claims, wake_at=now, held=tuple(held))
    next_due = soonest(others.next_due, *(one.due_at for one in put_off.values()))
    wake_at = now + LOOK_AGAIN if claims else next_due
    if others.locked:
        wake_at = soonest(wake_at, now + LOCKED_RETRY)
    return ClaimResult(claims=claims, wake_at=wake_at, held=tuple(held))


def take_up_forgotten(connection: sa.Connection, now: datetime) -> None:
    """Make accounts due that have texts waiting but, because of some fault, would never come due."""
    waits = sa.exists().where(messages.c.account_id == accounts.c.id, is_open())
    forgotten = accounts_in_order(accounts.c.due_at.is_(None), accounts.c.paused_since.is_(None), waits)
    connection.execute(sa.update(accounts).where(forgotten).values(due_at=now))


@dataclass(slots=True)
class _Others:
    """What isn't examined now: accounts that another node has locked, and when the next one is due."""

    locked: list[str] = field(default_factory=list)
    next_due: datetime | None = None


def _lock_due(
    connection: sa.Connection, now: datetime, policy: ClaimPolicy, others: _Others, most: int
) -> "Iterator[tuple[Account, _Facts]]":
    """
    Yield our due accounts, each locked in turn; *others* gets what is known about the rest.

    If other nodes have locked all of them, wait for the first one. Never wait while holding a lock: two nodes
    could deadlock.
    """
    is_locked = connection.dialect.name == "sqlite"  # it has one writer at a time
    due = _DUE_WITH_FACTS if is_locked else _DUE
    alone, portion = True, min(most, _PORTION)
    after: datetime | None = EPOCH - MICROSECOND
    last = ""
    while after is not None:
        asked = {**_at(now), "after": after, "last": last, "most": portion}
        rows = connection.execute(due, asked).all()
        others.next_due = rows[0].next_due
        for row in (row for row in rows if row.account_id in policy.accounts):
            found = row if is_locked else _lock(connection, now, row.account_id, wait=False)
            if found is None:
                others.locked.append(row.account_id)
            else:
                alone = False
                yield account_of(found), _facts_of(found)
        # If none is due, the only row has neither an account nor an instant.
        after, last = rows[-1].due_at if len(rows) == portion else None, rows[-1].account_id
    if alone and others.locked:
        found = _lock(connection, now, others.locked.pop(0), wait=True)
        if found is not None:
            yield account_of(found), _facts_of(found)


def _lock(connection: sa.Connection, now: datetime, account_id: str, *, wait: bool) -> Row | None:
    """Lock an account and read it; None if another node has it and *wait* is False."""
    is_ours = lock_account(connection, account_id, wait=wait)
    return connection.execute(_WITH_FACTS, {**_at(now), "account_id": account_id}).one() if is_ours else None


@dataclass(slots=True)
class _Facts:
    """What must be known about an account before texts are chosen, updated with each claim."""

    is_releasing: bool
    is_waiting: bool
    is_in_flight: bool
    reserved: int  # unsent segments of partly sent messages
    hour: int
    day: int

    @property
    def used(self) -> tuple[int, int]:
        return self.hour, self.day


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """The result of examining an account: whether anything was claimed, or when to look again."""

    has_claimed: bool = False
    due_at: datetime | None = None
    closed_until: datetime | None = None
    held: tuple[Held, ...] = ()


_Begun = tuple[Row, list[tuple[int, str]]]  # a message, and those of its segments that wait


@dataclass(slots=True)
class _Batch:
    """The claims of one transaction, from one or more accounts: collected first, then written together."""

    connection: sa.Connection
    now: datetime
    node: str
    policy: ClaimPolicy
    most: int
    _begun: list[_Begun] = field(default_factory=list)
    _claims: list[Claim] = field(default_factory=list)

    @property
    def room(self) -> int:
        return self.most - len(self._begun) - len(self._claims)

    def add(self, row: Row, waiting: list[tuple[int, str]]) -> None:
        """Claim the first of a message's *waiting* segments."""
        self._begun.append((row, waiting))

    def write(self) -> tuple[Claim, ...]:
        """Mark what was added as sending, and insert the attempts; return all claims so far."""
        begun, self._begun = self._begun, list[_Begun]()
        if begun:
            counts = [
                {"of": row.seq, "count": row.segment_count if row.is_cut else len(waiting)}
                for row, waiting in begun
            ]
            self.connection.execute(_TAKE_MESSAGE, counts)
            segment_ids = self._take_segments(begun)
            rows = [
                {
                    "segment_id": segment_ids[row.seq],
                    "message_seq": row.seq,
                    "account_id": row.account_id,
                    "tracking_number": row.tracking_number,
                    "recipient": row.recipient,
                    "node": self.node,
                    "started_at": self.now,
                    "lease_until": self.now + self.policy.lease,
                    "counted_at": self.now,
                }
                for row, _ in begun
            ]
            attempt_ids: dict[int, int] = dict(self.connection.execute(_INSERT_ATTEMPTS, rows).all())
            self._claims += [
                Claim(
                    attempt_id=attempt_ids[segment_ids[row.seq]],
                    message_id=row.id,
                    position=position,
                    route=route_of(row),
                    recipient=row.recipient,
                    content=content,
                )
                for row, [(position, content), *_] in begun
            ]
        return tuple(self._claims)

    def _take_segments(self, begun: list[_Begun]) -> dict[int, int]:
        """Mark the first segments as sending, inserting missing ones; return their ids by message."""
        first, later = [], []
        ids: dict[int, int] = {}
        for row, waiting in begun:
            if row.is_cut:
                taken = {"of": row.seq, "at": waiting[0][0]}
                ids[row.seq] = self.connection.execute(_TAKE_SEGMENT, taken).scalar_one()
            else:
                new = [{"message_seq": row.seq, "position": at, "content": part} for at, part in waiting]
                first.append(new[0] | {"status": Status.SENDING})
                later += [one | {"status": Status.QUEUED} for one in new[1:]]
        if first:
            ids |= dict(self.connection.execute(_INSERT_SEGMENTS, first).all())
        if later:
            self.connection.execute(sa.insert(segments), later)
        return ids


def _claim_from(batch: _Batch, account: Account, facts: _Facts) -> _Look:
    connection, now = batch.connection, batch.now
    if facts.is_releasing and _release(connection, now, account.id) == AT_ONCE:
        return _Look(due_at=now)
    if account.paused_since is not None:
        # `resume` makes it due again.
        return _Look(closed_until=now + PAUSED_RETRY)
    if facts.is_waiting and account.waits(now):
        return _Look(due_at=account.wait_until, closed_until=account.wait_until)
    if not facts.is_waiting or (account.strikes and facts.is_in_flight):
        # One probe at a time; its outcome makes the account due again.
        return _Look()
    look = _claim_texts(batch, account, facts)
    if look.has_claimed or look.due_at == now:
        return look
    # Even with the budget used up, a partly sent text has room, and its next segment may be due soon.
    return replace(look, due_at=soonest(look.due_at, next_due(connection, now, batch.policy, account)))


def _claim_texts(batch: _Batch, account: Account, facts: _Facts) -> _Look:
    """Claim the first texts that may be sent, and hold those in front that may not, AT_ONCE at most."""
    connection, now, held = batch.connection, batch.now, list[Held]()
    room = batch.room
    least = room - 1 if account.strikes else 0  # one probe at a time
    for status in (Status.SENDING, Status.QUEUED) if facts.reserved else (Status.QUEUED,):
        while True:
            is_over = True
            for row in candidates(connection, now, batch.policy, account, status, batch.room - least):
                if len(held) == AT_ONCE:
                    return _Look(due_at=now, has_claimed=batch.room < room, held=tuple(held))
                look = _begin(batch, account, row, facts)
                held.extend(look.held)
                if batch.room == least or (look.due_at is not None and is_over):
                    return replace(look, has_claimed=batch.room < room, held=tuple(held))
                if look.due_at is not None:
                    break  # those behind what was held come first
                if look.held:
                    is_over = False  # those behind it may go now
                if look.held and row.status == Status.SENDING:
                    # The room reserved for the rest of it is free.
                    batch.write()
                    facts = _read_facts(connection, now, account.id)
            if is_over:
                break
            batch.write()
    return _Look(has_claimed=batch.room < room, held=tuple(held))


def _read_facts(connection: sa.Connection, now: datetime, account_id: str) -> _Facts:
    return _facts_of(connection.execute(_WITH_FACTS, {**_at(now), "account_id": account_id}).one())


def _facts_of(row: Row) -> _Facts:
    return _Facts(**{name: getattr(row, name) for name in _Facts.__annotations__})


def _at(now: datetime) -> dict[str, datetime]:
    return {"now": now, **windows_since(now)}


def _release(connection: sa.Connection, now: datetime, account_id: str) -> int:
    """Queue texts that were held until now, AT_ONCE at most; return how many. The guards judge them again."""
    released = connection.execute(_RELEASED, {"account_id": account_id, "now": now}).all()
    for row in released:
        others = [reason for reason in row.reasons if reason.code != "quiet_hours"]
        change(connection, messages, row.seq, status=Status.QUEUED, reasons=others)
    return len(released)


_LAST = sa.tuple_(sa.bindparam("after", type_=Instant), sa.bindparam("last", type_=sa.String))
_PUT_OFF = (
    sa.update(accounts)
    .where(accounts.c.id == sa.bindparam("of"))
    .values(due_at=sa.bindparam("due", type_=Instant), closed_until=sa.bindparam("closed", type_=Instant))
)

_RELEASED = (
    sa.select(messages.c.seq, messages.c.reasons)
    .where(is_released_by_itself(), messages.c.account_id == ACCOUNT_ID, messages.c.release_at <= NOW)
    .order_by(messages.c.release_at)
    .limit(AT_ONCE)
    .with_for_update()
)


def _with_facts() -> sa.Select[Any]:
    """Accounts, with everything to know about each before a text is chosen, in one statement."""
    of_account = messages.c.account_id == accounts.c.id
    of_held = of_account, is_released_by_itself()
    in_flight = attempts.c.account_id == accounts.c.id, attempts.c.finished_at.is_(None)
    # Unsent segments of partly sent messages: their room isn't given to others.
    reserved = (
        sa.select(sa.func.count())
        .join_from(messages, segments, segments.c.message_seq == messages.c.seq)
        .where(of_account, is_open(), messages.c.status == Status.SENDING)
        .where(segments.c.status == Status.QUEUED)
    )
    return sa.select(
        *account_columns(),
        accounts.c.due_at,
        sa.exists()
        .where(of_account, is_released_by_itself(), messages.c.release_at <= NOW)
        .label("is_releasing"),
        sa.or_(sa.exists().where(of_account, is_open()), sa.exists().where(*of_held)).label("is_waiting"),
        sa.exists().where(*in_flight).label("is_in_flight"),
        reserved.scalar_subquery().label("reserved"),
        used("since_hour", accounts.c.id).label("hour"),
        used("since_day", accounts.c.id).label("day"),
    )


_FACTS = _with_facts()
_WITH_FACTS = _FACTS.where(accounts.c.id == ACCOUNT_ID)


def _due(query: sa.Select[Any]) -> sa.Select[Any]:
    """The next due accounts in turn, each with the next later due time; that time alone if none is due."""
    due = (
        query.where(accounts.c.due_at <= NOW, sa.tuple_(accounts.c.due_at, accounts.c.id) > _LAST)
        .order_by(accounts.c.due_at, accounts.c.id)
        .limit(sa.bindparam("most", type_=sa.Integer))
        .subquery()
    )
    first = sa.func.min(accounts.c.due_at).label("next_due")
    later = sa.select(first).where(accounts.c.due_at > NOW).subquery()
    # Sorted by the database, too: ids compare by its collation, and the next page starts after the last one.
    return (
        sa.select(later, due)
        .select_from(later.outerjoin(due, sa.true()))
        .order_by(due.c.due_at, due.c.account_id)
    )


_DUE = _due(sa.select(accounts.c.id.label("account_id"), accounts.c.due_at))
_DUE_WITH_FACTS = _due(_FACTS)


def would_hold(
    connection: sa.Connection, now: datetime, policy: guards.GuardPolicy, ids: Iterable[str]
) -> dict[str, guards.Verdict]:
    """Return which of these open messages the guards would hold if their turn came now. To be rehearsed."""
    verdicts = {
        row.id: _judge(connection, now, policy, row)
        for some in portions(ids)
        for row in connection.execute(with_opt_outs().where(messages.c.id.in_(some), is_open())).all()
    }
    return {id_: verdict for id_, verdict in verdicts.items() if verdict.holds}


def _judge(connection: sa.Connection, now: datetime, policy: guards.GuardPolicy, row: Row) -> guards.Verdict:
    """Ask the guards whose answer may change; only an opt-out stops a partly sent message."""
    around = guards.Circumstances(now=now, opted_out=row.is_opted_out)
    if row.status == Status.QUEUED:
        _, replies = read_opt_outs(connection, [row.recipient]) if row.is_doubted else (set(), {})
        around = replace(
            around,
            possible_opt_out=replies.get((row.tracking_number, row.recipient)),
            waiting_since=_waiting_since(row),
            recipient=row.recipient,
        )
    verdict = guards.judge(policy, around, approved=row.approved)
    new = [warning for warning in verdict.warnings if warning not in row.reasons]
    if new:
        change(connection, messages, row.seq, reasons=(*row.reasons, *new))
    return verdict


def _waiting_since(row: Row) -> datetime:
    since: datetime = max(row.received_at, row.release_at or row.received_at)
    return since


def _hold(connection: sa.Connection, row: Row, verdict: guards.Verdict) -> _Look:
    held = {"status": Status.HELD, "release_at": verdict.release_at}
    change(connection, messages, row.seq, **held, reasons=(*row.reasons, *verdict.holds))
    return _Look(held=(Held(message_id=row.id, reasons=verdict.holds),))


def _begin(batch: _Batch, account: Account, row: Row, facts: _Facts) -> _Look:
    """
    Claim the next segment of *row* if no guard holds it and the whole message fits both windows.

    Otherwise return when it will fit; until then, those behind it wait, too.
    """
    connection, now, policy = batch.connection, batch.now, batch.policy
    verdict = _judge(connection, now, policy.guards, row)
    if verdict.holds:
        return _hold(connection, row, verdict)
    waiting: list[tuple[int, str]] = []
    if row.is_cut:
        waiting = [(at, content) for at, content in connection.execute(_WAITING_SEGMENTS, {"of": row.seq})]
    if not waiting:
        # Split when its turn comes, by the length limit of now.
        limit = min(policy.max_characters, account.max_characters or policy.max_characters)
        waiting = list(enumerate(split_text(row.text, max_characters=limit), start=1))
    # A partly sent message has its room already.
    needed, kept = (1, 0) if row.status == Status.SENDING else (len(waiting), facts.reserved)

    def windows_for(needed: int) -> tuple[Window, Window]:
        return read_windows(
            connection, now, account, policy.limits, used=facts.used, needed=needed, kept=kept
        )

    hour, day = windows_for(needed)
    if needed > min(hour.allowed, day.allowed) > 0:
        too_long = guards.Verdict(holds=(guards.too_long(needed, min(hour.allowed, day.allowed)),))
        return _hold(connection, row, too_long)
    free_at = last_of(hour.free_at, day.free_at)
    if free_at is not None:
        room_at = last_of(*(window.free_at for window in windows_for(1)))
        if room_at is not None:
            return _Look(due_at=room_at, closed_until=room_at)
        # A shorter one could be sent now, and may be once this one is too old or held.
        too_old_at = _waiting_since(row) + policy.guards.max_age + MICROSECOND
        return _Look(due_at=soonest(free_at, now + ROOM_RETRY, too_old_at if too_old_at > now else None))
    batch.add(row, waiting)
    facts.hour, facts.day = facts.hour + 1, facts.day + 1
    facts.reserved += -1 if row.status == Status.SENDING else len(waiting) - 1
    return _Look(has_claimed=True)


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
# Each id is returned with what it belongs to: databases return rows in no certain order.
_INSERT_SEGMENTS = sa.insert(segments).returning(segments.c.message_seq, segments.c.id)
_INSERT_ATTEMPTS = sa.insert(attempts).returning(attempts.c.segment_id, attempts.c.id)


Due = tuple[datetime | None, datetime | None]


def newest_due(connection: sa.Connection, now: datetime) -> Due:
    """
    Return when the account, and the look-up, that came due last did so.

    Every change that lets a text be sent, or an outcome be looked up, writes to the store when that is due.
    So a sleeping process asks this once a second, and needs no other signal.
    """
    row = connection.execute(_NEWEST_DUE, {"now": now}).one()
    return row[0], row[1]


def _newest(column: sa.Column[datetime]) -> sa.ScalarSelect[datetime]:
    return sa.select(sa.func.max(column)).where(column <= NOW).scalar_subquery()


_NEWEST_DUE = sa.select(_newest(accounts.c.due_at), _newest(attempts.c.next_lookup_at))
