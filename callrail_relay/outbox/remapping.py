"""Mapping a held message once more, from the request that it came with."""

from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain import guards
from callrail_relay.domain.guards import GuardPolicy, Verdict
from callrail_relay.domain.mapping import NewMessage, StoredSubmission
from callrail_relay.domain.message import Source, Status, Verb, Word
from callrail_relay.outbox.accept import ensure_account, mapped_columns, read_recent
from callrail_relay.outbox.deciding import keep_decision
from callrail_relay.outbox.opt_outs import is_suppressed, read_possible_opt_outs
from callrail_relay.outbox.rows import Row, change_account, reasons_to_json
from callrail_relay.outbox.tables import messages, submissions


def read_submission(connection: sa.Connection, now: datetime, submission_id: str) -> StoredSubmission:
    """A request as it came in; it never changes."""
    row = connection.execute(sa.select(submissions).where(submissions.c.id == submission_id)).one()
    query = sa.select(messages.c.id).where(messages.c.submission_id == submission_id).order_by(messages.c.seq)
    return StoredSubmission(
        source=Source(row.source),
        body=bytes(row.body),
        content_type=row.content_type,
        query=row.query,
        message_ids=tuple(connection.scalars(query)),
    )


def remap(
    connection: sa.Connection, now: datetime, remapped: NewMessage, policy: GuardPolicy, word: Word
) -> Status | None:
    """
    Put a new mapping in the place of one that left something out; None where it is not held so any more.

    The guards are asked again. What passes them is queued at the place that the message has in the order
    of arrival; what does not, and what still cannot be mapped, stays held for what is found now.
    """
    route = remapped.draft.route
    if route is not None:
        # The account is locked, as by whoever stores a text: of two equal ones, each sees the other.
        ensure_account(connection, route.account_id)
        change_account(connection, now, route.account_id)
    incomplete = sa.or_(
        messages.c.recipient.is_(None), messages.c.text.is_(None), messages.c.account_id.is_(None)
    )
    query = sa.select(messages).where(
        messages.c.id == remapped.id, messages.c.status == Status.HELD, incomplete
    )
    row = connection.execute(query.with_for_update()).one_or_none()
    if row is None:
        return None
    keep_decision(connection, now, row.seq, Verb.REMAP, word)
    verdict = _judged(connection, now, row, remapped, policy)
    status = Status.HELD if verdict.holds else Status.QUEUED
    connection.execute(
        sa.update(messages)
        .where(messages.c.seq == row.seq)
        .values(
            status=status,
            not_before=now,
            release_at=verdict.release_at,
            reasons=reasons_to_json(verdict.reasons),
            **mapped_columns(remapped),
        )
    )
    return status


def _judged(
    connection: sa.Connection, now: datetime, row: Row, remapped: NewMessage, policy: GuardPolicy
) -> Verdict:
    """What the guards say to a message that was mapped again."""
    draft = remapped.draft
    if draft.route is None or draft.recipient is None or draft.text is None:
        return remapped.verdict
    around = guards.Circumstances(
        now=now,
        same_text=guards.repeated(_same_text(connection, row, remapped, policy)),
        people=guards.count_people(
            draft.recipient,
            draft.similarity_words(),
            read_recent(connection, draft.route.account_id, now - guards.MASS_TEXT_WINDOW),
        ),
        suppressed=is_suppressed(connection, now, draft.route.tracking_number, draft.recipient),
        possible_opt_out=read_possible_opt_outs(connection, [draft.recipient]).get(
            (draft.route.tracking_number, draft.recipient)
        ),
        waiting_since=row.received_at,
        recipient=draft.recipient,
    )
    return guards.judge(policy, around, verdict=remapped.verdict)


def _same_text(connection: sa.Connection, row: Row, remapped: NewMessage, policy: GuardPolicy) -> str | None:
    """
    The id of the same text to the same person that came just before, or at any time since, if there is one.

    While it was held, somebody may have written it again in IF3.
    """
    if remapped.fingerprint is None:
        return None
    query = (
        sa.select(messages.c.id)
        .where(
            messages.c.fingerprint == remapped.fingerprint,
            messages.c.seq != row.seq,
            messages.c.received_at > row.received_at - policy.duplicate_window,
            messages.c.status != Status.CANCELLED,
        )
        .order_by(messages.c.seq.desc())
        .limit(1)
    )
    return connection.scalar(query)
