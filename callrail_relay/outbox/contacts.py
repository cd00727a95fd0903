"""When CallRail last answered for each account, whatever it was asked."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.account import DAY
from callrail_relay.domain.health import Contact
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.outbox.rows import insert_into
from callrail_relay.outbox.tables import attempts, contacts, polls


def note_contacts(
    connection: sa.Connection, now: datetime, account_ids: Iterable[str], *, answered: bool
) -> None:
    """Note that CallRail answered, or failed to answer, a request that was made only to learn that."""
    values = {"answered_at" if answered else "failed_at": now}
    for account_id in sorted(account_ids):
        statement = insert_into(connection, contacts).values(account_id=account_id, **values)
        connection.execute(
            statement.on_conflict_do_update(index_elements=[contacts.c.account_id], set_=values)
        )


def read_contacts(connection: sa.Connection, now: datetime, account_ids: Sequence[str]) -> dict[str, Contact]:
    """The contact of each account: by a text that was sent, by looks for replies, and by such requests."""
    return {account_id: _contact(connection, now, account_id) for account_id in account_ids}


def _contact(connection: sa.Connection, now: datetime, account_id: str) -> Contact:
    # A look that a crash ended made no requests that are known, and tells nothing about CallRail.
    failed = sa.and_(polls.c.finished_at.is_(None), polls.c.lease_until <= now, polls.c.requests > 0)
    looks = connection.execute(
        sa.select(
            sa.func.max(polls.c.finished_at).label("answered_at"),
            sa.func.max(sa.case((failed, polls.c.lease_until))).label("failed_at"),
        ).where(polls.c.account_id == account_id, polls.c.began_at > now - DAY)
    ).one()
    asked = connection.execute(
        sa.select(sa.func.max(contacts.c.answered_at), sa.func.max(contacts.c.failed_at)).where(
            contacts.c.account_id == account_id
        )
    ).one()
    sent_at: datetime | None = connection.scalar(
        sa.select(sa.func.max(attempts.c.counted_at)).where(
            attempts.c.account_id == account_id,
            attempts.c.counted_at > now - DAY,
            attempts.c.outcome == OutcomeKind.SENT,
        )
    )
    answered_at, failed_at = _latest(looks[0], asked[0], sent_at), _latest(looks[1], asked[1])
    return Contact(
        answered_at=answered_at,
        is_lost=failed_at is not None and failed_at == _latest(failed_at, answered_at),
    )


def _latest(*instants: datetime | None) -> datetime | None:
    return max((instant for instant in instants if instant is not None), default=None)
