"""Noticing that something changed."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import anyio
import pytest

from callrail_relay.errors import Unavailable
from callrail_relay.service.overview import LOOK, PAUSE, ChangeFeed, ChangeSignal
from tests.support.clock import START, ManualClock

pytestmark = pytest.mark.anyio

MINUTE = int(START.timestamp()) // 60


class Store:
    """A marker that a test changes, and how often it was asked for."""

    def __init__(self) -> None:
        self.marker = "a"
        self.asked = 0
        self.broken = False

    async def __call__(self) -> str:
        self.asked += 1
        if self.broken:
            raise Unavailable("The store is away.")
        return self.marker


async def told(clock: ManualClock, stream: AsyncGenerator[str]) -> str:
    """The next version, for which as much time passes as it takes."""
    coming = asyncio.ensure_future(anext(stream))
    await anyio.wait_all_tasks_blocked()
    while not coming.done():
        clock.advance(PAUSE)
        await anyio.wait_all_tasks_blocked()
    return await coming


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_change_in_this_process_is_told_at_once(clock: ManualClock) -> None:
    """And only once, however many changes there were."""
    signal, store = ChangeSignal(), Store()
    feed = ChangeFeed(signal, store, clock)
    stream = feed.versions(await feed.version())
    coming = asyncio.ensure_future(anext(stream))
    await clock.until_asleep()
    signal()
    signal()
    clock.advance(PAUSE)

    assert f"a-2-{MINUTE}" == await coming
    await feed.close()


async def test_change_by_others_is_seen_by_looking(clock: ManualClock) -> None:
    """Also after a while in which the store could not be read."""
    store = Store()
    feed = ChangeFeed(ChangeSignal(), store, clock)
    stream = feed.versions(f"a-0-{MINUTE}")
    coming = asyncio.ensure_future(anext(stream))
    await clock.until_asleep()
    store.broken = True
    for _ in range(4):
        clock.advance(LOOK)
        await clock.until_asleep()
    store.broken, store.marker = False, "b"
    clock.advance(LOOK)

    assert f"b-0-{MINUTE}" == await coming
    await feed.close()


async def test_page_looks_again_every_minute(clock: ManualClock) -> None:
    """Without a change, limits get free, and what was well may not be any more."""
    feed = ChangeFeed(ChangeSignal(), Store(), clock)
    known = await feed.version()
    stream = feed.versions(known)
    while (version := await told(clock, stream)) == known:
        pass

    assert f"a-0-{MINUTE + 1}" == version
    assert clock.now() - START <= timedelta(minutes=1) + LOOK + PAUSE
    await feed.close()


async def test_nobody_looks_when_nobody_listens(clock: ManualClock) -> None:
    """The last one who leaves ends it, and the next one begins anew."""
    store = Store()
    feed = ChangeFeed(ChangeSignal(), store, clock)
    stream = feed.versions("old")
    assert f"a-0-{MINUTE}" == await anext(stream)
    await stream.aclose()
    asked = store.asked
    clock.advance(60)
    await asyncio.sleep(0)
    assert asked == store.asked

    store.marker = "b"
    assert f"b-0-{MINUTE + 1}" == await anext(feed.versions(f"a-0-{MINUTE}"))
    await feed.close()


async def test_closing_ends_every_stream(clock: ManualClock) -> None:
    """A listener that stops would wait for them."""
    feed = ChangeFeed(ChangeSignal(), Store(), clock)
    waiting = [asyncio.ensure_future(_last(feed)) for _ in range(3)]
    await clock.until_asleep()

    await feed.close()

    assert [[f"a-0-{MINUTE}"]] * 3 == await asyncio.gather(*waiting)


async def _last(feed: ChangeFeed) -> list[str]:
    return [version async for version in feed.versions("old")][:1]


async def test_all_streams_share_a_look(clock: ManualClock) -> None:
    """However many pages are open, also while the store can't be read."""
    store = Store()
    feed = ChangeFeed(ChangeSignal(), store, clock)
    waiting = [asyncio.ensure_future(_last(feed)) for _ in range(20)]
    await clock.until_asleep()
    for store.broken in (False, True):
        before = store.asked
        for _ in range(4):
            clock.advance(LOOK)
            await clock.until_asleep()
        assert 1 <= store.asked - before <= 4

    await feed.close()
    await asyncio.gather(*waiting)


async def test_a_store_that_does_not_answer_keeps_no_stream_silent_or_open(clock: ManualClock) -> None:
    feed = ChangeFeed(ChangeSignal(), asyncio.Event().wait, clock)  # type: ignore[arg-type]  # it says nothing
    stream = feed.versions("a-0")
    assert ["a-0", "a-0"] == [await told(clock, stream), await told(clock, stream)]

    waiting = asyncio.ensure_future(_last(feed))
    await asyncio.sleep(0)
    await feed.close()

    assert [] == await waiting
