"""
Shadow mode, and the requests that are passed on while another system sends.

Everything that depends on the mode locks it first, so on all nodes a change of the mode comes before or after
it: a request belongs to the old URL or to this relay, never to both.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.mapper import NewSubmission, RawSubmission
from callrail_relay.domain.message import Message, Reason, Status
from callrail_relay.domain.shadow import LEASE, Mode, Passed, PassOn, Shadow, State
from callrail_relay.errors import NotAllowed
from callrail_relay.outbox import sentence
from callrail_relay.outbox.columns import EPOCH
from callrail_relay.outbox.queries import with_segments
from callrail_relay.outbox.rows import from_row, look_at_all
from callrail_relay.outbox.tables import accounts, forwards, is_unfinished, messages, shadow, submissions
from callrail_relay.outbox.transaction import Row, Transaction


def read_shadow(tx: Transaction) -> Shadow:
    """Return the mode, and how many requests wait to be passed on."""
    waiting = tx.count(forwards, is_unfinished(), forwards.c.state == State.WAITING)
    return _shadow(tx, _MODE, waiting=waiting)


def lock_shadow(tx: Transaction) -> Shadow:
    """Return the mode, locked until the transaction ends; call it before taking any other lock."""
    return _shadow(tx, _LOCK_MODE)


def require_live(tx: Transaction) -> None:
    """Raise NotAllowed in shadow mode, where nothing may be queued."""
    if lock_shadow(tx).is_on:
        raise NotAllowed(sentence("in_shadow"))


def start(tx: Transaction, forward_to: str) -> None:
    """Pass on what comes in from now on; in shadow mode already, to this URL from now on."""
    _lock_others_out(tx)
    before = _shadow(tx, _MODE)
    since = before.since if before.is_on else tx.now
    tx.upsert(shadow, {"id": 1}, {"mode": Mode.SHADOW, "since": since, "forward_to": forward_to})


def switch(tx: Transaction, to: Mode) -> int | None:
    """
    Change the mode; None if it's that already, or no old URL is known yet.

    Going live holds what was certainly not passed on; returns how many texts. What is being passed on right
    now is settled when its try ends.
    """
    _lock_others_out(tx)
    other = sa.update(shadow).where(shadow.c.id == 1, shadow.c.mode != to)
    if not tx.execute(other.values(mode=to, since=tx.now)).rowcount:
        return None
    return 0 if to is Mode.SHADOW else _hold(tx, _waiting(tx))


def _lock_others_out(tx: Transaction) -> None:
    """Make others wait to lock the mode: a lock on the row alone would wait as long as they share it."""
    if not tx.is_sqlite:
        # Others may still read: pg_dump does so for as long as it runs.
        tx.connection.exec_driver_sql("LOCK TABLE shadow IN EXCLUSIVE MODE")


def add(tx: Transaction, batch: Iterable[NewSubmission], forward_to: str) -> list[PassOn | None]:
    """Add new requests of one transaction; return what to pass on at once, None for each that waits."""
    is_down = tx.scalar(_IS_DOWN)
    passing: list[PassOn | None] = []
    for one in batch:
        noted = {"submission_id": one.id, "state": State.WAITING, "received_at": tx.now, "tries": 0}
        [id_] = tx.execute(sa.insert(forwards), noted).inserted_primary_key or (0,)
        at_once = not is_down and tx.scalar(_IS_FREE, {"of": id_}) is not None
        passing.append(_take(tx, id_, forward_to) if at_once else None)
    return passing


def take_next(tx: Transaction, max_age: timedelta) -> PassOn | None:
    """
    Claim the request to pass on next; None if there is none.

    Tries whose lease ran out may have arrived. What waited longer than *max_age* is held.
    """
    mode = lock_shadow(tx)
    over = sa.update(forwards).where(is_unfinished(), forwards.c.lease_until <= tx.now)
    tx.execute(over.values(state=State.UNKNOWN, lease_until=None))
    if not mode.is_on or mode.forward_to is None:
        return None
    _hold(tx, [row for row in _waiting(tx) if row.received_at <= tx.now - max_age])
    id_ = tx.scalar(_NEXT)
    return None if id_ is None else _take(tx, id_, mode.forward_to)


def _take(tx: Transaction, id_: int, forward_to: str) -> PassOn:
    query = sa.select(forwards.c.tries, submissions).join_from(forwards, submissions)
    row = tx.execute(query.where(forwards.c.id == id_)).one()
    tries = row.tries + 1
    tx.change(forwards, id_, state=State.PASSING, tries=tries, lease_until=tx.now + LEASE)
    return PassOn(id=id_, tries=tries, url=forward_to, request=from_row(RawSubmission, row))


def record(tx: Transaction, id_: int, tries: int, passed: Passed) -> None:
    """Record the result of a try; if it didn't arrive and shadow mode has ended, its texts are held."""
    mode = lock_shadow(tx)
    query = sa.select(forwards).where(forwards.c.id == id_).with_for_update()
    row = tx.execute(query).one_or_none()
    if row is None or row.tries != tries or row.state not in (State.PASSING, State.UNKNOWN):
        return
    _end_try(tx, mode, row, passed)


def record_unstored(tx: Transaction, ended: Mapping[str, Passed]) -> None:
    """
    Record the results of passing on, by submission, if what seemed not to be stored is there after all.

    What was claimed again since it was stored is left to that try.
    """
    mode = lock_shadow(tx)
    query = sa.select(forwards).where(forwards.c.submission_id.in_(ended), is_unfinished())
    for row in tx.execute(query.order_by(forwards.c.id).with_for_update()).all():
        # Claimed by the transaction that stored it, whose answer nobody waited for.
        if row.state == State.WAITING or row.lease_until == row.received_at + LEASE:
            _end_try(tx, mode, row, ended[row.submission_id])


def _end_try(tx: Transaction, mode: Shadow, row: Row, passed: Passed) -> None:
    tx.change(forwards, row.id, state=passed.state, lease_until=None)
    if passed.state is State.WAITING and not mode.is_on:
        _hold(tx, [row])


def read_texts(tx: Transaction, since: datetime | None) -> list[Message]:
    """Return the texts of requests that came in shadow mode since then, in order."""
    query = sa.select(messages).join(forwards, messages.c.submission_id == forwards.c.submission_id)
    query = query.where(forwards.c.received_at >= (since or EPOCH))
    rows = tx.execute(query.order_by(forwards.c.received_at, messages.c.seq)).all()
    return with_segments(tx, rows)


def count_requests(tx: Transaction, since: datetime | None) -> tuple[datetime | None, dict[str, int]]:
    """Return when the first request since then came in shadow mode, and how many got how far."""
    query = sa.select(forwards.c.state, sa.func.count(), sa.func.min(forwards.c.received_at))
    query = query.where(forwards.c.received_at >= (since or EPOCH)).group_by(forwards.c.state)
    counts, first = dict.fromkeys(("forwarded", "refused", "unknown", "waiting"), 0), None
    for state, requests, at in tx.execute(query):
        counts[{State.HELD: "waiting", State.PASSING: "unknown"}.get(state, state)] += requests
        first = at if first is None else min(first, at)
    return first, counts


def _hold(tx: Transaction, rows: Sequence[Row]) -> int:
    """Hold the texts of these requests until a person lets the relay send them; return how many."""
    ids = [row.submission_id for row in rows]
    if not ids:
        return 0
    of_them = sa.and_(messages.c.submission_id.in_(ids), messages.c.status == Status.SHADOW)
    look_at_all(tx, accounts.c.id.in_(sa.select(messages.c.account_id).where(of_them)))
    texts = tx.execute(sa.select(messages.c.seq, messages.c.reasons).where(of_them)).all()
    for text in texts:
        others = [reason for reason in text.reasons if reason.code != "quiet_hours"]
        held = {"status": Status.HELD, "reasons": [Reason("not_passed_on"), *others]}
        # A person's decision on it covers its age, too.
        tx.change(messages, text.seq, **held, approved=["too_old"])
    tx.execute(sa.update(forwards).where(forwards.c.submission_id.in_(ids)).values(state=State.HELD))
    return len(texts)


def _waiting(tx: Transaction) -> Sequence[Row]:
    """Return the waiting requests, locked, so that only one node takes each."""
    query = sa.select(forwards).where(is_unfinished(), forwards.c.state == State.WAITING)
    return tx.execute(query.order_by(forwards.c.id).with_for_update()).all()


def _shadow(tx: Transaction, query: sa.Select[tuple[object]], waiting: int = 0) -> Shadow:
    row = tx.execute(query).one_or_none()
    return Shadow() if row is None else from_row(Shadow, row, waiting=waiting)


_MODE = sa.select(shadow).where(shadow.c.id == 1)
_LOCK_MODE = _MODE.with_for_update(read=True)
# Waiting requests with no earlier unfinished one to the same person.
_earlier, _theirs, _its = forwards.alias(), messages.alias(), messages.alias()
_behind = sa.exists().where(
    is_unfinished(_earlier),
    _earlier.c.id < forwards.c.id,
    _theirs.c.submission_id == _earlier.c.submission_id,
    _its.c.submission_id == forwards.c.submission_id,
    _its.c.recipient == _theirs.c.recipient,
)
_FREE = sa.select(forwards.c.id).where(is_unfinished(), forwards.c.state == State.WAITING, ~_behind)
_IS_FREE = _FREE.where(forwards.c.id == sa.bindparam("of"))
_failed = forwards.c.tries > sa.case((forwards.c.state == State.PASSING, 1), else_=0)
_IS_DOWN = sa.select(sa.exists().where(is_unfinished(), _failed))
# Locked, because another node may take it; what that one took is looked at again, and waits no more.
_NEXT = _FREE.order_by(forwards.c.id).limit(1).with_for_update(of=forwards)
