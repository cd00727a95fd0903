"""The simulator on a port, for commands that run an event loop of their own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from callrail_relay.callrail.simulator import Simulator
from tests.callrail.simulated import listening


@contextmanager
def served(simulator: Simulator) -> Iterator[str]:
    """The simulator's URL, in a thread beside the test, until the end of the block."""
    loop, stop, urls = asyncio.new_event_loop(), asyncio.Event(), SimpleQueue[str]()

    async def serve() -> None:
        async with listening(simulator) as url:
            urls.put(url)
            await stop.wait()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield urls.get(timeout=30)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
