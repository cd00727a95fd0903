"""A segment longer than CallRail's documented 140 characters that was refused is cut there and sent so."""

from datetime import timedelta

import pytest

from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import NotSent, Unknown
from callrail_relay.domain.reconcile import DueLookup, FoundText, Lookup
from callrail_relay.outbox import decisions, lookups
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain_all
from tests.outbox.worker import REFUSED, Worker, find, put, status_of, told, words
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, recipient
from tests.support.policies import lookup_policy

pytestmark = pytest.mark.anyio


@pytest.fixture
def bold(worker: Worker) -> Worker:
    """A worker whose owner has raised the length to 1,000."""
    return worker.under(max_characters=1000, recipient_interval=timedelta())


async def test_a_refused_long_segment_is_cut_at_140(outbox: Store, bold: Worker) -> None:
    """The text waits its turn again, in pieces, and nothing of it is lost."""
    id_ = await put(outbox, words(400))
    recorded = await bold.finish(await bold.take(), REFUSED)

    message = await find(outbox, id_)
    assert (Status.QUEUED, Status.QUEUED) == (recorded.status, message.status)
    refused, *pieces = message.segments
    assert (words(400), Status.CANCELLED, 1) == (refused.content, refused.status, len(refused.attempts))
    assert [2, 3, 4] == [piece.position for piece in pieces]
    assert words(400) == " ".join(piece.content for piece in pieces)
    assert all(len(piece.content) <= 140 for piece in pieces)


async def test_the_pieces_are_sent(outbox: Store, bold: Worker) -> None:
    """In their order, until the text is sent."""
    id_ = await put(outbox, words(400))
    await bold.send(REFUSED)
    sent = [await bold.send() for _ in range(3)]

    assert words(400) == " ".join(claim.content for claim in sent)
    assert Status.SENT == await status_of(outbox, id_)
    assert (await bold.status()).pending == 0


async def test_later_texts_wait_for_the_pieces(outbox: Store, bold: Worker) -> None:
    """Order is kept."""
    await put(outbox, words(200))
    await put(outbox, "after")
    await bold.send(REFUSED)

    assert "after" == [await bold.send() for _ in range(3)][-1].content


async def test_the_segments_behind_it_are_cut_as_well(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Those that left before stay as they are."""
    worker = worker.under(max_characters=300)
    id_ = await put(outbox, words(850))
    await worker.send()
    clock.advance(1)
    await worker.send(REFUSED)

    message = await find(outbox, id_)
    assert Status.SENDING == message.status
    statuses = [segment.status for segment in message.segments]
    assert [Status.SENT, Status.CANCELLED] == statuses[:2]
    assert {Status.QUEUED} == set(statuses[2:])
    left = [one.content for one in message.segments if one.status is not Status.CANCELLED]
    assert words(850) == " ".join(left)
    assert list(range(1, len(statuses) + 1)) == [segment.position for segment in message.segments]


async def test_the_account_remembers_the_length_when_the_shorter_one_passed(
    outbox: Store, bold: Worker
) -> None:
    """The next long text is cut at 140 from the start."""
    await put(outbox, words(200))
    await bold.send(REFUSED)
    assert (await bold.status()).account.max_characters is None
    await bold.send()
    assert 140 == (await bold.status()).account.max_characters
    await put(outbox, words(400), to=recipient(5))
    await bold.send()

    assert len((await bold.take()).content) <= 140


async def test_the_account_does_not_remember_what_was_not_the_reason(outbox: Store, bold: Worker) -> None:
    """The shorter one is refused as well: it was something in the words."""
    id_ = await put(outbox, words(400))
    await bold.send(REFUSED)
    await bold.send(REFUSED)
    await put(outbox, words(300), to=recipient(5))

    assert Status.FAILED == await status_of(outbox, id_)
    assert (await bold.status()).account.max_characters is None
    assert words(300) == (await bold.take()).content


async def test_a_short_segment_that_is_refused_has_failed(outbox: Store, bold: Worker) -> None:
    """At 140 characters or less the length is not the reason."""
    id_ = await put(outbox, words(135))
    await bold.send(REFUSED)

    assert Status.FAILED == await status_of(outbox, id_)


async def test_the_pieces_count_as_pending(outbox: Store, bold: Worker) -> None:
    """The status tells how many requests are still to come."""
    await put(outbox, words(400))
    await bold.send(REFUSED)

    assert 3 == (await bold.status()).pending
    await bold.send()
    assert 2 == (await bold.status()).pending


LOST = Unknown("the relay stopped.", own_fault=True)
LOOKUPS = lookup_policy(accounts=frozenset({ACCOUNT}))


async def resend_and_refuse(outbox: Store, clock: ManualClock) -> tuple[Worker, str, DueLookup]:
    """
    A long text that arrived, of which the answer was lost; it was sent again, refused, and cut in three.
    """
    worker = Worker(outbox, lookups=LOOKUPS).under(max_characters=1000, recipient_interval=timedelta())
    id_ = await put(outbox, words(400))
    await worker.send(LOST)
    await outbox.write(decisions.resend, id_)
    await worker.send(REFUSED)
    clock.advance(timedelta(minutes=2))
    due = await outbox.write(lookups.claim_lookup, LOOKUPS)
    assert due is not None
    return worker, id_, due


FOUND = Lookup(texts=(FoundText(content=words(400), created_at=START),), requests=1)


async def test_pieces_do_not_leave_where_the_whole_arrived(outbox: Store, clock: ManualClock) -> None:
    """
    A look-up shows that the first sending had reached CallRail; also where the last piece was under way.
    """
    worker, id_, due = await resend_and_refuse(outbox, clock)
    piece = await worker.take()
    await outbox.write(lookups.record_lookup, due, FOUND, LOOKUPS)
    await worker.record(piece, NotSent("no route to CallRail."))
    clock.advance(timedelta(hours=1))

    assert not (await worker.look()).claims
    message = await find(outbox, id_)
    assert Status.SENT == message.status
    assert [Status.SENT, *[Status.CANCELLED] * 3] == [segment.status for segment in message.segments]
    assert explain_all(message.reasons) is None


async def test_a_piece_that_left_before_is_told(outbox: Store, clock: ManualClock) -> None:
    """The person has part of the text twice, and the rest of the pieces stays here."""
    worker, id_, due = await resend_and_refuse(outbox, clock)
    await worker.send()
    news = await outbox.write(lookups.record_lookup, due, FOUND, LOOKUPS)

    assert "sent_twice" in told(news)
    assert not (await worker.look()).claims
    message = await find(outbox, id_)
    assert Status.SENT == message.status
    assert "twice" in (explain_all(message.reasons) or "")
