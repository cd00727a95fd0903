"""Copying a store, beside a loop that can still be interrupted."""

import asyncio
from collections.abc import Callable

from callrail_relay.clock import SystemClock
from callrail_relay.config.types import check_database_url
from callrail_relay.errors import UsageFault
from callrail_relay.outbox.copying import Copy, TableCopy, differing, open_copy

__all__ = ["TableCopy", "copy_database", "differing"]

Begin = Callable[[int], Callable[[int], None]]
"""Takes the number of rows to look at, and gives what is called with how many more were looked at."""


async def copy_database(source: str, target: str, begin: Begin) -> list[TableCopy]:
    """
    Copy the store at one address into the other. Raises UsageFault, NotFound, NotAllowed, Unavailable.

    An interrupt ends it after the portion under way; a later copy goes on from there.
    """
    for name, url in (("FROM", source), ("TO", target)):
        try:
            check_database_url(url)
        except ValueError as error:
            raise UsageFault(f"{name} {error}.") from error
    copies: list[Copy] = []

    def work() -> list[TableCopy]:
        with open_copy(source, target, now=SystemClock().now()) as copy:
            copies.append(copy)
            return copy.run(begin(copy.rows))

    try:
        return await asyncio.to_thread(work)
    finally:
        for copy in copies:
            copy.stop()
