"""Who is at work: one name for each process that delivers, taken again after a crash."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from callrail_relay.errors import Unavailable

MOST_NODES = 64


def names_of_store(store: Path) -> Path:
    """The directory with the names of those who work on a SQLite store, so that a copy can find them."""
    # Through links: one store has one directory.
    return store.resolve().parent


@contextmanager
def node_name(directory: Path) -> Iterator[str]:
    """
    The first name in *directory* that no living process holds; held until the end of the block.

    The operating system lets go of the lock when a process dies, however it dies. So
    whoever gets a name knows that its former holder is gone, and that attempts which
    it left open are nobody's. Raises Unavailable.
    """
    for slot in range(MOST_NODES):
        lock = FileLock(directory / f"node-{slot}.lock", mode=0o600)
        try:
            lock.acquire(timeout=0)
            name = _name(directory / f"node-{slot}.id")
        except Timeout:
            continue
        except OSError as error:
            lock.release()
            raise Unavailable(
                f"The directory {directory} cannot be written ({error.strerror}); free some space where "
                "the disk is full, give this user the right to write, or set CALLRAIL_RELAY_DATA or "
                "database.url to another one."
            ) from error
        try:
            yield name
        finally:
            lock.release()
        return
    raise Unavailable(f"{MOST_NODES} processes work on {directory} already; end some of them.")


def has_workers(directory: Path) -> bool:
    """Whether a living process holds a name in *directory*."""
    for path in directory.glob("node-*.lock"):
        try:
            with FileLock(path, mode=0o600, timeout=0):
                pass
        except Timeout:
            return True
    return False


def _name(path: Path) -> str:
    """The name kept at *path*, made when there is none: unique among all machines that share a store."""
    try:
        name = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        name = ""
    if not name:
        name = str(uuid4())
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii"
        ) as file:
            file.write(name)
    return name
