"""A door of the tests' own to the database behind a store."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa


@contextmanager
def connected(store_url: str) -> Iterator[sa.Connection]:
    """A separate transaction, committed at the end of the block."""
    engine = sa.create_engine(with_driver(store_url))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def with_driver(store_url: str) -> str:
    """The URL as SQLAlchemy wants it."""
    return store_url.replace("postgresql://", "postgresql+psycopg://")
