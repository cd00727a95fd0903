"""
The way from the internet to a relay, on this machine alone: a proxy, a name, and https with certificates.

The proxy of the environment stands for DNS: it leads the name to a server that speaks TLS, which passes on
what it gets. So the program under test does all that it does in the world.
"""

import asyncio
import contextlib
import sqlite3
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue

import trustme

from callrail_relay.domain.public_url import proof

HOST = "texts.example.com"
PUBLIC = f"https://{HOST}"

Answer = Callable[[str], bytes]
"""Takes the request's target, such as "/healthz?probe=x"; returns a whole answer."""


def response(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def proving(store: Path) -> Answer:
    """What the relay of *store* answers to a probe."""

    def answer(target: str) -> bytes:
        with contextlib.closing(sqlite3.connect(store)) as connection:
            [secret] = connection.execute("SELECT value FROM relay_secret").fetchone()
        return response(200, proof(secret, target.partition("?probe=")[2]).encode())

    return answer


@dataclass(kw_only=True)
class PublicWay:
    """What the name leads to: *target*, a port of this machine, or what *answer* says."""

    environment: dict[str, str]
    target: int | None = None
    answer: Answer | None = None
    ends: list[asyncio.StreamWriter] = field(default_factory=list)


@contextmanager
def public_way(
    folder: Path, *, cert_host: str = HOST, expired: bool = False, trusted: bool = True
) -> Iterator[PublicWay]:
    """The way, open until the end of the block; its *environment* makes httpx2 take it."""
    authority = trustme.CA()
    expiry = datetime.now(UTC) - timedelta(days=1) if expired else None
    not_before = datetime.now(UTC) - timedelta(days=9) if expired else None
    certificate = authority.issue_cert(cert_host, not_before=not_before, not_after=expiry)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(tls)
    bundle = folder / "authorities.pem"
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(bundle)
    way = PublicWay(environment={})
    loop, stop, ports = asyncio.new_event_loop(), asyncio.Event(), SimpleQueue[int]()

    async def serve() -> None:
        secure = await asyncio.start_server(lambda r, w: _serve(way, r, w), "127.0.0.1", 0, ssl=tls)
        port = secure.sockets[0].getsockname()[1]
        proxy = await asyncio.start_server(lambda r, w: _proxy(way, port, r, w), "127.0.0.1", 0)
        ports.put(proxy.sockets[0].getsockname()[1])
        async with secure, proxy:
            await stop.wait()
            for end in way.ends:
                end.transport.abort()
            # What was aborted is closed in the next turns of the loop.
            for _ in range(10):
                await asyncio.sleep(0.01)

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work)
    thread.start()
    way.environment |= {
        "HTTPS_PROXY": f"http://127.0.0.1:{ports.get(timeout=30)}",
        "NO_PROXY": "127.0.0.1,localhost",
        "SSL_CERT_FILE": str(bundle),
    }
    try:
        yield way
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _proxy(
    way: PublicWay, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    way.ends.append(writer)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(f"CONNECT {HOST}:443 ".encode()):
        writer.write(response(502))
        writer.close()
        return
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await _join(way, port, reader, writer)


async def _serve(way: PublicWay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    way.ends.append(writer)
    if way.answer is None and way.target is not None:
        await _join(way, way.target, reader, writer)
        return
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(way.answer(head.split()[1].decode()) if way.answer else response(404))
    with contextlib.suppress(OSError):
        await writer.drain()
    writer.close()


async def _join(
    way: PublicWay, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Pass on what comes from either side until one of them ends."""
    try:
        there, back = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.write(response(502))
        writer.close()
        return
    way.ends.append(back)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                target.write(piece)
                await target.drain()

    ways: list[Awaitable[None]] = [copy(reader, back), copy(there, writer)]
    tasks = [asyncio.ensure_future(one) for one in ways]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for end in (writer, back):
        end.close()
