"""
One campaign: people texting, CallRail failing, and the relay killed again and again.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx

from callrail_relay.callrail.simulator import Fault, Kind, Simulator, create_app
from callrail_relay.callrail.simulator.limits import Bucket
from callrail_relay.clock import SystemClock
from callrail_relay.web.listener import Listener
from tests.campaign.ledger import NUMBERED, Audit, Ledger, audit

KEY = "campaign-key"
TOKEN = "campaign-token-0123456789abcdef0123456789"
PEOPLE = 12
PLENTY = 1_000_000
SHORTEST_LIFE, LONGEST_LIFE = 0.1, 1.5
"""Seconds between the moment a relay listens and its end."""

FAULTS = (
    Fault(kind=Kind.DELAY, share=0.15, delay=0.2),
    Fault(kind=Kind.DROP, share=0.03),
    Fault(kind=Kind.DROP_ANSWER, share=0.05),
    Fault(kind=Kind.STATUS, share=0.02, status=500),
    Fault(kind=Kind.STATUS_AFTER, share=0.03, status=502),
    Fault(kind=Kind.GARBAGE, share=0.02),
    Fault(kind=Kind.HALF_BODY, share=0.02),
    Fault(kind=Kind.STATUS, share=0.01, status=429, retry_after=1),
)


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """
    How often to kill, by which signal, on which store.
    """

    kills: int
    seed: int
    number: signal.Signals
    folder: Path
    database: str | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """
    What came of it.
    """

    ledger: Ledger
    audit: Audit
    dirty_stops: int


@dataclass
class People:
    """
    Everybody texts one text after the other, and waits for the answer before the next.
    """

    ledger: Ledger
    random: Random
    url: str = ""
    up: asyncio.Event = field(default_factory=asyncio.Event)

    async def text(self, person: int) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            for number in range(100_000):
                await self.up.wait()
                await self._post(client, person, NUMBERED.format(person=f"p{person:02}", number=number))
                await asyncio.sleep(self.random.uniform(0.02, 0.2))  # people pause between texts

    async def _post(self, client: httpx.AsyncClient, person: int, words: str) -> None:
        payload = {"message": words, "seller_phone": f"+120255501{person:02}", "team_id": 1}
        try:
            answer = await client.post(self.url, json=payload)
        except httpx.TransportError:
            self.ledger.doubtful.append(words)
            return
        (self.ledger.promised if answer.status_code == 200 else self.ledger.doubtful).append(words)


async def run_campaign(campaign: Campaign) -> Report:
    """
    Kill and restart as often as asked, then let the relay finish, and compare.
    """
    random = Random(campaign.seed)
    simulator = Simulator(
        clock=SystemClock(), api_key=KEY, random=Random(campaign.seed), per_hour=PLENTY, per_day=PLENTY
    )
    simulator.general_limits[simulator.account_id] = Bucket(PLENTY, PLENTY)
    people = People(Ledger(), random)
    dirty_stops = 0
    async with Listener(create_app(simulator), host="127.0.0.1", port=0, setting="") as callrail:
        environment = _environment(campaign, simulator, callrail.url)
        simulator.fault(*FAULTS)
        texting = [asyncio.create_task(people.text(person)) for person in range(PEOPLE)]
        for _ in range(campaign.kills):
            async with _serving(environment, people) as process:
                await asyncio.sleep(random.uniform(SHORTEST_LIFE, LONGEST_LIFE))
                process.send_signal(campaign.number)
                dirty_stops += campaign.number is signal.SIGTERM and await process.wait() != 0
        for task in texting:
            task.cancel()
        simulator.faults.clear()
        async with _serving(environment, people):
            messages = await _settled(environment)
    taken = [text.content for text in simulator.texts]
    return Report(ledger=people.ledger, audit=audit(people.ledger, taken, messages), dirty_stops=dirty_stops)


def _environment(campaign: Campaign, simulator: Simulator, url: str) -> dict[str, str]:
    settings = {
        "CALLRAIL__API_URL": url,
        "CALLRAIL__ACCOUNT_ID": simulator.account_id,
        "CALLRAIL__COMPANY_ID": simulator.company_id,
        "CALLRAIL__TRACKING_NUMBER": simulator.tracking_number,
        "CALLRAIL__ACCEPTED_TERMS": "true",
        "LIMITS__PER_HOUR": str(PLENTY),
        "LIMITS__PER_DAY": str(PLENTY),
        "LIMITS__LOOKUPS_PER_HOUR": str(PLENTY),
        "LIMITS__RECIPIENT_INTERVAL": "0",
        "DELIVERY__CONCURRENCY": "8",
        "DELIVERY__READ_TIMEOUT": "2",
        "DELIVERY__RECONCILE_AFTER": '["0.5s", "1s", "2s"]',
        "DASHBOARD__ENABLED": "false",
        "LOG__LEVEL": "error",
        "DATA": str(campaign.folder),
        # Everybody gets texts of one wording all the time.
        "GUARDS__MASS_TEXT": "off",
    }
    if campaign.database is not None:
        settings["DATABASE__URL"] = campaign.database
    return {
        **os.environ,
        **{f"CALLRAIL_RELAY_{name}": value for name, value in settings.items()},
        "CALLRAIL_API_KEY": KEY,
        "CALLRAIL_RELAY_HOOK_TOKEN": TOKEN,
    }


@asynccontextmanager
async def _serving(environment: dict[str, str], people: People) -> AsyncIterator[asyncio.subprocess.Process]:
    """
    A relay, from the moment it listens; people text it only while it is there.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "callrail_relay", "serve", "--port", "0", "--json"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    lines = ""
    while not lines.endswith("}\n"):
        line = (await process.stdout.readline()).decode()
        assert line, "serve ended before it listened"
        lines += line
    people.url = f"{json.loads(lines)['public_url']}/hooks/if3/{TOKEN}"
    people.up.set()
    try:
        yield process
    finally:
        people.up.clear()
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _settled(environment: dict[str, str]) -> list[dict[str, object]]:
    """
    All messages, once none is queued, under way, or being looked up.
    """
    for _ in range(300):
        messages = await _messages(environment)
        if not any(_moves(message) for message in messages):
            return messages
        await asyncio.sleep(1)  # another process has to finish
    raise AssertionError("the relay did not come to an end")


def _moves(message: dict[str, object]) -> bool:
    if message["status"] in ("queued", "sending"):
        return True
    segments: list[dict[str, list[dict[str, object]]]] = message["segments"]  # type: ignore[assignment] # JSON
    return any(attempt["look_at"] for segment in segments for attempt in segment["attempts"])


async def _messages(environment: dict[str, str]) -> list[dict[str, object]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "callrail_relay", "messages", "list", "--limit", "0", "--json"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    listed: list[dict[str, object]] = json.loads(output)
    return listed


def table(campaign: Campaign, report: Report) -> str:
    """
    The result for people.
    """
    rows = {
        "kills": f"{campaign.kills} by {campaign.number.name}, seed {campaign.seed}",
        "store": "PostgreSQL" if campaign.database else "SQLite",
        "promised (200)": len(report.ledger.promised),
        "without an answer": len(report.ledger.doubtful),
        "taken by CallRail": report.audit.taken,
        "shown to a person": report.audit.shown,
        "lost": len(report.audit.lost),
        "sent twice": len(report.audit.twice),
        "out of order": len(report.audit.disordered),
        "called sent, and were not": len(report.audit.false),
        "unknown, though taken": len(report.audit.unfound),
        "unclean stops": report.dirty_stops,
    }
    return "\n".join(f"{name:<26} {value}" for name, value in rows.items())
