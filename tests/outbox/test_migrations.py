"""Migrations: they make the tables of the code, once, and refuse what a newer release wrote."""

import asyncio
import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from operator import itemgetter
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from callrail_relay.clock import SystemClock
from callrail_relay.domain.health import Node
from callrail_relay.domain.mapper import MappedText
from callrail_relay.domain.message import Status
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import decisions, migrations, presence, queries, schema
from callrail_relay.outbox.engine import open_engine
from callrail_relay.outbox.schema import current_version, migrate
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import attempts, messages, metadata, segments, tallies
from callrail_relay.outbox.transaction import Transaction
from tests.outbox import revision_1
from tests.outbox.database import connected
from tests.outbox.worker import Worker, accept_one, find, put
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


def set_version(url: str, version: str) -> None:
    with connected(url) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :version"), {"version": version})


async def open_and_close(url: str, clock: ManualClock) -> None:
    await (await Store.open(url, clock, database_time=False)).close()


def read_schema(connection: sa.Connection) -> Definitions:
    """The definition of every index and trigger, with its condition, which Alembic does not compare."""
    query = (
        "SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
        if connection.dialect.name == "sqlite"
        else "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        " UNION ALL SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
    )
    rows = connection.exec_driver_sql(query).all()
    return {str(name): str(definition) for name, definition in rows if "alembic" not in name}


async def test_a_new_store_has_the_tables_of_the_code(empty_url: str, clock: ManualClock) -> None:
    """Columns, types, defaults, keys and indexes."""
    await open_and_close(empty_url, clock)

    with connected(empty_url) as connection:
        assert [] == differences(connection)
        assert migrations.HEAD == current_version(connection)


async def test_indexes_are_made_in_one_order(sqlite_path: Path, clock: ManualClock) -> None:
    """Of two that serve a claim alike, SQLite takes the one made first; it must not be luck which that is."""
    await open_and_close(f"sqlite:///{sqlite_path}", clock)
    with closing(sqlite3.connect(sqlite_path)) as connection:
        made = connection.execute(
            "SELECT tbl_name, name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY rowid"
        ).fetchall()

    for table, indexes in itertools.groupby(made, key=itemgetter(0)):
        names = [name for _, name in indexes]
        assert sorted(names) == names, table


async def test_all_migrations_together_make_the_tables_of_the_code(
    empty_url: str, clock: ManualClock
) -> None:
    """A partial index of another condition would not be used, and no one would notice."""
    await open_and_close(empty_url, clock)
    with connected(empty_url) as connection:
        created = read_schema(connection)
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("DROP TABLE alembic_version")
            metadata.drop_all(connection)
        else:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        revision_1.create(connection)

    await open_and_close(empty_url, clock)

    with connected(empty_url) as connection:
        assert [] == differences(connection)
        assert migrations.HEAD == current_version(connection)
        assert created == read_schema(connection)


@pytest.mark.parametrize("version", ["0001", "0016"])
async def test_an_older_store_is_refused(empty_url: str, clock: ManualClock, version: str) -> None:
    """Nothing of it is changed, and the sentence says how to keep what is in it."""
    await open_and_close(empty_url, clock)
    set_version(empty_url, version)

    with pytest.raises(Unavailable, match=r"before 0\.2\.0.*messages export.*suppressions export") as refused:
        await Store.open(empty_url, clock, database_time=False)

    assert 8 == refused.value.exit_code
    with connected(empty_url) as connection:
        assert version == current_version(connection)


def test_a_store_that_is_up_to_date_is_opened_without_alembic(tmp_path: Path) -> None:
    """It would be nine megabytes, and a tenth of a second of every start."""
    url = f"sqlite:///{(tmp_path / 'relay.db').as_posix()}"
    script = (
        "import asyncio, sys; from callrail_relay.clock import SystemClock;"
        "from callrail_relay.outbox.store import Store;"
        "asyncio.run(Store.open(sys.argv[1], SystemClock())); print('alembic' in sys.modules)"
    )

    def opened() -> str:
        return subprocess.run(
            [sys.executable, "-c", script, url], capture_output=True, text=True, check=True
        ).stdout.strip()

    assert ["True", "False"] == [opened(), opened()]


async def test_opening_again_is_harmless(empty_url: str, clock: ManualClock) -> None:
    """Tables and texts stay as they are."""
    outbox = await Store.open(empty_url, clock, database_time=False)
    id_ = await put(outbox, "Hello")
    await outbox.close()

    again = await Store.open(empty_url, clock, database_time=False)

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
        node = await Store.open(url, SystemClock())
        await node.write_probe()
        await node.write(decisions.resume, ACCOUNT)
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


async def test_a_store_of_a_newer_release_is_refused(empty_url: str, clock: ManualClock) -> None:
    """Its content is unknown; nothing in it is changed."""
    await open_and_close(empty_url, clock)
    set_version(empty_url, "9999")

    with pytest.raises(Unavailable, match="written by a newer callrail-relay; install that version"):
        await Store.open(empty_url, clock, database_time=False)

    with connected(empty_url) as connection:
        assert "9999" == current_version(connection)


@contextmanager
def older_serve(url: str, clock: ManualClock) -> Iterator[None]:
    """A store with a `serve` at work on it."""
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    with connected(url) as connection:
        if connection.dialect.name == "postgresql":
            presence.beat(Transaction(connection, clock.now()), "older", Node(name="other:1"))
    lock = presence.StoreLock(Path(str(sa.make_url(url).database)))
    if url.startswith("sqlite"):
        lock.take(presence.SERVE, clock.now())
    yield
    lock.release()
    if not url.startswith("sqlite"):
        with connected(url) as connection:
            presence.leave(Transaction(connection, clock.now()), "older")


@pytest.mark.parametrize("serves", [False, True], ids=["a command", "a second serve"])
async def test_tables_stay_as_they_are_while_an_older_relay_works_on_them(
    empty_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, *, serves: bool
) -> None:
    """It would fail in the midst of its work. When it has ended, the same command brings them up to date."""
    with monkeypatch.context() as newer, older_serve(empty_url, clock):
        newer.setattr(schema, "HEAD", "newer")
        with pytest.raises(Unavailable, match=r"older version|`serve` is running"):
            await Store.open(empty_url, clock, database_time=False, serves=serves)

    outbox = await Store.open(empty_url, clock, database_time=False, serves=serves)
    await outbox.close()
    with connected(empty_url) as connection:
        assert migrations.HEAD == current_version(connection)


async def test_an_older_command_is_told_that_the_running_relay_is_newer(
    empty_url: str, clock: ManualClock
) -> None:
    """Not to restart it."""
    with older_serve(empty_url, clock):
        set_version(empty_url, "9999")
        with pytest.raises(Unavailable, match="written by a newer callrail-relay"):
            await Store.open(empty_url, clock, database_time=False)


async def test_the_tallies_agree_with_the_messages(outbox: Store, worker: Worker, store_url: str) -> None:
    """Whatever is done to messages, singly or many at a time, the triggers count it; and where none is, 0."""
    for number in range(6):
        await put(outbox, f"Text {number}", to=recipient(number))
    await accept_one(outbox, make_submission(make_message(draft=MappedText(recipient=RECIPIENT))))
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
    assert 4 == (await outbox.read(queries.count_by_status))[Status.CANCELLED]
    with connected(store_url) as connection:
        connection.execute(sa.delete(attempts))
        connection.execute(sa.delete(segments))
        connection.execute(sa.delete(messages))
    assert {0} == set((await outbox.read(queries.count_by_status)).values())
