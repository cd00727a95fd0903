"""Bringing a database to the tables of today, and refusing one that is ahead of them."""

import sqlite3
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

import sqlalchemy as sa

from callrail_relay.errors import Unavailable
from callrail_relay.outbox.engine import describe, is_sqlite
from callrail_relay.outbox.migrations import HEAD, versions
from callrail_relay.outbox.migrations.op import Op

# One arbitrary number, so that two nodes that start at once do not both create the tables.
_MIGRATION_LOCK = 7_287_245

LONGEST_MIGRATION_MS = 120_000

# Named as Alembic does, which made it in earlier stores.
_VERSIONS = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def migrate(engine: sa.Engine, before: Callable[[sa.Connection], None] = lambda _: None) -> None:
    """
    Run the steps that the database lacks, in one transaction.

    *before* is called first where the tables that are there are to change, and may refuse. Raises Unavailable
    where a newer release of this program has written to it.
    """
    with engine.connect() as connection:
        if current_version(connection) == HEAD:
            return
    with engine.connect().execution_options(writes=True) as connection:
        if is_sqlite(engine):
            # Another process may be at it for longer than any other transaction takes. Asked of the driver,
            # since SQLAlchemy would begin the transaction before.
            driver = connection.connection.dbapi_connection
            assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - what SQLite's engine has
            driver.execute(f"PRAGMA busy_timeout = {LONGEST_MIGRATION_MS}").close()
        with connection.begin():
            _migrate(connection, before)
        connection.invalidate()  # the next one waits as long as all others do


def _migrate(connection: sa.Connection, before: Callable[[sa.Connection], None]) -> None:
    if not is_sqlite(connection.engine):
        # Another node may be at it for longer than any other statement may take, or this one be slow.
        for limit in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            connection.exec_driver_sql(f"SET LOCAL {limit} = 0")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    # Another process may have done it while this one waited.
    version = current_version(connection)
    if version != HEAD and version in steps():
        before(connection)
    upgrade(connection)


def current_version(connection: sa.Connection) -> str | None:
    """The last step that was run, or None in an empty database."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version


def upgrade(connection: sa.Connection, target: str = HEAD) -> None:
    """
    Run the steps that are missing up to *target*. Raises Unavailable for a version that nobody here knows.
    """
    known = steps()
    version = current_version(connection)
    if version is not None and version not in known:
        raise Unavailable(
            f"The store {describe(connection.engine)} was written by a newer callrail-relay; install "
            "that release "
            "again, or set database.url to another store."
        )
    if version is None:
        _VERSIONS.create(connection)
        connection.execute(_VERSIONS.insert().values(version_num=""))
    for number, name in known.items():
        if (version or "") < number <= target:
            change: Callable[[Op], None] = import_module(name).upgrade
            change(Op(connection))
    connection.execute(_VERSIONS.update().values(version_num=target))


def steps() -> dict[str, str]:
    """The module of each step by its number, in their order."""
    names = sorted(module.name for module in iter_modules(versions.__path__))
    return {name.partition("_")[0]: f"{versions.__name__}.{name}" for name in names}
