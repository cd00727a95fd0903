"""
A real PostgreSQL of the tests' own, on a free port of 127.0.0.1.

Every process that runs tests has its own cluster, made when its first test asks for one: that
takes about a second, also when several are made at once, and nothing is shared that would have to be
counted. A keeper, a small process beside it, waits for the end of the process that runs the tests,
however it ends, and then stops the server and removes its files.
"""

import itertools
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from psycopg import sql

from tests.support.parts import need
from tests.support.postgres_keeper import environment, run, system_user

ROOT = Path(__file__).parents[2]

# What is lost when the machine goes down is no loss to a test.
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 32MB
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
timezone = 'UTC'
"""

UNCOUNTED = "autovacuum = off"
"""How PostgreSQL finds things must not depend on whether it had the time to count them during the test."""

INITDB = (
    "--pgdata=data",
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--no-sync",
)


@dataclass(frozen=True)
class PostgresCluster:
    """A running server that holds a database for each test."""

    port: int
    programs: Path
    folder: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create_role(self, name: str, *, owns: str) -> None:
        """Make a user without special rights, who owns a database."""
        self._execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        self._execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(owns), sql.Identifier(name))
        )

    def create_database(self, template: str = "template0", encoding: str = "UTF8") -> str:
        """Make a database, an empty one or a copy of *template*; return its name."""
        name = f"test_{next(self._numbers)}"
        copied = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING {}")
        self._execute(copied.format(sql.Identifier(name), sql.Identifier(template), encoding))
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, also under connections that a test left open."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def restart(self, mode: Literal["fast", "immediate"]) -> None:
        """
        Stop the server under everybody who is connected and start it again on its port; it blocks.

        "fast" ends all connections first; "immediate" is what a crash of the server looks like.
        """
        restart = ("restart", "--pgdata=data", "--log=server.log", "--wait", "--timeout=30", "--silent")
        run(self.programs / "pg_ctl", *restart, f"--mode={mode}", folder=self.folder)

    def stop(self) -> None:
        """Stop the server until ``restart``; it blocks."""
        stop = ("stop", "--pgdata=data", "--wait", "--timeout=30", "--silent", "--mode=fast")
        run(self.programs / "pg_ctl", *stop, folder=self.folder)

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """A server for all tests of this process."""
    with running_cluster(UNCOUNTED) as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """The URL of an empty database for one test: `postgresql://postgres@127.0.0.1:<port>/test_<n>`."""
    name = postgres_cluster.create_database()
    yield postgres_cluster.url(name)
    postgres_cluster.drop_database(name)


@contextmanager
def running_cluster(settings: str = "") -> Iterator[PostgresCluster]:
    """
    Make a cluster and run it until the end of this block, or of this process.

    *settings* are lines of postgresql.conf that count before SETTINGS.
    """
    programs = need("PostgreSQL").resolve().parent  # its neighbours are not always on PATH
    folder = make_folder()
    with _keeper(programs, folder):
        run(programs / "initdb", *INITDB, folder=folder)
        with (folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"{SETTINGS}{settings}\n")
        yield PostgresCluster(_start(programs, folder), programs, folder)


def make_folder() -> Path:
    """
    A directory for one cluster, owned by the user who runs it.

    pytest's own directories are closed to other users, and PostgreSQL refuses to be run by root.
    """
    user = system_user()
    folder = Path(tempfile.mkdtemp(prefix="relay-postgres-", dir="/tmp" if user else None))
    if user:
        shutil.chown(folder, user, user)
    return folder


@contextmanager
def _keeper(programs: Path, folder: Path) -> Iterator[None]:
    """Stop the server in *folder* and remove its files at the end of this block, or of this process."""
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.support.postgres_keeper", str(programs), str(folder)],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        start_new_session=True,  # an interrupt from the keyboard is for the tests, not for the keeper
    )
    with keeper:  # leaving it closes the pipe, which is the sign, and waits
        yield


def _start(programs: Path, folder: Path) -> int:
    """
    Start the server, wait until it answers, and return its port.

    A port that was free a moment ago may be taken by now; then another one is tried.
    """
    start = ("start", "--pgdata=data", "--log=server.log", "--wait", "--timeout=30", "--silent")
    for _ in range(5):
        port = free_port()
        if run(programs / "pg_ctl", *start, f"--options=-p {port}", folder=folder, check=False):
            return port
    raise RuntimeError((folder / "server.log").read_text(encoding="utf-8", errors="replace"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
