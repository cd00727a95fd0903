"""Counting for monitoring."""

from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from callrail_relay.domain.delivery import RECENT
from callrail_relay.domain.message import Status, uuid7
from callrail_relay.domain.outcome import Unknown
from callrail_relay.outbox import opt_outs, queries
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.transaction import Transaction
from tests.outbox.worker import REFUSED, Worker, accept_one
from tests.support.clock import START, ManualClock
from tests.support.factories import (
    ACCOUNT,
    RECIPIENT,
    TRACKING_NUMBER,
    make_draft,
    make_message,
    make_submission,
    recipient,
)
from tests.support.policies import lookup_policy

pytestmark = pytest.mark.anyio


async def put(outbox: Store, clock: ManualClock, number: int) -> None:
    """A text to person *number*, with an id of now."""
    id_ = uuid7(clock.now(), Random(number))
    draft = make_draft(recipient=recipient(number), text=f"Text {number}")
    await accept_one(outbox, make_submission(make_message(id_=id_, draft=draft)))


async def test_an_empty_store_counts_nothing(outbox: Store) -> None:
    counts = await outbox.read(queries.read_counts)

    assert dict.fromkeys(Status, 0) == counts.recent
    assert {0} == set(counts.undone.values())
    assert ({}, 0) == (counts.oldest, counts.look_ups)


async def test_what_is_undone_is_counted_however_old_it_is(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """What is done counts for a day."""
    worker = Worker(outbox, lookups=lookup_policy(accounts=frozenset({ACCOUNT})))
    for number in range(3):
        await put(outbox, clock, number)
    await worker.send()
    await worker.finish(await worker.take(), REFUSED)
    await worker.finish(await worker.take(), Unknown("CallRail did not answer."))
    clock.advance(RECENT + timedelta(seconds=1))
    for number in range(3, 5):
        await put(outbox, clock, number)
    await worker.send()

    counts = await outbox.read(queries.read_counts)

    assert {Status.HELD: 0, Status.QUEUED: 1, Status.SENDING: 0, Status.UNKNOWN: 1} == counts.undone
    assert {Status.UNKNOWN: START, Status.QUEUED: clock.now()} == counts.oldest
    assert {Status.SENT: 1, Status.QUEUED: 1} == {
        status: count for status, count in counts.recent.items() if count
    }
    assert 1 == counts.look_ups


async def test_opt_outs_are_counted(outbox: Store) -> None:
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "They replied STOP.")

    assert 1 == await outbox.read(queries.count_opt_outs)


async def test_no_count_reads_what_is_done(sqlite_path: Path, clock: ManualClock) -> None:
    """
    Each is answered from an index, so that ten years of history cost nothing.

    SQLite shows its plans in words; PostgreSQL has the same indexes.
    """
    url = f"sqlite:///{sqlite_path}"
    await (await Store.open(url, clock)).close()
    statements: list[str] = []
    engine = sa.create_engine(url)
    sa.event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    with engine.connect() as connection:
        queries.read_counts(Transaction(connection, clock.now()))
        asked = list(statements)
        plans = [
            row.detail
            for statement in asked
            for row in connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", tuple("x" for _ in range(statement.count("?")))
            )
        ]
    engine.dispose()

    assert len(asked) <= len(plans)
    small = ("ix_attempts_next_lookup_at",)
    assert [] == [
        plan for plan in plans if plan.startswith("SCAN") and not any(name in plan for name in small)
    ]
