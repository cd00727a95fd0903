"""Reading: lists, single messages, counts, and the state of the accounts."""

from datetime import timedelta

import pytest

from callrail_relay.domain.account import HOUR, Limits
from callrail_relay.domain.message import Message, MessageFilter, Status
from callrail_relay.domain.outcome import RateLimited, Unknown
from callrail_relay.outbox import budget, decisions, queries
from callrail_relay.outbox.store import Store
from tests.outbox.worker import REFUSED, Worker, accept_one, plain, put, put_message, sent_with, words
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, make_draft, make_message, make_submission, recipient

pytestmark = pytest.mark.anyio


def texts(found: list[Message]) -> list[str | None]:
    return [message.text for message in found]


async def put_five(outbox: Store) -> None:
    for number in range(5):
        await put(outbox, f"Text {number}", to=recipient(number))


async def test_the_newest_come_first(outbox: Store) -> None:
    """And no more than asked for."""
    await put_five(outbox)

    assert ["Text 4", "Text 3"] == texts(await outbox.read(queries.list_messages, MessageFilter(limit=2)))


async def test_fifty_are_listed_unless_told_otherwise(outbox: Store) -> None:
    """Zero means all of them."""
    await accept_one(
        outbox, make_submission(*(plain(f"Text {number}", to=recipient(number)) for number in range(60)))
    )

    assert 50 == len(await outbox.read(queries.list_messages, MessageFilter()))
    assert 60 == len(await outbox.read(queries.list_messages, MessageFilter(limit=0)))


async def test_a_list_of_more_than_one_portion_has_all_segments(outbox: Store, worker: Worker) -> None:
    """The segments of more than 500 messages are read in several statements."""
    await accept_one(
        outbox, make_submission(*(plain(f"Text {number}", to=recipient(number)) for number in range(502)))
    )
    worker = worker.under(limits=Limits(1000, 1000))
    claims = [await worker.send() for _ in range(2)]
    found = await outbox.read(queries.list_messages, MessageFilter(limit=0))

    assert 502 == len(found)
    assert [claim.content for claim in claims] == [
        segment.content for message in reversed(found) for segment in message.segments
    ]


async def test_a_list_by_status(outbox: Store, worker: Worker) -> None:
    """One or several."""
    await put_five(outbox)
    await worker.send()
    await worker.send(REFUSED)

    async def listed(*statuses: Status) -> list[str | None]:
        return texts(await outbox.read(queries.list_messages, MessageFilter(statuses=statuses)))

    assert ["Text 0"] == await listed(Status.SENT)
    assert ["Text 1", "Text 0"] == await listed(Status.SENT, Status.FAILED)
    assert [] == await listed(Status.CANCELLED)


async def test_a_list_by_recipient(outbox: Store) -> None:
    """All texts to one person."""
    await put_five(outbox)

    assert ["Text 3"] == texts(
        await outbox.read(queries.list_messages, MessageFilter(recipient=recipient(3)))
    )


async def test_a_list_since_an_instant(outbox: Store, clock: ManualClock) -> None:
    """That instant included."""
    for number in range(3):
        await put(outbox, f"Text {number}")
        clock.advance(60)
    since = MessageFilter(since=START + timedelta(minutes=1))

    assert ["Text 2", "Text 1"] == texts(await outbox.read(queries.list_messages, since))


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("percent", ["100 % percent", "100 percent"]),
        ("PERCENT", ["100 % percent", "100 percent"]),
        ("%", ["100 % percent"]),
        ("_", ["snake_case"]),
        ("e_c", ["snake_case"]),
        ("\\", ["back\\slash"]),
        ("Jo", ["back\\slash"]),
        ("nothing", []),
    ],
)
async def test_a_search_takes_every_character_as_itself(outbox: Store, search: str, found: list[str]) -> None:
    """In the text or the seller's name, in capitals or not; % and _ mean themselves."""
    sellers = {"back\\slash": "Jo Example"}
    for text in ("100 percent", "100 % percent", "snake_case", "back\\slash"):
        draft = make_draft(text=text, seller=sellers.get(text, "Ada"))
        await put_message(outbox, make_message(draft=draft))

    assert found == texts(await outbox.read(queries.list_messages, MessageFilter(words=(search,))))


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 50])
async def test_a_search_goes_on_until_it_has_found_enough(
    outbox: Store, worker: Worker, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """In portions of texts, of which some hold nothing; of several statuses, newest first."""
    monkeypatch.setattr(queries, "LOOKED_THROUGH", 2)
    for number in range(9):
        await put(outbox, f"{'House' if number in (0, 1, 6, 7) else 'Flat'} {number}", to=recipient(number))
    await worker.send()
    every = ["House 7", "House 6", "House 1", "House 0"]
    for statuses in ((), (Status.SENT, Status.QUEUED)):
        wanted = MessageFilter(words=("house",), statuses=statuses, limit=limit)
        assert every[: limit or None] == texts(await outbox.read(queries.list_messages, wanted))


async def test_filters_add_up(outbox: Store, worker: Worker) -> None:
    """Only what passes all of them is listed."""
    await put_five(outbox)
    await worker.send()
    wanted = MessageFilter(
        statuses=(Status.SENT, Status.QUEUED), recipient=recipient(0), since=START, words=("text",), limit=3
    )

    assert ["Text 0"] == texts(await outbox.read(queries.list_messages, wanted))


async def test_nothing_is_found_by_an_unknown_id(outbox: Store) -> None:
    """No fault, and no message."""
    await put_five(outbox)

    assert [] == await outbox.read(queries.find_messages, "no such id")


async def test_every_status_is_counted(outbox: Store, worker: Worker) -> None:
    """A status that none has counts zero."""
    assert dict.fromkeys(Status, 0) == await outbox.read(queries.count_by_status)
    await put_five(outbox)
    await worker.send()
    await worker.send(REFUSED)
    await worker.send(Unknown("the relay stopped.", own_fault=True))
    await worker.take()

    assert {
        Status.HELD: 0,
        Status.QUEUED: 1,
        Status.SENDING: 1,
        Status.UNKNOWN: 1,
        Status.SENT: 1,
        Status.FAILED: 1,
        Status.CANCELLED: 0,
        Status.SHADOW: 0,
    } == await outbox.read(queries.count_by_status)


async def test_an_account_without_texts_stands_well(worker: Worker) -> None:
    """Nothing used, nothing pending, nothing to drain."""
    status = await worker.status()

    assert (ACCOUNT, 0, 150, None) == (
        status.account.id,
        status.hour.used,
        status.hour.allowed,
        status.hour.free_at,
    )
    assert (0, 1000, None) == (status.day.used, status.day.allowed, status.day.free_at)
    assert (0, None) == (status.pending, status.drains_at)


async def test_accounts_that_texts_wait_for_are_told_as_well(outbox: Store, worker: Worker) -> None:
    """Those of the settings come first; no text of the others is sent, so their queue has no end."""
    await put(outbox, "foreign", account_id="ACC-OLD")

    statuses = await outbox.read(budget.read_account_statuses, [ACCOUNT], worker.policy.limits)

    assert [(ACCOUNT, 0), ("ACC-OLD", 1)] == [(one.account.id, one.pending) for one in statuses]
    assert [(False, None), (True, None)] == [(one.foreign, one.drains_at) for one in statuses]


async def test_pending_counts_the_segments_still_to_leave(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Also those of texts that have not been cut yet; a segment in flight has not left."""
    await put(outbox, words(400))
    await put(outbox, "after")

    async def pending() -> int:
        return (await worker.status()).pending

    assert 4 == await pending()
    claim = await worker.take()
    assert 4 == await pending()
    await worker.finish(claim)
    assert 3 == await pending()
    clock.advance(1)
    await worker.send(REFUSED)
    assert 1 == await pending()


async def test_a_queue_that_fits_drains_now(outbox: Store, worker: Worker) -> None:
    """Whatever is pending may be sent at once."""
    await put_five(outbox)

    assert START == (await worker.status()).drains_at


async def test_a_queue_that_does_not_fit_drains_later(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """When the last of it finds a place, and the window says when the next one does."""
    worker = worker.under(limits=Limits(2, 100))
    await put_five(outbox)
    await worker.send()
    clock.advance(60)
    await worker.send()

    status = await worker.status()
    assert (2, START + HOUR) == (status.hour.used, status.hour.free_at)
    assert START + 2 * HOUR == status.drains_at


async def test_what_is_in_flight_is_not_counted_twice(outbox: Store, worker: Worker) -> None:
    """The last text that the hour allows is on its way: the queue is empty when it is answered."""
    worker = worker.under(limits=Limits(1, 100))
    await put(outbox, "Hello")
    await worker.take()

    assert START == (await worker.status()).drains_at


async def test_a_paused_queue_does_not_drain(outbox: Store, worker: Worker) -> None:
    """When a person resumes it is unknown."""
    await put_five(outbox)
    await outbox.write(decisions.pause, ACCOUNT, "Holidays.")

    assert (await worker.status()).drains_at is None


async def test_a_queue_that_waits_drains_after_the_wait(outbox: Store, worker: Worker) -> None:
    """Not before CallRail's own instant."""
    await put_five(outbox)
    await worker.send(RateLimited(429, "Rate limit exceeded.", retry_after=120))

    assert START + timedelta(seconds=120) == (await worker.status()).drains_at


async def test_a_queue_drains_by_callrails_lower_limit(outbox: Store, worker: Worker) -> None:
    """The smaller of the two limits."""
    await put_five(outbox)
    await worker.send(sent_with(hour_allowed=2))

    assert START + 2 * HOUR == (await worker.status()).drains_at
