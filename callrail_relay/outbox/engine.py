"""Opens the database, and translates its errors."""

import contextlib
import os
import re
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import exc

from callrail_relay.domain import read_table
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import sentence
from callrail_relay.replacing import patiently

BUSY_TIMEOUT = 5.0  # seconds to wait for another process that is writing to the SQLite file
CONNECT_TIMEOUT = 5  # seconds to wait for PostgreSQL to answer
RESTORING = "restoring.db"  # a store that is being restored
APPLICATION = "callrail-relay"  # the connections' name in PostgreSQL; each command's own begins with it


def open_engine(url: str, application: str = APPLICATION) -> sa.Engine:
    """Return an engine that isn't connected yet; PostgreSQL knows it as *application*. Raises Unavailable."""
    address = sa.make_url(url)
    if address.get_backend_name() == "sqlite":
        return _open_sqlite(address)
    return _open_postgresql(address, application)


def is_sqlite(engine: sa.Engine) -> bool:
    return engine.dialect.name == "sqlite"


def describe(engine: sa.Engine) -> str:
    """Return the store's name for people: the file, or the address without its password."""
    if is_sqlite(engine):
        return str(Path(str(engine.url.database)))
    # Its options may hold a password, too, so this shows only the server's address.
    where = {option: value for option, value in engine.url.query.items() if option in ("host", "port")}
    return engine.url.set(drivername="postgresql", query=where).render_as_string(hide_password=True)


def store_file(url: str) -> Path | None:
    """Return the file of the SQLite store at *url*; None for PostgreSQL."""
    address = sa.make_url(url)
    return Path(address.database or "") if address.get_backend_name() == "sqlite" else None


def restore_marker(store: Path) -> Path:
    """Return the file that is beside a store while it's being restored; it holds the settings."""
    return store.with_name("restoring.toml")


FileIdentity = tuple[int, int]


def file_identity(engine: sa.Engine) -> FileIdentity | None:
    """Return the device and inode of the file at SQLite's path; None if it's missing, and for PostgreSQL."""
    if not is_sqlite(engine):
        return None
    try:
        found = os.stat(str(engine.url.database))  # noqa: PTH116 - at each commit, and Path is half as fast
    except OSError:
        return None
    return found.st_dev, found.st_ino


def require_same_file(engine: sa.Engine, opened: FileIdentity | None) -> None:
    """Raise Unavailable if the file was replaced or deleted: SQLite would keep writing to the old one."""
    if file_identity(engine) != opened:
        raise Unavailable(sentence("moved", database=describe(engine)))


def store_files(store: Path) -> tuple[Path, ...]:
    """Return the file of a SQLite store, and those that SQLite keeps beside it."""
    return tuple(Path(f"{store}{end}") for end in ("", "-wal", "-shm", "-journal"))


def close_to_others(engine: sa.Engine) -> None:
    """Take away other users' rights to a SQLite store, once it turned out to be one."""
    if os.name != "posix" or not is_sqlite(engine):
        return
    for path in store_files(Path(str(engine.url.database))):
        # Another user's file stays as it is; `doctor` names it.
        with contextlib.suppress(OSError):
            if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                path.chmod(0o600)


def give_to_owner(path: Path) -> None:
    """Give a file that root made beside another user's store, such as a service's, to that user."""
    if sys.platform != "win32" and os.geteuid() == 0:
        with contextlib.suppress(OSError):  # some file systems have no owners
            owner = path.parent.stat()
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def empty_log(engine: sa.Engine) -> None:
    """Empty SQLite's log, which still holds deleted data; if others are reading it, a later call does."""
    if not is_sqlite(engine):
        return
    path = str(engine.url.database)
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=0.1)) as alone:
        alone.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()


def peek_at_messages(url: str) -> list[tuple[str, str | None, str]]:
    """Return id, recipient and status of a SQLite store's newest messages; nothing if it can't be read."""
    file = store_file(url)
    if file is None or not file.is_file():
        return []
    # Without its log, no process has the file open, and a reader would make a new log.
    unshared = "" if Path(f"{file}-wal").exists() else "&immutable=1"
    address = f"{file.absolute().as_uri()}?mode=ro{unshared}"
    query = "SELECT id, recipient, status FROM messages ORDER BY seq DESC LIMIT 100"
    with (
        contextlib.suppress(sqlite3.Error),
        closing(sqlite3.connect(address, timeout=0.1, uri=True)) as alone,
    ):
        return alone.execute(query).fetchall()
    return []


def _open_sqlite(address: sa.URL) -> sa.Engine:
    path = Path(address.database or "")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.name != RESTORING and restore_marker(path).exists():
            raise Unavailable(sentence("restoring", directory=path.parent))
        if not path.exists():
            _create_sqlite(path)
        os.close(patiently(lambda: os.open(path, os.O_RDONLY)))
    except OSError as error:
        raise Unavailable(sentence("unopened", database=path, why=error.strerror)) from error
    engine = sa.create_engine(
        address,
        connect_args={"timeout": BUSY_TIMEOUT, "isolation_level": None},
        pool_size=8,
        hide_parameters=True,
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _create_sqlite(path: Path) -> None:
    """
    Make an empty store with its journal mode set, for this user alone.

    SQLite can change the journal mode only while no other process has the file open, and doesn't wait. So the
    file gets its mode under another name and is moved into place; several processes may do so at once.
    """
    new = path.with_name(f".{path.name}-{uuid4().hex}")
    # Made with its rights, so nobody else can read it at any time; SQLite's side files get the same ones.
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDONLY, 0o600))
    try:
        with closing(sqlite3.connect(new)) as connection:
            connection.execute("PRAGMA journal_mode=WAL").close()
        give_to_owner(new)
        if os.name == "nt":
            # A rename never replaces there. While a file is open, none of its links can be removed.
            new.rename(path)
        else:
            os.link(new, path)
    except FileExistsError:
        pass
    except (OSError, sqlite3.Error):
        # Without links, or without room, the first connection does it, or says why it can't.
        os.close(patiently(lambda: os.open(path, os.O_CREAT | os.O_RDONLY, 0o600)))
    finally:
        new.unlink(missing_ok=True)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # WAL: readers and the writer don't wait for each other. FULL: a commit is on disk when it returns, as the
    # webhook's 200 promises. secure_delete: no deleted text stays in free pages.
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}").close()
    except sqlite3.Error:
        # The pool forgets a connection that can't be prepared, without closing it.
        connection.close()
        raise


def _begin_sqlite(connection: sa.Connection) -> None:
    # The driver's own transactions lock too late: a writer must lock before its first read, so that what it
    # read is still true when it writes.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _open_postgresql(address: sa.URL, application: str) -> sa.Engine:
    try:
        return sa.create_engine(
            address.set(drivername="postgresql+psycopg"),
            pool_size=8,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT,
                "application_name": application,
                "client_encoding": "utf8",
                # A node that is cut off must not keep its locks, nor wait forever for another node's.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 15_000,
                # A commit is on disk when it returns, even if the server's own settings say otherwise.
                "options": (
                    "-c synchronous_commit=on -c lock_timeout=5s -c statement_timeout=15s "
                    "-c idle_in_transaction_session_timeout=5s"
                ),
            },
        )
    except ImportError as error:
        raise Unavailable(sentence("no_driver")) from error


LITTLE_ROOM = 64 * 1024  # bytes without which SQLite can't even start

# What a database raises when it can't do its part now, whatever it is asked.
OUT_OF_ORDER = (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError)


@contextmanager
def translated(engine: sa.Engine) -> Iterator[None]:
    """Raise Unavailable, in words for people, for whatever the database can't do now."""
    try:
        yield
    except (*OUT_OF_ORDER, exc.DatabaseError) as error:
        # SQLite reports a damaged file as DatabaseError; any other one is our fault.
        damage = any(words in str(getattr(error, "orig", "")) for words in ("malformed", "not a database"))
        if not isinstance(error, OUT_OF_ORDER) and not damage:
            raise
        raise Unavailable(_words(engine, error)) from error


_SQLITE_WORDS: dict[str, str] = read_table(__package__, "words")["sqlite"]


def _words(engine: sa.Engine, error: exc.SQLAlchemyError) -> str:
    cause = str(getattr(error, "orig", error))
    if "unsupported startup parameter" in cause:  # what PgBouncer says to a session's settings
        return sentence("pooled")
    if not is_sqlite(engine):
        found = re.search(r"FATAL: +(.+)", cause) or re.search(r".*(?:failed: |(?=failed to ))(.+)", cause)
        why = f" ({found[1]})" if found else ""
        return sentence("postgresql", database=describe(engine), why=why)
    with contextlib.suppress(OSError):
        # Without room for its side files, SQLite says only that the disk failed.
        directory = Path(str(engine.url.database)).parent
        if "disk I/O error" in cause and shutil.disk_usage(directory).free < LITTLE_ROOM:
            cause = "database or disk is full"
    known = next(words for words in _SQLITE_WORDS if words in cause)
    return _SQLITE_WORDS[known].format(database=describe(engine), cause=cause)
