"""
Recording what an attempt came to, and settling the attempts that nobody finished.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import sqlalchemy as sa

from callrail_relay.domain.account import Account
from callrail_relay.domain.budget import DAY, HOUR
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import NotSent, Outcome, OutcomeKind, Rejected, Sent, Unknown, Usage
from callrail_relay.domain.reason import Reason
from callrail_relay.domain.reconcile import LookupPolicy, Settled
from callrail_relay.domain.retry import Consequence, decide
from callrail_relay.domain.segmentation import segments as cut
from callrail_relay.domain.standing import Recorded
from callrail_relay.domain.suppression import Origin
from callrail_relay.outbox import windows
from callrail_relay.outbox.callrail_texts import place
from callrail_relay.outbox.claiming import write_segments
from callrail_relay.outbox.lookups import (
    arrived_whole,
    flagged_twice,
    is_twice,
    sent_count,
    settle_as_sent,
)
from callrail_relay.outbox.progress import status_of
from callrail_relay.outbox.suppressing import suppress
from callrail_relay.outbox.tables import attempts, messages, segments
from callrail_relay.outbox.values import (
    Row,
    read_account,
    reasons_from_json,
    reasons_to_json,
    write_account,
)
from callrail_relay.outbox.witnessing import after_outcome

RELAY_STOPPED = Unknown(
    "the relay stopped, or lost its connection, while the text was on its way.", own_fault=True
)


def record(
    connection: sa.Connection,
    now: datetime,
    attempt_id: int,
    outcome: Outcome,
    *,
    interval: timedelta,
    random: Random,
    lookups: LookupPolicy | None = None,
) -> Recorded | Settled | None:
    """
    Settle an attempt once: its outcome, its segment, its message and its account change together.

    An attempt that was settled before, as happens when its lease ran out, is not settled again: a late
    result is evidence, which shows an unknown text to be sent, and else changes nothing (None).
    """
    attempt = connection.execute(_ATTEMPT, {"attempt_id": attempt_id}).one()
    account = read_account(connection, attempt.account_id, lock=True)
    segment = connection.execute(_SEGMENT, {"segment_id": attempt.segment_id}).one()
    consequence = decide(outcome, content=segment.content, account=account, now=now, random=random)
    if sent_count(connection, segment.id):
        # An earlier sending turned out to have arrived while this one was under way: that is enough.
        consequence = replace(consequence, segment=Status.SENT, cut_to=None, reasons=())
    elif not isinstance(outcome, Sent) and arrived_whole(connection, segment):
        consequence = replace(consequence, segment=Status.CANCELLED, cut_to=None, reasons=())
    if not _finish_attempt(connection, now, attempt_id, outcome, consequence):
        return _late(connection, now, attempt_id, outcome, interval)
    if isinstance(outcome, Unknown) and lookups is not None:
        _look_up(connection, now, attempt_id, lookups)
    message = connection.execute(_MESSAGE, {"message_seq": attempt.message_seq}).one()
    _record_segment(connection, segment, consequence)
    status = _record_message(connection, now, message, outcome, consequence, interval)
    if isinstance(outcome, Sent):
        place(connection, now, message.seq)
    twice = isinstance(outcome, Sent) and is_twice(connection, segment)
    if twice:
        _flag_twice(connection, message)
    after = _corrected(connection, now, outcome, consequence, message)
    if after != account:
        write_account(connection, after)
    if consequence.suppress:
        detail = outcome.detail if isinstance(outcome, Rejected) else ""
        words = f"CallRail said: {detail}"
        suppress(connection, now, message.tracking_number, message.recipient, words, Origin.REFUSAL)
    settled = after_outcome(connection, now, attempt_id, outcome, interval)
    return Recorded(
        message_id=message.id,
        account_before=account,
        account=after,
        position=segment.position,
        outcome=outcome,
        status=status,
        twice=twice,
        settled=settled,
    )


_ATTEMPT = sa.select(attempts.c.account_id, attempts.c.segment_id, attempts.c.message_seq).where(
    attempts.c.id == sa.bindparam("attempt_id")
)
_SEGMENT = sa.select(segments).where(segments.c.id == sa.bindparam("segment_id"))
_MESSAGE = sa.select(messages).where(messages.c.seq == sa.bindparam("message_seq"))
_STATUSES = sa.select(segments.c.status).where(segments.c.message_seq == sa.bindparam("message_seq"))
_FINISH = sa.update(attempts).where(attempts.c.id == sa.bindparam("of"), attempts.c.finished_at.is_(None))
_SET_SEGMENT = sa.update(segments).where(segments.c.id == sa.bindparam("of"))
_SET_MESSAGE = sa.update(messages).where(messages.c.seq == sa.bindparam("of"))


def settle_abandoned(
    connection: sa.Connection,
    now: datetime,
    *,
    node: str | None,
    interval: timedelta,
    random: Random,
    lookups: LookupPolicy | None = None,
) -> list[Recorded]:
    """
    Take every attempt whose lease ran out, and with *node* every open attempt of that node, as unknown.

    With *node* it is for the start of that node, when none of its own attempts can be under way.
    """
    abandoned = attempts.c.lease_until <= now
    if node is not None:
        abandoned = sa.or_(abandoned, attempts.c.node == node)
    query = (
        sa.select(attempts.c.id)
        .where(attempts.c.finished_at.is_(None), abandoned)
        # By account first: locks are taken in one order everywhere.
        .order_by(attempts.c.account_id, attempts.c.id)
    )
    recorded = (
        record(connection, now, attempt_id, RELAY_STOPPED, interval=interval, random=random, lookups=lookups)
        for attempt_id in connection.scalars(query).all()
    )
    return [one for one in recorded if isinstance(one, Recorded)]


def settle_unsent(
    connection: sa.Connection,
    now: datetime,
    node: str,
    known: frozenset[int],
    outcome: NotSent,
    *,
    interval: timedelta,
    random: Random,
) -> list[Recorded]:
    """
    Record *outcome* for every open attempt of *node* but those it knows of.
    """
    query = (
        sa.select(attempts.c.id)
        .where(attempts.c.finished_at.is_(None), attempts.c.node == node)
        .order_by(attempts.c.account_id, attempts.c.id)
    )
    recorded = (
        record(connection, now, attempt_id, outcome, interval=interval, random=random)
        for attempt_id in connection.scalars(query).all()
        if attempt_id not in known
    )
    return [one for one in recorded if isinstance(one, Recorded)]


def next_lease_end(connection: sa.Connection, now: datetime) -> datetime | None:
    """
    When the first attempt that is under way, on whatever node, is to be given up; None where none is.
    """
    query = sa.select(sa.func.min(attempts.c.lease_until)).where(attempts.c.finished_at.is_(None))
    end: datetime | None = connection.scalar(query)
    return end


def _finish_attempt(
    connection: sa.Connection, now: datetime, attempt_id: int, outcome: Outcome, consequence: Consequence
) -> bool:
    """
    Write the outcome where there is none yet; False where there is one.
    """
    changed = connection.execute(
        _FINISH,
        {
            "of": attempt_id,
            "finished_at": now,
            "outcome": outcome.kind,
            "http_status": outcome.http_status,
            "detail": outcome.detail,
            # CallRail may have counted it at the very end, so our window begins there.
            "counted_at": now if consequence.costs_budget else None,
        },
    )
    return changed.rowcount == 1


def _late(
    connection: sa.Connection, now: datetime, attempt_id: int, outcome: Outcome, interval: timedelta
) -> Settled | None:
    """
    What a result is worth that comes after its attempt was given up.
    """
    settled_as = connection.scalar(sa.select(attempts.c.outcome).where(attempts.c.id == attempt_id))
    if not isinstance(outcome, Sent) or settled_as != OutcomeKind.UNKNOWN:
        return None
    settled = settle_as_sent(
        connection, now, attempt_id, "CallRail's answer came late: it took the text.", interval
    )
    connection.execute(
        sa.update(messages)
        .where(messages.c.id == settled.message_id)
        .values(conversation_id=outcome.conversation_id, thread_id=outcome.thread_id)
    )
    return settled


def _flag_twice(connection: sa.Connection, message: Row) -> None:
    reasons = flagged_twice(reasons_from_json(message.reasons))
    connection.execute(
        sa.update(messages).where(messages.c.seq == message.seq).values(reasons=reasons_to_json(reasons))
    )


def _look_up(connection: sa.Connection, now: datetime, attempt_id: int, lookups: LookupPolicy) -> None:
    """
    Let the attempt be looked up, and later texts to that person wait for it.
    """
    connection.execute(
        sa.update(attempts)
        .where(attempts.c.id == attempt_id)
        .values(look_at=now + lookups.ladder[0], blocks_until=lookups.blocks_until(now))
    )


def _record_segment(connection: sa.Connection, segment: Row, consequence: Consequence) -> None:
    if consequence.cut_to is not None:
        _recut(connection, segment, consequence.cut_to)
        return
    connection.execute(_SET_SEGMENT, {"of": segment.id, "status": consequence.segment})


def _recut(connection: sa.Connection, refused: Row, limit: int) -> None:
    """
    Put shorter segments in the place of one that was refused for its length, and of those after it.

    The refused one stays, cancelled, with its attempt.
    """
    connection.execute(sa.update(segments).where(segments.c.id == refused.id).values(status=Status.CANCELLED))
    queued = (segments.c.message_seq == refused.message_seq, segments.c.status == Status.QUEUED)
    later = connection.scalars(
        sa.select(segments.c.content).where(*queued).order_by(segments.c.position)
    ).all()
    connection.execute(sa.delete(segments).where(*queued))
    its_own = cut(refused.content, limit)
    pieces = [*its_own, *(piece for content in later for piece in cut(content, limit))]
    write_segments(
        connection,
        refused.message_seq,
        list(enumerate(pieces, start=refused.position + 1)),
        replaces=refused.id,
        replacing=len(its_own),
    )


def _record_message(
    connection: sa.Connection,
    now: datetime,
    message: Row,
    outcome: Outcome,
    consequence: Consequence,
    interval: timedelta,
) -> Status:
    statuses = connection.scalars(_STATUSES, {"message_seq": message.seq}).all()
    status = status_of(statuses)
    changes: dict[str, object] = {"status": status}
    if isinstance(outcome, Sent):
        changes |= {"conversation_id": outcome.conversation_id, "thread_id": outcome.thread_id}
        changes["not_before"] = now + interval
    if status is Status.SENT:
        changes["sent_at"] = now
    if consequence.cut_to is not None:
        changes["cut_to"] = consequence.cut_to
    if consequence.reasons:
        reasons = (*reasons_from_json(message.reasons), *consequence.reasons, *_stopped(statuses))
        changes["reasons"] = reasons_to_json(reasons)
    if status is Status.FAILED:
        queued = (segments.c.message_seq == message.seq, segments.c.status == Status.QUEUED)
        connection.execute(sa.update(segments).where(*queued).values(status=Status.CANCELLED))
    connection.execute(_SET_MESSAGE, {"of": message.seq, **changes})
    return status


def _stopped(segment_statuses: Iterable[str]) -> tuple[Reason, ...]:
    """
    What to add where only a part of a message left.
    """
    statuses = [status for status in segment_statuses if status != Status.CANCELLED]
    if len(statuses) == 1:
        return ()
    sent = statuses.count(Status.SENT)
    return (
        Reason(
            "incomplete", f"{sent} of its {len(statuses)} segments had been sent; the rest does not leave."
        ),
    )


def _corrected(
    connection: sa.Connection, now: datetime, outcome: Outcome, consequence: Consequence, message: Row
) -> Account:
    """
    The account after the consequence, with what CallRail's own headers say of its limits and its count.
    """
    account = consequence.account
    if isinstance(outcome, Sent) and message.cut_to is not None:
        # The shorter segment passed where the longer one did not: the length was the reason.
        account = replace(account, max_characters=message.cut_to)
    usage = getattr(outcome, "usage", Usage())
    if usage == Usage():
        return account
    return account.corrected(
        usage,
        hour_used=windows.count_used(connection, account.id, now - HOUR),
        day_used=windows.count_used(connection, account.id, now - DAY),
        now=now,
    )
