"""
What one address can do to a listener without any secret. A separate process, bounded in number and time:

    python -m tests.floods.attacks KIND PORT SECONDS
"""

import argparse
import asyncio
import contextlib
import resource
from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n"
FILES = 10_000


async def pipelined(port: int) -> None:
    """20 connections that ask for /healthz as fast as it is taken, and read the answers."""
    await _many(20, port, _ask)


async def unread(port: int) -> None:
    """2,000 connections that ask, and read no answer."""
    await _many(2000, port, _ask_only)


async def idle(port: int) -> None:
    """8,300 connections that say nothing, and are opened again when they are dropped."""
    await _many(8300, port, _wait)


async def heads(port: int) -> None:
    """2,000 connections with a head of 30,000 bytes that does not end."""
    await _many(2000, port, _begin)


ATTACKS: dict[str, Callable[[int], Awaitable[None]]] = {
    attack.__name__: attack for attack in (pipelined, unread, idle, heads)
}

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _many(count: int, port: int, talk: Talk) -> None:
    async def one() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(HOST, port)
                try:
                    await talk(reader, writer)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(1)

    await asyncio.gather(*(one() for _ in range(count)))


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def read() -> None:
        while await reader.read(65_536):
            pass

    reading = asyncio.create_task(read())
    while not reading.done():
        writer.write(HEALTH * 1000)
        await writer.drain()


async def _ask_only(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads, too
    while not writer.is_closing():
        writer.write(HEALTH * 1000)
        await writer.drain()


async def _wait(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEALTH[:-2] + b"X-Filling: " + b"x" * 30_000)
    await reader.read()


async def _attack(kind: str, port: int, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ATTACKS[kind](port)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.floods.attacks", description=__doc__)
    parser.add_argument("kind", choices=ATTACKS)
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    asyncio.run(_attack(options.kind, options.port, options.seconds))


if __name__ == "__main__":
    main()
