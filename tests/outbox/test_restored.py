"""What comes back from a backup: it is held, looked up, and sent only if a person says so."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from callrail_relay.domain.message import Message, MessageFilter, Status
from callrail_relay.domain.outcome import Unknown
from callrail_relay.domain.reconcile import FoundText, Lookup, OnUnknown
from callrail_relay.outbox import decisions, lookups, queries, shadow
from callrail_relay.outbox.backups import hold_back
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain_all
from tests.outbox.worker import SENT, Worker, find, put, status_of
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, make_draft, make_message, make_submission, recipient
from tests.support.policies import lookup_policy

pytestmark = pytest.mark.anyio

POLICY = lookup_policy(accounts=frozenset({ACCOUNT}))
MADE = START + timedelta(hours=1)
NOW = START + timedelta(days=2)
BETWEEN = START + timedelta(days=1)
LOST = Unknown("the relay stopped.", own_fault=True)


@pytest.fixture
def worker(outbox: Store) -> Worker:
    return Worker(outbox, lookups=POLICY)


async def restore(outbox: Store, clock: ManualClock) -> int:
    clock.set(NOW)
    return await outbox.write(hold_back, "relay.backup", MADE, 140)


async def look_up(outbox: Store, *found: FoundText) -> None:
    """Look up all that is due now; CallRail shows the same each time."""
    while (due := await outbox.write(lookups.claim_lookup, POLICY)) is not None:
        await outbox.write(lookups.record_lookup, due, Lookup(texts=found, requests=1), POLICY)


def shown(*contents: str) -> Sequence[FoundText]:
    return [FoundText(content=one, created_at=BETWEEN) for one in contents]


async def reason_of(outbox: Store, id_: str) -> tuple[str, str]:
    message: Message = await find(outbox, id_)
    [reason] = message.reasons
    return reason.code, str(reason.parameters.get("problem"))


async def test_what_was_sent_since_is_found(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """At any time since the backup. It costs budget from when it was sent; nothing else goes out."""
    found, missing = await put(outbox, "One"), await put(outbox, "Two", to=recipient(2))
    assert 2 == await restore(outbox, clock)
    assert ("restored", "checking") == await reason_of(outbox, found)

    await look_up(outbox, *shown("One"))

    assert Status.SENT == await status_of(outbox, found)
    assert () == (await find(outbox, found)).reasons
    assert ("restored", "not_shown") == await reason_of(outbox, missing)
    assert not (await worker.look()).claims


async def test_a_text_from_before_the_backup_is_none_of_it(outbox: Store, clock: ManualClock) -> None:
    id_ = await put(outbox, "One")
    await restore(outbox, clock)

    await look_up(outbox, FoundText(content="One", created_at=MADE - timedelta(minutes=3)))

    assert ("restored", "not_shown") == await reason_of(outbox, id_)


async def test_equal_texts_are_counted(outbox: Store, clock: ManualClock) -> None:
    """One that is shown makes one of them sent; more than there were make all of them sent."""
    ids = [await put(outbox, "Ok") for _ in range(2)]
    others = [await put(outbox, "Yes", to=recipient(2)) for _ in range(2)]
    await restore(outbox, clock)

    await look_up(outbox, *shown("Ok", "Yes", "Yes", "Yes"))

    assert [Status.SENT, Status.HELD] == [await status_of(outbox, id_) for id_ in ids]
    assert [Status.SENT, Status.SENT] == [await status_of(outbox, id_) for id_ in others]


async def test_a_text_on_its_way_in_the_backup(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """It may have arrived just then, or have been sent again since: never is it sent by itself."""
    ids = [await put(outbox, words, to=recipient(number)) for number, words in enumerate("ABC", 1)]
    clock.set(MADE - timedelta(seconds=2))
    for _ in ids:
        await worker.take()
    assert 3 == await restore(outbox, clock)

    await look_up(
        outbox,
        FoundText(content="A", created_at=MADE),
        FoundText(content="B", created_at=BETWEEN),
    )

    assert [Status.SENT, Status.SENT, Status.HELD] == [await status_of(outbox, id_) for id_ in ids]
    assert not (await worker.look()).claims


async def test_a_request_of_shadow_mode_is_not_passed_on_again(outbox: Store, clock: ManualClock) -> None:
    """
    One that waited in the backup may have been passed on since: held, and looked up as any other.

    One that was being passed on may have arrived: its text stays the old way's, as everything that arrived.
    """
    await outbox.write(shadow.start, "https://hooks.example.com/old")
    for words in ("Under way", "Behind it", "Behind them"):
        await outbox.accept(make_submission(make_message(draft=make_draft(text=words))))
    assert 2 == (await outbox.read(shadow.read_shadow)).waiting

    assert 2 == await restore(outbox, clock)
    await look_up(outbox, *shown("Behind it"))

    newest_first = await outbox.read(queries.list_messages, MessageFilter())
    assert [
        ("Behind them", Status.HELD, ["restored"]),
        ("Behind it", Status.SENT, []),
        ("Under way", Status.SHADOW, []),
    ] == [(one.text, one.status, [reason.code for reason in one.reasons]) for one in newest_first]
    assert await outbox.write(shadow.take_next, timedelta(days=9)) is None
    assert (await outbox.read(shadow.read_shadow)).is_on
    assert 0 == (await outbox.read(shadow.read_shadow)).waiting


async def test_only_a_person_has_it_sent(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """However old it is, and whatever `delivery.on_unknown` says; without another question."""
    id_ = await put(outbox, "One")
    await restore(outbox, clock)
    policy = replace(POLICY, on_unknown=OnUnknown.RESEND_ONCE)
    for _ in range(2):
        due = await outbox.write(lookups.claim_lookup, policy)
        assert due is not None
        await outbox.write(lookups.record_lookup, due, Lookup(texts=(), requests=1), policy)
        clock.advance(POLICY.ladder[-1])
    assert await outbox.write(lookups.claim_lookup, policy) is None
    assert not (await worker.look()).claims

    assert await outbox.write(decisions.approve, id_)

    await worker.send(SENT)
    assert Status.SENT == await status_of(outbox, id_)


async def test_what_a_look_up_finds_after_the_word_is_not_sent(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """A person may be quicker than the look-up."""
    id_ = await put(outbox, "One")
    await restore(outbox, clock)
    assert await outbox.write(decisions.approve, id_)

    await look_up(outbox, *shown("One"))

    assert Status.SENT == await status_of(outbox, id_)
    assert not (await worker.look()).claims


async def test_a_callrail_that_is_away_is_asked_again(outbox: Store, clock: ManualClock) -> None:
    """Also after days: what was sent is found in the end."""
    id_ = await put(outbox, "One")
    await restore(outbox, clock)
    for _ in range(4):
        due = await outbox.write(lookups.claim_lookup, POLICY)
        assert due is not None
        await outbox.write(lookups.record_lookup, due, Lookup(requests=1, fault="Away."), POLICY)
        assert ("restored", "checking") == await reason_of(outbox, id_)
        clock.advance(timedelta(days=1))

    await look_up(outbox, *shown("One"))

    assert Status.SENT == await status_of(outbox, id_)


async def test_an_unknown_one_keeps_its_first_question(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """It is found where it was first sent, and its reason says that it comes from a backup."""
    first, second = await put(outbox, "One"), await put(outbox, "Two", to=recipient(2))
    for _ in range(2):
        await worker.send(LOST)
    await restore(outbox, clock)
    assert "may have been sent since" in str(explain_all((await find(outbox, second)).reasons))

    await look_up(outbox, FoundText(content="One", created_at=START))

    assert [Status.SENT, Status.HELD] == [await status_of(outbox, id_) for id_ in (first, second)]
