"""Accepting: what was answered with success is on disk, whole, and shares its commit with others."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
import sqlalchemy as sa

from callrail_relay.clock import others_turn
from callrail_relay.domain.guards import Verdict
from callrail_relay.domain.mapper import MappedText, NewSubmission
from callrail_relay.domain.message import Message, MessageFilter, Reason, Source, Status
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import engine, queries
from callrail_relay.outbox.store import BATCH, Store
from callrail_relay.outbox.tables import submissions
from callrail_relay.outbox.transaction import Transaction
from tests.outbox.database import connected
from tests.outbox.worker import accept_one, plain
from tests.support.clock import START, ManualClock
from tests.support.factories import (
    ACCOUNT,
    COMPANY,
    RECIPIENT,
    TRACKING_NUMBER,
    make_draft,
    make_message,
    make_route,
    make_submission,
    recipient,
)

pytestmark = pytest.mark.anyio


def read_row(store_url: str, submission_id: str) -> sa.Row[tuple[object, ...]]:
    """A stored submission, read through a connection of the test's own."""
    with connected(store_url) as connection:
        return connection.execute(sa.select(submissions).where(submissions.c.id == submission_id)).one()


@pytest.fixture
def commits() -> Iterator[list[int]]:
    """One entry for each commit of any database from here on."""
    seen: list[int] = []

    def count(_connection: sa.Connection) -> None:
        seen.append(len(seen))

    sa.event.listen(sa.Engine, "commit", count)
    yield seen
    sa.event.remove(sa.Engine, "commit", count)


async def test_a_message_is_kept_whole(outbox: Store) -> None:
    """What is read back is what was handed in."""
    draft = make_draft(
        recipient=RECIPIENT,
        text='Grüße! 👩‍👩‍👧 "quoted"\n\ttabbed  ',
        route=make_route(),
        opportunity_id="7",
        sender_id="8",
        seller_id="9",
        seller="Zoë Example",
        team_id="10",
    )
    warning = Reason("duplicate", {"detail": "It came before."})
    message = make_message(draft=draft, verdict=Verdict(warnings=(warning,)))
    submission = make_submission(message, source=Source.SEND)

    (accepted,) = await accept_one(outbox, submission)

    assert Status.QUEUED == accepted.status
    assert [
        Message(
            id=message.id,
            seq=1,
            submission_id=submission.id,
            status=Status.QUEUED,
            source=Source.SEND,
            received_at=START,
            reasons=(warning,),
            recipient=RECIPIENT,
            text=draft.text,
            route=make_route(account_id=ACCOUNT, company_id=COMPANY, tracking_number=TRACKING_NUMBER),
            opportunity_id="7",
            sender_id="8",
            seller_id="9",
            seller="Zoë Example",
            team_id="10",
        )
    ] == await outbox.read(queries.find_messages, message.id)


async def test_the_raw_body_is_kept_byte_for_byte(outbox: Store, store_url: str) -> None:
    """Bytes that are no text in any encoding come back as they came."""
    body = bytes(range(256)) * 4 + b"\r\n\0"
    submission = make_submission(body=body, content_type="text/plain; charset=x", query="a=1&b=%00")

    await accept_one(outbox, submission)

    row = read_row(store_url, submission.id)
    assert (body, "text/plain; charset=x", "a=1&b=%00", START) == (
        row.body,
        row.content_type,
        row.query,
        row.received_at,
    )


async def test_what_cannot_be_mapped_is_held_with_every_fault(outbox: Store) -> None:
    """A request without recipient, text or route is stored as well."""
    faults = (
        Reason("no_text", {"detail": "There is no text."}),
        Reason("no_phone", {"detail": "There is no phone."}),
    )
    message = make_message(draft=MappedText(reasons=faults), verdict=Verdict(holds=faults))

    (accepted,) = await accept_one(outbox, make_submission(message))

    assert Status.HELD == accepted.status
    (stored,) = await outbox.read(queries.find_messages, message.id)
    assert faults == stored.reasons
    assert (None, None, None) == (stored.recipient, stored.text, stored.route)


async def test_a_submission_may_hold_several_messages(outbox: Store) -> None:
    """They are stored together and found by the id of the submission, in their order."""
    messages = [plain(f"Text {number}") for number in range(3)]
    submission = make_submission(*messages)

    accepted = await accept_one(outbox, submission)

    ids = [message.id for message in messages]
    assert ids == [one.message_id for one in accepted]
    assert ids == [message.id for message in await outbox.read(queries.find_messages, submission.id)]


async def test_many_submissions_share_commits(outbox: Store, commits: list[int]) -> None:
    """A burst costs a few commits, not one for each request."""
    burst = [make_submission(plain("Hello", to=recipient(number))) for number in range(BATCH + 100)]

    await asyncio.gather(*(accept_one(outbox, submission) for submission in burst))

    assert 2 == len(commits)
    assert len(burst) == len(await outbox.read(queries.list_messages, MessageFilter(limit=0)))


async def test_each_is_answered_after_its_commit(outbox: Store, store_url: str) -> None:
    """After the answer another program finds the submission on disk."""
    burst = [make_submission(plain("Hello", to=recipient(number))) for number in range(50)]

    async def accept_and_read(submission: NewSubmission) -> str:
        await accept_one(outbox, submission)
        return str(read_row(store_url, submission.id).id)

    assert [one.id for one in burst] == await asyncio.gather(*map(accept_and_read, burst))


async def test_a_sender_does_not_wait_for_what_else_came_during_a_commit(outbox: Store) -> None:
    """A claim that comes first, and takes long, is written after the submission."""
    writing, first, second = (threading.Event() for _ in range(3))

    def held_until(event: threading.Event) -> Callable[[Transaction], bool]:
        def work(tx: Transaction) -> bool:
            writing.set()
            return event.wait(20)

        return work

    async with asyncio.TaskGroup() as tasks:
        others = [tasks.create_task(outbox.write(held_until(first)))]
        assert await asyncio.to_thread(writing.wait, 20)
        others.append(tasks.create_task(outbox.write(held_until(second))))
        accepting = tasks.create_task(accept_one(outbox, make_submission()))
        await others_turn()
        first.set()
        await accepting
        second.set()

    assert [True, True] == [other.result() for other in others]


async def test_submissions_that_arrive_together_keep_their_order(outbox: Store) -> None:
    """Arrival is the order of the queue, also inside one commit."""
    burst = [make_submission(plain(f"Text {number}")) for number in range(20)]

    await asyncio.gather(*(accept_one(outbox, submission) for submission in burst))

    newest_first = [
        message.submission_id for message in await outbox.read(queries.list_messages, MessageFilter())
    ]
    assert [one.id for one in reversed(burst)] == newest_first


async def test_a_poisoned_submission_does_not_take_others_with_it(outbox: Store) -> None:
    """What the database refuses is refused alone; the others of its commit are stored."""
    known = make_submission()
    await accept_one(outbox, known)
    good = [make_submission(plain("Hello", to=recipient(number))) for number in range(3)]
    bad = make_submission(plain("Hello", to=recipient(3)), id_=known.id)

    answers = await asyncio.gather(
        *(accept_one(outbox, one) for one in (good[0], bad, *good[1:])), return_exceptions=True
    )

    assert [False, True, False, False] == [isinstance(answer, Exception) for answer in answers]
    assert isinstance(answers[1], sa.exc.IntegrityError)
    for submission in good:
        assert 1 == len(await outbox.read(queries.find_messages, submission.id))
    assert 1 == len(await outbox.read(queries.find_messages, known.id))


@dataclass(frozen=True)
class FailingStore:
    """A store that another program has locked: SQLite gives up soon, PostgreSQL loses its connection."""

    outbox: Store
    end_of_trouble: Callable[[], None]


@pytest.fixture
async def failing(
    outbox: Store, store_url: str, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> AsyncIterator[FailingStore]:
    if store_url.startswith("sqlite"):
        monkeypatch.setattr(engine, "BUSY_TIMEOUT", 0.05)
        impatient = await Store.open(store_url, clock, database_time=False)
        other = sqlite3.connect(store_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        yield FailingStore(impatient, other.rollback)
        other.close()
        await impatient.close()
        return
    with psycopg.connect(store_url) as lock:
        lock.execute("LOCK TABLE submissions IN ACCESS EXCLUSIVE MODE")
        breaking = asyncio.create_task(asyncio.to_thread(_break_waiting_connections, store_url))
        yield FailingStore(outbox, lock.rollback)
        lock.rollback()
        await breaking


def _break_waiting_connections(url: str) -> None:
    broken = 0
    with psycopg.connect(url, autocommit=True) as connection:
        while not broken:
            broken = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).rowcount


async def test_all_who_wait_learn_that_the_store_failed(failing: FailingStore) -> None:
    """No sender gets success, and none waits forever."""
    burst = [make_submission(plain("Hello", to=recipient(number))) for number in range(10)]

    answers = await asyncio.gather(
        *(accept_one(failing.outbox, one) for one in burst), return_exceptions=True
    )

    assert [Unavailable] * 10 == [type(answer) for answer in answers]


async def test_a_store_that_failed_takes_the_next_submission(failing: FailingStore) -> None:
    """Trouble ends with its cause, and of what was refused nothing is stored."""
    refused, taken = make_submission(), make_submission()
    with pytest.raises(Unavailable):
        await accept_one(failing.outbox, refused)
    failing.end_of_trouble()

    await accept_one(failing.outbox, taken)

    assert [] == await failing.outbox.read(queries.find_messages, refused.id)
    assert 1 == len(await failing.outbox.read(queries.find_messages, taken.id))


async def test_a_caller_who_is_cancelled_does_no_harm(outbox: Store) -> None:
    """
    The others of the commit are answered, and their texts are kept; that of the one who left before the
    commit began is not, as they were told.
    """
    burst = [make_submission(plain("Hello", to=recipient(number))) for number in range(3)]
    tasks = [asyncio.create_task(accept_one(outbox, submission)) for submission in burst]
    await asyncio.sleep(0)
    tasks[1].cancel()

    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(answers[1], asyncio.CancelledError)
    assert [1, 1] == [len(answer) for answer in answers if isinstance(answer, list)]
    kept = {message.recipient for message in await outbox.read(queries.list_messages, MessageFilter())}
    assert {recipient(0), recipient(2)} == kept


async def test_a_caller_who_is_cancelled_while_the_store_fails_does_no_harm(failing: FailingStore) -> None:
    """The others learn of it all the same."""
    burst = [make_submission(plain("Hello", to=recipient(number))) for number in range(2)]
    tasks = [asyncio.create_task(accept_one(failing.outbox, submission)) for submission in burst]
    await asyncio.sleep(0)
    tasks[0].cancel()

    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert [asyncio.CancelledError, Unavailable] == [type(answer) for answer in answers]


async def test_closing_waits_for_what_is_being_stored(store_url: str, clock: ManualClock) -> None:
    """A stop in the middle of a burst loses nothing that was taken in."""
    outbox = await Store.open(store_url, clock, database_time=False)
    burst = [make_submission(plain("Hello", to=recipient(number))) for number in range(20)]
    tasks = [asyncio.create_task(accept_one(outbox, submission)) for submission in burst]
    await asyncio.sleep(0)

    await outbox.close()

    assert 20 == len(await asyncio.gather(*tasks))
    again = await Store.open(store_url, clock, database_time=False)
    assert 20 == len(await again.read(queries.list_messages, MessageFilter()))
    await again.close()


@pytest.mark.parametrize(
    "option", ["password=sesame", "pass%77ord=sesame", "sslpassword=sesame&host=/run/db"]
)
def test_no_option_of_the_url_tells_a_password(option: str) -> None:
    """The error says where the server is."""
    opened = engine.open_engine(f"postgresql://relay@127.0.0.1/relay?{option}")
    try:
        name = engine.describe(opened)
    finally:
        opened.dispose()

    assert "sesame" not in name
    assert ("host=" in option) == ("host=" in name)


async def test_the_store_tells_its_name_without_a_password(outbox: Store, store_url: str) -> None:
    """The file, as this system writes it, or the address."""
    assert outbox.name.replace(os.sep, "/") in store_url
