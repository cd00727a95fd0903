"""Stores with their tables: made once for all tests of a process, and copied for each."""

import tempfile
from functools import cache
from pathlib import Path

from callrail_relay.outbox.engine import open_engine
from callrail_relay.outbox.schema import migrate
from tests.support.postgres import PostgresCluster


def new_sqlite_store(path: Path) -> str:
    """Put an empty store with its tables at *path*; return its URL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_sqlite_template())
    path.chmod(0o600)
    return f"sqlite:///{path.as_posix()}"


def new_postgres_store(cluster: PostgresCluster) -> str:
    """Make a database with the tables of a store; return its name."""
    return cluster.create_database(template=_postgres_template(cluster))


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
