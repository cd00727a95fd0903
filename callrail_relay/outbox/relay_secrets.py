"""What all nodes of one store agree on: which webhook secrets ended, and by which secret they are known."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from callrail_relay.outbox.rows import insert_into
from callrail_relay.outbox.tables import ended_tokens, relay_secret


def end_tokens(
    connection: sa.Connection, now: datetime, digests: Iterable[str], at: datetime | None = None
) -> None:
    """End the tokens for every node *at* that instant, None for now; one that ends sooner stays so."""
    statement = insert_into(connection, ended_tokens)
    sooner = sa.case(
        (ended_tokens.c.ends_at < statement.excluded.ends_at, ended_tokens.c.ends_at),
        else_=statement.excluded.ends_at,
    )
    sooner_wins = statement.on_conflict_do_update(index_elements=["digest"], set_={"ends_at": sooner})
    connection.execute(sooner_wins, [{"digest": digest, "ends_at": at or now} for digest in digests])


def read_ended_tokens(connection: sa.Connection, now: datetime) -> frozenset[str]:
    """Return the digests of the tokens that have ended by the time of the store."""
    query = sa.select(ended_tokens.c.digest).where(ended_tokens.c.ends_at <= now)
    return frozenset(connection.scalars(query))


def token_ends_at(connection: sa.Connection, _now: datetime, digest: str) -> datetime | None:
    return connection.scalar(sa.select(ended_tokens.c.ends_at).where(ended_tokens.c.digest == digest))


def read_relay_secret(connection: sa.Connection, _now: datetime, proposed: str) -> str:
    """Return the secret of this relay; the first node to ask makes it what it *proposed*."""
    known = sa.select(relay_secret.c.value)
    found: str | None = connection.scalar(known)
    if found is not None:
        return found
    first = insert_into(connection, relay_secret).values(id=1, value=proposed)
    connection.execute(first.on_conflict_do_nothing())
    return str(connection.execute(known).scalar_one())
