"""Reads messages by their ids, counts them, and reads the status of accounts."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.account import DAY, Account, Limits, drains_at
from callrail_relay.domain.delivery import RECENT, UNDONE, AccountStatus, Counts
from callrail_relay.domain.message import (
    OPEN,
    Actor,
    Attempt,
    Decision,
    Evidence,
    Message,
    Segment,
    Status,
    first_id,
)
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.outbox.budget import count_used, read_windows, used, uses, windows_since
from callrail_relay.outbox.rows import Row, count, from_row, last_of, number, portions, route_of
from callrail_relay.outbox.tables import (
    ACCOUNT_ID,
    accounts,
    attempts,
    decisions,
    evidence,
    is_open,
    is_released_by_itself,
    messages,
    opt_outs,
    segments,
    tallies,
)

SHORTEST_END = 6  # characters of an id's end that can stand for it, if only one message has them


def find_messages(connection: sa.Connection, now: datetime, *ids: str) -> list[Message]:
    """Return the messages with these ids, and all messages of submissions with these ids, in order."""
    rows: list[Row] = []
    for some in portions(ids):
        query = sa.select(messages).where(sa.or_(messages.c.id.in_(some), messages.c.submission_id.in_(some)))
        rows += connection.execute(query)
    return with_segments(connection, now, sorted(rows, key=lambda row: row.seq))


def find_ids(connection: sa.Connection, now: datetime, part: str, *, limit: int) -> list[str]:
    """Return ids of messages whose own or request's id starts with *part*, or ends with it (6 or more)."""
    patterns = [f"{part}%", *([f"%{part}"] if len(part) >= SHORTEST_END else [])]
    fits = [id_.like(one) for id_ in (messages.c.id, messages.c.submission_id) for one in patterns]
    query = sa.select(messages.c.id).where(sa.or_(*fits)).order_by(messages.c.seq.desc()).limit(limit)
    return list(connection.scalars(query))


_ACCEPTED = (
    sa.select(attempts.c.finished_at)
    .where(attempts.c.account_id == ACCOUNT_ID, attempts.c.counted_at.is_not(None))
    .where(attempts.c.outcome == OutcomeKind.SENT)
    .order_by(attempts.c.counted_at.desc())
    .limit(1)
)


def last_accepted(connection: sa.Connection, now: datetime, account_ids: Sequence[str]) -> datetime | None:
    """Return when CallRail accepted the newest text of these accounts."""
    return last_of(*(connection.scalar(_ACCEPTED, {"account_id": one}) for one in account_ids))


def with_segments(connection: sa.Connection, now: datetime, rows: Sequence[Row]) -> list[Message]:
    """Return the messages of these rows, in their order."""
    of_message: dict[int, list[Segment]] = defaultdict(list)
    decided: dict[int, list[Decision]] = defaultdict(list)
    for seqs in portions(row.seq for row in rows):
        _read_segments(connection, seqs, of_message)
        query = sa.select(decisions).where(decisions.c.message_seq.in_(seqs)).order_by(decisions.c.id)
        for row in connection.execute(query):
            actor = Actor(name=row.person, note=row.note)
            was = {name: (row.before or {}).get(name) for name in ("text", "recipient")}
            decision = from_row(Decision, row, actor=actor, overridden=row.reasons, **was)
            decided[row.message_seq].append(decision)
    blocked = _read_blocks(connection, now) if any(row.status in OPEN for row in rows) else {}

    def message(row: Row) -> Message:
        key = (row.tracking_number, row.recipient)
        return from_row(
            Message,
            row,
            route=None if row.account_id is None else route_of(row),
            segments=tuple(of_message[row.seq]),
            release_at=row.release_at if row.status == Status.HELD else None,
            decisions=tuple(decided[row.seq]),
            blocked_until=blocked.get(key) if row.status == Status.QUEUED else None,
        )

    return [message(row) for row in rows]


def _read_blocks(connection: sa.Connection, now: datetime) -> dict[tuple[str, str], datetime]:
    """Return the people whose texts wait for the look-up of an earlier one, and until when."""
    key = (attempts.c.tracking_number, attempts.c.recipient)
    blocking = (attempts.c.blocks_until.is_not(None), attempts.c.blocks_until > now)
    query = sa.select(*key, sa.func.max(attempts.c.blocks_until)).where(*blocking).group_by(*key)
    return {(number, recipient): until for number, recipient, until in connection.execute(query)}


def _read_segments(connection: sa.Connection, seqs: list[int], of_message: dict[int, list[Segment]]) -> None:
    of_these = segments.c.message_seq.in_(seqs)
    tried = attempts.c.segment_id.in_(sa.select(segments.c.id).where(of_these))
    learnt: dict[int, list[Evidence]] = defaultdict(list)
    query = sa.select(evidence).join(attempts, attempts.c.id == evidence.c.attempt_id).where(tried)
    for row in connection.execute(query.order_by(evidence.c.id)):
        learnt[row.attempt_id].append(from_row(Evidence, row))
    tries: dict[int, list[Attempt]] = defaultdict(list)
    for row in connection.execute(sa.select(attempts).where(tried).order_by(attempts.c.id)):
        tries[row.segment_id].append(from_row(Attempt, row, evidence=tuple(learnt[row.id])))
    for row in connection.execute(sa.select(segments).where(of_these).order_by(segments.c.position)):
        of_message[row.message_seq].append(from_row(Segment, row, attempts=tuple(tries[row.id])))


def count_by_status(connection: sa.Connection, now: datetime) -> dict[Status, int]:
    """Count the messages with each status, 0 if there are none."""
    query = sa.select(tallies.c.status, sa.func.sum(tallies.c.messages)).group_by(tallies.c.status)
    counted = {status: int(number) for status, number in connection.execute(query)}
    return {status: counted.get(status, 0) for status in Status}


def read_standings(
    connection: sa.Connection, now: datetime, account_ids: Sequence[str], limits: Limits
) -> list[AccountStatus]:
    """Return the status of each of *account_ids*, and of other accounts that texts wait for."""
    waiting = connection.scalars(_WAITED_FOR).all()
    known = {row.id: row for row in connection.execute(_KNOWN, windows_since(now))}
    return [
        _standing(connection, now, known.get(id_) or id_, limits, foreign=id_ not in account_ids)
        for id_ in dict.fromkeys([*account_ids, *sorted(waiting)])
    ]


def _standing(
    connection: sa.Connection, now: datetime, found: Row | str, limits: Limits, *, foreign: bool
) -> AccountStatus:
    """Return the status of an account: *found* is its row, or its id if only others texted from it."""
    if isinstance(found, str):
        account, so_far, pending = Account(id=found), count_used(connection, now, found), 0
    else:
        account = from_row(Account, found)
        so_far, pending = (found.hour, found.day), int(found.planned or 0) - found.gone
    hour, day = read_windows(connection, now, account, limits, used=so_far)
    account = account.current(now)
    begin = account.wait_until or now
    ends = None if foreign or account.paused_since is not None or pending <= 0 else begin
    if ends is not None and pending > min(hour.room, day.room):
        known = connection.scalars(_KNOWN_USES, {"account_id": account.id, "since": now - DAY}).all()
        allowed = limits.lowered(hour_allowed=account.hour_allowed, day_allowed=account.day_allowed)
        counted = sorted([*known, *account.used_by_others()])
        ends = drains_at(begin, pending=pending, counted=counted, limits=allowed)
    return AccountStatus(
        account=account, hour=hour, day=day, pending=pending, drains_at=ends, foreign=foreign
    )


_OPEN_TALLY = tallies.c.status.in_(OPEN)
_WAITED_FOR = sa.select(tallies.c.account_id).where(_OPEN_TALLY, tallies.c.messages > 0).distinct()
_PLANNED = sa.select(sa.func.sum(tallies.c.segments)).where(
    tallies.c.account_id == accounts.c.id, _OPEN_TALLY
)
# Of queued messages, only those that were split again have finished segments. Their status is compared as an
# expression, so that their own small index is used, not the one with thousands that wait.
_GONE = [
    number(
        messages.join(segments, segments.c.message_seq == messages.c.seq),
        messages.c.account_id == accounts.c.id,
        which,
        segments.c.status.not_in([Status.QUEUED, Status.SENDING]),
    )
    for which in (
        sa.and_(is_open(), messages.c.status == Status.SENDING),
        sa.and_(messages.c.status.concat("") == Status.QUEUED, messages.c.cut_to.is_not(None)),
    )
]
# All accounts in one statement: each index is asked once per account. The unsent segments of open messages
# are the planned ones without those gone.
_KNOWN = sa.select(
    accounts,
    used("since_hour", accounts.c.id).label("hour"),
    used("since_day", accounts.c.id).label("day"),
    _PLANNED.scalar_subquery().label("planned"),
    (_GONE[0] + _GONE[1]).label("gone"),
)
# What is in flight is among the pending.
_KNOWN_USES = sa.select(uses(attempts.c.finished_at.is_not(None)).c.at)


def read_counts(connection: sa.Connection, now: datetime) -> Counts:
    """Count the texts that aren't done, and those of the last day."""
    undone = {status: count(connection, messages, messages.c.status == status) for status in UNDONE}
    oldest = {status: at for status in UNDONE if (at := _oldest(connection, status)) is not None}
    # Ids are in order of time, and indexed. With GROUP BY, SQLite would read all messages instead.
    query = sa.select(messages.c.status).where(messages.c.id >= first_id(now - RECENT))
    found = Counter(connection.scalars(query))
    return Counts(
        undone=undone,
        oldest=oldest,
        recent={status: found[status] for status in Status},
        releasing=count(connection, messages, is_released_by_itself()),
        look_ups=count(connection, attempts, attempts.c.next_lookup_at.is_not(None)),
    )


def _oldest(connection: sa.Connection, status: Status) -> datetime | None:
    query = sa.select(messages.c.received_at).where(messages.c.status == status).order_by(messages.c.seq)
    return connection.scalar(query.limit(1))


def count_opt_outs(connection: sa.Connection, now: datetime) -> int:
    """Count the opt-outs."""
    return count(connection, opt_outs)
