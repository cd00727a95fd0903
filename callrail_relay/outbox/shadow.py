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
from callrail_relay.outbox.queries import with_segments
from callrail_relay.outbox.rows import Row, change, count, from_row, look_at_all, upsert
from callrail_relay.outbox.tables import (
    EPOCH,
    accounts,
    forwards,
    is_unfinished,
    messages,
    shadow,
    submissions,
)


def read_shadow(connection: sa.Connection, _now: datetime) -> Shadow:
    """Return the mode, and how many requests wait to be passed on."""
    waiting = count(connection, forwards, is_unfinished(), forwards.c.state == State.WAITING)
    return _shadow(connection, _MODE, waiting=waiting)


def lock_shadow(connection: sa.Connection) -> Shadow:
    """Return the mode, locked until the transaction ends; call it before taking any other lock."""
    return _shadow(connection, _LOCK_MODE)


def require_live(connection: sa.Connection) -> None:
    """Raise NotAllowed in shadow mode, where nothing may be queued."""
    if lock_shadow(connection).is_on:
        raise NotAllowed(sentence("in_shadow"))


def start(connection: sa.Connection, now: datetime, forward_to: str) -> None:
    """Pass on what comes in from now on; in shadow mode already, to this URL from now on."""
    _lock_others_out(connection)
    before = _shadow(connection, _MODE)
    since = before.since if before.is_on else now
    upsert(connection, shadow, {"id": 1}, {"mode": Mode.SHADOW, "since": since, "forward_to": forward_to})


def switch(connection: sa.Connection, now: datetime, to: Mode) -> int | None:
    """
    Change the mode; None if it's that already, or no old URL is known yet.

    Going live holds what was certainly not passed on; returns how many texts. What is being passed on right
    now is settled when its try ends.
    """
    _lock_others_out(connection)
    other = sa.update(shadow).where(shadow.c.id == 1, shadow.c.mode != to)
    if not connection.execute(other.values(mode=to, since=now)).rowcount:
        return None
    return 0 if to is Mode.SHADOW else _hold(connection, now, _waiting(connection))


def _lock_others_out(connection: sa.Connection) -> None:
    """Make others wait to lock the mode: a lock on the row alone would wait as long as they share it."""
    if connection.dialect.name == "postgresql":
        # Others may still read: pg_dump does so for as long as it runs.
        connection.exec_driver_sql("LOCK TABLE shadow IN EXCLUSIVE MODE")


def add(
    connection: sa.Connection, now: datetime, batch: Iterable[NewSubmission], forward_to: str
) -> list[PassOn | None]:
    """Add new requests of one transaction; return what to pass on at once, None for each that waits."""
    is_down = connection.scalar(_IS_DOWN)
    passing: list[PassOn | None] = []
    for one in batch:
        noted = {"submission_id": one.id, "state": State.WAITING, "received_at": now, "tries": 0}
        [id_] = connection.execute(sa.insert(forwards), noted).inserted_primary_key or (0,)
        at_once = not is_down and connection.scalar(_IS_FREE, {"of": id_}) is not None
        passing.append(_take(connection, now, id_, forward_to) if at_once else None)
    return passing


def take_next(connection: sa.Connection, now: datetime, max_age: timedelta) -> PassOn | None:
    """
    Claim the request to pass on next; None if there is none.

    Tries whose lease ran out may have arrived. What waited longer than *max_age* is held.
    """
    mode = lock_shadow(connection)
    over = sa.update(forwards).where(is_unfinished(), forwards.c.lease_until <= now)
    connection.execute(over.values(state=State.UNKNOWN, lease_until=None))
    if not mode.is_on or mode.forward_to is None:
        return None
    _hold(connection, now, [row for row in _waiting(connection) if row.received_at <= now - max_age])
    id_ = connection.scalar(_NEXT)
    return None if id_ is None else _take(connection, now, id_, mode.forward_to)


def _take(connection: sa.Connection, now: datetime, id_: int, forward_to: str) -> PassOn:
    query = sa.select(forwards.c.tries, submissions).join_from(forwards, submissions)
    row = connection.execute(query.where(forwards.c.id == id_)).one()
    tries = row.tries + 1
    change(connection, forwards, id_, state=State.PASSING, tries=tries, lease_until=now + LEASE)
    return PassOn(id=id_, tries=tries, url=forward_to, request=from_row(RawSubmission, row))


def record(connection: sa.Connection, now: datetime, id_: int, tries: int, passed: Passed) -> None:
    """Record the result of a try; if it didn't arrive and shadow mode has ended, its texts are held."""
    mode = lock_shadow(connection)
    query = sa.select(forwards).where(forwards.c.id == id_).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None or row.tries != tries or row.state not in (State.PASSING, State.UNKNOWN):
        return
    _end_try(connection, now, mode, row, passed)


def record_unstored(connection: sa.Connection, now: datetime, ended: Mapping[str, Passed]) -> None:
    """
    Record the results of passing on, by submission, if what seemed not to be stored is there after all.

    What was claimed again since it was stored is left to that try.
    """
    mode = lock_shadow(connection)
    query = sa.select(forwards).where(forwards.c.submission_id.in_(ended), is_unfinished())
    for row in connection.execute(query.order_by(forwards.c.id).with_for_update()).all():
        # Claimed by the transaction that stored it, whose answer nobody waited for.
        if row.state == State.WAITING or row.lease_until == row.received_at + LEASE:
            _end_try(connection, now, mode, row, ended[row.submission_id])


def _end_try(connection: sa.Connection, now: datetime, mode: Shadow, row: Row, passed: Passed) -> None:
    change(connection, forwards, row.id, state=passed.state, lease_until=None)
    if passed.state is State.WAITING and not mode.is_on:
        _hold(connection, now, [row])


def read_texts(connection: sa.Connection, now: datetime, since: datetime | None) -> list[Message]:
    """Return the texts of requests that came in shadow mode since then, in order."""
    query = sa.select(messages).join(forwards, messages.c.submission_id == forwards.c.submission_id)
    query = query.where(forwards.c.received_at >= (since or EPOCH))
    rows = connection.execute(query.order_by(forwards.c.received_at, messages.c.seq)).all()
    return with_segments(connection, now, rows)


def count_requests(
    connection: sa.Connection, _now: datetime, since: datetime | None
) -> tuple[datetime | None, dict[str, int]]:
    """Return when the first request since then came in shadow mode, and how many got how far."""
    query = sa.select(forwards.c.state, sa.func.count(), sa.func.min(forwards.c.received_at))
    query = query.where(forwards.c.received_at >= (since or EPOCH)).group_by(forwards.c.state)
    counts, first = dict.fromkeys(("forwarded", "refused", "unknown", "waiting"), 0), None
    for state, requests, at in connection.execute(query):
        counts[{State.HELD: "waiting", State.PASSING: "unknown"}.get(state, state)] += requests
        first = at if first is None else min(first, at)
    return first, counts


def _hold(connection: sa.Connection, now: datetime, rows: Sequence[Row]) -> int:
    """Hold the texts of these requests until a person lets the relay send them; return how many."""
    ids = [row.submission_id for row in rows]
    if not ids:
        return 0
    of_them = sa.and_(messages.c.submission_id.in_(ids), messages.c.status == Status.SHADOW)
    look_at_all(connection, now, accounts.c.id.in_(sa.select(messages.c.account_id).where(of_them)))
    texts = connection.execute(sa.select(messages.c.seq, messages.c.reasons).where(of_them)).all()
    for text in texts:
        others = [reason for reason in text.reasons if reason.code != "quiet_hours"]
        held = {"status": Status.HELD, "reasons": [Reason("not_passed_on"), *others]}
        # A person's decision on it covers its age, too.
        change(connection, messages, text.seq, **held, approved=["too_old"])
    connection.execute(sa.update(forwards).where(forwards.c.submission_id.in_(ids)).values(state=State.HELD))
    return len(texts)


def _waiting(connection: sa.Connection) -> Sequence[Row]:
    """Return the waiting requests, locked, so that only one node takes each."""
    query = sa.select(forwards).where(is_unfinished(), forwards.c.state == State.WAITING)
    return connection.execute(query.order_by(forwards.c.id).with_for_update()).all()


def _shadow(connection: sa.Connection, query: sa.Select[tuple[object]], waiting: int = 0) -> Shadow:
    row = connection.execute(query).one_or_none()
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
