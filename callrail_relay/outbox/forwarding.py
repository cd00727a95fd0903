"""Replies that are to be passed on, each by one node at a time."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from callrail_relay.domain.inbound import Forward
from callrail_relay.outbox.rows import Row
from callrail_relay.outbox.tables import callrail_texts, messages


def next_forward(connection: sa.Connection, now: datetime) -> datetime | None:
    """When the next reply is to be passed on; None when none is."""
    query = sa.select(sa.func.min(callrail_texts.c.forward_at)).where(
        callrail_texts.c.forward_at.is_not(None)
    )
    due: datetime | None = connection.scalar(query)
    return due


def claim_forward(connection: sa.Connection, now: datetime, lease: timedelta) -> Forward | None:
    """
    Take the reply that has waited longest; None where none is due.

    Nobody else takes it while the lease lasts.
    """
    query = (
        sa.select(callrail_texts)
        .where(callrail_texts.c.forward_at <= now)
        .order_by(callrail_texts.c.forward_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    connection.execute(
        sa.update(callrail_texts)
        .where(callrail_texts.c.resource_id == row.resource_id)
        .values(forward_at=now + lease, forward_tries=row.forward_tries + 1)
    )
    message = _last_message(connection, row)
    return Forward(
        resource_id=row.resource_id,
        text=row.content or "",
        written_at=row.written_at,
        received_at=row.received_at,
        tries=row.forward_tries + 1,
        tracking_number=row.tracking_number,
        recipient=row.recipient,
        seller=message and message.seller,
        seller_id=message and message.seller_id,
        opportunity_id=message and message.opportunity_id,
        sender_id=message and message.sender_id,
    )


def _last_message(connection: sa.Connection, text: Row) -> Row | None:
    """
    The latest text to the person from the number that they wrote to, which names the opportunity in IF3.
    """
    query = (
        sa.select(messages)
        .where(
            messages.c.recipient == text.recipient,
            messages.c.tracking_number == text.tracking_number,
        )
        .order_by(messages.c.seq.desc())
        .limit(1)
    )
    return connection.execute(query).first()


def end_forward(
    connection: sa.Connection, now: datetime, resource_id: str, retry_at: datetime | None
) -> None:
    """
    Note that a reply was passed on, or is given up, or when it is tried again.

    A webhook may have given it its own id meanwhile: then it is passed on once more when the lease is over.
    """
    connection.execute(
        sa.update(callrail_texts)
        .where(callrail_texts.c.resource_id == resource_id)
        .values(forward_at=retry_at)
    )
