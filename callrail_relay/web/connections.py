"""
What one connection may cost: seconds and bytes until a request's head is complete.
"""

import asyncio
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

# The parser that uvicorn itself would choose.
if TYPE_CHECKING or find_spec("httptools") is None:
    from uvicorn.protocols.http.h11_impl import H11Protocol as HttpProtocol
else:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as HttpProtocol

if sys.platform != "win32":
    import resource

MOST_FILES = 65_536
"""Open files to ask for: more than any relay needs, and a limit that other programs expect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """
    How long a head may take, in seconds, how large it may be, in bytes, and how many connections may be open.

    *last_requests* are the seconds that requests under way get when the listener stops.
    """

    head_seconds: float = 10.0
    head_bytes: int = 65_536
    connections: int = 8192
    last_requests: int = 5


class LimitedProtocol(HttpProtocol):
    """
    Uvicorn's HTTP, which closes a connection whose head comes too late or is too large.

    Without that it waits for ever for a head that began, and keeps all of it.
    """

    limits = ConnectionLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        before, between = self.cycle, self._is_between_bodies()
        super().data_received(data)
        if self.cycle is not before:
            self._stop_awaiting()
        elif between:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.head_bytes:
                self.transport.close()
            elif self._head_timer is None:
                self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_awaiting()
        super().connection_lost(exc)

    def _is_between_bodies(self) -> bool:
        # A body that comes after its answer is nobody's any more, and counts like a head.
        return self.cycle is None or self.cycle.response_complete or not self.cycle.more_body

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self._give_up, self.cycle)

    def _stop_awaiting(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self, before: object) -> None:
        self._head_timer = None
        if self.cycle is not before:
            return
        if self.cycle is not None and not self.cycle.response_complete:
            # The request before it is still being answered.
            self._await_head()
            return
        self.transport.close()


def limited_protocol(wanted: ConnectionLimits) -> type[asyncio.Protocol]:
    """
    What serves a connection within the limits *wanted*.
    """

    class Protocol(LimitedProtocol):
        limits = wanted

    return Protocol


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
