"""How far a message is, from how far its segments are."""

from collections.abc import Iterable

import sqlalchemy as sa

from callrail_relay.domain.message import Status
from callrail_relay.outbox.tables import segments


def message_status(connection: sa.Connection, message_seq: int) -> Status:
    """The status that the segments of a message give it."""
    query = sa.select(segments.c.status).where(segments.c.message_seq == message_seq)
    return status_of(connection.scalars(query).all())


def status_of(segment_statuses: Iterable[str]) -> Status:
    """The status of a message whose segments have these; cancelled ones were replaced by shorter ones."""
    present = {Status(status) for status in segment_statuses} - {Status.CANCELLED}
    for status in (Status.FAILED, Status.UNKNOWN, Status.SENDING):
        if status in present:
            return status
    if present == {Status.SENT}:
        return Status.SENT
    # With some segments gone it stays under way; with none gone it waits for its turn as a whole.
    return Status.SENDING if Status.SENT in present else Status.QUEUED
