"""
Telling which of our attempts a text is that CallRail says went out.

Each such text is linked to one attempt at most, and each attempt to one text. What is no attempt of ours
was sent by others, and costs the account's budget.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.account import DAY
from callrail_relay.domain.inbound import Pair
from callrail_relay.domain.outcome import Outcome, OutcomeKind, Sent
from callrail_relay.domain.reconcile import AFTER, BEFORE, FoundText, Sending, Settled, owner
from callrail_relay.outbox.lookups import known_conversation, settle_as_sent
from callrail_relay.outbox.rows import Row, change_account, write_account
from callrail_relay.outbox.tables import attempts, callrail_texts, messages, segments

WORDS = "CallRail's webhook says that it went out, at {:%Y-%m-%dT%H:%M:%SZ}."


def bear_witness(
    connection: sa.Connection,
    now: datetime,
    text: Row,
    allows: Callable[[Pair], bool],
    interval: timedelta,
) -> Settled | None:
    """
    Link a stored text that went out to the attempt that it is, and settle that where its outcome is unknown.

    *allows* tells between whom it can be, as far as CallRail shows its numbers. What links to no attempt
    was sent by others: from now on it is in the budget by itself, and no more in what CallRail's own
    count had beyond ours.
    """
    if text.account_id is None:
        return None
    account = change_account(connection, now, text.account_id)
    attempt = _attempt_of(connection, now, text, allows)
    if attempt is None:
        write_account(connection, account.explained(text.written_at))
        return None
    _link(connection, text, attempt.id)
    if attempt.outcome != OutcomeKind.UNKNOWN:
        # It has arrived already, or is under way: its answer comes, or the lack of one is asked below.
        return None
    return _settle(connection, now, attempt.id, text, interval)


def after_outcome(
    connection: sa.Connection, now: datetime, attempt_id: int, outcome: Outcome, interval: timedelta
) -> Settled | None:
    """
    Bring together an outcome and what CallRail's webhook said before it was known.

    An unknown one is settled by it. One that says that nothing went out shows that the text was another's:
    it may be that of another attempt with the same words.
    """
    text = connection.execute(
        sa.select(callrail_texts).where(callrail_texts.c.attempt_id == attempt_id)
    ).one_or_none()
    if text is None or isinstance(outcome, Sent):
        return None
    if outcome.kind is OutcomeKind.UNKNOWN:
        return _settle(connection, now, attempt_id, text, interval)
    _link(connection, text, None)
    person = connection.scalar(sa.select(attempts.c.recipient).where(attempts.c.id == attempt_id))
    return bear_witness(connection, now, text, lambda pair: pair[1] == person, interval)


def _attempt_of(
    connection: sa.Connection, now: datetime, text: Row, allows: Callable[[Pair], bool]
) -> Row | None:
    """
    The attempt that a text is, by CallRail's clock and else by ours, which may differ by more than is usual.
    """
    if text.content is None or text.written_at < now - DAY:
        return None
    for instant in (text.written_at, text.received_at):
        candidates = _candidates(connection, text, instant, allows)
        sendings = [
            Sending(
                attempt_id=row.id,
                content=row.content,
                started_at=row.started_at,
                certain=row.outcome != OutcomeKind.UNKNOWN,
            )
            for row in candidates
        ]
        found = owner(sendings, FoundText(content=text.content, created_at=instant))
        if found is not None:
            return next(row for row in candidates if row.id == found.attempt_id)
    return None


def _candidates(
    connection: sa.Connection, text: Row, instant: datetime, allows: Callable[[Pair], bool]
) -> list[Row]:
    """Attempts of about that time which may have arrived, and which no other text stands for."""
    told = callrail_texts.alias()
    query = (
        sa.select(
            attempts.c.id,
            attempts.c.started_at,
            attempts.c.outcome,
            attempts.c.tracking_number,
            attempts.c.recipient,
            segments.c.content,
            messages.c.conversation_id,
        )
        .join(segments, segments.c.id == attempts.c.segment_id)
        .join(messages, messages.c.seq == segments.c.message_seq)
        .where(
            attempts.c.account_id == text.account_id,
            # What began earlier counts from later on: this much of the index is enough.
            attempts.c.counted_at >= instant - AFTER,
            attempts.c.started_at.between(instant - AFTER, instant + BEFORE),
            sa.or_(
                attempts.c.outcome.in_([OutcomeKind.SENT, OutcomeKind.UNKNOWN]), attempts.c.outcome.is_(None)
            ),
            ~sa.exists().where(told.c.attempt_id == attempts.c.id),
        )
    )
    if text.company_id is not None:
        query = query.where(messages.c.company_id == text.company_id)
    rows: list[Row] = [*connection.execute(query)]
    if text.recipient is not None:
        return [row for row in rows if _pair(row) == _pair(text)]
    fitting = [row for row in rows if allows(_pair(row))]
    return _of_one_person(connection, text, [row for row in fitting if _may_be_of(row, text)])


def _may_be_of(attempt: Row, text: Row) -> bool:
    """Whether an attempt can be of the conversation of a text, as far as both are known."""
    known = {attempt.conversation_id, text.conversation_id} - {None}
    return len(known) < 2


def _of_one_person(connection: sa.Connection, text: Row, rows: list[Row]) -> list[Row]:
    """
    The attempts to the one person whose text it is; none where CallRail masks the number and it may be
    that of several: the text of one of them would make that of another look sent.
    """
    if len({row.recipient for row in rows}) < 2:
        return rows
    of_conversation = [
        row
        for row in rows
        if text.conversation_id is not None
        and text.conversation_id in (row.conversation_id, known_conversation(connection, row))
    ]
    return of_conversation if len({row.recipient for row in of_conversation}) == 1 else []


def _pair(row: Row) -> Pair:
    return row.tracking_number, row.recipient


def _link(connection: sa.Connection, text: Row, attempt_id: int | None) -> None:
    connection.execute(
        sa.update(callrail_texts)
        .where(callrail_texts.c.resource_id == text.resource_id)
        .values(attempt_id=attempt_id)
    )


def _settle(
    connection: sa.Connection, now: datetime, attempt_id: int, text: Row, interval: timedelta
) -> Settled | None:
    """
    Take an unknown attempt for sent where it is certain whose text it is; else have it looked up now.

    Where CallRail masks the number and the conversation is new, somebody else's may have the same last
    digits, and have been sent the same words by others.
    """
    if text.recipient is None:
        connection.execute(sa.update(attempts).where(attempts.c.id == attempt_id).values(look_at=now))
        return None
    settled = settle_as_sent(connection, now, attempt_id, WORDS.format(text.written_at), interval)
    if text.conversation_id is not None:
        connection.execute(
            sa.update(messages)
            .where(messages.c.id == settled.message_id, messages.c.conversation_id.is_(None))
            .values(conversation_id=text.conversation_id, thread_id=text.thread_id)
        )
    return settled
