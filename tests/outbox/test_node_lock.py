"""The names of those who deliver: each has its own, and takes it again after a crash."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from callrail_relay.errors import Unavailable
from callrail_relay.outbox import presence
from callrail_relay.outbox.presence import SERVE, StoreLock, node_name
from tests.outbox.disk import NOBODY, ordinary_user, public_folder
from tests.support.clock import START

HOLDER = """
import sys
from pathlib import Path
from callrail_relay.outbox.presence import node_name

with node_name(Path(sys.argv[1])) as name:
    print(name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the first name of ``tmp_path``, and prints it."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def name_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_holders_have_different_names(tmp_path: Path) -> None:
    """An attempt belongs to one of them."""
    with node_name(tmp_path) as first, node_name(tmp_path) as second, node_name(tmp_path) as third:
        assert 3 == len({first, second, third})


def test_a_name_is_kept_across_restarts(tmp_path: Path) -> None:
    """The next process knows the attempts of the one before."""
    with node_name(tmp_path) as before:
        pass

    with node_name(tmp_path) as after:
        assert before == after


def test_the_lowest_free_name_is_taken(tmp_path: Path) -> None:
    """So that no name with open attempts stays without a holder for long."""
    with ExitStack() as one, ExitStack() as two:
        first = one.enter_context(node_name(tmp_path))
        second = two.enter_context(node_name(tmp_path))
        one.close()
        with node_name(tmp_path) as third:
            assert first == third != second


def test_names_differ_between_machines(tmp_path: Path) -> None:
    """Directories of two machines that share one database."""
    for machine in ("a", "b"):
        (tmp_path / machine).mkdir()

    with node_name(tmp_path / "a") as here, node_name(tmp_path / "b") as there:
        assert here != there


def test_a_name_in_another_process_is_not_taken(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """As long as it lives."""
    held = name_of(holder)

    with node_name(tmp_path) as mine:
        assert held
        assert held != mine


def test_a_name_is_taken_again_after_a_crash(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """However the process died."""
    held = name_of(holder)
    holder.kill()
    holder.wait()

    with node_name(tmp_path) as mine:
        assert held == mine


def test_a_name_that_was_not_written_is_made_anew(tmp_path: Path) -> None:
    """As after a crash between making the file and filling it."""
    with node_name(tmp_path):
        pass
    (name_file,) = tmp_path.glob("*.id")
    name_file.write_text("\n", encoding="ascii")

    with node_name(tmp_path) as made:
        assert made == name_file.read_text(encoding="ascii").strip()
        assert made


def test_there_is_an_end_to_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many processes on one directory are a mistake."""
    monkeypatch.setattr(presence, "MOST_NODES", 1)

    with (
        node_name(tmp_path),
        pytest.raises(Unavailable, match=r"1 processes are already using .+; stop some of them"),
        node_name(tmp_path),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps rights in other ways")
def test_a_directory_that_cannot_be_written() -> None:
    """The words name the directory and the remedy."""
    with public_folder() as folder:
        folder.chmod(0o555)
        with (
            ordinary_user(),
            pytest.raises(Unavailable, match=r"can't be written \(Permission denied\);.* let this user"),
            node_name(folder),
        ):
            pass


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="This takes root")
def test_files_that_root_makes_are_the_owners_of_the_directory() -> None:
    """A service with a user of its own takes the name that a command of root had, and the lock."""
    with public_folder() as folder:
        os.chown(folder, NOBODY, NOBODY)
        StoreLock(folder / "relay.db").take(SERVE, START)
        with node_name(folder) as roots:
            pass

        assert {NOBODY} == {path.stat().st_uid for path in folder.iterdir()}
        with ordinary_user(), node_name(folder) as theirs:
            assert roots == theirs
