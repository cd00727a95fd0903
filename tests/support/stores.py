"""Stores with their tables: made once for all tests of a process, then copied or emptied for each."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from callrail_relay.outbox.engine import open_engine
from callrail_relay.outbox.schema import migrate
from tests.support.postgres import PostgresCluster

USES_OF_FILES = 20
"""After how many tests the files of a database are made anew: deleted rows fill them."""


def new_sqlite_store(path: Path) -> str:
    """Put an empty store with its tables at *path*; return its URL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_sqlite_template())
    path.chmod(0o600)
    return f"sqlite:///{path.as_posix()}"


@contextmanager
def empty_postgres_store(cluster: PostgresCluster) -> Iterator[str]:
    """
    The URL of a database with the tables of a store, for one test at a time.

    PostgreSQL takes six times as long to copy and drop a database as to empty its tables. A database of which
    a test changed more than the rows is dropped.
    """
    unused = _unused_databases(cluster)
    database = unused.pop() if unused else _new_database(cluster)
    try:
        yield cluster.url(database.name)
    finally:
        database.uses += 1
        _empty(database.connection, new_files=database.uses % USES_OF_FILES == 0)
        if _form(database.connection) == database.form:
            unused.append(database)
        else:
            database.connection.close()
            cluster.drop_database(database.name)


@dataclass
class _Database:
    name: str
    connection: psycopg.Connection
    form: str
    uses: int = 0


@cache
def _unused_databases(cluster: PostgresCluster) -> list[_Database]:
    return []


def _new_database(cluster: PostgresCluster) -> _Database:
    name = cluster.create_database(template=_postgres_template(cluster))
    connection = psycopg.connect(cluster.url(name), autocommit=True)
    return _Database(name, connection, _form(connection))


def _empty(connection: psycopg.Connection, *, new_files: bool) -> None:
    """
    End all connections that are left, and take the rows out of all tables that have or had some.

    With *new_files* the tables have no deleted rows either; that takes PostgreSQL twenty times as long.
    """
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    used = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0"
    ).fetchall()
    tables = [sql.Identifier(table) for (table,) in used]
    if tables and new_files:
        truncate = sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE")
        connection.execute(truncate.format(sql.SQL(", ").join(tables)))
        return
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")  # tables in any order
        for table in tables:
            connection.execute(sql.SQL("DELETE FROM {}").format(table))
    connection.execute(
        "SELECT setval(format('%I', sequencename)::regclass, start_value, false) FROM pg_sequences"
        " WHERE schemaname = 'public' AND last_value IS NOT NULL"
    )


def _form(connection: psycopg.Connection) -> str:
    """All of a database but its rows: tables, columns, indexes, functions, statistics and rights."""
    try:
        [form] = connection.execute(
            """
            SELECT md5(string_agg(part, E'\n' ORDER BY part)) FROM (
                SELECT concat_ws(' ', oid, relname, relowner, relacl)
                    FROM pg_class WHERE oid >= 16384
                UNION ALL SELECT concat_ws(' ', attrelid, attname, atttypid, attnotnull, atthasdef)
                    FROM pg_attribute WHERE attrelid >= 16384
                UNION ALL SELECT concat_ws(' ', starelid, staattnum) FROM pg_statistic WHERE starelid >= 16384
                UNION ALL SELECT concat_ws(' ', oid, proname) FROM pg_proc WHERE oid >= 16384
                UNION ALL SELECT concat_ws(' ', oid, tgname) FROM pg_trigger
                UNION ALL SELECT concat_ws(' ', oid, conname) FROM pg_constraint
                UNION ALL SELECT concat_ws(' ', nspname, nspowner, nspacl) FROM pg_namespace
                UNION ALL SELECT concat_ws(' ', datdba, datacl)
                    FROM pg_database WHERE datname = current_database()
                UNION ALL SELECT concat_ws(' ', setdatabase, setconfig) FROM pg_db_role_setting
                UNION ALL SELECT version_num FROM alembic_version
            ) AS parts (part)
            """
        ).fetchone() or ("",)
    except psycopg.errors.UndefinedTable:
        return "without its version"
    return str(form)


@cache
def _sqlite_template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "relay.db"
        _make_tables(f"sqlite:///{path.as_posix()}")
        return path.read_bytes()


@cache
def _postgres_template(cluster: PostgresCluster) -> str:
    name = cluster.create_database()
    _make_tables(cluster.url(name))
    return name


def _make_tables(url: str) -> None:
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is asked of any database meanwhile."""
    asked: list[str] = []

    def note(*event: object) -> None:
        asked.append(str(event[2]))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield asked
    sa.event.remove(sa.Engine, "before_cursor_execute", note)
