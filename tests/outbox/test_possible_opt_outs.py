"""Replies that may ask for no more texts: the next text is held, and a person decides."""

from datetime import timedelta

import pytest

from callrail_relay.domain.message import Status
from callrail_relay.outbox import decisions, inbound, opt_outs, retention
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain_all
from tests.outbox.told import POLICY, make_told, masked, tell
from tests.outbox.worker import Worker, codes_of, find, put, status_of, told
from tests.support.clock import START, ManualClock
from tests.support.factories import RECIPIENT, TRACKING_NUMBER, recipient

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)
DOUBTFUL = "Leave me alone, John"


async def test_the_next_text_waits_until_a_person_approves_it(outbox: Store, worker: Worker) -> None:
    """
    The reason shows the reply; approving settles it, and the texts after that go. Others are never held.
    """
    news = await tell(outbox, "leave me alone")
    held = await put(outbox, "Hello")
    await put(outbox, "Hello", to=recipient(50))

    assert {"reply_received": 1, "maybe_opted_out": 1} == told(news)
    assert ["maybe_opted_out"] == await codes_of(outbox, held)
    assert "“leave me alone”" in str(explain_all((await find(outbox, held)).reasons))
    assert recipient(50) == (await worker.send()).recipient
    assert await worker.waits() is None

    assert await outbox.write(decisions.approve, held)
    assert "Hello" == (await worker.send()).content
    later = await put(outbox, "Is Tuesday good?")
    assert Status.QUEUED == await status_of(outbox, later)


async def test_a_text_that_waits_already_is_held_when_its_turn_comes(outbox: Store, worker: Worker) -> None:
    """The reply may come after the text."""
    queued = await put(outbox, "Hello")
    await tell(outbox, "wrong number")

    assert await worker.waits() is None
    assert ["maybe_opted_out"] == await codes_of(outbox, queued)


async def test_approving_settles_no_reply_that_was_not_shown(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """A second doubtful reply that came after the text was held has to be read as well."""
    await tell(outbox, "leave me alone")
    held = await put(outbox, "Hello")
    await tell(outbox, "go to hell", written_at=clock.advance(MINUTE))

    assert await outbox.write(decisions.approve, held)
    assert await worker.waits() is None

    message = await find(outbox, held)
    assert Status.HELD is message.status
    assert "“go to hell”" in str(explain_all(message.reasons))
    assert await outbox.write(decisions.approve, held)
    assert "Hello" == (await worker.take()).content


@pytest.mark.parametrize("answer", ["by hand", "STOP"])
async def test_an_opt_out_answers_the_question(outbox: Store, clock: ManualClock, answer: str) -> None:
    """From then on the person is on the list; once taken off it, nothing is asked any more."""
    await tell(outbox, "leave me alone")
    if answer == "by hand":
        await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "Asked by text.")
    else:
        await tell(outbox, answer, written_at=clock.advance(MINUTE))
    assert ["opt_out"] == await codes_of(outbox, await put(outbox, "Hello"))

    # What is doubtful after that asks nothing: the person is on the list.
    news = await tell(outbox, "leave me alone!!", written_at=clock.advance(MINUTE))
    assert {"reply_received": 1} == told(news)
    await outbox.write(opt_outs.remove_opt_out, RECIPIENT, None)
    assert Status.QUEUED == await status_of(outbox, await put(outbox, "Welcome back"))


async def test_start_answers_it_whichever_comes_first(outbox: Store, clock: ManualClock) -> None:
    """Webhooks may come in any order."""
    await tell(outbox, "leave me alone")
    await tell(outbox, "START", written_at=clock.advance(2 * MINUTE))
    await tell(outbox, "go to hell", written_at=START + MINUTE)

    assert Status.QUEUED == await status_of(outbox, await put(outbox, "Hello"))


async def test_a_reply_read_in_a_conversation_asks_the_same(outbox: Store, clock: ManualClock) -> None:
    """Once: what a person approved is not asked again when a webhook reports the same reply."""
    [news] = await outbox.write(
        inbound.ingest, [make_told("leave me alone", key="seen:1", seen=True)], POLICY
    )
    held = await put(outbox, "Hello")
    assert {"reply_received": 1, "maybe_opted_out": 1} == told(news)
    assert ["maybe_opted_out"] == await codes_of(outbox, held)
    await outbox.write(decisions.approve, held)

    clock.advance(MINUTE)
    await tell(outbox, "leave me alone", key="SCI1")
    assert Status.QUEUED == await status_of(outbox, await put(outbox, "Hello again"))


async def test_a_masked_number_asks_about_everybody_it_fits(outbox: Store) -> None:
    """As a STOP of a masked number holds the texts of all of them."""
    for person in (RECIPIENT, "+13035550122", recipient(50)):
        await put(outbox, "Hello", to=person)
    shown = {"person": masked(RECIPIENT), "ours": masked(TRACKING_NUMBER), "conversation_id": "unknown"}

    assert {"reply_received": 1, "maybe_opted_out": 2} == told(await tell(outbox, "leave me alone", **shown))


async def test_the_words_go_after_their_time(outbox: Store, clock: ManualClock) -> None:
    """The question stays open, and a cancelled text quotes no one any more."""
    await tell(outbox, DOUBTFUL)
    cancelled = await put(outbox, "Hello")
    await outbox.write(decisions.cancel, cancelled, [Status.HELD])
    clock.advance(timedelta(days=400))
    assert await outbox.write(retention.retire, clock.now() - timedelta(days=365), 100)

    new = await put(outbox, "Hello")
    for id_ in (cancelled, new):
        assert ["maybe_opted_out"] == await codes_of(outbox, id_)
        assert "deleted since" in str(explain_all((await find(outbox, id_)).reasons))
        assert DOUBTFUL not in str(explain_all((await find(outbox, id_)).reasons))
