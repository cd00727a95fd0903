"""No statement of the outbox reads through a table that grows."""

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

import callrail_relay
from callrail_relay.domain.alerts import Change, Incident, Level
from callrail_relay.domain.guards import Verdict
from callrail_relay.domain.inbound import Direction, ShownNumber
from callrail_relay.domain.message import Actor, MessageFilter, Reason, Status, Verb
from callrail_relay.domain.outcome import NotSent, Outcome, Unknown
from callrail_relay.domain.reconcile import FoundText, Lookup
from callrail_relay.domain.routing import Route
from callrail_relay.domain.shadow import Mode, Passed, State, answered
from callrail_relay.outbox import (
    accept,
    alerts,
    budget,
    decisions,
    history,
    inbound,
    lookups,
    opt_outs,
    people,
    presence,
    queries,
    record,
    relay_secrets,
    replies,
    retention,
    rows,
    shadow,
    times,
)
from callrail_relay.outbox import claim as store_claim
from callrail_relay.outbox.store import Store
from tests.outbox.database import connected
from tests.outbox.told import POLICY as TOLD
from tests.outbox.told import ingest_one, make_told, masked
from tests.outbox.worker import REFUSED, SENT, TOO_MANY, Worker, accept_one, find, put, words
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
from tests.support.policies import guard_policy, lookup_policy, poll_policy

pytestmark = pytest.mark.anyio

GROWING = (
    "attempts",
    "callrail_texts",
    "decisions",
    "evidence",
    "forwards",
    "messages",
    "segments",
    "submissions",
)

# Indexes that hold only what is not done with: to read through one of them is to read what there is to do.
SMALL = (
    "ix_attempts_blocks",
    "ix_attempts_in_flight",
    "ix_attempts_next_lookup_at",
    "ix_attempts_waits",
    "ix_callrail_texts_forward",
    "ix_forwards_unfinished",
    "ix_messages_cut_anew",
    "ix_messages_due",
    "ix_messages_open",
    "ix_messages_open_key",
    "ix_messages_release",
)

LOOKUPS = lookup_policy(accounts=frozenset({ACCOUNT}))
LOST = Unknown("the relay stopped.", own_fault=True)

PACKAGE = Path(callrail_relay.__file__).parent
# What the services have the store do, by the name of the function.
STATEMENTS = {
    name
    for folder in ("service", "bootstrap")
    for path in (PACKAGE / folder).glob("*.py")
    for name in re.findall(r"\b(?:read|write|rehearse)\(\s*\w+\.(\w+)", path.read_text(encoding="utf-8"))
}

Run = Callable[..., object]
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


async def live(outbox: Store, clock: ManualClock) -> None:
    """Texts come in, are sent, fail, are lost and found; people look at them and decide."""
    worker = Worker(outbox, lookups=LOOKUPS)
    twice = [make_message(draft=make_draft(recipient=recipient(1)), skip_identical=True) for _ in range(2)]
    await accept_one(outbox, make_submission(*twice))
    outcomes: tuple[Outcome, ...] = (SENT, REFUSED, TOO_MANY, NotSent("No connection."))
    for number, outcome in enumerate(outcomes):
        await put(outbox, words(300) if number == 0 else "Hello", to=recipient(10 + number))
        await worker.send(outcome)
        clock.advance(timedelta(minutes=16))
    await put(outbox, "Lost and found", to=recipient(20))
    await put(outbox, "Hi Dana, are you still thinking of selling your house?", to=recipient(21))
    await worker.send(SENT)
    while (claim := await worker.take_if_any()) is not None:
        await worker.record(claim, LOST)
        clock.advance(timedelta(minutes=1))
    while (due := await outbox.write(lookups.claim_lookup, LOOKUPS)) is not None:
        found = Lookup(texts=(FoundText(content="Lost and found", created_at=clock.now()),), requests=2)
        await outbox.write(lookups.record_lookup, due, found, LOOKUPS)
    held = await put(outbox, "Hello", to=recipient(30))
    await outbox.rehearse(store_claim.would_hold, worker.policy.guards, [held])
    await outbox.write(decisions.cancel, held, (Status.QUEUED,))
    await outbox.write(decisions.resend, held)
    await worker.take_all()
    clock.advance(timedelta(hours=1))
    await worker.settle_abandoned("node-1")
    for message in await outbox.read(queries.list_messages, MessageFilter(statuses=(Status.UNKNOWN,))):
        await outbox.write(decisions.mark_sent, message.id)
    await outbox.read(lookups.next_lookup, LOOKUPS)
    await outbox.read(record.next_lease_end)
    await outbox.write(store_claim.take_up_forgotten)
    await outbox.write(decisions.pause, ACCOUNT, "Lunch")
    await outbox.write(decisions.resume, ACCOUNT)
    await outbox.write(decisions.approve, held)
    await outbox.read(opt_outs.is_opted_out, TRACKING_NUMBER, recipient(1))
    await fail(outbox, worker, clock)
    await hear(outbox, clock)
    await look(outbox, held)
    await look_at_pages(outbox, clock, held)
    await tend(outbox, clock, held)


async def fail(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """CallRail cannot be asked, a claim is taken back, and CallRail refuses what is too long."""
    await put(outbox, "Lost for good", to=recipient(40))
    await worker.take_all()
    await outbox.write(
        record.settle_unsent,
        "node-1",
        frozenset(),
        NotSent("no", own_fault=True),
        random=Random(1),
    )
    await worker.send(LOST)
    clock.advance(timedelta(minutes=1))
    due = await outbox.write(lookups.claim_lookup, LOOKUPS)
    assert due is not None
    await outbox.write(lookups.claim_lookup, LOOKUPS, due)
    await outbox.write(lookups.record_lookup, due, Lookup(requests=1, fault="no answer."), LOOKUPS)
    bold = worker.under(max_characters=1000, recipient_interval=timedelta())
    await put(outbox, words(400), to=recipient(41))
    for outcome in (REFUSED, SENT, SENT, SENT):
        await bold.send(outcome)
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(42), "Asked by phone.")
    held = [await put(outbox, "Hello", to=recipient(42)), await put(outbox, "Hello", to=recipient(42))]
    await bold.look()
    await outbox.write(decisions.cancel, held[0], (Status.HELD,))


async def hear(outbox: Store, clock: ManualClock) -> None:
    """What CallRail reports about texts, in full and masked, and passing it on; looking for replies."""
    policy = replace(TOLD, forwards=True)
    shown = (recipient(10), masked(recipient(10)), ShownNumber())
    for person in shown:
        for content in ("STOP", "START", "Sure"):
            clock.advance(timedelta(minutes=5))
            for conversation in ("CON1", "unknown"):
                text = make_told(content, person=person, conversation_id=conversation, written_at=clock.now())
                await ingest_one(outbox, text, policy)
    out = make_told("Hello", person=recipient(11), direction=Direction.OUT, written_at=clock.now())
    await ingest_one(outbox, out, policy)
    seen = make_told("STOP", key="seen:1", seen=True, written_at=clock.now())
    await outbox.write(inbound.ingest, [seen, make_told("STOP", key="seen:2", seen=True)], policy)
    await outbox.read(replies.next_forward)
    forward = await outbox.write(replies.claim_forward, timedelta(minutes=5))
    assert forward is not None
    await outbox.write(replies.end_forward, forward.resource_id, None)
    polls = poll_policy(companies=((ACCOUNT, COMPANY),), every=timedelta(minutes=15))
    poll = await outbox.write(replies.claim_poll, (ACCOUNT, COMPANY), polls)
    assert poll is not None
    await outbox.write(replies.end_poll, poll.id, 1, well=True)
    await outbox.read(replies.due_polls, polls)
    await outbox.read(replies.last_poll, polls)
    await outbox.read(replies.last_polls, polls)


async def look(outbox: Store, message_id: str) -> None:
    """What people and the metrics ask all day."""
    await outbox.read(queries.list_messages, MessageFilter())
    since = await outbox.now() - timedelta(hours=1)
    for statuses in ((), (Status.FAILED,), (Status.SENT, Status.FAILED)):
        for who in (None, recipient(10)):
            for sought in ((), ("lost",)):
                for when in (None, since):
                    wanted = MessageFilter(statuses=statuses, recipient=who, words=sought, since=when)
                    await outbox.read(queries.list_messages, wanted)
    await find(outbox, message_id)
    await outbox.read(queries.count_by_status)
    await outbox.read(budget.read_account_statuses, [ACCOUNT], LIMITS)
    await outbox.read(budget.last_accepted, [ACCOUNT])
    await outbox.read(queries.read_counts)
    await outbox.read(queries.count_opt_outs)
    await outbox.read(decisions.known_accounts)
    await outbox.rehearse(accept.accept, [make_submission()])
    await outbox.write(accept.accept, [make_submission()])
    await outbox.write(relay_secrets.end_tokens, ["digest"])
    await outbox.read(relay_secrets.read_ended_tokens)
    await outbox.read(relay_secrets.token_ends_at, "digest")
    await outbox.read(relay_secrets.find_relay_secret)
    await outbox.write(people.add_person, "Sam", "hash", "stamp")
    await outbox.write(people.change_password, "Sam", "hash", "another")
    await outbox.write(people.end_sessions, "stamp")
    await outbox.read(people.read_people)
    await outbox.read(people.find_person, "Sam")
    await outbox.write(people.remove, "Sam")
    await outbox.write(relay_secrets.read_relay_secret, "secret")
    await outbox.read(store_claim.newest_due)
    await outbox.read(times.latest_instant)
    await outbox.write_probe()


async def look_at_pages(outbox: Store, clock: ManualClock, message_id: str) -> None:
    """What the dashboard shows."""
    hour_ago = clock.now() - timedelta(hours=1)
    await outbox.read(history.read_frees_at, [ACCOUNT])
    await outbox.read(history.any_sent)
    await outbox.read(history.read_arrivals, hour_ago, None)
    await outbox.read(history.read_arrivals, hour_ago, clock.now())
    await outbox.read(history.read_waiting)
    await outbox.read(history.read_waiting, 200)
    await outbox.read(history.read_rows, [message_id])
    await outbox.read(history.read_today, hour_ago)
    await outbox.read(history.read_kept, hour_ago)
    await outbox.read(history.last_from_if3)
    await outbox.read(history.count_for_person)
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
            await outbox.read(history.read_page, MessageFilter(statuses=statuses, **page))
    for before in (None, clock.now()):
        await outbox.read(history.read_conversation, TRACKING_NUMBER, recipient(10), before, 20)
    await outbox.read(opt_outs.list_opt_outs, 20)
    await outbox.read(opt_outs.list_opt_outs)
    await outbox.read(history.read_marker)


async def tend(outbox: Store, clock: ManualClock, message_id: str) -> None:
    """Opt-outs by hand, mapping again, alerts, and removing what is old."""
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(1), "Asked by phone.")
    await outbox.write(opt_outs.add_opt_outs, await outbox.read(opt_outs.list_opt_outs))
    await outbox.write(opt_outs.remove_opt_out, recipient(1), None)
    await outbox.read(decisions.held_alike, message_id)
    await outbox.write(
        opt_outs.remember_number, Route(ACCOUNT, "COM2", "+12025550144"), {TRACKING_NUMBER, "+12025550145"}
    )
    await outbox.read(opt_outs.known_numbers, [ACCOUNT])
    await outbox.read(opt_outs.new_numbers, [TRACKING_NUMBER, "+12025550145"])
    await outbox.write(opt_outs.copy_opt_outs, "+12025550145", {TRACKING_NUMBER})
    await ingest_one(outbox, make_told("leave me alone", person=recipient(60)), TOLD)
    await outbox.write(decisions.approve, await put(outbox, "Hello", to=recipient(60)))
    await click_on_one(outbox)
    for _ in range(2):
        await outbox.accept(replace(make_submission(), repeat_key=b"key"))
    unmapped = Verdict((Reason("no_phone", {"detail": "It has no number."}),))
    incomplete = make_message(draft=make_draft(recipient=None), verdict=unmapped)
    submission = make_submission(incomplete)
    await accept_one(outbox, submission)
    await outbox.read(queries.read_submission, submission.id)
    await outbox.write(
        decisions.rewrite,
        replace(incomplete, draft=make_draft(), verdict=Verdict()),
        guard_policy(),
        Verb.REMAP,
    )
    await outbox.read(alerts.read_undecided, timedelta(minutes=15))
    await outbox.read(alerts.count_failures, [ACCOUNT])
    await outbox.read(alerts.read_week, clock.now() - timedelta(days=7), 1)
    incident = Incident(key="paused:ACC1", level=Level.ERROR, opened_at=clock.now())
    await outbox.write(alerts.change_incidents, [Change(before=None, after=incident)])
    claimed = await outbox.write(alerts.claim_alerts, timedelta(minutes=1))
    await outbox.write(alerts.put_off, claimed, clock.now())
    await outbox.write(alerts.mark_reported, claimed)
    await outbox.read(alerts.read_incidents)
    batch = [make_submission(make_message(draft=make_draft(recipient=recipient(60))))]
    await outbox.rehearse(accept.accept, batch)
    await outbox.write(accept.accept, batch)
    await outbox.write(relay_secrets.read_relay_secret, "secret")
    await outbox.write(relay_secrets.end_tokens, ["digest"])
    await outbox.read(relay_secrets.token_ends_at, "digest")
    await outbox.read(relay_secrets.read_ended_tokens)
    await outbox.read(
        replies.last_poll, poll_policy(companies=((ACCOUNT, COMPANY),), every=timedelta(minutes=10))
    )
    await outbox.write(presence.note_contacts, [ACCOUNT], answered=True)
    await outbox.read(presence.read_contacts, [ACCOUNT])
    await outbox.beat()
    await outbox.running()
    await outbox.require_not_copied()
    await outbox.read(presence.require_keeper)
    await outbox.note(private_url="http://127.0.0.1:8788")
    await shadowed(outbox, clock)
    clock.advance(timedelta(days=400))
    assert await outbox.write(retention.retire, clock.now() - timedelta(days=365), 100)


async def click_on_one(outbox: Store) -> None:
    """An edit on the dashboard that is undone."""
    held = make_message(draft=make_draft(recipient=recipient(61)), verdict=Verdict((Reason("merge_tag"),)))
    await accept_one(outbox, make_submission(held))
    click = Actor(name="Sam", batch="batch", delay=timedelta(seconds=8))
    edited = replace(held, draft=make_draft(text="Other words", recipient=recipient(61)), verdict=Verdict())
    assert Status.QUEUED == await outbox.write(decisions.rewrite, edited, guard_policy(), Verb.EDIT, click)
    await outbox.write(decisions.send_after, "batch", timedelta(seconds=1))
    assert [held.id] == await outbox.read(decisions.ids_of_batch, "batch")
    assert await outbox.write(decisions.undo, held.id, "batch")


async def shadowed(outbox: Store, clock: ManualClock) -> None:
    """Requests come in shadow and are passed on, or not; the report, and both switches."""
    await outbox.write(shadow.start, "https://hooks.example.com/old")
    for number in range(3):
        await outbox.accept(make_submission(make_message(draft=make_draft(recipient=recipient(70 + number)))))
    for passed in (Passed(State.WAITING), answered(200)):
        await outbox.write(shadow.record, 1, 1, passed)
    await outbox.write(shadow.take_next, timedelta(hours=4))
    await outbox.write_in_turn(shadow.record_unstored, {"none": answered(200)})
    await outbox.read(shadow.read_shadow)
    await outbox.read(shadow.count_requests, clock.now())
    await outbox.read(shadow.read_texts, clock.now())
    await outbox.write(rows.note_requests, ACCOUNT, 3, "opt-outs")
    await outbox.read(rows.pages_read, ACCOUNT, "opt-outs")
    await outbox.write(shadow.record, 1, 2, Passed(State.WAITING))
    for mode in (Mode.LIVE, Mode.SHADOW):
        await outbox.write(shadow.switch, mode)


@pytest.fixture
def store_url(empty_url: str) -> str:
    """A store whose files are new: plans depend on their size."""
    return empty_url


async def test_nothing_reads_through_a_table_that_grows(
    outbox: Store, clock: ManualClock, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Every plan is a search in an index, or reads the newest of a table up to a limit.

    A list or an export without any limit is not asked for here, since it is for all there is; nor is the end
    of an id that a person typed, which may be that of any text.
    """
    called: set[str] = set()
    for way in ("read", "write", "rehearse"):
        run = getattr(outbox, way)

        def noted(
            statement: Callable[..., object], *given: object, run: Run = run, **options: object
        ) -> object:
            called.add(statement.__name__)
            return run(statement, *given, **options)

        monkeypatch.setattr(outbox, way, noted)
    with watched() as asked:
        await live(outbox, clock)

    assert {"find_ids"} == STATEMENTS - called, "the story is too short to say anything"
    scans = scans_of_sqlite if store_url.startswith("sqlite") else scans_of_postgresql
    faults = [
        fault for statement, parameters in asked.items() for fault in scans(store_url, statement, parameters)
    ]
    assert not faults, "\n\n".join(faults)
    bound = re.compile(r"\b(?:status|outcome|state|direction) (?:=|!=|IN) \(?(?:\?|%\()")
    # SQLite would prepare these anew each time, since a partial index may fit or not.
    assert not [statement for statement in asked if bound.search(statement)]


async def test_a_claim_reads_the_texts_of_its_account_alone(sqlite_path: Path, clock: ManualClock) -> None:
    """
    However many accounts have texts that wait, and also where all of them are due at the same instant.

    PostgreSQL chooses by what it counted, so that this shows only with many accounts (tests/benchmarks).
    """
    store_url = f"sqlite:///{sqlite_path}"
    outbox = await Store.open(store_url, clock)
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
        assert "TEMP B-TREE" not in " ".join(plan)
    [(statement, parameters)] = due
    *steps, last = plan_of_sqlite(store_url, statement, parameters)
    assert "TEMP B-TREE" not in " ".join(steps)
    assert "USE TEMP B-TREE FOR ORDER BY" == last  # of the few that were read


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


def test_a_scan_is_noticed(empty_url: str) -> None:
    """The check can fail."""
    with connected(empty_url) as connection:
        connection.exec_driver_sql("CREATE TABLE messages (seq INTEGER PRIMARY KEY, text TEXT)")
    scans = scans_of_sqlite if empty_url.startswith("sqlite") else scans_of_postgresql

    assert scans(empty_url, "SELECT count(*) FROM messages WHERE text = 'x'", ())
    assert not scans(empty_url, "SELECT text FROM messages WHERE seq = 1", ())
