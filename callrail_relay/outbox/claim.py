"""Claims the next segments to send, within the budget. The attempts are its ledger."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any, NamedTuple

import sqlalchemy as sa

from callrail_relay.domain import guards
from callrail_relay.domain.account import Account
from callrail_relay.domain.delivery import Claim, ClaimPolicy, ClaimResult
from callrail_relay.domain.events import Event, MessageHeld
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import Outcome
from callrail_relay.domain.reconcile import LookupPolicy
from callrail_relay.domain.segmentation import split_text
from callrail_relay.outbox.budget import read_windows, used, windows_since
from callrail_relay.outbox.candidates import candidates, next_due, with_opt_outs
from callrail_relay.outbox.columns import ACCOUNT_ID, EPOCH, MICROSECOND, NOW, Instant
from callrail_relay.outbox.opt_outs import read_opt_outs
from callrail_relay.outbox.record import record
from callrail_relay.outbox.rows import from_row, last_of, lock_account, portions, route_of, soonest
from callrail_relay.outbox.tables import (
    accounts,
    accounts_in_order,
    attempts,
    is_open,
    is_released_by_itself,
    messages,
    segments,
)
from callrail_relay.outbox.transaction import Row, Transaction

LOCKED_RETRY = timedelta(seconds=0.05)  # when to retry an account that another node has locked
PAUSED_RETRY = timedelta(seconds=60)  # how long a new text doesn't make a paused account due
ROOM_RETRY = timedelta(seconds=60)  # when to look again if there's room, but not enough for the next text
AT_ONCE = 50  # texts held or released per transaction, since webhooks wait meanwhile
_PORTION = 20  # due accounts to read at a time


def claim(
    tx: Transaction, node: str, policy: ClaimPolicy, *, most: int = 1, may_wait: bool = True
) -> ClaimResult:
    """
    Claim the next segments that may be sent, *most* at most, each with an attempt and a place in the budget.

    At most one segment per tracking number and recipient is in flight, texts to one person are sent in order
    of arrival, and no account exceeds its hour or day. All three hold because one transaction reads and
    writes them, with the account's row locked. Only due accounts are examined, in turn. One that another node
    has locked is left to it, so many nodes can claim at once; *may_wait* says whether we hold no locks yet.
    """
    batch = _Batch(tx, node, policy, most, may_wait)
    put_off: dict[str, _Later] = {}
    is_over = False
    for account, facts in _lock_due(batch):
        room = batch.room
        later = _claim_from(batch, account, facts)
        is_over = later.due_at == tx.now
        # An account with texts in flight stays due: each outcome changes what may be claimed next.
        if is_over or batch.room == room:
            put_off[account.id] = later
        if is_over or batch.room == 0:
            break
    batch.write()
    if put_off:
        tx.change_each(accounts, [{"of": id_, **one._asdict()} for id_, one in put_off.items()])
    locked_until = tx.now + LOCKED_RETRY if batch.locked else None
    next_due = soonest(batch.next_due, locked_until, *(one.due_at for one in put_off.values()))
    wake_at = tx.now if is_over else next_due
    return ClaimResult(claims=tuple(batch.claims), wake_at=wake_at, held=tuple(batch.held))


def advance(
    tx: Transaction,
    ended: Mapping[int, Outcome],
    node: str,
    policy: ClaimPolicy,
    *,
    most: int,
    look: bool,
    random: Random,
    lookups: LookupPolicy | None = None,
) -> tuple[list[Event], ClaimResult | None]:
    """
    Record how attempts *ended*, and claim the next segments, *most* at most.

    Without *look*, nothing is claimed, and the result is None, unless an outcome lets something be sent.
    """
    news, is_due = record(tx, ended, random=random, lookups=lookups)
    if not (look or is_due):
        return news, None
    return news, claim(tx, node, policy, most=most, may_wait=not ended) if most else ClaimResult()


def take_up_forgotten(tx: Transaction) -> None:
    """Make accounts due that have texts waiting but, because of some fault, would never come due."""
    waits = sa.exists().where(messages.c.account_id == accounts.c.id, is_open())
    forgotten = accounts_in_order(accounts.c.due_at.is_(None), accounts.c.paused_since.is_(None), waits)
    tx.execute(sa.update(accounts).where(forgotten).values(due_at=tx.now))


@dataclass(slots=True)
class _Facts:
    """What must be known about an account before texts are chosen, updated with each claim."""

    is_releasing: bool
    is_waiting: bool
    is_in_flight: bool
    reserved: int  # unsent segments of partly sent messages
    hour: int
    day: int


class _Later(NamedTuple):
    """When to examine an account again; without a time, only news decides."""

    due_at: datetime | None = None
    closed_until: datetime | None = None


_Begun = tuple[Row, list[tuple[int, str]]]  # a message, and those of its segments that wait


@dataclass(slots=True)
class _Batch:
    """The claims of one transaction, from one or more accounts: collected first, then written together."""

    tx: Transaction
    node: str
    policy: ClaimPolicy
    most: int
    may_wait: bool
    begun: list[_Begun] = field(default_factory=list)  # not written yet
    claims: list[Claim] = field(default_factory=list)
    held: list[MessageHeld] = field(default_factory=list)
    # Not examined now: accounts that another node has locked, and when the next one is due.
    locked: list[str] = field(default_factory=list)
    next_due: datetime | None = None

    @property
    def room(self) -> int:
        return self.most - len(self.begun) - len(self.claims)

    def hold(self, row: Row, verdict: guards.Verdict) -> None:
        """Hold a message that the guards don't let through."""
        reasons = (*row.reasons, *verdict.holds)
        held = {"status": Status.HELD, "release_at": verdict.release_at, "reasons": reasons}
        self.tx.change(messages, row.seq, **held)
        codes = tuple(reason.code for reason in verdict.holds)
        self.held.append(MessageHeld(message_id=row.id, reasons=codes))

    def write(self) -> None:
        """Mark the first waiting segments of what was begun as sending, and insert their attempts."""
        begun, self.begun = self.begun, list[_Begun]()
        if not begun:
            return
        taken = [
            {
                "of": row.seq,
                "status": Status.SENDING,
                "segment_count": row.segment_count if row.is_cut else len(waiting),
            }
            for row, waiting in begun
        ]
        self.tx.change_each(messages, taken)
        segment_ids = self._take_segments(begun)
        tried = [
            {
                "segment_id": segment_ids[row.seq],
                "message_seq": row.seq,
                "account_id": row.account_id,
                "tracking_number": row.tracking_number,
                "recipient": row.recipient,
                "node": self.node,
                "started_at": self.tx.now,
                "lease_until": self.tx.now + self.policy.lease,
                "counted_at": self.tx.now,
            }
            for row, _ in begun
        ]
        attempt_ids: dict[int, int] = dict(self.tx.execute(_INSERT_ATTEMPTS, tried).all())
        self.claims += [
            Claim(
                attempt_id=attempt_ids[row.seq],
                message_id=row.id,
                position=position,
                route=route_of(row),
                recipient=row.recipient,
                content=content,
            )
            for row, [(position, content), *_] in begun
        ]

    def _take_segments(self, begun: list[_Begun]) -> dict[int, int]:
        """Mark the first segments as sending, inserting missing ones; return their ids by message."""
        ids: dict[int, int] = {}
        new = []
        for row, waiting in begun:
            first = waiting[0][0]
            if row.is_cut:
                taken = {"of": row.seq, "at": first}
                ids[row.seq] = self.tx.execute(_TAKE_SEGMENT, taken).scalar_one()
                continue
            for at, content in waiting:
                status = Status.SENDING if at == first else Status.QUEUED
                new.append({"message_seq": row.seq, "position": at, "content": content, "status": status})
        added = self.tx.execute(_INSERT_SEGMENTS, new).all() if new else []
        return ids | {seq: id_ for seq, id_, status in added if status is Status.SENDING}


def _lock_due(batch: _Batch) -> Iterator[tuple[Account, _Facts]]:
    """
    Yield our due accounts, each locked in turn; *batch* notes what is known about the rest.

    If other nodes have locked all of them, wait for the first one; never with locks held, against deadlocks.
    """
    tx = batch.tx
    is_locked = tx.is_sqlite  # it has one writer at a time
    due = _DUE_WITH_FACTS if is_locked else _DUE
    alone, portion = batch.may_wait, min(batch.most, _PORTION)
    after: datetime | None = EPOCH - MICROSECOND
    last = ""
    while after is not None:
        asked = {**_at(tx.now), "after": after, "last": last, "most": portion}
        rows = tx.execute(due, asked).all()
        batch.next_due = rows[0].next_due
        for row in (row for row in rows if row.id in batch.policy.accounts):
            if is_locked or lock_account(tx, row.id, wait=False):
                alone = False
                yield _with_facts(row if is_locked else _read(tx, row.id))
            else:
                batch.locked.append(row.id)
        # If none is due, the only row has neither an account nor an instant.
        after, last = rows[-1].due_at if len(rows) == portion else None, rows[-1].id
    if alone and batch.locked:
        first = batch.locked.pop(0)
        if lock_account(tx, first, wait=True):
            yield _with_facts(_read(tx, first))


def _read(tx: Transaction, account_id: str) -> Row:
    return tx.execute(_WITH_FACTS, {**_at(tx.now), "account_id": account_id}).one()


def _with_facts(row: Row) -> tuple[Account, _Facts]:
    return from_row(Account, row), from_row(_Facts, row)


def _at(now: datetime) -> dict[str, datetime]:
    return {"now": now, **windows_since(now)}


def _claim_from(batch: _Batch, account: Account, facts: _Facts) -> _Later:
    tx, room = batch.tx, batch.room
    if facts.is_releasing and _release(tx, account.id) == AT_ONCE:
        return _Later(tx.now)
    if account.paused_since is not None:
        # `resume` makes it due again.
        return _Later(closed_until=tx.now + PAUSED_RETRY)
    if facts.is_waiting and account.waits(tx.now):
        return _Later(account.wait_until, account.wait_until)
    if not facts.is_waiting or (account.strikes and facts.is_in_flight):
        # One probe at a time; its outcome makes the account due again.
        return _Later()
    later = _claim_texts(batch, account, facts)
    if batch.room < room or later.due_at == tx.now:
        return later
    # Even with the budget used up, a partly sent text has room, and its next segment may be due soon.
    return later._replace(due_at=soonest(later.due_at, next_due(tx, batch.policy, account)))


def _claim_texts(batch: _Batch, account: Account, facts: _Facts) -> _Later:
    """Claim the first texts that may be sent, and hold those in front that may not, AT_ONCE at most."""
    tx = batch.tx
    least = batch.room - 1 if account.strikes else 0  # one probe at a time
    for status in (Status.SENDING, Status.QUEUED) if facts.reserved else (Status.QUEUED,):
        is_over = False
        while not is_over:
            is_over = True
            for row in candidates(tx, batch.policy, account, status, batch.room - least):
                held = len(batch.held)
                if held >= AT_ONCE:
                    return _Later(tx.now)
                later = _begin(batch, account, row, facts)
                if batch.room == least or (later is not None and is_over):
                    return later or _Later()
                if later is not None:
                    break  # those behind what was held come first
                if len(batch.held) > held:
                    is_over = False  # those behind it may go now
                    if row.status is Status.SENDING:
                        # The room reserved for the rest of it is free.
                        batch.write()
                        _, facts = _with_facts(_read(tx, account.id))
            if not is_over:
                batch.write()
    return _Later()


def _release(tx: Transaction, account_id: str) -> int:
    """Queue texts that were held until now, AT_ONCE at most; return how many. The guards judge them again."""
    released = tx.execute(_RELEASED, {"account_id": account_id, "now": tx.now}).all()
    for row in released:
        others = [reason for reason in row.reasons if reason.code != "quiet_hours"]
        tx.change(messages, row.seq, status=Status.QUEUED, reasons=others)
    return len(released)


_LAST = sa.tuple_(sa.bindparam("after", type_=Instant), sa.bindparam("last", type_=sa.String))

_RELEASED = (
    sa.select(messages.c.seq, messages.c.reasons)
    .where(is_released_by_itself(), messages.c.account_id == ACCOUNT_ID, messages.c.release_at <= NOW)
    .order_by(messages.c.release_at)
    .limit(AT_ONCE)
    .with_for_update()
)


def _accounts_with_facts() -> sa.Select[Any]:
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
        accounts,
        sa.exists()
        .where(of_account, is_released_by_itself(), messages.c.release_at <= NOW)
        .label("is_releasing"),
        sa.or_(sa.exists().where(of_account, is_open()), sa.exists().where(*of_held)).label("is_waiting"),
        sa.exists().where(*in_flight).label("is_in_flight"),
        reserved.scalar_subquery().label("reserved"),
        used("since_hour").label("hour"),
        used("since_day").label("day"),
    )


_FACTS = _accounts_with_facts()
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
    joined = sa.select(later, due).select_from(later.outerjoin(due, sa.true()))
    return joined.order_by(due.c.due_at, due.c.id)


_DUE = _due(sa.select(accounts.c.id, accounts.c.due_at))
_DUE_WITH_FACTS = _due(_FACTS)


def would_hold(tx: Transaction, policy: guards.GuardPolicy, ids: Iterable[str]) -> dict[str, guards.Verdict]:
    """Return which of these open messages the guards would hold if their turn came now. To be rehearsed."""
    verdicts = {
        row.id: _judge(tx, policy, row)
        for some in portions(ids)
        for row in tx.execute(with_opt_outs().where(messages.c.id.in_(some), is_open())).all()
    }
    return {id_: verdict for id_, verdict in verdicts.items() if verdict.holds}


def _judge(tx: Transaction, policy: guards.GuardPolicy, row: Row) -> guards.Verdict:
    """Ask the guards whose answer may change; only an opt-out stops a partly sent message."""
    around = guards.Circumstances(now=tx.now, opted_out=row.is_opted_out)
    if row.status == Status.QUEUED:
        _, replies = read_opt_outs(tx, [row.recipient]) if row.is_doubted else (set(), {})
        around = replace(
            around,
            possible_opt_out=replies.get((row.tracking_number, row.recipient)),
            waiting_since=_waiting_since(row),
            recipient=row.recipient,
        )
    verdict = guards.judge(policy, around, approved=row.approved)
    new = [warning for warning in verdict.warnings if warning not in row.reasons]
    if new:
        tx.change(messages, row.seq, reasons=(*row.reasons, *new))
    return verdict


def _waiting_since(row: Row) -> datetime:
    since: datetime = max(row.received_at, row.release_at or row.received_at)
    return since


def _begin(batch: _Batch, account: Account, row: Row, facts: _Facts) -> _Later | None:
    """
    Claim the next segment of *row* if no guard holds it and the whole message fits both windows.

    Otherwise return when it will fit; until then, those behind it wait, too.
    """
    tx, policy = batch.tx, batch.policy
    verdict = _judge(tx, policy.guards, row)
    if verdict.holds:
        batch.hold(row, verdict)
        return None
    waiting: list[tuple[int, str]] = []
    if row.is_cut:
        waiting = [(at, content) for at, content in tx.execute(_WAITING_SEGMENTS, {"of": row.seq})]
    if not waiting:
        # Split when its turn comes, by the length limit of now.
        limit = min(policy.max_characters, account.max_characters or policy.max_characters)
        waiting = list(enumerate(split_text(row.text, max_characters=limit), start=1))
    # A partly sent message has its room already.
    needed, kept = (1, 0) if row.status is Status.SENDING else (len(waiting), facts.reserved)
    used = (facts.hour, facts.day)
    windows_for = partial(read_windows, tx, account, policy.limits, used=used, kept=kept)
    hour, day = windows_for(needed=needed)
    if needed > min(hour.allowed, day.allowed) > 0:
        too_long = guards.too_long(needed, min(hour.allowed, day.allowed))
        batch.hold(row, guards.Verdict(holds=(too_long,)))
        return None
    free_at = last_of(hour.free_at, day.free_at)
    if free_at is not None:
        room_at = last_of(*(window.free_at for window in windows_for(needed=1)))
        if room_at is not None:
            return _Later(room_at, room_at)
        # A shorter one could be sent now, and may be once this one is too old or held.
        too_old_at = _waiting_since(row) + policy.guards.max_age + MICROSECOND
        return _Later(soonest(free_at, tx.now + ROOM_RETRY, too_old_at if too_old_at > tx.now else None))
    batch.begun.append((row, waiting))
    facts.hour, facts.day = facts.hour + 1, facts.day + 1
    facts.reserved += -1 if row.status is Status.SENDING else len(waiting) - 1
    return None


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
# Each id is returned with what it belongs to: databases return rows in no certain order.
_INSERT_SEGMENTS = sa.insert(segments).returning(segments.c.message_seq, segments.c.id, segments.c.status)
_INSERT_ATTEMPTS = sa.insert(attempts).returning(attempts.c.message_seq, attempts.c.id)


Due = tuple[datetime | None, datetime | None]


def newest_due(tx: Transaction) -> Due:
    """
    Return when the account, and the look-up, that came due last did so.

    Every change that lets a text be sent, or an outcome be looked up, writes to the store when that is due.
    So a sleeping process asks this once a second, and needs no other signal.
    """
    row = tx.execute(_NEWEST_DUE, {"now": tx.now}).one()
    return row[0], row[1]


def _newest(column: sa.Column[datetime]) -> sa.ScalarSelect[datetime]:
    return sa.select(sa.func.max(column)).where(column <= NOW).scalar_subquery()


_NEWEST_DUE = sa.select(_newest(accounts.c.due_at), _newest(attempts.c.next_lookup_at))
