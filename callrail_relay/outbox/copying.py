"""Copies one store into another, on whichever databases they are."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from callrail_relay.clock import AdjustedClock, SystemClock
from callrail_relay.errors import AlreadyRunning, NotAllowed, NotFound, UsageError
from callrail_relay.outbox import presence, sentence
from callrail_relay.outbox.engine import describe, is_sqlite, open_engine, store_file, translated
from callrail_relay.outbox.schema import current_version, migrate
from callrail_relay.outbox.tables import metadata
from callrail_relay.outbox.times import database_now
from callrail_relay.outbox.transaction import Transaction

PORTION = 1_000  # rows to read and write at a time
ASKED_AGAIN = 10  # how often, a tenth of a second apart, to ask PostgreSQL who is connected
KEPT_BY_THE_STORE = frozenset({"probe", "tallies", "nodes", "contacts"})  # each store writes these itself

# Takes the number of rows to copy, and returns a function that takes how many more were copied.
Begin = Callable[[int], Callable[[int], None]]


def copy_store(source_url: str, target_url: str, begin: Begin, *, now: datetime) -> dict[str, int]:
    """
    Copy a store, as of one instant, into an empty database; return the rows per table.

    It's one transaction: if *begin* or what it returned raises, nothing was copied. Raises UsageError if both
    are the same or the source isn't a store, NotFound if there's no such file, NotAllowed if a relay is
    running on either one or the target isn't empty, Unavailable.
    """
    if _place(source_url) == _place(target_url):
        raise UsageError(sentence("same_database"))
    file = store_file(source_url)
    if file is not None and not file.is_file():
        raise NotFound(sentence("no_source", file=file))
    with ExitStack() as stack:
        source = _opened(source_url, stack)
        with translated(source), source.connect() as connection:
            if current_version(connection) is None:
                raise UsageError(sentence("no_store", database=describe(source)))
        stack.enter_context(_kept_from_relays(source, now))
        target = _opened(target_url, stack)
        stack.enter_context(_kept_from_relays(target, now))
        for engine in (source, target):
            with translated(engine):
                migrate(engine)
        with (
            translated(target),
            translated(source),
            _transaction(source, writes=False) as reading,
            _transaction(target, writes=True) as writing,
        ):
            presence.require_keeper(Transaction(writing, now))
            return _copy(reading, writing, begin)


def _copy(source: sa.Connection, target: sa.Connection, begin: Begin) -> dict[str, int]:
    # Each table comes after the ones it refers to.
    tables = [table for table in metadata.sorted_tables if table.name not in KEPT_BY_THE_STORE]
    if any(target.execute(sa.select(table).limit(1)).first() for table in tables):
        raise NotAllowed(sentence("not_empty", database=describe(target.engine)))
    counts = {
        table.name: source.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables
    }
    told = begin(sum(counts.values()))
    for table in tables:
        query = sa.select(table).order_by(*table.primary_key.columns)
        options = {"stream_results": True, "yield_per": PORTION}
        with source.execute(query, execution_options=options) as rows:
            for portion in rows.mappings().partitions():
                target.execute(sa.insert(table), [dict(row) for row in portion])
                told(len(portion))
        _advance(target, table)
    return counts


def _advance(connection: sa.Connection, table: sa.Table) -> None:
    """Let PostgreSQL's sequences continue after the copied rows, as SQLite does by itself."""
    column = table.autoincrement_column
    if column is not None and not is_sqlite(connection.engine):
        sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
        last = sa.select(sa.func.max(column)).scalar_subquery()
        connection.execute(sa.select(sa.func.setval(sequence, last)))


def _place(url: str) -> tuple[object, ...]:
    address, file = sa.make_url(url), store_file(url)
    if file is not None:
        return ("sqlite", file.resolve())
    return (address.get_backend_name(), address.host, address.port or 5432, address.database)


def _opened(url: str, stack: ExitStack) -> sa.Engine:
    engine = open_engine(url, presence.COPYING)
    stack.callback(engine.dispose)
    return engine


@contextmanager
def _transaction(engine: sa.Engine, *, writes: bool) -> Iterator[sa.Connection]:
    """A transaction that sees the store as of now, however long it takes."""
    with engine.connect().execution_options(writes=writes) as connection:
        if not is_sqlite(engine):
            connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            if not is_sqlite(engine):
                for limit in ("idle_in_transaction_session_timeout", "statement_timeout"):
                    connection.exec_driver_sql(f"SET LOCAL {limit} = 0")
            yield connection


@contextmanager
def _kept_from_relays(engine: sa.Engine, now: datetime) -> Iterator[None]:
    """Raise NotAllowed if a relay is running on the store; keep relays off a SQLite store until the end."""
    if not is_sqlite(engine):
        with translated(engine):
            _require_alone(engine)
        yield
        return
    try:
        with presence.kept(Path(str(engine.url.database)), presence.COPY, now, _in_use(engine)):
            yield
    except AlreadyRunning as error:
        raise _in_use(engine, error.by) from error


def _require_alone(engine: sa.Engine) -> None:
    """Raise NotAllowed if a `serve` has a row in PostgreSQL, or another command is connected to it."""
    with engine.connect() as connection:
        now = database_now(connection, AdjustedClock(SystemClock()))
        if presence.is_served(Transaction(connection, now)):
            raise _in_use(engine)
    # The server takes a moment to notice that a program has ended.
    for _ in range(ASKED_AGAIN):
        # Each time in a new transaction, since PostgreSQL looks only once in each.
        with engine.connect() as connection:
            if not presence.others_connected(Transaction(connection, now)):
                return
            connection.exec_driver_sql("SELECT pg_sleep(0.1)")
    raise _in_use(engine)


def _in_use(engine: sa.Engine, by: str = presence.SERVE) -> NotAllowed:
    if by != presence.SERVE:
        return NotAllowed(sentence("command_runs", command=by, database=describe(engine)))
    killed = "" if is_sqlite(engine) else sentence("killed")
    return NotAllowed(sentence("relay_runs", database=describe(engine), killed=killed))
