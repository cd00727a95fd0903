"""What the tests rely on works."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support import environment
from tests.support.network import OutsideNetworkError
from tests.support.parts import PARTS, Part, find, need
from tests.support.postgres import PostgresCluster

ROOT = Path(__file__).parents[1]

# Documentation addresses (RFC 5737, RFC 3849): no host has them.
OUTSIDE = "192.0.2.1"
OUTSIDE_6 = "2001:db8::1"


@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, OUTSIDE), (socket.AF_INET6, OUTSIDE_6)],
)
def test_no_test_connects_to_another_machine(family: socket.AddressFamily, host: str) -> None:
    """A connection to another machine is refused before a byte is sent."""
    with socket.socket(family) as sock, pytest.raises(OutsideNetworkError, match=host):
        sock.connect((host, 80))


def test_no_test_sends_a_datagram_to_another_machine() -> None:
    """UDP is closed as well."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(OutsideNetworkError):
        sock.sendto(b"hello", (OUTSIDE, 53))


def test_no_test_looks_up_a_name() -> None:
    """No name server is asked, also from an event loop."""
    with pytest.raises(OutsideNetworkError, match=r"example\.com"):
        asyncio.run(connect("example.com"))


def test_invalid_names_are_unknown() -> None:
    """A name under `.invalid` is unknown as it is everywhere, for tests of just that."""
    with pytest.raises(socket.gaierror):
        asyncio.run(connect("api.invalid"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_open(host: str) -> None:
    """A server on this machine can be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection((host, server.getsockname()[1])).close()


def test_environment_is_clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Settings, colors and proxies of the person who runs the tests are gone; every directory is the test's own.
    """
    for name in ("CALLRAIL_API_KEY", "CALLRAIL_RELAY_LIMITS__PER_HOUR", "NO_COLOR", "https_proxy", "PGHOST"):
        monkeypatch.setenv(name, "x")
    folder = tmp_path / "again"
    folder.mkdir()

    environment.clean(monkeypatch, folder)

    assert {"CALLRAIL_RELAY_DATA"} == {name for name in os.environ if name.startswith("CALLRAIL_")}
    assert set() == {"NO_COLOR", "https_proxy", "PGHOST"} & set(os.environ)
    assert folder / "home" == Path.home()


def test_missing_part_skips_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a program its tests are skipped, and say which one it is."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setitem(PARTS, "tmux", Part(("no-such-program",)))

    with pytest.raises(pytest.skip.Exception, match="tmux is not installed"):
        need("tmux")


def test_missing_part_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything has to be tested, a missing program is a failure."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setitem(PARTS, "tmux", Part(("no-such-program",)))

    with pytest.raises(pytest.fail.Exception, match="tmux is not installed"):
        need("tmux")


def test_part_of_another_system_is_skipped_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No one can install what does not exist for their system."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setitem(PARTS, "tmux", Part(("tmux",), platforms=("plan9",)))

    with pytest.raises(pytest.skip.Exception, match="does not exist"):
        need("tmux")


@pytest.mark.skipif(sys.platform == "win32", reason="programs are told by their ending there")
def test_newest_part_is_found(tmp_path: Path) -> None:
    """Of several versions beside `PATH` the newest is taken: 18 comes after 9."""
    for number in ("9", "18", "16"):
        program = tmp_path / number / "bin" / "relay-test-program"
        program.parent.mkdir(parents=True)
        program.touch(mode=0o755)

    assert tmp_path / "18" / "bin" / "relay-test-program" == find(
        Part(("relay-test-program",), (f"{tmp_path}/*/bin",))
    )


def test_each_test_has_an_empty_database(postgres_url: str) -> None:
    """The database answers and holds no table."""
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert (0,) == tables


def test_database_is_dropped_under_open_connections(postgres_cluster: PostgresCluster) -> None:
    """A connection that was left open does not keep a database."""
    name = postgres_cluster.create_database()
    with psycopg.connect(postgres_cluster.url(name)) as left_open:
        postgres_cluster.drop_database(name)

        with pytest.raises(psycopg.OperationalError):
            left_open.execute("SELECT 1")


DIE_WITH_A_SERVER = """
import os, signal
from tests.support.postgres import running_cluster
with running_cluster() as cluster:
    print(cluster.port, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_server_ends_with_its_tests() -> None:
    """
    Also when the process that runs the tests is killed, the server is stopped and its files are removed.
    """
    need("PostgreSQL")
    # The keeper has inherited the pipe: reading to its end is waiting for the keeper.
    killed = subprocess.run(
        [sys.executable, "-c", DIE_WITH_A_SERVER], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert -9 == killed.returncode, killed.stderr
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(killed.stdout)))


async def connect(host: str) -> None:
    await asyncio.open_connection(host, 80)


def test_what_a_test_needs_is_installed() -> None:
    """By `tests/run`, wherever it can install programs."""
    installs = (ROOT / "tests" / "run").read_text(encoding="utf-8")
    needed = {
        name
        for file in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r'\bneed\("([^"]+)"\)', file.read_text(encoding="utf-8"))
    }
    assert "PostgreSQL" in needed
    assert not [name for name in needed if PARTS[name].programs[0] not in installs]
