"""Backups as the page makes them, while texts come in, and what a store that was put back does."""

import os
import shlex
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.program import PAYLOAD, Program, Sandbox, Started
from tests.docs.markdown import DOCS, Page
from tests.support.postgres import PostgresCluster

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are for a Unix shell")

PAGE = Page(DOCS / "how-to" / "back-up.md")
SENT, WAITING, MEANWHILE = 5, 5, 40


class Writer:
    """A sender that writes to many people and keeps what was answered."""

    def __init__(self, serving: Started) -> None:
        self._serving = serving
        self.answered: list[str] = []
        self.some = threading.Semaphore(0)

    def write(self, count: int) -> None:
        for _ in range(count):
            number = len(self.answered)
            words = f"Text {number:03}"
            told = {"message": words, "seller_phone": f"+120255501{number:02}"}
            payload = PAYLOAD | told | {"seller_phone_non_international": None}
            assert 200 == self._serving.post(payload).status_code
            self.answered.append(words)
            self.some.release()


def commands(beginning: str) -> str:
    """The block of the page with a line that begins so."""
    [block] = [
        block.text for block in PAGE.blocks("sh") if any(line.startswith(beginning) for line in block.lines)
    ]
    return block


def run(script: str, folder: Path, replaced: Mapping[str, str] | None = None, path: str = "") -> None:
    for old, new in (replaced or {}).items():
        assert old in script
        script = script.replace(old, new)
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr


def back_up(
    program: Program, serving: Started, make_backup: Callable[[], None]
) -> tuple[list[str], list[str]]:
    """
    Make a backup of a store with texts sent and texts waiting, while others come in.

    Returns what was sent before it, and what else had been answered when it began.
    """
    writer = Writer(serving)
    writer.write(SENT)
    program.wait_for("sent", SENT)
    gone = list(writer.answered)
    assert 0 == program.run("pause", "--reason", "The backup is tried.").returncode
    writer.write(WAITING)
    kept = writer.answered[SENT:]
    writing = threading.Thread(target=writer.write, args=(MEANWHILE,))
    writing.start()
    for _ in range(SENT + WAITING + 5):
        writer.some.acquire()
    make_backup()
    during = len(writer.answered)
    writing.join()
    assert SENT + WAITING < during, "nothing came in meanwhile"
    assert not serving.stop()[0]
    return gone, kept


def serve_again(restored: Program, sandbox: Sandbox, gone: list[str], kept: list[str]) -> None:
    """Look at the store that was put back, as the page says, and serve it."""
    for line in commands("callrail-relay pause").splitlines():
        assert 0 == restored.run(*shlex.split(line)[1:]).returncode
    waiting = {
        message["text"] for message in restored.json("messages", "list", "--status", "queued", "--limit", "0")
    }
    assert set(kept) <= waiting
    assert not waiting & set(gone)
    assert 0 == restored.run("resume").returncode
    with restored.serving():
        restored.wait_for("sent", len(gone) + len(waiting))
    taken = Counter(text["content"] for text in sandbox.texts())
    assert {1} == set(taken.values())
    assert set(gone) | waiting == taken.keys()


def test_sqlite_is_backed_up_while_texts_come_in(
    configured: Program, sandbox: Sandbox, tmp_path: Path
) -> None:
    """In the other place is what had been answered; it is sent once a person says so, and only once."""
    old, new = tmp_path / "old", tmp_path / "new"
    configured.environment |= {"CALLRAIL_RELAY_DATA": str(old), "CALLRAIL_RELAY_GUARDS__MASS_TEXT": "off"}
    [_, *backup] = shlex.split(commands("callrail-relay backup"))
    [_, *restore] = shlex.split(commands("callrail-relay restore"))

    def make_backup() -> None:
        assert 0 == configured.run(*backup).returncode

    with configured.serving() as serving:
        gone, kept = back_up(configured, serving, make_backup)

    restored = Program(configured.environment | {"CALLRAIL_RELAY_DATA": str(new)}, configured.folder)
    assert 0 == restored.run(*restore, "--secrets-file").returncode
    assert 0o600 == (new / "relay.db").stat().st_mode & 0o777
    held = restored.json("messages", "list", "--status", "held", "--limit", "0")
    waiting = {message["text"] for message in held}
    assert set(kept) <= waiting
    assert not waiting & set(gone)
    assert 0 == restored.run("resume").returncode
    with restored.serving():
        ids = [message["id"] for message in held]
        assert 0 == restored.run("messages", "approve", "--yes", *ids).returncode
        restored.wait_for("sent", len(gone) + len(waiting))
    taken = Counter(text["content"] for text in sandbox.texts())
    assert {1} == set(taken.values())
    assert set(gone) | waiting == taken.keys()


def test_postgresql_is_backed_up_while_texts_come_in(
    configured: Program,
    sandbox: Sandbox,
    tmp_path: Path,
    postgres_cluster: PostgresCluster,
    postgres_url: str,
) -> None:
    """And put into a database of another name, which belongs to a user who may create none."""
    server = postgres_cluster.url("").rstrip("/")
    theirs = "postgresql://relay@db.example.com"
    postgres_cluster.create_role("relay", owns=postgres_url.rpartition("/")[2])
    programs = str(postgres_cluster.programs)
    configured.environment |= {
        "CALLRAIL_RELAY_DATABASE__URL": postgres_url,
        "CALLRAIL_RELAY_GUARDS__MASS_TEXT": "off",
    }
    replaced = {f"{theirs}/relay": postgres_url}
    with configured.serving() as serving:
        dump = partial(run, commands("pg_dump"), tmp_path, replaced, programs)
        gone, kept = back_up(configured, serving, dump)

    assert 0o600 == (tmp_path / "relay.dump").stat().st_mode & 0o777
    run(commands("createdb"), tmp_path, {"@db.example.com/": f"@{server.partition('@')[2]}/"}, programs)
    environment = {"CALLRAIL_RELAY_DATABASE__URL": f"{server}/restored"}
    try:
        serve_again(Program(configured.environment | environment, tmp_path), sandbox, gone, kept)
    finally:
        postgres_cluster.drop_database("restored")
