"""
Quiet hours: held until the minute at which it is allowed everywhere the number may be, then sent by itself.
"""

from datetime import UTC, datetime, timedelta

import pytest

from callrail_relay.domain.guards import GuardPolicy, Mode
from callrail_relay.domain.message import Status
from callrail_relay.outbox import decisions, opt_outs
from callrail_relay.outbox.claim import AT_ONCE
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain_all
from tests.outbox.worker import Worker, accept_one, codes_of, find, put, status_of
from tests.support.clock import ManualClock
from tests.support.factories import RECIPIENT, make_draft, make_message, make_submission
from tests.support.policies import guard_policy

pytestmark = pytest.mark.anyio

# The number of RECIPIENT is one of Washington, D.C.: five hours behind UTC in winter.
EVENING = datetime(2026, 3, 3, 1, 59, tzinfo=UTC)
NIGHT = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)
MORNING = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
QUIET = guard_policy(quiet_hours=Mode.HOLD)


@pytest.fixture
def quiet(worker: Worker) -> Worker:
    return worker.under(guards=QUIET)


async def write(outbox: Store, text: str, guards: GuardPolicy = QUIET) -> str:
    message = make_message(draft=make_draft(text=text))
    await accept_one(outbox, make_submission(message, guards=guards))
    return message.id


async def test_a_text_of_the_night_leaves_in_the_morning(
    outbox: Store, quiet: Worker, clock: ManualClock
) -> None:
    """By itself, at the minute that it shows; it is not too old then."""
    clock.set(NIGHT)
    id_ = await write(outbox, "Good night")
    message = await find(outbox, id_)
    assert (Status.HELD, MORNING) == (message.status, message.release_at)
    assert ({"until": "2026-03-03T13:00:00.000Z"},) == tuple(one.parameters for one in message.reasons)

    assert MORNING == await quiet.waits()
    clock.set(MORNING - timedelta(microseconds=1))
    assert MORNING == await quiet.waits()
    clock.set(MORNING)

    assert "Good night" == (await quiet.send()).content
    message = await find(outbox, id_)
    assert (Status.SENT, None, None) == (message.status, explain_all(message.reasons), message.release_at)


async def test_a_text_of_the_evening_whose_turn_comes_at_night_is_held_then(
    outbox: Store, quiet: Worker, clock: ManualClock
) -> None:
    """It came in time, and waited for the budget."""
    clock.set(EVENING)
    id_ = await write(outbox, "Good evening")
    clock.set(NIGHT)

    assert MORNING == await quiet.waits()
    assert ["quiet_hours"] == await codes_of(outbox, id_)
    clock.set(MORNING)
    await quiet.send()
    assert Status.SENT == await status_of(outbox, id_)


async def test_all_texts_of_a_long_night_are_released_before_one_leaves(
    outbox: Store, quiet: Worker, clock: ManualClock
) -> None:
    """Some at a time, so that nothing waits long for the database; the first one that came is sent first."""
    clock.set(NIGHT)
    written = [await write(outbox, f"Good night, {number}") for number in range(AT_ONCE + 2)]
    clock.set(MORNING)

    assert MORNING == await quiet.waits()
    first = await quiet.take()

    assert written[0] == first.message_id
    assert {Status.SENDING, Status.QUEUED} == {await status_of(outbox, id_) for id_ in written}


async def test_they_leave_in_the_order_in_which_they_came(
    outbox: Store, quiet: Worker, clock: ManualClock
) -> None:
    """Also before those of the morning."""
    clock.set(NIGHT)
    for text in ("first", "second"):
        await write(outbox, text)
    clock.set(MORNING)
    await write(outbox, "third")

    sent = []
    for _ in range(3):
        sent.append((await quiet.send()).content)
        clock.advance(1)
    assert ["first", "second", "third"] == sent


async def test_a_person_may_send_it_at_night(outbox: Store, quiet: Worker, clock: ManualClock) -> None:
    """The approval overrides the reason that was shown; it is not too old for having been kept until then."""
    clock.set(NIGHT)
    id_ = await write(outbox, "It burns")
    clock.advance(timedelta(hours=5))
    assert await outbox.write(decisions.approve, id_)

    assert "It burns" == (await quiet.send()).content


async def test_what_is_held_for_more_than_the_night_is_not_released_by_it(
    outbox: Store, quiet: Worker, clock: ManualClock
) -> None:
    """It shows what a person decides on, and the night is asked about when they have."""
    clock.set(NIGHT)
    await write(outbox, "Hello")
    twice = await write(outbox, "Hello")
    assert (["duplicate"], None) == (await codes_of(outbox, twice), (await find(outbox, twice)).release_at)

    assert await outbox.write(decisions.approve, twice)
    assert MORNING == await quiet.waits()
    assert ["quiet_hours"] == await codes_of(outbox, twice)


async def test_who_opted_out_at_night_is_not_texted_in_the_morning(
    outbox: Store, quiet: Worker, clock: ManualClock
) -> None:
    """The guards are asked again when the text is released."""
    clock.set(NIGHT)
    id_ = await write(outbox, "Good night")
    draft = make_draft()
    assert draft.route is not None
    await outbox.write(opt_outs.add_opt_out, draft.route.tracking_number, RECIPIENT, "They said STOP.")
    clock.set(MORNING)

    assert await quiet.waits() is None
    assert ["opt_out"] == await codes_of(outbox, id_)


async def test_a_text_that_nobody_sent_in_the_morning_grows_old_from_then(
    outbox: Store, quiet: Worker, clock: ManualClock
) -> None:
    """The relay was off until the afternoon."""
    clock.set(NIGHT)
    id_ = await write(outbox, "Good night")
    clock.set(MORNING + timedelta(hours=4, seconds=1))

    assert await quiet.waits() is None
    assert ["too_old"] == await codes_of(outbox, id_)


async def test_without_the_guard_there_is_no_night(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """It is off by default."""
    clock.set(NIGHT)
    await put(outbox, "Hello")
    assert "Hello" == (await worker.send()).content
