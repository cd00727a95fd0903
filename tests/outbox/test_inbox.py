"""
The inbox: a burst is on disk before it is looked into, and is mapped in its order and by its own rules.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from itertools import count

import pytest
import sqlalchemy as sa

from callrail_relay.domain.budget import Limits
from callrail_relay.domain.guards import GuardPolicy, Mode
from callrail_relay.domain.mapper import Mapper, MappingPolicy, read_policy
from callrail_relay.domain.message import Message, MessageFilter, Source, Status
from callrail_relay.domain.routing import Route, Routes
from callrail_relay.domain.submission import Accepted, Mapped, RawSubmission, Repeated
from callrail_relay.outbox.inbox import FEW
from callrail_relay.outbox.store import Outbox
from callrail_relay.outbox.tables import inbox, submissions
from tests.outbox.database import connected
from tests.outbox.worker import put
from tests.support.clock import START, ManualClock
from tests.support.factories import RECIPIENT, make_id, make_message, make_route, make_submission, recipient

pytestmark = pytest.mark.anyio

OTHER_ROUTE = Route("ACC2", "COM2", "+12025550134")


def make_mapper(route: Route | None = None, new_id: Callable[[], str] = make_id) -> Mapper:
    policy = MappingPolicy(
        routes=Routes(default=route or make_route()),
        guards=GuardPolicy(mass_text=Mode.OFF),
        max_characters=140,
        limits=Limits(150, 1000),
    )
    return Mapper(policy, new_id)


def read_mapping(policy: str) -> Mapper:
    return Mapper(read_policy(policy), make_id)


def make_raw(text: str = "Hello", *, to: str = RECIPIENT, body: bytes | None = None) -> RawSubmission:
    payload = json.dumps({"message": text, "seller_phone": to}).encode()
    return RawSubmission(
        id=make_id(), body=payload if body is None else body, content_type="application/json"
    )


async def take_burst(
    outbox: Outbox, *raws: RawSubmission, mapper: Mapper | None = None
) -> list[list[Accepted] | None]:
    """
    Take requests that come all at the same time.
    """
    mapper = mapper or make_mapper()
    answers = await asyncio.gather(*(outbox.take(raw, mapper) for raw in raws))
    return [answer for answer in answers if not isinstance(answer, Repeated)]


async def map_all(outbox: Outbox, *, most: int = 25) -> list[Mapped]:
    """
    Map until the inbox is empty.
    """
    mapped: list[Mapped] = []
    while portion := await outbox.map_inbox(most, read_mapping):
        mapped += portion
    return mapped


async def texts(outbox: Outbox) -> list[str | None]:
    """
    The texts of all messages in the order in which they leave.
    """
    newest_first = await outbox.list_messages(MessageFilter(limit=0))
    return [message.text for message in reversed(newest_first)]


async def only_message(outbox: Outbox, submission_id: str) -> Message:
    [message] = await outbox.find_messages(submission_id)
    return message


def burst(size: int = 10) -> list[RawSubmission]:
    """
    One text each to different people, more than are mapped at once.
    """
    assert size > FEW
    return [make_raw(f"Text {number}", to=recipient(number)) for number in range(size)]


async def test_a_few_requests_are_mapped_at_once(outbox: Outbox) -> None:
    """
    They are messages when they are answered, and the inbox stays empty.
    """
    raws = burst()[:FEW]

    answers = await take_burst(outbox, *raws)

    assert [[Status.QUEUED]] * FEW == [[one.status for one in answer or ()] for answer in answers]
    assert await outbox.inbox_is_empty()
    assert ["Text 0", "Text 1", "Text 2", "Text 3"] == await texts(outbox)


async def test_a_burst_is_on_disk_before_anybody_looks_into_it(outbox: Outbox, store_url: str) -> None:
    """
    Byte for byte, with the instant of its arrival; it has no messages yet.
    """
    raws = burst()

    assert [None] * len(raws) == await take_burst(outbox, *raws)

    assert not await outbox.inbox_is_empty()
    assert [] == await texts(outbox)
    with connected(store_url) as connection:
        rows = connection.execute(sa.select(inbox).order_by(inbox.c.seq)).all()
    assert [(raw.id, raw.body, "application/json", START) for raw in raws] == [
        (row.id, bytes(row.body), row.content_type, row.received_at) for row in rows
    ]


async def test_the_inbox_is_mapped_in_the_order_of_arrival(outbox: Outbox, clock: ManualClock) -> None:
    """
    Each text becomes what it would have become at once, with the time at which it came.
    """
    raws = burst(60)
    await take_burst(outbox, *raws)
    clock.advance(timedelta(minutes=2))

    mapped = await map_all(outbox)

    assert [raw.id for raw in raws] == [one.submission_id for one in mapped]
    assert [f"Text {number}" for number in range(60)] == await texts(outbox)
    message = await only_message(outbox, raws[7].id)
    assert (Status.QUEUED, START, Source.WEBHOOK) == (message.status, message.received_at, message.source)
    assert (recipient(7), make_route()) == (message.recipient, message.route)
    assert await outbox.inbox_is_empty()
    assert raws[7].body == (await outbox.read_submission(raws[7].id)).body


async def test_what_comes_later_does_not_overtake_the_inbox(outbox: Outbox) -> None:
    """
    A single request waits behind a burst that is not mapped yet.
    """
    await take_burst(outbox, *burst())

    assert [None] == await take_burst(outbox, make_raw("The last one", to=recipient(3)))

    await map_all(outbox)
    assert "The last one" == (await texts(outbox))[-1]
    assert [True] == [answer is not None for answer in await take_burst(outbox, make_raw())]


async def test_each_is_mapped_as_the_relay_that_took_it_would_have(
    outbox: Outbox, second_outbox: Outbox
) -> None:
    """
    Whoever maps it later, under whatever settings of their own.
    """
    ours, theirs = burst(), burst()
    await take_burst(outbox, *ours)
    await take_burst(outbox, *theirs, mapper=make_mapper(OTHER_ROUTE))

    await map_all(second_outbox)

    assert make_route() == (await only_message(outbox, ours[0].id)).route
    assert OTHER_ROUTE == (await only_message(outbox, theirs[0].id)).route


async def test_a_double_click_is_known_by_the_time_of_arrival(outbox: Outbox, clock: ManualClock) -> None:
    """
    Within five seconds it is one, also where both are mapped much later; after that it is a second text.
    """
    first, again, later = make_raw(), make_raw(), make_raw()
    await take_burst(outbox, first, again, *burst())
    clock.advance(timedelta(seconds=6))
    await take_burst(outbox, later)
    clock.advance(timedelta(minutes=5))

    await map_all(outbox)

    statuses = [(await only_message(outbox, raw.id)).status for raw in (first, again, later)]
    assert [Status.QUEUED, Status.HELD, Status.QUEUED] == statuses


async def test_what_cannot_be_mapped_is_held(outbox: Outbox) -> None:
    """
    A burst is judged like anything else; a ping in it leaves nothing.
    """
    nonsense, ping = make_raw(body=b"What is this?"), make_raw(body=b" {} ")
    await take_burst(outbox, nonsense, ping, *burst())

    mapped = await map_all(outbox)

    held = await only_message(outbox, nonsense.id)
    assert (Status.HELD, ["unreadable"]) == (held.status, [reason.code for reason in held.reasons])
    assert [] == await outbox.find_messages(ping.id)
    assert () == next(one.accepted for one in mapped if one.submission_id == ping.id)


async def test_one_that_cannot_be_stored_keeps_nobody_back(outbox: Outbox) -> None:
    """
    It is held as a fault of the program's own, and all the others are mapped.
    """
    known = make_message()
    await outbox.accept(make_submission(known))
    raws = [make_raw(f"Text {number}", to=recipient(number + 1)) for number in range(10)]
    await take_burst(outbox, *raws)
    numbers = count()

    def read_clumsily(policy: str) -> Mapper:
        # The id of the first message that it makes is taken.
        return Mapper(read_policy(policy), lambda: known.id if next(numbers) in (0, 10) else make_id())

    while await outbox.map_inbox(25, read_clumsily):
        pass

    first = await only_message(outbox, raws[0].id)
    assert (Status.HELD, ["internal"]) == (first.status, [reason.code for reason in first.reasons])
    assert {f"Text {number}" for number in range(1, 10)} <= set(await texts(outbox))
    assert await outbox.inbox_is_empty()


async def test_a_request_that_cannot_be_stored_as_messages_is_kept_as_it_is(outbox: Outbox) -> None:
    """
    Whoever sent it is answered with success, and the fault is shown with the text.
    """
    known = make_message()
    await outbox.accept(make_submission(known))
    raw = make_raw("Hello", to=recipient(1))

    answers = await take_burst(outbox, raw, mapper=make_mapper(new_id=lambda: known.id))

    assert [None] == answers
    assert not await outbox.inbox_is_empty()
    await map_all(outbox)
    assert "Hello" == (await only_message(outbox, raw.id)).text


async def test_two_that_map_at_once_share_the_work(outbox: Outbox, second_outbox: Outbox) -> None:
    """
    Each request becomes a message once, and the order stays.
    """
    raws = burst(60)
    await take_burst(outbox, *raws)

    mapped = await asyncio.gather(map_all(outbox, most=7), map_all(second_outbox, most=7))

    assert sorted(raw.id for raw in raws) == sorted(one.submission_id for some in mapped for one in some)
    assert [f"Text {number}" for number in range(60)] == await texts(outbox)


async def test_a_clock_that_is_set_back_moves_what_is_in_the_inbox(
    outbox: Outbox, clock: ManualClock
) -> None:
    """
    Its texts are not from the future when they are mapped.
    """
    raws = burst()
    await put(outbox, "Before", to=recipient(30))
    clock.advance(timedelta(hours=3))
    await take_burst(outbox, *raws)
    clock.set(START)

    await map_all(outbox)

    assert START == (await only_message(outbox, raws[0].id)).received_at


async def test_a_submission_has_one_row_in_the_end(outbox: Outbox, store_url: str) -> None:
    """
    What was in the inbox leaves it for the submissions.
    """
    await take_burst(outbox, *burst())
    await map_all(outbox)

    with connected(store_url) as connection:
        assert 10 == connection.scalar(sa.select(sa.func.count()).select_from(submissions))
        assert 0 == connection.scalar(sa.select(sa.func.count()).select_from(inbox))
