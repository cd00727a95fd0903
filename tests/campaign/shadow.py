"""A campaign in shadow: people texting, a fake Zap, relays killed, and the switch thrown again and again."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.acceptance.program import Program
from tests.campaign.ledger import Ledger
from tests.campaign.nodes import UNAVAILABLE
from tests.campaign.run import PEOPLE, Campaign, People, cancelled_after, command, scene_of, settled
from tests.support.zap import Manner, Zap

ENOUGH = 20  # texts at the Zap, and at CallRail, before a campaign may end
ENOUGH_SWITCHES = 4
MANNERS = (*(Manner(),) * 6, Manner(delay=0.2), Manner(status=500), Manner(closes=True), Manner(status=404))


@dataclass(frozen=True, kw_only=True)
class ShadowReport:
    """
    The faults: ``lost`` were promised and are with neither, and no person sees them; ``twice`` are with both,
    or with one of them more than once. ``cut_off`` may have arrived at the Zap, and are known as that.
    """

    promised: int
    at_zap: int
    at_callrail: int
    held: int
    cut_off: int
    switches: int
    lost: list[str]
    twice: list[str]

    @property
    def faults(self) -> int:
        return len(self.lost) + len(self.twice)


async def run_shadow_campaign(campaign: Campaign, zap: Zap) -> ShadowReport:
    """Start in shadow, switch and kill as often as asked, end it, let all finish, and compare."""
    random, ledger, switches = Random(campaign.seed), Ledger(), 0
    async with scene_of(campaign) as scene:
        simulator, fleet = scene.simulator, scene.fleet
        program = fleet.nodes[0].program  # the first to open the store makes its tables
        await command(program, "shadow", "start", "--forward-to", zap.url)

        done = asyncio.Event()

        async def switch() -> None:
            nonlocal switches
            while not done.is_set():
                for way in ("end", "resume"):
                    await asyncio.sleep(random.uniform(0.5, 2.0))
                    switches += await _switch(program, way)

        async def trouble() -> None:
            while not done.is_set():
                await asyncio.sleep(random.uniform(0.05, 0.3))
                zap.manner = random.choice(MANNERS)
                if random.random() < 0.04:
                    await asyncio.to_thread(zap.close)
                    await asyncio.sleep(random.uniform(0.2, 0.6))
                    await asyncio.to_thread(zap.open)

        people = People(ledger, Random(campaign.seed), fleet)
        texting = (people.text(person) for person in range(PEOPLE))
        beside = asyncio.gather(switch(), trouble())
        async with cancelled_after(texting):
            await fleet.live()
            # Until both were reached: a busy machine takes most of the time to start killed relays.
            while (  # noqa: ASYNC110 - other processes send
                min(len(zap.taken), len(simulator.texts)) <= ENOUGH or switches < ENOUGH_SWITCHES
            ):
                await asyncio.sleep(0.2)
        done.set()
        await beside
        await asyncio.to_thread(zap.close)
        zap.open()
        zap.manner = Manner()
        await command(program, "shadow", "start", "--forward-to", zap.url)
        await _passed_on(program)
        await command(program, "shadow", "end", "--yes")
        messages = await settled(program, full=False)
    return _compare(ledger, zap, [text.content for text in simulator.texts], messages, switches)


async def _switch(program: Program, way: str) -> bool:
    """Whether it was done: on a store that does not answer it may not be."""
    shown = await asyncio.to_thread(program.run, "shadow", way, "--yes")
    assert shown.returncode in (0, 4, UNAVAILABLE), shown.stderr
    return shown.returncode == 0


async def _passed_on(program: Program) -> None:
    for _ in range(120):
        if (await command(program, "shadow", "status"))["waiting"] == 0:
            return
        await asyncio.sleep(0.5)  # another process has to get there
    raise AssertionError("the relay did not pass on what waits")


def _compare(
    ledger: Ledger, zap: Zap, at_callrail: list[str], messages: list[dict[str, Any]], switches: int
) -> ShadowReport:
    status = {message["text"]: message["status"] for message in messages}
    both = Counter([*zap.words, *at_callrail])
    nowhere = [text for text in ledger.promised if not both[text]]
    held = [text for text in nowhere if status.get(text) in ("held", "unknown", "failed")]
    cut_off = [text for text in nowhere if status.get(text) == "shadow"]
    return ShadowReport(
        promised=len(ledger.promised),
        at_zap=len(zap.taken),
        at_callrail=len(at_callrail),
        held=len(held),
        cut_off=len(cut_off),
        switches=switches,
        lost=[text for text in nowhere if text not in {*held, *cut_off}],
        twice=[text for text, count in both.items() if count > 1],
    )
