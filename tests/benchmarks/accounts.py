"""
What one claim costs against the number of accounts with work, on SQLite and PostgreSQL.

    python -m tests.benchmarks.accounts [--accounts 1 100 1000] [--claims 200] [--spent 0.9]

Time is handed in: a store is filled with texts that wait, some accounts are at the limit of their hour,
and claims and outcomes are made one after the other as a node would. It is a sample of a day, and says so.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

import sqlalchemy as sa

from callrail_relay.domain.budget import Limits
from callrail_relay.domain.claim import ClaimPolicy
from callrail_relay.domain.guards import GuardPolicy
from callrail_relay.domain.outcome import Sent
from callrail_relay.outbox.store import Outbox
from callrail_relay.outbox.tables import (
    accounts,
    attempts,
    messages,
    metadata,
    segments,
    submissions,
)
from tests.outbox.database import connected
from tests.support.clock import ManualClock
from tests.support.postgres import running_cluster

INTERVAL = timedelta(seconds=1)
PER_HOUR = 20
"""A limit that is soon met, so that a store at its limits is quickly made."""

WAITING = 3
PORTION = 2_000


@dataclass(frozen=True, kw_only=True)
class Cost:
    """
    Milliseconds of a claim that finds a text, and of one that finds none.
    """

    found: float
    found_slowest: float
    recorded: float
    nothing: float


def main() -> None:
    """
    Read the options, measure, print.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.accounts", description=__doc__)
    parser.add_argument("--accounts", type=int, nargs="+", default=[1, 100, 1_000])
    parser.add_argument("--claims", type=int, default=200)
    parser.add_argument(
        "--spent", type=float, default=0.9, help="share of accounts at the limit of their hour"
    )
    options = parser.parse_args()
    _say("store       accounts  claim p50   slowest   record p50   claim of nothing (ms)")
    for name in ("SQLite", "PostgreSQL"):
        for number in options.accounts:
            with _store(name) as url:
                cost = asyncio.run(measure(url, number, options.claims, options.spent))
            _say(
                f"{name:<11} {number:>8} {cost.found:>10.2f} {cost.found_slowest:>9.2f}"
                f" {cost.recorded:>12.2f} {cost.nothing:>10.2f}"
            )


def _say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - a command of its own


@contextmanager
def _store(name: str) -> Iterator[str]:
    """
    The URL of an empty database.
    """
    if name == "SQLite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{(Path(folder) / 'relay.db').as_posix()}"
        return
    with running_cluster() as cluster:
        yield cluster.url(cluster.create_database())


async def measure(url: str, number: int, claims: int, spent: float) -> Cost:
    """
    Fill the store for *number* accounts, and take up to *claims* texts from it.
    """
    clock = ManualClock()
    outbox = await Outbox.open(url, clock, database_time=False)
    ids = [f"ACC{account:032}" for account in range(number)]
    fill(url, ids, clock, full=int(number * spent))
    policy = ClaimPolicy(
        accounts=frozenset(ids),
        limits=Limits(PER_HOUR, 1_000),
        recipient_interval=INTERVAL,
        guards=GuardPolicy(too_old="off"),  # type: ignore[arg-type] # a mode by its value
    )
    found, recorded, nothing = [], [], []
    for _ in range(claims):
        began = time.perf_counter()
        result = await outbox.claim("node", policy)
        took = time.perf_counter() - began
        if result.claim is None:
            nothing.append(took)
            break
        found.append(took)
        began = time.perf_counter()
        await outbox.record(result.claim.attempt_id, Sent(200, "CON1"), interval=INTERVAL, random=Random(1))
        recorded.append(time.perf_counter() - began)
    with connected(url) as connection:
        connection.execute(sa.update(accounts).values(paused_since=clock.now()))
    for _ in range(3):
        began = time.perf_counter()
        await outbox.claim("node", policy)
        nothing.append(time.perf_counter() - began)
    await outbox.close()
    return Cost(
        found=1000 * statistics.median(found),
        found_slowest=1000 * max(found),
        recorded=1000 * statistics.median(recorded),
        nothing=1000 * statistics.median(nothing),
    )


def fill(url: str, ids: list[str], clock: ManualClock, *, full: int) -> None:
    """
    WAITING texts for each account, and for the first *full* of them as many sent ones as the hour allows.
    """
    now = clock.now()
    with connected(url) as connection:
        rows: dict[str, list[dict[str, object]]] = {table.name: [] for table in metadata.sorted_tables}
        number = 0
        for position, account_id in enumerate(ids):
            rows["accounts"].append({"id": account_id})
            sent = PER_HOUR if position < full else 0
            for text in range(sent + WAITING):
                number += 1
                at = now - timedelta(minutes=30) + timedelta(microseconds=number)
                _add(rows, number, account_id, at, sent=text < sent)
            if len(rows["messages"]) >= PORTION or position == len(ids) - 1:
                for table in (submissions, accounts, messages, segments, attempts):
                    if rows[table.name]:
                        connection.execute(sa.insert(table), rows[table.name])
                        rows[table.name] = []
        if connection.dialect.name == "postgresql":
            for name in ("messages", "segments", "attempts"):
                column = "seq" if name == "messages" else "id"
                connection.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{name}', '{column}'), {number + 1})"
                )
            connection.exec_driver_sql("ANALYZE")


def _add(
    rows: dict[str, list[dict[str, object]]], number: int, account_id: str, at: object, *, sent: bool
) -> None:
    person = f"+1{200 + number % 700}555{number % 100 + 100:04}"
    key = {
        "account_id": account_id,
        "tracking_number": f"+1{int(account_id[3:]) + 2_000_000_000}",
        "recipient": person,
    }
    rows["submissions"].append({"id": f"s{number}", "source": "webhook", "received_at": at, "body": b"{}"})
    rows["messages"].append(
        key
        | {
            "seq": number,
            "id": f"m{number}",
            "submission_id": f"s{number}",
            "status": "sent" if sent else "queued",
            "source": "webhook",
            "received_at": at,
            "not_before": at,
            "text": "Is it still for sale?",
            "company_id": "COM1",
            "segment_count": 1,
            "reasons": [],
            "approved": [],
        }
    )
    if not sent:
        return
    rows["segments"].append(
        {
            "id": number,
            "message_seq": number,
            "position": 1,
            "content": "Is it still for sale?",
            "status": "sent",
        }
    )
    rows["attempts"].append(
        key
        | {
            "id": number,
            "segment_id": number,
            "message_seq": number,
            "node": "node",
            "started_at": at,
            "lease_until": at,
            "finished_at": at,
            "counted_at": at,
            "outcome": "Sent",
        }
    )


if __name__ == "__main__":
    main()
