"""Reads what the dashboard shows; each statement costs the same however many texts are stored."""

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain import views
from callrail_relay.domain.account import DAY, HOUR
from callrail_relay.domain.inbound import Direction
from callrail_relay.domain.message import OPEN, MessageFilter, Source, Status
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.outbox.columns import ACCOUNT_ID, EPOCH, MICROSECOND, Condition, Instant
from callrail_relay.outbox.opt_outs import is_opted_out
from callrail_relay.outbox.queries import find_page, first_since
from callrail_relay.outbox.rows import from_row, latest, number, of_pair, portions
from callrail_relay.outbox.tables import (
    accounts,
    attempts,
    callrail_texts,
    decisions,
    evidence,
    forwards,
    is_released_by_itself,
    messages,
    opt_outs,
    submissions,
    tallies,
)
from callrail_relay.outbox.transaction import Transaction

MEDIAN_OF = 500  # the newest sent texts, whose median time to send is shown
FAILED_LATELY = timedelta(days=1)  # how long a failed text counts as waiting for a person
PILE = 10  # texts of one kind to show; the others are only counted

_TO_THEM = of_pair(opt_outs, messages.c.tracking_number, messages.c.recipient)
_OPTED_OUT = sa.exists().where(*_TO_THEM).correlate(messages).label("opted_out")
_COLUMNS = [messages.c[one.name] for one in fields(views.MessageSummary) if one.name in messages.c]
_SUMMARIES: sa.Select[Any] = sa.select(*_COLUMNS, _OPTED_OUT).order_by(messages.c.seq.desc())


def read_frees_at(tx: Transaction, account_ids: Sequence[str]) -> dict[str, views.FreesAt]:
    """Return when the oldest use of each account's hour and day ends, if there is one."""

    def frees_at(account_id: str, length: timedelta) -> datetime | None:
        first = tx.scalar(_OLDEST, {"account_id": account_id, "since": tx.now - length})
        return first and first + length

    return {id_: (frees_at(id_, HOUR), frees_at(id_, DAY)) for id_ in account_ids}


_OLDEST: sa.Select[datetime] = sa.select(sa.func.min(attempts.c.counted_at)).where(
    attempts.c.account_id == ACCOUNT_ID, attempts.c.counted_at > sa.bindparam("since", type_=Instant)
)


def any_sent(tx: Transaction) -> bool:
    return bool(tx.scalar(_SENT))


def last_from_if3(tx: Transaction) -> datetime | None:
    """Return when IF3 posted the newest text, whether or not it could be sent."""
    newest = sa.select(sa.func.max(submissions.c.received_at)).where(submissions.c.source == Source.WEBHOOK)
    found: datetime | None = tx.scalar(newest)
    return found


class _Kind:
    """One kind of waiting text: how to read the newest ones, and how to count them."""

    def __init__(self, *which: Condition, count: sa.ScalarSelect[int] | None = None) -> None:
        """*count* is how many meet these conditions, if that's known without reading them."""
        self.rows = _SUMMARIES.where(*which).limit(sa.bindparam("shown"))
        self.count = number(messages, *which) if count is None else count


def _tallied(*statuses: Status) -> sa.ScalarSelect[int]:
    """SQL for how many texts have one of *statuses*, from the tallies."""
    total = sa.cast(sa.func.coalesce(sa.func.sum(tallies.c.messages), 0), sa.BigInteger)
    return sa.select(total).where(tallies.c.status.in_(statuses)).scalar_subquery()


def _all_but(status: Status, others: _Kind) -> sa.ScalarSelect[int]:
    return sa.select(_tallied(status) - others.count).scalar_subquery()


_LOOKED_UP = messages.c.seq.in_(
    sa.select(attempts.c.message_seq).where(attempts.c.next_lookup_at.is_not(None))
)
_FROM_FIRST = messages.c.seq >= sa.bindparam("first", type_=sa.BigInteger)
_HELD, _UNKNOWN = messages.c.status == Status.HELD, messages.c.status == Status.UNKNOWN
RELEASED_LATER = _Kind(is_released_by_itself())
HELD = _Kind(_HELD, messages.c.release_at.is_(None), count=_all_but(Status.HELD, RELEASED_LATER))
LOOKED_UP = _Kind(_UNKNOWN, _LOOKED_UP)
UNKNOWN = _Kind(_UNKNOWN, ~_LOOKED_UP, count=_all_but(Status.UNKNOWN, LOOKED_UP))
FAILED = _Kind(messages.c.status == Status.FAILED, _FROM_FIRST)
_FOR_PERSON = sa.select(HELD.count + UNKNOWN.count + FAILED.count)
_QUEUED, _SENT = sa.select(_tallied(*OPEN)), sa.select(_tallied(Status.SENT))


def read_waiting(tx: Transaction, shown: int = PILE) -> views.Waiting:
    """Read what waits for a person or by itself; *shown* rows of each kind that waits for a person."""
    found = _pile(tx, LOOKED_UP)
    first = first_since(tx, tx.now - FAILED_LATELY)
    return views.Waiting(
        held=_pile(tx, HELD, shown),
        unknown=_pile(tx, UNKNOWN, shown),
        failed=_pile(tx, FAILED, shown, first=first),
        looked_up=replace(found, rows=tuple(replace(row, looked_up=True) for row in found.rows)),
        released_later=_pile(tx, RELEASED_LATER),
        queued=int(tx.scalar(_QUEUED) or 0),
    )


def _pile(tx: Transaction, kind: _Kind, shown: int = PILE, **parameters: int | None) -> views.Bucket:
    found = tx.execute(kind.rows, {"shown": shown, **parameters})
    rows = tuple(from_row(views.MessageSummary, row) for row in found)
    all_shown = len(rows) < shown
    count = len(rows) if all_shown else tx.scalar(sa.select(kind.count), parameters)
    return views.Bucket(count=int(count or 0), rows=rows)


def count_for_person(tx: Transaction) -> int:
    """Count the texts that wait for a person, as ``read_waiting`` does."""
    first = first_since(tx, tx.now - FAILED_LATELY)
    return int(tx.scalar(_FOR_PERSON, {"first": first}) or 0)


def read_rows(tx: Transaction, ids: Sequence[str]) -> list[views.MessageSummary]:
    """Return the messages with these ids, newest first; unknown ids are left out."""
    found = (tx.execute(_SUMMARIES.where(messages.c.id.in_(some))) for some in portions(ids))
    rows = (from_row(views.MessageSummary, row) for some in found for row in some)
    return sorted(rows, key=lambda row: row.seq, reverse=True)


def read_today(tx: Transaction, midnight: datetime) -> views.Today:
    """Count what was sent and answered since *midnight*."""
    # What was sent today was attempted since yesterday, however long a person let it wait.
    tried = sa.select(attempts.c.message_seq).where(
        attempts.c.account_id.in_(sa.select(accounts.c.id)), attempts.c.counted_at >= midnight - DAY
    )
    sent = (messages.c.seq.in_(tried), messages.c.sent_at >= midnight)
    replied = (callrail_texts.c.direction == Direction.IN, callrail_texts.c.received_at >= midnight)
    latest_sent = sa.select(messages.c.received_at, messages.c.sent_at).where(
        messages.c.sent_at.is_not(None), messages.c.received_at > tx.now - DAY
    )
    newest = tx.execute(latest_sent.order_by(messages.c.received_at.desc()).limit(MEDIAN_OF))
    took = [(sent_at - came_at).total_seconds() for came_at, sent_at in newest]
    return views.Today(
        sent=tx.count(messages, *sent),
        replies=tx.count(callrail_texts, *replied),
        median_seconds=median(took) if took else None,
    )


def read_kept(tx: Transaction, since: datetime) -> views.Kept:
    """Whether every request since *since* has its message, and every segment was sent once."""
    message = sa.exists().where(messages.c.submission_id == submissions.c.id)
    # In shadow mode a request without new texts is stored as well, to be passed on.
    passed_on = sa.exists().where(forwards.c.submission_id == submissions.c.id)
    twice = sa.select(attempts.c.segment_id).where(
        attempts.c.account_id.in_(sa.select(accounts.c.id)),
        attempts.c.counted_at >= since,
        attempts.c.outcome == OutcomeKind.SENT,
    )
    twice = twice.group_by(attempts.c.segment_id).having(sa.func.count() > 1)
    kept = (submissions.c.retired_at.is_(None), submissions.c.received_at >= since)
    return views.Kept(
        lost=tx.count(submissions, *kept, ~message, ~passed_on), doubled=tx.count(twice.subquery())
    )


def read_arrivals(tx: Transaction, since: datetime, until: datetime | None) -> tuple[views.Arrivals, ...]:
    """Count the texts that came in from *since* to before *until*, by quarter hour and status."""
    length = sa.literal(views.QUARTER // MICROSECOND, sa.BigInteger, literal_execute=True)
    quarter = (sa.type_coerce(messages.c.received_at, sa.BigInteger) // length).label("quarter")
    query = sa.select(quarter, messages.c.status, sa.func.count()).where(messages.c.received_at >= since)
    if until is not None:
        query = query.where(messages.c.received_at < until)
    return tuple(
        views.Arrivals(begins=EPOCH + int(number) * views.QUARTER, status=status, count=count)
        for number, status, count in tx.execute(query.group_by(quarter, messages.c.status))
    )


def read_page(tx: Transaction, wanted: MessageFilter) -> views.Page[views.MessageSummary]:
    """Return the next page; words are searched for in LOOKED_THROUGH texts at a time."""
    rows, older, searched_to = find_page(tx, _SUMMARIES, wanted)
    summaries = tuple(from_row(views.MessageSummary, row) for row in rows)
    return views.Page(summaries, older, searched_to)


def read_conversation(
    tx: Transaction, tracking_number: str, recipient: str, before: datetime | None, limit: int
) -> views.Conversation:
    """Return the latest *limit* texts between a person and one of our numbers, before *before* if given."""
    ours = sa.select(messages).where(*of_pair(messages, tracking_number, recipient))
    # What the person wrote, and what others sent from our number.
    written_at = callrail_texts.c.written_at
    theirs = sa.select(written_at, callrail_texts.c.direction, callrail_texts.c.content).where(
        *of_pair(callrail_texts, tracking_number, recipient),
        sa.or_(callrail_texts.c.direction == Direction.IN, callrail_texts.c.attempt_id.is_(None)),
    )
    if before is not None:
        ours, theirs = ours.where(messages.c.received_at < before), theirs.where(written_at < before)
    said = [
        views.ChatMessage(
            at=row.received_at, inbound=False, content=row.text, message_id=row.id, status=row.status
        )
        for row in tx.execute(ours.order_by(messages.c.seq.desc()).limit(limit + 1))
    ]
    said += [
        views.ChatMessage(at=row.written_at, inbound=row.direction == Direction.IN, content=row.content)
        for row in tx.execute(theirs.order_by(written_at.desc()).limit(limit + 1))
    ]
    said.sort(key=lambda one: one.at)
    shown = said[-limit:]
    return views.Conversation(
        recipient=recipient,
        tracking_number=tracking_number,
        seller=tx.scalar(latest(messages.c.seller, messages.c.recipient == recipient)),
        messages=tuple(shown),
        older=shown[0].at if len(said) > limit else None,
        opted_out=is_opted_out(tx, tracking_number, recipient),
    )


def read_marker(tx: Transaction) -> str:
    """Return a value that changes with everything a page could show, read from the ends of indexes."""
    stopped = [tuple(row) for row in tx.execute(_STOPPED)]
    seen = repr((tuple(tx.execute(_MARKER).one()), stopped))
    return hashlib.blake2b(seen.encode(), digest_size=8).hexdigest()


def _newest(column: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    return sa.select(sa.func.max(column)).scalar_subquery()


# Accounts of which a page shows more than their limits.
_STOPPED = (
    sa.select(accounts)
    .where(sa.or_(accounts.c.paused_since.is_not(None), accounts.c.wait_until.is_not(None)))
    .order_by(accounts.c.id)
)
_MARKER = sa.select(
    _newest(messages.c.seq),
    _newest(attempts.c.id),
    _newest(evidence.c.id),
    _newest(decisions.c.id),
    _newest(callrail_texts.c.received_at),
    # By account, so that the index of what is in flight is used.
    number(attempts, attempts.c.account_id > "", attempts.c.finished_at.is_(None)),
    number(opt_outs),
    *(
        number(messages, messages.c.status == sa.literal(status, literal_execute=True))
        for status in (Status.HELD, Status.UNKNOWN, *OPEN)
    ),
    number(accounts),
    _newest(accounts.c.excess_at),
    *(
        sa.select(sa.func.sum(accounts.c[name])).scalar_subquery()
        for name in ("hour_allowed", "day_allowed", "hour_excess", "day_excess")
    ),
)
