"""Ending a command that stays: Ctrl-C, SIGTERM, and their likes on Windows."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")


@asynccontextmanager
async def stop_signal() -> AsyncIterator[asyncio.Event]:
    """An event that is set at the first such signal; a second one ends the program at once."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, former[number])
        loop.call_soon_threadsafe(stopped.set)

    # signal.signal and not the loop's own: Windows has no other.
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    former = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, handle)
    try:
        yield stopped
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
