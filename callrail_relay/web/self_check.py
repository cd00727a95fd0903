"""Whether this process still answers on its own port."""

import asyncio
from datetime import timedelta
from urllib.parse import urlsplit

from callrail_relay.clock import Clock
from callrail_relay.domain.events import EventHook, ListenerUnanswered
from callrail_relay.errors import Unavailable

ASK_EVERY = timedelta(seconds=30)
ASK_AGAIN = timedelta(seconds=5)
PATIENCE = timedelta(seconds=10)
MOST_FAILURES = 3
"""In a row: a machine that wakes up, or one that is very busy, may miss one."""


async def until_unanswered(url: str, clock: Clock, hook: EventHook) -> None:
    """
    Ask the listener at *url* for its health, over TCP as a sender does, until it does not answer.

    Any answer will do, a 503 too. Raises Unavailable.
    """
    failures, problem = 0, ""
    while failures < MOST_FAILURES:
        await clock.sleep((ASK_AGAIN if failures else ASK_EVERY).total_seconds())
        problem = await _problem(url)
        failures = failures + 1 if problem else 0
    hook(ListenerUnanswered(url=url, reason=problem))
    raise Unavailable(
        f"The relay does not answer on its own port any more ({url}: {problem}), so it stops. "
        "Nothing that was stored is lost. Start it again with `callrail-relay serve`; "
        "a service does that by itself."
    )


async def _problem(url: str) -> str:
    """Why there is no answer; empty if there is one."""
    address = urlsplit(url)
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                writer.write(f"GET /healthz HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
                answered = (await reader.readline()).startswith(b"HTTP/")
            finally:
                writer.close()
    except TimeoutError:
        return f"no answer within {PATIENCE.seconds} seconds"
    except OSError as error:
        return error.strerror or str(error)
    return "" if answered else "the connection was closed without an answer"
