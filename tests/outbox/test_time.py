"""Whose clock counts: PostgreSQL's where it may, so that nodes agree, else the one that is handed in."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from callrail_relay.outbox.store import Store
from tests.outbox.worker import Worker, find, put
from tests.support.clock import START, ManualClock

pytestmark = pytest.mark.anyio


def server_time(url: str) -> datetime:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        told: datetime = row[0]
        return told.astimezone(UTC)


async def test_postgresql_tells_the_time(postgres_url: str, clock: ManualClock) -> None:
    """A node whose own clock is years off stores, claims and counts by the server's."""
    clock.set(datetime(2001, 1, 1, tzinfo=UTC))
    before = server_time(postgres_url)
    outbox = await Store.open(postgres_url, clock)
    id_ = await put(outbox, "Hello")
    await Worker(outbox).send()
    now = await outbox.now()
    after = server_time(postgres_url)

    message = await find(outbox, id_)
    (attempt,) = message.segments[0].attempts
    assert message.sent_at is not None
    times = [before, message.received_at, attempt.started_at, message.sent_at, now, after]
    assert sorted(times) == times
    assert all(one.tzinfo is UTC and one.utcoffset() == timedelta() for one in times)
    # A process that waits for an instant that the store named waits by the same clock.
    assert timedelta() <= server_time(postgres_url) - outbox.clock.now() < timedelta(minutes=1)
    await outbox.close()


async def test_the_clock_tells_the_time_where_it_is_asked(outbox: Store) -> None:
    """With ``database_time`` off, on either database."""
    assert START == await outbox.now()


async def test_sqlite_has_no_clock_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One machine, one clock: the one that is handed in."""
    path = tmp_path_factory.mktemp("store") / "relay.db"
    outbox = await Store.open(f"sqlite:///{path}", ManualClock())

    assert START == await outbox.now()
    await outbox.close()
