"""An app on a port."""

import asyncio
import contextlib
import errno
import itertools
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from callrail_relay.clock import SystemClock, others_turn
from callrail_relay.errors import Unavailable
from callrail_relay.web.connections import ConnectionLimits, Connections, LimitedProtocol

BACKLOG = 4096
"""Connections that may wait to be taken."""

ACCEPTED_AT_ONCE = 16
"""Connections to take in one turn of the loop, so that a burst of them waits neither long nor alone."""

RECEIVE_BUFFER = 16_384
"""
Bytes of a connection that the operating system holds. So it bounds what one read brings: a body in chunks of
one byte takes 10 µs for each 6 of them.
"""

DEFAULT_LIMITS = ConnectionLimits()

_CLOCK = SystemClock()

_NONE_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@lru_cache(maxsize=1)
def _date(second: int) -> list[tuple[bytes, bytes]]:
    """The header of that second, the same for all answers within it."""
    return [(b"date", formatdate(second, usegmt=True).encode())]


class _Connections(Connections):
    """The date of an answer is computed when there is one to give."""

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:  # uvicorn keeps it by a timer
        return _date(int(_CLOCK.now().timestamp()))

    @default_headers.setter
    def default_headers(self, _headers: list[tuple[bytes, bytes]]) -> None:
        pass


class _Server(uvicorn.Server):
    """A server that leaves signals to the command it is part of, and tells when it listens."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self.server_state = self._connections = connections
        self.servers = []
        self.listening = asyncio.Event()
        self._ended = asyncio.Event()
        self._accepting: list[asyncio.Task[None]] = []
        self._taken: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._accepting = [asyncio.create_task(self._accept(listening)) for listening in sockets or ()]
        self.started = True
        self.listening.set()

    async def _accept(self, listening: socket.socket) -> None:
        """
        Take connections, whatever becomes of one of them.

        asyncio's own server stops listening for good on Windows when one connection cannot be taken (CPython
        issue 93821), and elsewhere logs a line for each that finds no file left.
        """
        loop = asyncio.get_running_loop()
        for number in itertools.count(1):
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                self._connections.refused(f"not accepted: {error.strerror or error}")
                await _CLOCK.sleep(1 if error.errno in _NONE_LEFT else 0)
                continue
            task = loop.create_task(self._take(connection))
            self._taken.add(task)
            task.add_done_callback(self._taken.discard)
            if number % ACCEPTED_AT_ONCE == 0:
                await others_turn()

    async def _take(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        except OSError:
            # It is gone again.
            connection.close()

    def _protocol(self) -> LimitedProtocol:
        return LimitedProtocol(self.config, self._connections, {})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await super().shutdown(sockets)

    async def main_loop(self) -> None:
        """Wait for the end, where uvicorn looks ten times a second whether it has come."""
        await self._ended.wait()

    def end(self) -> None:
        """Take no more connections, and stop when what is under way is answered."""
        self.should_exit = True
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    """
    One app on one port; the port is taken when the listener is made.

    *trusted_proxies* are the addresses whose ``X-Forwarded-For`` is believed. *refused* is told why a
    connection or a request was refused before the app saw it. Raises Unavailable when the port is taken.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        setting: str,
        trusted_proxies: Sequence[str] = (),
        limits: ConnectionLimits = DEFAULT_LIMITS,
        refused: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self._socket = _bind(host, port, setting)
        self._host = host
        config = uvicorn.Config(
            app,
            log_config=None,
            # Warnings are about what anybody may send; *refused* hears of it.
            log_level=logging.ERROR,
            access_log=False,
            server_header=False,
            lifespan="off",
            http=LimitedProtocol,
            ws="none",
            h11_max_incomplete_event_size=limits.head_bytes,
            proxy_headers=bool(trusted_proxies),
            # Set even when empty: the default believes every program on this machine.
            forwarded_allow_ips=list(trusted_proxies),
            timeout_graceful_shutdown=limits.last_requests,
        )
        self._server = _Server(config, _Connections(limits, refused))
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The address to reach it from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - compared only
        port: int = self._socket.getsockname()[1]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        await self._server.listening.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.end()
        if self._task is not None:
            await self._task
        self._socket.close()


def _bind(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Unavailable(
            f"Port {port} on {host} can't be used ({_words(error)}). Stop the program that uses it, or set "
            f"{setting} to another port."
        ) from error
    # For each connection that is taken from it: an answer's body goes out at once behind its head, and does
    # not wait 40 ms for the other end to acknowledge that. asyncio sets this only for sockets that it opens.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    listening.settimeout(0)
    return listening


def _words(error: OSError) -> str:
    # socket.create_server adds the address, which stands in the sentence already.
    return (error.strerror or str(error)).partition(" (while attempting")[0]
