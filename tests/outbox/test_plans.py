"""No statement of the outbox reads through a table that grows."""

import inspect
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from callrail_relay.domain.alerts import Change, Incident, Level
from callrail_relay.domain.guards import GuardPolicy, Verdict
from callrail_relay.domain.inbound import Direction, PollPolicy, ShownNumber
from callrail_relay.domain.message import MessageFilter, Reason, Status
from callrail_relay.domain.outcome import NotSent, Outcome, Unknown
from callrail_relay.domain.reconcile import FailedLookup, FoundText, Lookup, LookupPolicy
from callrail_relay.domain.routing import Route
from callrail_relay.domain.views import TextFilter
from callrail_relay.outbox.store import Outbox
from tests.outbox.database import connected
from tests.outbox.told import POLICY as TOLD
from tests.outbox.told import make_told, masked
from tests.outbox.worker import REFUSED, SENT, TOO_MANY, Worker, find, put, words
from tests.support.clock import ManualClock
from tests.support.factories import (
    ACCOUNT,
    COMPANY,
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

# Every method is one transaction; these ask nothing of a table.
METHODS = {
    name
    for name, _ in inspect.getmembers(Outbox, inspect.iscoroutinefunction)
    if not name.startswith("_") and name not in ("open", "close", "now")
}

Asked = dict[str, object]
"""Statements as the driver got them, with the parameters of the last time."""


@contextmanager
def watched() -> Iterator[Asked]:
    """What any store asks of its database meanwhile, but for what only inserts."""
    asked: Asked = {}

    def note(*event: object) -> None:
        _connection, _cursor, statement, parameters, _context, many = event
        if not many and re.match("SELECT|UPDATE|DELETE|WITH", str(statement)):
            asked[str(statement)] = parameters

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield asked
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


async def live(outbox: Outbox, clock: ManualClock) -> None:
    """Texts come in, leave, fail, are lost and found; people look at them and decide."""
    worker = Worker(outbox, lookups=LOOKUPS)
    twice = [make_message(draft=make_draft(recipient=recipient(1)), skip_identical=True) for _ in range(2)]
    await outbox.accept(make_submission(*twice))
    outcomes: tuple[Outcome, ...] = (SENT, REFUSED, TOO_MANY, NotSent("No connection."))
    for number, outcome in enumerate(outcomes):
        await put(outbox, words(300) if number == 0 else "Hello", to=recipient(10 + number))
        await worker.send(outcome)
        clock.advance(timedelta(minutes=16))
    await put(outbox, "Lost and found", to=recipient(20))
    await put(outbox, "Hi Dana, are you still thinking of selling your house?", to=recipient(21))
    await worker.send(SENT)
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
    await outbox.take_up_forgotten()
    await outbox.pause(ACCOUNT, "Lunch")
    await outbox.resume(ACCOUNT)
    await outbox.approve(held)
    await outbox.is_suppressed(TRACKING_NUMBER, recipient(1))
    await fail(outbox, worker, clock)
    await hear(outbox, clock)
    await look(outbox, held)
    await look_at_pages(outbox, clock, held)
    await tend(outbox, clock, held)


async def fail(outbox: Outbox, worker: Worker, clock: ManualClock) -> None:
    """CallRail cannot be asked, a claim is taken back, and CallRail refuses what is too long."""
    await put(outbox, "Lost for good", to=recipient(40))
    await worker.take_all()
    await outbox.settle_unsent(
        "node-1", frozenset(), NotSent("no", own_fault=True), interval=timedelta(seconds=1), random=Random(1)
    )
    await worker.send(LOST)
    clock.advance(timedelta(minutes=1))
    due = await outbox.claim_lookup(LOOKUPS)
    assert due is not None
    await outbox.claim_lookup(LOOKUPS, due)
    await outbox.record_failed_lookup(due, FailedLookup(detail="no answer.", requests=1), LOOKUPS)
    bold = worker.under(max_characters=1000, recipient_interval=timedelta())
    await put(outbox, words(400), to=recipient(41))
    for outcome in (REFUSED, SENT, SENT, SENT):
        await bold.send(outcome)
    await outbox.suppress(TRACKING_NUMBER, recipient(42), "Asked by phone.")
    held = [await put(outbox, "Hello", to=recipient(42)), await put(outbox, "Hello", to=recipient(42))]
    await bold.look()
    await outbox.cancel(held[0], (Status.HELD,))


async def hear(outbox: Outbox, clock: ManualClock) -> None:
    """What CallRail tells of texts, in full and masked, and passing it on; looking for replies."""
    policy = replace(TOLD, forwards=True)
    shown = (recipient(10), masked(recipient(10)), ShownNumber())
    for person in shown:
        for content in ("STOP", "START", "Sure"):
            clock.advance(timedelta(minutes=5))
            for conversation in ("CON1", "unknown"):
                text = make_told(content, person=person, conversation_id=conversation, written_at=clock.now())
                await outbox.note_text(text, policy)
    out = make_told("Hello", person=recipient(11), direction=Direction.OUT, written_at=clock.now())
    await outbox.note_text(out, policy)
    seen = make_told("STOP", key="seen:1", seen=True, written_at=clock.now())
    await outbox.note_seen([seen, make_told("STOP", key="seen:2", seen=True)], policy)
    await outbox.next_forward()
    forward = await outbox.claim_forward(timedelta(minutes=5))
    assert forward is not None
    await outbox.end_forward(forward.resource_id, None)
    polls = PollPolicy(companies=((ACCOUNT, COMPANY),), every=timedelta(minutes=15))
    poll = await outbox.claim_poll(polls)
    assert poll is not None
    await outbox.end_poll(poll.id, 1, well=True)
    await outbox.next_poll(polls)
    await outbox.last_poll(polls)


async def look(outbox: Outbox, message_id: str) -> None:
    """What people and the metrics ask all day."""
    await outbox.list_messages(MessageFilter())
    since = await outbox.now() - timedelta(hours=1)
    for statuses in ((), (Status.FAILED,), (Status.SENT, Status.FAILED)):
        for who in (None, recipient(10)):
            for search in (None, "lost"):
                for when in (None, since):
                    wanted = MessageFilter(statuses=statuses, recipient=who, search=search, since=when)
                    await outbox.list_messages(wanted)
                    export = await outbox.plan_export(wanted)
                    await outbox.read_portion(export, after=0, size=2)
    await find(outbox, message_id)
    await outbox.count_by_status()
    await outbox.read_standings([ACCOUNT], LIMITS)
    await outbox.read_counts()
    await outbox.count_suppressions()
    await outbox.known_accounts()
    await outbox.plan([make_submission()])
    await outbox.accept_all([make_submission()])
    await outbox.end_tokens(["digest"])
    await outbox.read_ended_tokens()
    await outbox.token_ends_at("digest")
    await outbox.read_relay_secret("secret")
    await outbox.newest_due()
    await outbox.write_probe()


async def look_at_pages(outbox: Outbox, clock: ManualClock, message_id: str) -> None:
    """What the dashboard shows."""
    hour_ago = clock.now() - timedelta(hours=1)
    await outbox.read_overview([ACCOUNT], hour_ago, hour_ago)
    await outbox.read_arrivals(hour_ago, clock.now())
    await outbox.read_waiting(hour_ago)
    await outbox.count_for_person(hour_ago)
    pages: tuple[dict[str, Any], ...] = (
        {},
        {"recipient": recipient(10)},
        {"opportunity_id": "123456"},
        {"sender_id": "789"},
        {"words": ("lost",)},
        {"name": "Dana"},
        {"since": hour_ago, "until": clock.now()},
        {"before": 5},
    )
    for page in pages:
        for statuses in ((), (Status.SENT, Status.FAILED)):
            await outbox.read_page(TextFilter(statuses=statuses, **page))
    await outbox.read_history(message_id)
    for before in (None, clock.now()):
        await outbox.read_conversation(TRACKING_NUMBER, recipient(10), before, 20)
    await outbox.read_suppressions(20)
    await outbox.list_suppressions()
    await outbox.read_marker()


async def tend(outbox: Outbox, clock: ManualClock, message_id: str) -> None:
    """Opt-outs by hand, mapping again, alerts, and removing what is old."""
    await outbox.suppress(TRACKING_NUMBER, recipient(1), "Asked by phone.")
    await outbox.suppress_all(await outbox.list_suppressions())
    await outbox.lift_suppression(recipient(1), None)
    for approvable in (False, True):
        await outbox.held_alike(message_id, approvable=approvable)
    await outbox.remember_number(Route(ACCOUNT, "COM2", "+12025550144"), {TRACKING_NUMBER, "+12025550145"})
    await outbox.known_numbers([ACCOUNT])
    await outbox.note_text(make_told("leave me alone", person=recipient(60)), TOLD)
    await outbox.approve(await put(outbox, "Hello", to=recipient(60)))
    for _ in range(2):
        await outbox.accept_once(replace(make_submission(), repeat_key=b"key"))
    unmapped = Verdict((Reason("no_phone", "It has no number."),))
    incomplete = make_message(draft=make_draft(recipient=None), verdict=unmapped)
    submission = make_submission(incomplete)
    await outbox.accept(submission)
    await outbox.read_submission(submission.id)
    await outbox.remap(replace(incomplete, draft=make_draft(), verdict=Verdict()), GuardPolicy())
    await outbox.read_undecided(timedelta(minutes=15))
    await outbox.count_failures([ACCOUNT])
    incident = Incident(key="paused:ACC1", level=Level.ERROR, opened_at=clock.now())
    await outbox.change_incidents([Change(before=None, after=incident)])
    claimed = await outbox.claim_alerts(timedelta(minutes=1))
    await outbox.put_off_alerts(claimed, clock.now())
    await outbox.mark_told(claimed)
    await outbox.read_incidents()
    batch = [make_submission(make_message(draft=make_draft(recipient=recipient(60))))]
    await outbox.plan(batch)
    await outbox.accept_all(batch)
    await outbox.read_relay_secret("secret")
    await outbox.end_tokens(["digest"])
    await outbox.token_ends_at("digest")
    await outbox.read_ended_tokens()
    await outbox.last_poll(PollPolicy(companies=((ACCOUNT, COMPANY),), every=timedelta(minutes=10)))
    await outbox.note_contacts([ACCOUNT], answered=True)
    await outbox.read_contacts([ACCOUNT])
    await outbox.beat()
    await outbox.running()
    await outbox.require_not_copied()
    await outbox.note_dashboard("http://127.0.0.1:8788")
    clock.advance(timedelta(days=400))
    assert await outbox.retire(clock.now() - timedelta(days=365), 100)


def _noted(called: set[str], name: str) -> Callable[..., Any]:
    """A method that notes that it was called."""
    method = getattr(Outbox, name)

    def call(*given: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever it takes
        called.add(name)
        return method(*given, **options)

    return call


async def test_nothing_reads_through_a_table_that_grows(
    outbox: Outbox, clock: ManualClock, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Every plan is a search in an index, or reads the newest of a table up to a limit.

    A list or an export without any limit is not asked for here, since it is for all there is.
    """
    called: set[str] = set()
    for name in METHODS:
        monkeypatch.setattr(Outbox, name, _noted(called, name))
    with watched() as asked:
        await live(outbox, clock)

    assert called == METHODS, "the story is too short to say anything"
    scans = scans_of_sqlite if store_url.startswith("sqlite") else scans_of_postgresql
    faults = [
        fault for statement, parameters in asked.items() for fault in scans(store_url, statement, parameters)
    ]
    assert not faults, "\n\n".join(faults)


async def test_a_claim_reads_the_texts_of_its_account_alone(sqlite_path: Path, clock: ManualClock) -> None:
    """
    However many accounts have texts that wait, and also where all of them are due at the same instant.

    PostgreSQL chooses by what it counted, so that this shows only with many accounts (tests/benchmarks).
    """
    store_url = f"sqlite:///{sqlite_path}"
    outbox = await Outbox.open(store_url, clock)
    worker = Worker(outbox)
    with watched() as asked:
        await put(outbox, words(300))
        await worker.send()
        await worker.look()
    await outbox.close()

    ours = [one for one in asked.items() if "AS is_cut" in one[0]]
    due = [one for one in asked.items() if "ORDER BY accounts.due_at" in one[0]]
    assert (2, 1) == (len(ours), len(due))
    for statement, parameters in ours:
        plan = plan_of_sqlite(store_url, statement, parameters)
        assert "SEARCH messages USING INDEX ix_messages_open (account_id=? AND status=?)" in plan
    for statement, parameters in (*ours, *due):
        assert "TEMP B-TREE" not in " ".join(plan_of_sqlite(store_url, statement, parameters))


def scans_of_sqlite(store_url: str, statement: str, parameters: object) -> list[str]:
    plan = plan_of_sqlite(store_url, statement, parameters)
    scans = [re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step) for step in plan]
    return [
        f"{scan[0]}: {statement}"
        for scan in scans
        if scan and re.sub(r"_\d+$", "", scan[1]) in GROWING and scan[2] not in SMALL
        if not _reads_the_newest(statement, plan)
    ]


def plan_of_sqlite(store_url: str, statement: str, parameters: object) -> list[str]:
    with sqlite3.connect(store_url.removeprefix("sqlite:///")) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]  # type: ignore[arg-type]  # as the driver got them
    connection.close()
    return plan


def _reads_the_newest(statement: str, plan: list[str]) -> bool:
    """Whether a statement reads a table in the order of an index, and stops at its limit."""
    # What is asked about each row that is read narrows nothing.
    outer = re.sub(r"EXISTS \(.*?\)", "", statement, flags=re.DOTALL)
    return "LIMIT" in outer and "WHERE" not in outer and not any("TEMP B-TREE" in step for step in plan)


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
    # A limit is soon reached only where every row that is read counts.
    newest = limited and "Filter" not in node
    scans = kind == "Seq Scan" or (kind.endswith("Scan") and kind != "Bitmap Heap Scan" and not newest)
    if node.get("Relation Name") in GROWING and scans and not searched:
        yield node
    for inner in node.get("Plans", []):  # type: ignore[attr-defined]  # a list of nodes
        yield from _bad(inner, limited=limited)


def test_a_scan_is_noticed(store_url: str) -> None:
    """The check can fail."""
    with connected(store_url) as connection:
        connection.exec_driver_sql("CREATE TABLE messages (seq INTEGER PRIMARY KEY, text TEXT)")
    scans = scans_of_sqlite if store_url.startswith("sqlite") else scans_of_postgresql

    assert scans(store_url, "SELECT count(*) FROM messages WHERE text = 'x'", ())
    assert not scans(store_url, "SELECT text FROM messages WHERE seq = 1", ())
