"""What all nodes of a store share: which webhook secrets ended, and the secret that identifies the relay."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from callrail_relay.outbox.tables import ended_tokens, relay_secret
from callrail_relay.outbox.transaction import Transaction


def end_tokens(tx: Transaction, digests: Iterable[str], at: datetime | None = None) -> None:
    """End the tokens on every node *at* that instant, or now; one that ends sooner isn't changed."""
    ends_at = at or tx.now
    for digest in sorted(digests):
        is_sooner = ended_tokens.c.ends_at > ends_at
        tx.upsert(ended_tokens, {"digest": digest}, {"ends_at": ends_at}, where=is_sooner)


def read_ended_tokens(tx: Transaction) -> frozenset[str]:
    """Return the digests of the tokens that have ended by the store's time."""
    query = sa.select(ended_tokens.c.digest).where(ended_tokens.c.ends_at <= tx.now)
    return frozenset(tx.scalars(query))


def token_ends_at(tx: Transaction, digest: str) -> datetime | None:
    return tx.scalar(sa.select(ended_tokens.c.ends_at).where(ended_tokens.c.digest == digest))


def read_relay_secret(tx: Transaction, proposed: str) -> str:
    """Return the relay's secret; the first node to ask sets it to what it *proposed*."""
    if find_relay_secret(tx) is None:
        first = tx.insert_into(relay_secret).values(id=1, value=proposed)
        tx.execute(first.on_conflict_do_nothing())
    return str(tx.execute(_SECRET).scalar_one())


def find_relay_secret(tx: Transaction) -> str | None:
    return tx.scalar(_SECRET)


_SECRET = sa.select(relay_secret.c.value)
