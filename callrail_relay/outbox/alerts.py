"""Problems that the store shows, and open incidents, each reported by one node."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.alerts import FAILURE_WINDOW, Change, Incident, Level, Undecided, Week
from callrail_relay.domain.message import Status, Verb
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.outbox.columns import Condition
from callrail_relay.outbox.history import read_kept
from callrail_relay.outbox.rows import from_row
from callrail_relay.outbox.tables import attempts, decisions, incidents, messages, segments
from callrail_relay.outbox.transaction import Row, Transaction

_MOST = 10_000  # undecided texts to read, newest first; more than anyone would review


def read_undecided(tx: Transaction, longer_than: timedelta) -> Undecided:
    """Return since when held and unknown texts have waited for a person, if at least *longer_than*."""
    before = tx.now - longer_than
    held = sa.select(messages.c.received_at).where(
        messages.c.status == Status.HELD, messages.c.release_at.is_(None), messages.c.received_at <= before
    )
    became = sa.func.max(attempts.c.finished_at)
    unknown = (
        sa.select(became)
        .join_from(messages, segments, segments.c.message_seq == messages.c.seq)
        .join(attempts, attempts.c.segment_id == segments.c.id)
        .where(messages.c.status == Status.UNKNOWN, attempts.c.outcome == OutcomeKind.UNKNOWN)
        .group_by(messages.c.seq)
        .having(became <= before)
    )
    newest = messages.c.seq.desc()
    held_since = tuple(tx.scalars(held.order_by(newest).limit(_MOST)))
    unknown_since = tuple(tx.scalars(unknown.order_by(newest).limit(_MOST)))
    return Undecided(held=held_since, unknown=unknown_since)


def count_failures(tx: Transaction, account_ids: Iterable[str]) -> int:
    """Count the segments of these accounts that were rejected or became unknown within FAILURE_WINDOW."""
    number = sa.select(sa.func.count(sa.distinct(attempts.c.segment_id)))
    query = number.join(segments, segments.c.id == attempts.c.segment_id).where(
        # Both use budget, so its index finds them. What never reached CallRail isn't counted.
        attempts.c.account_id.in_(tuple(account_ids)),
        attempts.c.counted_at > tx.now - FAILURE_WINDOW,
        attempts.c.outcome.in_([OutcomeKind.REJECTED, OutcomeKind.UNKNOWN]),
        segments.c.status.in_([Status.FAILED, Status.UNKNOWN]),
    )
    return tx.scalar(query) or 0


def read_week(tx: Transaction, since: datetime, decision: int | None) -> Week:
    """Summarize what was sent since *since*, and what people decided after *decision*, if given."""
    newest: int = tx.scalar(sa.select(sa.func.max(decisions.c.id))) or 0
    # What was sent since then came in at most a month earlier.
    sent = (messages.c.received_at >= since - timedelta(days=30), messages.c.sent_at >= since)
    decided = sa.select(decisions.c.message_seq, decisions.c.verb).order_by(decisions.c.id)
    decided = decided.where(
        decisions.c.id > (newest if decision is None else decision), decisions.c.id <= newest
    )
    last = {row.message_seq: row.verb for row in tx.execute(decided)}
    kept = read_kept(tx, since)
    return Week(
        since=since.isoformat(),
        sent=tx.count(messages, *sent),
        lost=kept.lost,
        doubled=kept.doubled,
        reviewed=sum(verb != Verb.UNDO for verb in last.values()),
        decision=newest,
    )


def read_incidents(tx: Transaction) -> list[Incident]:
    """Return every incident that is open, or whose end wasn't reported yet."""
    query = sa.select(incidents).order_by(incidents.c.opened_at, incidents.c.key)
    return [_incident(row) for row in tx.execute(query)]


def _incident(row: Row) -> Incident:
    in_hand = row.telling_until is not None and row.told_at is None
    return from_row(Incident, row, parameters=json.loads(row.detail), in_hand=in_hand)


def change_incidents(tx: Transaction, changes: Iterable[Change]) -> None:
    """Apply these changes, except to incidents that another node changed meanwhile."""
    for change in changes:
        before, after = change.before, change.after
        if after is None:
            if before is not None:
                tx.execute(sa.delete(incidents).where(_same(before)))
            continue
        values = {
            "level": after.level,
            "detail": json.dumps(dict(after.parameters)),
            "opened_at": after.opened_at,
            # An alert may have been sent before; that stays on record.
            "telling_until": tx.now if after.in_hand else None,
            "told_at": after.told_at,
        }
        if before is None:
            new = tx.insert_into(incidents).values(key=after.key, **values)
            tx.execute(new.on_conflict_do_nothing())
        else:
            tx.execute(sa.update(incidents).where(_same(before)).values(**values))


def claim_alerts(tx: Transaction, lease: timedelta) -> list[Incident]:
    """Claim every alert that is due; no other process takes it before *lease* is over."""
    free = sa.or_(incidents.c.telling_until.is_(None), incidents.c.telling_until <= tx.now)
    query = sa.select(incidents).where(incidents.c.told_at.is_(None), free)
    query = query.order_by(incidents.c.opened_at, incidents.c.key).with_for_update(skip_locked=True)
    claimed = [_incident(row) for row in tx.execute(query)]
    put_off(tx, claimed, tx.now + lease)
    return claimed


def put_off(tx: Transaction, claimed: Iterable[Incident], until: datetime) -> None:
    """Keep all processes from sending these before *until*."""
    for one in claimed:
        tx.execute(sa.update(incidents).where(_same(one)).values(telling_until=until))


def mark_reported(tx: Transaction, claimed: Sequence[Incident]) -> None:
    """Mark these as reported and delete those that ended; one that changed meanwhile is reported again."""
    for one in claimed:
        if one.level is Level.OVER:
            tx.execute(sa.delete(incidents).where(_same(one)))
        else:
            tx.execute(sa.update(incidents).where(_same(one)).values(told_at=tx.now, telling_until=None))


def _same(incident: Incident) -> Condition:
    """Whether the incident is unchanged since it was read, no matter which node is about to report it."""
    return sa.and_(
        incidents.c.key == incident.key,
        incidents.c.level == incident.level,
        incidents.c.opened_at == incident.opened_at,
        incidents.c.told_at.is_not_distinct_from(incident.told_at),
    )
