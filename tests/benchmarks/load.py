"""
The load generator, a separate process: posts webhooks, checks every answer, prints what came of it as JSON.

    python -m tests.benchmarks.load URL --connections 64 --seconds 3
    python -m tests.benchmarks.load URL --rate 20 --count 200
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.benchmarks.loop import run
from tests.benchmarks.texts import body, people


@dataclass
class Load:
    """What is posted where, and what came of it. Instants are those of ``time.monotonic``."""

    host: str
    port: int
    head: bytes
    persons: list[str]
    number: int
    """Of the next text."""
    left: int
    """Texts still to post."""
    ends_at: float = float("inf")
    statuses: Counter[str] = field(default_factory=Counter)
    sent: dict[int, float] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    answered_at: float = 0.0

    def next_request(self) -> bytes | None:
        """The next request as bytes; None when all are posted or the time is over."""
        if self.left <= 0 or time.monotonic() >= self.ends_at:
            return None
        content = body(self.number, self.persons)
        self.left -= 1
        self.number += 1
        return self.head % len(content) + content


class Connection(asyncio.Protocol):
    """Posts one text after the other, each when the one before it was answered."""

    def __init__(self, load: Load, closed: asyncio.Future[None], *, once: bool) -> None:
        self._load = load
        self._closed = closed
        self._once = once
        self._buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as asyncio's own
        self._transport = transport
        self.post()

    def post(self) -> None:
        request = self._load.next_request()
        if request is None:
            self._transport.close()
            return
        if self._once:
            self._began_at = self._load.sent[self._load.number - 1] = time.monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        self._buffer = b""
        load = self._load
        load.answered_at = time.monotonic()
        load.statuses[head[9:12].decode()] += 1
        if self._once:
            load.took.append(load.answered_at - self._began_at)
            self._transport.close()
        else:
            self.post()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._load.statuses["lost"] += 1
        if not self._closed.done():
            self._closed.set_result(None)


async def connect(load: Load, *, once: bool = False) -> None:
    """One connection, from its beginning to its end."""
    loop = asyncio.get_running_loop()
    closed: asyncio.Future[None] = loop.create_future()
    await loop.create_connection(lambda: Connection(load, closed, once=once), load.host, load.port)
    await closed


async def at_rate(load: Load, rate: float) -> None:
    """Post at *rate* a second whatever the answers do, as people do; each on a separate connection."""
    posts = []
    begin = time.monotonic()
    for number in range(load.left):
        await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
        posts.append(asyncio.create_task(connect(load, once=True)))
    await asyncio.gather(*posts)


def main() -> None:
    """Read the options, post, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.load", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.0, help="end after this time")
    parser.add_argument("--count", type=int, default=sys.maxsize, help="end after as many texts")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="texts a second; as fast as answered without it"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first text")
    options = parser.parse_args()
    parts = urlsplit(options.url)
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    load = Load(
        host=parts.hostname or "",
        port=parts.port or 80,
        head=head.encode() + b"content-length: %d\r\n\r\n",
        persons=people(),
        number=options.first,
        left=options.count,
    )
    gc.disable()
    begin = time.monotonic()
    if options.seconds:
        load.ends_at = begin + options.seconds

    async def posting() -> None:
        if options.rate:
            await at_rate(load, options.rate)
        else:
            await asyncio.gather(*(connect(load) for _ in range(options.connections)))

    cpu = time.process_time()
    run(posting())
    print(  # noqa: T201 - its result
        json.dumps(
            {
                "statuses": load.statuses,
                "seconds": load.answered_at - begin,
                "began_at": begin,
                "cpu": time.process_time() - cpu,
                "sent": load.sent,
                "took": load.took,
            }
        )
    )


if __name__ == "__main__":
    main()
