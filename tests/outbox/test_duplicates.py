"""The same words to the same person: a double click is caught, a replay is not sent again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from callrail_relay.domain.guards import Mode
from callrail_relay.domain.mapper import Accepted, MappedText, NewMessage
from callrail_relay.domain.message import MessageFilter, Status
from callrail_relay.outbox import queries
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain
from tests.outbox.worker import Worker, accept_one, codes_of, status_of
from tests.support.clock import ManualClock
from tests.support.factories import make_draft, make_message, make_route, make_submission
from tests.support.policies import guard_policy

pytestmark = pytest.mark.anyio

MOMENT = timedelta(microseconds=1)
DUPLICATE_WINDOW = timedelta(seconds=5)


async def accept(outbox: Store, message: NewMessage, *, duplicates: Mode = Mode.HOLD) -> Accepted:
    (accepted,) = await accept_one(outbox, make_submission(message, duplicates=duplicates))
    return accepted


async def test_a_double_click_is_held(outbox: Store, clock: ManualClock) -> None:
    """The second of two equal texts within five seconds waits for a person, and names the first."""
    first = await accept(outbox, make_message())
    clock.advance(DUPLICATE_WINDOW - MOMENT)

    second = await accept(outbox, make_message())

    assert (Status.QUEUED, Status.HELD) == (first.status, second.status)
    assert ["duplicate"] == await codes_of(outbox, second.message_id)
    (reason,) = second.verdict.holds
    assert first.message_id in explain(reason)


async def test_the_same_text_later_is_meant(outbox: Store, clock: ManualClock) -> None:
    """After five seconds no one is asked."""
    await accept(outbox, make_message())
    clock.advance(DUPLICATE_WINDOW)

    assert Status.QUEUED == (await accept(outbox, make_message())).status


async def test_the_window_is_a_setting(outbox: Store, clock: ManualClock) -> None:
    """Who knows a sender that repeats after a minute makes it longer."""
    policy = guard_policy(duplicate_window=timedelta(minutes=2))
    await accept(outbox, make_message())
    clock.advance(timedelta(minutes=2) - MOMENT)

    (second,) = await accept_one(outbox, make_submission(make_message(), guards=policy))
    clock.advance(timedelta(minutes=2))
    (third,) = await accept_one(outbox, make_submission(make_message(), guards=policy))

    assert (Status.HELD, Status.QUEUED) == (second.status, third.status)
    assert "within 2 minutes" in explain(second.verdict.holds[0])


async def test_a_repeat_after_the_machine_slept_is_held(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """
    What came or was sent since it woke is not sent again for five minutes; what was sent before the sleep is.
    """
    await accept(outbox, make_message(draft=make_draft(text="Sent before")))
    await worker.send()
    await accept(outbox, make_message(draft=make_draft(text="Sent after")))
    await accept(outbox, make_message(draft=make_draft(text="Waiting", recipient="+12025550177")))
    clock.suspend(timedelta(hours=3))
    woke = clock.now()
    clock.advance(timedelta(seconds=2))
    await worker.send()
    clock.advance(timedelta(seconds=20))

    async def status(text: str, recipient: str = "+12025550122") -> Status:
        message = make_message(draft=make_draft(text=text, recipient=recipient))
        (accepted,) = await accept_one(outbox, replace(make_submission(message), woke_at=woke))
        return accepted.status

    assert Status.QUEUED == await status("Sent before")
    assert Status.HELD == await status("Sent after")
    assert Status.HELD == await status("Waiting", "+12025550177")
    assert Status.QUEUED == await status("New")
    clock.advance(timedelta(minutes=3))
    assert Status.HELD == await status("New")
    clock.advance(timedelta(minutes=10))
    assert Status.QUEUED == await status("New")


async def test_a_row_of_clicks_is_held_as_long_as_it_lasts(outbox: Store, clock: ManualClock) -> None:
    """Each is compared with the one before it, held or not."""
    await accept(outbox, make_message())
    for _ in range(3):
        clock.advance(DUPLICATE_WINDOW - MOMENT)
        assert Status.HELD == (await accept(outbox, make_message())).status


@pytest.mark.parametrize(
    "other",
    [
        make_draft(text="Other words"),
        make_draft(recipient="+12025550177"),
        make_draft(route=make_route(tracking_number="+12025550188")),
    ],
    ids=["words", "person", "tracking number"],
)
async def test_another_text_is_no_duplicate(outbox: Store, other: MappedText) -> None:
    """All three must be equal: words, person, tracking number."""
    await accept(outbox, make_message())

    assert Status.QUEUED == (await accept(outbox, make_message(draft=other))).status


async def test_who_sent_it_does_not_matter(outbox: Store) -> None:
    """Two people who send the same words to the same person are a duplicate as well."""
    await accept(outbox, make_message(draft=make_draft(sender_id="1", team_id="1")))

    second = await accept(outbox, make_message(draft=make_draft(sender_id="2", team_id="2")))

    assert Status.HELD == second.status


async def test_what_could_not_be_mapped_is_no_duplicate(outbox: Store) -> None:
    """Two requests without words are not taken for the same text."""
    await accept(outbox, make_message(draft=MappedText(recipient="+12025550122")))

    second = await accept(outbox, make_message(draft=MappedText(recipient="+12025550122")))

    assert () == second.verdict.reasons


async def test_a_warning_lets_it_pass(outbox: Store) -> None:
    """With the guard at "warn" the reason is shown, and the text is sent."""
    await accept(outbox, make_message())

    second = await accept(outbox, make_message(), duplicates=Mode.WARN)

    assert Status.QUEUED == second.status
    assert ["duplicate"] == await codes_of(outbox, second.message_id)


async def test_a_guard_that_is_off_says_nothing(outbox: Store) -> None:
    """With the guard off both are sent without a notice."""
    await accept(outbox, make_message())

    second = await accept(outbox, make_message(), duplicates=Mode.OFF)

    assert Status.QUEUED == second.status
    assert [] == await codes_of(outbox, second.message_id)


async def test_texts_of_one_batch_see_each_other(outbox: Store) -> None:
    """The same text twice in one submission is held once."""
    accepted = await accept_one(outbox, make_submission(make_message(), make_message()))

    assert [Status.QUEUED, Status.HELD] == [one.status for one in accepted]


async def test_what_was_approved_in_advance_is_not_held(outbox: Store) -> None:
    """A person who forced it is not asked again."""
    await accept(outbox, make_message())

    forced = await accept(outbox, make_message(approved=("duplicate",)))

    assert Status.QUEUED == forced.status
    assert () == forced.verdict.reasons


async def test_a_replay_leaves_out_what_the_store_has(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """However long ago it was, and whatever became of it."""
    first = await accept(outbox, make_message())
    await worker.send()
    clock.advance(timedelta(days=30))

    replayed = await accept(outbox, make_message(skip_identical=True))

    assert first.message_id == replayed.duplicate_of
    assert Status.SENT == await status_of(outbox, first.message_id)


async def test_a_replay_with_nothing_new_leaves_nothing_behind(outbox: Store) -> None:
    """No message and no submission."""
    await accept(outbox, make_message())
    replay = make_submission(make_message(skip_identical=True))

    await accept_one(outbox, replay)
    # The id is free again: had the submission been kept, this would fail.
    await accept_one(outbox, make_submission(make_message(draft=make_draft(text="New")), id_=replay.id))

    assert 2 == len(await outbox.read(queries.list_messages, MessageFilter()))


async def test_a_replay_takes_in_what_is_new(outbox: Store) -> None:
    """Of one file, the known texts are left out and the others stored."""
    known = await accept(outbox, make_message())
    replay = make_submission(
        make_message(skip_identical=True),
        make_message(draft=make_draft(text="New"), skip_identical=True),
    )

    old, new = await accept_one(outbox, replay)

    assert known.message_id == old.duplicate_of
    assert (None, Status.QUEUED) == (new.duplicate_of, new.status)
    assert [new.message_id] == [one.id for one in await outbox.read(queries.find_messages, replay.id)]


async def test_the_same_text_twice_in_one_replay_is_taken_once(outbox: Store) -> None:
    """The first of them is the earlier one of the second."""
    first, second = await accept_one(
        outbox, make_submission(make_message(skip_identical=True), make_message(skip_identical=True))
    )

    assert (None, first.message_id) == (first.duplicate_of, second.duplicate_of)


async def test_a_replay_of_what_cannot_be_mapped_is_kept_each_time(outbox: Store) -> None:
    """Nothing is equal to a text that is not known."""
    for _ in range(2):
        unmapped = make_message(draft=MappedText(), skip_identical=True)
        assert (await accept(outbox, unmapped)).duplicate_of is None
