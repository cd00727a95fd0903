"""
An app on a port.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from callrail_relay.clock import SystemClock
from callrail_relay.errors import Unavailable
from callrail_relay.web.connections import ConnectionLimits, limited_protocol, most_connections

BACKLOG = 2048
"""Connections that may wait to be taken."""

ACCEPTED_AT_ONCE = 1
"""
Connections to take in one turn of the loop. asyncio has one number for this and for BACKLOG, and
where no file can be opened any more it writes as many lines to the log in every turn.
"""

DEFAULT_LIMITS = ConnectionLimits()


_CLOCK = SystemClock()


@lru_cache(maxsize=1)
def _date(second: int) -> list[tuple[bytes, bytes]]:
    """
    The header of that second, the same for all answers within it.
    """
    return [(b"date", formatdate(second, usegmt=True).encode())]


class _State(ServerState):
    """
    What the connections share: the date of an answer is reckoned when there is one to give.
    """

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:  # uvicorn keeps it by a timer
        return _date(int(_CLOCK.now().timestamp()))

    @default_headers.setter
    def default_headers(self, _headers: list[tuple[bytes, bytes]]) -> None:
        pass


class _Server(uvicorn.Server):
    """
    A server that leaves signals to the command it is part of, and tells when it listens.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = _State()
        self.listening = asyncio.Event()
        self._ended = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)
        self.listening.set()

    async def main_loop(self) -> None:
        """
        Wait for the end, where uvicorn looks ten times a second whether it has come.
        """
        await self._ended.wait()

    def end(self) -> None:
        """
        Take no more connections, and stop when what is under way is answered.
        """
        self.should_exit = True
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    """
    One app on one port; the port is taken when the listener is made.

    *trusted_proxies* are the addresses whose ``X-Forwarded-For`` is believed. Raises
    Unavailable when the port cannot be had.
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
        **uvicorn_options: Any,  # noqa: ANN401 - uvicorn's own
    ) -> None:
        self._socket = _bind(host, port, setting)
        self._host = host
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            http=limited_protocol(limits),
            ws="none",
            limit_concurrency=most_connections(limits.connections),
            proxy_headers=bool(trusted_proxies),
            # Set even when empty: the default believes every program on this machine.
            forwarded_allow_ips=list(trusted_proxies),
            timeout_graceful_shutdown=limits.last_requests,
            backlog=ACCEPTED_AT_ONCE,
            **uvicorn_options,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """
        The address to reach it from this machine.
        """
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
    return listening


def _words(error: OSError) -> str:
    # socket.create_server adds the address, which stands in the sentence already.
    return (error.strerror or str(error)).partition(" (while attempting")[0]
