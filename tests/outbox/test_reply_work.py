"""What nodes share of the work on replies: looking for them, and passing them on."""

from dataclasses import replace
from datetime import timedelta

import pytest

from callrail_relay.domain.inbound import OVERLAP
from callrail_relay.outbox import replies
from callrail_relay.outbox.store import Store
from tests.outbox.told import POLICY, ingest_one, make_told, new_keys
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, COMPANY
from tests.support.policies import poll_policy

pytestmark = pytest.mark.anyio

EVERY = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
POLLS = poll_policy(companies=((ACCOUNT, COMPANY), (ACCOUNT, "COM2")), every=EVERY)


async def test_each_look_is_made_by_one_node(outbox: Store, second_outbox: Store, clock: ManualClock) -> None:
    """And each company has its own; one that was dropped is made again when its lease is over."""
    assert (list(POLLS.companies), START) == await outbox.read(replies.due_polls, POLLS)
    one, other = POLLS.companies
    first = await outbox.write(replies.claim_poll, one, POLLS)
    second = await second_outbox.write(replies.claim_poll, other, POLLS)
    assert first is not None
    assert second is not None
    assert (COMPANY, "COM2") == (first.company_id, second.company_id)
    assert [None, None] == [await outbox.write(replies.claim_poll, it, POLLS) for it in POLLS.companies]

    await outbox.write(replies.end_poll, first.id, 1, well=True)
    assert ([], START + EVERY) == await second_outbox.read(replies.due_polls, POLLS)
    clock.advance(EVERY)
    again = [await second_outbox.write(replies.claim_poll, it, POLLS) for it in POLLS.companies * 2]

    assert [(COMPANY, START - OVERLAP), ("COM2", clock.now() - timedelta(days=1))] == [
        (one.company_id, one.since) for one in again if one is not None
    ]


async def test_a_reply_that_was_seen_and_told_is_one(outbox: Store) -> None:
    """In either order, twice, and each of two with the same words."""
    seen = [make_told("Yes", key=f"seen:{n}", seen=True, written_at=START - n * MINUTE / 2) for n in (2, 1)]
    told = [make_told("Yes", key=f"SCI{n}", written_at=START - n * MINUTE / 2) for n in (2, 1)]

    assert await ingest_one(outbox, told[0], POLICY) is not None
    assert [seen[1].key] == await new_keys(outbox, seen)
    assert await ingest_one(outbox, told[1], POLICY) is None
    assert [] == await new_keys(outbox, seen)


async def test_each_reply_is_passed_on_by_one_node(
    outbox: Store, second_outbox: Store, clock: ManualClock
) -> None:
    """The one that waited longest first."""
    policy = replace(POLICY, forwards=True)
    assert await outbox.read(replies.next_forward) is None
    for number in range(2):
        await ingest_one(outbox, make_told(f"Reply {number}", key=f"SCI{number}"), policy)
        clock.advance(MINUTE)

    assert START == await outbox.read(replies.next_forward)
    taken = [
        await store.write(replies.claim_forward, 5 * MINUTE) for store in (outbox, second_outbox, outbox)
    ]
    assert ["Reply 0", "Reply 1", None] == [one and one.text for one in taken]

    await outbox.write(replies.end_forward, "SCI0", None)
    await outbox.write(replies.end_forward, "SCI1", clock.now() + MINUTE)
    clock.advance(MINUTE)
    again = await second_outbox.write(replies.claim_forward, 5 * MINUTE)
    assert again is not None
    assert ("Reply 1", 2) == (again.text, again.tries)
