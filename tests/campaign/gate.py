"""A way to the database that can be cut."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PIECE = 65536


class Gate:
    """
    Passes on what a node and its database say to each other.

    While it is shut nothing gets through, and neither side learns of it: connections stay open, as they do
    if a switch fails or a cable is pulled. What was said meanwhile arrives when it opens again.
    """

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self._open = asyncio.Event()
        self._open.set()
        self._passing: set[asyncio.Task[None]] = set()
        self.port = 0

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take connections on a free port of 127.0.0.1."""
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in self._passing:
                task.cancel()
            await asyncio.gather(*self._passing, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._there)
        except OSError:
            writer.close()
            return
        try:
            # The side that ends first ends both: a killed node's connections are gone for the database, too.
            await asyncio.wait(
                (
                    asyncio.create_task(self._pump(reader, there_writer)),
                    asyncio.create_task(self._pump(there_reader, writer)),
                ),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            writer.close()
            there_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE):
                await self._open.wait()
                writer.write(piece)
                await writer.drain()
