"""One transaction on the store, and what statements do in it again and again."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from callrail_relay.outbox.columns import Condition

Row = sa.Row[Any]


@cache
def by_key(table: sa.Table) -> sa.Update:
    """Return an update of the row with the primary key that is bound as ``of``."""
    [column] = table.primary_key.columns
    return sa.update(table).where(column == sa.bindparam("of"))


class Transaction:
    """What each statement gets: a connection that is in a transaction, and the store's time."""

    __slots__ = ("connection", "execute", "now", "scalar", "scalars")

    def __init__(self, connection: sa.Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self.execute, self.scalar, self.scalars = connection.execute, connection.scalar, connection.scalars

    @property
    def is_sqlite(self) -> bool:
        return self.connection.dialect.name == "sqlite"

    def insert_into(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """Return the dialect's own insert, which supports ON CONFLICT."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def upsert(
        self,
        table: sa.Table,
        key: Mapping[str, object],
        values: Mapping[str, object],
        where: Condition | None = None,
    ) -> None:
        """Insert a row, or change the one with this primary key if *where* is true of it."""
        row = self.insert_into(table).values({**key, **values})
        self.execute(row.on_conflict_do_update(index_elements=[*key], set_=values, where=where))

    def row_of(self, table: sa.Table, key: int | str) -> Row:
        """Return the row of *table* with this primary key."""
        [column] = table.primary_key.columns
        return self.execute(sa.select(table).where(column == key)).one()

    def change(self, table: sa.Table, key: int | str, /, **values: object) -> None:
        """Change the row of *table* with this primary key."""
        self.execute(by_key(table), {"of": key, **values})

    def change_each(self, table: sa.Table, changes: Sequence[Mapping[str, object]]) -> None:
        """Change the same columns of several rows of *table*, each with its primary key as ``of``."""
        self.execute(by_key(table), changes)

    def count(self, table: sa.FromClause, *which: Condition) -> int:
        """Return how many rows of *table* meet these conditions."""
        return self.execute(sa.select(sa.func.count()).select_from(table).where(*which)).scalar_one()
