"""Faults of the disk and of the database, in words that say what to do."""

import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from callrail_relay.domain.message import MessageFilter
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import engine, queries
from callrail_relay.outbox.backups import copy_file
from callrail_relay.outbox.store import Store
from tests.outbox.disk import allow, damage, modes, ordinary_user, public_folder
from tests.outbox.worker import accept_one, put
from tests.support.clock import ManualClock
from tests.support.factories import make_submission

pytestmark = pytest.mark.anyio


async def open_store(path: Path, clock: ManualClock) -> Store:
    return await Store.open(f"sqlite:///{path}", clock)


async def make_store(path: Path, clock: ManualClock) -> None:
    """A store with one text in it, closed."""
    outbox = await open_store(path, clock)
    try:
        await put(outbox, "Hello")
    finally:
        await outbox.close()


@pytest.fixture
async def store(sqlite_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    outbox = await open_store(sqlite_path, clock)
    yield outbox
    await outbox.close()


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process waits long for a lock."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 0.05)


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder() as path:
        yield path


posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps rights in other ways")


@posix_only
async def test_nobody_else_can_read_the_store(tmp_path: Path, clock: ManualClock) -> None:
    """Texts and phones are personal data: files 0600, directories 0700, also SQLite's side files."""
    outbox = await open_store(tmp_path / "data" / "relay.db", clock)
    await put(outbox, "Hello")

    assert {
        "data": 0o700,
        "relay.db": 0o600,
        "relay.db-shm": 0o600,
        "relay.db-wal": 0o600,
    } == modes(tmp_path / "data")
    await outbox.close()


@pytest.mark.usefixtures("impatience")
async def test_a_store_that_another_program_locks(store: Store, sqlite_path: Path) -> None:
    """Writing is refused in words, and works again when the lock is gone; reading goes on."""
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            Unavailable, match=r"relay\.db is locked by another program; end it, or try again"
        ):
            await put(store, "Hello")
        with pytest.raises(Unavailable, match="locked"):
            await store.write_probe()
        assert [] == await store.read(queries.list_messages, MessageFilter())

    await put(store, "Hello")


@pytest.mark.usefixtures("impatience")
async def test_a_new_store_that_another_program_locks(sqlite_path: Path, clock: ManualClock) -> None:
    """It cannot even be opened."""
    with closing(sqlite3.connect(sqlite_path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="is locked by another program"):
            await open_store(sqlite_path, clock)


async def test_a_store_that_is_read_only(folder: Path, clock: ManualClock) -> None:
    """The texts can be shown, and nothing is taken in."""
    path = folder / "relay.db"
    await make_store(path, clock)
    allow(path, 0o444)
    allow(folder, 0o777)
    with ordinary_user():
        outbox = await open_store(path, clock)
        assert 1 == len(await outbox.read(queries.list_messages, MessageFilter()))
        with pytest.raises(Unavailable, match="is read-only; let this user write to the file"):
            await accept_one(outbox, make_submission())
        await outbox.close()


@posix_only
async def test_a_folder_that_is_read_only(folder: Path, clock: ManualClock) -> None:
    """SQLite needs its side files beside the store."""
    path = folder / "relay.db"
    await make_store(path, clock)
    allow(path, 0o666)
    allow(folder, 0o555)
    with ordinary_user(), pytest.raises(Unavailable, match="write to the file and its directory"):
        await open_store(path, clock)


@posix_only
async def test_a_new_store_in_a_folder_that_is_read_only(folder: Path, clock: ManualClock) -> None:
    """Neither the store nor a directory for it can be made."""
    allow(folder, 0o555)
    for path in (folder / "relay.db", folder / "data" / "relay.db"):
        with ordinary_user(), pytest.raises(Unavailable, match=r"can't be opened \(Permission denied\)"):
            await open_store(path, clock)


@posix_only
async def test_a_store_of_another_user(folder: Path, clock: ManualClock) -> None:
    """Its mode keeps others out."""
    path = folder / "relay.db"
    await make_store(path, clock)
    allow(path, 0)
    with (
        ordinary_user(),
        pytest.raises(Unavailable, match=r"can't be opened \(Permission denied\)"),
    ):
        await open_store(path, clock)


async def test_a_directory_that_is_missing_is_made(tmp_path: Path, clock: ManualClock) -> None:
    """Also several of them."""
    outbox = await open_store(tmp_path / "one" / "two" / "relay.db", clock)

    await put(outbox, "Hello")
    await outbox.close()


async def test_a_directory_that_is_a_file(tmp_path: Path, clock: ManualClock) -> None:
    """No directory can be made there."""
    (tmp_path / "data").write_text("not a directory", encoding="utf-8")

    with pytest.raises(Unavailable, match=r"\)\. Check its directory, or set CALLRAIL_RELAY_DATA"):
        await open_store(tmp_path / "data" / "relay.db", clock)


async def test_a_store_that_is_a_directory(tmp_path: Path, clock: ManualClock) -> None:
    """Nothing is removed to make room."""
    with pytest.raises(Unavailable, match="can't be opened"):
        await open_store(tmp_path, clock)


@pytest.fixture
def letter(tmp_path: Path) -> Iterator[Path]:
    """A file of other content, which must be as it was after the test."""
    words = b"a letter to a friend\n" * 500
    path = tmp_path / "letter.txt"
    path.write_bytes(words)
    yield path
    assert words == path.read_bytes()


async def test_a_file_that_is_not_a_database(letter: Path, clock: ManualClock) -> None:
    """It is left as it is."""
    with pytest.raises(Unavailable, match="is not a database, or is damaged; move it away"):
        await open_store(letter, clock)


async def test_a_damaged_store(sqlite_path: Path, clock: ManualClock) -> None:
    """The words name a way to get out what is left."""
    await make_store(sqlite_path, clock)
    damage(sqlite_path)

    with pytest.raises(
        Unavailable, match=r"is damaged; `callrail-relay restore` a backup, or run `sqlite3 FILE"
    ):
        await make_store(sqlite_path, clock)


@pytest.mark.parametrize("last_page", [True, False])
async def test_a_damaged_store_is_not_copied(
    sqlite_path: Path, tmp_path: Path, clock: ManualClock, *, last_page: bool
) -> None:
    """A backup of it would be found useless only when it's needed."""
    await make_store(sqlite_path, clock)
    if last_page:
        with sqlite_path.open("r+b") as file:
            file.seek(-4096, os.SEEK_END)
            file.write(b"\xff" * 4096)
    else:
        damage(sqlite_path)

    with pytest.raises(Unavailable, match="If it's damaged, `callrail-relay restore` an earlier backup"):
        copy_file(sqlite_path, tmp_path / "copy.db")


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Databases opened from here on cannot grow."""

    def stop_growing(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 1").close()  # raised to what there is

    sa.event.listen(sa.Engine, "connect", stop_growing)
    yield
    sa.event.remove(sa.Engine, "connect", stop_growing)


async def test_a_full_disk(sqlite_path: Path, clock: ManualClock, request: pytest.FixtureRequest) -> None:
    """What does not fit is refused whole, and what is there can be read."""
    await make_store(sqlite_path, clock)
    request.getfixturevalue("small_disk")
    outbox = await open_store(sqlite_path, clock)

    with pytest.raises(Unavailable, match="can't grow: the disk is full; free some space"):
        await accept_one(outbox, make_submission(body=b"x" * 1_000_000))

    assert 1 == len(await outbox.read(queries.list_messages, MessageFilter()))
    await outbox.close()


def move(path: Path, target: Path) -> None:
    path.rename(target)


@posix_only  # Windows does not let go of a file that is open
async def test_a_store_that_is_moved_away(store: Store, sqlite_path: Path) -> None:
    """A store whose file was moved away refuses writes; once the file is put back, it goes on."""
    await put(store, "Hello")
    away = sqlite_path.with_suffix(".away")
    move(sqlite_path, away)
    for work in (accept_one(store, make_submission()), store.write_probe()):
        with pytest.raises(Unavailable, match=r"relay\.db was moved or deleted while the relay was running"):
            await work

    move(away, sqlite_path)
    assert 1 == len(await store.read(queries.list_messages, MessageFilter()))
    await put(store, "Hello")


@posix_only
async def test_a_folder_that_is_replaced(tmp_path: Path, clock: ManualClock) -> None:
    """A new store in the same place is not the one that is open."""
    path = tmp_path / "data" / "relay.db"
    outbox = await open_store(path, clock)
    move(path.parent, tmp_path / "old")
    await make_store(path, clock)

    with pytest.raises(Unavailable, match="was moved or deleted"):
        await outbox.write_probe()
    await outbox.close()


async def test_a_fault_without_a_name(store: Store, sqlite_path: Path) -> None:
    """The database's own words are better than none."""
    with closing(sqlite3.connect(sqlite_path)) as other:
        other.execute("DROP TABLE probe")

    with pytest.raises(Unavailable, match=r"relay\.db can't be used \(no such table: probe\)"):
        await store.write_probe()


async def test_a_postgresql_that_does_not_run(clock: ManualClock) -> None:
    """The words name the address without its password."""
    url = "postgresql://relay:s3cret-word@127.0.0.1:1/relay"  # nothing listens at port 1

    with pytest.raises(Unavailable, match=r"relay:\*\*\*@127\.0\.0\.1:1/relay doesn't answer") as caught:
        await Store.open(url, clock)

    assert "s3cret-word" not in str(caught.value)


async def test_a_database_that_does_not_exist(postgres_url: str, clock: ManualClock) -> None:
    """The server runs, the rest is wrong; its own words say what."""
    other = f"{postgres_url}_other"
    with pytest.raises(
        Unavailable, match=r"as it should \(database \"\w+_other\" does not exist\); check that"
    ):
        await Store.open(other, clock)
    with pytest.raises(Unavailable, match=r"\(failed to resolve host 'db\.example\.invalid'.*\); check that"):
        await Store.open("postgresql://relay:s3cret-word@db.example.invalid/relay", clock)


async def test_postgresql_without_its_driver(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes with an extra."""
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(Unavailable, match=r"pip install '\.\[postgres\]'"):
        await Store.open("postgresql://relay@127.0.0.1/relay", clock)
