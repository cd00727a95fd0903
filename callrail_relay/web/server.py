"""Serves an app on a port, within limits for connections, and checks that it still answers."""

import asyncio
import contextlib
import errno
import itertools
import logging
import re
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import timedelta
from email.utils import formatdate
from typing import Self
from urllib.parse import quote_from_bytes

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from callrail_relay.clock import Clock, SystemClock, others_turn
from callrail_relay.domain.events import EventHook, ListenerUnanswered
from callrail_relay.domain.public_url import Fetch, NoAnswer, Trouble
from callrail_relay.domain.routing import local_url
from callrail_relay.errors import Unavailable

if sys.platform != "win32":
    import resource

PEER_SECONDS = 40.0  # that a peer may take: more than a body may, so that the app can answer a late one
KEEP_ALIVE = 30  # seconds until the next request; a sender's may come just as a connection is closed
MOST_CONNECTIONS = 512
LAST_REQUESTS = 5  # seconds that requests in progress get at the end
MOST_FILES = 65_536  # open files to ask for: more than any relay needs
PIPELINE_PAUSE = 0.005  # seconds between answers to requests that didn't wait for the answer before them
HEAD_BYTES = 32_768  # how large a request's head may be
BACKLOG = 4096
ACCEPTED_AT_ONCE = 16  # connections per turn of the loop: a burst waits neither long nor alone
RECEIVE_BUFFER = 16_384  # bytes that the operating system holds, and so the most that one read brings

_NONE_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_ABSOLUTE = re.compile(rb"\A(\S+ )https?://[^/?\s]+(?=/)", re.IGNORECASE)
_NEXT_REQUEST = re.compile(rb"[\r\n]*(?:\Z|[A-Za-z-]+(?:\Z| \Z| [/*Hh]))")  # or the beginning of one
_ASCII = "".join(map(chr, range(128)))
_CLOCK = SystemClock()


class Connections(ServerState):
    """
    The open connections of one listener, and those that wait for their peer to send or to read.

    One that has waited for PEER_SECONDS is dropped. If there are too many, the one that has waited longest is
    dropped; one whose request is being answered never is.
    """

    def __init__(self, refused: Callable[[str], None]) -> None:
        super().__init__()
        self.refused = refused
        self._most = most_connections(MOST_CONNECTIONS)
        # An OrderedDict, since finding the first key of a dict takes longer with each one deleted before it.
        self._waiting: OrderedDict[LimitedProtocol, asyncio.TimerHandle] = OrderedDict()
        self._pipelined: OrderedDict[LimitedProtocol, None] = OrderedDict()
        self._pace: asyncio.TimerHandle | None = None

    def wait_for(self, connection: "LimitedProtocol") -> None:
        self.stop_waiting(connection)
        late = connection.loop.call_later(PEER_SECONDS, connection.transport.abort)
        self._waiting[connection] = late

    def stop_waiting(self, connection: "LimitedProtocol") -> None:
        if (late := self._waiting.pop(connection, None)) is not None:
            late.cancel()

    def pipeline(self, connection: "LimitedProtocol") -> None:
        """Answer the next request of *connection* when its turn comes: other connections go first."""
        self._pipelined[connection] = None
        if self._pace is None:
            self._pace = connection.loop.call_later(PIPELINE_PAUSE, self._answer_next, connection.loop)

    def _answer_next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._pace = None
        if self._pipelined:
            connection, _ = self._pipelined.popitem(last=False)
            self._pace = loop.call_later(PIPELINE_PAUSE, self._answer_next, loop)
            connection.next_request()

    def forget(self, connection: "LimitedProtocol") -> None:
        self.stop_waiting(connection)
        self._pipelined.pop(connection, None)

    def make_room(self) -> None:
        # If all others are being answered, the newest stays: several wait only in a flood.
        if len(self.connections) > self._most and len(self._waiting) > 1:
            longest = next(iter(self._waiting))
            self.stop_waiting(longest)
            longest.transport.abort()


class LimitedProtocol(H11Protocol):
    """Uvicorn's HTTP, which waits for no peer forever."""

    server_state: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        super().connection_made(transport)
        self.server_state.wait_for(self)
        self.server_state.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # h11 would refuse the last request for what comes after it.
        if self.conn.their_state not in (h11.MUST_CLOSE, h11.CLOSED):
            super().data_received(data)

    def handle_events(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self._tidy()
            # uvicorn would check ten times a second whether it's another.
            date = formatdate(_CLOCK.now().timestamp(), usegmt=True).encode()
            self.server_state.default_headers = [(b"date", date)]
        cycle = self.cycle
        taken = cycle is not None and not (cycle.more_body or cycle.response_complete)
        super().handle_events()
        if self.cycle is None or self.cycle.response_complete:
            return
        if self.cycle.more_body:
            self.server_state.wait_for(self)
        elif not (taken or _NEXT_REQUEST.match(self.conn.trailing_data[0])):
            # Its length is wrong or missing, and its app hasn't seen the body yet: that isn't all of it.
            self.send_400_response("The request is longer than its Content-Length.")
        elif not self.flow.write_paused:
            self.server_state.stop_waiting(self)

    def on_response_complete(self) -> None:
        self.server_state.wait_for(self)
        if self.conn.trailing_data[0]:
            self.server_state.pipeline(self)
        else:
            super().on_response_complete()

    def next_request(self) -> None:
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.server_state.wait_for(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.cycle is not None and not self.cycle.response_complete:
            self.server_state.stop_waiting(self)

    def send_400_response(self, msg: str) -> None:
        self.server_state.refused("not HTTP")
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            # The body broke off: this tells its app that the client is gone.
            cycle.disconnected = True
            cycle.message_event.set()
        # An answer may have begun, or must have no body, such as one to HEAD.
        with contextlib.suppress(h11.LocalProtocolError):
            super().send_400_response(msg)
        self.transport.close()

    def _tidy(self) -> None:
        """Give h11 a head that it accepts, as others do: without empty lines or a host, and escaped."""
        came = self.conn.trailing_data[0]
        line, end, rest = came.lstrip(b"\r\n").partition(b"\n")
        if end:
            line = _ABSOLUTE.sub(rb"\1", line)
        if not line.isascii():
            line = quote_from_bytes(line, _ASCII).encode()
        if (tidy := line + end + rest) != came:
            self.conn = h11.Connection(h11.SERVER, HEAD_BYTES)
            # To h11, no data is the end of the connection, and uvicorn would ask for that end forever.
            if tidy:
                self.conn.receive_data(tidy)


def most_connections(wanted: int) -> int:
    """Return how many of the *wanted* connections the system allows, after asking for more files."""
    if sys.platform == "win32":
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    files = max(soft, MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    except (OSError, ValueError):  # macOS names no limit although it has one
        files = soft
    # The store, CallRail and the other listener need some, too.
    return min(wanted, files // 2)


class Listener:
    """
    One app on one port, which is taken when the listener is made. Raises Unavailable if it's in use.

    *trusted_proxies* are the addresses whose ``X-Forwarded-For`` is believed. *refused* gets the reason why a
    connection or a request was refused before the app saw it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        setting: str,
        trusted_proxies: Sequence[str] = (),
        refused: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self._socket = _bind(host, port, setting)
        self._host = host
        self._app = ProxyHeadersMiddleware(app, list(trusted_proxies))  # type: ignore[arg-type]  # its own types
        self._config = uvicorn.Config(
            self._app,
            log_config=None,
            # Warnings are about what any peer may send, which *refused* gets.
            log_level=logging.ERROR,
            access_log=False,
            server_header=False,
            lifespan="off",
            http=LimitedProtocol,
            ws="none",  # so that an offer to upgrade changes nothing
            h11_max_incomplete_event_size=HEAD_BYTES,
            proxy_headers=False,  # the app's own, which `trust` changes
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=LAST_REQUESTS,
        )
        self._connections = Connections(refused)
        self._accepting: asyncio.Task[None] | None = None
        self._taken: set[asyncio.Task[None]] = set()

    def trust(self, proxies: Sequence[str]) -> None:
        """Believe the ``X-Forwarded-For`` of these proxies from now on, and of no others."""
        self._app.trusted_hosts = ProxyHeadersMiddleware(self._app, list(proxies)).trusted_hosts

    @property
    def url(self) -> str:
        return local_url(self._host, self._socket.getsockname()[1])

    async def __aenter__(self) -> Self:
        self._config.load()
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            # First of all: a peer that is refused knows that nothing arrived, and one that waits doesn't.
            self._socket.close()
            server = uvicorn.Server(self._config)
            server.server_state = self._connections
            server.servers, server.lifespan = [], self._config.lifespan_class(self._config)
            await server.shutdown()
        self._socket.close()

    async def _accept(self) -> None:
        """Accept connections: asyncio's server stops after a failed one on Windows (CPython issue 93821)."""
        loop = asyncio.get_running_loop()
        for number in itertools.count(1):
            try:
                connection, _ = await loop.sock_accept(self._socket)
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
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: LimitedProtocol(self._config, self._connections, {}), connection
            )
        except OSError:
            connection.close()


def _bind(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        # socket.create_server adds the address, which the sentence has already.
        why = (error.strerror or str(error)).partition(" (while attempting")[0]
        remedy = f"Stop the program that uses it, or set {setting} to another port."
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):  # such as the public name
            table = setting.partition(".")[0]
            remedy = f"Set {table}.host to an address of this computer, such as 127.0.0.1."
        raise Unavailable(f"Port {port} on {host} can't be used ({why}). {remedy}") from error
    # An answer's body is sent right after its head, without waiting 40 ms for the other end to acknowledge
    # it. asyncio sets this only for sockets that it opens.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    listening.settimeout(0)
    return listening


ASK_EVERY = timedelta(seconds=30)
ASK_AGAIN = timedelta(seconds=5)
_PROBLEMS = {Trouble.TIME_OUT: "no answer in time", Trouble.REFUSED: "connection refused"}
MOST_FAILURES = 3  # in a row: a machine that wakes up, or is very busy, may miss one


async def until_unanswered(fetch: Fetch, url: str, clock: Clock, hook: EventHook) -> None:
    """Ask the listener at *url* over TCP until it gives no answer of any kind. Raises Unavailable."""
    failures, problem = 0, ""
    while failures < MOST_FAILURES:
        await clock.sleep((ASK_AGAIN if failures else ASK_EVERY).total_seconds())
        try:
            await fetch(f"{url}/healthz")
        except NoAnswer as error:
            failures, problem = failures + 1, _PROBLEMS.get(error.trouble, "the connection failed")
            problem += f" ({error.detail})" if error.detail else ""
        else:
            failures = 0
    hook(ListenerUnanswered(url=url, reason=problem))
    raise Unavailable(
        f"The relay no longer answers on its own port ({url}: {problem}), so it stops. Nothing that "
        "was saved is lost. Start it again with `callrail-relay serve`; a service restarts by itself."
    )
