"""The guards that a claim asks again: what time, or new knowledge, has changed since the text came in."""

from datetime import timedelta

import pytest

from callrail_relay.domain.guards import Mode, Verdict
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.outcome import Refusal, Rejected
from callrail_relay.outbox import decisions, opt_outs
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain_all
from tests.outbox.worker import Worker, codes_of, find, put, put_message, status_of, words
from tests.support.clock import ManualClock
from tests.support.factories import (
    RECIPIENT,
    TRACKING_NUMBER,
    make_draft,
    make_message,
    make_route,
    recipient,
)
from tests.support.policies import guard_policy

pytestmark = pytest.mark.anyio

MAX_AGE = timedelta(hours=4)
MOMENT = timedelta(microseconds=1)
MERGE_TAG = Reason("merge_tag", {"placeholder": "{first_name}"})
OPTED_OUT = Rejected(400, "recipient has opted out", Refusal.OPTED_OUT)


async def test_a_text_that_waited_too_long_is_held(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Every one of them, and the claim says so; what came in since goes."""
    old = [await put(outbox, "old", to=recipient(number)) for number in range(2)]
    clock.advance(MAX_AGE + MOMENT)
    await put(outbox, "new", to=recipient(5))

    result = await worker.look()

    assert ["new"] == [claim.content for claim in result.claims]
    assert old == [held.message_id for held in result.held]
    for id_ in old:
        assert Status.HELD == await status_of(outbox, id_)
        assert ["too_old"] == await codes_of(outbox, id_)


async def test_a_text_of_just_that_age_goes(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Longer than the setting, not as long."""
    await put(outbox, "Hello")
    clock.advance(MAX_AGE)

    await worker.take()


async def test_with_nothing_else_to_do_the_held_are_told(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """A claim without a segment also says what it held."""
    id_ = await put(outbox, "Hello")
    clock.advance(MAX_AGE + MOMENT)

    result = await worker.look()

    assert ((), None) == (result.claims, result.wake_at)
    assert [id_] == [held.message_id for held in result.held]
    assert () == (await worker.look()).held


async def test_an_old_text_that_a_person_approved_goes(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """It is not held a second time for the same reason."""
    id_ = await put(outbox, "Hello")
    clock.advance(MAX_AGE + MOMENT)
    await worker.waits()
    await outbox.write(decisions.approve, id_)
    clock.advance(MAX_AGE + MOMENT)

    assert id_ == (await worker.take()).message_id


async def test_a_text_under_way_is_not_stopped_for_its_age(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Half a text makes less sense than a late one."""
    id_ = await put(outbox, words(200))
    await worker.send()
    clock.advance(MAX_AGE + MOMENT)

    assert (id_, 2) == ((claim := await worker.take()).message_id, claim.position)


@pytest.mark.parametrize("mode", [Mode.WARN, Mode.OFF])
async def test_a_guard_that_does_not_hold_lets_it_go(
    outbox: Store, worker: Worker, clock: ManualClock, mode: Mode
) -> None:
    """The mode of the settings counts."""
    await put(outbox, "Hello")
    clock.advance(MAX_AGE + MOMENT)

    await worker.under(guards=guard_policy(too_old=mode)).take()


async def test_an_age_of_ones_own(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """The longest wait is a setting."""
    await put(outbox, "Hello")
    clock.advance(61)

    assert await worker.under(guards=guard_policy(max_age=timedelta(minutes=1))).waits() is None


async def opt_out(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Let CallRail say that the usual person opted out."""
    await put(outbox, "the one that is refused")
    await worker.send(OPTED_OUT)
    clock.advance(1)


async def test_whoever_opted_out_is_not_texted(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """CallRail's refusal is remembered: the next text to that person is held before it is sent."""
    await opt_out(outbox, worker, clock)
    id_ = await put(outbox, "Hello")

    assert await worker.waits() is None
    assert ["opt_out"] == await codes_of(outbox, id_)


async def test_an_opt_out_is_of_one_tracking_number(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """As with CallRail: the pair of tracking number and person."""
    await opt_out(outbox, worker, clock)
    other = make_draft(route=make_route(tracking_number="+12025550144"))

    await put_message(outbox, make_message(draft=other))

    await worker.take()


async def test_an_opt_out_cannot_be_approved_away(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Nothing is sent while the person is on the list."""
    await opt_out(outbox, worker, clock)
    id_ = await put(outbox, "Hello")
    await worker.waits()
    await outbox.write(decisions.approve, id_)

    assert await worker.waits() is None
    assert Status.HELD == await status_of(outbox, id_)


async def test_an_approved_text_ages_from_then(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """A text that came on Friday and is approved on Monday isn't held again."""
    id_ = await put_message(outbox, make_message(verdict=Verdict(holds=(MERGE_TAG,))))
    clock.advance(timedelta(days=3))
    await outbox.write(decisions.approve, id_)
    clock.advance(MAX_AGE)

    await worker.take()


async def test_an_approved_text_that_waits_too_long_is_held(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """A word given long ago is no longer one."""
    id_ = await put_message(outbox, make_message(verdict=Verdict(holds=(MERGE_TAG,))))
    await outbox.write(decisions.approve, id_)
    clock.advance(MAX_AGE + MOMENT)

    assert await worker.waits() is None
    assert ["too_old"] == await codes_of(outbox, id_)


async def test_an_opt_out_stops_a_text_under_way(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """The rest of a text is not sent once the person said no."""
    id_ = await put(outbox, words(400))
    await worker.send()
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "They replied STOP.")
    clock.advance(1)

    assert await worker.waits() is None
    message = await find(outbox, id_)
    assert (Status.HELD, ["opt_out"]) == (message.status, await codes_of(outbox, id_))
    assert [Status.SENT, Status.QUEUED, Status.QUEUED] == [one.status for one in message.segments]


async def test_an_old_text_of_somebody_who_opted_out_shows_both_reasons(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Every reason, not only the first."""
    id_ = await put(outbox, "Hello")
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "They said STOP.")
    clock.advance(MAX_AGE + MOMENT)
    await worker.waits()

    assert {"opt_out", "too_old"} == {*await codes_of(outbox, id_)}


async def test_what_a_guard_warned_of_stays_to_be_seen(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """A later reason is added to an earlier one."""
    await opt_out(outbox, worker, clock)
    id_ = await put(outbox, "Hello")
    clock.advance(MAX_AGE + MOMENT)
    await worker.waits()
    await outbox.write(decisions.approve, id_)
    await worker.waits()

    assert "opt_out" in await codes_of(outbox, id_)
    assert explain_all((await find(outbox, id_)).reasons) is not None
