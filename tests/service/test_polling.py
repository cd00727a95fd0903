"""Looking for replies at the simulator, without webhooks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.callrail.simulator.records import RECENT_MESSAGES
from callrail_relay.domain.events import (
    AttemptFinished,
    MessageHeld,
    OptedOut,
    ProgramFailed,
    RepliesNotRead,
    ReplyReceived,
    SendingUnpolled,
)
from callrail_relay.domain.inbound import (
    FIRST,
    LONGEST,
    OVERLAP,
    CallRailText,
    Direction,
    DuePoll,
    PollPolicy,
    SeenReplies,
    ShownNumber,
)
from callrail_relay.domain.message import Status
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import history, lookups, opt_outs
from callrail_relay.outbox import replies as store_replies
from callrail_relay.service.background import FAULT_RETRY
from callrail_relay.service.delivery import Delivery, TaskGroup
from callrail_relay.service.replies import (
    COMMAND_WAITS,
    FIRST_POLL_WITHIN,
    FIRST_RETRY,
    FindReplies,
    InboundTexts,
    Polling,
)
from tests.outbox.told import ingest_one
from tests.service.rig import LoopTime, Rig, open_rig
from tests.support.clock import START
from tests.support.factories import RECIPIENT, recipient
from tests.support.policies import poll_policy
from tests.support.simulator import add_tracker

pytestmark = pytest.mark.anyio

EVERY = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as one:
        yield one


def policy_of(rig: Rig, *, requests_per_hour: int = 800) -> PollPolicy:
    companies = ((rig.account_id, rig.simulator.company_id),)
    return poll_policy(companies=companies, every=EVERY, requests_per_hour=requests_per_hour)


async def claim_poll(rig: Rig, policy: PollPolicy) -> DuePoll | None:
    [company] = policy.companies
    return await rig.outbox.write(store_replies.claim_poll, company, policy)


def polling_of(
    rig: Rig,
    *,
    find: FindReplies | None = None,
    requests_per_hour: int = 800,
    closed: set[str] | None = None,
    opened: Callable[[], None] = lambda: None,
) -> Polling:
    closed = {rig.account_id} if closed is None else closed
    policy, find = policy_of(rig, requests_per_hour=requests_per_hour), find or rig.callrail.find_replies
    return Polling(rig.outbox, rig.events, find, policy, inbound_of(rig), closed, opened)


def inbound_of(rig: Rig) -> InboundTexts:
    return InboundTexts(rig.outbox, rig.events, rig.inbound, lambda: None)


class Recorder:
    """A reader that shows the same each time, and keeps since when it was asked."""

    def __init__(self, *conversations: tuple[CallRailText, ...], fault: str | None = None) -> None:
        self.seen = SeenReplies(conversations=conversations, requests=3, fault=fault)
        self.since: list[object] = []

    async def find_replies(self, account_id: str, company_id: str, *, since: object) -> SeenReplies:
        self.since.append(since)
        return self.seen


def used(rig: Rig) -> int:
    """General requests that the simulator counted."""
    hour, _day = rig.simulator.accounts[rig.account_id].requests.used(rig.clock.now())
    return hour


async def test_a_stop_is_found_within_the_set_time(rig: Rig) -> None:
    """With one request for each look, whether it finds something or not."""
    polling = polling_of(rig)
    assert START + EVERY == await polling.turn()
    rig.clock.advance(MINUTE)
    rig.simulator.receive(RECIPIENT, "STOP")
    assert START + EVERY == await polling.turn()
    assert 1 == used(rig)

    rig.clock.set(START + EVERY)
    assert START + 2 * EVERY == await polling.turn()

    assert 2 == used(rig)
    assert await rig.outbox.read(opt_outs.is_opted_out, rig.simulator.tracking_number, RECIPIENT)
    assert [1] == [event.people for event in rig.events.of(OptedOut)]


async def test_looks_overlap_and_nothing_counts_twice(rig: Rig) -> None:
    """Nor do a webhook and a look at the same text, whichever comes first."""
    polling = polling_of(rig)
    rig.simulator.receive(RECIPIENT, "Yes")
    rig.clock.advance(1)
    rig.simulator.receive(RECIPIENT, "Yes")
    rig.simulator.receive(recipient(50), "Who is this?")
    await polling.turn()
    assert 3 == len(rig.events.of(ReplyReceived))

    for reply, key in (("Yes", "SCI1"), ("Yes", "SCI2"), ("New", "SCI3")):
        if reply == "New":
            rig.clock.advance(MINUTE)
            rig.simulator.receive(RECIPIENT, reply)
        text = CallRailText(
            key=key,
            content=reply,
            source=ShownNumber(RECIPIENT),
            destination=ShownNumber(rig.simulator.tracking_number),
            written_at=rig.clock.now() + timedelta(seconds=2),
            direction=Direction.IN,
            conversation_id=next(iter(rig.simulator.conversations)),
        )
        news = await ingest_one(rig.outbox, text, rig.inbound)
        assert (reply == "New") is (news is not None)
    rig.clock.advance(EVERY)
    await polling.turn()

    assert 3 == len(rig.events.of(ReplyReceived))
    conversation = await rig.outbox.read(
        history.read_conversation, rig.simulator.tracking_number, RECIPIENT, None, 10
    )
    assert ["Yes", "Yes", "New"] == [text.content for text in conversation.messages]


async def test_each_look_reaches_behind_the_last_one_that_ended_well(rig: Rig) -> None:
    """The first one a day; after a long time off a week at most."""
    reader, broken = Recorder(), Recorder(fault="CallRail is having problems (503).")
    await polling_of(rig, find=reader.find_replies).turn()
    rig.clock.advance(EVERY)
    await polling_of(rig, find=broken.find_replies).turn()
    rig.clock.advance(EVERY)
    await polling_of(rig, find=reader.find_replies).turn()
    rig.clock.advance(LONGEST * 3)
    await polling_of(rig, find=reader.find_replies).turn()

    assert [START - FIRST, START - OVERLAP, rig.clock.now() - LONGEST] == reader.since
    assert [START - OVERLAP] == broken.since
    [failed] = rig.events.of(RepliesNotRead)
    assert "CallRail is having problems (503)." == failed.reason
    # What nothing follows from any more is forgotten.
    assert [(1,)] == rig.stored("COUNT(*)", "polls")


async def test_of_several_nodes_one_looks(rig: Rig) -> None:
    """Another one takes over when that one does not come back."""
    first = await claim_poll(rig, policy_of(rig))
    assert first is not None

    second = polling_of(rig)
    assert START + timedelta(seconds=1) == await second.turn()
    assert 0 == used(rig)

    rig.clock.set(START + policy_of(rig).lease)
    await second.turn()
    assert 1 == used(rig)


async def test_looks_share_the_requests_with_looking_up(rig: Rig) -> None:
    """What one takes the other does not have, for an hour."""
    polling = polling_of(rig, find=Recorder().find_replies, requests_per_hour=3)
    await polling.turn()
    rig.clock.advance(EVERY)
    assert await claim_poll(rig, policy_of(rig, requests_per_hour=3)) is None

    rig.clock.set(START + timedelta(hours=1))
    assert await claim_poll(rig, policy_of(rig, requests_per_hour=3)) is not None


async def test_polls_leave_a_quarter_of_the_requests_to_looking_up(rig: Rig) -> None:
    """However many companies there are: an unconfirmed text is looked up all the same."""
    rig.simulator.fault(Fault(Kind.DROP_ANSWER))
    await rig.accept()
    await rig.work(rig.delivery())
    policy = replace(policy_of(rig, requests_per_hour=4), every=MINUTE)
    polling = polling_of(rig, find=Recorder().find_replies)
    polling.policy = policy
    await polling.turn()
    rig.clock.advance(MINUTE)

    assert await claim_poll(rig, policy) is None
    frugal = replace(rig.lookups, requests_per_hour=4)
    assert await rig.outbox.write(lookups.claim_lookup, frugal) is not None


async def test_a_long_list_is_read_as_far_as_is_needed(rig: Rig) -> None:
    """The newest come first: a page that reaches back far enough is the last one."""
    for number in range(260):
        rig.simulator.receive(recipient(number), "Hello")
    since = rig.clock.advance(MINUTE)
    for number in range(3):
        rig.simulator.receive(recipient(number), "Hello again")

    seen = await rig.callrail.find_replies(rig.account_id, rig.simulator.company_id, since=since)
    assert (1, 3, None) == (seen.requests, len(seen.conversations), seen.fault)
    assert ["Hello again"] == [text.content for text in seen.conversations[0]]

    seen = await rig.callrail.find_replies(rig.account_id, rig.simulator.company_id, since=START)
    assert (2, 260) == (seen.requests, len(seen.conversations))


async def test_a_conversation_is_read_only_if_the_list_cannot_show_all_that_came(rig: Rig) -> None:
    """The list shows the last 25 texts of each; one with fewer new ones costs no request."""
    rig.simulator.receive(RECIPIENT, "STOP")
    for number in range(RECENT_MESSAGES):
        rig.clock.advance(1)
        rig.simulator.receive(RECIPIENT, f"And another thing: {number}")
        rig.simulator.receive(recipient(50), "Hello")
    for number in range(5):
        rig.simulator.receive(recipient(51), f"Hello {number}")
    since = START - MINUTE

    seen = await rig.callrail.find_replies(rig.account_id, rig.simulator.company_id, since=since)

    assert 3 == seen.requests
    assert [5, 25, 26] == sorted(len(texts) for texts in seen.conversations)
    [ours] = [texts for texts in seen.conversations if texts[0].source == ShownNumber(RECIPIENT)]
    assert "STOP" == ours[0].content

    later = await rig.callrail.find_replies(
        rig.account_id, rig.simulator.company_id, since=START + timedelta(seconds=2)
    )
    assert (1, [5, 24, 24]) == (later.requests, sorted(len(texts) for texts in later.conversations))


async def test_a_page_may_have_many_long_conversations(rig: Rig) -> None:
    """Some megabytes in one answer."""
    for number in range(120):
        for text in range(RECENT_MESSAGES):
            rig.simulator.receive(recipient(number), f"{text} {'long ' * 60}")

    seen = await rig.callrail.find_replies(rig.account_id, rig.simulator.company_id, since=rig.clock.now())

    assert seen.fault is None
    assert 120 == len(seen.conversations)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(Kind.STATUS, on="read", status=429), "CallRail's request limit is reached"),
        (Fault(Kind.DROP, on="read"), "can't be reached"),
        (Fault(Kind.GARBAGE, on="read"), "not the way CallRail does"),
    ],
)
async def test_what_cannot_be_read_is_told(rig: Rig, fault: Fault, words: str) -> None:
    """And tried again at the next look."""
    rig.simulator.receive(RECIPIENT, "STOP")
    rig.simulator.fault(fault)
    polling = polling_of(rig)
    await polling.turn()
    [failed] = rig.events.of(RepliesNotRead)
    assert words in failed.reason

    rig.simulator.faults.clear()
    rig.clock.advance(EVERY)
    await polling.turn()
    assert await rig.outbox.read(opt_outs.is_opted_out, rig.simulator.tracking_number, RECIPIENT)


async def test_a_stop_over_one_of_several_numbers_holds_for_ours(rig: Rig) -> None:
    """A conversation over two numbers does not tell which of them a reply came to."""
    other = add_tracker(rig.simulator, name="Second").tracking_numbers[0]
    rig.simulator.write(RECIPIENT, "Hello", tracking_number=other)
    rig.simulator.receive(RECIPIENT, "STOP")

    await polling_of(rig).turn()

    assert await rig.outbox.read(opt_outs.is_opted_out, rig.simulator.tracking_number, RECIPIENT)


async def test_a_fault_of_ours_does_not_end_the_looking(rig: Rig) -> None:
    """It runs beside delivery until it is stopped."""

    class Broken:
        async def find_replies(self, account_id: str, company_id: str, *, since: object) -> SeenReplies:
            raise ZeroDivisionError

    polling = polling_of(rig, find=Broken().find_replies)
    worker = rig.worker(beside=[polling])
    delivery = asyncio.create_task(worker.run())
    [failed] = await rig.events.until(ProgramFailed)
    assert ("ZeroDivisionError", FAULT_RETRY) == (failed.reason, failed.retry_in)

    worker.stop()
    rig.clock.advance(5)
    await delivery


def held_back(rig: Rig, *, find: FindReplies | None = None) -> tuple[TaskGroup, Delivery, Polling]:
    """A worker that sends nothing before its first poll."""
    closed = {rig.account_id}
    delivery = rig.delivery(closed=closed)
    polling = polling_of(rig, find=find, closed=closed, opened=delivery.wake)
    return rig.worker(delivery, beside=[polling]), delivery, polling


async def test_an_opt_out_that_came_while_the_relay_was_off_is_known_before_the_first_text(rig: Rig) -> None:
    """The poll of an earlier run doesn't count, however short a time ago it was."""
    await polling_of(rig).turn()
    rig.clock.advance(1)
    rig.simulator.receive(RECIPIENT, "STOP")
    stopped, other = await rig.accept("Hello"), await rig.accept("Hello", to=recipient(50))

    worker, delivery, _ = held_back(rig)
    await delivery.turn()
    assert [] == rig.simulator.texts
    running = asyncio.create_task(worker.run())
    await rig.events.until(MessageHeld)
    await rig.events.until(AttemptFinished)
    worker.stop()
    await running

    assert (Status.HELD, Status.SENT) == (
        (await rig.message(stopped)).status,
        (await rig.message(other)).status,
    )
    assert [recipient(50)] == [text.recipient for text in rig.simulator.texts]


async def test_texts_are_sent_after_two_minutes_without_a_poll(rig: Rig) -> None:
    """With a warning; until then the poll is tried again every few seconds."""
    rig.simulator.fault(Fault(Kind.STATUS, on="read", status=503))
    worker, _, polling = held_back(rig)
    await rig.accept("Hello")
    running = asyncio.create_task(worker.run())
    tries = int(FIRST_POLL_WITHIN / FIRST_RETRY)
    for count in range(1, tries + 1):
        await rig.events.until(RepliesNotRead, count)
        assert [] == rig.simulator.texts
        rig.clock.advance(FIRST_RETRY)
        polling.wake()
    [late] = await rig.events.until(SendingUnpolled)
    await rig.events.until(AttemptFinished)
    worker.stop()
    await running

    assert rig.account_id == late.account_id
    assert 1 == len(rig.simulator.texts)
    # The last try was at that very moment, or the one before it.
    assert timedelta() <= rig.clock.now() + EVERY - await polling.turn() <= FIRST_RETRY


async def test_the_first_poll_of_one_node_counts_for_those_that_started_before_it(rig: Rig) -> None:
    waiting = polling_of(rig, find=Recorder(fault="CallRail is having problems (503).").find_replies)
    await waiting.turn()
    assert waiting.closed
    rig.clock.advance(FIRST_RETRY)
    await polling_of(rig).turn()

    await waiting.turn()

    assert not waiting.closed
    assert 1 == used(rig)


async def test_a_command_polls_before_it_sends_unless_that_was_done_lately(rig: Rig) -> None:
    assert await polling_of(rig).poll_now()
    rig.clock.advance(EVERY - MINUTE)
    rig.simulator.receive(RECIPIENT, "STOP")
    assert await polling_of(rig).poll_now()
    assert 1 == used(rig)
    rig.clock.advance(MINUTE * 2)
    assert await polling_of(rig).poll_now()
    assert 2 == used(rig)
    assert await rig.outbox.read(opt_outs.is_opted_out, rig.simulator.tracking_number, RECIPIENT)


async def test_a_command_waits_ten_seconds_for_a_poll(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """And lets others do it: no lease stays behind."""
    time = LoopTime(monkeypatch)

    class Silent:
        async def find_replies(self, account_id: str, company_id: str, *, since: object) -> SeenReplies:
            time.jump(COMMAND_WAITS)
            await asyncio.Event().wait()
            raise AssertionError

    assert not await polling_of(rig, find=Silent().find_replies).poll_now()
    rig.clock.advance(FIRST_RETRY)
    assert await polling_of(rig).poll_now()


async def test_a_poll_whose_end_was_not_recorded_is_made_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the store is back, texts wait for another poll, not until the lease of the first one is over."""

    def broken(*_: object, **__: object) -> None:
        raise Unavailable("The database does not answer.")

    polling = polling_of(rig)
    with monkeypatch.context() as patched:
        patched.setattr(store_replies, "end_poll", broken)
        with pytest.raises(Unavailable):
            await polling.turn()
    assert polling.closed
    rig.clock.advance(1)
    await polling.turn()

    assert not polling.closed


async def test_a_clock_that_is_set_back_brings_one_poll_more(rig: Rig) -> None:
    """The account is opened by it; the requests of the hour are not used up."""

    class SetBack(Recorder):
        async def find_replies(self, account_id: str, company_id: str, *, since: object) -> SeenReplies:
            if not self.since:
                rig.clock.set(rig.clock.now() - timedelta(minutes=30))
            return await super().find_replies(account_id, company_id, since=since)

    await rig.accept("Hello")
    reader = SetBack()
    polling = polling_of(rig, find=reader.find_replies)
    await polling.turn()
    rig.clock.advance(FIRST_RETRY)
    await polling.turn()

    assert not polling.closed
    assert 2 >= len(reader.since)


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=30)])
async def test_polls_of_a_clock_that_was_ahead_delay_no_stop(rig: Rig, ahead: timedelta) -> None:
    """Nothing but a poll was written while it was; what that one should have read is read again."""
    await rig.accept("Hello")
    rig.simulator.receive(RECIPIENT, "STOP")
    rig.clock.set(START + ahead)
    await polling_of(rig, find=Recorder().find_replies).turn()
    rig.clock.set(START + MINUTE)
    await rig.outbox.write_probe()
    for _ in range(2):
        rig.clock.advance(EVERY)
        await polling_of(rig).turn()

    assert await rig.outbox.read(opt_outs.is_opted_out, rig.simulator.tracking_number, RECIPIENT)
