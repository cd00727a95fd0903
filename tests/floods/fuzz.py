"""
Raw HTTP, sound and broken, against both listeners in this process, by sockets on 127.0.0.1.

    python -m tests.floods.fuzz --seconds 600

Whatever comes: no answer of 5xx, nothing logged as an error, and no callback of the event loop takes
more than 100 ms of CPU time.
"""

import argparse
import asyncio
import gc
import gzip
import logging
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path

from callrail_relay.web.server import Listener
from tests.web.posting import CALLRAIL_HOOK, HOOK, encoded, payload, public_app
from tests.web.private import private_rig

MOST_CPU = 0.1
ANSWER = 0.3
"""Seconds to wait for an answer: what was left incomplete has none."""

METHODS = ["POST"] * 30 + ["GET", "HEAD", "PUT", "OPTIONS", "CONNECT", "post", "PRI", "", "P\x7fST"]
PATHS = [HOOK] * 30 + [
    f"{HOOK}/", f"{HOOK}%00", CALLRAIL_HOOK, "/hooks/if3/wrong", "/healthz", "/login", "/", "*", "//",
    "/%ff%fe", "/readyz", "/texts?status=%00&page=-1", "/metrics", "http://relay/healthz",
    "/" + "a/" * 3000, "/../../etc", f"{HOOK}?" + "a=b&" * 2000,
    f"{HOOK}?message=%ED%A0%80&seller_phone=2025550122",
    "/static/../../x", "relay:443",
]  # fmt: skip
VERSIONS = ["HTTP/1.1"] * 40 + ["HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", "HTTP/11", ""]
HEADERS = [
    "Connection: close", "Connection: keep-alive, Upgrade", "Upgrade: h2c", "Upgrade: websocket, TLS/1.2",
    "HTTP2-Settings: AAMAAABk", "Expect: 100-continue", "Expect: x", "Content-Type: application/json",
    "Content-Type: application/x-www-form-urlencoded; charset=utf-16", "Content-Type: multipart/form-data",
    "Content-Encoding: gzip", "Content-Encoding: br", "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip, chunked",
    "X-Forwarded-For: \xff\x01", "X-Forwarded-For: 1.2.3.4, ::1, x", "Cookie: " + "a=b; " * 500,
    ": x", "No colon",
    " folded", "X-Tab:\t\tx\t", "Signature: x", "Origin: null", "Sec-Fetch-Site: cross-site",
    "X: " + "y" * 20_000,
    "Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999999999999",
    "Authorization: Bearer \xe9",
]  # fmt: skip
HOSTS = ["Host: 127.0.0.1"] * 40 + ["Host: 127.0.0.1\r\nHost: x", "Host:", "Host: evil.example", ""]
PHONES = ["+12025550122", 2025550122, [], {}, "x" * 5000, None, 1e308]


@cache
def bodies() -> list[bytes]:
    """Bodies made for harm; one of them takes a second to compress."""
    return [
        b"", b"{}", b"<x/>", b"[" * 60_000, b'{"a":' * 10_000, b"1" * 60_000, b'"' * 60_000,
        b"message=" + b"%ff" * 9000, b"a=b&" * 15_000, b"\xff\xfe" + b"\xd8" * 99,
        gzip.compress(b"\0" * 50_000_000), gzip.compress(encoded(payload())), encoded([payload()] * 30),
        b'{"message":"' + b"{{a}}" * 10_000 + b'","seller_phone":"2025550122"}',
        b'{"message":"' + b"-%ab%" * 10_000 + b'","seller_phone":"2025550122"}',
        b'{"message":"' + b"{abc}" * 10_000 + b'","seller_phone":"2025550122"}',
        b'{"message":"' + b"stop " * 12_000 + b'","seller_phone":"2025550122"}',
    ]  # fmt: skip


def body_of(chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return chance.choice(bodies())
    words = "".join(chance.choices("aé\N{HOUSE BUILDING}\0\x1b\ud800{}%", k=20))
    text = encoded(payload(message=words, seller_phone=chance.choice(PHONES)))
    return chance.choice([text, text[:50], encoded(text.decode()), chance.randbytes(300)])


def requests(chance: random.Random) -> bytes:
    """One to three requests behind each other, framed rightly or not, and perhaps damaged."""
    raw = b""
    for _ in range(chance.choice([1, 1, 1, 1, 2, 3])):
        body = body_of(chance) if chance.random() < 0.8 else b""
        lines = [
            f"{chance.choice(METHODS)} {chance.choice(PATHS)} {chance.choice(VERSIONS)}",
            chance.choice(HOSTS),
        ]
        lines += chance.choices(HEADERS, k=chance.choice([0, 0, 0, 1, 1, 3]))
        match chance.choice(["length"] * 6 + ["chunked", "chunked", "tiny", "wrong", "none"]):
            case "length":
                lines.append(f"Content-Length: {len(body)}")
            case "chunked":
                lines.append("Transfer-Encoding: chunked")
                body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            case "tiny":
                lines.append("Transfer-Encoding: chunked")
                body = b"".join(b"1;x\r\n%c\r\n" % byte for byte in body[:20_000]) + b"0\r\n\r\n"
            case "wrong":
                lines.append(f"Content-Length: {len(body) + chance.choice([-3, -1, 1, 1000])}")
        raw += "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body
    if chance.random() < 0.3:
        raw = _damaged(raw, chance)
    return raw.replace(b"\r\n", b"\n") if chance.random() < 0.05 else raw


INSERTED = [b"\r\n", b"\n", b"\0", b" ", b"\r\n\r\n", b":", b"\x16\x03\x01"]


def _damaged(raw: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(raw)
    for _ in range(chance.choice([1, 1, 2, 10])):
        at = chance.randrange(min(len(damaged), 400) or 1)
        match chance.choice(["flip", "cut", "repeat", "insert", "end"]):
            case "flip":
                damaged[at : at + 1] = chance.randbytes(1)
            case "cut":
                del damaged[at : at + chance.randrange(1, 20)]
            case "repeat":
                damaged[at:at] = damaged[at : at + 30]
            case "insert":
                damaged[at:at] = chance.choice(INSERTED)
            case _:
                del damaged[len(damaged) - at :]
    return bytes(damaged)


@dataclass
class Report:
    """What came of it; each fault as a sentence."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} of {status}" for status, count in self.statuses.most_common())
        return (
            f"{self.statuses.total():,} connections: {counts}; slowest callback {self.slowest * 1000:.0f} ms"
        )


async def fuzz(folder: Path, seconds: float, seed: int, *, most_cpu: float = MOST_CPU) -> Report:
    """*most_cpu* is the CPU time that a callback may take, in seconds."""
    report = Report()
    bodies()  # made before the time begins
    async with (
        private_rig(folder) as (rig, private),
        Listener(
            public_app(rig), host="127.0.0.1", port=0, setting="x", trusted_proxies=["127.0.0.1"]
        ) as public,
        Listener(private.app, host="127.0.0.1", port=0, setting="x") as other,
    ):
        ports = [int(one.url.rpartition(":")[2]) for one in (public, public, public, other)]
        with _watched(report, most_cpu):
            ends_at = time.monotonic() + seconds
            threads = [asyncio.to_thread(_talk, ports, seed + number, ends_at, report) for number in range(4)]
            talking = asyncio.gather(*threads)
            while not talking.done():
                await asyncio.wait([talking], timeout=1)
                # So that what is asked once in a while is asked again, such as whether the store is there.
                rig.clock.advance(timedelta(seconds=1))
            await talking
    return report


def _talk(ports: list[int], seed: int, ends_at: float, report: Report) -> None:
    chance = random.Random(seed)
    while time.monotonic() < ends_at:
        raw = requests(chance)
        answer = _answer(chance.choice(ports), raw, chance)
        status = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "no answer"
        report.statuses[status] += 1
        if b"HTTP/1.1 5" in answer:
            report.faults.append(f"{status} to {raw[:300]!r}")


def _answer(port: int, raw: bytes, chance: random.Random) -> bytes:
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        try:
            if chance.random() < 0.2:
                at = chance.randrange(len(raw) + 1)
                connection.sendall(raw[:at])
                time.sleep(0.001)  # two reads of the server
                raw = raw[at:]
            connection.sendall(raw)
            connection.settimeout(ANSWER)
            while b"\r\n\r\n" not in answer and (piece := connection.recv(65_536)):
                answer += piece
        except OSError:
            pass
    return answer


def _called(handle: asyncio.Handle) -> str:
    """What a callback belongs to: the request that it answers, if its task has not ended."""
    callback = getattr(handle, "_callback", None)
    task = getattr(callback, "__self__", callback)
    frame = getattr(task.get_coro(), "cr_frame", None) if isinstance(task, asyncio.Task) else None
    scope = getattr(frame.f_locals.get("self"), "scope", None) if frame is not None else None
    return repr(task) if scope is None else f"{scope['method']} {scope['path']} {scope['headers']}"


@contextmanager
def _watched(report: Report, most_cpu: float) -> Iterator[None]:
    """Note what is logged as an error, and how much CPU time each callback of this thread's loop takes."""
    loop_thread, run = threading.get_ident(), asyncio.Handle._run  # noqa: SLF001 - where all callbacks pass

    def timed(self: asyncio.Handle) -> None:
        began = time.thread_time()
        run(self)
        took = time.thread_time() - began
        if threading.get_ident() == loop_thread and took > report.slowest:
            report.slowest = took
            if took > most_cpu:
                report.faults.append(f"{took * 1000:.0f} ms of CPU time: {_called(self)}"[:300])

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            report.faults.append(f"logged: {record.getMessage()} {record.exc_info}"[:600])

    handler = Handler(logging.ERROR)
    logging.getLogger().addHandler(handler)
    asyncio.Handle._run = timed  # type: ignore[method-assign]  # noqa: SLF001 - no public way to time callbacks
    try:
        yield
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]  # noqa: SLF001 - as above
        logging.getLogger().removeHandler(handler)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.floods.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    gc.freeze()  # as serve does: to collect garbage in all that is loaded takes longer than an answer
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(fuzz(Path(folder), options.seconds, options.seed))
    print(f"seed {options.seed}: {report}", *report.faults[:20], sep="\n")  # noqa: T201 - its result
    sys.exit(bool(report.faults))


if __name__ == "__main__":
    main()
