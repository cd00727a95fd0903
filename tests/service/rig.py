"""The services on a real store, sending to the simulator through the real client."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Protocol, TypeVar
from unittest.mock import patch

import httpx2
import pytest

from callrail_relay.callrail.client import CallRail
from callrail_relay.callrail.simulator import Simulator
from callrail_relay.clock import Clock
from callrail_relay.domain.account import Limits
from callrail_relay.domain.delivery import ClaimPolicy
from callrail_relay.domain.events import Event
from callrail_relay.domain.guards import GuardPolicy, Mode
from callrail_relay.domain.inbound import InboundPolicy
from callrail_relay.domain.mapper import MappingPolicy, map_direct
from callrail_relay.domain.message import Message
from callrail_relay.domain.outcome import Outcome, OutcomeKind
from callrail_relay.domain.reconcile import LookupPolicy, OnUnknown
from callrail_relay.domain.routing import Route, RouteRule, Routes
from callrail_relay.errors import RelayError
from callrail_relay.outbox import engine
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain
from callrail_relay.service.background import PeriodicTask
from callrail_relay.service.delivery import Delivery, TaskGroup
from callrail_relay.service.intake import Intake
from callrail_relay.service.operations import Operations
from callrail_relay.service.public_address import PublicAddress
from callrail_relay.service.reconciliation import Reconciliation
from tests.support.clock import ManualClock
from tests.support.factories import RECIPIENT, TEXT
from tests.support.policies import claim_policy, guard_policy, inbound_policy, lookup_policy
from tests.support.simulator import InProcessTransport
from tests.support.stores import new_sqlite_store

E = TypeVar("E", bound=Event)
T = TypeVar("T")

KEY = "test-key"
CONNECT_TIMEOUT = timedelta(seconds=5)
READ_TIMEOUT = timedelta(seconds=60)


class Events(list[Event]):
    """A hook that keeps every event, and lets a test wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.append(event)
        self._changed.set()

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self if isinstance(event, kind)]

    async def until(self, kind: type[E], count: int = 1) -> list[E]:
        """Wait for *count* events of *kind*, and return all of them."""
        while len(self.of(kind)) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.of(kind)


class Sender(Protocol):
    async def send_text(self, route: Route, recipient: str, content: str) -> Outcome: ...


@dataclass(kw_only=True)
class Rig:
    clock: ManualClock
    simulator: Simulator
    path: Path
    outbox: Store
    callrail: CallRail
    mapping: MappingPolicy
    claim: ClaimPolicy
    lookups: LookupPolicy
    intake: Intake
    operations: Operations
    events: Events
    random: Random = field(default_factory=lambda: Random(1))

    @property
    def account_id(self) -> str:
        return self.simulator.account_id

    @property
    def inbound(self) -> InboundPolicy:
        return inbound_policy(
            accounts={self.simulator.company_id: self.account_id},
            tracking_numbers=frozenset({self.simulator.tracking_number}),
        )

    def operations_of(self, *account_ids: str) -> Operations:
        """The operations after the settings got these accounts in place of this one."""
        ours = (Route(id_, "COM9", self.simulator.tracking_number) for id_ in account_ids)
        return Operations(self.outbox, replace(self.mapping, routes=Routes([RouteRule(one) for one in ours])))

    def delivery(
        self,
        *,
        node: str = "node-1",
        sender: Sender | None = None,
        concurrency: int = 4,
        closed: AbstractSet[str] = frozenset(),
    ) -> Delivery:
        return Delivery(
            self.outbox,
            self.events,
            (sender or self.callrail).send_text,
            self.claim,
            self.lookups,
            concurrency,
            self.random,
            node,
            closed,
        )

    def reconciliation(self, *, settled: Callable[[], None] = lambda: None) -> Reconciliation:
        return Reconciliation(self.outbox, self.events, self.callrail.find_texts, self.lookups, settled)

    def worker(self, delivery: Delivery | None = None, *, beside: Sequence[PeriodicTask] = ()) -> TaskGroup:
        delivery = delivery or self.delivery()
        return TaskGroup(delivery, self.reconciliation(settled=delivery.wake), *beside)

    async def accept(self, text: str = TEXT, *, to: str = RECIPIENT) -> str:
        """Put one text into the outbox; returns the id of its message."""
        draft = map_direct(to=to, text=text, sender=None, routes=self.mapping.routes)
        [accepted] = await self.intake.accept(self.intake.direct(draft))
        return accepted.message_id

    async def message(self, id_: str) -> Message:
        [message] = await self.operations.find(id_)
        return message

    async def paused_reason(self) -> str | None:
        [status] = await self.operations.account_statuses()
        reason = status.account.paused_reason
        return None if reason is None else explain(reason)

    async def work(self, delivery: Delivery, *, turns: int = 1, step: float = 1.0) -> None:
        """Turns of *delivery*, each to the end of what it starts, with *step* seconds after each."""
        for _ in range(turns):
            await delivery.turn()
            await passing_time(self.clock, delivery.settle())
            self.clock.advance(step)

    def stored(self, columns: str, table: str) -> list[tuple[object, ...]]:
        """What the store holds on disk, read past the program."""
        with sqlite3.connect(self.path) as connection:
            rows = connection.execute(f"SELECT {columns} FROM {table}").fetchall()
        connection.close()
        return rows

    @contextmanager
    def failing_store(self) -> Iterator[None]:
        """
        Nothing can be written within this block: another program has locked the file.

        Wants a rig with no *patience*, since the store waits for a lock in real time.
        """
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.rollback()
            connection.close()


@asynccontextmanager
async def open_rig(
    folder: Path,
    *,
    clock: ManualClock | None = None,
    simulator: Simulator | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
    url: str = "http://127.0.0.1",
    network: bool = False,
    connections: int = 4,
    limits: Limits | None = None,
    guards: GuardPolicy | None = None,
    max_characters: int = 140,
    on_unknown: OnUnknown = OnUnknown.ASK,
    patience: float = engine.BUSY_TIMEOUT,
    serves: bool = False,
) -> AsyncIterator[Rig]:
    """
    A rig with its store in *folder*; in process unless it takes the *network*, to *url*.

    With *serves* it counts as a running relay. *patience* is how many seconds the store waits while another
    program has locked it.
    """
    clock = clock or ManualClock()
    simulator = simulator or make_simulator(clock)
    limits = limits or Limits(150, 1000)
    # Many a test texts one wording to many people.
    guards = guards or guard_policy(mass_text=Mode.OFF)
    route = Route(simulator.account_id, simulator.company_id, simulator.tracking_number)
    mapping = MappingPolicy(
        routes=Routes(default=route), guards=guards, max_characters=max_characters, limits=limits
    )
    events = Events()
    path = folder / "relay.db"
    if not path.exists():
        new_sqlite_store(path)
    with patch.object(engine, "BUSY_TIMEOUT", patience):
        outbox = await Store.open(f"sqlite:///{path.as_posix()}", clock, serves=serves)
    try:
        async with open_callrail(
            url,
            connections=connections,
            transport=None if network else transport or InProcessTransport(simulator),
        ) as callrail:
            yield Rig(
                clock=clock,
                simulator=simulator,
                path=folder / "relay.db",
                outbox=outbox,
                callrail=callrail,
                mapping=mapping,
                claim=claim_policy(
                    accounts=frozenset({route.account_id}),
                    limits=limits,
                    max_characters=max_characters,
                    guards=guards,
                ),
                lookups=lookup_policy(accounts=frozenset({route.account_id}), on_unknown=on_unknown),
                intake=Intake(outbox, mapping, random=Random(2), hook=events),
                operations=Operations(outbox, mapping),
                events=events,
            )
    finally:
        await outbox.close()


def make_simulator(clock: ManualClock, *, per_hour: int = 150) -> Simulator:
    simulator = Simulator(clock=clock, api_key=KEY, random=Random(3))
    simulator.accounts[simulator.account_id].texts.per_hour = per_hour
    return simulator


@asynccontextmanager
async def open_callrail(
    url: str = "http://127.0.0.1",
    *,
    connections: int = 4,
    transport: httpx2.AsyncBaseTransport | None = None,
    api_key: str = KEY,
    clock: Clock | None = None,
) -> AsyncIterator[CallRail]:
    async with CallRail.open(
        api_key,
        api_url=url,
        connect_timeout=CONNECT_TIMEOUT.total_seconds(),
        read_timeout=READ_TIMEOUT.total_seconds(),
        connections=connections,
        transport=transport,
        clock=clock,
    ) as callrail:
        yield callrail


def outcomes(message: Message) -> list[OutcomeKind | None]:
    """The outcome of each attempt at a message, in order."""
    return [attempt.outcome for segment in message.segments for attempt in segment.attempts]


async def passing_time(clock: ManualClock, work: Awaitable[T], *, sleepers: int = 1) -> T:
    """What *work* comes to, while time passes whenever so many sleep, who are all there are to sleep."""
    task = asyncio.ensure_future(work)
    while not task.done():
        asleep = asyncio.ensure_future(clock.until_asleep(sleepers))
        await asyncio.wait((task, asleep), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            asleep.cancel()
        else:
            clock.set(asleep.result()[0])
    return task.result()


async def checked(address: PublicAddress) -> str:
    """What a check of the public URL found; what is wrong is raised."""
    result = await address.check()
    if isinstance(result, RelayError):
        raise result
    return result


class LoopTime:
    """Lets the timeouts of the running loop run out without a wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        real = loop.time
        self._ahead = 0.0
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead)

    def jump(self, seconds: float) -> None:
        self._ahead += seconds
