"""The order of a claim: one text after the other to one person, and no one waits for another person."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from callrail_relay.domain.delivery import Claim
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import NotSent, Outcome, Unknown
from callrail_relay.outbox import decisions
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import accounts, messages
from callrail_relay.outbox.transaction import Transaction
from tests.outbox.worker import REFUSED, TOO_MANY, Worker, find, put, put_message, status_of, words
from tests.support.clock import START, ManualClock
from tests.support.factories import (
    RECIPIENT,
    TRACKING_NUMBER,
    make_draft,
    make_message,
    make_route,
    recipient,
)

pytestmark = pytest.mark.anyio

INTERVAL = timedelta(seconds=1)
SOMEBODY_ELSE = recipient(77)


async def test_a_claim_names_all_that_a_request_needs(outbox: Store, worker: Worker) -> None:
    """Route, person, words and position, and the attempt to be settled later."""
    id_ = await put(outbox, "Hello")

    claim = await worker.take()

    assert (
        Claim(
            attempt_id=claim.attempt_id,
            message_id=id_,
            position=1,
            route=make_route(tracking_number=TRACKING_NUMBER),
            recipient=RECIPIENT,
            content="Hello",
        )
        == claim
    )


async def test_the_attempt_is_on_disk_before_anything_leaves(outbox: Store, worker: Worker) -> None:
    """A claim without a recorded outcome reads as under way, never as untried."""
    id_ = await put(outbox, "Hello")

    await worker.take()

    message = await find(outbox, id_)
    (segment,) = message.segments
    (attempt,) = segment.attempts
    assert (Status.SENDING, Status.SENDING) == (message.status, segment.status)
    assert (START, None, None) == (attempt.started_at, attempt.finished_at, attempt.outcome)


async def test_an_empty_store_has_nothing_to_claim(worker: Worker) -> None:
    """And nothing to wait for."""
    assert await worker.waits() is None


async def test_texts_to_one_person_leave_in_the_order_in_which_they_came(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """First come, first sent."""
    for text in ("one", "two", "three"):
        await put(outbox, text)
    sent = []
    for _ in range(3):
        sent.append((await worker.send()).content)
        clock.advance(INTERVAL)

    assert ["one", "two", "three"] == sent


async def test_one_text_to_one_person_is_under_way_at_a_time(outbox: Store, worker: Worker) -> None:
    """The second waits for the outcome of the first."""
    await put(outbox, "one")
    await put(outbox, "two")

    assert ["one"] == [claim.content for claim in await worker.take_all()]


async def test_other_people_do_not_wait(outbox: Store, worker: Worker) -> None:
    """The first text to each person goes, in the order of arrival."""
    for text, to in (("A1", 1), ("A2", 1), ("B1", 2), ("C1", 3), ("B2", 2)):
        await put(outbox, text, to=recipient(to))

    assert ["A1", "B1", "C1"] == [claim.content for claim in await worker.take_all()]


async def test_the_same_person_by_another_tracking_number_does_not_wait(
    outbox: Store, worker: Worker
) -> None:
    """The ordering key is tracking number and recipient together."""
    for number in ("+12025550133", "+12025550144"):
        draft = make_draft(route=make_route(tracking_number=number))
        await put_message(outbox, make_message(draft=draft))

    assert 2 == len(await worker.take_all())


@pytest.mark.parametrize(
    "outcome", [REFUSED, Unknown("no answer.")], ids=lambda outcome: str(outcome.kind.value)
)
async def test_what_is_settled_lets_the_next_one_go(
    outbox: Store, worker: Worker, clock: ManualClock, outcome: Outcome
) -> None:
    """A text that failed, or whose outcome is not known, blocks no other text."""
    await put(outbox, "one")
    await put(outbox, "two")
    await worker.send(outcome)
    clock.advance(INTERVAL)

    assert "two" == (await worker.take()).content


async def test_what_is_held_lets_the_next_one_go(outbox: Store, worker: Worker) -> None:
    """A text that waits for a person blocks no other text, and once approved takes its turn again."""
    await put(outbox, "one")
    held = await put(outbox, "one")
    await put(outbox, "two")
    assert Status.HELD == await status_of(outbox, held)
    await worker.send()
    await outbox.write(decisions.approve, held)
    worker = worker.under(recipient_interval=timedelta())

    assert [held, "two"] == [(await worker.send()).message_id, (await worker.send()).content]


async def test_what_was_cancelled_lets_the_next_one_go(outbox: Store, worker: Worker) -> None:
    """A text that a person took back blocks no other text and is not sent."""
    first = await put(outbox, "one")
    await put(outbox, "two")
    await outbox.write(decisions.cancel, first, [Status.QUEUED])

    assert ["two"] == [claim.content for claim in await worker.take_all()]


async def test_two_texts_to_one_person_have_a_pause_between_them(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The pause begins when the first one's outcome is known; other people do not wait for it."""
    await put(outbox, "one")
    await put(outbox, "two")
    claim = await worker.take()
    clock.advance(10)
    await worker.finish(claim)

    clock.advance(0.5)
    assert START + timedelta(seconds=10) + INTERVAL == await worker.waits()
    await put(outbox, "hello", to=SOMEBODY_ELSE)
    assert "hello" == (await worker.take()).content
    clock.advance(0.5)
    assert "two" == (await worker.take()).content


async def test_a_text_that_cost_nothing_makes_nobody_pause(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """After a refusal for the moment the same text goes as soon as the account may send."""
    worker = worker.under(recipient_interval=timedelta(hours=1))
    await put(outbox, "one")
    await worker.send(TOO_MANY)
    clock.advance(60)

    assert "one" == (await worker.take()).content


@pytest.mark.parametrize(
    "outcome", [NotSent("no route."), TOO_MANY], ids=lambda outcome: str(outcome.kind.value)
)
async def test_a_text_that_did_not_leave_keeps_its_place(
    outbox: Store, worker: Worker, clock: ManualClock, outcome: Outcome
) -> None:
    """It goes before the later ones, to the same person and to others."""
    for text, to in (("A1", 1), ("A2", 1), ("B1", 2)):
        await put(outbox, text, to=recipient(to))
    await worker.send(outcome)
    clock.advance(timedelta(minutes=15))

    assert "A1" == (await worker.send()).content
    assert "B1" == (await worker.send()).content
    clock.advance(INTERVAL)
    assert "A2" == (await worker.send()).content


async def test_the_parts_of_a_text_stay_together(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """All segments are sent in order, with the pause between them, before the next text to that person."""
    long = words(400)
    await put(outbox, long)
    await put(outbox, "after")
    claims = []
    for _ in range(3):
        claims.append(await worker.take())
        assert await worker.waits() is None
        await worker.finish(claims[-1])
        assert clock.now() + INTERVAL == await worker.waits()
        clock.advance(INTERVAL)
    claims.append(await worker.take())

    assert [1, 2, 3, 1] == [claim.position for claim in claims]
    assert [long, "after"] == [" ".join(claim.content for claim in claims[:3]), claims[3].content]


async def test_a_text_that_began_goes_before_those_that_did_not(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Its next segment comes before an earlier text to another person that has only now become free."""
    await put(outbox, "A1", to=recipient(1))
    await put(outbox, words(200), to=recipient(2))
    first = await worker.take()
    await worker.send()
    clock.advance(INTERVAL)
    await worker.finish(first, NotSent("no route."))
    clock.advance(INTERVAL)

    assert 2 == (await worker.take()).position


async def test_a_text_is_cut_by_the_length_of_the_day_on_which_it_goes(outbox: Store, worker: Worker) -> None:
    """What changed in the settings since it came in counts."""
    id_ = await put(outbox, words(400))

    claim = await worker.under(max_characters=1000).take()

    assert words(400) == claim.content
    assert 1 == len((await find(outbox, id_)).segments)


async def test_accounts_outside_the_settings_stay_as_they_are(outbox: Store, worker: Worker) -> None:
    """Their texts are neither sent nor held, and the others flow."""
    foreign = await put(outbox, "foreign", account_id="ACC-OLD", to=recipient(1))
    await put(outbox, "ours", to=recipient(2))

    assert ["ours"] == [claim.content for claim in await worker.take_all()]
    assert Status.QUEUED == await status_of(outbox, foreign)
    assert ["foreign"] == [c.content for c in await worker.under(accounts=["ACC-OLD"]).take_all()]


async def test_no_accounts_at_all_is_nothing_to_claim(outbox: Store, worker: Worker) -> None:
    """A relay without settings sends nothing."""
    await put(outbox, "Hello")

    assert await worker.under(accounts=[]).waits() is None


async def test_a_segment_that_was_sent_is_not_taken_again(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Whatever else the store says of its message: no claim is made of it."""
    await put(outbox, "Hello")
    await worker.send()
    clock.advance(INTERVAL)

    def queue_again(tx: Transaction) -> None:
        tx.execute(sa.update(messages).values(status=Status.QUEUED, not_before=tx.now))
        tx.execute(sa.update(accounts).values(due_at=tx.now))

    await outbox.write(queue_again)
    with pytest.raises(sa.exc.NoResultFound):
        await worker.take()
