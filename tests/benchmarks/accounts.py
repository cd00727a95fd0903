"""
A simulated day of many accounts, and what they cost, on SQLite and PostgreSQL.

    python -m tests.benchmarks.accounts --accounts 100 1000 10000 --per-hour 2 --per-day 12 --store SQLite

The store and the claims are real, and only time is handed in: from one instant at which something may leave
to the next. Of the accounts, `--at-limit` percent have more texts than their day allows, and the others one.
CallRail allows 150 an hour and 1,000 a day; lower limits make the same day with fewer texts.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import sqlalchemy as sa

from callrail_relay.clock import SystemClock
from callrail_relay.domain.account import DAY, HOUR, Limits
from callrail_relay.domain.delivery import Claim, ClaimPolicy
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.health import most_pressing
from callrail_relay.domain.mapper import MappedText, MappingPolicy
from callrail_relay.domain.outcome import Sent
from callrail_relay.domain.routing import Route, RouteRule, Routes
from callrail_relay.outbox import accept, claim, record, retention
from callrail_relay.outbox.columns import EPOCH, MICROSECOND
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import attempts
from callrail_relay.sentences import MOST_SHOWN
from callrail_relay.service.health import check_accounts, check_waiting
from callrail_relay.service.operations import Operations
from callrail_relay.service.overview import History
from callrail_relay.web.dashboard.now import render
from tests.benchmarks.texts import people
from tests.outbox.database import connected
from tests.support.clock import ManualClock
from tests.support.factories import make_message, make_submission
from tests.support.policies import claim_policy, guard_policy
from tests.support.postgres import running_cluster

INTERVAL = timedelta(seconds=1)
BEYOND = 2
"""Texts of each account beyond what its day allows."""

STORES = ("SQLite", "PostgreSQL")


@dataclass(kw_only=True)
class Day:
    """What a day took: seconds of each claim that found a text, of each that found none, and of all of it."""

    found: list[float] = field(default_factory=list)
    nothing: list[float] = field(default_factory=list)
    cpu: float = 0.0
    seconds: float = 0.0
    over_limit: int = 0


def main() -> int:
    """Read the options, simulate, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.accounts", description=__doc__)
    parser.add_argument("--accounts", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--per-hour", type=int, default=2)
    parser.add_argument("--per-day", type=int, default=12)
    parser.add_argument("--at-limit", type=int, default=10, metavar="PERCENT")
    parser.add_argument("--store", choices=STORES, nargs="+", default=STORES)
    options = parser.parse_args()
    limits = Limits(options.per_hour, options.per_day)
    _say(
        "store       accounts  texts that left   texts/s   claim p50   p99   that finds none"
        "   CPU for each text (ms)   looks that found none   over a limit"
    )
    faults = 0
    for name in options.store:
        for number in options.accounts:
            with store_of(name) as url:
                day = asyncio.run(simulate(url, number, limits, options.at_limit / 100))
            faults += day.over_limit
            p99 = sorted(day.found)[int(len(day.found) * 0.99)]
            _say(
                f"{name:<11} {number:>8} {len(day.found):>16,}"
                f" {len(day.found) / day.seconds:>9.0f} {1000 * statistics.median(day.found):>11.2f}"
                f" {1000 * p99:>5.2f} {1000 * statistics.median(day.nothing):>17.2f}"
                f" {1000 * day.cpu / len(day.found):>24.2f} {len(day.nothing):>23,} {day.over_limit:>14}"
            )
    return 1 if faults else 0


def _say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - a command of its own


@contextmanager
def store_of(name: str) -> Iterator[str]:
    """The URL of an empty database."""
    if name == "SQLite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{(Path(folder) / 'relay.db').as_posix()}"
        return
    with running_cluster() as cluster:
        yield cluster.url(cluster.create_database())


async def simulate(url: str, number: int, limits: Limits, at_limit: float) -> Day:
    """One day of *number* accounts, of which that share has more texts than *limits* allow in it."""
    clock = ManualClock()
    outbox = await Store.open(url, clock, database_time=False)
    full = round(number * at_limit)
    ids = await _fill(outbox, [limits.per_day + BEYOND] * full + [1] * (number - full))
    policy = _policy(ids, limits)
    day = Day()
    ends = clock.now() + DAY
    cpu, begin = time.process_time(), time.perf_counter()
    while clock.now() < ends:
        began = time.perf_counter()
        result = await outbox.write(claim.claim, "node", policy)
        took = time.perf_counter() - began
        if not result.claims:
            day.nothing.append(took)
            clock.set(ends if result.wake_at is None else min(result.wake_at, ends))
        else:
            day.found.append(took)
            [taken] = result.claims
            await _record(outbox, taken)
    day.cpu, day.seconds = time.process_time() - cpu, time.perf_counter() - begin
    await outbox.close()
    day.over_limit = _over_limit(url, limits)
    return day


def _policy(ids: Iterable[str], limits: Limits) -> ClaimPolicy:
    guards = guard_policy(too_old=Mode.OFF)
    return claim_policy(accounts=frozenset(ids), limits=limits, recipient_interval=INTERVAL, guards=guards)


async def _record(outbox: Store, taken: Claim) -> None:
    sent = Sent(200, "CON1")
    await outbox.write(record.record, {taken.attempt_id: sent}, random=Random(1))


async def _fill(outbox: Store, texts: Sequence[int]) -> list[str]:
    """An account for each of *texts*, with so many, each to another person, as webhooks would bring them."""
    persons, batch, ids = people(), [], []
    for number, count in enumerate(texts):
        route = Route(f"ACC{number:032}", f"COM{number:032}", f"+1{2_000_000_000 + number}")
        drafts = [
            MappedText(recipient=f"+1{persons[text]}", text=f"Is it still for sale? {text}", route=route)
            for text in range(count)
        ]
        ids.append(route.account_id)
        batch.append(make_submission(*(make_message(draft=draft) for draft in drafts)))
        if len(batch) == AT_ONCE or number == len(texts) - 1:
            await outbox.write(accept.accept, batch)
            batch = []
    return ids


AT_ONCE = 200
CLAIMS = 150
FEW = Limits(10, 100)
PLENTY = Limits(1_000_000, 1_000_000)


async def cost(url: str, number: int) -> dict[str, float]:
    """Milliseconds of a claim among *number* accounts with texts, and then of what looks at all of them."""
    outbox = await Store.open(url, SystemClock())
    ids = await _fill(outbox, [max(3, 2 * CLAIMS // number)] * number)
    _count(url)
    took, policy = [], _policy(ids, PLENTY)
    for _ in range(CLAIMS):
        began = time.perf_counter()
        [taken] = (await outbox.write(claim.claim, "node", policy)).claims
        took.append(time.perf_counter() - began)
        await _record(outbox, taken)
    found = {"claim": 1000 * statistics.median(took)}
    _send_all_but_a_tenth(url, ids, await outbox.now())
    routes = Routes(tuple(RouteRule(Route(id_, "COM1", "+12025550133")) for id_ in ids))
    mapping = MappingPolicy(routes=routes, guards=guard_policy(), max_characters=140, limits=FEW)
    operations = Operations(outbox, mapping)
    pages = History(outbox)
    since = await outbox.now() - timedelta(hours=48)

    async def home() -> None:
        facts = await operations.facts()
        await pages.arrivals()
        await pages.frees_at([one.account.id for one in most_pressing(facts.accounts, MOST_SHOWN)])
        await pages.today(since)
        await pages.kept.get()
        render(facts)

    async def checks() -> None:
        await check_accounts(operations)
        await check_waiting(operations)

    looks: dict[str, Callable[[], Awaitable[object]]] = {
        "status": operations.status,
        "Home": home,
        "doctor's checks of texts": checks,
        "retention, with nothing due": lambda: outbox.write(retention.retire, since - DAY, 100),
        "claim, with nothing due": lambda: outbox.write(claim.claim, "node", policy),
        "look of an open page for news": pages.marker,
    }
    for name, look in looks.items():
        took = []
        for _ in range(3):
            began = time.perf_counter()
            await look()
            took.append(time.perf_counter() - began)
        found[name] = 1000 * statistics.median(took)
    await outbox.close()
    return found


def _count(url: str) -> None:
    """PostgreSQL chooses by what it counted, which it does by itself within minutes."""
    with connected(url) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")


def _send_all_but_a_tenth(url: str, ids: Sequence[str], now: datetime) -> None:
    """As after an hour in which a tenth of the accounts reached their limit, and have texts that wait."""
    at = (now - EPOCH) // MICROSECOND - 1_000_000
    statements = _SENT.format(at=at, later=at + 3_600_000_000, full=ids[-1 - len(ids) // 10])
    with connected(url) as connection:
        for statement in statements.split(";"):
            connection.exec_driver_sql(statement)
        connection.commit()
    _count(url)


_SENT = """
UPDATE messages SET status = 'sent', sent_at = {at}
WHERE status = 'queued' AND (account_id <= '{full}' OR seq > seq / 3 * 3);
INSERT INTO segments (message_seq, position, content, status)
SELECT seq, 1, text, 'sent' FROM messages
WHERE status = 'sent' AND seq NOT IN (SELECT message_seq FROM segments);
INSERT INTO attempts (segment_id, message_seq, account_id, tracking_number, recipient, node, started_at,
    lease_until, finished_at, counted_at, outcome)
SELECT segments.id, seq, account_id, tracking_number, recipient, 'node', {at}, {at}, {at}, {at}, 'Sent'
FROM messages JOIN segments ON message_seq = seq WHERE seq NOT IN (SELECT message_seq FROM attempts);
UPDATE accounts SET hour_allowed = 2 WHERE id > '{full}';
UPDATE accounts SET due_at = CASE WHEN id > '{full}' THEN {later} END
"""


def _over_limit(url: str, limits: Limits) -> int:
    """How often an account sent more within an hour or a day than it may."""
    counted: dict[str, list[datetime]] = defaultdict(list)
    query = sa.select(attempts.c.account_id, attempts.c.counted_at).order_by(attempts.c.counted_at)
    with connected(url) as connection:
        for account_id, at in connection.execute(query):
            counted[account_id].append(at)
    return sum(
        later - earlier < length
        for instants in counted.values()
        for allowed, length in ((limits.per_hour, HOUR), (limits.per_day, DAY))
        for earlier, later in zip(instants, instants[allowed:], strict=False)
    )


if __name__ == "__main__":
    sys.exit(main())
