"""Replies that CallRail reports: kept once, and heeded."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from callrail_relay.domain.inbound import ShownNumber
from callrail_relay.domain.opt_outs import Origin
from callrail_relay.domain.outcome import Refusal, Rejected, Sent
from callrail_relay.outbox import inbound, opt_outs
from callrail_relay.outbox.columns import EPOCH, MICROSECOND
from callrail_relay.outbox.store import Store
from tests.outbox.database import connected
from tests.outbox.told import POLICY, ingest_one, make_told, masked, new_keys, tell
from tests.outbox.worker import Worker, codes_of, put, status_of, told
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, RECIPIENT, TRACKING_NUMBER, recipient

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)
OTHER_NUMBER = "+12025550144"
KIM = "+13035550122"
"""Whose last digits are those of RECIPIENT."""


async def is_opted_out(outbox: Store, person: str = RECIPIENT) -> bool:
    return await outbox.read(opt_outs.is_opted_out, TRACKING_NUMBER, person)


def rows(store_url: str, columns: str = "*") -> list[tuple[object, ...]]:
    with connected(store_url) as connection:
        query = sa.text(f"SELECT {columns} FROM callrail_texts ORDER BY written_at, resource_id")
        return [tuple(row) for row in connection.execute(query)]


async def test_stop_keeps_the_next_text_back(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Until the person says START; others are texted as before."""
    news = await tell(outbox, "Stop.")
    held, sent = await put(outbox, "Hello"), await put(outbox, "Hello", to=recipient(50))

    assert {"reply_received": 1, "opted_out": 1} == told(news)
    assert recipient(50) == (await worker.take()).recipient
    assert await worker.waits() is None
    assert ["opt_out"] == await codes_of(outbox, held)
    assert "sending" == await status_of(outbox, sent)

    news = await tell(outbox, "START", written_at=clock.advance(MINUTE))
    assert {"reply_received": 1, "opted_in": 1} == told(news)
    await put(outbox, "Welcome back")
    assert "Welcome back" == (await worker.take()).content


async def test_a_repeated_webhook_counts_once(outbox: Store, clock: ManualClock, store_url: str) -> None:
    """A STOP that comes again after START does not undo it."""
    stop = make_told("STOP")
    await ingest_one(outbox, stop, POLICY)
    clock.advance(MINUTE)
    await tell(outbox, "START", written_at=clock.now())
    clock.advance(MINUTE)

    assert await ingest_one(outbox, stop, POLICY) is None
    assert not await is_opted_out(outbox)
    assert 2 == len(rows(store_url))


async def test_the_later_word_counts_whenever_it_comes(outbox: Store, clock: ManualClock) -> None:
    """Webhooks may overtake each other: what was written later holds, and of two at one time the STOP."""
    clock.advance(10 * MINUTE)
    await tell(outbox, "START", written_at=START + 2 * MINUTE)
    await tell(outbox, "STOP", written_at=START + MINUTE)
    assert not await is_opted_out(outbox)

    await tell(outbox, "STOP", written_at=START + 4 * MINUTE)
    await tell(outbox, "START", written_at=START + 3 * MINUTE)
    await tell(outbox, "START", written_at=START + 4 * MINUTE)
    assert await is_opted_out(outbox)

    await tell(outbox, "START", written_at=START + 5 * MINUTE)
    assert not await is_opted_out(outbox)


async def test_a_second_stop_is_not_undone_by_an_older_start(outbox: Store, clock: ManualClock) -> None:
    """Also where CallRail masks whose STOP it was."""
    await put(outbox, "Hello")
    clock.advance(10 * MINUTE)
    await tell(outbox, "STOP", written_at=START)
    await tell(outbox, "STOP", written_at=START + 5 * MINUTE, person=masked(RECIPIENT), conversation_id=None)
    await tell(outbox, "START", written_at=START + 2 * MINUTE)

    assert await is_opted_out(outbox)


@pytest.mark.parametrize(
    ("word", "lifted"), [("START", True), ("unstop", True), ("YES", False), ("Sure, go on", False)]
)
async def test_what_the_office_put_there_wants_a_start(outbox: Store, word: str, lifted: bool) -> None:  # noqa: FBT001 - a column of the table
    """YES is also what people answer to a question; START means nothing else."""
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "Asked by phone.")

    await tell(outbox, word)

    assert lifted is not await is_opted_out(outbox)


async def test_yes_lifts_what_stop_did(outbox: Store, clock: ManualClock) -> None:
    await tell(outbox, "STOP")
    [entry] = await outbox.read(opt_outs.list_opt_outs)
    assert (Origin.REPLY, START) == (entry.origin, entry.created_at)

    clock.advance(MINUTE)
    await tell(outbox, "Yes!", written_at=clock.now())

    assert not await is_opted_out(outbox)


async def test_yes_does_not_lift_an_opt_out_in_own_words(outbox: Store, clock: ManualClock) -> None:
    """CallRail did not ask for it: it answers something else. After the keyword as well, it counts."""
    await tell(outbox, "Stop texting me")
    await tell(outbox, "YES", written_at=clock.advance(MINUTE))
    assert await is_opted_out(outbox)

    await tell(outbox, "STOP", written_at=clock.advance(MINUTE))
    await tell(outbox, "YES", written_at=clock.advance(MINUTE))
    assert not await is_opted_out(outbox)

    await tell(outbox, "Take me off your list", written_at=clock.advance(MINUTE))
    await tell(outbox, "START", written_at=clock.advance(MINUTE))
    assert not await is_opted_out(outbox)


async def test_yes_lifts_what_a_refusal_did(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """CallRail's refusal reports a STOP that did not come here. Its clock may be behind ours."""
    await put(outbox, "Hello")
    await worker.send(Rejected(400, "recipient has opted out", Refusal.OPTED_OUT))
    assert [Origin.REFUSAL] == [one.origin for one in await outbox.read(opt_outs.list_opt_outs)]

    await tell(outbox, "yes", written_at=clock.now() - MINUTE)

    assert not await is_opted_out(outbox)


async def test_a_start_from_before_the_office_spoke_lifts_nothing(outbox: Store, clock: ManualClock) -> None:
    clock.advance(timedelta(hours=1))
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "Asked by phone.")

    await tell(outbox, "START", written_at=START)

    assert await is_opted_out(outbox)


async def test_masked_numbers_are_found_by_the_conversation(outbox: Store, worker: Worker) -> None:
    """That of a text that CallRail took; of another person with these last digits there is none."""
    await put(outbox, "Hello", to=KIM)
    await put(outbox, "Hello")
    await worker.send(Sent(200, "c0nv2", "SMT2"))
    await worker.send(Sent(200, "CON1", "SMT1"))

    news = await tell(outbox, "STOP", person=masked(RECIPIENT), ours=masked(TRACKING_NUMBER))

    assert {"reply_received": 1, "opted_out": 1} == told(news)
    assert await is_opted_out(outbox)
    assert not await is_opted_out(outbox, KIM)


async def test_the_thread_tells_which_of_our_numbers(outbox: Store, worker: Worker) -> None:
    """A conversation may go over several of them."""
    await put(outbox, "Hello")
    await worker.send(Sent(200, "CON1", "SMT1"))
    for number, thread in ((TRACKING_NUMBER, "SMT1"), (OTHER_NUMBER, "SMT2")):
        await tell(outbox, "Hi", ours=number, thread_id=thread)

    await tell(outbox, "STOP", person=ShownNumber(), ours=ShownNumber(), thread_id="SMT2")

    assert not await is_opted_out(outbox)
    assert await outbox.read(opt_outs.is_opted_out, OTHER_NUMBER, RECIPIENT)


async def test_everybody_who_may_be_meant_is_left_alone(outbox: Store, store_url: str) -> None:
    """Where nothing but the last digits is known: better two too many than one too few."""
    for person in (RECIPIENT, KIM, recipient(50)):
        await put(outbox, "Hello", to=person)
    shown = {"person": masked(RECIPIENT), "ours": masked(TRACKING_NUMBER), "conversation_id": "unknown"}

    news = await tell(outbox, "STOP", **shown)

    assert {"reply_received": 1, "opted_out": 2} == told(news)
    assert [True, True, False] == [await is_opted_out(outbox, one) for one in (RECIPIENT, KIM, recipient(50))]
    assert [
        "A reply of “STOP” may be this person's: CallRail masks the number, but its last digits match."
    ] * 2 == [one.reason for one in await outbox.read(opt_outs.list_opt_outs)]
    assert [(None, None)] == rows(store_url, "tracking_number, recipient")

    # Of START it must be certain whose it is.
    assert {"reply_received": 1} == told(await tell(outbox, "START", written_at=START + MINUTE, **shown))
    assert await is_opted_out(outbox)


@pytest.mark.parametrize("shown", [1, 2, 4, 7, 10, 11, 12, 13])
async def test_any_number_of_last_digits_finds_everybody_they_fit(outbox: Store, shown: int) -> None:
    """Several people of one exchange, and the same digits in several."""
    people = [RECIPIENT, KIM, "+12025550123", "+12025560122", "+12125550122", "+13035559922", "+19995559999"]
    for person in people:
        await put(outbox, "Hello", to=person)
    ending = f"00{RECIPIENT[1:]}"[-shown:]

    await tell(outbox, "STOP", person=ShownNumber(ending=ending), conversation_id="unknown")

    stopped = [entry.recipient for entry in await outbox.read(opt_outs.list_opt_outs)]
    assert sorted(person for person in people if person.endswith(ending)) == sorted(stopped)


async def test_a_masked_number_of_ours_stands_for_each_that_it_may_be(outbox: Store) -> None:
    await tell(outbox, "STOP", ours=masked(TRACKING_NUMBER))

    assert await is_opted_out(outbox)


async def test_a_stop_of_nobody_known_is_placed_by_the_next_text(
    outbox: Store, worker: Worker, store_url: str
) -> None:
    """The conversation of a text that CallRail takes tells whose it was."""
    news = await tell(
        outbox, "STOP", person=masked(RECIPIENT), ours=masked(TRACKING_NUMBER), thread_id="SMT1"
    )
    assert {"reply_received": 1, "opt_out_unplaced": 1} == told(news)

    await put(outbox, "Hello")
    await worker.send(Sent(200, "CON1", "SMT1"))

    assert await is_opted_out(outbox)
    assert [("STOP", RECIPIENT)] == rows(store_url, "content, recipient")


async def test_the_account_is_known_by_the_company_or_by_the_texts(outbox: Store, store_url: str) -> None:
    await put(outbox, "Hello")
    await tell(outbox, key="SCI-a")
    await tell(outbox, key="SCI-b", company_id="COM-of-nobody")
    await tell(outbox, key="SCI-c", company_id="COM-of-nobody", person=recipient(50))

    assert [("SCI-a", ACCOUNT), ("SCI-b", ACCOUNT), ("SCI-c", None)] == rows(
        store_url, "resource_id, account_id"
    )


async def test_the_words_of_numbers_that_are_not_ours_are_not_kept(outbox: Store, store_url: str) -> None:
    """CallRail reports all the company's numbers. A STOP to one of them is heeded anyway."""
    await tell(outbox, "STOP", ours=OTHER_NUMBER)

    assert [(None, OTHER_NUMBER)] == rows(store_url, "content, tracking_number")
    assert await outbox.read(opt_outs.is_opted_out, OTHER_NUMBER, RECIPIENT)
    assert not await is_opted_out(outbox)


async def test_a_reply_of_the_future_was_written_now(outbox: Store, store_url: str) -> None:
    """CallRail's clock may be ahead, and some bodies have no time at all."""
    await tell(outbox, "one", written_at=START + 9 * MINUTE)
    await tell(outbox, "two", written_at=None)

    microseconds = (START - EPOCH) // MICROSECOND
    assert [(microseconds,), (microseconds,)] == rows(store_url, "written_at")


async def test_what_was_seen_in_a_conversation_and_told_counts_once(
    outbox: Store, clock: ManualClock, store_url: str
) -> None:
    """The webhook of a text that was seen gives it its id."""
    clock.advance(MINUTE)
    seen = make_told("STOP", key="seen:1", seen=True)
    assert await ingest_one(outbox, seen, POLICY) is not None

    late = await tell(outbox, "STOP", key="SCI-late", written_at=START + timedelta(seconds=1))

    assert late is None
    assert [("SCI-late",)] == rows(store_url, "resource_id")


async def test_a_second_stop_counts(outbox: Store, clock: ManualClock) -> None:
    """It looks like the late webhook of the first one, which was seen, and a START came between them."""
    half = timedelta(seconds=30)
    clock.advance(3 * half)
    await outbox.write(inbound.ingest, [make_told("STOP", key="seen:1", seen=True, written_at=START)], POLICY)
    await tell(outbox, "START", written_at=START + half)
    assert not await is_opted_out(outbox)

    await tell(outbox, "STOP", written_at=START + 2 * half)

    assert await is_opted_out(outbox)


async def test_a_second_stop_counts_that_only_a_look_shows(outbox: Store, clock: ManualClock) -> None:
    """It looks like the first one, whose webhook came; that of the second one did not."""
    half = timedelta(seconds=30)
    clock.advance(3 * half)
    await tell(outbox, "STOP", written_at=START)
    await tell(outbox, "START", written_at=START + half)
    assert not await is_opted_out(outbox)

    second = make_told("STOP", key="seen:2", seen=True, written_at=START + 2 * half)
    assert [] == await new_keys(outbox, [second])

    assert await is_opted_out(outbox)
    await tell(outbox, "START", written_at=START + half)
    assert await is_opted_out(outbox), "an old START came once more"


@pytest.mark.parametrize(("later", "was_seen"), [(10, True), (2, True), (2, False), (0.05, False)])
async def test_a_look_says_nothing_new_of_a_stop_that_is_known(
    outbox: Store, clock: ManualClock, later: float, *, was_seen: bool
) -> None:
    """
    CallRail's conversation dates it otherwise than its webhook did; the office took the person off the list.
    """
    clock.advance(MINUTE)
    await tell(outbox, "STOP", written_at=START)
    seen = make_told("STOP", key="seen:1", seen=True, written_at=START + timedelta(seconds=later))
    if was_seen:
        await outbox.write(inbound.ingest, [seen], POLICY)

    await outbox.write(opt_outs.remove_opt_out, RECIPIENT, None)
    await outbox.write(inbound.ingest, [seen], POLICY)

    assert not await is_opted_out(outbox)
