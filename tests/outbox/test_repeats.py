"""Requests that a sender repeats under one key: stored once, in a burst, on two nodes, and after years."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from callrail_relay.domain.mapper import RawSubmission, repeat_key
from callrail_relay.domain.message import MessageFilter, Status
from callrail_relay.outbox import decisions, queries, retention
from callrail_relay.outbox.accept import KEY_LASTS, Receipt
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import repeat_keys
from tests.outbox.database import connected
from tests.outbox.requests import make_mapper, make_raw
from tests.support.clock import ManualClock
from tests.support.factories import recipient

pytestmark = pytest.mark.anyio


def keyed(key: str, text: str = "Hello", *, to: str = recipient(1)) -> RawSubmission:
    raw = make_raw(text, to=to)
    return RawSubmission(
        id=raw.id,
        body=raw.body,
        content_type=raw.content_type,
        repeat_key=repeat_key(key, raw.body, ""),
    )


async def take(*taken: tuple[Store, RawSubmission]) -> list[Receipt]:
    mapper = make_mapper()
    return await asyncio.gather(*(outbox.accept(mapper(raw)) for outbox, raw in taken))


async def texts(outbox: Store) -> list[str]:
    return sorted(
        message.text or "" for message in await outbox.read(queries.list_messages, MessageFilter(limit=0))
    )


async def test_a_repeat_is_known_by_its_key(outbox: Store, clock: ManualClock) -> None:
    """Case 33: for a day."""
    first = keyed("one")
    await take((outbox, first))
    clock.advance(KEY_LASTS - timedelta(seconds=1))

    assert [Receipt(submission_id=first.id)] == await take((outbox, keyed("one")))
    assert ["Hello"] == await texts(outbox)


async def test_a_fixed_key_swallows_no_text(outbox: Store, clock: ManualClock) -> None:
    """A sender with a fixed header may write the same words to a person another day."""
    await take((outbox, keyed("fixed")))
    clock.advance(KEY_LASTS)

    second = keyed("fixed")
    [stored] = await take((outbox, second))

    assert stored.accepted
    assert [Receipt(submission_id=second.id)] == await take((outbox, keyed("fixed")))
    assert ["Hello", "Hello"] == await texts(outbox)


async def test_other_content_under_a_key_is_another_text(outbox: Store) -> None:
    """A sender that uses a key twice by mistake loses nothing; and other keys are other texts."""
    for raw in (keyed("one"), keyed("one", "Other"), keyed("two", to=recipient(2))):
        [stored] = await take((outbox, raw))
        assert stored.accepted

    assert ["Hello", "Hello", "Other"] == await texts(outbox)


async def test_without_a_key_nothing_is_a_repeat(outbox: Store, clock: ManualClock) -> None:
    """After the guard's window the same text is meant twice."""
    await take((outbox, make_raw()))
    clock.advance(timedelta(seconds=6))
    [again] = await take((outbox, make_raw()))

    assert [Status.QUEUED] == [one.status for one in again.accepted]


async def test_repeats_of_one_burst_are_stored_once(outbox: Store) -> None:
    """The first of them is stored, also when they share a commit."""
    raws = [keyed(str(number % 6), f"Text {number % 6}", to=recipient(number % 6)) for number in range(18)]

    stored = await take(*((outbox, raw) for raw in raws))

    assert all(one.accepted for one in stored[:6])
    assert [Receipt(submission_id=raws[at % 6].id) for at in range(6, 18)] == stored[6:]
    assert [f"Text {number}" for number in range(6)] == await texts(outbox)


async def test_two_nodes_store_a_repeat_once(outbox: Store, second_outbox: Store) -> None:
    """Also when both get it at the same instant, many times, in another order."""
    for turn in range(10):
        ours = [keyed(f"{turn} {number}", f"{turn} {number}", to=recipient(number)) for number in range(3)]
        theirs = [keyed(f"{turn} {number}", f"{turn} {number}", to=recipient(number)) for number in (2, 1, 0)]

        stored = await take(*((outbox, raw) for raw in ours), *((second_outbox, raw) for raw in theirs))

        assert 3 == sum(not one.accepted for one in stored)
    assert 30 == len(await texts(outbox))


async def test_what_was_not_stored_may_be_repeated(outbox: Store) -> None:
    """The key is taken in the transaction that stores the request, or not at all."""
    first = keyed("one")
    await take((outbox, replace(keyed("two", "Other"), id=first.id)))

    with pytest.raises(sa.exc.IntegrityError):  # its id is taken
        await take((outbox, first))

    [stored] = await take((outbox, keyed("one")))
    assert stored.accepted


async def test_keys_are_removed_with_what_is_personal(
    outbox: Store, clock: ManualClock, store_url: str
) -> None:
    """A digest of a text is removed when the text is."""
    for key, text in (("one", "Hello"), ("two", "Kept")):
        await take((outbox, keyed(key, text)))
    [message] = [
        one for one in await outbox.read(queries.list_messages, MessageFilter()) if one.text == "Hello"
    ]
    assert await outbox.write(decisions.cancel, message.id, [Status.QUEUED])
    clock.advance(timedelta(days=3))

    assert 1 == await outbox.write(retention.retire, clock.now() - timedelta(days=2), 10)

    with connected(store_url) as connection:
        assert 1 == len(connection.execute(sa.select(repeat_keys)).all())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", b"b", ""), ("a", b"", "b")),
        (("a", b"bc", ""), ("ab", b"c", "")),
        (("a", b"", "b"), ("ab", b"", "")),
        (("a", b"b", ""), ("A", b"b", "")),
    ],
)
def test_a_key_is_of_the_whole_request(one: tuple[str, bytes, str], other: tuple[str, bytes, str]) -> None:
    """No two requests share one by where their parts end."""
    assert repeat_key(*one) == repeat_key(*one)
    assert repeat_key(*one) != repeat_key(*other)
