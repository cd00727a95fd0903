"""
Storing what came in.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from callrail_relay.domain import guards
from callrail_relay.domain.message import Status
from callrail_relay.domain.submission import Accepted, NewMessage, NewSubmission
from callrail_relay.outbox.tables import accounts, messages, submissions
from callrail_relay.outbox.values import lock_accounts, reasons_to_json


def accept(connection: sa.Connection, now: datetime, batch: Sequence[NewSubmission]) -> list[list[Accepted]]:
    """
    Store all submissions of *batch* with their messages, or none of them.

    The guard against duplicates is asked here, since only the store knows what came
    before; texts of one batch see each other, and those of two nodes come one after the other.
    """
    _lock_accounts(connection, batch)
    return [_accept_one(connection, now, submission) for submission in batch]


def _lock_accounts(connection: sa.Connection, batch: Sequence[NewSubmission]) -> None:
    """
    Lock the rows of all accounts of *batch*, and make those that are missing.
    """
    ids = {
        message.draft.route.account_id for item in batch for message in item.messages if message.draft.route
    }
    known = set(connection.scalars(sa.select(accounts.c.id).where(accounts.c.id.in_(ids))))
    for account_id in sorted(ids - known):
        ensure_account(connection, account_id)
    lock_accounts(connection, ids)


def ensure_account(connection: sa.Connection, account_id: str) -> None:
    """
    Make the account's row where it is missing; safe against another node doing the same.
    """
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(insert(accounts).values(id=account_id).on_conflict_do_nothing())


def _accept_one(connection: sa.Connection, now: datetime, submission: NewSubmission) -> list[Accepted]:
    _insert_submission(connection, now, submission)
    accepted = [_accept_message(connection, now, message, submission) for message in submission.messages]
    if all(one.duplicate_of for one in accepted):
        # A replay in which nothing was new leaves nothing behind.
        connection.execute(sa.delete(submissions).where(submissions.c.id == submission.id))
    return accepted


def _accept_message(
    connection: sa.Connection, now: datetime, message: NewMessage, submission: NewSubmission
) -> Accepted:
    if message.skip_identical:
        earlier = _earlier(connection, message, since=None)
        if earlier is not None:
            return Accepted(
                message_id=message.id, status=Status.CANCELLED, verdict=message.verdict, duplicate_of=earlier
            )
    verdict = message.verdict
    if "duplicate" not in message.approved:
        earlier = _earlier(connection, message, since=now - guards.DUPLICATE_WINDOW)
        verdict = verdict.joined(submission.duplicates, guards.duplicate(earlier))
    status = Status.HELD if verdict.holds else Status.QUEUED
    _insert_message(connection, now, message, submission, status, verdict)
    return Accepted(message_id=message.id, status=status, verdict=verdict)


def _earlier(connection: sa.Connection, message: NewMessage, *, since: datetime | None) -> str | None:
    """
    The id of the latest message with the same fingerprint, if one came after *since*.
    """
    if message.fingerprint is None:
        return None
    query = (
        sa.select(messages.c.id)
        .where(messages.c.fingerprint == message.fingerprint)
        .order_by(messages.c.seq.desc())
        .limit(1)
    )
    if since is not None:
        query = query.where(messages.c.received_at > since)
    return connection.scalar(query)


def _insert_submission(connection: sa.Connection, now: datetime, submission: NewSubmission) -> None:
    connection.execute(
        sa.insert(submissions).values(
            id=submission.id,
            source=submission.source,
            received_at=now,
            content_type=submission.content_type,
            query=submission.query,
            body=submission.body,
        )
    )


def _insert_message(
    connection: sa.Connection,
    now: datetime,
    message: NewMessage,
    submission: NewSubmission,
    status: Status,
    verdict: guards.Verdict,
) -> None:
    draft = message.draft
    connection.execute(
        sa.insert(messages).values(
            id=message.id,
            submission_id=submission.id,
            status=status,
            source=submission.source,
            received_at=now,
            not_before=now,
            recipient=draft.recipient,
            text=draft.text,
            account_id=draft.route and draft.route.account_id,
            company_id=draft.route and draft.route.company_id,
            tracking_number=draft.route and draft.route.tracking_number,
            fingerprint=message.fingerprint,
            segment_count=message.segment_count,
            reasons=reasons_to_json(verdict.reasons),
            approved=list(message.approved),
            opportunity_id=draft.opportunity_id,
            sender_id=draft.sender_id,
            seller_id=draft.seller_id,
            seller=draft.seller,
            team_id=draft.team_id,
        )
    )
