"""Counting the requests that read CallRail: it limits those too."""

from datetime import datetime

import sqlalchemy as sa

from callrail_relay.domain.account import HOUR
from callrail_relay.outbox.tables import evidence, polls


def requests_used(connection: sa.Connection, now: datetime, account_id: str) -> int:
    """Requests of the last hour, for looking up texts and for looking for replies."""
    looked_up = sa.select(sa.func.coalesce(sa.func.sum(evidence.c.requests), 0)).where(
        evidence.c.account_id == account_id, evidence.c.noted_at > now - HOUR
    )
    polled = sa.select(sa.func.coalesce(sa.func.sum(polls.c.requests), 0)).where(
        polls.c.account_id == account_id, polls.c.began_at > now - HOUR
    )
    return int(connection.execute(looked_up).scalar_one()) + int(connection.execute(polled).scalar_one())
