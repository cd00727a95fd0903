"""Creates and migrates the tables, and refuses those that another version of the program made."""

import sqlite3
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from callrail_relay.errors import Unavailable
from callrail_relay.outbox import sentence
from callrail_relay.outbox.engine import describe, is_sqlite
from callrail_relay.outbox.migrations import EARLIER, HEAD
from callrail_relay.outbox.tables import metadata

# An arbitrary number, so that two nodes that start at once don't both create the tables.
_MIGRATION_LOCK = 7_287_245

LONGEST_MIGRATION_MS = 120_000


def migrate(engine: sa.Engine, before: Callable[[sa.Connection], None] = lambda _: None) -> None:
    """
    Create the tables in an empty database, or run its missing migrations, in one transaction.

    *before* is called before existing tables change, and may refuse. Raises Unavailable for a database that a
    newer version made, or one too old to migrate.
    """
    with engine.connect() as connection:
        if current_version(connection) == HEAD:
            return
    with engine.connect().execution_options(writes=True) as connection:
        if is_sqlite(engine):
            # Another process may migrate for longer than other transactions take. Set through the driver,
            # since SQLAlchemy would begin the transaction first.
            driver = connection.connection.dbapi_connection
            assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - SQLite's engine has it
            driver.execute(f"PRAGMA busy_timeout = {LONGEST_MIGRATION_MS}").close()
        with connection.begin():
            _migrate(connection, before)
        connection.invalidate()  # the next connection has the usual time-out


def _migrate(connection: sa.Connection, before: Callable[[sa.Connection], None]) -> None:
    if not is_sqlite(connection.engine):
        # Another node may migrate for longer than other statements take.
        for limit in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            connection.exec_driver_sql(f"SET LOCAL {limit} = 0")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    version = current_version(connection)
    if version == HEAD:
        # Another process did it meanwhile.
        return
    if version in EARLIER:
        raise Unavailable(sentence("before_0_2", database=describe(connection.engine)))
    # Imported only when tables change: it takes 9 MB of memory and a tenth of a second.
    from alembic import command  # noqa: PLC0415 - only when a migration is due
    from alembic.config import Config  # noqa: PLC0415 - only when a migration is due
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - only when a migration is due

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "callrail_relay.outbox:migrations")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is None:
        # Sorted: the set has no order, and of two equally good indexes SQLite takes the one made first.
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index))
        _create_triggers(connection)
        command.stamp(config, HEAD)
        return
    if version not in known:
        raise Unavailable(sentence("newer", database=describe(connection.engine)))
    before(connection)
    command.upgrade(config, "head")


def current_version(connection: sa.Connection) -> str | None:
    """Return the revision of the database; None if it's empty."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return version


def _create_triggers(connection: sa.Connection) -> None:
    """Create the triggers that keep the tallies."""
    if is_sqlite(connection.engine):
        for trigger in _SQLITE_TRIGGERS:
            connection.exec_driver_sql(trigger)
        return
    for event, references, rows in _POSTGRESQL_TRIGGERS:
        body = _POSTGRESQL_ADD.format(rows=rows)
        connection.exec_driver_sql(
            f"CREATE FUNCTION tally_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER tally_{event} AFTER {event.upper()} ON messages {references}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION tally_{event}()"
        )


# SQLite has a trigger per row, PostgreSQL one per statement: there, changing one row many times in one
# transaction would take longer each time.
_SQLITE_ADD = """
        INSERT INTO tallies (account_id, status, messages, segments)
        VALUES (coalesce(NEW.account_id, ''), NEW.status, 1, NEW.segment_count)
        ON CONFLICT (account_id, status) DO UPDATE
        SET messages = messages + 1, segments = segments + excluded.segments;"""
_SQLITE_TAKE = """
        UPDATE tallies SET messages = messages - 1, segments = segments - OLD.segment_count
        WHERE account_id = coalesce(OLD.account_id, '') AND status = OLD.status;"""
_SQLITE_TRIGGERS = (
    f"CREATE TRIGGER tally_insert AFTER INSERT ON messages BEGIN{_SQLITE_ADD}\n    END",
    f"""CREATE TRIGGER tally_update AFTER UPDATE OF status, account_id, segment_count ON messages
    WHEN NEW.status <> OLD.status OR NEW.account_id IS NOT OLD.account_id
        OR NEW.segment_count <> OLD.segment_count
    BEGIN{_SQLITE_TAKE}{_SQLITE_ADD}
    END""",
    f"CREATE TRIGGER tally_delete AFTER DELETE ON messages BEGIN{_SQLITE_TAKE}\n    END",
)

_POSTGRESQL_ADD = """
    INSERT INTO tallies (account_id, status, messages, segments)
    SELECT coalesce(account_id, ''), status, sum(n), sum(n * segment_count) FROM ({rows}) AS changed
    GROUP BY 1, 2 HAVING sum(n) <> 0 OR sum(n * segment_count) <> 0 ORDER BY 1, 2
    ON CONFLICT (account_id, status) DO UPDATE
    SET messages = tallies.messages + excluded.messages, segments = tallies.segments + excluded.segments;
    RETURN NULL;
"""
_NEW = "SELECT account_id, status, segment_count, 1 AS n FROM new_rows"
_OLD = "SELECT account_id, status, segment_count, -1 AS n FROM old_rows"
_POSTGRESQL_TRIGGERS = (
    ("insert", "REFERENCING NEW TABLE AS new_rows", _NEW),
    ("update", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows", f"{_NEW} UNION ALL {_OLD}"),
    ("delete", "REFERENCING OLD TABLE AS old_rows", _OLD),
)
