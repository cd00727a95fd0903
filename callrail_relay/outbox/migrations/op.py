"""What a step may do to a database, alike on SQLite and PostgreSQL."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn


class Op:
    """Changes of tables, made inside the transaction of *connection*."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    @property
    def is_sqlite(self) -> bool:
        return self._connection.dialect.name == "sqlite"

    def create_table(self, name: str, *parts: sa.schema.SchemaItem) -> None:
        """Make a table of columns and constraints."""
        metadata = sa.MetaData()
        table = sa.Table(name, metadata, *parts)
        for key in table.foreign_keys:
            other, column = key.target_fullname.split(".")
            if other not in metadata.tables:
                # It is there already; SQLAlchemy wants to know what is pointed at.
                sa.Table(other, metadata, sa.Column(column))
        table.create(self._connection)

    def add_column(self, table: str, column: sa.Column[object]) -> None:
        sa.Table(table, sa.MetaData(), column)
        definition = CreateColumn(column).compile(dialect=self._connection.dialect)
        self.execute(f"ALTER TABLE {table} ADD COLUMN {definition}")

    def create_index(
        self, name: str, table: str, columns: Sequence[str], *, unique: bool = False, where: str | None = None
    ) -> None:
        """Make an index; with *where* of the rows of this condition alone."""
        kind = "UNIQUE INDEX" if unique else "INDEX"
        condition = f" WHERE {where}" if where else ""
        self.execute(f"CREATE {kind} {name} ON {table} ({', '.join(columns)}){condition}")

    def drop_index(self, name: str) -> None:
        self.execute(f"DROP INDEX {name}")

    def scalar(self, query: sa.TextClause) -> object:
        return self._connection.scalar(query)

    def execute(self, statement: str) -> None:
        self._connection.execute(sa.text(statement))
