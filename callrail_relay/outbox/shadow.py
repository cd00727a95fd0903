"""
The mode, and the requests that are passed on while another system sends.

Everything that depends on the mode reads it first and locks it, so that a change of the mode comes before or
after each of them on all nodes: a request belongs to the old URL or to this relay, and never to both.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.mapper import NewSubmission, RawSubmission
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.shadow import (
    LEASE,
    MOST_OPEN,
    Answered,
    MayHaveArrived,
    Mode,
    NotPassed,
    Passed,
    PassOn,
    Shadow,
    State,
    Unfinished,
    goes_at_once,
    next_waiting,
    state_after,
)
from callrail_relay.domain.shadow_report import ShadowText
from callrail_relay.errors import NotAllowed
from callrail_relay.outbox.rows import Row, change, from_row, insert_into, look_at_all
from callrail_relay.outbox.tables import (
    NOW,
    Instant,
    accounts,
    forwards,
    is_unfinished,
    messages,
    polls,
    shadow,
    submissions,
)


def read_shadow(connection: sa.Connection, _now: datetime) -> Shadow:
    """The mode, and how many requests wait to be passed on."""
    row = connection.execute(_MODE).one_or_none()
    return Shadow() if row is None else _shadow(row, waiting=connection.scalar(_COUNT_WAITING) or 0)


def lock_shadow(connection: sa.Connection) -> Shadow:
    """The mode, which stays as it is until this transaction ends; to be called before all other locks."""
    row = connection.execute(_LOCK_MODE).one_or_none()
    return Shadow() if row is None else _shadow(row)


def require_live(connection: sa.Connection) -> None:
    """Raise NotAllowed in shadow, where nothing that would be sent may be queued."""
    if lock_shadow(connection).is_on:
        raise NotAllowed(
            "The relay runs in shadow mode, so it sends nothing. Run `callrail-relay shadow end` first."
        )


def start(connection: sa.Connection, now: datetime, forward_to: str) -> None:
    """Pass on what comes in from now on; in shadow already, to this URL from now on."""
    row = insert_into(connection, shadow).values(id=1, mode=Mode.SHADOW, since=now, forward_to=forward_to)
    since = sa.case((shadow.c.mode == Mode.SHADOW, shadow.c.since), else_=row.excluded.since)
    changed = {"mode": Mode.SHADOW, "since": since, "forward_to": forward_to}
    connection.execute(row.on_conflict_do_update(index_elements=["id"], set_=changed))


def resume(connection: sa.Connection, now: datetime) -> bool:
    """Go back into shadow with the URL that is known; False if none is, or it is in shadow already."""
    return connection.execute(_SWITCH, {"now": now, "from_": Mode.LIVE, "to": Mode.SHADOW}).rowcount == 1


def end(connection: sa.Connection, now: datetime) -> int | None:
    """
    Make the relay live, with what was certainly not passed on held; return how many texts.

    None if it is live already. What is being passed on at this instant is settled when its try ends.
    """
    if not connection.execute(_SWITCH, {"now": now, "from_": Mode.SHADOW, "to": Mode.LIVE}).rowcount:
        return None
    waiting = connection.execute(_OF_STATE, {"state": State.WAITING}).all()
    return _hold(connection, now, waiting)


def add(
    connection: sa.Connection, now: datetime, batch: Iterable[NewSubmission], forward_to: str
) -> list[PassOn | None]:
    """Note new requests of one transaction; return what to pass on at once, None for each that waits."""
    before = _unfinished(connection)
    passing: list[PassOn | None] = []
    for one in batch:
        people = frozenset(text.draft.recipient for text in one.messages if text.draft.recipient)
        at_once = goes_at_once(people, before)
        state = State.PASSING if at_once else State.WAITING
        lease = now + LEASE if at_once else None
        noted = {"submission_id": one.id, "state": state, "received_at": now, "tries": int(at_once)}
        [id_] = connection.execute(_ADD, noted | {"lease_until": lease}).inserted_primary_key or (0,)
        before.append(Unfinished(id=id_, state=state, failed=False, people=people))
        passing.append(PassOn(id=id_, url=forward_to, request=one) if at_once else None)
    return passing


def take_next(
    connection: sa.Connection, now: datetime, max_age: timedelta, passed_unstored: Collection[str] = ()
) -> PassOn | None:
    """
    Take the request to pass on next; None if none may be.

    Tries whose lease ran out may have arrived. What waited longer than *max_age* is held. Of those that were
    passed on though they seemed not to be stored, none is passed on again.
    """
    mode = lock_shadow(connection)
    over = {"detail": "The relay stopped before the answer."}
    connection.execute(_EXPIRE, {"now": now, "to": State.UNKNOWN} | over)
    if passed_unstored:
        connection.execute(_FORGET, {"ids": list(passed_unstored), "to": State.UNKNOWN})
    if not mode.is_on or mode.forward_to is None:
        return None
    waiting = connection.execute(_OF_STATE, {"state": State.WAITING}).all()
    if old := [row for row in waiting if row.received_at <= now - max_age]:
        _hold(connection, now, old)
    id_ = next_waiting(_unfinished(connection))
    if id_ is None:
        return None
    row = connection.execute(_REQUEST, {"of": id_}).one()
    tries = row.tries + 1
    change(connection, forwards, id_, state=State.PASSING, tries=tries, lease_until=now + LEASE)
    request = from_row(RawSubmission, row, body=bytes(row.body))
    return PassOn(id=id_, tries=tries, url=mode.forward_to, request=request)


def next_turn(connection: sa.Connection, now: datetime) -> datetime | None:
    """When there is something for ``take_next``: now, when a lease ends, or never as it stands."""
    unfinished = _unfinished(connection)
    if next_waiting(unfinished) is not None:
        return now
    return None if not unfinished else connection.scalar(_LEASE_ENDS)


def record(connection: sa.Connection, now: datetime, id_: int, tries: int, passed: Passed) -> int:
    """Record what came of a try; return how many texts are held, if it didn't arrive and the shadow ended."""
    mode = lock_shadow(connection)
    row = connection.execute(_LOCK_ONE, {"of": id_}).one_or_none()
    if row is None or row.tries != tries or row.state not in (State.PASSING, State.UNKNOWN):
        return 0
    known: dict[str, object] = {"state": state_after(passed), "lease_until": None, "detail": None}
    match passed:
        case Answered(status=status):
            known["http_status"] = status
        case NotPassed(detail=detail) | MayHaveArrived(detail=detail):
            known["detail"] = detail
    change(connection, forwards, id_, **known)
    return _hold(connection, now, [row]) if isinstance(passed, NotPassed) and not mode.is_on else 0


def read_texts(connection: sa.Connection, _now: datetime, since: datetime) -> list[ShadowText]:
    """The texts of requests that came in shadow since then, in their order."""
    rows = connection.execute(_TEXTS, {"since": since}).all()
    codes = ([one.code for one in row.reasons if one.code != "not_passed_on"] for row in rows)
    return [from_row(ShadowText, row, would_hold=tuple(one)) for row, one in zip(rows, codes, strict=True)]


def count_requests(
    connection: sa.Connection, _now: datetime, since: datetime
) -> tuple[datetime | None, dict[str, int]]:
    """When the first request since then came in shadow, and how many got how far."""
    counts, first = dict.fromkeys(("forwarded", "refused", "unknown", "waiting"), 0), None
    for state, count, at in connection.execute(_COUNTS, {"since": since}):
        counts[{State.HELD: "waiting", State.PASSING: "unknown"}.get(State(state), state)] += count
        first = at if first is None else min(first, at)
    return first, counts


def note_requests(connection: sa.Connection, now: datetime, account_id: str, requests: int) -> None:
    """Count requests to CallRail that were made to read what it shows."""
    noted = {"account_id": account_id, "company_id": "", "requests": requests}
    connection.execute(_NOTE, noted | {"began_at": now, "lease_until": now, "finished_at": now})


def _hold(connection: sa.Connection, now: datetime, rows: Sequence[Row]) -> int:
    """Hold the texts of these requests for a person, who may let the relay send them; return how many."""
    ids = [row.submission_id for row in rows]
    if not ids:
        return 0
    of_them = sa.and_(messages.c.submission_id.in_(ids), messages.c.status == Status.SHADOW)
    look_at_all(connection, now, accounts.c.id.in_(sa.select(messages.c.account_id).where(of_them)))
    texts = connection.execute(sa.select(messages.c.seq, messages.c.reasons).where(of_them)).all()
    for text in texts:
        others = [reason for reason in text.reasons if reason.code != "quiet_hours"]
        held = {"status": Status.HELD, "reasons": [Reason("not_passed_on"), *others]}
        # A person's word on it is also one on its age.
        change(connection, messages, text.seq, **held, approved=["too_old"])
    connection.execute(sa.update(forwards).where(forwards.c.submission_id.in_(ids)).values(state=State.HELD))
    return len(texts)


def _unfinished(connection: sa.Connection) -> list[Unfinished]:
    """The earliest requests that are not finished, MOST_OPEN at most, with their people."""
    rows = connection.execute(_UNFINISHED).all()
    people: dict[str, set[str]] = {row.submission_id: set() for row in rows}
    for submission_id, recipient in connection.execute(_PEOPLE, {"ids": list(people)}) if rows else ():
        people[submission_id].add(recipient)
    return [
        Unfinished(
            id=row.id,
            state=State(row.state),
            failed=row.tries > (row.state == State.PASSING),
            people=frozenset(people[row.submission_id]),
        )
        for row in rows
    ]


def _shadow(row: Row, waiting: int = 0) -> Shadow:
    return Shadow(mode=Mode(row.mode), since=row.since, forward_to=row.forward_to, waiting=waiting)


_OF_STATE = (
    sa.select(forwards)
    .where(is_unfinished, forwards.c.state == sa.bindparam("state"))
    .order_by(forwards.c.id)
    .with_for_update()
)
_COUNT_WAITING = sa.select(sa.func.count()).where(is_unfinished, forwards.c.state == State.WAITING)
_MODE = sa.select(shadow).where(shadow.c.id == 1)
_LOCK_MODE = _MODE.with_for_update(read=True)
_SWITCH = (
    sa.update(shadow)
    .where(shadow.c.id == 1, shadow.c.mode == sa.bindparam("from_"))
    .values(mode=sa.bindparam("to"), since=NOW)
)
_ADD = sa.insert(forwards)
_LEASE_ENDS = sa.select(sa.func.min(forwards.c.lease_until)).where(is_unfinished)
_UNFINISHED = (
    sa.select(forwards).where(is_unfinished).order_by(forwards.c.id).limit(sa.literal_column(str(MOST_OPEN)))
)
_PEOPLE = sa.select(messages.c.submission_id, messages.c.recipient).where(
    messages.c.submission_id.in_(sa.bindparam("ids", expanding=True)), messages.c.recipient.is_not(None)
)
_LOCK_ONE = sa.select(forwards).where(forwards.c.id == sa.bindparam("of")).with_for_update()
_EXPIRE = (
    sa.update(forwards)
    .where(is_unfinished, forwards.c.lease_until <= NOW)
    .values(state=sa.bindparam("to"), lease_until=None, detail=sa.bindparam("detail"))
)
_FORGET = (
    sa.update(forwards)
    .where(is_unfinished, forwards.c.state == sa.literal_column("'waiting'"))
    .where(forwards.c.submission_id.in_(sa.bindparam("ids", expanding=True)))
    .values(state=sa.bindparam("to"))
)
_TEXTS = (
    sa.select(messages)
    .join_from(forwards, messages, messages.c.submission_id == forwards.c.submission_id)
    .where(forwards.c.received_at >= sa.bindparam("since", type_=Instant))
    .order_by(forwards.c.received_at, messages.c.seq)
)
_COUNTS = (
    sa.select(forwards.c.state, sa.func.count(), sa.func.min(forwards.c.received_at))
    .where(forwards.c.received_at >= sa.bindparam("since", type_=Instant))
    .group_by(forwards.c.state)
)
_NOTE = sa.insert(polls)
_REQUEST = (
    sa.select(forwards.c.tries, submissions)
    .join_from(forwards, submissions)
    .where(forwards.c.id == sa.bindparam("of"))
)
