"""Recording the outcome of attempts, and settling those that no process finished."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import sqlalchemy as sa

from callrail_relay.domain.account import Account
from callrail_relay.domain.delivery import RecordResult
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.opt_outs import Origin
from callrail_relay.domain.outcome import NotSent, Outcome, OutcomeKind, Rejected, Sent, Unknown, Usage
from callrail_relay.domain.reconcile import LookupPolicy, Settled
from callrail_relay.domain.retry import Consequence, decide
from callrail_relay.domain.segmentation import split_text
from callrail_relay.outbox.claim import count_used
from callrail_relay.outbox.inbound import after_outcome, place_replies
from callrail_relay.outbox.lookups import flagged_twice, settle_as_sent
from callrail_relay.outbox.opt_outs import add_opt_out
from callrail_relay.outbox.rows import (
    Row,
    change,
    change_account_of,
    look_at_all,
    status_of,
    write_account,
)
from callrail_relay.outbox.tables import Condition, attempts, callrail_texts, messages, segments

STOPPED = "the relay stopped, or lost its connection, while the text was being sent."


def record(
    connection: sa.Connection,
    now: datetime,
    attempt_id: int,
    outcome: Outcome,
    *,
    interval: timedelta,
    random: Random,
    lookups: LookupPolicy | None = None,
) -> RecordResult | Settled | None:
    """
    Settle an attempt once: its outcome, its segment, its message and its account change together.

    One that was settled before, as when its lease ran out, is not settled again: a late result only shows an
    unknown text to be sent, and changes nothing else (None).
    """
    account = change_account_of(connection, now, attempt_id)
    conversation_id = outcome.conversation_id if isinstance(outcome, Sent) else None
    asked = {"attempt_id": attempt_id, "conversation_id": conversation_id}
    known = connection.execute(_KNOWN, asked).one()
    consequence = decide(
        outcome, message_id=known.message_id, content=known.content, account=account, now=now, random=random
    )
    if known.sent_before:
        # An earlier sending turned out to have arrived while this one was under way: that is enough.
        consequence = replace(consequence, segment=Status.SENT, cut_to=None, reasons=())
    elif not isinstance(outcome, Sent) and known.whole_arrived:
        consequence = replace(consequence, segment=Status.CANCELLED, cut_to=None, reasons=())
    # CallRail may have counted it at the very end, so our window begins there.
    counted_at = now if consequence.costs_budget else None
    result = {"outcome": outcome.kind, "http_status": outcome.http_status, "detail": outcome.detail}
    ended = {"of": attempt_id, "finished_at": now, "counted_at": counted_at, **result}
    if connection.execute(_FINISH, ended).rowcount == 0:
        return _late(connection, now, attempt_id, outcome, interval)
    if isinstance(outcome, Unknown) and lookups is not None:
        # Later texts to that person wait for it.
        blocks_until = lookups.blocks_until(now)
        change(
            connection,
            attempts,
            attempt_id,
            next_lookup_at=now + lookups.ladder[0],
            blocks_until=blocks_until,
        )
    if consequence.cut_to is not None:
        _recut(connection, known, consequence.cut_to)
    else:
        connection.execute(_SET_SEGMENT, {"of": known.id, "status": consequence.segment})
    status = _record_message(connection, now, known, outcome, consequence, interval)
    if known.is_awaited:
        place_replies(connection, now, known.message_seq)
    twice = isinstance(outcome, Sent) and (known.sent_before or known.whole_arrived or known.piece_arrived)
    if twice:
        change(connection, messages, known.message_seq, reasons=flagged_twice(known.message_reasons))
    after = _corrected(connection, now, outcome, consequence, known)
    if after != account:
        write_account(connection, after)
    if consequence.opts_out:
        detail = outcome.detail if isinstance(outcome, Rejected) else ""
        words = f"CallRail said: {detail}"
        add_opt_out(connection, now, known.tracking_number, known.recipient, words, Origin.REFUSAL)
    settled = after_outcome(connection, now, attempt_id, outcome, interval) if known.is_told else None
    return RecordResult(
        message_id=known.message_id,
        account_before=account,
        account=after,
        position=known.position,
        outcome=outcome,
        status=status,
        twice=twice,
        settled=settled,
    )


def _known() -> sa.Select[Any]:
    """The segment of an attempt with its message, and all that may make its outcome more than it seems."""
    attempt_id = sa.bindparam("attempt_id", type_=sa.BigInteger)
    of_conversation = callrail_texts.c.conversation_id == sa.bindparam("conversation_id", type_=sa.Text)
    before, other = attempts.alias(), segments.alias()
    same_message = other.c.message_seq == segments.c.message_seq
    was_sent, arrived = before.c.outcome == OutcomeKind.SENT, other.c.status == Status.SENT

    def whether(label: str, *which: Condition) -> sa.Label[bool]:
        return sa.exists().where(*which).label(label)

    return (
        sa.select(
            segments,
            messages.c.id.label("message_id"),
            messages.c.reasons.label("message_reasons"),
            messages.c.cut_to.label("message_cut_to"),
            messages.c.tracking_number,
            messages.c.recipient,
            # An earlier attempt at it arrived.
            whether("sent_before", before.c.segment_id == segments.c.id, was_sent),
            # The longer segment that it is a piece of arrived, or the other way round.
            whether("whole_arrived", other.c.id == segments.c.replaces, arrived),
            whether("piece_arrived", same_message, other.c.replaces == segments.c.id, arrived),
            # It is not the only segment of its message.
            whether("has_others", same_message, other.c.id != segments.c.id),
            # Replies wait to learn whose the conversation of the outcome is.
            whether("is_awaited", of_conversation, callrail_texts.c.recipient.is_(None)),
            # CallRail's webhook reported a text that is taken for this attempt.
            whether("is_told", callrail_texts.c.attempt_id == attempt_id),
        )
        .join(segments, segments.c.id == attempts.c.segment_id)
        .join(messages, messages.c.seq == segments.c.message_seq)
        .where(attempts.c.id == attempt_id)
    )


_KNOWN = _known()
_STATUSES = sa.select(segments.c.status).where(segments.c.message_seq == sa.bindparam("message_seq"))
_FINISH = sa.update(attempts).where(attempts.c.id == sa.bindparam("of"), attempts.c.finished_at.is_(None))
_SET_SEGMENT = sa.update(segments).where(segments.c.id == sa.bindparam("of"))
_SET_MESSAGE = sa.update(messages).where(messages.c.seq == sa.bindparam("of"))


def settle_abandoned(
    connection: sa.Connection,
    now: datetime,
    *,
    node: str | None = None,
    interval: timedelta,
    random: Random,
    lookups: LookupPolicy | None = None,
) -> list[RecordResult]:
    """Settle attempts whose lease ran out as unknown; with *node*, which starts just now, all of its own."""
    abandoned = attempts.c.lease_until <= now
    if node is not None:
        look_at_all(connection, now)
        abandoned = sa.or_(abandoned, attempts.c.node == node)
    unknown = Unknown(STOPPED, own_fault=True)
    recorded = [
        record(connection, now, id_, unknown, interval=interval, random=random, lookups=lookups)
        for id_ in _open_attempts(connection, abandoned)
    ]
    return [one for one in recorded if isinstance(one, RecordResult)]


def settle_unsent(
    connection: sa.Connection,
    now: datetime,
    node: str,
    known: frozenset[int],
    outcome: NotSent,
    *,
    interval: timedelta,
    random: Random,
) -> list[RecordResult]:
    """Record *outcome* for every open attempt of *node* but those it knows of."""
    recorded = [
        record(connection, now, id_, outcome, interval=interval, random=random)
        for id_ in _open_attempts(connection, attempts.c.node == node)
        if id_ not in known
    ]
    return [one for one in recorded if isinstance(one, RecordResult)]


def _open_attempts(connection: sa.Connection, which: Condition) -> Sequence[int]:
    # By account first: locks are taken in one order everywhere.
    query = sa.select(attempts.c.id).where(attempts.c.finished_at.is_(None), which)
    return connection.scalars(query.order_by(attempts.c.account_id, attempts.c.id)).all()


def next_lease_end(connection: sa.Connection, now: datetime) -> datetime | None:
    """When the first attempt that is under way, on any node, is to be given up; None if there is none."""
    query = sa.select(sa.func.min(attempts.c.lease_until)).where(attempts.c.finished_at.is_(None))
    end: datetime | None = connection.scalar(query)
    return end


def _late(
    connection: sa.Connection, now: datetime, attempt_id: int, outcome: Outcome, interval: timedelta
) -> Settled | None:
    """What a result is worth that comes after its attempt was given up."""
    settled_as = connection.scalar(sa.select(attempts.c.outcome).where(attempts.c.id == attempt_id))
    if not isinstance(outcome, Sent) or settled_as != OutcomeKind.UNKNOWN:
        return None
    detail = "CallRail's answer came late: it accepted the text."
    settled = settle_as_sent(connection, now, attempt_id, detail, interval)
    of_it = messages.c.id == settled.message_id
    conversation = {"conversation_id": outcome.conversation_id, "thread_id": outcome.thread_id}
    connection.execute(sa.update(messages).where(of_it).values(conversation))
    return settled


def _recut(connection: sa.Connection, refused: Row, limit: int) -> None:
    """Cancel a segment that was refused for its length; shorter ones replace it and those after it."""
    change(connection, segments, refused.id, status=Status.CANCELLED)
    queued = (segments.c.message_seq == refused.message_seq, segments.c.status == Status.QUEUED)
    query = sa.select(segments.c.content).where(*queued).order_by(segments.c.position)
    later = connection.scalars(query).all()
    connection.execute(sa.delete(segments).where(*queued))
    its_own = split_text(refused.content, max_characters=limit)
    pieces = [*its_own, *(piece for content in later for piece in split_text(content, max_characters=limit))]
    rows = [
        {
            "message_seq": refused.message_seq,
            "position": refused.position + number,
            "content": content,
            "status": Status.QUEUED,
            "replaces": refused.id if number <= len(its_own) else None,
        }
        for number, content in enumerate(pieces, start=1)
    ]
    connection.execute(sa.insert(segments), rows)
    change(connection, messages, refused.message_seq, segment_count=rows[-1]["position"])


def _record_message(
    connection: sa.Connection,
    now: datetime,
    known: Row,
    outcome: Outcome,
    consequence: Consequence,
    interval: timedelta,
) -> Status:
    statuses: Sequence[str] = [consequence.segment]
    if known.has_others or consequence.cut_to is not None:
        statuses = connection.scalars(_STATUSES, {"message_seq": known.message_seq}).all()
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
        kept = [one for one in statuses if one != Status.CANCELLED]
        counts = {"sent": kept.count(Status.SENT), "segments": len(kept)}
        # Only part of the message was sent.
        incomplete = () if len(kept) == 1 else (Reason("incomplete", counts),)
        changes["reasons"] = (*known.message_reasons, *consequence.reasons, *incomplete)
    if status is Status.FAILED:
        queued = (segments.c.message_seq == known.message_seq, segments.c.status == Status.QUEUED)
        connection.execute(sa.update(segments).where(*queued).values(status=Status.CANCELLED))
    connection.execute(_SET_MESSAGE, {"of": known.message_seq, **changes})
    return status


def _corrected(
    connection: sa.Connection, now: datetime, outcome: Outcome, consequence: Consequence, known: Row
) -> Account:
    """The account after the consequence, with what CallRail's own headers say of its limits and its count."""
    account = consequence.account
    if isinstance(outcome, Sent) and known.message_cut_to is not None:
        # The shorter segment passed and the longer one did not, so the length was the reason.
        account = replace(account, max_characters=known.message_cut_to)
    usage = getattr(outcome, "usage", Usage())
    if usage == Usage():
        return account
    hour_used, day_used = count_used(connection, now, account.id)
    return account.corrected(usage, hour_used=hour_used, day_used=day_used, now=now)
