"""What is measured: each function is one part, and answers with rows of the table."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random, SystemRandom

from callrail_relay.clock import SystemClock
from callrail_relay.domain.account import Limits
from callrail_relay.domain.mapper import MappingPolicy
from callrail_relay.domain.message import MessageFilter
from callrail_relay.domain.outcome import Sent, Usage
from callrail_relay.domain.routing import Route, Routes
from callrail_relay.outbox import claim, record
from callrail_relay.outbox.store import Store
from callrail_relay.service.intake import Intake
from callrail_relay.service.operations import Operations
from tests.benchmarks import history, servers
from tests.benchmarks.report import Row
from tests.benchmarks.servers import RAISED, Server
from tests.benchmarks.texts import body, people
from tests.support.policies import claim_policy, guard_policy
from tests.support.postgres import running_cluster
from tests.support.zap import Manner, running_zap

ROOT = Path(__file__).parents[2]

BARE = "bare uvicorn"
SHARED = "uvicorn + SQLite, shared commits"
FORWARDS = "30-line relay"

ON_DISK = "fsync = on\nsynchronous_commit = on\nfull_page_writes = on"
"""PostgreSQL as it is set up for texts, and not as tests have it."""

FEW_LEAVE = {"LIMITS__PER_HOUR": 1}
"""Settings under which only the intake does work."""

CORES_FOR_TWO = 6
"""For two nodes, PostgreSQL, what loads them and what they send to."""

PLENTY = Limits(servers.PLENTY, servers.PLENTY)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How to measure: how often, where files may go, and the CallRail to send to."""

    runs: int
    folder: Path
    callrail: Server
    texts: int

    @contextmanager
    def fresh(self, **settings: object) -> Iterator[Server]:
        """A relay on an empty store."""
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as folder,
            servers.relay(Path(folder), self.callrail, **settings) as server,
        ):
            yield server

    @contextmanager
    def yardstick(self, name: str) -> Iterator[Server]:
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as folder,
            servers.yardstick(name, Path(folder), self.callrail) as server,
        ):
            yield server


def median_of(runs: int, *measured: Callable[[], list[float]]) -> list[list[float]]:
    """
    The medians of what each of *measured* answers with, run in turn, so that a slow minute hits all alike.
    """
    results: list[list[list[float]]] = [[] for _ in measured]
    for _ in range(runs):
        for result, measure in zip(results, measured, strict=True):
            result.append(measure())
    return [[statistics.median(values) for values in zip(*result, strict=True)] for result in results]


def accepts(bench: Bench) -> list[Row]:
    """Texts accepted a second from 64 connections."""

    def rate(server: Server) -> list[float]:
        report = servers.post_load(server.hook, connections=64, seconds=3)
        return [report["statuses"]["200"] / report["seconds"]]

    def of(name: str) -> Callable[[], list[float]]:
        def measure() -> list[float]:
            with bench.yardstick(name) as server:
                return rate(server)

        return measure

    def ours() -> list[float]:
        with bench.fresh() as server:
            result = rate(server)
        servers.arrived(bench.callrail)
        return result

    [[bare], [shared], [relay]] = median_of(bench.runs, of("bare"), of("shared"), ours)
    figure = "accepted and on disk, 64 connections"
    return [
        Row(
            figure=figure,
            value=relay,
            unit="/s",
            yardstick=SHARED,
            yardstick_value=shared,
            goal=0.4,
            at_least=True,
        ),
        Row(figure=figure, value=relay, unit="/s", yardstick=BARE, yardstick_value=bare),
    ]


def nodes(bench: Bench) -> list[Row]:
    """Texts accepted a second by two nodes on one PostgreSQL, beside one; 64 connections in all."""

    def rate(number: int) -> list[float]:
        with ExitStack() as stack:
            cluster = stack.enter_context(running_cluster(ON_DISK))
            url = cluster.url(cluster.create_database())
            hooks = [
                stack.enter_context(bench.fresh(DATABASE__URL=url, **FEW_LEAVE)).hook for _ in range(number)
            ]
            threads = stack.enter_context(ThreadPoolExecutor(number))
            reports = [
                threads.submit(
                    servers.post_load, hook, connections=64 // number, seconds=3, first=place * 1_000_000
                )
                for place, hook in enumerate(hooks)
            ]
            found = [report.result() for report in reports]
        servers.arrived(bench.callrail)
        return [sum(report["statuses"]["200"] / report["seconds"] for report in found)]

    [[one], [two]] = median_of(bench.runs, lambda: rate(1), lambda: rate(2))
    return [
        Row(
            figure="accepted by two nodes on PostgreSQL",
            value=two,
            unit="/s",
            yardstick="one node",
            yardstick_value=one,
            goal=1.5 if (os.cpu_count() or 1) >= CORES_FOR_TWO else 1,
            at_least=True,
        )
    ]


def latency(bench: Bench) -> list[Row]:
    """From the webhook's first byte to CallRail having the text, at 20 texts a second."""

    def times(server: Server) -> list[float]:
        servers.post_load(server.hook, rate=20, count=20, first=900_000)
        time.sleep(0.5)  # the first ones warm up
        servers.arrived(bench.callrail)
        report = servers.post_load(server.hook, rate=20, count=160)
        time.sleep(0.5)  # the last ones are on their way
        arrived = servers.arrived(bench.callrail)
        took = sorted((arrived[int(number)] - at) * 1000 for number, at in report["sent"].items())
        return [took[len(took) // 2], took[int(len(took) * 0.99)]]

    def ours() -> list[float]:
        with bench.fresh(**RAISED) as server:
            return times(server)

    def theirs() -> list[float]:
        with bench.yardstick("forwards") as server:
            return times(server)

    [[theirs50, theirs99], [ours50, ours99]] = median_of(bench.runs, theirs, ours)
    figure = "webhook to CallRail at 20/s"
    return [
        Row(
            figure=f"{figure}, p50",
            value=ours50,
            unit="ms",
            yardstick=FORWARDS,
            yardstick_value=theirs50,
            goal=2,
        ),
        Row(
            figure=f"{figure}, p99",
            value=ours99,
            unit="ms",
            yardstick=FORWARDS,
            yardstick_value=theirs99,
            goal=3,
        ),
    ]


def shadow(bench: Bench) -> list[Row]:
    """
    What passing on adds to the old URL's own answer: texts posted one by one there, and to a relay in shadow.

    They take turns, each on a connection of its own as IF3's, so that a slow second hits both alike.
    """
    persons = people()

    def took(url: str, number: int) -> float:
        request = urllib.request.Request(url, body(number, persons), {"content-type": "application/json"})
        begin = time.monotonic()
        with urllib.request.urlopen(request) as answer:
            assert answer.read() == Manner.body
        return (time.monotonic() - begin) * 1000

    def measure() -> list[float]:
        with (
            tempfile.TemporaryDirectory(dir=bench.folder) as folder,
            running_zap() as zap,
            servers.relay(Path(folder), bench.callrail) as server,
        ):
            servers.start_shadow(Path(folder), bench.callrail, zap.url)
            times: list[tuple[float, float]] = []
            for number in range(120):
                times.append((took(zap.url, number), took(server.hook, number)))
                time.sleep(0.1)  # a low rate, as people text
            assert {} == servers.arrived(bench.callrail)
        direct, beside = zip(*times[20:], strict=True)  # the first ones warm up
        added = sorted(there - here for here, there in times[20:])
        return [statistics.median(direct), statistics.median(beside), added[50], added[99]]

    [[direct, beside, added, slowest]] = median_of(bench.runs, measure)
    return [
        Row(
            figure="the old URL's answer in shadow, p50",
            value=beside,
            unit="ms",
            yardstick="posted there",
            yardstick_value=direct,
        ),
        Row(figure="passing on adds, p50", value=added, unit="ms", goal=15),
        Row(figure="passing on adds, the slowest of 100", value=slowest, unit="ms"),
    ]


def delivered(bench: Bench) -> list[Row]:
    """Texts a second from the first webhook to the last text at CallRail, the limits raised."""

    def rate(server: Server) -> list[float]:
        servers.arrived(bench.callrail)
        report = servers.post_load(server.hook, connections=64, count=bench.texts)
        return [bench.texts / (_all_arrived(bench, bench.texts) - report["began_at"])]

    def ours() -> list[float]:
        with bench.fresh(**RAISED) as server:
            return rate(server)

    def theirs() -> list[float]:
        with bench.yardstick("forwards") as server:
            return rate(server)

    [[yardstick], [relay]] = median_of(bench.runs, theirs, ours)
    figure = "delivered, every attempt on disk first"
    return [
        Row(
            figure=figure,
            value=relay,
            unit="/s",
            yardstick=FORWARDS,
            yardstick_value=yardstick,
            goal=1,
            at_least=True,
        )
    ]


def _all_arrived(bench: Bench, count: int) -> float:
    """When the last of *count* texts came to CallRail."""
    arrived: dict[int, float] = {}
    deadline = time.monotonic() + 120
    while len(arrived) < count:
        assert time.monotonic() < deadline, f"only {len(arrived)} of {count} texts arrived"
        time.sleep(0.2)  # another process has to finish
        arrived |= servers.arrived(bench.callrail)
    return max(arrived.values())


def memory(bench: Bench) -> list[Row]:
    """Megabytes in memory and wake-ups while idle, the dashboard on; and after 100,000 texts."""

    def ours() -> list[float]:
        with bench.fresh() as server:
            servers.post_load(server.hook, connections=1, count=1)
            time.sleep(3)  # the text is sent
            idle, woken, cpu = server.memory(), server.wake_ups(), server.cpu()
            time.sleep(20)  # nothing happens, which is what is measured
            woken, cpu = server.wake_ups() - woken, server.cpu() - cpu
            servers.post_load(server.hook, connections=16, count=100_000, first=1)
            more = server.memory() - idle
        servers.arrived(bench.callrail)
        return [idle, woken * 3, cpu * 180, more]

    def theirs() -> list[float]:
        with bench.yardstick("forwards") as server:
            servers.post_load(server.hook, connections=1, count=1)
            servers.arrived(bench.callrail)
            return [server.memory()]

    [[theirs_idle], [idle, woken, cpu, more]] = median_of(bench.runs, theirs, ours)
    return [
        Row(figure="memory when idle, dashboard on", value=idle, unit="MB", goal=80),
        Row(
            figure="memory when idle", value=idle, unit="MB", yardstick=FORWARDS, yardstick_value=theirs_idle
        ),
        Row(figure="more memory after 100,000 texts", value=more, unit="MB", goal=30),
        Row(figure="wake-ups when idle", value=woken, unit="/min"),
        Row(figure="CPU time when idle", value=cpu, unit="s/h"),
    ]


def start(bench: Bench) -> list[Row]:
    """Seconds from the start of the command to the first webhook that was answered with 200."""

    def ours() -> list[float]:
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            # The first start ever makes the store; from then on it is there.
            with servers.relay(Path(folder), bench.callrail):
                pass
            begin = time.monotonic()
            with servers.relay(Path(folder), bench.callrail) as server:
                servers.wait_until_answered(server.hook, server.process, body(1, people()))
                took = time.monotonic() - begin
        servers.arrived(bench.callrail)
        return [took]

    def theirs() -> list[float]:
        begin = time.monotonic()
        with bench.yardstick("forwards"):
            return [time.monotonic() - begin]

    [[yardstick], [relay]] = median_of(bench.runs, theirs, ours)
    return [
        Row(figure="start to first accepted webhook", value=relay, unit="s", goal=1.0),
        Row(
            figure="start to first accepted webhook",
            value=relay,
            unit="s",
            yardstick=FORWARDS,
            yardstick_value=yardstick,
        ),
    ]


def past(bench: Bench) -> list[Row]:
    """CPU time for one text, from webhook to CallRail's answer on disk, against the number of texts kept."""
    begun = [0]

    def cost(folder: Path) -> Callable[[], list[float]]:
        return lambda: _cost(bench, folder, begun)

    sizes = {"10,000": 10_000, "1,000,000": 1_000_000}
    with ExitStack() as stack:
        empty = _filled(bench, stack)
        full = {name: _filled(bench, stack, sent=sent) for name, sent in sizes.items()}
        [base], *others = median_of(bench.runs, cost(empty), *(cost(folder) for folder in full.values()))
        rows = [
            _against_none(f"CPU time per text, {name} kept", value, base)
            for name, [value] in zip(full, others, strict=True)
        ]
        empty, queue = _filled(bench, stack), _filled(bench, stack, sent=1_000_000, queued=10_000)
        bases, values = median_of(
            bench.runs, lambda: asyncio.run(looks(empty)), lambda: asyncio.run(looks(queue))
        )
    kept = "1,000,000 kept, 10,000 queued"
    rows += [
        _against_none(f"{name}, {kept}", value, none)
        for name, value, none in zip(LOOKS, values, bases, strict=True)
    ]
    return rows


def _filled(bench: Bench, stack: ExitStack, *, sent: int = 0, queued: int = 0) -> Path:
    """A folder with a store that holds so many texts."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=bench.folder)))
    with servers.relay(folder, bench.callrail):
        pass
    history.fill(folder / "relay.db", sent=sent, queued=queued)
    return folder


def _against_none(figure: str, seconds: float, base: float) -> Row:
    return Row(
        figure=figure,
        value=seconds * 1000,
        unit="ms",
        yardstick="none kept",
        yardstick_value=base * 1000,
        goal=1.2,
    )


def _cost(bench: Bench, folder: Path, begun: list[int]) -> list[float]:
    # What is old stays here: removing it is work of its own, which comes once for each text.
    with servers.relay(folder, bench.callrail, **RAISED, RETENTION__AFTER="off") as server:
        for count in (300, bench.texts):
            cpu = server.cpu()
            servers.post_load(server.hook, connections=8, count=count, first=begun[0])
            begun[0] += count
            _all_arrived(bench, count)
            time.sleep(0.3)  # the last outcome is recorded
        return [(server.cpu() - cpu) / bench.texts]


LOOKS = ("intake of one text", "claim and outcome", "status", "the latest 50 texts")


async def looks(folder: Path) -> list[float]:
    """CPU seconds for what the outbox is asked, in this process: the medians of many times."""
    outbox = await Store.open(f"sqlite:///{folder / 'relay.db'}", SystemClock())
    try:
        begin = time.time_ns() // 1000 % 8_000_000  # another range of numbers in every run
        routes = Routes(default=Route(servers.ACCOUNT, "COM00000000000000000000000000000001", "+12025550133"))
        policy = MappingPolicy(routes=routes, guards=guard_policy(), max_characters=140, limits=PLENTY)
        operations = Operations(outbox, account_ids=[servers.ACCOUNT], mapping=policy)
        intake = Intake(outbox, policy, random=SystemRandom())
        persons = people()
        claims = claim_policy(accounts=frozenset([servers.ACCOUNT]), limits=PLENTY, guards=guard_policy())

        async def accept(number: int) -> None:
            await intake.accept_request(body(begin + number, persons), content_type="application/json")

        async def claim_one(_: int) -> None:
            [taken] = (await outbox.write(claim.claim, "bench", claims)).claims
            sent = Sent(200, "c0nv1", None, Usage())
            await outbox.write(
                record.record, taken.attempt_id, sent, interval=timedelta(seconds=1), random=Random(1)
            )

        return [
            await _median_cpu(200, accept),
            await _median_cpu(150, claim_one),
            await _median_cpu(20, lambda _: operations.status()),
            await _median_cpu(50, lambda _: operations.list_messages(MessageFilter())),
        ]
    finally:
        await outbox.close()


async def _median_cpu(times: int, what: Callable[[int], Awaitable[object]]) -> float:
    took = []
    for number in range(times):
        cpu = time.process_time()
        await what(number)
        took.append(time.process_time() - cpu)
    return statistics.median(took)


def help_page(bench: Bench) -> list[Row]:
    """Seconds for ``--help``, beside loading the two libraries that it is made with."""
    python = sys.executable

    def took(*command: str) -> Callable[[], list[float]]:
        def measure() -> list[float]:
            begin = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            return [time.monotonic() - begin]

        return measure

    [[libraries], [ours]] = median_of(
        bench.runs * 3,
        took(python, "-c", "import typer, rich"),
        took(python, "-m", "callrail_relay", "--help"),
    )
    return [
        Row(
            figure="callrail-relay --help",
            value=ours,
            unit="s",
            yardstick="import typer, rich",
            yardstick_value=libraries,
            goal=2,
        )
    ]


def size(bench: Bench) -> list[Row]:
    """Megabytes that ``pip install .`` puts into a new environment, without pip itself."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        venv.create(folder, with_pip=True)
        before = _megabytes(Path(folder))
        pip = (str(Path(folder) / "bin" / "python"), "-m", "pip", "install", "--quiet", str(ROOT))
        subprocess.run(pip, check=True, env={**os.environ, "PYTHONPATH": ""}, capture_output=True)
        after = _megabytes(Path(folder))
    return [Row(figure="installed size", value=after - before, unit="MB", goal=100)]


def _megabytes(folder: Path) -> float:
    """The space that files take on the disk, in blocks as ``du`` counts it."""
    files = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_blocks for file in files) * 512 / 1_000_000


PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "accepts": accepts,
    "nodes": nodes,
    "latency": latency,
    "shadow": shadow,
    "delivered": delivered,
    "memory": memory,
    "start": start,
    "history": past,
    "help": help_page,
    "size": size,
}
