"""
Telling another process that works on the same store that there is something new in it.

It is a hint and no more: whoever misses it looks at the store by itself once in a while.
"""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import sqlalchemy as sa

if TYPE_CHECKING:
    import psycopg

Heard = Callable[[], None]

CHANNEL = "callrail_relay"
LOOPBACK = "127.0.0.1"


class News(Protocol):
    """
    What carries the hint.
    """

    async def listen(self, heard: Heard) -> None:
        """
        Call *heard* from now on when somebody tells; does nothing where that is so already.
        """

    def tell(self) -> None:
        """
        Tell whoever listens. It blocks, and never fails.
        """

    def close(self) -> None:
        """
        Listen no more.
        """


class Datagrams(asyncio.DatagramProtocol):
    """
    Hears the datagrams that hold *token*; whoever does not know it is not heard.
    """

    def __init__(self, token: str, heard: Heard) -> None:
        self._token = token.encode()
        self._heard = heard

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - as asyncio calls it
        if secrets.compare_digest(data, self._token):
            self._heard()


def news_file(store: Path) -> Path:
    """
    Where it stands on which port a process hears of the store in this file.
    """
    return store.with_name(f"{store.name}-news")


class FileNews:
    """
    News of a SQLite store: a datagram to the port that stands in a file beside it.

    There is one such file, so that of several processes the one that began last hears; that is enough for
    one ``serve`` on a machine, beside commands that come and go.
    """

    def __init__(self, store: Path) -> None:
        self._path = news_file(store)
        self._transport: asyncio.DatagramTransport | None = None
        self._words = ""

    async def listen(self, heard: Heard) -> None:
        if self._transport is not None:
            return
        token = secrets.token_hex(16)
        try:
            self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: Datagrams(token, heard), local_addr=(LOOPBACK, 0)
            )
            self._words = f"{self._transport.get_extra_info('sockname')[1]} {token}"
            _write_private(self._path, self._words)
        except OSError:
            self.close()

    def tell(self) -> None:
        with (
            contextlib.suppress(OSError, ValueError, OverflowError),
            socket.socket(type=socket.SOCK_DGRAM) as sender,
        ):
            port, token = self._path.read_text(encoding="ascii").split()
            sender.sendto(token.encode(), (LOOPBACK, int(port)))

    def close(self) -> None:
        if self._transport is None:
            return
        self._transport.close()
        self._transport = None
        with contextlib.suppress(OSError):
            if self._path.read_text(encoding="ascii") == self._words:
                self._path.unlink()


def _write_private(path: Path, words: str) -> None:
    """
    Put *words* into the place of the file at *path*, for this user alone.
    """
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(words)


class PostgresNews:
    """
    News of a PostgreSQL store: LISTEN and NOTIFY, on a connection of its own.

    Where the event loop cannot watch that connection, as on Windows, nothing is heard.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._held: sa.PoolProxiedConnection | None = None
        self._connection: psycopg.Connection[object] | None = None
        self._watched: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def listen(self, heard: Heard) -> None:
        if self._connection is not None:
            return
        self._loop = asyncio.get_running_loop()
        # A connection that is asked for by itself fails in the driver's own words.
        driver = self._engine.dialect.loaded_dbapi
        try:
            self._connection = await asyncio.to_thread(self._connect)
            # A number of our own: the driver closes its own one when the server goes, and the next connection
            # that comes in may get that number while the loop still watches it.
            self._watched = os.dup(self._connection.fileno())
            self._loop.add_reader(self._watched, self._read, heard)
        except (driver.Error, sa.exc.SQLAlchemyError, OSError, NotImplementedError):
            # The last where the loop of Windows watches no file numbers: the look once a minute is left.
            self.close()

    def _connect(self) -> "psycopg.Connection[object]":
        self._held = self._engine.raw_connection()
        # It stays open as long as this process listens, and is none of the pool's any more.
        self._held.detach()
        connection: psycopg.Connection[object] = self._held.dbapi_connection  # type: ignore[assignment]  # psycopg's
        connection.autocommit = True
        connection.execute(f"LISTEN {CHANNEL}")
        return connection

    def _read(self, heard: Heard) -> None:
        assert self._connection is not None  # noqa: S101 - it is what is being watched
        try:
            self._connection.pgconn.consume_input()
            while self._connection.pgconn.notifies() is not None:
                pass
        except Exception:  # noqa: BLE001 - the connection is gone, whatever the driver says of it
            self.close()
        heard()

    def tell(self) -> None:
        with contextlib.suppress(sa.exc.SQLAlchemyError), self._engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))

    def close(self) -> None:
        self._connection = None
        watched, self._watched = self._watched, None
        held, self._held = self._held, None
        if watched is not None and self._loop is not None:
            with contextlib.suppress(NotImplementedError):  # as above
                self._loop.remove_reader(watched)
            os.close(watched)
        if held is not None:
            held.close()
