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
from callrail_relay.domain.outcome import Outcome, Rejected, Sent, Unknown, Usage
from callrail_relay.domain.reason import Reason
from callrail_relay.domain.retry import Decision, decide
from callrail_relay.domain.segmentation import segments as cut
from callrail_relay.domain.standing import Recorded
from callrail_relay.outbox import windows
from callrail_relay.outbox.claiming import write_segments
from callrail_relay.outbox.operations import suppress
from callrail_relay.outbox.tables import attempts, messages, segments
from callrail_relay.outbox.values import (
    Row,
    read_account,
    reasons_from_json,
    reasons_to_json,
    write_account,
)

RELAY_STOPPED = Unknown("the relay stopped, or lost its connection, while the text was on its way.")


def record(
    connection: sa.Connection,
    now: datetime,
    attempt_id: int,
    outcome: Outcome,
    *,
    interval: timedelta,
    random: Random,
) -> Recorded | None:
    """
    Settle an attempt once: its outcome, its segment, its message and its account change together.

    None when the attempt was settled before, as happens when its lease ran out: a late
    result changes nothing.
    """
    attempt = connection.execute(
        sa.select(attempts.c.account_id, attempts.c.segment_id, attempts.c.message_seq).where(
            attempts.c.id == attempt_id
        )
    ).one()
    account = read_account(connection, attempt.account_id, lock=True)
    segment = connection.execute(sa.select(segments).where(segments.c.id == attempt.segment_id)).one()
    decision = decide(outcome, content=segment.content, account=account, now=now, random=random)
    if not _finish_attempt(connection, now, attempt_id, outcome, decision):
        return None
    message = connection.execute(sa.select(messages).where(messages.c.seq == attempt.message_seq)).one()
    _record_segment(connection, segment, decision)
    status = _record_message(connection, now, message, outcome, decision, interval)
    after = _corrected(connection, now, outcome, decision, message)
    write_account(connection, after)
    if decision.suppress:
        detail = outcome.detail if isinstance(outcome, Rejected) else ""
        suppress(connection, now, message.tracking_number, message.recipient, f"CallRail said: {detail}")
    return Recorded(
        message_id=message.id,
        account_before=account,
        account=after,
        position=segment.position,
        outcome=outcome,
        status=status,
    )


def settle_abandoned(
    connection: sa.Connection,
    now: datetime,
    *,
    node: str | None,
    interval: timedelta,
    random: Random,
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
        record(connection, now, attempt_id, RELAY_STOPPED, interval=interval, random=random)
        for attempt_id in connection.scalars(query).all()
    )
    return [one for one in recorded if one is not None]


def next_lease_end(connection: sa.Connection, now: datetime) -> datetime | None:
    """
    When the first of the open leases runs out, of whichever node; None when nothing is in flight.
    """
    query = sa.select(sa.func.min(attempts.c.lease_until)).where(attempts.c.finished_at.is_(None))
    ends: datetime | None = connection.scalar(query)
    return ends


def _finish_attempt(
    connection: sa.Connection, now: datetime, attempt_id: int, outcome: Outcome, decision: Decision
) -> bool:
    """
    Write the outcome where there is none yet; False where there is one.
    """
    changed = connection.execute(
        sa.update(attempts)
        .where(attempts.c.id == attempt_id, attempts.c.finished_at.is_(None))
        .values(
            finished_at=now,
            outcome=outcome.kind,
            http_status=outcome.http_status,
            detail=outcome.detail,
            # CallRail may have counted it at the very end, so our window begins there.
            counted_at=now if decision.costs_budget else None,
        )
    )
    return changed.rowcount == 1


def _record_segment(connection: sa.Connection, segment: Row, decision: Decision) -> None:
    if decision.cut_to is not None:
        _recut(connection, segment, decision.cut_to)
        return
    connection.execute(sa.update(segments).where(segments.c.id == segment.id).values(status=decision.segment))


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
    pieces = [piece for content in (refused.content, *later) for piece in cut(content, limit)]
    write_segments(connection, refused.message_seq, list(enumerate(pieces, start=refused.position + 1)))


def _record_message(
    connection: sa.Connection,
    now: datetime,
    message: Row,
    outcome: Outcome,
    decision: Decision,
    interval: timedelta,
) -> Status:
    statuses = connection.scalars(
        sa.select(segments.c.status).where(segments.c.message_seq == message.seq)
    ).all()
    status = _message_status(statuses)
    changes: dict[str, object] = {"status": status}
    if isinstance(outcome, Sent):
        changes |= {"conversation_id": outcome.conversation_id, "thread_id": outcome.thread_id}
        changes["not_before"] = now + interval
    if status is Status.SENT:
        changes["sent_at"] = now
    if decision.cut_to is not None:
        changes["cut_to"] = decision.cut_to
    if decision.reasons:
        reasons = (*reasons_from_json(message.reasons), *decision.reasons, *_stopped(statuses))
        changes["reasons"] = reasons_to_json(reasons)
    if status is Status.FAILED:
        queued = (segments.c.message_seq == message.seq, segments.c.status == Status.QUEUED)
        connection.execute(sa.update(segments).where(*queued).values(status=Status.CANCELLED))
    connection.execute(sa.update(messages).where(messages.c.seq == message.seq).values(changes))
    return status


def _message_status(segment_statuses: Iterable[str]) -> Status:
    """
    The status of a message whose segments have these; cancelled ones were replaced by shorter ones.
    """
    present = {Status(status) for status in segment_statuses} - {Status.CANCELLED}
    for status in (Status.FAILED, Status.UNKNOWN, Status.SENDING):
        if status in present:
            return status
    if present == {Status.SENT}:
        return Status.SENT
    # With some segments gone it stays under way; with none gone it waits for its turn as a whole.
    return Status.SENDING if Status.SENT in present else Status.QUEUED


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
    connection: sa.Connection, now: datetime, outcome: Outcome, decision: Decision, message: Row
) -> Account:
    """
    The account after the decision, with what CallRail's own headers say of its limits and its count.
    """
    account = decision.account
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
