"""One campaign: people texting, CallRail failing, and the relays killed again and again."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import sqlalchemy as sa

from callrail_relay.callrail.simulator import Fault, Kind, Simulator, create_app
from callrail_relay.callrail.simulator.records import Bucket
from callrail_relay.clock import SystemClock
from callrail_relay.web.server import Listener
from tests.acceptance.program import Program
from tests.campaign.gate import Gate
from tests.campaign.ledger import NUMBERED, Audit, Ledger, audit
from tests.campaign.nodes import STARTS, UNAVAILABLE, Fleet, Node
from tests.campaign.troubles import Troubles
from tests.support.postgres import PostgresCluster
from tests.support.unmeasured import unmeasured
from tests.support.warm import CAN_FORK

KEY = "campaign-key"
TOKEN = "campaign-token-0123456789abcdef0123456789"
NODES_ROLE = "relay"
PEOPLE = 12
BEAT = 0.2
"""Seconds between the instants at which many people write at once."""

PLENTY = 1_000_000
KILLS_ON_REQUEST = int(os.environ.get("CAMPAIGN_KILLS", "0"))
"""How often the campaigns among the tests kill; 0 is as often as each has time for in a run of all tests."""

HOUR = timedelta(hours=1)
APART = 150
"""Seconds by which the clocks of two nodes differ where they are told to."""

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
    How often to kill, by which signal, on which store; and with ``nodes`` on one PostgreSQL, what befalls it.

    ``per_hour`` is what the account may send; ``fake_time`` is the library that sets the clocks apart.
    """

    kills: int
    seed: int
    number: signal.Signals
    folder: Path
    cluster: PostgresCluster | None = None
    nodes: int = 1
    per_hour: int = PLENTY
    restarts: bool = False
    cuts: bool = False
    fake_time: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of it. ``most_in_an_hour`` is what CallRail took in the busiest sixty minutes."""

    ledger: Ledger
    audit: Audit
    dirty_stops: int
    restarts: int
    cuts: int
    failed_starts: int
    most_in_an_hour: int
    over_limit: int

    @property
    def faults(self) -> int:
        return self.audit.faults + self.over_limit


@dataclass
class People:
    """
    Everybody texts one text after the other, to any of the nodes, and waits for the answer before the next.
    """

    ledger: Ledger
    random: Random
    fleet: Fleet

    async def text(self, person: int) -> None:
        async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
            for number in range(100_000):
                urls = await self.fleet.urls()
                words = NUMBERED.format(person=f"p{person:02}", number=number)
                await self._post(client, self.random.choice(urls), person, words)
                await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        """
        Seconds until the next text: some people write when they like, and some at a beat with others, so that
        there are bursts as well.
        """
        if self.random.random() < 0.5:
            return self.random.uniform(0.02, 0.2)
        return BEAT - asyncio.get_running_loop().time() % BEAT

    async def _post(self, client: httpx2.AsyncClient, url: str, person: int, words: str) -> None:
        payload = {"message": words, "seller_phone": f"+120255501{person:02}", "team_id": 1}
        try:
            answer = await client.post(f"{url}/hooks/if3/{TOKEN}", json=payload)
        except httpx2.TransportError:
            self.ledger.doubtful.append(words)
            return
        if answer.status_code == 200:
            self.ledger.promised.append(words)
        else:
            self.ledger.doubtful.append(words)
            self.ledger.refused += answer.status_code == 503


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A CallRail, and the nodes that are not started yet, each with a way to the database of its own."""

    simulator: Simulator
    gates: list[Gate]
    program: Program  # for commands
    fleet: Fleet


@asynccontextmanager
async def scene_of(campaign: Campaign) -> AsyncIterator[Scene]:
    """What a campaign needs; at the end all nodes are ended."""
    simulator = Simulator(clock=SystemClock(), api_key=KEY, random=Random(campaign.seed))
    account = simulator.accounts[simulator.account_id]
    plenty = replace(account, texts=Bucket(PLENTY, PLENTY), requests=Bucket(PLENTY, PLENTY))
    simulator.accounts[account.id] = plenty
    async with AsyncExitStack() as stack:
        callrail = await stack.enter_async_context(
            Listener(create_app(simulator), host="127.0.0.1", port=0, setting="")
        )
        url = None if campaign.cluster is None else _make_database(campaign.cluster)
        gates = [await stack.enter_async_context(_gate(campaign)) for _ in range(campaign.nodes)]
        common = _environment(campaign, simulator, callrail.url, url)
        nodes = [
            Node(_program(campaign, _of_node(campaign, common, number, gate)))
            for number, gate in enumerate(gates)
        ]
        fleet = Fleet(nodes, Random(campaign.seed), kills=campaign.kills, number=campaign.number)
        stack.push_async_callback(fleet.end)
        yield Scene(simulator=simulator, gates=gates, program=_program(campaign, common), fleet=fleet)


async def run_campaign(campaign: Campaign) -> Report:
    """Kill and restart as often as asked, then let the relays finish, and compare."""
    ledger = Ledger()
    async with scene_of(campaign) as scene:
        simulator, fleet = scene.simulator, scene.fleet
        troubles = Troubles(
            Random(campaign.seed),
            campaign.cluster,
            scene.gates,
            restarting=campaign.restarts,
            cutting=campaign.cuts,
        )
        simulator.fault(*FAULTS)
        people = People(ledger, Random(campaign.seed), fleet)
        async with cancelled_after([troubles.befall(), *(people.text(person) for person in range(PEOPLE))]):
            await fleet.live()
        simulator.faults.clear()
        messages = await settled(scene.program, full=campaign.per_hour < PLENTY)
    most = most_in_an_hour(text.created_at for text in simulator.texts)
    return Report(
        ledger=ledger,
        audit=audit(
            ledger,
            [text.content for text in simulator.texts],
            messages,
            order_of_all=campaign.nodes == 1 and not campaign.cuts,
        ),
        dirty_stops=fleet.dirty_stops,
        restarts=troubles.restarts,
        cuts=troubles.cuts,
        failed_starts=sum(node.failed_starts for node in fleet.nodes),
        most_in_an_hour=most,
        over_limit=max(0, most - campaign.per_hour),
    )


def most_in_an_hour(instants: Iterable[datetime]) -> int:
    """How many of these lie within the sixty minutes that hold most of them."""
    ordered = sorted(instants)
    first = most = 0
    for number, instant in enumerate(ordered):
        while ordered[first] <= instant - HOUR:
            first += 1
        most = max(most, number + 1 - first)
    return most


@asynccontextmanager
async def cancelled_after(coroutines: Iterable[Any]) -> AsyncIterator[None]:
    """These run beside the block, and are cancelled at its end."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _make_database(cluster: PostgresCluster) -> str:
    """A database that belongs to the nodes' own user, who gets none of the connections kept for others."""
    name = cluster.create_database()
    cluster.create_role(NODES_ROLE, owns=name)
    return cluster.url(name)


@asynccontextmanager
async def _gate(campaign: Campaign) -> AsyncIterator[Gate]:
    """A node's own way to the database."""
    gate = Gate("127.0.0.1", 0 if campaign.cluster is None else campaign.cluster.port)
    async with gate.listening():
        yield gate


def _environment(campaign: Campaign, simulator: Simulator, url: str, database: str | None) -> dict[str, str]:
    settings = {
        "CALLRAIL__API_URL": url,
        "CALLRAIL__ACCOUNT_ID": simulator.account_id,
        "CALLRAIL__COMPANY_ID": simulator.company_id,
        "CALLRAIL__TRACKING_NUMBER": simulator.tracking_number,
        "CALLRAIL__ACCEPTED_TERMS": "true",
        "LIMITS__PER_HOUR": str(campaign.per_hour),
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
    if database is not None:
        settings["DATABASE__URL"] = database
    return {
        **unmeasured(),  # a process that is killed saves no coverage
        **{f"CALLRAIL_RELAY_{name}": value for name, value in settings.items()},
        "CALLRAIL_API_KEY": KEY,
        "CALLRAIL_RELAY_HOOK_TOKEN": TOKEN,
    }


def _program(campaign: Campaign, environment: dict[str, str]) -> Program:
    """The program in this environment; a library that sets its clock wants a process made from nothing."""
    return Program(environment, campaign.folder, warm=CAN_FORK and campaign.fake_time is None)


def _of_node(campaign: Campaign, common: Mapping[str, str], number: int, gate: Gate) -> dict[str, str]:
    """The environment of one node: its own files, its own way to the database, its own idea of the time."""
    if campaign.cluster is None:
        return dict(common)
    folder = campaign.folder / f"node-{number}"
    own = {"CALLRAIL_RELAY_DATA": str(folder)}
    if database := common.get("CALLRAIL_RELAY_DATABASE__URL"):
        address = sa.make_url(database).set(port=gate.port, username=NODES_ROLE)
        own["CALLRAIL_RELAY_DATABASE__URL"] = address.render_as_string(hide_password=False)
    if campaign.fake_time is not None:
        # Every second one is ahead, the others are behind; only the time of day is changed.
        offset = APART * (number + 1) * (1 if number % 2 else -1)
        own |= {"LD_PRELOAD": str(campaign.fake_time), "FAKETIME": f"{offset:+}s"}
        own["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
    return {**common, **own}


async def settled(program: Program, *, full: bool) -> list[dict[str, Any]]:
    """
    All messages, once none is under way or being looked up, and none is queued that has room (*full*: in a
    budget that is to be used up).
    """
    for _ in range(300):
        messages = await command(program, "messages", "list", "--limit", "0")
        if not any(_moves(message, full=full) for message in messages):
            [account] = (await command(program, "status"))["accounts"]
            if not full or account["hour"]["used"] >= account["hour"]["allowed"] or _none_queued(messages):
                return list(messages)
        await asyncio.sleep(1)  # other processes have to finish
    raise AssertionError("the relay did not come to an end")


def _none_queued(messages: Iterable[Mapping[str, Any]]) -> bool:
    return not any(message["status"] == "queued" for message in messages)


def _moves(message: Mapping[str, Any], *, full: bool) -> bool:
    if message["status"] in (("sending",) if full else ("queued", "sending")):
        return True
    return any(
        attempt["next_lookup_at"] for segment in message["segments"] for attempt in segment["attempts"]
    )


async def command(program: Program, *arguments: str) -> Any:  # noqa: ANN401 - JSON
    for _ in range(STARTS):
        shown = await asyncio.to_thread(program.run, *arguments, "--json")
        if shown.returncode != UNAVAILABLE:  # the nodes may have taken every connection
            return json.loads(shown.stdout)
    raise AssertionError("the store does not answer")


def table(campaign: Campaign, report: Report) -> str:
    """The result for people."""
    rows: dict[str, object] = {
        "kills": f"{campaign.kills} by {campaign.number.name}, seed {campaign.seed}",
        "store": "SQLite" if campaign.cluster is None else "PostgreSQL",
        "nodes": campaign.nodes,
        "promised (200)": len(report.ledger.promised),
        "without an answer": len(report.ledger.doubtful) - report.ledger.refused,
        "refused (503)": report.ledger.refused,
        "taken by CallRail": report.audit.taken,
        "shown to a person": report.audit.shown,
        "lost": len(report.audit.lost),
        "sent twice": len(report.audit.twice),
        "out of order": len(report.audit.disordered),
        "called sent, and were not": len(report.audit.false),
        "unknown, though taken": len(report.audit.unfound),
        "unclean stops": report.dirty_stops,
    }
    if campaign.per_hour < PLENTY:
        rows["most in an hour"] = f"{report.most_in_an_hour} of {campaign.per_hour}"
    if campaign.restarts:
        rows["restarts of the database"] = report.restarts
    if campaign.cuts:
        rows["nodes cut off"] = report.cuts
    if campaign.cluster is not None:
        rows["starts without a database"] = report.failed_starts
    if campaign.fake_time is not None:
        rows["clocks apart"] = f"{APART} s and more"
    return "\n".join(f"{name:<26} {value}" for name, value in rows.items())
