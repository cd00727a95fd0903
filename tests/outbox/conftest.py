"""Every test of the store runs on both databases."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from callrail_relay.outbox.store import Store
from tests.outbox.worker import Worker
from tests.support.clock import ManualClock
from tests.support.postgres import PostgresCluster
from tests.support.stores import empty_postgres_store, new_sqlite_store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, sqlite_path: Path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{sqlite_path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, sqlite_path: Path) -> Iterator[str]:
    """The URL of an empty store that has its tables, on each database in turn."""
    if request.param == "sqlite":
        yield new_sqlite_store(sqlite_path)
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    with empty_postgres_store(cluster) as url:
        yield url


@pytest.fixture
async def outbox(store_url: str, clock: ManualClock) -> AsyncIterator[Store]:
    """A store that takes the time from ``clock``."""
    store = await Store.open(store_url, clock, database_time=False)
    yield store
    await store.close()


@pytest.fixture
async def second_outbox(store_url: str, clock: ManualClock, outbox: Store) -> AsyncIterator[Store]:
    """Another node's door to the same store."""
    store = await Store.open(store_url, clock, database_time=False)
    yield store
    await store.close()


@pytest.fixture
def worker(outbox: Store) -> Worker:
    return Worker(outbox)
