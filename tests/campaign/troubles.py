"""What befalls the database under the nodes."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.campaign.gate import Gate
from tests.support.parts import PARTS, find
from tests.support.postgres import PostgresCluster

QUIET = (2.0, 5.0)
"""Seconds between two troubles of one kind."""

SHORT_CUT = (1.0, 6.0)
LONG_CUT = (18.0, 24.0)
"""Seconds for which a node is cut off; long ones outlast the lease of what it was sending."""

LONG_SHARE = 0.15

CROWDED = "max_connections = {connections}\nsuperuser_reserved_connections = 3\n"
"""Those that are reserved let the campaign itself look."""


def fake_time_library() -> Path:
    """libfaketime, which gives a program another time of day. Ends the program where there is none."""
    program = find(PARTS["faketime"])
    found = [] if program is None else sorted(program.resolve().parents[1].glob("lib/**/libfaketimeMT.so.1"))
    if not found:
        sys.exit("Clocks apart need faketime (on Debian: apt-get install faketime).")
    return found[0]


@dataclass
class Troubles:
    """Restarts of the database server, and cuts between it and single nodes; with how often each came."""

    random: Random
    cluster: PostgresCluster | None
    gates: Sequence[Gate]
    restarting: bool = False
    cutting: bool = False
    restarts: int = 0
    cuts: int = 0

    async def befall(self) -> None:
        """Go on until cancelled; all is well again after that."""
        try:
            await asyncio.gather(
                *([self._restart()] if self.restarting else []), *([self._cut()] if self.cutting else [])
            )
        finally:
            for gate in self.gates:
                gate.open()

    async def _restart(self) -> None:
        assert self.cluster is not None
        while True:
            await asyncio.sleep(self.random.uniform(*QUIET) * 2)
            # To its end, even if this is cancelled: no node may end up without a server.
            restart = asyncio.to_thread(self.cluster.restart, self.random.choice(("fast", "immediate")))
            await asyncio.shield(asyncio.create_task(restart))
            self.restarts += 1

    async def _cut(self) -> None:
        while True:
            await asyncio.sleep(self.random.uniform(*QUIET))
            gate = self.random.choice(self.gates)
            gate.shut()
            self.cuts += 1
            long = self.random.random() < LONG_SHARE
            await asyncio.sleep(self.random.uniform(*(LONG_CUT if long else SHORT_CUT)))
            gate.open()
