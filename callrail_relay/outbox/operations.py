"""
A person's word: approve, cancel, pause, resume, suppress.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.reconcile import AUDIT_AFTER
from callrail_relay.outbox.intake import ensure_account
from callrail_relay.outbox.lookups import requeue, settle_as_sent
from callrail_relay.outbox.tables import accounts, attempts, messages, probe
from callrail_relay.outbox.values import Row, read_account, reasons_from_json, reasons_to_json, write_account


def approve(connection: sa.Connection, now: datetime, message_id: str) -> bool:
    """
    Queue a held message, overriding exactly the reasons it shows; False where it is not held any more.
    """
    row = connection.execute(
        sa.select(messages.c.reasons, messages.c.approved).where(
            messages.c.id == message_id, messages.c.status == Status.HELD
        )
    ).one_or_none()
    if row is None:
        return False
    codes = [reason.code for reason in reasons_from_json(row.reasons)]
    changed = connection.execute(
        sa.update(messages)
        .where(messages.c.id == message_id, messages.c.status == Status.HELD)
        .values(
            status=Status.QUEUED,
            approved=sorted({*row.approved, *codes}),
            reasons=reasons_to_json(()),
            not_before=now,
        )
    )
    return changed.rowcount == 1


def resend(connection: sa.Connection, now: datetime, message_id: str) -> bool:
    """
    Queue an unknown, failed or cancelled message again on a person's word; False where it is none of these.

    What was unknown is looked up once more afterwards, so that a text that arrives twice is seen.
    """
    row = _locked(connection, message_id, (Status.UNKNOWN, Status.FAILED, Status.CANCELLED))
    if row is None:
        return False
    unknown = (attempts.c.message_seq == row.seq, attempts.c.outcome == OutcomeKind.UNKNOWN)
    connection.execute(
        sa.update(attempts).where(*unknown).values(look_at=now + AUDIT_AFTER, blocks_until=None)
    )
    requeue(connection, now, row)
    return True


def mark_sent(connection: sa.Connection, now: datetime, message_id: str) -> bool:
    """
    Take a person's word that CallRail has an unknown message; False where it is not unknown.

    What of it has not left yet follows.
    """
    row = _locked(connection, message_id, (Status.UNKNOWN,))
    if row is None:
        return False
    unknown = connection.execute(
        sa.select(attempts.c.id).where(
            attempts.c.message_seq == row.seq, attempts.c.outcome == OutcomeKind.UNKNOWN
        )
    ).all()
    for attempt in unknown:
        settle_as_sent(connection, now, attempt.id, "A person says that it was sent.", timedelta())
    return True


def _locked(connection: sa.Connection, message_id: str, statuses: Iterable[Status]) -> Row | None:
    """
    The message, locked, where it has one of *statuses*.
    """
    query = sa.select(messages).where(messages.c.id == message_id, messages.c.status.in_(tuple(statuses)))
    return connection.execute(query.with_for_update()).one_or_none()


def cancel(connection: sa.Connection, now: datetime, message_id: str, statuses: Iterable[Status]) -> bool:
    """
    Cancel a message that has one of *statuses*; False where it has another by now.
    """
    changed = connection.execute(
        sa.update(messages)
        .where(messages.c.id == message_id, messages.c.status.in_(tuple(statuses)))
        .values(status=Status.CANCELLED)
    )
    if changed.rowcount == 0:
        return False
    # Nobody waits any more for what becomes of it.
    own = sa.select(messages.c.seq).where(messages.c.id == message_id).scalar_subquery()
    connection.execute(
        sa.update(attempts)
        .where(attempts.c.message_seq == own, attempts.c.blocks_until.is_not(None))
        .values(blocks_until=None)
    )
    return True


def pause(connection: sa.Connection, now: datetime, account_id: str, reason: str) -> None:
    """
    Let nothing more leave from an account until it is resumed.
    """
    ensure_account(connection, account_id)
    account = read_account(connection, account_id, lock=True)
    write_account(connection, account.paused(now, reason))


def resume(connection: sa.Connection, now: datetime, account_id: str) -> None:
    """
    Let an account send again, and forget what made it wait.
    """
    ensure_account(connection, account_id)
    account = read_account(connection, account_id, lock=True)
    write_account(connection, replace(account.resumed(), hour_excess=0, day_excess=0))


def write_probe(connection: sa.Connection, now: datetime) -> None:
    """
    Write one small row, to learn whether the store can be written.
    """
    changed = connection.execute(sa.update(probe).where(probe.c.id == 1).values(written_at=now))
    if changed.rowcount == 0:
        connection.execute(sa.insert(probe).values(id=1, written_at=now))


def known_accounts(connection: sa.Connection) -> list[str]:
    """
    Every account that the store has seen, by id.
    """
    return list(connection.scalars(sa.select(accounts.c.id).order_by(accounts.c.id)))
