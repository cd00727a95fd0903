"""Looking for replies at the simulator, where no webhook tells of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.domain.events import OptedOut, ProgramFailed, RepliesNotRead, ReplyReceived
from callrail_relay.domain.inbound import (
    FIRST,
    LONGEST,
    OVERLAP,
    CallRailText,
    Direction,
    PollPolicy,
    SeenReplies,
    ShownNumber,
)
from callrail_relay.outbox import history, inbound, opt_outs
from callrail_relay.outbox import polling as store_polling
from callrail_relay.service.background import FAULT_RETRY
from callrail_relay.service.replies import Polling, ReplyReader
from tests.service.rig import Rig, open_rig
from tests.support.clock import START
from tests.support.factories import RECIPIENT, recipient

pytestmark = pytest.mark.anyio

EVERY = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as one:
        yield one


def policy_of(rig: Rig, *, requests_per_hour: int = 800) -> PollPolicy:
    companies = ((rig.account_id, rig.simulator.company_id),)
    return PollPolicy(companies=companies, every=EVERY, requests_per_hour=requests_per_hour)


def polling_of(rig: Rig, *, reader: ReplyReader | None = None, requests_per_hour: int = 800) -> Polling:
    return Polling(
        rig.outbox,
        reader or rig.callrail,
        policy_of(rig, requests_per_hour=requests_per_hour),
        rig.witness,
        clock=rig.clock,
        hook=rig.events,
    )


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
    hour, _day = rig.simulator.general_limits[rig.account_id].used(rig.clock.now())
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
    assert await rig.outbox.read(opt_outs.is_suppressed, rig.simulator.tracking_number, RECIPIENT)
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
        noted = await rig.outbox.write(inbound.note, text, rig.witness)
        assert (reply == "New") is noted.is_new
    rig.clock.advance(EVERY)
    await polling.turn()

    assert 3 == len(rig.events.of(ReplyReceived))
    conversation = await rig.outbox.read(
        history.read_conversation, rig.simulator.tracking_number, RECIPIENT, None, 10
    )
    assert ["Yes", "Yes", "New"] == [text.content for text in conversation.utterances]


async def test_each_look_reaches_behind_the_last_one_that_ended_well(rig: Rig) -> None:
    """The first one a day; after a long time off a week at most."""
    reader, broken = Recorder(), Recorder(fault="CallRail has trouble (503).")
    await polling_of(rig, reader=reader).turn()
    rig.clock.advance(EVERY)
    await polling_of(rig, reader=broken).turn()
    rig.clock.advance(EVERY)
    await polling_of(rig, reader=reader).turn()
    rig.clock.advance(LONGEST * 3)
    await polling_of(rig, reader=reader).turn()

    assert [START - FIRST, START - OVERLAP, rig.clock.now() - LONGEST] == reader.since
    assert [START - OVERLAP] == broken.since
    [failed] = rig.events.of(RepliesNotRead)
    assert "CallRail has trouble (503)." == failed.reason
    # What nothing follows from any more is forgotten.
    assert [(1,)] == rig.stored("COUNT(*)", "polls")


async def test_of_several_nodes_one_looks(rig: Rig) -> None:
    """Another one takes over when that one does not come back."""
    first = await rig.outbox.write(store_polling.claim_poll, policy_of(rig))
    assert first is not None

    second = polling_of(rig)
    assert START + EVERY == await second.turn()
    assert 0 == used(rig)

    rig.clock.set(START + EVERY)
    await second.turn()
    assert 1 == used(rig)


async def test_looks_share_the_requests_with_looking_up(rig: Rig) -> None:
    """What one takes the other does not have, for an hour."""
    polling = polling_of(rig, reader=Recorder(), requests_per_hour=3)
    await polling.turn()
    rig.clock.advance(EVERY)
    assert await rig.outbox.write(store_polling.claim_poll, policy_of(rig, requests_per_hour=3)) is None

    rig.clock.set(START + timedelta(hours=1))
    assert await rig.outbox.write(store_polling.claim_poll, policy_of(rig, requests_per_hour=3)) is not None


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


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(Kind.STATUS, on="read", status=429), "CallRail's limit for requests is reached"),
        (Fault(Kind.DROP, on="read"), "cannot be reached"),
        (Fault(Kind.GARBAGE, on="read"), "not as CallRail does"),
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
    assert await rig.outbox.read(opt_outs.is_suppressed, rig.simulator.tracking_number, RECIPIENT)


async def test_a_stop_over_one_of_several_numbers_holds_for_ours(rig: Rig) -> None:
    """A conversation over two numbers does not tell which of them a reply came to."""
    other = rig.simulator.add_tracker(name="Second").tracking_numbers[0]
    rig.simulator.write(RECIPIENT, "Hello", tracking_number=other)
    rig.simulator.receive(RECIPIENT, "STOP")

    await polling_of(rig).turn()

    assert await rig.outbox.read(opt_outs.is_suppressed, rig.simulator.tracking_number, RECIPIENT)


async def test_a_fault_of_ours_does_not_end_the_looking(rig: Rig) -> None:
    """It runs beside delivery until it is told to stop."""

    class Broken:
        async def find_replies(self, account_id: str, company_id: str, *, since: object) -> SeenReplies:
            raise ZeroDivisionError

    polling = polling_of(rig, reader=Broken())
    worker = rig.worker(beside=[polling])
    delivery = asyncio.create_task(worker.run())
    [failed] = await rig.events.until(ProgramFailed)
    assert ("ZeroDivisionError", FAULT_RETRY) == (failed.reason, failed.retry_in)

    worker.stop()
    rig.clock.advance(5)
    await delivery
