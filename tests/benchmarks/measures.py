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
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random, SystemRandom

import psycopg

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
from tests.benchmarks import accounts, history, servers
from tests.benchmarks.report import Row
from tests.benchmarks.servers import RAISED, Server
from tests.benchmarks.texts import body, people
from tests.benchmarks.yardsticks import open_store
from tests.support.policies import claim_policy, guard_policy
from tests.support.postgres import running_cluster
from tests.support.zap import Manner, running_zap

ROOT = Path(__file__).parents[2]

BARE = "bare uvicorn"
SHARED = "uvicorn + SQLite, shared commits"
FORWARDS = "30-line relay"
KEEPS = "30-line relay that keeps its promises"
RED = "Node-RED"
PLAIN = "plain sqlite3, the same commits"

APPS = {BARE: "bare", SHARED: "shared", FORWARDS: "forwards", KEEPS: "keeps"}
RELAYS = (FORWARDS, KEEPS, RED)

BACKLOG = 25_000

ON_DISK = "fsync = on\nsynchronous_commit = on\nfull_page_writes = on"
"""PostgreSQL as it is set up for texts, and not as tests have it."""

FEW_LEAVE = {"LIMITS__PER_HOUR": 1}
"""Settings under which only the intake does work."""

CORES_FOR_TWO = 6
"""For two nodes, PostgreSQL, what loads them and what they send to."""

PLENTY = Limits(servers.PLENTY, servers.PLENTY)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How to measure: how often, where files may go, the CallRail to send to, and where Node-RED is."""

    runs: int
    folder: Path
    callrail: Server
    texts: int
    node_red: Path | None = None

    @property
    def few(self) -> int:
        """How often to measure what takes minutes."""
        return max(1, self.runs // 3)

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
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as folder:
            if name == RED:
                assert self.node_red is not None
                running = servers.node_red(self.node_red, Path(folder), self.callrail)
            else:
                running = servers.yardstick(APPS[name], Path(folder), self.callrail)
            with running as server:
                yield server

    def beside(
        self, measure: Callable[[Server], list[float]], *names: str, **settings: object
    ) -> tuple[list[float], dict[str, list[float]]]:
        """What *measure* finds at a fresh relay, and at each of *names* that there is here."""

        def at(running: Callable[[], AbstractContextManager[Server]]) -> Callable[[], list[float]]:
            def once() -> list[float]:
                with running() as server:
                    found = measure(server)
                servers.arrived(self.callrail)
                return found

            return once

        there = [name for name in names if name != RED or self.node_red is not None]
        others = [at(partial(self.yardstick, name)) for name in there]
        ours, *theirs = median_of(self.runs, at(partial(self.fresh, **settings)), *others)
        return ours, dict(zip(there, theirs, strict=True))


def rows_beside(
    figure: str,
    unit: str,
    value: float,
    theirs: Mapping[str, float],
    *,
    goals: Mapping[str, float] | None = None,
    at_least: bool = False,
) -> list[Row]:
    """One row for each yardstick; one that has a goal and was not measured here says so."""
    goals = goals or {}
    missing = [f"{name}: not measured" for name in goals if name not in theirs]
    return [Row(figure=figure, value=value, unit=unit, yardstick=name) for name in missing] + [
        Row(
            figure=figure,
            value=value,
            unit=unit,
            yardstick=name,
            yardstick_value=other,
            goal=goals.get(name),
            at_least=at_least,
        )
        for name, other in theirs.items()
    ]


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
    """Texts accepted a second from 16 and 64 connections, and behind a backlog, as well as a lone webhook."""

    def rate(server: Server, connections: int = 64) -> float:
        first = connections * 100_000
        report = servers.post_load(server.hook, connections=connections, seconds=2, first=first)
        accepted: float = report["statuses"]["200"] / report["seconds"]
        return accepted

    def rates(server: Server) -> list[float]:
        return [rate(server, 16), rate(server, 64)]

    def behind(**settings: object) -> Callable[[], list[float]]:
        def once() -> list[float]:
            with ExitStack() as stack:
                folder = _filled(bench, stack, queued=BACKLOG)
                server = stack.enter_context(servers.relay(folder, bench.callrail, **settings))
                found = [rate(server)]
                lone = servers.post_load(server.hook, rate=20, count=40)["took"]
                found.append(statistics.median(lone) * 1000)
            servers.arrived(bench.callrail)
            return found

        return once

    ours, theirs = bench.beside(rates, BARE, SHARED, *RELAYS)
    limited, sending = median_of(bench.runs, behind(), behind(**RAISED))
    many = f"accepted, {BACKLOG:,} waiting"
    rows = []
    for place, connections in enumerate((16, 64)):
        found = {name: values[place] for name, values in theirs.items()}
        goals = {RED: 1.0} if connections == 16 else {SHARED: 0.4, RED: 1.0}
        figure = f"accepted, {connections} connections"
        rows += rows_beside(figure, "/s", ours[place], found, goals=goals, at_least=True)
    against = {NONE_WAITING: ours[1]} | {name: theirs[name][1] for name in (RED,) if name in theirs}
    for name, (accepted, lone) in (("at their limit", limited), ("being sent", sending)):
        goals = {NONE_WAITING: 0.8, RED: 1.0}
        rows += rows_beside(f"{many} {name}", "/s", accepted, against, goals=goals, at_least=True)
        rows.append(Row(figure=f"lone webhook, {BACKLOG:,} waiting {name}", value=lone, unit="ms", goal=10))
    return rows


NONE_WAITING = "none waiting"


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
    [[before, after, most]] = median_of(bench.few, lambda: _killed(bench))
    figure = "delivered by a node on PostgreSQL after the other was killed"
    return [
        Row(
            figure="accepted by two nodes on PostgreSQL",
            value=two,
            unit="/s",
            yardstick="one node",
            yardstick_value=one,
            goal=1.5 if (os.cpu_count() or 1) >= CORES_FOR_TWO else 1,
            at_least=True,
        ),
        *rows_beside(figure, "/s", after, {"before": before}, goals={"before": 1}, at_least=True),
        Row(figure="connections of a node to PostgreSQL, at most", value=most, unit="", goal=10),
    ]


def _killed(bench: Bench) -> list[float]:
    """Texts a second of a node before and after the other one dies, and how many connections each had."""
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster(ON_DISK))
        url = cluster.url(cluster.create_database())
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        stays, dies = (stack.enter_context(bench.fresh(DATABASE__URL=url, **RAISED)) for _ in range(2))
        used = []

        def sent(seconds: float) -> Counter[str]:
            begin = time.time_ns() // 1000
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                used.append(connection.execute(_CONNECTIONS).fetchone())
                time.sleep(0.1)  # how much is done in a time is what is measured
            counts = connection.execute(_SENT_BY, (begin,)).fetchall()
            return Counter(dict(counts))

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=bench.folder)))
        servers.run(folder, bench.callrail, "pause", DATABASE__URL=url)
        servers.post_load(stays.hook, connections=16, count=2 * bench.texts)
        servers.run(folder, bench.callrail, "resume", DATABASE__URL=url)
        before = sent(3)
        dies.process.kill()
        after = sent(3)
    servers.arrived(bench.callrail)
    assert after, "nothing was left to send: measure with more --texts"
    [(alive, count)] = after.items()  # a dead node records nothing
    return [before[alive] / 3, count / 3, max(row[0] for row in used if row) / 2]


_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'callrail-relay%'"
_SENT_BY = "SELECT node, count(*) FROM attempts WHERE finished_at > %s AND outcome = 'Sent' GROUP BY node"


LATENCY = "webhook to CallRail at 20/s"


def latency(bench: Bench) -> list[Row]:
    """From the webhook's first byte to CallRail having the text, at 20 texts a second."""

    def times(server: Server) -> list[float]:
        servers.post_load(server.hook, rate=20, count=20, first=900_000)  # the first ones warm up
        arrivals(bench, 20)
        report = servers.post_load(server.hook, rate=20, count=160)
        arrived = arrivals(bench, 160)
        return _percentiles(arrived[int(number)] - at for number, at in report["sent"].items())

    ours, theirs = bench.beside(times, *RELAYS, **RAISED)
    # Of the pace and the disk alone: each text's first commit is what its POST waits for.
    [theirs[PLAIN]] = median_of(bench.runs, partial(_plain_commits, bench.folder))
    goals: tuple[dict[str, float], ...] = ({FORWARDS: 2, RED: 1.5}, {FORWARDS: 3}, {})
    return [
        row
        for place, (name, wanted) in enumerate(zip(("p50", "p99", "slowest"), goals, strict=True))
        for row in rows_beside(
            f"{LATENCY}, {name}",
            "ms",
            ours[place],
            {other: values[place] for other, values in theirs.items()},
            goals=wanted,
        )
    ]


def _percentiles(seconds: Iterable[float]) -> list[float]:
    """The median, the 99th percentile and the most, in ms."""
    took = sorted(one * 1000 for one in seconds)
    return [took[len(took) // 2], took[int(len(took) * 0.99)], took[-1]]


def _plain_commits(folder: Path) -> list[float]:
    """
    What the commits of these texts take without a relay: four rows before the POST, two changed after it.
    """
    with tempfile.TemporaryDirectory(dir=folder) as place, closing(open_store(f"{place}/plain.db")) as store:
        content, took = b"x" * 300, []
        begin = time.monotonic()
        for number in range(160):
            time.sleep(max(0.0, begin + number / 20 - time.monotonic()))
            began = time.monotonic()
            store.execute("BEGIN IMMEDIATE")
            store.executemany("INSERT INTO bodies (body) VALUES (?)", [(content,)] * 3)
            store.execute("INSERT INTO attempts (body_id) VALUES (?)", (number,))
            store.execute("COMMIT")
            took.append(time.monotonic() - began)
            store.execute("BEGIN IMMEDIATE")
            store.execute("UPDATE attempts SET outcome = 200 WHERE id = ?", (number + 1,))
            store.execute("UPDATE bodies SET body = ? WHERE id = ?", (content, 3 * number + 1))
            store.execute("COMMIT")
    return _percentiles(took)


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
            servers.run(Path(folder), bench.callrail, "shadow", "start", "--forward-to", zap.url)
            times: list[tuple[float, float]] = []
            for number in range(120):
                times.append((took(zap.url, number), took(server.hook, number)))
                time.sleep(0.1)  # a low rate, as people text
            assert {} == servers.arrived(bench.callrail)
        direct, beside = zip(*times[20:], strict=True)  # the first ones warm up
        added = sorted(there - here for here, there in times[20:])
        return [statistics.median(direct), statistics.median(beside), added[50], added[99]]

    [[direct, beside, added, slowest]] = median_of(bench.few, measure)
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
        report = servers.post_load(server.hook, connections=64, count=bench.texts)
        return [bench.texts / (_all_arrived(bench, bench.texts) - report["began_at"])]

    [ours], theirs = bench.beside(rate, *RELAYS, **RAISED)
    found = {name: value for name, [value] in theirs.items()}
    return rows_beside(
        "delivered, every attempt on disk first", "/s", ours, found, goals={FORWARDS: 0.8}, at_least=True
    )


def _all_arrived(bench: Bench, count: int) -> float:
    """When the last of *count* texts came to CallRail."""
    return max(arrivals(bench, count).values())


def arrivals(bench: Bench, count: int) -> dict[int, float]:
    """When each of *count* texts came to CallRail, once all have."""
    arrived: dict[int, float] = {}
    deadline = time.monotonic() + 120
    while len(arrived) < count:
        assert time.monotonic() < deadline, f"only {len(arrived)} of {count} texts arrived"
        time.sleep(0.2)  # another process has to finish
        arrived |= servers.arrived(bench.callrail)
    return arrived


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
        with bench.yardstick(FORWARDS) as server:
            servers.post_load(server.hook, connections=1, count=1)
            servers.arrived(bench.callrail)
            return [server.memory()]

    [[theirs_idle], [idle, woken, cpu, more]] = median_of(bench.few, theirs, ours)
    return [
        Row(figure="memory when idle, dashboard on", value=idle, unit="MB", goal=100),
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
        with bench.yardstick(FORWARDS):
            return [time.monotonic() - begin]

    [[yardstick], [relay]] = median_of(bench.few, theirs, ours)
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
        [base], *others = median_of(bench.few, cost(empty), *(cost(folder) for folder in full.values()))
        rows = [
            _against_none(f"CPU time per text, {name} kept", value, base)
            for name, [value] in zip(full, others, strict=True)
        ]
        empty, queue = _filled(bench, stack), full["1,000,000"]
        history.fill(queue / "relay.db", sent=0, queued=10_000)
        bases, values = median_of(
            bench.few, lambda: asyncio.run(looks(empty)), lambda: asyncio.run(looks(queue))
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
        operations = Operations(outbox, policy)
        intake = Intake(outbox, policy, random=SystemRandom())
        persons = people()
        claims = claim_policy(accounts=frozenset([servers.ACCOUNT]), limits=PLENTY, guards=guard_policy())

        async def accept(number: int) -> None:
            await intake.accept_request(body(begin + number, persons), content_type="application/json")

        async def claim_one(_: int) -> None:
            [taken] = (await outbox.write(claim.claim, "bench", claims)).claims
            sent = Sent(200, "c0nv1", None, Usage())
            await outbox.write(record.record, {taken.attempt_id: sent}, random=Random(1))

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


def many_accounts(bench: Bench) -> list[Row]:
    """What a claim costs among 1 to 10,000 accounts with texts, and what looks at all of them."""

    def measure(name: str, number: int) -> dict[str, float]:
        with accounts.store_of(name) as url:
            return asyncio.run(accounts.cost(url, number))

    rows = []
    for name in accounts.STORES:
        alone, *others = (measure(name, number) for number in (1, *MANY))
        for number, found in zip(MANY, others, strict=True):
            goals = {"one account": 1.2} if number == MANY[-1] else {}
            figure = f"claim on {name}, {number:,} accounts"
            rows += rows_beside(figure, "ms", found["claim"], {"one account": alone["claim"]}, goals=goals)
        rows += [
            Row(figure=f"{look} on {name}, {MANY[-1]:,} accounts", value=took, unit="ms", goal=1_000)
            for look, took in others[-1].items()
            if look != "claim"
        ]
    return rows


MANY = (100, 1_000, 10_000)


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
    "accounts": many_accounts,
    "help": help_page,
    "size": size,
}
