"""A value that is kept for a while."""

import asyncio
from datetime import timedelta

import pytest

from callrail_relay.clock import Cached
from tests.support.clock import ManualClock

pytestmark = pytest.mark.anyio

LASTS = timedelta(minutes=1)


class Source:
    """Counts how often it was read; readers wait until it may answer."""

    def __init__(self) -> None:
        self.read = 0
        self.fault: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self) -> int:
        self.read += 1
        read = self.read
        await self.may_answer.wait()
        if self.fault is not None:
            raise self.fault
        return read


@pytest.mark.parametrize("asleep", [True, False])
async def test_it_is_read_again_when_it_is_old(*, asleep: bool) -> None:
    """By the time of day if the computer slept, and by what passed if the clock was set back."""
    clock = ManualClock()
    cached = Cached(Source(), LASTS, clock)
    assert [1, 1] == [await cached.get() for _ in range(2)]
    if asleep:
        clock.suspend(LASTS)
    else:
        clock.set(clock.now() - LASTS / 2)
        clock.advance(LASTS)
    assert [2, 2] == [await cached.get() for _ in range(2)]


async def test_all_who_ask_at_once_share_a_reading() -> None:
    """It may be slow, as a keyring or CallRail is."""
    source = Source()
    source.may_answer.clear()
    cached = Cached(source, LASTS, ManualClock())
    asking = [asyncio.create_task(cached.get()) for _ in range(5)]
    await asyncio.sleep(0)
    source.may_answer.set()
    assert [1] * 5 == await asyncio.gather(*asking)


async def test_what_expires_while_it_is_read_is_read_again() -> None:
    """The reading may have begun before the change."""
    source = Source()
    source.may_answer.clear()
    cached = Cached(source, LASTS, ManualClock())
    asking = asyncio.create_task(cached.get())
    await asyncio.sleep(0)
    cached.expire()
    source.may_answer.set()
    assert 1 == await asking
    assert 2 == await cached.get()


async def test_after_a_fault_an_earlier_value_does_not_count() -> None:
    """The last value stays available, however old."""
    source = Source()
    cached = Cached(source, LASTS, ManualClock())
    await cached.get()
    cached.expire()
    source.fault = ValueError("Broken.")
    for _ in range(2):
        with pytest.raises(ValueError, match="Broken"):
            await cached.get()
    assert (1, 3) == (cached.value, source.read)
    source.fault = None
    assert 4 == await cached.get()
