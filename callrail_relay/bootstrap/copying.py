"""Copying a store, beside a loop that can still be interrupted."""

import asyncio
from collections.abc import Callable
from threading import Event

from callrail_relay.clock import SystemClock
from callrail_relay.config.types import check_database_url
from callrail_relay.errors import UsageError
from callrail_relay.outbox.copying import Begin, copy_store


async def copy_database(source: str, target: str, begin: Begin) -> dict[str, int]:
    """
    Copy the store at one address into the other; return the rows of each table.

    An interrupt ends it after the portion under way, and nothing was copied. Raises UsageError, NotFound,
    NotAllowed, Unavailable.
    """
    for name, url in (("FROM", source), ("TO", target)):
        try:
            check_database_url(url)
        except ValueError as error:
            raise UsageError(f"{name} {error}.") from error
    stopped = Event()

    def begin_unless_stopped(rows: int) -> Callable[[int], None]:
        told = begin(rows)

        def tell(count: int) -> None:
            if stopped.is_set():
                raise asyncio.CancelledError
            told(count)

        return tell

    try:
        return await asyncio.to_thread(
            copy_store, source, target, begin_unless_stopped, now=SystemClock().now()
        )
    finally:
        stopped.set()
