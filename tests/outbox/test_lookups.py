"""Unknown outcomes: later texts wait for the look-ups, and what CallRail shows settles them."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from callrail_relay.domain.events import AttemptFinished
from callrail_relay.domain.message import Message, Status
from callrail_relay.domain.outcome import NotSent, Outcome, OutcomeKind, Unknown
from callrail_relay.domain.reconcile import DueLookup, FoundText, Lookup, LookupPolicy, OnUnknown
from callrail_relay.outbox import decisions, lookups, opt_outs
from callrail_relay.outbox.lookups import NO_REQUESTS_RETRY
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain_all
from tests.outbox.worker import REFUSED, SENT, TOO_MANY, Worker, find, found, put, status_of, told, words
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, RECIPIENT, TRACKING_NUMBER, make_route, recipient
from tests.support.policies import LADDER, lookup_policy

pytestmark = pytest.mark.anyio

POLICY = lookup_policy(accounts=frozenset({ACCOUNT}))
FAILED = Lookup(requests=3, fault="CallRail answered 500.")
RESEND_ONCE = replace(POLICY, on_unknown=OnUnknown.RESEND_ONCE)
LOST = Unknown("the relay stopped.", own_fault=True)
NOTHING = Lookup(texts=(), requests=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def worker(outbox: Store) -> Worker:
    return Worker(outbox, lookups=POLICY)


def showing(*contents: str) -> Lookup:
    """What a look-up brings when CallRail shows these texts, written down when ours left."""
    return Lookup(texts=tuple(FoundText(content=one, created_at=START) for one in contents), requests=2)


async def take_lookup(outbox: Store, policy: LookupPolicy = POLICY) -> DueLookup:
    due = await outbox.write(lookups.claim_lookup, policy)
    assert due is not None
    return due


async def climb(outbox: Store, clock: ManualClock, policy: LookupPolicy = POLICY) -> list[timedelta]:
    """Look up, and find nothing, as often as the store asks for it; how long after the start that was."""
    looks = []
    while (next_lookup_at := await outbox.read(lookups.next_lookup, policy)) is not None:
        clock.set(next_lookup_at)
        looks.append(next_lookup_at - START)
        await outbox.write(lookups.record_lookup, await take_lookup(outbox, policy), NOTHING, policy)
    return looks


async def next_look(outbox: Store) -> datetime:
    due_at = await outbox.read(lookups.next_lookup, POLICY)
    assert due_at is not None
    return due_at


def evidence_of(message: Message) -> list[str]:
    (segment,) = message.segments
    return [one.detail for attempt in segment.attempts for one in attempt.evidence]


async def test_an_unknown_outcome_is_looked_up_by_the_ladder(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """At 15 seconds, 1, 5 and 15 minutes; then a person decides."""
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)

    assert list(LADDER) == await climb(outbox, clock)
    message = await find(outbox, id_)
    assert Status.UNKNOWN == message.status
    assert "conversation doesn't show it." in (explain_all(message.reasons) or "")
    assert 4 == len(evidence_of(message))


async def test_a_look_up_names_all_that_is_needed(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Whom the text went to, from where, when, and the conversation if one is known."""
    await put(outbox, "before")
    await worker.send()
    clock.advance(1)
    id_ = await put(outbox, "Hello")
    claim = await worker.send(LOST)
    clock.advance(15)

    assert DueLookup(
        attempt_id=claim.attempt_id,
        message_id=id_,
        route=make_route(),
        recipient=RECIPIENT,
        started_at=START + timedelta(seconds=1),
        conversation_id="CON1",
        lease_until=clock.now() + POLICY.lease,
    ) == await take_lookup(outbox)


async def test_nothing_is_looked_up_before_its_time(outbox: Store, worker: Worker) -> None:
    """And nothing of an account outside the settings."""
    await put(outbox, "Hello")
    await worker.send(LOST)
    others = lookup_policy(accounts=frozenset({"ACC-OTHER"}))

    assert await outbox.write(lookups.claim_lookup, POLICY) is None
    assert START + timedelta(seconds=15) == await outbox.read(lookups.next_lookup, POLICY)
    assert await outbox.read(lookups.next_lookup, others) is None


async def test_without_look_ups_nothing_waits(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Without look-ups, a person must decide an unknown outcome at once."""
    worker = replace(worker, lookups=None)
    await put(outbox, "one")
    await put(outbox, "two")
    await worker.send(LOST)
    clock.advance(1)

    assert await outbox.read(lookups.next_lookup, POLICY) is None
    assert "two" == (await worker.take()).content


async def test_a_look_up_is_taken_by_one(
    outbox: Store, second_outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """And again when its lease is over, should its node have died."""
    await put(outbox, "Hello")
    await worker.send(LOST)
    clock.advance(15)

    taken = await asyncio.gather(
        *(one.write(lookups.claim_lookup, POLICY) for one in (outbox, second_outbox) * 3)
    )

    assert 1 == sum(due is not None for due in taken)
    assert clock.now() + POLICY.lease == await outbox.read(lookups.next_lookup, POLICY)
    clock.advance(POLICY.lease)
    await take_lookup(outbox)


async def test_a_look_up_whose_end_was_not_stored_is_taken_again_by_its_node(
    outbox: Store, second_outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """At once, before others and by no other process; not if its end was stored after all."""
    for number in range(2):
        await put(outbox, "Hello", to=recipient(number))
        await worker.send(LOST)
    clock.advance(15)
    first, second = await take_lookup(outbox), await take_lookup(outbox)
    clock.advance(1)

    assert await second_outbox.write(lookups.claim_lookup, POLICY) is None
    again = await outbox.write(lookups.claim_lookup, POLICY, second)
    assert again is not None
    assert (second.attempt_id, clock.now() + POLICY.lease) == (again.attempt_id, again.lease_until)
    assert await outbox.write(lookups.claim_lookup, POLICY, second) is None, "it has another lease now"

    await outbox.write(lookups.record_lookup, first, NOTHING, POLICY)
    assert await outbox.write(lookups.claim_lookup, POLICY, first) is None
    clock.set(first.lease_until)
    due = await outbox.write(lookups.claim_lookup, POLICY, first)
    assert due is not None
    assert first.attempt_id == due.attempt_id


async def test_the_one_that_was_begun_comes_first(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Also where another, which is due longer, has become free meanwhile."""
    for number in range(2):
        await put(outbox, "Hello", to=recipient(number))
        await worker.send(LOST)
        clock.advance(1)
    clock.advance(15)
    await take_lookup(outbox)
    clock.advance(1)
    begun = await take_lookup(outbox)
    clock.advance(POLICY.lease - timedelta(seconds=1))

    again = await outbox.write(lookups.claim_lookup, POLICY, begun)

    assert again is not None
    assert begun.attempt_id == again.attempt_id


async def test_look_ups_have_a_budget(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """
    CallRail counts general requests as well; after an hour there is room again. Until then it is asked once
    in a while, and not all the time.
    """
    frugal = replace(POLICY, requests_per_hour=2)
    for number in range(2):
        await put(outbox, "Hello", to=recipient(number))
        await worker.send(LOST)
    clock.advance(15)
    await outbox.write(lookups.record_lookup, await take_lookup(outbox), replace(NOTHING, requests=2), frugal)

    assert await outbox.write(lookups.claim_lookup, frugal) is None
    assert clock.now() + NO_REQUESTS_RETRY == await outbox.read(lookups.next_lookup, frugal)
    clock.advance(HOUR)
    await take_lookup(outbox, frugal)


async def test_a_text_that_callrail_shows_is_sent(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """The attempt tells how that is known."""
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)
    clock.advance(15)

    news = await outbox.write(lookups.record_lookup, await take_lookup(outbox), showing("Hello"), POLICY)

    message = await find(outbox, id_)
    assert [(id_, Status.SENT)] == found(news)
    assert {"outcome_found": 1} == told(news)
    assert (Status.SENT, None, clock.now()) == (message.status, explain_all(message.reasons), message.sent_at)
    assert [OutcomeKind.SENT] == [attempt.outcome for attempt in message.segments[0].attempts]
    assert "Found in CallRail's conversation" in evidence_of(message)[-1]
    assert await outbox.read(lookups.next_lookup, POLICY) is None


async def test_a_text_that_another_attempt_accounts_for_proves_nothing(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The same words were sent before; CallRail shows them once."""
    await put(outbox, "Hello")
    await worker.send()
    second = await put(outbox, "Hello")
    await outbox.write(decisions.approve, second)
    clock.advance(1)
    await worker.send(LOST)
    clock.advance(15)

    assert [] == await outbox.write(
        lookups.record_lookup, await take_lookup(outbox), showing("Hello"), POLICY
    )
    assert Status.UNKNOWN == await status_of(outbox, second)


async def test_later_texts_wait_while_it_is_looked_up(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Those to other people do not; the wake-up is the end of the ladder."""
    await put(outbox, "one")
    await put(outbox, "two")
    await worker.send(LOST)
    clock.advance(1)

    assert POLICY.blocks_until(START) == await worker.waits()
    await put(outbox, "other", to=recipient(50))
    assert "other" == (await worker.take()).content
    clock.set(POLICY.blocks_until(START))
    assert "two" == (await worker.take()).content


async def test_later_texts_follow_when_it_was_found(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """In their order."""
    await put(outbox, "one")
    await put(outbox, "two")
    await worker.send(LOST)
    clock.advance(15)
    await outbox.write(lookups.record_lookup, await take_lookup(outbox), showing("one"), POLICY)
    clock.advance(1)

    assert "two" == (await worker.take()).content


async def test_later_texts_follow_after_the_last_look_up(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """What a person decides may take days."""
    await put(outbox, "one")
    await put(outbox, "two")
    await worker.send(LOST)
    await climb(outbox, clock)

    assert "two" == (await worker.take()).content


async def test_later_texts_follow_when_a_person_gives_it_up(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """A cancelled text stops no other text."""
    id_ = await put(outbox, "one")
    await put(outbox, "two")
    await worker.send(LOST)
    clock.advance(1)
    assert await outbox.write(decisions.cancel, id_, [Status.UNKNOWN])

    assert "two" == (await worker.take()).content


async def test_a_cancelled_text_that_is_found_stays_cancelled(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The attempt tells that it arrived all the same."""
    id_ = await put(outbox, "one")
    await worker.send(LOST)
    await outbox.write(decisions.cancel, id_, [Status.UNKNOWN])
    clock.advance(15)
    news = await outbox.write(lookups.record_lookup, await take_lookup(outbox), showing("one"), POLICY)

    assert [(id_, Status.CANCELLED)] == found(news)
    assert Status.CANCELLED == await status_of(outbox, id_)


async def test_the_rest_of_a_text_follows_a_segment_that_was_found(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """And nothing says any more that it does not."""
    id_ = await put(outbox, words(400))
    claim = await worker.send(LOST)
    assert "incomplete" in [reason.code for reason in (await find(outbox, id_)).reasons]
    clock.advance(15)
    news = await outbox.write(
        lookups.record_lookup, await take_lookup(outbox), showing(claim.content), POLICY
    )
    assert [(id_, Status.SENDING)] == found(news)
    for position in (2, 3):
        clock.advance(1)
        assert position == (await worker.send()).position

    message = await find(outbox, id_)
    assert (Status.SENT, None) == (message.status, explain_all(message.reasons))


async def test_a_look_up_that_fails_is_tried_again(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """
    After a minute, later after a quarter of an hour, and for a day at most; no rung of the ladder is lost.
    """
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)
    clock.advance(15)
    await outbox.write(lookups.record_lookup, await take_lookup(outbox), FAILED, POLICY)
    assert clock.now() + timedelta(minutes=1) == await outbox.read(lookups.next_lookup, POLICY)
    clock.advance(HOUR)
    await outbox.write(lookups.record_lookup, await take_lookup(outbox), FAILED, POLICY)
    assert clock.now() + timedelta(minutes=15) == await outbox.read(lookups.next_lookup, POLICY)
    assert ["CallRail answered 500."] * 2 == evidence_of(await find(outbox, id_))
    clock.advance(timedelta(days=1))
    await outbox.write(lookups.record_lookup, await take_lookup(outbox), FAILED, POLICY)

    assert await outbox.read(lookups.next_lookup, POLICY) is None
    assert Status.UNKNOWN == await status_of(outbox, id_)


async def test_a_late_answer_ends_the_look_ups(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Also if one is under way, however that one ends."""
    id_ = await put(outbox, "Hello")
    claim = await worker.send(LOST)
    clock.advance(15)
    due = await take_lookup(outbox)
    assert "attempt_finished" not in told(await worker.record(claim, SENT))

    await outbox.write(lookups.record_lookup, due, NOTHING, POLICY)
    assert await outbox.read(lookups.next_lookup, POLICY) is None
    await outbox.write(lookups.record_lookup, due, FAILED, POLICY)
    assert await outbox.read(lookups.next_lookup, POLICY) is None
    message = await find(outbox, id_)
    assert (Status.SENT, "CON1") == (message.status, message.conversation_id)


async def test_an_abandoned_attempt_is_looked_up(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """The ladder begins when it was settled."""
    await put(outbox, "Hello")
    await worker.take()
    clock.advance(75)
    await worker.settle_abandoned()

    assert clock.now() + timedelta(seconds=15) == await outbox.read(lookups.next_lookup, POLICY)


async def test_a_text_is_sent_once_more_where_the_owner_chose_so(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Once: the second time a person decides."""
    worker = replace(worker, lookups=RESEND_ONCE)
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)
    await climb(outbox, clock, RESEND_ONCE)
    assert Status.QUEUED == await status_of(outbox, id_)
    await worker.send(LOST)
    await climb(outbox, clock, RESEND_ONCE)

    assert Status.UNKNOWN == await status_of(outbox, id_)
    assert await worker.waits() is None


async def test_where_callrail_shows_more_than_ours_a_person_decides(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Another sender wrote the same words to this person: which of them is ours is not certain."""
    policy = replace(RESEND_ONCE, ladder=(timedelta(seconds=15),))
    id_ = await put(outbox, "Hello")
    await replace(worker, lookups=policy).send(LOST)
    clock.advance(15)
    due = await take_lookup(outbox, policy)

    assert [] == await outbox.write(lookups.record_lookup, due, showing("Hello", "Hello"), policy)

    message = await find(outbox, id_)
    assert Status.UNKNOWN == message.status
    assert "shows 2 like it" in (explain_all(message.reasons) or "")


async def test_a_text_that_was_cancelled_meanwhile_is_not_sent_once_more(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """A person's word comes first, and their message keeps it."""
    for policy in (POLICY, RESEND_ONCE):
        begun = clock.now()
        id_ = await put(outbox, f"Hello {policy.on_unknown}")
        await replace(worker, lookups=policy).send(LOST)
        await outbox.write(decisions.cancel, id_, [Status.UNKNOWN])
        await climb(outbox, clock, policy)

        assert Status.CANCELLED == await status_of(outbox, id_)
        assert clock.now() > begun


async def test_a_person_sends_it_again(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """At once, without regard to its age, and the first sending is looked up once more."""
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)
    clock.advance(timedelta(days=1))
    await climb(outbox, clock)

    assert await outbox.write(decisions.resend, id_)

    assert clock.now() + timedelta(minutes=2) == await outbox.read(lookups.next_lookup, POLICY)
    assert (id_, []) == ((await worker.send()).message_id, list((await find(outbox, id_)).reasons))
    assert Status.SENT == await status_of(outbox, id_)


async def test_a_text_that_arrived_twice_is_flagged(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The first sending arrived after all."""
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)
    await outbox.write(decisions.resend, id_)
    clock.advance(1)
    await worker.send()
    clock.advance(timedelta(minutes=2))
    news = await outbox.write(
        lookups.record_lookup, await take_lookup(outbox), showing("Hello", "Hello"), POLICY
    )

    assert [(id_, Status.SENT)] == found(news)
    assert "sent_twice" in told(news)
    assert ["sent_twice"] == [reason.code for reason in (await find(outbox, id_)).reasons]


async def test_a_resend_that_is_under_way_when_the_first_is_found_is_flagged_at_its_end(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """No one could stop it any more."""
    id_ = await put(outbox, "Hello")
    first = await worker.send(LOST)
    await outbox.write(decisions.resend, id_)
    clock.advance(1)
    second = await worker.take()
    await worker.record(first, SENT)
    assert Status.SENDING == await status_of(outbox, id_)

    recorded = await worker.record(second, SENT)

    assert ["attempt_finished", "sent_twice"] == [*told(recorded)]
    assert ["sent_twice"] == [reason.code for reason in (await find(outbox, id_)).reasons]


async def test_a_resend_that_has_not_left_is_withdrawn_when_the_first_is_found(
    outbox: Store, worker: Worker
) -> None:
    """Once is enough."""
    id_ = await put(outbox, "Hello")
    first = await worker.send(LOST)
    await outbox.write(decisions.resend, id_)
    await worker.record(first, SENT)

    assert Status.SENT == await status_of(outbox, id_)
    assert await worker.under(recipient_interval=timedelta()).waits() is None


async def test_what_failed_or_was_cancelled_can_be_sent_again(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """All of it: what was sent is not sent twice."""
    id_ = await put(outbox, words(400))
    await worker.send()
    clock.advance(1)
    await worker.send(REFUSED)
    assert await outbox.write(decisions.resend, id_)
    sent = []
    for _ in range(2):
        clock.advance(1)
        sent.append((await worker.send()).position)

    assert [2, 3] == sent
    assert Status.SENT == await status_of(outbox, id_)


async def test_the_long_segment_of_a_text_that_was_recut_is_not_sent_again(
    outbox: Store, worker: Worker
) -> None:
    """Its pieces are."""
    bold = worker.under(max_characters=1000, recipient_interval=timedelta())
    id_ = await put(outbox, words(200))
    await bold.send(REFUSED)
    await bold.send(REFUSED)
    await outbox.write(decisions.resend, id_)

    sent = [await bold.send() for _ in range(2)]
    assert words(200) == " ".join(claim.content for claim in sent)
    assert Status.SENT == await status_of(outbox, id_)


async def test_what_is_sent_queued_or_held_is_not_sent_again(outbox: Store, worker: Worker) -> None:
    """Only what ended in a way that a person may want to change."""
    id_ = await put(outbox, "Hello")
    assert not await outbox.write(decisions.resend, id_)
    await worker.send()

    assert not await outbox.write(decisions.resend, id_)
    assert not await outbox.write(decisions.resend, "no such id")


async def test_a_person_marks_it_as_sent(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """The look-ups end, and the rest of it follows."""
    id_ = await put(outbox, words(200))
    await worker.send(LOST)
    clock.advance(1)

    assert await outbox.write(decisions.mark_sent, id_)

    assert await outbox.read(lookups.next_lookup, POLICY) is None
    assert Status.SENDING == await status_of(outbox, id_)
    assert 2 == (await worker.send()).position
    message = await find(outbox, id_)
    assert (Status.SENT, None) == (message.status, explain_all(message.reasons))


async def test_only_an_unknown_text_is_marked_as_sent(outbox: Store, worker: Worker) -> None:
    """Of the others it is known."""
    id_ = await put(outbox, "Hello")
    assert not await outbox.write(decisions.mark_sent, id_)
    await worker.send(REFUSED)

    assert not await outbox.write(decisions.mark_sent, id_)
    assert Status.FAILED == await status_of(outbox, id_)


# --- sent again, and then found ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end", [NotSent("no route."), TOO_MANY, LOST, REFUSED], ids=["not sent", "too many", "lost", "refused"]
)
async def test_what_a_resend_comes_to_is_no_matter_once_the_first_is_found(
    outbox: Store, worker: Worker, clock: ManualClock, end: Outcome
) -> None:
    """The text arrived: it is sent, and not a third time, neither by itself nor by the settings."""
    worker = replace(worker, lookups=RESEND_ONCE)
    id_ = await put(outbox, "Hello")
    first = await worker.send(LOST)
    await outbox.write(decisions.resend, id_)
    clock.advance(5)
    second = await worker.take()
    await worker.record(first, SENT)

    finished, *others = await worker.record(second, end)

    assert isinstance(finished, AttemptFinished)
    assert Status.SENT == finished.status
    assert "sent_twice" not in told(others)
    await climb(outbox, clock, RESEND_ONCE)
    clock.advance(HOUR)
    assert not (await worker.look()).claims
    message = await find(outbox, id_)
    assert (Status.SENT, None) == (message.status, explain_all(message.reasons))


async def test_a_resend_that_was_refused_does_not_fail_what_arrived(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The first sending is found afterwards: the text goes on with its next segment."""
    id_ = await put(outbox, words(400))
    first = await worker.send(LOST)
    await outbox.write(decisions.resend, id_)
    clock.advance(5)
    await worker.send(REFUSED)
    assert Status.FAILED == await status_of(outbox, id_)
    clock.set(await next_look(outbox))
    news = await outbox.write(
        lookups.record_lookup, await take_lookup(outbox), showing(first.content), POLICY
    )

    assert [(id_, Status.SENDING)] == found(news)
    for position in (2, 3):
        clock.advance(1)
        assert position == (await worker.send()).position
    message = await find(outbox, id_)
    assert (Status.SENT, None) == (message.status, explain_all(message.reasons))


async def test_a_found_segment_does_not_hide_why_the_text_failed(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Its next segment was refused since: that is still so, and still said."""
    id_ = await put(outbox, words(400))
    first = await worker.send(LOST)
    await outbox.write(decisions.resend, id_)
    clock.advance(5)
    await worker.send()
    clock.advance(5)
    await worker.send(REFUSED)
    clock.set(await next_look(outbox))
    shown = showing(first.content, first.content)
    news = await outbox.write(lookups.record_lookup, await take_lookup(outbox), shown, POLICY)

    assert [(id_, Status.FAILED)] == found(news)
    assert "sent_twice" in told(news)
    codes = [reason.code for reason in (await find(outbox, id_)).reasons]
    assert ["refused", "incomplete", "sent_twice"] == codes


async def test_a_look_back_at_one_segment_does_not_send_another(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """
    The first segment was sent once more by the settings; the second one is unknown, and not yet looked up.
    """
    worker = replace(worker, lookups=RESEND_ONCE)
    id_ = await put(outbox, words(200))
    await worker.send(LOST)
    for _ in LADDER:
        clock.set(await next_look(outbox))
        await outbox.write(
            lookups.record_lookup, await take_lookup(outbox, RESEND_ONCE), NOTHING, RESEND_ONCE
        )
    await worker.send()
    clock.advance(110)
    await worker.send(LOST)
    # Two minutes after the first segment was sent again it is looked back at.
    clock.advance(10)
    due = await take_lookup(outbox, RESEND_ONCE)
    await outbox.write(lookups.record_lookup, due, NOTHING, RESEND_ONCE)

    message = await find(outbox, id_)
    assert [Status.SENT, Status.UNKNOWN] == [segment.status for segment in message.segments]
    assert "doesn't show it" not in (explain_all(message.reasons) or "")


async def test_marking_as_sent_does_not_say_twice(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Of two sendings that are both unknown, a person's word is for one; no text waits for the other."""
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)
    await outbox.write(decisions.resend, id_)
    clock.advance(5)
    await worker.send(LOST)
    await put(outbox, "next")
    assert await outbox.write(decisions.mark_sent, id_)

    message = await find(outbox, id_)
    assert (Status.SENT, None) == (message.status, explain_all(message.reasons))
    assert [OutcomeKind.UNKNOWN, OutcomeKind.SENT] == [one.outcome for one in message.segments[0].attempts]
    clock.advance(60)
    assert "next" == (await worker.take()).content


async def test_news_of_a_text_sent_twice_outlives_an_approval(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The rest of it was held half-way; what is approved goes on there, behind no other text."""
    id_ = await put(outbox, words(200))
    first = await worker.send(LOST)
    await outbox.write(decisions.resend, id_)
    clock.advance(5)
    second = await worker.take()
    await worker.record(first, SENT)
    await worker.finish(second)
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "STOP")
    clock.advance(5)
    await worker.look()
    assert Status.HELD == await status_of(outbox, id_)
    await outbox.write(opt_outs.remove_opt_out, RECIPIENT, None)
    assert await outbox.write(decisions.approve, id_)

    message = await find(outbox, id_)
    assert (Status.SENDING, ["sent_twice"]) == (message.status, [reason.code for reason in message.reasons])
    assert 2 == (await worker.send()).position


# --- several at once ---------------------------------------------------------------------------------------


async def test_of_two_unknown_ones_with_the_same_words_the_first_is_the_one_found(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """One text proves one sending; with two texts there, one look-up settles both."""
    ids = []
    for _ in range(2):
        ids.append(await put(outbox, "Hello"))
        await replace(worker, lookups=replace(POLICY, ladder=(timedelta(seconds=15),))).send(LOST)
        clock.advance(77)

    news = await outbox.write(lookups.record_lookup, await take_lookup(outbox), showing("Hello"), POLICY)
    assert [(ids[0], Status.SENT)] == found(news)
    await outbox.write(lookups.record_lookup, await take_lookup(outbox), showing("Hello"), POLICY)
    assert [Status.SENT, Status.UNKNOWN] == [await status_of(outbox, id_) for id_ in ids]

    clock.set(await next_look(outbox))
    news = await outbox.write(
        lookups.record_lookup, await take_lookup(outbox), showing("Hello", "Hello"), POLICY
    )
    assert [(ids[1], Status.SENT)] == found(news)


async def test_parts_of_two_texts_to_one_person_do_not_mix(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """
    The first was given up as unknown, the second has begun, and only now the first is known to have arrived.
    """
    first, second = await put(outbox, words(200)), await put(outbox, words(201))
    begun = await worker.send(LOST)
    await climb(outbox, clock)
    claims = [await worker.take()]
    await worker.record(begun, SENT)
    clock.advance(1)
    assert Status.SENDING == await status_of(outbox, first) == await status_of(outbox, second)
    assert not (await worker.look()).claims
    await worker.finish(claims[0])
    for _ in range(2):
        assert await worker.waits() is not None
        clock.advance(1)
        claims.append(await worker.send())

    assert [(second, 1), (second, 2), (first, 2)] == [(one.message_id, one.position) for one in claims]


async def test_an_account_whose_requests_are_used_does_not_stop_another(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Though its own look-up is due first."""
    policy = replace(POLICY, accounts=frozenset({ACCOUNT, "ACC-2"}), requests_per_hour=1)
    worker = replace(worker.under(accounts=policy.accounts), lookups=policy)
    await put(outbox, "Hello")
    await worker.send(LOST)
    clock.advance(15)
    await outbox.write(lookups.record_lookup, await take_lookup(outbox, policy), NOTHING, policy)
    other = await put(outbox, "Hello", to=recipient(50), account_id="ACC-2")
    await worker.send(LOST)
    clock.advance(60)

    assert other == (await take_lookup(outbox, policy)).message_id
    assert await outbox.write(lookups.claim_lookup, policy) is None


async def test_each_text_has_its_owner_however_far_the_chain_reaches(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The first sending never arrived. The second could own either text, the third the later one only."""
    id_ = await put(outbox, "Hello")
    await worker.send(LOST)
    clock.set(START + timedelta(minutes=5))
    await outbox.write(decisions.resend, id_)
    await worker.send()
    clock.set(START + timedelta(minutes=15))
    await put(outbox, "Hello")
    await worker.send()
    texts = tuple(
        FoundText(content="Hello", created_at=START + timedelta(minutes=minutes)) for minutes in (5, 15)
    )

    settled = await outbox.write(
        lookups.record_lookup, await take_lookup(outbox), Lookup(texts=texts, requests=2), POLICY
    )

    assert [] == settled
    first, second = (await find(outbox, id_)).segments[0].attempts
    assert (OutcomeKind.UNKNOWN, OutcomeKind.SENT) == (first.outcome, second.outcome)
