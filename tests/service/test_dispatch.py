"""Waiting for the end of some texts: each end has its exit code."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.domain.account import Account, Limits
from callrail_relay.domain.message import Reason, Status, Verb
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.errors import (
    NotAllowed,
    OutcomeUnknown,
    RefusedByCallRail,
    RelayError,
    Unavailable,
    Waiting,
)
from callrail_relay.outbox.rows import write_account
from callrail_relay.service.delivery import TaskGroup
from callrail_relay.service.dispatch import DeliveryResult, deliver
from tests.service.rig import Rig, open_rig, outcomes, passing_time
from tests.support.factories import TEXT, recipient
from tests.support.simulator import refuse

pytestmark = pytest.mark.anyio

TIMEOUT = timedelta(seconds=120)


async def dispatched(
    rig: Rig, ids: Sequence[str], *, timeout: timedelta = TIMEOUT, worker: TaskGroup | None = None
) -> list[DeliveryResult]:
    """The endings of these texts, while time passes for the tasks that wait for it."""
    work = deliver(rig.operations, worker or rig.worker(), ids, timeout=timeout)
    # The waiting command, delivery and reconciliation.
    return await passing_time(rig.clock, work, sleepers=3)


async def delivered(rig: Rig, id_: str, *, timeout: timedelta = TIMEOUT) -> list[DeliveryResult]:
    """The ending of a text while no time passes."""
    return await deliver(rig.operations, rig.worker(), [id_], timeout=timeout)


async def ending(rig: Rig, id_: str, *, timeout: timedelta = TIMEOUT) -> DeliveryResult:
    [one] = await dispatched(rig, [id_], timeout=timeout)
    return one


def assert_ends(one: DeliveryResult, error: type[RelayError], code: int, words: str) -> None:
    assert isinstance(one.fault, error)
    assert code == one.fault.exit_code
    assert words in str(one.fault)
    assert TEXT not in str(one.fault)


async def test_text_that_was_sent_ends_with_0(tmp_path: Path) -> None:
    """Nothing is at fault, and the answer is the message as it is by then."""
    async with open_rig(tmp_path) as rig:
        one = await ending(rig, await rig.accept())

        assert one.fault is None
        assert Status.SENT == one.message.status


async def test_endings_come_in_the_order_asked_for(tmp_path: Path) -> None:
    """Several texts, each with its own end; what else waits in the outbox is sent as well."""
    async with open_rig(tmp_path) as rig:
        refuse(rig.simulator, recipient(1), "blocked")
        await rig.accept("Somebody else's", to=recipient(3))
        refused, sent = await rig.accept(to=recipient(1)), await rig.accept(to=recipient(2))

        endings = await dispatched(rig, [sent, refused])

        assert [sent, refused] == [one.message.id for one in endings]
        assert [None, 5] == [one.fault and one.fault.exit_code for one in endings]
        assert 2 == len(rig.simulator.texts)


async def test_refused_text_ends_with_5(tmp_path: Path) -> None:
    """CallRail's own words say why."""
    async with open_rig(tmp_path) as rig:
        refuse(rig.simulator, recipient(1), "landline")
        one = await ending(rig, await rig.accept(to=recipient(1)))

        assert_ends(one, RefusedByCallRail, 5, "landline")


async def test_refused_key_ends_with_5_and_keeps_the_text(tmp_path: Path) -> None:
    """A pause that this very text caused is CallRail's refusal."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.read_only = True
        one = await ending(rig, await rig.accept())

        assert_ends(one, RefusedByCallRail, 5, "read-only")
        assert "stays queued" in str(one.fault)
        assert Status.QUEUED == one.message.status


async def test_account_that_was_paused_before_ends_with_7_at_once(tmp_path: Path) -> None:
    """No command waits for the end of a person's pause."""
    async with open_rig(tmp_path) as rig:
        await rig.operations.pause(None, "Holidays.")
        # The clock doesn't move: a wait here would last forever.
        [one] = await delivered(rig, await rig.accept())

        assert_ends(one, Waiting, 7, "Holidays.")
        assert [] == rig.simulator.texts


async def test_unknown_text_ends_with_6(tmp_path: Path) -> None:
    """The command says neither that it failed nor that it was sent."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.DROP, position=1))
        one = await ending(rig, await rig.accept())

        assert_ends(one, OutcomeUnknown, 6, "CallRail didn't confirm this message")


async def test_unknown_text_that_is_found_in_time_ends_with_0(tmp_path: Path) -> None:
    """The first look-up is soon enough for a command that waits."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.DROP_ANSWER, position=1))

        assert (await ending(rig, await rig.accept())).fault is None


async def test_nobody_waits_for_a_look_up_that_comes_too_late(tmp_path: Path) -> None:
    """Where the next look-up is after the end of the time, it is unknown at once."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.DROP_ANSWER, position=1))
        id_ = await rig.accept()
        await rig.work(rig.delivery(), step=0)
        # The clock doesn't move.
        [one] = await delivered(rig, id_, timeout=timedelta(seconds=14))

        assert_ends(one, OutcomeUnknown, 6, "CallRail didn't confirm this message")


async def test_held_text_ends_with_7(tmp_path: Path) -> None:
    """The reason and the way out are said."""
    async with open_rig(tmp_path) as rig:
        one = await ending(rig, await rig.accept("Hello {{name}}"))

        assert_ends(one, Waiting, 7, "unfilled placeholder")


async def test_cancelled_text_ends_with_4(tmp_path: Path) -> None:
    """A person decided otherwise while it waited."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        await rig.operations.decide(Verb.CANCEL, id_)
        assert_ends(await ending(rig, id_), NotAllowed, 4, "canceled")


async def test_used_up_budget_ends_with_7_at_once_where_it_frees_too_late(tmp_path: Path) -> None:
    """The command doesn't wait two minutes to learn that it takes an hour."""
    async with open_rig(tmp_path, limits=Limits(1, 10)) as rig:
        await rig.accept("First", to=recipient(1))
        await rig.work(rig.delivery())
        [one] = await delivered(rig, await rig.accept("Second", to=recipient(2)))

        assert_ends(one, Waiting, 7, "sending limit for the hour is reached (1 of 1)")


async def test_budget_that_frees_in_time_is_waited_for(tmp_path: Path) -> None:
    """If the hour has room again before the time is over, the text is sent."""
    async with open_rig(tmp_path, limits=Limits(1, 10)) as rig:
        await rig.accept("First", to=recipient(1))
        await rig.work(rig.delivery())
        rig.clock.advance(timedelta(minutes=59))

        assert (await ending(rig, await rig.accept("Second", to=recipient(2)))).fault is None


async def test_rate_limit_that_lasts_ends_with_7(tmp_path: Path) -> None:
    """CallRail's own wait is the reason, with its end."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.STATUS, status=429, retry_after=600))
        one = await ending(rig, await rig.accept())

        assert_ends(one, Waiting, 7, "rate limit is reached (429)")
        assert "Sending waits until" in str(one.fault)


async def test_used_up_budget_ends_at_once_while_the_account_waits_for_less(tmp_path: Path) -> None:
    """Both are reasons, and the wait that lasts longer decides."""
    async with open_rig(tmp_path, limits=Limits(1, 10)) as rig:
        await rig.accept("First", to=recipient(1))
        await rig.work(rig.delivery())
        now, account = rig.clock.now(), Account(id=rig.account_id)
        waiting = account.waiting(now, now + timedelta(seconds=60), Reason("rate_limited"))
        await rig.outbox.write(write_account, waiting)
        [one] = await delivered(rig, await rig.accept("Second", to=recipient(2)))

        assert_ends(one, Waiting, 7, "sending limit for the hour is reached (1 of 1)")
        assert ["account_waits", "budget"] == [reason.code for reason in one.message.reasons]


async def test_unreachable_callrail_ends_with_8_when_the_time_is_over(tmp_path: Path) -> None:
    """It is tried until then, and the text stays queued."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.REFUSE))
        one = await ending(rig, await rig.accept())

        assert_ends(one, Unavailable, 8, "can't be reached")
        assert Status.QUEUED == one.message.status
        assert len(one.message.segments[0].attempts) > 1


async def test_callrail_that_comes_back_in_time_is_enough(tmp_path: Path) -> None:
    """Some failed connections do not show in the end."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.REFUSE, times=3))

        assert (await ending(rig, await rig.accept())).fault is None


async def test_text_under_way_when_the_time_is_over_still_gets_its_end(tmp_path: Path) -> None:
    """The command waits for what was sent, however long it takes: its outcome decides."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.LATE_ANSWER, delay=10))
        id_ = await rig.accept()
        work = asyncio.ensure_future(
            deliver(rig.operations, rig.worker(), [id_], timeout=timedelta(seconds=2))
        )
        while not rig.simulator.texts:  # noqa: ASYNC110 - CallRail takes it in another task
            await asyncio.sleep(0)
        while not work.done():
            rig.clock.advance(1)
            await asyncio.sleep(0.01)  # the store works in threads

        [one] = work.result()
        assert one.fault is None


async def test_text_behind_others_ends_with_7(tmp_path: Path) -> None:
    """A text that has no time left to be sent says that it is not forgotten."""
    async with open_rig(tmp_path) as rig:
        await rig.accept("First")
        [behind] = await delivered(rig, await rig.accept("Second"), timeout=timedelta())

        assert_ends(behind, Waiting, 7, "queued and will be sent later")


async def test_failing_store_is_raised(tmp_path: Path) -> None:
    """Where the store cannot be read there is no end to tell, and the worker is stopped all the same."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()

        async def broken(_id: str) -> None:
            raise Unavailable("The store cannot be read.")

        delivery = rig.delivery()
        with pytest.MonkeyPatch.context() as failing:
            failing.setattr(rig.operations, "find", broken)
            with pytest.raises(Unavailable, match="cannot be read"):
                await dispatched(rig, [id_], worker=rig.worker(delivery))

        await rig.accept(to=recipient(1))
        assert await delivery.turn() is None
        assert outcomes(await rig.message(id_)) in ([], [OutcomeKind.SENT])
        assert len(rig.simulator.texts) <= 1
