"""Migrations: they make the tables of the code, once, and refuse what a newer release wrote."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from callrail_relay.clock import SystemClock
from callrail_relay.domain.mapper import MappedText
from callrail_relay.domain.message import Status
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import migrations, presence
from callrail_relay.outbox.schema import current_version, steps, upgrade
from callrail_relay.outbox.store import Outbox
from callrail_relay.outbox.tables import attempts, messages, metadata, segments, tallies
from tests.outbox.database import connected
from tests.outbox.worker import Worker, find, put
from tests.support.clock import ManualClock
from tests.support.factories import ACCOUNT, RECIPIENT, make_message, make_submission, recipient
from tests.support.postgres import PostgresCluster

pytestmark = pytest.mark.anyio

Definitions = dict[str, str]


def differences(connection: sa.Connection) -> list[object]:
    """
    What would still have to change for the database to have the tables of the code, as Alembic finds it.
    """
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, metadata))


def read_indexes(connection: sa.Connection) -> Definitions:
    """The definition of every index, with its condition, which Alembic does not compare."""
    query = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if connection.dialect.name == "sqlite"
        else "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    )
    rows = connection.exec_driver_sql(query).all()
    return {str(name): str(definition) for name, definition in rows if "alembic" not in name}


async def open_and_close(url: str, clock: ManualClock) -> None:
    await (await Outbox.open(url, clock, database_time=False)).close()


async def test_all_migrations_together_make_the_tables_of_the_code(
    store_url: str, clock: ManualClock
) -> None:
    """Columns, types, defaults, keys and indexes."""
    await open_and_close(store_url, clock)

    with connected(store_url) as connection:
        assert [] == differences(connection)
        assert migrations.HEAD == current_version(connection)


async def test_the_indexes_have_the_conditions_of_the_code(store_url: str, clock: ManualClock) -> None:
    """A partial index of another condition would not be used, and nobody would notice."""
    await open_and_close(store_url, clock)
    with connected(store_url) as connection:
        migrated = read_indexes(connection)
        metadata.drop_all(connection)
        metadata.create_all(connection)
        created = read_indexes(connection)

    assert created == migrated


def test_the_newest_step_is_the_head() -> None:
    """A store at the head is opened without looking at the steps, so the name must be right."""
    assert migrations.HEAD == list(steps())[-1]


@pytest.mark.parametrize("revision", steps())
async def test_every_earlier_store_is_brought_up_to_date(
    store_url: str, clock: ManualClock, revision: str
) -> None:
    """What a release of that time stored is still there."""
    with connected(store_url) as connection:
        upgrade(connection, revision)
        connection.exec_driver_sql(
            "INSERT INTO submissions (id, source, received_at, body) VALUES ('s', 'send', 1, '')"
        )
        connection.exec_driver_sql(
            "INSERT INTO messages (id, submission_id, status, source, received_at, not_before, segment_count,"
            " text, reasons, approved)"
            " VALUES ('m', 's', 'sent', 'send', 1, 1, 1, 'From before', '[]', '[]')"
        )
        connection.exec_driver_sql(
            "INSERT INTO segments (message_seq, position, content, status)"
            " VALUES (1, 1, 'From before', 'sent')"
        )
        connection.exec_driver_sql(
            "INSERT INTO attempts (segment_id, message_seq, account_id, tracking_number, recipient, node,"
            " started_at, lease_until, finished_at, counted_at, outcome)"
            " VALUES (1, 1, 'ACC1', '+12025550133', '+12025550122', 'n', 1, 2, 2, 2, 'Sent')"
        )

    outbox = await Outbox.open(store_url, clock, database_time=False)

    message = await find(outbox, "m")
    assert "From before" == message.text
    assert ["Sent"] == [attempt.outcome for attempt in message.segments[0].attempts]
    await outbox.close()
    with connected(store_url) as connection:
        assert [] == differences(connection)


async def test_opening_again_is_harmless(store_url: str, clock: ManualClock) -> None:
    """Tables and texts stay as they are."""
    outbox = await Outbox.open(store_url, clock, database_time=False)
    id_ = await put(outbox, "Hello")
    await outbox.close()

    again = await Outbox.open(store_url, clock, database_time=False)

    assert "Hello" == (await find(again, id_)).text
    await again.close()


ROUNDS, AT_ONCE = {"sqlite": 30, "postgresql": 10}, 6


@pytest.mark.parametrize("database", ROUNDS)
def test_a_fresh_store_can_be_opened_by_many_at_once(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """
    One makes the tables, the others find them, and all can write; 180 openings on SQLite, 60 on PostgreSQL.
    """
    all_there = Barrier(AT_ONCE)

    async def start(url: str) -> None:
        node = await Outbox.open(url, SystemClock())
        await node.write_probe()
        await node.resume(ACCOUNT)
        await node.close()

    def begin(url: str) -> None:
        all_there.wait(30)
        asyncio.run(start(url))

    for number in range(ROUNDS[database]):
        if database == "sqlite":
            url = f"sqlite:///{(tmp_path / f'{number}.db').as_posix()}"
        else:
            cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
            url = cluster.url(cluster.create_database())
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(begin, [url] * AT_ONCE))
    assert [] == [path.name for path in tmp_path.glob(".*")]


async def test_a_store_of_a_newer_release_is_refused(store_url: str, clock: ManualClock) -> None:
    """Nobody knows what it holds; nothing of it is changed."""
    await open_and_close(store_url, clock)
    with connected(store_url) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(Unavailable, match="written by a newer callrail-relay; install that release"):
        await Outbox.open(store_url, clock, database_time=False)

    with connected(store_url) as connection:
        assert "9999" == current_version(connection)


@contextmanager
def older_serve(url: str, clock: ManualClock) -> Iterator[None]:
    """A store of the release before, with a `serve` of it at work."""
    with connected(url) as connection:
        upgrade(connection, list(steps())[-2])
        if connection.dialect.name == "postgresql":
            presence.beat(connection, clock.now(), id_="older", name="other:1", since=None)
    lock = presence.StoreLock(Path(str(sa.make_url(url).database)))
    if url.startswith("sqlite"):
        lock.take(presence.SERVE, clock.now())
    yield
    lock.release()
    if not url.startswith("sqlite"):
        with connected(url) as connection:
            presence.leave(connection, clock.now(), "older")


@pytest.mark.parametrize("serves", [False, True], ids=["a command", "a second serve"])
async def test_tables_stay_as_they_are_while_an_older_relay_works_on_them(
    store_url: str, clock: ManualClock, *, serves: bool
) -> None:
    """It would fail in the midst of its work. When it has ended, the same command brings them up to date."""
    with older_serve(store_url, clock):
        with pytest.raises(Unavailable, match=r"older version|`serve` is running"):
            await Outbox.open(store_url, clock, database_time=False, serves=serves)
        with connected(store_url) as connection:
            assert migrations.HEAD != current_version(connection)

    outbox = await Outbox.open(store_url, clock, database_time=False, serves=serves)
    await outbox.close()
    with connected(store_url) as connection:
        assert migrations.HEAD == current_version(connection)


async def test_an_older_command_is_told_that_the_running_relay_is_newer(
    store_url: str, clock: ManualClock
) -> None:
    """Not to restart it."""
    with older_serve(store_url, clock):
        with connected(store_url) as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(Unavailable, match="written by a newer callrail-relay"):
            await Outbox.open(store_url, clock, database_time=False)


async def test_the_tallies_agree_with_the_messages(outbox: Outbox, worker: Worker, store_url: str) -> None:
    """Whatever is done to messages, singly or many at a time, the triggers count it; and where none is, 0."""
    for number in range(6):
        await put(outbox, f"Text {number}", to=recipient(number))
    await outbox.accept(make_submission(make_message(draft=MappedText(recipient=RECIPIENT))))
    await worker.send()
    with connected(store_url) as connection:
        connection.execute(sa.update(messages).where(messages.c.seq > 3).values(status="cancelled"))
        connection.execute(sa.update(messages).where(messages.c.seq == 2).values(segment_count=7))
        counted = connection.execute(
            sa.select(
                sa.func.coalesce(messages.c.account_id, ""),
                messages.c.status,
                sa.func.count(),
                sa.func.sum(messages.c.segment_count),
            ).group_by(messages.c.account_id, messages.c.status)
        ).all()
        tallied = connection.execute(sa.select(tallies).where(tallies.c.messages > 0)).all()

    assert {tuple(row) for row in counted} == {tuple(row) for row in tallied}
    assert 4 == (await outbox.count_by_status())[Status.CANCELLED]
    with connected(store_url) as connection:
        connection.execute(sa.delete(attempts))
        connection.execute(sa.delete(segments))
        connection.execute(sa.delete(messages))
    assert {0} == set((await outbox.count_by_status()).values())
