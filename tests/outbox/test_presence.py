"""Who serves a store: one on SQLite, several on PostgreSQL, and none that is gone."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from callrail_relay import __version__
from callrail_relay.domain.health import Contact, Slept
from callrail_relay.errors import AlreadyRunning
from callrail_relay.outbox import presence, replies
from callrail_relay.outbox.presence import COPY, GONE, SERVE, StoreLock
from callrail_relay.outbox.store import Store
from tests.outbox.database import connected
from tests.outbox.worker import Worker, put
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT
from tests.support.policies import poll_policy

pytestmark = pytest.mark.anyio

HOLDER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from callrail_relay.outbox.presence import StoreLock

lock = StoreLock(Path(sys.argv[1]))
lock.take(sys.argv[2], datetime(2026, 3, 2, 15, 0, tzinfo=UTC))
print("held", flush=True)
sys.stdin.read()
"""


@dataclass
class Holding:
    """Starts processes that hold the lock of a store."""

    store: Path
    processes: list["subprocess.Popen[str]"]

    def start(self, by: str = SERVE) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(self.store), by],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert "held\n" == process.stdout.readline()
        return process


@pytest.fixture
def holding(sqlite_path: Path) -> Iterator[Holding]:
    made = Holding(sqlite_path, [])
    yield made
    for process in made.processes:
        process.kill()
        process.communicate()


# --- SQLite ----------------------------------------------------------------------------------------------


def test_second_serve_learns_of_the_first(holding: Holding, sqlite_path: Path) -> None:
    """Which process it is, and since when; asking tells the same."""
    first = holding.start()
    second = StoreLock(sqlite_path)

    with pytest.raises(AlreadyRunning) as refused:
        second.take(SERVE, START)

    assert (SERVE, f" (process {first.pid})", START, False) == (
        refused.value.by,
        refused.value.process,
        refused.value.since,
        refused.value.has_dashboard,
    )
    server = second.server()
    assert server is not None
    assert (first.pid, START) == (server.pid, server.since)


def test_lock_of_a_killed_process_is_free(holding: Holding, sqlite_path: Path) -> None:
    """At once, though its note is still there."""
    first = holding.start()
    first.kill()
    first.wait()
    lock = StoreLock(sqlite_path)

    assert lock.server() is None
    lock.take(SERVE, START)
    assert lock.server() is not None
    lock.release()


def test_one_store_has_one_lock_however_it_is_named(holding: Holding, sqlite_path: Path) -> None:
    """By another spelling, and through a symbolic link, for which Windows asks a right."""
    sqlite_path.touch()
    others = [sqlite_path.parent / ".." / sqlite_path.parent.name / sqlite_path.name]
    if sys.platform != "win32":
        others.append(sqlite_path.with_name("link.db"))
        others[-1].symlink_to(sqlite_path)
    holding.start()

    for other in others:
        assert StoreLock(other).server() is not None
        with pytest.raises(AlreadyRunning):
            StoreLock(other).take(SERVE, START)


def test_asking_leaves_no_file_behind(sqlite_path: Path) -> None:
    """One of another user would keep the relay from starting."""
    assert StoreLock(sqlite_path).server() is None
    assert [] == list(sqlite_path.parent.glob("relay.db*"))


def test_copy_is_no_relay_and_keeps_one_out(holding: Holding, sqlite_path: Path) -> None:
    holding.start(COPY)
    lock = StoreLock(sqlite_path)

    assert lock.server() is None
    with pytest.raises(AlreadyRunning, match=COPY):
        lock.take(SERVE, START)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_files_of_the_lock_are_private(sqlite_path: Path) -> None:
    lock = StoreLock(sqlite_path)
    lock.take(SERVE, START)
    lock.note(private_url="http://127.0.0.1:8788")

    assert [0o600, 0o600] == [path.stat().st_mode & 0o777 for path in sqlite_path.parent.glob("relay.db*")]
    lock.release()


async def test_serve_that_is_refused_leaves_the_store_as_it_is(holding: Holding, sqlite_path: Path) -> None:
    """Its tables too: a newer release must not change them under a relay that works on them."""
    holding.start()
    with pytest.raises(AlreadyRunning):
        await Store.open(f"sqlite:///{sqlite_path}", ManualClock(), serves=True)
    with connected(f"sqlite:///{sqlite_path}") as connection:
        assert [] == sa.inspect(connection).get_table_names()


# --- PostgreSQL ------------------------------------------------------------------------------------------


async def test_several_nodes_serve_one_store(postgres_url: str) -> None:
    """Each is there from its start to its clean stop, or until it said nothing for GONE."""
    clock, later = ManualClock(), ManualClock(START + timedelta(minutes=1))
    first = await Store.open(postgres_url, clock, database_time=False, serves=True)
    watching = await Store.open(postgres_url, clock, database_time=False)
    second = await Store.open(postgres_url, clock, database_time=False, serves=True)
    assert 2 == len((await watching.running()).nodes)

    await second.close()
    assert 1 == len((await watching.running()).nodes)

    clock.advance(GONE)
    assert not await watching.running()
    third = await Store.open(postgres_url, later, database_time=False, serves=True)
    await first.beat()
    assert [START, later.now()] == [node.since for node in (await watching.running()).nodes]
    for outbox in (first, third, watching):
        await outbox.close()


async def test_every_node_shows_its_version_and_its_last_sleep(postgres_url: str) -> None:
    """Also after a sleep so long that the others forgot it meanwhile."""
    clock = ManualClock()
    first = await Store.open(postgres_url, clock, database_time=False, serves=True)
    clock.advance(GONE)
    other = await Store.open(postgres_url, clock, database_time=False, serves=True)
    slept = Slept(28_800, clock.now())
    await first.note(slept=slept)
    await first.beat()
    await other.beat()

    nodes = (await other.running()).nodes

    assert [(START, __version__, slept), (clock.now(), __version__, None)] == [
        (node.since, node.version, node.slept) for node in nodes
    ]
    for outbox in (first, other):
        await outbox.close()


# --- CallRail --------------------------------------------------------------------------------------------


async def test_contact_is_what_callrail_answered_last(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """
    A text that was sent, a look for replies, or a request that was made to learn it. A later failure shows.
    """

    async def contact() -> Contact:
        return (await outbox.read(presence.read_contacts, [ACCOUNT]))[ACCOUNT]

    async def look(*, well: bool, requests: int = 1) -> None:
        due = await outbox.write(replies.claim_poll, (ACCOUNT, "COM1"), policy)
        assert due is not None
        clock.advance(1)
        await outbox.write(replies.end_poll, due.id, requests, well=well)

    policy = poll_policy(companies=((ACCOUNT, "COM1"),), every=timedelta(seconds=1))
    assert Contact() == await contact()

    await put(outbox, "Hello")
    await worker.send()
    assert Contact(answered_at=START) == await contact()

    clock.advance(1)
    await outbox.write(presence.note_contacts, [ACCOUNT], answered=False)
    assert (await contact()).is_lost
    clock.advance(1)
    await look(well=True)
    assert Contact(answered_at=clock.now()) == await contact()

    clock.advance(1)
    await look(well=False, requests=0)
    assert not (await contact()).is_lost
    clock.advance(1)
    await look(well=False)
    assert (await contact()).is_lost
    clock.advance(1)
    await outbox.write(presence.note_contacts, [ACCOUNT], answered=True)
    assert Contact(answered_at=clock.now()) == await contact()
