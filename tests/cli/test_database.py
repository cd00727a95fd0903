"""Moving a store to another database."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from callrail_relay.bootstrap import wiring
from callrail_relay.cli import app
from callrail_relay.clock import SystemClock
from callrail_relay.domain.message import MessageFilter
from callrail_relay.errors import AlreadyRunning
from callrail_relay.outbox import opt_outs, queries
from callrail_relay.outbox.copying import KEPT_BY_THE_STORE, copy_store
from callrail_relay.outbox.presence import node_name
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import metadata
from tests.outbox.database import connected
from tests.outbox.worker import REFUSED, Worker, put
from tests.support.clock import START, ManualClock
from tests.support.factories import recipient


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{(tmp_path / 'relay.db').as_posix()}"


@pytest.fixture(params=["to PostgreSQL", "to SQLite"])
def both(request: pytest.FixtureRequest, sqlite_url: str, postgres_url: str) -> tuple[str, str]:
    """Where from, and where to."""
    return (sqlite_url, postgres_url) if request.param == "to PostgreSQL" else (postgres_url, sqlite_url)


def copy(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["database", "copy", *words])


def fill(url: str, *, texts: int = 6) -> None:
    """Texts of every kind: sent, refused, on their way, waiting; and an opt-out."""

    async def work() -> None:
        outbox = await Store.open(url, ManualClock(), database_time=False)
        for number in range(texts):
            await put(outbox, f"Text {number} with a 🏠", to=recipient(number))
        worker = Worker(outbox)
        await worker.send()
        await worker.send(REFUSED)
        await worker.take()
        await outbox.write(opt_outs.add_opt_out, "+12025550133", recipient(9), "asked by phone")
        await outbox.close()

    asyncio.run(work())


def everything(url: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables."""
    with connected(url) as connection:
        return {
            table.name: [
                tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
            if table.name not in KEPT_BY_THE_STORE
        }


def test_a_copy_holds_the_same(both: tuple[str, str]) -> None:
    """Every row of every table, with its number, in either direction."""
    source, target = both
    fill(source)

    copied = copy(source, target, "--json")

    assert 0 == copied.exit_code, copied.output
    assert everything(source) == everything(target)
    assert {"table": "messages", "copied": 6} in json.loads(copied.stdout)["tables"]


def test_a_copy_goes_on_where_the_store_stopped(both: tuple[str, str]) -> None:
    """
    New texts get numbers after those that were copied, and the attempt that was under way is still known.
    """
    source, target = both
    fill(source)
    assert 0 == copy(source, target).exit_code

    async def go_on() -> None:
        outbox = await Store.open(target, ManualClock(), database_time=False)
        await put(outbox, "One more", to=recipient(7))
        newest, *_ = await outbox.read(queries.list_messages, MessageFilter())
        assert "One more" == newest.text
        assert 1 == len(await Worker(outbox).settle_abandoned("node-1"))
        await outbox.close()

    asyncio.run(go_on())


def test_ctrl_c_ends_a_copy_that_only_begins(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the program is still being loaded: what says that it was interrupted copied nothing."""
    fill(sqlite_url)
    target, copy_database = tmp_path / "target.db", wiring.copy_database

    def load(name: str) -> object:
        if name != "copy_database":
            raise AttributeError(name)
        signal.raise_signal(signal.SIGINT)
        return copy_database

    monkeypatch.delattr(wiring, "copy_database")
    monkeypatch.setattr(wiring, "__getattr__", load, raising=False)

    ended = copy(sqlite_url, f"sqlite:///{target.as_posix()}")
    assert 130 == ended.exit_code, ended.output
    assert not target.exists()


def test_an_interrupted_copy_leaves_nothing(both: tuple[str, str]) -> None:
    """It is made again as a whole."""
    source, target = both
    fill(source)

    def begin(_rows: int) -> Callable[[int], None]:
        def interrupt(_more: int) -> None:
            raise KeyboardInterrupt

        return interrupt

    with pytest.raises(KeyboardInterrupt):
        copy_store(source, target, begin, now=START)

    assert not any(everything(target).values())
    assert 0 == copy(source, target).exit_code
    assert everything(source) == everything(target)


def test_the_copy_shows_one_instant(both: tuple[str, str]) -> None:
    """What is written to the source while it is copied is not in the copy, nor half of it."""
    source, target = both
    fill(source)
    before = everything(source)

    def begin(_rows: int) -> Callable[[int], None]:
        with connected(source) as connection:
            connection.execute(sa.text("UPDATE messages SET status = 'cancelled'"))
        return lambda _: None

    copy_store(source, target, begin, now=START)

    assert before == everything(target)


def test_other_texts_are_not_mixed(both: tuple[str, str]) -> None:
    """Nothing is copied into a store that already has texts, nor a second time."""
    source, target = both
    fill(source)
    fill(target, texts=3)

    refused = copy(source, target)

    assert 4 == refused.exit_code
    assert "copy into a new database" in refused.stderr
    assert 3 == len(everything(target)["messages"])


def test_the_faults_of_addresses_are_told(tmp_path: Path, sqlite_url: str) -> None:
    """The same store twice, no address, no file, no store, no server: each has its code and no password."""
    fill(sqlite_url)
    empty = tmp_path / "empty.db"
    empty.touch()
    away = "postgresql://relay:secret@127.0.0.1:9/relay"

    assert 2 == copy(sqlite_url, f"sqlite:///{tmp_path.as_posix()}/../{tmp_path.name}/relay.db").exit_code
    assert 2 == copy("mysql://db/relay", sqlite_url).exit_code
    assert 4 == copy(f"sqlite:///{tmp_path.as_posix()}/none.db", sqlite_url).exit_code
    assert not (tmp_path / "none.db").exists()
    assert 2 == copy(f"sqlite:///{empty.as_posix()}", away).exit_code
    unreachable = copy(sqlite_url, away)
    assert 8 == unreachable.exit_code
    assert "postgresql://relay:***@127.0.0.1:9/relay" in unreachable.stderr
    assert "secret" not in unreachable.output


def test_a_store_in_use_is_not_copied(both: tuple[str, str]) -> None:
    """A relay that works on either would send what waits, and the other would send it again."""
    source, target = both
    fill(source)
    for served in both:
        refused = _while_serving(served, source, target)
        assert (4, True) == (refused.exit_code, "Stop every `serve`" in refused.stderr), refused.output

    assert 0 == copy(source, target).exit_code


def _while_serving(served: str, source: str, target: str) -> Result:
    with asyncio.Runner() as runner:
        outbox = runner.run(Store.open(served, SystemClock(), serves=True))
        try:
            return copy(source, target)
        finally:
            runner.run(outbox.close())


def test_no_relay_starts_on_a_store_that_is_copied(sqlite_url: str, postgres_url: str) -> None:
    """Nor is it copied a second time meanwhile."""
    fill(sqlite_url)
    again: list[Result] = []

    def begin(_rows: int) -> Callable[[int], None]:
        with pytest.raises(AlreadyRunning, match="database copy"):
            _while_serving(sqlite_url, sqlite_url, postgres_url)
        again.append(copy(sqlite_url, postgres_url))
        return lambda _: None

    copy_store(sqlite_url, postgres_url, begin, now=START)

    (refused,) = again
    assert (4, True) == (refused.exit_code, "Another `database copy`" in refused.stderr), refused.output


def test_a_store_that_a_replay_sends_from_is_not_copied(tmp_path: Path, sqlite_url: str) -> None:
    """It has no own lock; what delivers has a name beside the store."""
    fill(sqlite_url)
    with node_name(tmp_path):
        refused = copy(sqlite_url, f"sqlite:///{(tmp_path / 'other.db').as_posix()}")

    assert (4, True) == (refused.exit_code, "Stop every `serve`" in refused.stderr), refused.output
