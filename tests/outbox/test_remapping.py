"""Putting a new mapping in the place of one that left something out."""

from dataclasses import replace
from datetime import timedelta

import pytest

from callrail_relay.domain.guards import Mode, Verdict
from callrail_relay.domain.mapper import MappedText, NewMessage, StoredSubmission
from callrail_relay.domain.message import Message, Reason, Source, Status, Verb
from callrail_relay.outbox import decisions, opt_outs, queries
from callrail_relay.outbox.store import Store
from tests.outbox.worker import Worker, accept_one, put
from tests.support.clock import ManualClock
from tests.support.factories import (
    BODY,
    RECIPIENT,
    TRACKING_NUMBER,
    make_draft,
    make_message,
    make_submission,
)
from tests.support.policies import guard_policy

pytestmark = pytest.mark.anyio

NO_ROUTE = Verdict((Reason("no_route", {"detail": "No route fits."}),))
POLICY = guard_policy()


async def put_incomplete(outbox: Store) -> NewMessage:
    """A held message without a route; returns what it is to become."""
    message = make_message()
    draft = MappedText(recipient=RECIPIENT, text="Hello", reasons=NO_ROUTE.holds)
    await accept_one(outbox, make_submission(replace(message, draft=draft, verdict=NO_ROUTE)))
    return replace(message, draft=make_draft(text="Hello"))


async def only(outbox: Store, id_: str) -> Message:
    [message] = await outbox.read(queries.find_messages, id_)
    return message


async def test_a_request_is_read_as_it_came(outbox: Store) -> None:
    """With its messages in the order in which it held them."""
    messages = [make_message(draft=make_draft(text=f"Text {number}")) for number in range(3)]
    submission = make_submission(*messages, query="a=1")
    await accept_one(outbox, submission)

    assert StoredSubmission(
        id=submission.id,
        source=Source.WEBHOOK,
        body=BODY,
        content_type="application/json",
        query="a=1",
        message_ids=tuple(message.id for message in messages),
    ) == await outbox.read(queries.read_submission, submission.id)


async def test_it_leaves_at_the_place_at_which_it_came(outbox: Store, worker: Worker) -> None:
    """Before a later text to the same person."""
    remapped = await put_incomplete(outbox)
    await put(outbox, "Later")

    assert Status.QUEUED is await outbox.write(decisions.rewrite, remapped, POLICY, Verb.REMAP)
    assert "Hello" == (await worker.take()).content
    assert () == (await only(outbox, remapped.id)).reasons


async def test_what_still_lacks_something_is_held_for_what_is_found_now(outbox: Store) -> None:
    remapped = await put_incomplete(outbox)
    fault = Reason("bad_phone", {"detail": "It cannot be texted."})
    draft = MappedText(text="Hello", route=remapped.draft.route, reasons=(fault,))

    status = await outbox.write(
        decisions.rewrite, replace(remapped, draft=draft, verdict=Verdict((fault,))), POLICY, Verb.REMAP
    )

    message = await only(outbox, remapped.id)
    assert (Status.HELD, Status.HELD, (fault,)) == (status, message.status, message.reasons)
    assert (None, remapped.draft.route) == (message.recipient, message.route)


@pytest.mark.parametrize("text", ["queued", "mapped", "cancelled"])
async def test_only_what_is_held_and_lacks_something_is_touched(outbox: Store, text: str) -> None:
    """Neither what a guard holds, nor what a person decided on meanwhile."""
    remapped = await put_incomplete(outbox)
    if text == "cancelled":
        await outbox.write(decisions.cancel, remapped.id, [Status.HELD])
    else:
        await outbox.write(
            decisions.rewrite,
            replace(remapped, verdict=Verdict() if text == "queued" else NO_ROUTE),
            POLICY,
            Verb.REMAP,
        )
    before = await only(outbox, remapped.id)

    assert None is await outbox.write(decisions.rewrite, remapped, POLICY, Verb.REMAP)
    assert before == await only(outbox, remapped.id)


async def test_a_person_who_opted_out_meanwhile_is_not_texted(outbox: Store) -> None:
    remapped = await put_incomplete(outbox)
    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "They replied STOP.")

    assert Status.HELD is await outbox.write(decisions.rewrite, remapped, POLICY, Verb.REMAP)
    assert ["opt_out"] == [reason.code for reason in (await only(outbox, remapped.id)).reasons]


async def test_age_counts_from_the_arrival(outbox: Store, clock: ManualClock) -> None:
    remapped = await put_incomplete(outbox)
    clock.advance(POLICY.max_age + timedelta(seconds=1))

    assert Status.HELD is await outbox.write(decisions.rewrite, remapped, POLICY, Verb.REMAP)
    assert ["too_old"] == [reason.code for reason in (await only(outbox, remapped.id)).reasons]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_same_text_beside_it_holds_it(outbox: Store, clock: ManualClock, when: str) -> None:
    """One that came just before it, and one that the sender wrote in its place while it was held."""
    if when == "before":
        await put(outbox, "Hello")
        clock.advance(4)
    remapped = await put_incomplete(outbox)
    if when == "after":
        clock.advance(3600)
        await put(outbox, "Hello")

    assert Status.HELD is await outbox.write(decisions.rewrite, remapped, POLICY, Verb.REMAP)
    assert ["duplicate"] == [reason.code for reason in (await only(outbox, remapped.id)).reasons]


async def test_a_text_of_long_before_does_not_hold_it(outbox: Store, clock: ManualClock) -> None:
    await put(outbox, "Hello")
    clock.advance(6)
    remapped = await put_incomplete(outbox)

    assert Status.QUEUED is await outbox.write(decisions.rewrite, remapped, POLICY, Verb.REMAP)


async def test_a_guard_that_only_warns_lets_it_leave(outbox: Store) -> None:
    remapped = await put_incomplete(outbox)
    await put(outbox, "Hello")

    assert Status.QUEUED is await outbox.write(
        decisions.rewrite, remapped, replace(POLICY, duplicate=Mode.WARN), Verb.REMAP
    )
    assert ["duplicate"] == [reason.code for reason in (await only(outbox, remapped.id)).reasons]
