"""
Storing what came in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from callrail_relay.domain import guards
from callrail_relay.domain.message import Status
from callrail_relay.domain.submission import Accepted, NewMessage, NewSubmission
from callrail_relay.outbox.tables import accounts, messages, submissions
from callrail_relay.outbox.values import lock_accounts, reasons_to_json

_PORTION = 500


def accept(connection: sa.Connection, now: datetime, batch: Sequence[NewSubmission]) -> list[list[Accepted]]:
    """
    Store all submissions of *batch* with their messages, or none of them.

    Some guards are asked here, since only the store knows what came before: what they need to know of it is
    read for the whole batch at once, each message is decided on in its turn, and all of them are inserted
    together. Texts of one batch see each other, and those of two nodes come one after the other.
    """
    _lock_accounts(connection, batch)
    facts = _read_facts(connection, now, batch)
    results = [
        [_decide(now, facts, message, submission) for message in submission.messages] for submission in batch
    ]
    _insert(connection, now, batch, results)
    return results


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


@dataclass(frozen=True, slots=True)
class _Facts:
    """
    What the store knows of the texts that came before those of a batch, and of those decided on already.

    ``earlier`` has for a fingerprint the latest message with it: its id, and when it came.
    """

    earlier: dict[bytes, tuple[str, datetime]]

    def add(self, now: datetime, message: NewMessage) -> None:
        """
        Count *message*, which is stored, among those that came before.
        """
        if message.fingerprint is not None:
            self.earlier[message.fingerprint] = (message.id, now)


def _read_facts(connection: sa.Connection, now: datetime, batch: Sequence[NewSubmission]) -> _Facts:
    """
    What has to be known of earlier texts for all messages of *batch*.
    """
    recent: set[bytes] = set()
    ever: set[bytes] = set()
    for submission in batch:
        for message in submission.messages:
            if message.fingerprint is not None:
                (ever if message.skip_identical else recent).add(message.fingerprint)
    earlier = _earlier(connection, recent - ever, messages.c.received_at > now - guards.DUPLICATE_WINDOW)
    return _Facts(earlier=earlier | _earlier(connection, ever))


def _earlier(
    connection: sa.Connection, fingerprints: set[bytes], *which: sa.ColumnElement[bool]
) -> dict[bytes, tuple[str, datetime]]:
    """
    The latest message with each of *fingerprints*, among those of *which*.
    """
    found: dict[bytes, tuple[str, datetime]] = {}
    wanted = list(fingerprints)
    # In portions, since databases limit the number of parameters of one statement.
    for start in range(0, len(wanted), _PORTION):
        query = (
            sa.select(messages.c.fingerprint, messages.c.id, messages.c.received_at)
            .where(messages.c.fingerprint.in_(wanted[start : start + _PORTION]), *which)
            .order_by(messages.c.seq)
        )
        found |= {mark: (id_, received_at) for mark, id_, received_at in connection.execute(query)}
    return found


def _decide(now: datetime, facts: _Facts, message: NewMessage, submission: NewSubmission) -> Accepted:
    """
    What becomes of one message, by what it is and by *facts*, in which it is counted then.
    """
    earlier = None if message.fingerprint is None else facts.earlier.get(message.fingerprint)
    if message.skip_identical and earlier is not None:
        return Accepted(
            message_id=message.id,
            status=Status.CANCELLED,
            verdict=message.verdict,
            duplicate_of=earlier[0],
        )
    verdict = message.verdict
    if "duplicate" not in message.approved:
        if earlier is not None and earlier[1] <= now - guards.DUPLICATE_WINDOW:
            earlier = None
        verdict = verdict.joined(submission.duplicates, guards.duplicate(earlier and earlier[0]))
    facts.add(now, message)
    return Accepted(
        message_id=message.id, status=Status.HELD if verdict.holds else Status.QUEUED, verdict=verdict
    )


def _insert(
    connection: sa.Connection,
    now: datetime,
    batch: Sequence[NewSubmission],
    results: Sequence[Sequence[Accepted]],
) -> None:
    """
    Write what is new; a replay in which nothing was new leaves nothing behind.
    """
    new_submissions: list[dict[str, object]] = []
    new_messages: list[dict[str, object]] = []
    for submission, accepted in zip(batch, results, strict=True):
        kept = [
            _message_row(now, message, submission, one)
            for message, one in zip(submission.messages, accepted, strict=True)
            if one.duplicate_of is None
        ]
        if kept:
            new_submissions.append(_submission_row(now, submission))
            new_messages += kept
    if new_submissions:
        connection.execute(sa.insert(submissions), new_submissions)
        connection.execute(sa.insert(messages), new_messages)


def _submission_row(now: datetime, submission: NewSubmission) -> dict[str, object]:
    return {
        "id": submission.id,
        "source": submission.source,
        "received_at": now,
        "content_type": submission.content_type,
        "query": submission.query,
        "body": submission.body,
    }


def _message_row(
    now: datetime, message: NewMessage, submission: NewSubmission, accepted: Accepted
) -> dict[str, object]:
    return {
        "id": message.id,
        "submission_id": submission.id,
        "status": accepted.status,
        "source": submission.source,
        "received_at": now,
        "not_before": now,
        "reasons": reasons_to_json(accepted.verdict.reasons),
        "approved": list(message.approved),
        **mapped_columns(message),
    }


def mapped_columns(message: NewMessage) -> dict[str, object]:
    """
    The columns of a message that follow from its draft.
    """
    draft, route = message.draft, message.draft.route
    return {
        "recipient": draft.recipient,
        "text": draft.text,
        "account_id": route and route.account_id,
        "company_id": route and route.company_id,
        "tracking_number": route and route.tracking_number,
        "fingerprint": message.fingerprint,
        "segment_count": message.segment_count,
        "opportunity_id": draft.opportunity_id,
        "sender_id": draft.sender_id,
        "seller_id": draft.seller_id,
        "seller": draft.seller,
        "team_id": draft.team_id,
    }
