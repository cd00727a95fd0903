"""Texts of which CallRail says that they went out: ours, and those of others."""

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
import sqlalchemy as sa

from callrail_relay.domain.account import DAY, HOUR, Limits
from callrail_relay.domain.events import Event, SentByOthers
from callrail_relay.domain.inbound import CallRailText, Direction, ShownNumber
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import NotSent, RateLimited, Refusal, Rejected, Sent, Unknown
from callrail_relay.outbox import decisions, history, lookups, record
from callrail_relay.outbox.store import Store
from tests.outbox.database import connected
from tests.outbox.told import POLICY, ingest_one, make_told, masked
from tests.outbox.worker import SENT, Worker, find, found, put, sent_with, status_of, told
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, RECIPIENT, TRACKING_NUMBER, make_policy, recipient
from tests.support.policies import lookup_policy

pytestmark = pytest.mark.anyio

LOST = Unknown("the relay stopped.", own_fault=True)
"""An unknown outcome that the account does not wait for."""
WORDING = " Reply STOP to unsubscribe."
KIM = "+13035550122"
SECOND = timedelta(seconds=1)


@pytest.fixture
def worker(outbox: Store) -> Worker:
    """One that has unknown outcomes looked up, as later texts to that person wait for it then."""
    policy = make_policy(recipient_interval=timedelta())
    return Worker(outbox, policy=policy, lookups=lookup_policy(accounts=policy.accounts))


def went_out(content: str = "Hello", **what: object) -> CallRailText:
    return make_told(content, direction=Direction.OUT, **what)  # type: ignore[arg-type]  # names are checked there


async def tell(outbox: Store, content: str = "Hello", **what: object) -> list[Event] | None:
    return await ingest_one(outbox, went_out(content, **what), POLICY)


async def used(worker: Worker) -> tuple[int, int]:
    status = await worker.status()
    return status.hour.used, status.day.used


def links(store_url: str) -> list[int | None]:
    """The attempt of each text that went out, in the order in which CallRail reported them."""
    with connected(store_url) as connection:
        query = sa.text("SELECT attempt_id FROM callrail_texts ORDER BY received_at, resource_id")
        return [row[0] for row in connection.execute(query)]


async def test_an_unknown_text_is_settled_at_once(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """As a look-up would settle it, and the next text to that person is sent."""
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)
    await put(outbox, "Again")
    assert await worker.waits() is not None

    news = await tell(outbox, f"Hello{WORDING}", conversation_id="c0nv7", thread_id="SMT7")

    assert [(id_, Status.SENT)] == found(news)
    assert {"outcome_found": 1} == told(news)
    message = await find(outbox, id_)
    assert (Status.SENT, "c0nv7", ()) == (message.status, message.conversation_id, message.reasons)
    clock.advance(SECOND)
    assert "Again" == (await worker.take()).content
    assert (2, 2) == await used(worker)


async def test_a_masked_number_is_known_by_its_conversation(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """That of an earlier text."""
    await put(outbox, "First")
    await worker.send()
    clock.advance(SECOND)
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)

    news = await tell(outbox, person=masked(RECIPIENT), ours=masked(TRACKING_NUMBER))

    assert {"outcome_found": 1} == told(news)
    assert Status.SENT == await status_of(outbox, id_)


@pytest.mark.parametrize("before_the_answer", [False, True])
async def test_a_masked_number_of_a_new_conversation_is_looked_up_now(
    outbox: Store, worker: Worker, clock: ManualClock, *, before_the_answer: bool
) -> None:
    """
    Another person's may end alike, and others may have sent the same words: CallRail's conversation tells.
    """
    id_ = await put(outbox, "Hello")
    claim = await worker.take()
    if not before_the_answer:
        await worker.finish(claim, LOST)
    news = await tell(outbox, person=masked(RECIPIENT), ours=masked(TRACKING_NUMBER))
    if before_the_answer:
        await worker.finish(claim, LOST)

    assert [] == news
    assert Status.UNKNOWN == await status_of(outbox, id_)
    due = await outbox.write(lookups.claim_lookup, lookup_policy(accounts=frozenset({ACCOUNT})))
    assert due is not None
    assert claim.attempt_id == due.attempt_id
    assert (1, 1) == await used(worker)


async def test_a_masked_number_of_two_people_is_nobodys(outbox: Store, worker: Worker) -> None:
    """Whose text did arrive is left to the look-ups. Until then it costs one more."""
    for person in (RECIPIENT, KIM):
        await put(outbox, "Hello", to=person)
        await worker.send(LOST)

    news = await tell(outbox, person=masked(RECIPIENT))

    assert {"sent_by_others": 1} == told(news)
    assert (3, 3) == await used(worker)


async def test_a_text_that_is_known_to_be_sent_is_linked(
    outbox: Store, worker: Worker, store_url: str
) -> None:
    """And is in the conversation and in the budget once."""
    await put(outbox, "Hello")
    claim = await worker.send()

    news = await tell(outbox)

    assert [] == news
    assert [claim.attempt_id] == links(store_url)
    assert (1, 1) == await used(worker)
    conversation = await outbox.read(history.read_conversation, TRACKING_NUMBER, RECIPIENT, None, 10)
    assert ["Hello"] == [one.content for one in conversation.messages]


async def test_the_webhook_may_come_before_the_answer(outbox: Store, worker: Worker, store_url: str) -> None:
    """The answer comes as usual."""
    id_ = await put(outbox, "Hello")
    claim = await worker.take()

    assert [] == await tell(outbox)
    assert Status.SENDING == await status_of(outbox, id_)
    recorded = await worker.record(claim, SENT)

    assert ["attempt_finished"] == [*told(recorded)]
    assert Status.SENT == await status_of(outbox, id_)
    assert [claim.attempt_id] == links(store_url)
    assert (1, 1) == await used(worker)


async def test_an_answer_that_is_lost_after_the_webhook_is_no_question(outbox: Store, worker: Worker) -> None:
    id_ = await put(outbox, "Hello")
    claim = await worker.take()
    await tell(outbox)

    recorded = await worker.record(claim, LOST)

    assert [(id_, Status.SENT)] == found(recorded)
    assert Status.SENT == await status_of(outbox, id_)
    assert await outbox.read(lookups.next_lookup, lookup_policy(accounts=frozenset({ACCOUNT}))) is None


async def test_a_crash_after_the_webhook_is_no_question(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    id_ = await put(outbox, "Hello")
    await worker.take()
    await tell(outbox)
    clock.advance(HOUR)

    recorded = await outbox.write(record.settle_abandoned, random=Random(1))

    assert [(id_, Status.SENT)] == found(recorded)
    assert Status.SENT == await status_of(outbox, id_)


@pytest.mark.parametrize(
    "outcome",
    [
        NotSent("no route to CallRail."),
        RateLimited(429, "too many requests"),
        Rejected(400, "content is invalid", Refusal.CONTENT),
    ],
)
async def test_what_did_not_leave_was_anothers(
    outbox: Store, worker: Worker, store_url: str, outcome: NotSent | RateLimited | Rejected
) -> None:
    """A person wrote the same words in CallRail just then."""
    await put(outbox, "Hello")
    claim = await worker.take()
    await tell(outbox)

    await worker.finish(claim, outcome)

    assert [None] == links(store_url)
    assert (1 + isinstance(outcome, Rejected),) * 2 == await used(worker)


async def test_what_did_not_leave_lends_its_text_to_one_that_did(
    outbox: Store, worker: Worker, clock: ManualClock, store_url: str
) -> None:
    """Of two with the same words, the older one unknown: the webhook was that of the older one."""
    older = await put(outbox, "Hello")
    await worker.send(LOST)
    clock.advance(HOUR / 60)
    # Looking it up has ended, so that the next one is sent.
    await outbox.write(decisions.cancel, older, [Status.UNKNOWN])
    newer = await put(outbox, "Hello")
    claim = await worker.take()
    assert [] == await tell(outbox, written_at=clock.now())

    recorded = await worker.record(claim, NotSent("no route to CallRail."))

    assert [older] == [id_ for id_, _ in found(recorded)]
    assert Status.QUEUED == await status_of(outbox, newer)
    assert (1, 1) == await used(worker)
    assert [claim.attempt_id - 1] == links(store_url)


async def test_identical_texts_are_linked_one_by_one(
    outbox: Store, worker: Worker, clock: ManualClock, store_url: str
) -> None:
    """
    The one that is known to have arrived takes the first webhook, the unknown one the second.
    The third is of others.
    """
    unknown = await put(outbox, "Hello")
    lost = await worker.send(LOST)
    await outbox.write(decisions.cancel, unknown, [Status.UNKNOWN])
    clock.advance(10 * SECOND)
    await put(outbox, "Hello")
    sent = await worker.send()

    news = [await tell(outbox, written_at=clock.advance(SECOND)) for _ in range(3)]

    assert [{}, {"outcome_found": 1}, {"sent_by_others": 1}] == [told(one) for one in news]
    assert [unknown] == [id_ for id_, _ in found(news[1])]
    assert [sent.attempt_id, lost.attempt_id, None] == links(store_url)
    assert (3, 3) == await used(worker)


async def test_a_repeated_webhook_is_no_second_witness(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    ids = []
    for _ in range(2):
        ids.append(await put(outbox, "Hello"))
        await worker.send(LOST)
        await outbox.write(decisions.cancel, ids[-1], [Status.UNKNOWN])
        clock.advance(10 * SECOND)
    text = went_out()

    assert [True, False, False] == [await ingest_one(outbox, text, POLICY) is not None for _ in range(3)]
    [told] = [one for id_ in ids for one in (await find(outbox, id_)).segments if one.status is Status.SENT]
    assert "Hello" == told.content


@pytest.mark.parametrize(
    "what",
    [
        {"content": "Hello there"},
        {"person": KIM},
        {"ours": "+12025550144"},
        {"company_id": "COM-of-nobody", "person": KIM},
    ],
)
async def test_what_fits_no_text_was_sent_by_others(
    outbox: Store, worker: Worker, what: dict[str, object]
) -> None:
    """Other words, another person, another number."""
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)

    text = went_out(**{"content": "Hello"} | what)  # type: ignore[arg-type]  # names are checked there
    news = await ingest_one(outbox, text, POLICY)

    assert {"sent_by_others": 1} == told(news)
    assert Status.UNKNOWN == await status_of(outbox, id_)


async def test_a_text_of_another_time_was_sent_by_others(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """By CallRail's clock and by ours."""
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)
    clock.advance(timedelta(minutes=11))

    for written_at in (START - timedelta(minutes=11), START - 2 * DAY, clock.now()):
        assert {"sent_by_others": 1} == told(await tell(outbox, written_at=written_at))
    assert Status.UNKNOWN == await status_of(outbox, id_)


async def test_a_clock_that_differs_much_is_no_obstacle(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """A webhook comes soon after its text: by our clock it is in time, whatever CallRail's clock says."""
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)
    clock.advance(SECOND)

    await tell(outbox, written_at=clock.now() - timedelta(minutes=30))

    assert Status.SENT == await status_of(outbox, id_)


async def test_texts_of_others_use_the_budget(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """For an hour and a day from when they were written."""
    worker = replace(worker, policy=make_policy(limits=Limits(3, 5), recipient_interval=timedelta()))
    for number in range(2):
        await tell(outbox, "From CallRail's page", person=recipient(60 + number))
    for words in ("Hello", "Hello again"):
        await put(outbox, words)
    await worker.send()

    assert START + HOUR == await worker.waits()
    clock.set(START + HOUR)
    assert (0, 3) == await used(worker)
    await worker.send()
    status = await worker.status()
    assert (4, None) == (status.day.used, status.drains_at)


async def test_the_end_of_the_queue_reckons_with_others(outbox: Store, worker: Worker) -> None:
    worker = replace(worker, policy=make_policy(limits=Limits(1, 5)))
    await tell(outbox, "From CallRail's page", person=KIM)
    await put(outbox, "Hello")

    assert START + HOUR == (await worker.status()).drains_at


async def test_texts_of_others_of_another_account_cost_nothing(outbox: Store, worker: Worker) -> None:
    """Nor do those of an unknown company."""
    news = await tell(outbox, person=KIM, company_id="COM-of-nobody")

    assert news is not None
    assert [None] == [one.account_id for one in news if isinstance(one, SentByOthers)]
    assert (0, 0) == await used(worker)


async def test_what_callrail_had_counted_is_not_counted_twice(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The headers of an answer counted two texts of others; now the webhooks report them one by one."""
    theirs = clock.now()
    clock.advance(SECOND)
    await put(outbox, "Hello")
    await worker.send(sent_with(hour_used=3, day_used=3))
    assert (3, 3) == await used(worker)

    clock.advance(SECOND)
    for number in range(2):
        await tell(outbox, "Theirs", person=recipient(60 + number), written_at=theirs)
    assert (3, 3) == await used(worker)

    # One that was written after the answer is one more, and the next answer has it in its sum.
    await tell(outbox, "Theirs", person=recipient(70), written_at=clock.now())
    assert (4, 4) == await used(worker)
    await put(outbox, "Hello again")
    await worker.send(sent_with(hour_used=5, day_used=5))
    assert (5, 5) == await used(worker)


async def test_a_text_that_was_sent_again_and_arrived_twice_is_told(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)
    await outbox.write(decisions.resend, id_)
    clock.advance(SECOND)
    await worker.send()

    await tell(outbox, written_at=clock.now())
    news = await tell(outbox, written_at=clock.now())

    assert {"outcome_found": 1, "sent_twice": 1} == told(news)
    assert ["sent_twice"] == [reason.code for reason in (await find(outbox, id_)).reasons]


async def test_another_conversation_is_another_person(outbox: Store, worker: Worker) -> None:
    """Where CallRail masks the number, and the conversations of both are known."""
    await put(outbox, "Hello", to=KIM)
    await worker.send(Sent(200, "c0nv2", "SMT2"))

    news = await tell(outbox, person=masked(RECIPIENT), ours=ShownNumber(), conversation_id="CON1")

    assert {"sent_by_others": 1} == told(news)


async def test_texts_of_others_are_in_the_conversation(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    await put(outbox, "Hello")
    await worker.send()
    await tell(outbox)
    await tell(outbox, "From CallRail's page", written_at=clock.advance(SECOND))

    ours, theirs = (
        await outbox.read(history.read_conversation, TRACKING_NUMBER, RECIPIENT, None, 10)
    ).messages

    assert ours.message_id is not None
    assert ("From CallRail's page", False, None) == (theirs.content, theirs.inbound, theirs.message_id)
