"""
Which ``serve`` is running on a store, the names of servers, and when CallRail last answered.

A SQLite store is for one ``serve``. It holds a lock beside the file, which the system releases however the
process ends. PostgreSQL is for several: each one keeps a row fresh.
"""

import contextlib
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from callrail_relay import __version__
from callrail_relay.domain.account import DAY
from callrail_relay.domain.health import Contact, Node, Slept
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.errors import AlreadyRunning, RelayError, Unavailable
from callrail_relay.outbox import sentence
from callrail_relay.outbox.columns import NOW, Instant
from callrail_relay.outbox.engine import APPLICATION, give_to_owner
from callrail_relay.outbox.rows import from_row, last_of
from callrail_relay.outbox.tables import accounts, attempts, contacts, nodes, polls
from callrail_relay.outbox.transaction import Transaction

MOST_NODES = 64
_NODE = TypeAdapter(Node)


def names_of_store(store: Path) -> Path:
    """Return the directory with the names of processes on a SQLite store, so that a copy can find them."""
    # Through links: one store has one directory.
    return store.resolve().parent


@contextmanager
def node_name(directory: Path) -> Iterator[str]:
    """
    Hold the first name in *directory* that no living process has, until the end of the block.

    The operating system releases the lock when a process dies, however it dies. So whoever gets a name knows
    that no process is working on the attempts its former holder left open. Raises Unavailable.
    """
    for slot in range(MOST_NODES):
        lock = FileLock(directory / f"node-{slot}.lock", mode=0o600)
        try:
            lock.acquire(timeout=0)
            give_to_owner(Path(lock.lock_file))
            name = _name(directory / f"node-{slot}.id")
        except Timeout:
            continue
        except OSError as error:
            lock.release()
            why = error.strerror
            raise Unavailable(sentence("names_unwritable", directory=directory, why=why)) from error
        try:
            yield name
        finally:
            lock.release()
        return
    raise Unavailable(sentence("too_many", most=MOST_NODES, directory=directory))


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
    """Return the name stored at *path*, made if missing: unique on all machines that share a store."""
    name = path.read_text(encoding="ascii").strip() if path.exists() else ""
    if not name:
        name = str(uuid4())
        _write_file(path, name)
    return name


def _write_file(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    give_to_owner(path)


SERVE, COPY = "serve", "database copy"
COPYING = f"{APPLICATION} {COPY}"  # the name of a copy's connections in PostgreSQL

TAKE_WITHIN = 1.0  # seconds to try for the lock: another program may be testing it
ASK_WITHIN = 0.05  # seconds to test it: two testers must not take each other for its holder

BEAT = timedelta(seconds=10)  # how often a PostgreSQL node reports that it's running
GONE = timedelta(seconds=30)  # how long a silent node counts as running


class StoreLock:
    """The lock of a SQLite store, for one ``serve`` or one copy. A file beside it names its holder."""

    def __init__(self, store: Path) -> None:
        # However it's spelled, and through links: one store has one lock.
        self._store = store.resolve()
        self._path = self._store.with_name(f"{self._store.name}-serve.lock")
        self._note = self._store.with_name(f"{self._store.name}-serve.json")
        self._lock = self._new_lock()
        self._node: Node | None = None

    def take(self, by: str, now: datetime) -> None:
        """Hold the lock until ``release``. Raises AlreadyRunning, Unavailable."""
        try:
            self._lock.acquire(timeout=TAKE_WITHIN, poll_interval=0.05)
            give_to_owner(self._path)
        except Timeout as error:
            other = self._read()
            raise AlreadyRunning(
                str(self._store),
                by=other.by,
                pid=other.pid,
                since=other.since,
                has_dashboard=other.private_url is not None,
            ) from error
        except OSError as error:
            raise self._fault(error) from error
        self._write(Node(name=platform.node(), pid=os.getpid(), since=now, version=__version__, by=by))

    def note(self, **facts: object) -> None:
        if self._node is not None:
            self._write(replace(self._node, **facts))  # type: ignore[arg-type]  # fields of Node

    def release(self) -> None:
        if self._node is None:
            return
        self._node = None
        with contextlib.suppress(OSError):
            self._note.unlink(missing_ok=True)
        self._lock.release()

    def server(self) -> Node | None:
        """Return the ``serve`` that holds the lock. Raises Unavailable if that can't be known."""
        holder = self.holder()
        return holder if holder is not None and holder.by == SERVE else None

    def holder(self) -> Node | None:
        """Return who holds the lock. Raises Unavailable if that can't be known."""
        if self._node is not None:
            return self._node
        # Testing makes no file: one that belongs to another user would keep `serve` out.
        if not self._path.exists():
            return None
        lock = self._new_lock()
        try:
            lock.acquire(timeout=ASK_WITHIN, poll_interval=0.01)
        except Timeout:
            return self._read()
        except OSError as error:
            raise self._fault(error) from error
        lock.release()
        return None

    def _new_lock(self) -> FileLock:
        # The lock belongs to the process, which uses the store from several threads.
        return FileLock(self._path, mode=0o600, thread_local=False, preserve_lock_file=True)

    def _read(self) -> Node:
        """Return who holds the lock, if that's noted yet: the note is written after the lock is taken."""
        try:
            return _NODE.validate_json(self._note.read_bytes())
        except (OSError, ValueError):
            return Node(name=platform.node())

    def _write(self, node: Node) -> None:
        self._node = node
        # The lock is what counts; without the note, only its holder is unknown. It's written in place,
        # because Windows doesn't let a program remove a file that another one is reading.
        with contextlib.suppress(OSError):
            _write_file(self._note, _NODE.dump_json(node).decode())

    def _fault(self, error: OSError) -> Unavailable:
        return Unavailable(sentence("lock_fault", path=self._path, why=error.strerror or error))


@contextmanager
def kept(store: Path, by: str, now: datetime, busy: RelayError) -> Iterator[None]:
    """Keep all commands except *by* off a SQLite store. Raises AlreadyRunning, or *busy* if one sends."""
    lock = StoreLock(store)
    lock.take(by, now)
    try:
        # A `replay` sends from the store, too, and has no lock of its own.
        if has_workers(names_of_store(store)):
            raise busy
        yield
    finally:
        lock.release()


def beat(tx: Transaction, id_: str, node: Node) -> datetime:
    """Report that *node* is running and forget those that are gone; return since when it has run."""
    since = node.since or tx.now
    new = {"name": node.name, "since": since, "seen_at": tx.now, "version": node.version}
    if node.slept is not None:
        new |= {"slept_seconds": node.slept.seconds, "woke_at": node.slept.woke_at}
    tx.upsert(nodes, {"id": id_}, new)
    # Rows that another node is updating are left to it, so that nodes never wait for each other.
    gone = sa.select(nodes.c.id).where(nodes.c.seen_at <= tx.now - GONE).with_for_update(skip_locked=True)
    tx.execute(sa.delete(nodes).where(nodes.c.id.in_(gone)))
    return since


def leave(tx: Transaction, id_: str) -> None:
    """Forget a node that stops."""
    tx.execute(sa.delete(nodes).where(nodes.c.id == id_))


def others_connected(tx: Transaction, pattern: str = f"{APPLICATION}%") -> bool:
    """Whether PostgreSQL has another connection to this database whose application is LIKE *pattern*."""
    query = sa.text(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name LIKE :pattern AND pid <> pg_backend_pid())"
    )
    return bool(tx.scalar(query, {"pattern": pattern}))


def require_keeper(tx: Transaction) -> None:
    """
    Raise Unavailable if a database can't hold every text, or if a pooler answers for PostgreSQL.

    A pooler makes up the process ids, and a session's settings don't hold: that its commits are on disk.
    """
    if tx.is_sqlite:
        return
    client: Any = tx.connection.connection.driver_connection
    if tx.scalar(sa.select(sa.func.pg_backend_pid())) != client.info.backend_pid:
        raise Unavailable(sentence("pooled"))
    encoding = client.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise Unavailable(sentence("not_utf8", name=client.info.dbname, encoding=encoding))


def is_served(tx: Transaction) -> bool:
    """Whether a node is running, in tables of any release."""
    query = sa.select(nodes.c.id).where(nodes.c.seen_at > tx.now - GONE)
    return sa.inspect(tx.connection).has_table(nodes.name) and tx.execute(query).first() is not None


def read_nodes(tx: Transaction) -> tuple[Node, ...]:
    """Return the nodes that are running, oldest first."""
    query = sa.select(nodes).where(nodes.c.seen_at > tx.now - GONE).order_by(nodes.c.since, nodes.c.id)
    return tuple(
        from_row(Node, row, slept=None if row.woke_at is None else Slept(row.slept_seconds, row.woke_at))
        for row in tx.execute(query)
    )


def note_contacts(tx: Transaction, account_ids: Iterable[str], *, answered: bool) -> None:
    """Record that CallRail answered, or failed to answer, a request that was made only to check."""
    for account_id in sorted(account_ids):
        at = {"answered_at" if answered else "failed_at": tx.now}
        tx.upsert(contacts, {"account_id": account_id}, at)


def read_contacts(tx: Transaction, account_ids: Sequence[str]) -> dict[str, Contact]:
    """Return each account's contact with CallRail: by texts sent, by polls, and by such checks."""
    rows = tx.execute(_CONTACTS, {"now": tx.now, "since": tx.now - DAY})
    known = {account_id: instants for account_id, *instants in rows}

    def contact(answered_at: datetime | None = None, failed_at: datetime | None = None) -> Contact:
        is_lost = failed_at is not None and failed_at == last_of(failed_at, answered_at)
        return Contact(answered_at=answered_at, is_lost=is_lost)

    return {account_id: contact(*known.get(account_id, ())) for account_id in account_ids}


_SINCE = sa.bindparam("since", type_=Instant)
# A poll that a crash ended has no known requests, and says nothing about CallRail.
_FAILED = sa.and_(polls.c.finished_at.is_(None), polls.c.lease_until <= NOW, polls.c.requests > 0)
_LOOK_FAILED_AT = sa.case((_FAILED, polls.c.lease_until))
_SENT_AT = sa.select(sa.func.max(attempts.c.counted_at)).where(
    attempts.c.account_id == accounts.c.id,
    attempts.c.counted_at > _SINCE,
    attempts.c.outcome == OutcomeKind.SENT,
)
_NEWS = sa.union_all(
    sa.select(contacts.c.account_id, contacts.c.answered_at, contacts.c.failed_at),
    sa.select(polls.c.account_id, sa.func.max(polls.c.finished_at), sa.func.max(_LOOK_FAILED_AT))
    .where(polls.c.began_at > _SINCE)
    .group_by(polls.c.account_id),
    sa.select(accounts.c.id, _SENT_AT.scalar_subquery(), sa.cast(None, Instant)),
).subquery()
_CONTACTS = sa.select(
    _NEWS.c.account_id, sa.func.max(_NEWS.c.answered_at), sa.func.max(_NEWS.c.failed_at)
).group_by(_NEWS.c.account_id)
