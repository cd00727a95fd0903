"""Copying one store into another, whichever databases they are on."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from callrail_relay.clock import AdjustedClock, SystemClock
from callrail_relay.errors import AlreadyRunning, NotAllowed, NotFound, UsageFault
from callrail_relay.outbox.engine import describe, is_sqlite, open_engine, translated
from callrail_relay.outbox.node_lock import has_workers, names_of_store
from callrail_relay.outbox.presence import COPY, COPYING, SERVE, StoreLock, is_served, others_connected
from callrail_relay.outbox.schema import current_version, migrate
from callrail_relay.outbox.tables import messages, metadata
from callrail_relay.outbox.times import database_now

PORTION = 1_000
"""Rows that are copied in one transaction."""

ASKED_AGAIN = 10
"""How often, a tenth of a second apart, PostgreSQL is asked who is connected."""

KEPT_BY_THE_STORE = frozenset({"probe", "tallies", "nodes", "contacts"})
"""Tables that each store writes by itself."""

Told = Callable[[int], None]
"""Takes how many more rows were looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCopy:
    """What became of one table: its rows in the source, and those in the target afterwards."""

    table: str
    source: int
    target: int
    copied: int

    @property
    def same(self) -> bool:
        return self.source == self.target


class Copy:
    """A copy that is about to be made; ``rows`` is how many there are to look at."""

    def __init__(self, source: sa.Connection, target: sa.Engine) -> None:
        self._source = source
        self._target = target
        self._counts = {table.name: _count(source, table) for table in _tables()}
        self.rows = sum(self._counts.values())
        self._stopped = False

    def stop(self) -> None:
        """End after the portion that is being copied; what was copied stays."""
        self._stopped = True

    def run(self, told: Told) -> list[TableCopy]:
        """
        Copy what the target lacks, each portion in a transaction of its own, and count both sides.

        Rows that are there stay as they are, so that a copy may be repeated. Raises NotAllowed where the
        target holds other texts under the same numbers, and Unavailable.
        """
        with translated(self._target):
            copied = {table.name: self._copy(table, told) for table in _tables()}
            with self._target.connect() as connection:
                return [
                    TableCopy(
                        table=name,
                        source=count,
                        target=_count(connection, metadata.tables[name]),
                        copied=copied[name],
                    )
                    for name, count in self._counts.items()
                ]

    def _copy(self, table: sa.Table, told: Told) -> int:
        query = sa.select(table).order_by(*table.primary_key.columns)
        options = {"stream_results": True, "yield_per": PORTION}
        copied = 0
        with self._source.execute(query, execution_options=options) as rows:
            for portion in rows.mappings().partitions():
                if self._stopped:
                    break
                copied += self._write(table, portion)
                told(len(portion))
        return copied

    def _write(self, table: sa.Table, portion: Sequence[sa.RowMapping]) -> int:
        with self._target.connect().execution_options(writes=True) as connection, connection.begin():
            if table is messages:
                _require_same_messages(connection, portion)
            before = _present(connection, table, portion)
            missing = [dict(row) for row in portion if _key(table, row) not in before]
            if missing:
                insert = sqlite.insert if is_sqlite(self._target) else postgresql.insert
                connection.execute(insert(table).on_conflict_do_nothing(), missing)
                _advance(connection, table)
            return len(missing)


@contextmanager
def open_copy(source_url: str, target_url: str, *, now: datetime) -> Iterator[Copy]:
    """
    A copy of one store into another, which is brought to the tables of today.

    The source is read as it stands at one instant. Raises UsageFault where both are the same or the source is
    no store, NotFound where there is no such file, NotAllowed where a relay works on either, Unavailable.
    """
    if _place(source_url) == _place(target_url):
        raise UsageFault("FROM and TO are the same store; name two.")
    _require_file(source_url)
    with ExitStack() as stack:
        source = stack.enter_context(_opened(source_url))
        with translated(source):
            _require_store(source)
        stack.enter_context(_kept_from_relays(source, now))
        target = stack.enter_context(_opened(target_url))
        stack.enter_context(_kept_from_relays(target, now))
        with translated(source):
            migrate(source)
        with translated(target):
            migrate(target)
        with translated(source), _snapshot(source) as connection:
            yield Copy(connection, target)


@contextmanager
def _opened(url: str) -> Iterator[sa.Engine]:
    engine = open_engine(url, COPYING)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that sees the store as it is now, however long it takes."""
    options: dict[str, Any] = {"writes": False}
    if not is_sqlite(engine):
        options["isolation_level"] = "REPEATABLE READ"
    with engine.connect().execution_options(**options) as connection, connection.begin():
        if not is_sqlite(engine):
            for limit in ("idle_in_transaction_session_timeout", "statement_timeout"):
                connection.exec_driver_sql(f"SET LOCAL {limit} = 0")
        yield connection


def _tables() -> list[sa.Table]:
    """Every table to copy, after those that it refers to."""
    return [table for table in metadata.sorted_tables if table.name not in KEPT_BY_THE_STORE]


def _place(url: str) -> tuple[object, ...]:
    address = sa.make_url(url)
    if address.get_backend_name() == "sqlite":
        return ("sqlite", Path(address.database or "").resolve())
    return (address.get_backend_name(), address.host, address.port or 5432, address.database)


def _require_file(url: str) -> None:
    address = sa.make_url(url)
    if address.get_backend_name() == "sqlite" and not Path(address.database or "").is_file():
        raise NotFound(f"There is no file {address.database} to copy from; check FROM.")


def _require_store(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        if current_version(connection) is None:
            raise UsageFault(f"{describe(engine)} is no store of callrail-relay; check FROM.")


@contextmanager
def _kept_from_relays(engine: sa.Engine, now: datetime) -> Iterator[None]:
    """Raise NotAllowed if a relay works on the store; a SQLite store is kept from them until the end."""
    if is_sqlite(engine):
        lock = StoreLock(Path(str(engine.url.database)))
        try:
            lock.take(COPY, now)
        except AlreadyRunning as error:
            raise _in_use(engine, error.by) from error
        try:
            # A `replay` sends from the store as well, and has no lock of its own.
            if has_workers(names_of_store(Path(str(engine.url.database)))):
                raise _in_use(engine, SERVE)
            yield
        finally:
            lock.release()
        return
    with translated(engine):
        _require_alone(engine)
    yield


def _require_alone(engine: sa.Engine) -> None:
    """Raise NotAllowed where another works on PostgreSQL: a `serve` has a row, all others are connected."""
    with engine.connect() as connection:
        if is_served(connection, database_now(connection, AdjustedClock(SystemClock()))):
            raise _in_use(engine, SERVE)
    # The server needs a moment to notice that a program which has just ended is gone.
    for _ in range(ASKED_AGAIN):
        # In a transaction of its own, since PostgreSQL looks once in each.
        with engine.connect() as connection:
            if not others_connected(connection):
                return
            connection.exec_driver_sql("SELECT pg_sleep(0.1)")
    raise _in_use(engine, SERVE)


def _in_use(engine: sa.Engine, by: str) -> NotAllowed:
    if by != SERVE:
        return NotAllowed(f"Another `{by}` is using {describe(engine)}; wait until it has ended.")
    killed = "" if is_sqlite(engine) else " One that was killed is forgotten after 30 seconds."
    return NotAllowed(
        f"A relay is running on {describe(engine)}. Stop every `serve` on it first, and wait until other "
        f"commands have ended: a message that waits in both databases would be sent from both.{killed}"
    )


def _require_same_messages(connection: sa.Connection, portion: Sequence[sa.RowMapping]) -> None:
    """Raise NotAllowed where one of these numbers belongs to another text here."""
    found = connection.execute(
        sa.select(messages.c.seq, messages.c.id).where(messages.c.seq.in_([row["seq"] for row in portion]))
    )
    there = {row.seq: row.id for row in found}
    if any(there.get(row["seq"], row["id"]) != row["id"] for row in portion):
        raise NotAllowed(
            f"{describe(connection.engine)} holds other texts already, so that nothing more was copied; copy "
            "into an empty database."
        )


def _present(connection: sa.Connection, table: sa.Table, portion: Sequence[sa.RowMapping]) -> set[Any]:
    """The keys of these rows that the target has."""
    columns = list(table.primary_key.columns)
    keys = [_key(table, row) for row in portion]
    wanted = columns[0].in_([key[0] for key in keys]) if len(columns) == 1 else sa.tuple_(*columns).in_(keys)
    return {tuple(row) for row in connection.execute(sa.select(*columns).where(wanted))}


def _key(table: sa.Table, row: sa.RowMapping) -> tuple[Any, ...]:
    return tuple(row[column.name] for column in table.primary_key.columns)


def _advance(connection: sa.Connection, table: sa.Table) -> None:
    """
    Let the next number that the store gives by itself come after those that were copied, as SQLite does.
    """
    column = table.autoincrement_column
    if column is None or connection.dialect.name == "sqlite":
        return
    sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
    connection.execute(sa.select(sa.func.setval(sequence, sa.select(sa.func.max(column)).scalar_subquery())))


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def differing(copies: Iterable[TableCopy]) -> list[str]:
    """The tables whose counts are not the same."""
    return [copy.table for copy in copies if not copy.same]
