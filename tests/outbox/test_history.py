"""What the dashboard reads."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from callrail_relay.domain.account import DAY, HOUR
from callrail_relay.domain.guards import Verdict
from callrail_relay.domain.message import MessageFilter, Reason, Status
from callrail_relay.domain.outcome import Unknown
from callrail_relay.outbox import decisions, history, opt_outs, queries
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import callrail_texts, messages
from tests.outbox.database import connected
from tests.outbox.worker import REFUSED, SENT, Worker, accept_one, put
from tests.support.clock import START, ManualClock
from tests.support.factories import (
    ACCOUNT,
    BODY,
    RECIPIENT,
    TRACKING_NUMBER,
    make_draft,
    make_message,
    make_submission,
    recipient,
)
from tests.support.policies import lookup_policy

pytestmark = pytest.mark.anyio

HELD = Verdict((Reason("merge_tag", {"detail": "A merge tag was not filled in."}),))


async def hold(outbox: Store, text: str = "Held") -> str:
    message = make_message(draft=make_draft(text=text), verdict=HELD)
    await accept_one(outbox, make_submission(message))
    return message.id


async def texts_of(outbox: Store, wanted: MessageFilter) -> list[str | None]:
    return [row.text for row in (await outbox.read(history.read_page, wanted)).rows]


# --- pages -----------------------------------------------------------------------------------------------


async def test_pages_follow_each_other_without_gap_or_repetition(outbox: Store) -> None:
    """Newest first; also when new texts come in between."""
    for number in range(7):
        await put(outbox, f"Text {number}", to=recipient(number))
    first = await outbox.read(history.read_page, MessageFilter(limit=3))
    await put(outbox, "Later", to=recipient(8))
    second = await outbox.read(history.read_page, MessageFilter(limit=3, before=first.older))
    third = await outbox.read(history.read_page, MessageFilter(limit=3, before=second.older))

    shown = [row.text for page in (first, second, third) for row in page.rows]
    assert [f"Text {number}" for number in reversed(range(7))] == shown
    assert third.older is None


async def test_page_is_narrowed(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """By each field, and by several at once."""
    await put(outbox, "House on Elm", to=recipient(1))
    await worker.finish(await worker.take(), SENT)
    clock.advance(timedelta(days=1))
    await hold(outbox, "House on OAK")
    await put(outbox, "100% sure_ and/or", to=recipient(2))

    assert ["100% sure_ and/or", "House on OAK", "House on Elm"] == await texts_of(outbox, MessageFilter())
    assert ["House on OAK"] == await texts_of(outbox, MessageFilter(statuses=(Status.HELD,)))
    both = MessageFilter(statuses=(Status.SENT, Status.HELD))
    assert ["House on OAK", "House on Elm"] == await texts_of(outbox, both)
    assert ["House on Elm"] == await texts_of(outbox, MessageFilter(recipient=recipient(1)))
    assert ["House on OAK"] == await texts_of(outbox, MessageFilter(words=("oak", "pat")))
    assert [] == await texts_of(outbox, MessageFilter(words=("oak", "elm")))
    assert ["100% sure_ and/or"] == await texts_of(outbox, MessageFilter(words=("0%", "E_", "d/O")))
    assert [] == await texts_of(outbox, MessageFilter(words=("o%n",)))
    assert 3 == len(await texts_of(outbox, MessageFilter(name="PAT EX")))
    assert 3 == len(await texts_of(outbox, MessageFilter(opportunity_id="101", sender_id="789")))
    assert ["House on Elm"] == await texts_of(outbox, MessageFilter(sender_id="789", statuses=(Status.SENT,)))
    assert [] == await texts_of(outbox, MessageFilter(tracking_number="+12025550199"))
    day = MessageFilter(since=START, until=START + timedelta(hours=1))
    assert ["House on Elm"] == await texts_of(outbox, day)
    assert 2 == len(await texts_of(outbox, MessageFilter(since=START + timedelta(hours=1))))
    assert [] == await texts_of(outbox, MessageFilter(since=START + timedelta(days=2)))
    assert [] == await texts_of(outbox, MessageFilter(until=START))
    # As people type a number; a part of one is a word like any other.
    number = f"({recipient(2)[2:5]}) {recipient(2)[5:8]}-{recipient(2)[8:]}"
    assert ["100% sure_ and/or"] == await texts_of(outbox, MessageFilter(words=tuple(number.split())))
    assert [] == await texts_of(outbox, MessageFilter(words=(number[-4:],)))


async def test_search_stops_and_goes_on(
    outbox: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that is far back costs one look at a time, and each says how far it came."""
    monkeypatch.setattr(queries, "LOOKED_THROUGH", 3)
    await put(outbox, "Needle", to=recipient(0))
    for number in range(1, 5):
        clock.advance(60)
        await put(outbox, f"Hay {number}", to=recipient(number))

    first = await outbox.read(history.read_page, MessageFilter(words=("needle",)))
    assert () == first.rows
    assert START + timedelta(minutes=1) == first.searched_to
    second = await outbox.read(history.read_page, MessageFilter(words=("needle",), before=first.older))
    assert ["Needle"] == [row.text for row in second.rows]
    assert (None, None) == (second.older, second.searched_to)

    lately = MessageFilter(words=("needle",), since=START + timedelta(minutes=1))
    first = await outbox.read(history.read_page, lately)
    assert START + timedelta(minutes=1) == first.searched_to
    second = await outbox.read(history.read_page, replace(lately, before=first.older))
    assert ((), None) == (second.rows, second.searched_to)


# --- what waits ------------------------------------------------------------------------------------------


async def test_what_waits_is_told_apart(
    outbox: Store, worker: Worker, clock: ManualClock, store_url: str
) -> None:
    """What waits for a person, what is looked up or released by itself, and what failed lately."""
    await put(outbox, "Fails", to=recipient(1))
    await worker.finish(await worker.take(), REFUSED)
    clock.advance(timedelta(days=2))
    await put(outbox, "Fails again", to=recipient(2))
    await worker.finish(await worker.take(), REFUSED)
    await hold(outbox)
    later = await hold(outbox, "Released later")
    with connected(store_url) as connection:
        connection.execute(sa.update(messages).where(messages.c.id == later).values(release_at=START))
    await put(outbox, "Queued", to=recipient(3))

    waiting = await outbox.read(history.read_waiting)

    assert (1, 1, 0) == (waiting.held.count, waiting.failed.count, waiting.unknown.count)
    assert ["Fails again"] == [row.text for row in waiting.failed.rows]
    assert ["Released later"] == [row.text for row in waiting.released_later.rows]
    assert 1 == waiting.queued
    assert 2 == waiting.for_person == await outbox.read(history.count_for_person)
    clock.advance(timedelta(days=1, seconds=1))
    assert 1 == await outbox.read(history.count_for_person)


async def test_unknown_text_waits_for_a_person_when_it_is_not_looked_up_any_more(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Until then it is on its way to be settled by itself."""
    looked_up = replace(worker, lookups=lookup_policy(accounts=frozenset({ACCOUNT})))
    await put(outbox, "Looked up")
    await looked_up.finish(await looked_up.take(), Unknown("It broke."))
    clock.advance(timedelta(minutes=30))  # the account waits after an unknown outcome
    await put(outbox, "Left", to=recipient(1))
    await worker.finish(await worker.take(), Unknown("It broke."))

    waiting = await outbox.read(history.read_waiting)

    assert ["Looked up"] == [row.text for row in waiting.looked_up.rows]
    assert [True] == [row.looked_up for row in waiting.looked_up.rows]
    assert ["Left"] == [row.text for row in waiting.unknown.rows]


async def test_what_waits_is_counted_to_the_last_one(outbox: Store, store_url: str) -> None:
    """A page shows a few of them and says truly how many there are."""
    held = [await hold(outbox) for _ in range(6)]
    with connected(store_url) as connection:
        later = sa.update(messages).where(messages.c.id.in_(held[:2]))
        connection.execute(later.values(release_at=START))

    waiting = await outbox.read(history.read_waiting, 2)

    assert (4, 2) == (waiting.held.count, len(waiting.held.rows))
    assert 2 == waiting.released_later.count
    assert 4 == await outbox.read(history.count_for_person)


async def test_a_row_knows_that_its_person_opted_out(outbox: Store) -> None:
    """From this number, not from another one."""
    await hold(outbox)
    await outbox.write(opt_outs.add_opt_out, "+12025550199", RECIPIENT, "Asked by phone.")
    [row] = (await outbox.read(history.read_waiting)).held.rows
    assert not row.opted_out

    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "Asked by phone.")
    [row] = (await outbox.read(history.read_waiting)).held.rows
    assert row.opted_out


async def test_overview_counts_what_came_in(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """By quarters of an hour and by what became of it; and says which use of the budget ends next."""
    assert {ACCOUNT: (None, None)} == await outbox.read(history.read_frees_at, [ACCOUNT])
    assert not await outbox.read(history.any_sent)
    await put(outbox, "Sent", to=recipient(1))
    await worker.finish(await worker.take(), SENT)
    clock.advance(timedelta(minutes=16))
    await hold(outbox)
    await hold(outbox)

    arrivals = await outbox.read(history.read_arrivals, START, None)

    assert await outbox.read(history.any_sent)
    assert [(START, Status.SENT, 1), (START + timedelta(minutes=15), Status.HELD, 2)] == sorted(
        (one.begins, one.status, one.count) for one in arrivals
    )
    assert {ACCOUNT: (START + HOUR, START + DAY)} == await outbox.read(history.read_frees_at, [ACCOUNT])
    past = await outbox.read(history.read_arrivals, START, START + timedelta(minutes=15))
    assert [Status.SENT] == [one.status for one in past]
    clock.advance(timedelta(hours=1))
    assert {ACCOUNT: (None, START + DAY)} == await outbox.read(history.read_frees_at, [ACCOUNT])


# --- one text, one person --------------------------------------------------------------------------------


async def test_history_of_a_text(outbox: Store) -> None:
    """Its request as it came, what a person overrode, and whether the person opted out."""
    id_ = await hold(outbox)
    await outbox.write(decisions.approve, id_)
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "Replied STOP")

    [message] = await outbox.read(queries.find_messages, id_)
    raw = await outbox.read(queries.read_submission, message.submission_id)
    [row] = await outbox.read(history.read_rows, [id_])

    assert (BODY, "application/json") == (raw.body, raw.content_type)
    assert ("merge_tag",) == message.approved
    assert row.opted_out


async def test_conversation_has_both_sides(outbox: Store, store_url: str, clock: ManualClock) -> None:
    """In the order in which it was written, a page at a time, and only between these two."""
    await put(outbox, "One")
    said = [("in", 1, "Two", None), ("out", 2, "Three", None)]
    with connected(store_url) as connection:
        for number, (direction, minute, content, attempt) in enumerate(said):
            connection.execute(
                sa.insert(callrail_texts).values(
                    resource_id=str(number),
                    direction=direction,
                    written_at=START + timedelta(minutes=minute),
                    received_at=START,
                    tracking_number=TRACKING_NUMBER,
                    recipient=RECIPIENT,
                    content=content,
                    attempt_id=attempt,
                )
            )
    clock.advance(timedelta(minutes=3))
    await put(outbox, "Four")
    await put(outbox, "To somebody else", to=recipient(1))

    latest = await outbox.read(history.read_conversation, TRACKING_NUMBER, RECIPIENT, None, 3)
    assert ["Two", "Three", "Four"] == [one.content for one in latest.messages]
    assert [True, False, False] == [one.inbound for one in latest.messages]
    assert ("Pat Example", False) == (latest.seller, latest.opted_out)
    earlier = await outbox.read(history.read_conversation, TRACKING_NUMBER, RECIPIENT, latest.older, 3)
    assert ["One"] == [one.content for one in earlier.messages]
    assert earlier.older is None


async def test_newest_opt_outs(outbox: Store, clock: ManualClock) -> None:
    for number in range(3):
        clock.advance(1)
        await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(number), "Asked")

    found = await outbox.read(opt_outs.list_opt_outs, 2)

    assert [recipient(2), recipient(1)] == [one.recipient for one in found]


async def test_marker_changes_with_what_is_shown_and_with_nothing_else(
    outbox: Store, second_outbox: Store, worker: Worker
) -> None:
    """No matter what changes it; asking changes nothing."""
    seen = [await outbox.read(history.read_marker)]

    async def note() -> None:
        seen.append(await outbox.read(history.read_marker))
        assert seen[-1] == await second_outbox.read(history.read_marker)

    id_ = await hold(second_outbox)
    await note()
    await second_outbox.write(decisions.approve, id_)
    await note()
    claim = await worker.take()
    await note()
    await worker.finish(claim, SENT)
    await note()
    await second_outbox.write(decisions.pause, ACCOUNT, "Holidays")
    await note()
    await second_outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "Asked")
    await note()
    assert len(seen) == len(set(seen))
    await second_outbox.write_probe()
    assert seen[-1] == await outbox.read(history.read_marker)
