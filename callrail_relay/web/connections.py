"""What one connection may cost, and which one is dropped when there are too many."""

import asyncio
import contextlib
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

if sys.platform != "win32":
    import resource

MOST_FILES = 65_536
"""Open files to ask for: more than any relay needs, and a limit that other programs expect."""

PIPELINE_PAUSE = 0.2
"""Seconds before a request that came with the one before it is answered."""

MALFORMED = "not HTTP"
"""Why a request is refused that cannot be parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """
    How long a peer may take, in seconds, how large a request's head may be, in bytes, and how many
    connections may be open.

    *peer_seconds* are more than a body may take, so that the app can answer a late one. *last_requests* are
    the seconds that requests in progress get when the listener stops.
    """

    peer_seconds: float = 40.0
    head_bytes: int = 32_768
    connections: int = 512
    last_requests: int = 5


class Connections(ServerState):
    """
    The open connections of one listener, and those among them that wait for their peer: to send a whole
    request, or to read an answer.

    A connection that waited for ``peer_seconds`` is dropped. When there are too many connections, the one
    that has waited longest is dropped; one whose request is being answered never is.
    """

    def __init__(self, limits: ConnectionLimits, refused: Callable[[str], None]) -> None:
        super().__init__()
        self.refused = refused
        self.limits = limits
        self._most = most_connections(limits.connections)
        # An OrderedDict, since finding the first key of a dict takes longer with each one deleted before it.
        self._waiting: OrderedDict[LimitedProtocol, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def wait_for(self, connection: "LimitedProtocol") -> None:
        """From now on *connection* waits for its peer."""
        self._waiting[connection] = connection.loop.time()
        self._waiting.move_to_end(connection)
        if self._timer is None:
            self._drop_late(connection.loop)

    def stop_waiting(self, connection: "LimitedProtocol") -> None:
        self._waiting.pop(connection, None)

    def make_room(self) -> None:
        """Drop the connection that has waited longest if there are too many."""
        # If all others are being answered, the newest stays: only a flood leaves several that wait.
        if len(self.connections) > self._most and len(self._waiting) > 1:
            self._waiting.popitem(last=False)[0].transport.abort()

    def _drop_late(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        while self._waiting:
            connection, since = next(iter(self._waiting.items()))
            if loop.time() < since + self.limits.peer_seconds:
                self._timer = loop.call_at(since + self.limits.peer_seconds, self._drop_late, loop)
                return
            del self._waiting[connection]
            connection.transport.abort()


class LimitedProtocol(H11Protocol):
    """Uvicorn's HTTP, which waits for no peer forever, and to which an upgrade offer changes nothing."""

    server_state: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        super().connection_made(transport)
        self.server_state.wait_for(self)
        self.server_state.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.stop_waiting(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # What comes after the last request is nobody's; h11 would refuse that request for it.
        if self.conn.their_state not in (h11.MUST_CLOSE, h11.CLOSED):
            super().data_received(data)

    def handle_events(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self._tidy()
        super().handle_events()
        if self.cycle is None or self.cycle.response_complete:
            return
        if self.cycle.more_body:
            self.server_state.wait_for(self)
        elif not self.flow.write_paused:
            self.server_state.stop_waiting(self)

    def on_response_complete(self) -> None:
        self.server_state.wait_for(self)
        if self.conn.trailing_data[0]:
            # Hardly any client sends a request before the last one was answered; all others go first.
            self.loop.call_later(PIPELINE_PAUSE, super().on_response_complete)
        else:
            super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.server_state.wait_for(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.cycle is not None and not self.cycle.response_complete:
            self.server_state.stop_waiting(self)

    def send_400_response(self, msg: str) -> None:
        self.server_state.refused(MALFORMED)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            # The body of a request in progress broke off: its app is told that the client is gone.
            cycle.disconnected = True
            cycle.message_event.set()
        # An answer may have begun, or must have no body, as one to HEAD.
        with contextlib.suppress(h11.LocalProtocolError):
            super().send_400_response(msg)
        self.transport.close()

    def _should_upgrade(self) -> bool:
        return False

    def _tidy(self) -> None:
        """Make a head acceptable to h11 that other servers accept."""
        came = self.conn.trailing_data[0]
        tidy = tidy_head(came)
        if tidy != came:
            self.conn = h11.Connection(h11.SERVER, self.server_state.limits.head_bytes)
            self.conn.receive_data(tidy)


def tidy_head(head: bytes) -> bytes:
    """
    *head* without the empty lines that some clients send after a body, without the address of a proxy's
    client before the path, and with the bytes of its first line escaped that a URL cannot hold.
    """
    head = head.lstrip(b"\r\n")
    line, end, rest = head.partition(b"\n")
    if end:
        line = _ABSOLUTE.sub(rb"\1", line)
    if not line.isascii():
        line = quote_from_bytes(line, _ASCII).encode()
    return line + end + rest


_ABSOLUTE = re.compile(rb"\A(\S+ )https?://[^/?\s]+(?=/)", re.IGNORECASE)
_ASCII = "".join(map(chr, range(128)))


def most_connections(wanted: int) -> int:
    """
    As many of the *wanted* connections as the operating system lets this process have, after asking for more.
    """
    files = _allow_files()
    # The store, CallRail and the other listener need some as well.
    return wanted if files is None else min(wanted, files // 2)


if sys.platform == "win32":

    def _allow_files() -> int | None:
        return None

else:

    def _allow_files() -> int | None:
        """
        Raise this process's limit of open files as far as it may, and return it; None where there is none.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return None
        wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        if soft >= wanted:
            return soft
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            # macOS names no limit where it has one.
            return soft
        return wanted
