"""
No statement of a text's way, nor of what people ask all day, reads through a table that grows.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from callrail_relay.domain.budget import DAY
from callrail_relay.domain.history import TextFilter
from callrail_relay.domain.matching import FoundText, Lookup
from callrail_relay.domain.message import MessageFilter, Status
from callrail_relay.domain.outcome import NotSent, Outcome, Unknown
from callrail_relay.domain.reconcile import LookupPolicy
from callrail_relay.outbox.store import Outbox
from tests.outbox.database import connected
from tests.outbox.worker import REFUSED, SENT, TOO_MANY, Worker, find, put, words
from tests.support.clock import ManualClock
from tests.support.factories import (
    ACCOUNT,
    LIMITS,
    TRACKING_NUMBER,
    make_draft,
    make_message,
    make_submission,
    recipient,
)

pytestmark = pytest.mark.anyio

GROWING = ("attempts", "callrail_texts", "decisions", "evidence", "messages", "segments", "submissions")

# Indexes that hold only what is not done with: to read through one of them is to read what there is to do.
SMALL = (
    "ix_attempts_blocks",
    "ix_attempts_in_flight",
    "ix_attempts_look_at",
    "ix_attempts_waits",
    "ix_callrail_texts_forward",
    "ix_messages_cut_anew",
    "ix_messages_due",
    "ix_messages_open",
    "ix_messages_open_key",
    "ix_messages_release",
)

LOOKUPS = LookupPolicy(accounts=frozenset({ACCOUNT}))
LOST = Unknown("the relay stopped.", own_fault=True)

Asked = dict[str, object]
"""Statements as the driver got them, with the parameters of the last time."""


@contextmanager
def watched() -> Iterator[Asked]:
    """
    What any store asks of its database meanwhile, but for what only inserts.
    """
    asked: Asked = {}

    def note(*event: object) -> None:
        _connection, _cursor, statement, parameters, _context, many = event
        if not many and re.match("SELECT|UPDATE|DELETE", str(statement)):
            asked[str(statement)] = parameters

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield asked
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


async def live(outbox: Outbox, clock: ManualClock) -> None:
    """
    Texts come in, leave, fail, are lost and found; people look at them and decide.
    """
    worker = Worker(outbox, lookups=LOOKUPS)
    twice = [make_message(draft=make_draft(recipient=recipient(1)), skip_identical=True) for _ in range(2)]
    await outbox.accept(make_submission(*twice))
    outcomes: tuple[Outcome, ...] = (SENT, REFUSED, TOO_MANY, NotSent("No connection."))
    for number, outcome in enumerate(outcomes):
        await put(outbox, words(300) if number == 0 else "Hello", to=recipient(10 + number))
        await worker.send(outcome)
        clock.advance(timedelta(minutes=16))
    await put(outbox, "Lost and found", to=recipient(20))
    while (claim := await worker.look()).claim is not None:
        await worker.record(claim.claim, LOST)
        clock.advance(timedelta(minutes=1))
    while (due := await outbox.claim_lookup(LOOKUPS)) is not None:
        found = Lookup(texts=(FoundText(content="Lost and found", created_at=clock.now()),), requests=2)
        await outbox.record_lookup(due, found, LOOKUPS)
    held = await put(outbox, "Hello", to=recipient(30))
    await outbox.cancel(held, (Status.QUEUED,))
    await outbox.resend(held)
    await worker.take_all()
    clock.advance(timedelta(hours=1))
    await worker.settle_abandoned("node-1")
    for message in await outbox.list_messages(MessageFilter(statuses=(Status.UNKNOWN,))):
        await outbox.mark_sent(message.id)
    await outbox.next_lookup(LOOKUPS)
    await outbox.next_lease_end()
    await outbox.pause(ACCOUNT, "Lunch")
    await outbox.resume(ACCOUNT)
    await outbox.approve(held)
    await outbox.is_suppressed(TRACKING_NUMBER, recipient(1))
    await look(outbox, held)


async def look(outbox: Outbox, message_id: str) -> None:
    """
    What people, the dashboard and the metrics ask all day.
    """
    await outbox.list_messages(MessageFilter())
    await outbox.list_messages(MessageFilter(statuses=(Status.SENT, Status.FAILED)))
    await outbox.list_messages(MessageFilter(recipient=recipient(10)))
    await find(outbox, message_id)
    await outbox.count_by_status()
    await outbox.read_standings([ACCOUNT], LIMITS)
    await outbox.write_probe()
    await look_at_pages(outbox, message_id)


async def look_at_pages(outbox: Outbox, message_id: str) -> None:
    """
    What the dashboard's pages read, but for a search for words, which reads a part of the texts.
    """
    now = await outbox.now()
    await outbox.read_marker()
    await outbox.count_for_person(now - DAY)
    await outbox.read_overview([ACCOUNT], now - DAY, now - DAY)
    await outbox.read_history(message_id)
    await outbox.read_conversation(TRACKING_NUMBER, recipient(1), now, 50)
    for wanted in (
        TextFilter(),
        TextFilter(statuses=(Status.SENT,), before=100),
        TextFilter(recipient=recipient(1), statuses=(Status.SENT,)),
        TextFilter(opportunity_id="1", statuses=(Status.SENT,)),
        TextFilter(sender_id="1", statuses=(Status.SENT,)),
        TextFilter(since=now - DAY, until=now, statuses=(Status.SENT,)),
    ):
        await outbox.read_page(wanted)


async def test_nothing_reads_through_a_table_that_grows(
    outbox: Outbox, clock: ManualClock, store_url: str
) -> None:
    """
    Every plan is a search in an index, or reads the newest of a table up to a limit.
    """
    with watched() as asked:
        await live(outbox, clock)

    assert len(asked) > 40, "the story is too short to say anything"
    scans = scans_of_sqlite if store_url.startswith("sqlite") else scans_of_postgresql
    assert [] == [
        fault for statement, parameters in asked.items() for fault in scans(store_url, statement, parameters)
    ]


def scans_of_sqlite(store_url: str, statement: str, parameters: object) -> list[str]:
    with sqlite3.connect(store_url.removeprefix("sqlite:///")) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]  # type: ignore[arg-type]  # as the driver got them
    connection.close()
    scans = [re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step) for step in plan]
    return [
        f"{scan[0]}: {statement}"
        for scan in scans
        if scan and re.sub(r"_\d+$", "", scan[1]) in GROWING and scan[2] not in SMALL
        if not _reads_the_newest(statement, plan)
    ]


def _reads_the_newest(statement: str, plan: list[str]) -> bool:
    """
    Whether a statement reads a table in the order of an index, and stops at its limit.
    """
    return (
        "LIMIT" in statement and "WHERE" not in statement and not any("TEMP B-TREE" in step for step in plan)
    )


def scans_of_postgresql(store_url: str, statement: str, parameters: object) -> list[str]:
    with connected(store_url) as connection:
        # Tables of some rows are always read through; this way only where there is nothing else to do.
        for way in ("seqscan", "hashjoin", "mergejoin"):
            connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        explained = connection.exec_driver_sql(
            f"EXPLAIN (FORMAT JSON) {statement}",
            parameters,  # type: ignore[arg-type]  # as above
        )
        [plan] = explained.scalar_one()
    return [
        f"{node['Node Type']} on {node['Relation Name']}: {statement}"
        for node in _bad(plan["Plan"], limited=False)
    ]


def _bad(node: dict[str, object], *, limited: bool) -> Iterator[dict[str, object]]:
    kind = str(node["Node Type"])
    limited = kind == "Limit" or (limited and kind not in ("Sort", "Aggregate", "Hash"))
    searched = "Index Cond" in node or node.get("Index Name") in SMALL
    scans = kind == "Seq Scan" or (kind.endswith("Scan") and kind != "Bitmap Heap Scan" and not limited)
    if node.get("Relation Name") in GROWING and scans and not searched:
        yield node
    for inner in node.get("Plans", []):  # type: ignore[attr-defined]  # a list of nodes
        yield from _bad(inner, limited=limited)


def test_a_scan_is_noticed(store_url: str) -> None:
    """
    The check can fail.
    """
    with connected(store_url) as connection:
        connection.exec_driver_sql("CREATE TABLE messages (seq INTEGER PRIMARY KEY, text TEXT)")
    scans = scans_of_sqlite if store_url.startswith("sqlite") else scans_of_postgresql

    assert scans(store_url, "SELECT count(*) FROM messages WHERE text = 'x'", ())
    assert not scans(store_url, "SELECT text FROM messages WHERE seq = 1", ())
