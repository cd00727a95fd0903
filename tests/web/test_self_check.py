"""A relay that cannot be reached any more ends, and is started again."""

import asyncio
import errno
import os
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from callrail_relay.domain.events import ListenerUnanswered
from callrail_relay.domain.public_url import NoAnswer
from callrail_relay.errors import Unavailable
from callrail_relay.machine.addresses import fetch
from callrail_relay.web.server import ASK_AGAIN, ASK_EVERY, until_unanswered
from tests.service.rig import Events, LoopTime
from tests.support.clock import ManualClock

pytestmark = pytest.mark.anyio
ask = partial(fetch, directly=True)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_port_that_is_closed_ends_it_after_three_tries() -> None:
    """With words for a person, and an event."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    clock, events = ManualClock(), Events()
    checking = asyncio.create_task(until_unanswered(ask, url, clock, events))
    for pause in (ASK_EVERY, ASK_AGAIN, ASK_AGAIN):
        await clock.until_asleep()
        assert not checking.done()
        clock.advance(pause)

    with pytest.raises(
        Unavailable, match=f"no longer answers on its own port .{url}: connection refused.*serve"
    ):
        await checking
    assert [url] == [event.url for event in events.of(ListenerUnanswered)]


async def test_no_thread_is_needed() -> None:
    """Other work may wait in all of them, as for a locked keyring."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    loop, may_end = asyncio.get_running_loop(), threading.Event()
    threads = ThreadPoolExecutor(1)
    loop.set_default_executor(threads)
    async with answering(answer) as url:
        waiting = loop.run_in_executor(None, may_end.wait)
        try:
            async with asyncio.timeout(5):
                assert 200 == (await ask(url)).status
        finally:
            may_end.set()
            await waiting


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other words, and another way to reset")
async def test_reason_is_in_the_words_of_the_system() -> None:
    """They say more than the client's; "Too many open files" is one."""

    async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async with answering(reset) as url:
        with pytest.raises(NoAnswer) as raised:
            await ask(url)
    assert os.strerror(errno.ECONNRESET) == raised.value.detail


@pytest.mark.parametrize("status", ["200 OK", "503 Service Unavailable"])
async def test_any_answer_will_do(status: str) -> None:
    """A store that cannot be written is no reason to end; one failure in between is none either."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        if len(asked) % 3:
            writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        writer.close()

    clock, events = ManualClock(), Events()
    async with answering(answer) as url:
        checking = asyncio.create_task(until_unanswered(ask, url, clock, events))
        for _ in range(12):
            await clock.until_asleep()
            clock.advance(ASK_EVERY)
        await clock.until_asleep()
        checking.cancel()

    assert [b"GET /healthz HTTP/1.1\r\n"] * 12 == asked
    assert [] == events


async def test_silence_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port is open, and nothing comes."""
    loop_time, asked = LoopTime(monkeypatch), asyncio.Event()

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        asked.set()
        await reader.read()
        writer.close()

    clock = ManualClock()
    async with answering(nothing) as url:
        checking = asyncio.create_task(until_unanswered(ask, url, clock, Events()))
        for pause in (ASK_EVERY, ASK_AGAIN, ASK_AGAIN):
            await clock.until_asleep()
            clock.advance(pause)
            await asked.wait()
            asked.clear()
            loop_time.jump(10)
        with pytest.raises(Unavailable, match=r": no answer in time\), so"):
            await checking
