"""Recording: the outcome of an attempt changes its segment, message and account together, and once."""

from datetime import timedelta

import pytest

from callrail_relay.domain.events import LateResult
from callrail_relay.domain.message import Attempt, Segment, Status
from callrail_relay.domain.outcome import (
    NotSent,
    Outcome,
    OutcomeKind,
    RateLimited,
    Refusal,
    Rejected,
    Sent,
    Unknown,
)
from callrail_relay.outbox import decisions
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain, explain_all
from tests.outbox.worker import (
    REFUSED,
    SENT,
    TOO_MANY,
    Worker,
    codes_of,
    find,
    plain,
    put,
    put_message,
    status_of,
    words,
)
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT

pytestmark = pytest.mark.anyio


async def test_a_sent_text_is_told_with_all_that_is_known(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """When it left, how CallRail answered, and in which conversation it is."""
    id_ = await put(outbox, "Hello")
    claim = await worker.take()
    clock.advance(0.6)

    recorded = await worker.finish(claim, Sent(201, "CON9", "SMT9"))

    assert (id_, 1, Status.SENT, ACCOUNT) == (
        recorded.message_id,
        recorded.position,
        recorded.status,
        recorded.account_id,
    )
    message = await find(outbox, id_)
    assert (Status.SENT, clock.now(), "CON9", None) == (
        message.status,
        message.sent_at,
        message.conversation_id,
        explain_all(message.reasons),
    )
    attempt = Attempt(
        started_at=START,
        finished_at=clock.now(),
        outcome=OutcomeKind.SENT,
        http_status=201,
        detail="CallRail accepted the text.",
    )
    assert (
        Segment(position=1, content="Hello", status=Status.SENT, attempts=(attempt,)),
    ) == message.segments


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (NotSent("no route."), Status.QUEUED),
        (TOO_MANY, Status.QUEUED),
        (Rejected(401, "bad key", Refusal.AUTHORIZATION), Status.QUEUED),
        (REFUSED, Status.FAILED),
        (Rejected(403, "Attention Required!", Refusal.FIREWALL), Status.FAILED),
        (Rejected(404, "no such account", Refusal.OTHER), Status.FAILED),
        (Rejected(400, "not a mobile", Refusal.OTHER), Status.FAILED),
        (Unknown("the answer did not come.", None), Status.UNKNOWN),
        (Unknown("a strange answer.", 500), Status.UNKNOWN),
    ],
    ids=lambda value: f"{value.kind} {value.http_status}" if hasattr(value, "kind") else str(value),
)
async def test_every_other_outcome_is_on_disk(
    outbox: Store, worker: Worker, outcome: Outcome, status: Status
) -> None:
    """The attempt keeps what happened, and the text has the status that follows."""
    id_ = await put(outbox, "Hello")
    claim = await worker.take()

    recorded = await worker.finish(claim, outcome)

    message = await find(outbox, id_)
    (segment,) = message.segments
    (attempt,) = segment.attempts
    assert (status, status, status) == (recorded.status, message.status, segment.status)
    assert (outcome.kind, outcome.http_status, outcome.detail, START) == (
        attempt.outcome,
        attempt.http_status,
        attempt.detail,
        attempt.finished_at,
    )
    assert (None, None) == (message.sent_at, message.conversation_id)


async def test_a_refusal_is_told_in_callrails_own_words(outbox: Store, worker: Worker) -> None:
    """The reason holds them, and the status."""
    id_ = await put(outbox, "Hello")
    await worker.send(REFUSED)

    message = await find(outbox, id_)
    assert ["refused"] == [reason.code for reason in message.reasons]
    assert "CallRail rejected it (400): content is invalid." == explain_all(message.reasons)


async def test_what_a_guard_warned_of_stays_beside_the_refusal(outbox: Store, worker: Worker) -> None:
    """Reasons add up."""
    await put(outbox, "Hello")
    await worker.send()
    held = await put(outbox, "Hello")
    await outbox.write(decisions.approve, held)
    worker = worker.under(recipient_interval=timedelta())
    await worker.send(REFUSED)

    assert ["refused"] == await codes_of(outbox, held)


async def test_a_second_result_changes_nothing(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """The first one holds, whatever comes later."""
    id_ = await put(outbox, "Hello")
    claim = await worker.take()
    await worker.finish(claim)
    before = await find(outbox, id_)
    status = await worker.status()
    clock.advance(1)

    for late in (REFUSED, RateLimited(429, "Rate limit exceeded.")):
        assert [LateResult(message_id=id_, outcome=late.kind)] == await worker.record(claim, late)

    assert before == await find(outbox, id_)
    assert status == await worker.status()


async def test_a_text_of_several_segments_is_sent_when_all_are(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Until then it is under way."""
    id_ = await put(outbox, words(400))
    for expected in (Status.SENDING, Status.SENDING, Status.SENT):
        recorded = await worker.finish(await worker.take())
        assert (expected, expected) == (recorded.status, await status_of(outbox, id_))
        clock.advance(1)

    message = await find(outbox, id_)
    assert START + timedelta(seconds=2) == message.sent_at
    assert words(400) == " ".join(segment.content for segment in message.segments)


@pytest.mark.parametrize(
    ("outcome", "status"), [(REFUSED, Status.FAILED), (Unknown("no answer."), Status.UNKNOWN)]
)
async def test_a_segment_that_did_not_pass_stops_the_rest(
    outbox: Store, worker: Worker, clock: ManualClock, outcome: Outcome, status: Status
) -> None:
    """The text says how much of it was sent, and the next text to that person goes."""
    id_ = await put(outbox, words(400))
    await put(outbox, "after")
    await worker.send()
    clock.advance(1)
    await worker.send(outcome)
    clock.advance(1)

    message = await find(outbox, id_)
    assert status == message.status
    assert "incomplete" == message.reasons[-1].code
    assert explain(message.reasons[-1]).startswith("1 of its 3 parts were sent")
    assert "after" == (await worker.take()).content


async def test_the_rest_of_a_failed_text_is_cancelled(outbox: Store, worker: Worker) -> None:
    """None of its segments waits for anything any more."""
    id_ = await put(outbox, words(400))
    await worker.send(REFUSED)

    message = await find(outbox, id_)
    assert [Status.FAILED, Status.CANCELLED, Status.CANCELLED] == [one.status for one in message.segments]
    assert explain(message.reasons[-1]).startswith("0 of its 3 parts")


async def test_a_segment_that_did_not_leave_keeps_the_text_under_way(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The same segment goes again, and the one that left is not sent twice."""
    id_ = await put(outbox, words(200))
    await worker.send()
    clock.advance(1)
    await worker.send(TOO_MANY)
    assert Status.SENDING == await status_of(outbox, id_)
    clock.advance(60)

    assert 2 == (await worker.send()).position
    assert Status.SENT == await status_of(outbox, id_)
    assert [1, 2] == [len(segment.attempts) for segment in (await find(outbox, id_)).segments]


async def test_an_unknown_text_is_never_claimed_again(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Also not days later."""
    id_ = await put(outbox, "Hello")
    await worker.send(Unknown("no answer."))
    clock.advance(timedelta(days=3))

    assert await worker.waits() is None
    assert Status.UNKNOWN == await status_of(outbox, id_)


async def test_callrails_words_about_an_opt_out_do_not_stay_with_one_text(
    outbox: Store, worker: Worker
) -> None:
    """A second refusal of the same pair is no fault."""
    refusal = Rejected(400, "recipient has opted out", Refusal.OPTED_OUT)
    await put(outbox, "one")
    await worker.send(refusal)
    id_ = await put_message(outbox, plain("two"))

    assert Status.HELD == await status_of(outbox, id_)
    assert ["opt_out"] == await codes_of(outbox, id_)


async def test_an_answer_without_headers_says_nothing_of_the_limits(outbox: Store, worker: Worker) -> None:
    """What an earlier one said stays."""
    await put(outbox, "one")
    await worker.send(SENT)

    account = (await worker.status()).account
    assert (None, None, None) == (account.hour_allowed, account.day_allowed, account.excess_at)
