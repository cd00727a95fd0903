"""The relays of a campaign: real processes that are ended and started again."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.acceptance.program import Program
from tests.support.warm import Forked

SHORTEST_LIFE, LONGEST_LIFE = 0.1, 1.5
"""Seconds between the moment a relay listens and its end."""

STARTS = 60
"""How often a node is started anew while its database does not answer: as a service would be."""

UNAVAILABLE = 8


@dataclass
class Node:
    """One ``serve`` on its machine; ``url`` is where it listens now, None while it does not."""

    program: Program
    url: str | None = None
    failed_starts: int = 0
    process: "subprocess.Popen[str] | Forked | None" = None

    async def start(self) -> None:
        """Start it, and return when it listens."""
        for _ in range(STARTS):
            if await self._start():
                return
            self.failed_starts += 1
            await asyncio.sleep(0.5)  # as a service manager waits
        raise AssertionError("serve does not come up")

    async def _start(self) -> bool:
        self.process = self.program.start("serve", "--port", "0", "--json")
        assert self.process.stdout is not None
        lines = ""
        while not lines.endswith("}\n"):
            line = await asyncio.to_thread(self.process.stdout.readline)
            if not line:
                assert await self._ended(self.process) == UNAVAILABLE, "serve ended before it listened"
                return False
            lines += line
        self.url = json.loads(lines)["public_url"]
        return True

    async def end(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end, and return its exit code."""
        self.url = None
        assert self.process is not None
        self.process.send_signal(number)
        return await self._ended(self.process)

    async def _ended(self, process: "subprocess.Popen[str] | Forked") -> int:
        """Wait for its end, and return its exit code."""
        with process:
            _, errors = await asyncio.to_thread(process.communicate)
        if os.environ.get("CAMPAIGN_LOG") is not None:
            sys.stderr.write(errors)
        self.process = None
        return process.wait()


@dataclass
class Fleet:
    """The nodes, and how often one of them is ended."""

    nodes: Sequence[Node]
    random: Random
    kills: int
    number: signal.Signals
    dirty_stops: int = 0
    up: asyncio.Event = field(default_factory=asyncio.Event)
    ended: dict[int, int] = field(default_factory=dict)

    async def urls(self) -> list[str]:
        """Where texts can be posted, as soon as there is such a place."""
        await self.up.wait()
        return [node.url for node in self.nodes if node.url is not None]

    async def live(self) -> None:
        """
        Start all, end and start them again at random instants, until there were enough ends; all are up then.
        """
        await asyncio.gather(*(self._live(number) for number in range(len(self.nodes))))

    async def _live(self, number: int) -> None:
        node = self.nodes[number]
        await self._start(node)
        while self.kills > 0:
            self.kills -= 1
            await asyncio.sleep(self.random.uniform(SHORTEST_LIFE, LONGEST_LIFE * len(self.nodes)))
            node.url = None
            self._note()
            code = await node.end(self.number)
            self.ended[number] = self.ended.get(number, 0) + 1
            self.dirty_stops += self.number is signal.SIGTERM and code != 0
            await self._start(node)

    async def _start(self, node: Node) -> None:
        await node.start()
        self._note()

    def _note(self) -> None:
        """Let people text where a node is up, and wait where none is."""
        if any(node.url is not None for node in self.nodes):
            self.up.set()
        else:
            self.up.clear()

    async def end(self) -> None:
        await asyncio.gather(*(node.end(signal.SIGTERM) for node in self.nodes if node.process is not None))
