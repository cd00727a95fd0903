"""
A simulated day of many accounts at their limits, on SQLite and PostgreSQL.

    python -m tests.benchmarks.accounts --accounts 100 1000 10000 --per-hour 2 --per-day 12 --store SQLite

The store and the claims are real, and only time is handed in: from one instant at which something may leave
to the next. Every account has more texts than its day allows. CallRail allows 150 an hour and 1,000 a day;
lower limits make the same day with fewer texts.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import sqlalchemy as sa

from callrail_relay.domain.account import DAY, HOUR, Limits
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.mapper import MappedText
from callrail_relay.domain.outcome import Sent
from callrail_relay.domain.routing import Route
from callrail_relay.outbox import claim, record
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import attempts
from tests.benchmarks.texts import people
from tests.outbox.database import connected
from tests.outbox.worker import accept_one
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
    over_limit: int = 0


def main() -> int:
    """Read the options, simulate, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.accounts", description=__doc__)
    parser.add_argument("--accounts", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--per-hour", type=int, default=2)
    parser.add_argument("--per-day", type=int, default=12)
    parser.add_argument("--store", choices=STORES, nargs="+", default=STORES)
    options = parser.parse_args()
    limits = Limits(options.per_hour, options.per_day)
    _say(
        "store       accounts  texts that left   claim p50   p99   that finds none   CPU for each text (ms)"
        "   looks that found none   over a limit"
    )
    faults = 0
    for name in options.store:
        for number in options.accounts:
            with _store(name) as url:
                day = asyncio.run(simulate(url, number, limits))
            faults += day.over_limit
            p99 = sorted(day.found)[int(len(day.found) * 0.99)]
            _say(
                f"{name:<11} {number:>8} {len(day.found):>16,} {1000 * statistics.median(day.found):>11.2f}"
                f" {1000 * p99:>5.2f} {1000 * statistics.median(day.nothing):>17.2f}"
                f" {1000 * day.cpu / len(day.found):>24.2f} {len(day.nothing):>23,} {day.over_limit:>14}"
            )
    return 1 if faults else 0


def _say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - a command of its own


@contextmanager
def _store(name: str) -> Iterator[str]:
    """The URL of an empty database."""
    if name == "SQLite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{(Path(folder) / 'relay.db').as_posix()}"
        return
    with running_cluster() as cluster:
        yield cluster.url(cluster.create_database())


async def simulate(url: str, number: int, limits: Limits) -> Day:
    """One day of *number* accounts, each with more texts than *limits* allow in it."""
    clock = ManualClock()
    outbox = await Store.open(url, clock, database_time=False)
    ids = [f"ACC{account:032}" for account in range(number)]
    await _fill(outbox, ids, limits.per_day + BEYOND)
    policy = claim_policy(
        accounts=frozenset(ids),
        limits=limits,
        recipient_interval=INTERVAL,
        guards=guard_policy(too_old=Mode.OFF),
    )
    day = Day()
    ends = clock.now() + DAY
    cpu = time.process_time()
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
            sent = Sent(200, "CON1")
            await outbox.write(record.record, taken.attempt_id, sent, interval=INTERVAL, random=Random(1))
    day.cpu = time.process_time() - cpu
    await outbox.close()
    day.over_limit = _over_limit(url, limits)
    return day


async def _fill(outbox: Store, ids: list[str], texts: int) -> None:
    """So many texts for each account, each to a different person, as webhooks would bring them."""
    persons = people()
    for number, account_id in enumerate(ids):
        route = Route(account_id, f"COM{number:032}", f"+1{2_000_000_000 + number}")
        drafts = [
            MappedText(recipient=f"+1{persons[text]}", text=f"Is it still for sale? {text}", route=route)
            for text in range(texts)
        ]
        await accept_one(outbox, make_submission(*(make_message(draft=draft) for draft in drafts)))


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
