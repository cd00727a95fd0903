"""What all nodes of a store share: which webhook secrets ended, and the secret that identifies the relay."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from callrail_relay.outbox.rows import insert_into, upsert
from callrail_relay.outbox.tables import ended_tokens, relay_secret


def end_tokens(
    connection: sa.Connection, now: datetime, digests: Iterable[str], at: datetime | None = None
) -> None:
    """End the tokens on every node *at* that instant, or now; one that ends sooner isn't changed."""
    ends_at = at or now
    for digest in sorted(digests):
        is_sooner = ended_tokens.c.ends_at > ends_at
        upsert(connection, ended_tokens, {"digest": digest}, {"ends_at": ends_at}, where=is_sooner)


def read_ended_tokens(connection: sa.Connection, now: datetime) -> frozenset[str]:
    """Return the digests of the tokens that have ended by the store's time."""
    query = sa.select(ended_tokens.c.digest).where(ended_tokens.c.ends_at <= now)
    return frozenset(connection.scalars(query))


def token_ends_at(connection: sa.Connection, _now: datetime, digest: str) -> datetime | None:
    return connection.scalar(sa.select(ended_tokens.c.ends_at).where(ended_tokens.c.digest == digest))


def read_relay_secret(connection: sa.Connection, now: datetime, proposed: str) -> str:
    """Return the relay's secret; the first node to ask sets it to what it *proposed*."""
    if find_relay_secret(connection, now) is None:
        first = insert_into(connection, relay_secret).values(id=1, value=proposed)
        connection.execute(first.on_conflict_do_nothing())
    return str(connection.execute(_SECRET).scalar_one())


def find_relay_secret(connection: sa.Connection, _now: datetime) -> str | None:
    return connection.scalar(_SECRET)


_SECRET = sa.select(relay_secret.c.value)
