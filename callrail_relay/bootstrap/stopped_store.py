"""A store that no relay uses: kept from every command while it is moved or removed."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from callrail_relay.bootstrap.context import sentence
from callrail_relay.clock import SystemClock
from callrail_relay.config.places import private_directory, write_privately
from callrail_relay.errors import AlreadyRunning, NotAllowed, Unavailable
from callrail_relay.outbox.backups import copy_file
from callrail_relay.outbox.engine import SIDE_FILES, give_to_owner
from callrail_relay.outbox.presence import StoreLock, has_workers, names_of_store
from callrail_relay.replacing import sync_folder


@contextmanager
def _kept(store: Path, by: str) -> Iterator[None]:
    """Let no command but *by* use the store. Raises AlreadyRunning or NotAllowed."""
    lock = StoreLock(store)
    lock.take(by, SystemClock().now())
    try:
        if has_workers(names_of_store(store)):
            raise NotAllowed(sentence("command_runs"))
        yield
    finally:
        lock.release()


def move_store(store: Path, moved: Path) -> None:
    """Move a stopped store; whatever happens, the new one is whole and on disk before the old one goes."""
    if moved.exists():
        raise NotAllowed(sentence("two_stores", store=store, moved=moved))
    whole = moved.with_name(f"{moved.name}.new")
    try:
        with _kept(store, "service install"):
            private_directory(moved.parent)
            for left in moved.parent.glob(f"{moved.name}[.-]*"):
                left.unlink()
            write_privately(whole, "")
            beside = [*store.parent.glob("node-*.id"), *store.parent.glob("dashboard.key")]
            with closing(sqlite3.connect(store, timeout=5.0, isolation_level=None)) as writer:
                writer.execute("BEGIN IMMEDIATE")  # no other command writes from now on
                copy_file(store, whole)
                for path in (whole, *(Path(shutil.copy2(path, moved.parent)) for path in beside)):
                    give_to_owner(path)
                whole.rename(moved)
                sync_folder(moved.parent)  # SQLite did so for the file itself
                for path in (*_files(store), *beside):
                    path.unlink(missing_ok=True)
    except AlreadyRunning as error:
        raise NotAllowed(sentence("stopped_only", error=error)) from error
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(sentence("not_moved", store=store, moved=moved, error=error)) from error


def remove_store(store: Path) -> None:
    """Remove a stopped store. Raises AlreadyRunning or NotAllowed."""
    with _kept(store, "uninstall"):
        for path in _files(store):
            path.unlink(missing_ok=True)


def _files(store: Path) -> list[Path]:
    return [Path(f"{store}{end}") for end in SIDE_FILES]
