"""Accounts that are paused or wait: nothing is sent, then one probe alone, and the wake-up is right."""

from datetime import timedelta

import pytest

from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.outcome import NotSent, Outcome, RateLimited, Refusal, Rejected, Unknown
from callrail_relay.outbox import decisions
from callrail_relay.outbox.store import Store
from tests.outbox.worker import (
    FIREWALL,
    REFUSED,
    SENT,
    TOO_MANY,
    Worker,
    codes_of,
    find,
    put,
    put_message,
    status_of,
    told,
)
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, make_message, recipient

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


async def put_three(outbox: Store) -> list[str]:
    return [await put(outbox, f"Text {number}", to=recipient(number)) for number in range(3)]


async def test_nothing_leaves_from_a_paused_account(outbox: Store, worker: Worker) -> None:
    """Only a person's word changes that, so there is nothing to wait for."""
    await put_three(outbox)
    await outbox.write(decisions.pause, ACCOUNT, "Holidays.")

    assert await worker.waits() is None
    await outbox.write(decisions.resume, ACCOUNT)
    assert 3 == len(await worker.take_all())


async def test_other_accounts_go_on(outbox: Store, worker: Worker) -> None:
    """A pause concerns its account alone."""
    await put(outbox, "A", account_id="ACC-1")
    await put(outbox, "B", account_id="ACC-2", to=recipient(2))
    await outbox.write(decisions.pause, "ACC-1", "Holidays.")

    assert ["B"] == [c.content for c in await worker.under(accounts=["ACC-1", "ACC-2"]).take_all()]


async def test_after_a_refusal_for_the_moment_the_account_waits(outbox: Store, worker: Worker) -> None:
    """All of its texts wait for as long as CallRail said."""
    await put_three(outbox)
    await worker.send(RateLimited(429, "Rate limit exceeded.", retry_after=30))

    assert START + timedelta(seconds=30) == await worker.waits()
    account = (await worker.status()).account
    assert (START + timedelta(seconds=30), 1) == (account.wait_until, account.strikes)
    assert account.wait_reason is not None


async def test_one_probe_goes_after_the_wait(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """It is the text that was refused; the others follow when it has passed."""
    await put_three(outbox)
    await worker.send(TOO_MANY)
    clock.advance(MINUTE)

    probe = await worker.take()
    assert "Text 0" == probe.content
    assert await worker.waits() is None
    await worker.finish(probe)
    assert ["Text 1", "Text 2"] == [claim.content for claim in await worker.take_all()]
    assert 0 == (await worker.status()).account.strikes


async def test_a_probe_that_is_refused_doubles_the_wait(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """One minute, two, four, eight, and never more than fifteen."""
    await put_three(outbox)
    waits = []
    for _ in range(6):
        await worker.send(TOO_MANY)
        wake_at = await worker.waits()
        assert wake_at is not None
        waits.append((wake_at - clock.now()) / MINUTE)
        clock.set(wake_at)

    assert [1, 2, 4, 8, 15, 15] == waits


async def test_a_probe_without_an_answer_is_followed_by_another(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The account waits for longer, and then the next text goes alone as well."""
    await put_three(outbox)
    await worker.send(TOO_MANY)
    clock.advance(MINUTE)
    await worker.send(Unknown("no answer."))
    assert not (await worker.look()).claims
    wake_at = await worker.waits()
    assert wake_at is not None
    clock.set(wake_at)

    assert ["Text 1"] == [claim.content for claim in await worker.take_all()]


async def test_a_probe_that_is_refused_for_its_words_shows_that_the_account_can_send(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The fault lies with the text, and the others follow together."""
    await put_three(outbox)
    await worker.send(TOO_MANY)
    clock.advance(MINUTE)
    await worker.send(REFUSED)

    assert 2 == len(await worker.take_all())


async def test_refusals_of_texts_that_left_together_are_one_strike(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Four texts under way at one time do not make the first wait fifteen minutes long."""
    await put_three(outbox)
    claims = await worker.take_all()
    for claim in claims:
        await worker.finish(claim, TOO_MANY)
        clock.advance(1)

    account = (await worker.status()).account
    assert (1, START + MINUTE + timedelta(seconds=2)) == (account.strikes, account.wait_until)


async def test_a_shorter_wait_does_not_shorten_a_longer_one(outbox: Store, worker: Worker) -> None:
    """The last word is the longest."""
    await put_three(outbox)
    first, second, _ = await worker.take_all()
    await worker.finish(first, RateLimited(429, "Rate limit exceeded.", retry_after=300))
    await worker.finish(second, NotSent("no route."))

    assert START + timedelta(minutes=5) == (await worker.status()).account.wait_until


@pytest.mark.parametrize("outcome", [SENT, REFUSED], ids=lambda outcome: str(outcome.kind.value))
async def test_an_answer_to_an_earlier_text_does_not_end_the_wait(
    outbox: Store, worker: Worker, outcome: Outcome
) -> None:
    """It was under way before CallRail asked for patience."""
    await put_three(outbox)
    early, limited, _ = await worker.take_all()
    await worker.finish(limited, RateLimited(429, "Rate limit exceeded.", retry_after=300))
    await worker.finish(early, outcome)

    assert START + timedelta(minutes=5) == await worker.waits()


async def test_a_text_that_is_still_under_way_is_the_probe(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Nothing is claimed beside it when the wait is over."""
    await put_three(outbox)
    early = await worker.take()
    await worker.send(RateLimited(429, "Rate limit exceeded.", retry_after=1))
    clock.advance(1)

    assert await worker.waits() is None
    await worker.finish(early)
    assert 2 == len(await worker.take_all())


async def test_callrail_that_cannot_be_reached_is_tried_again_soon(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Within a second at first, by chance, so that many relays do not come back together."""
    await put_three(outbox)
    await worker.send(NotSent("connection refused."))

    wake_at = await worker.waits()
    assert wake_at is not None
    assert START < wake_at <= START + timedelta(seconds=1)
    clock.set(wake_at)
    assert "Text 0" == (await worker.take()).content


@pytest.mark.parametrize("http_status", [401, 403])
async def test_a_refused_key_pauses_the_account(outbox: Store, worker: Worker, http_status: int) -> None:
    """The text goes back to its place, the queue is not burnt, and the reason says what to do."""
    ids = await put_three(outbox)
    claim = await worker.take()

    recorded = await worker.record(claim, Rejected(http_status, "no", Refusal.AUTHORIZATION))

    assert ["attempt_finished", "account_paused"] == [*told(recorded)]
    account = (await worker.status()).account
    assert START == account.paused_since
    forbidden = Reason("forbidden", {"detail": "no"})
    assert account.paused_reason in (Reason("unauthorized"), forbidden)
    assert [Status.QUEUED] * 3 == [await status_of(outbox, id_) for id_ in ids]
    assert await worker.waits() is None
    await outbox.write(decisions.resume, ACCOUNT)
    assert ids[0] == (await worker.take()).message_id


async def test_a_refused_key_leaves_a_trace(outbox: Store, worker: Worker) -> None:
    """The attempt stays to be seen."""
    id_ = await put(outbox, "Hello")
    await worker.send(Rejected(403, "read-only key", Refusal.AUTHORIZATION))

    (segment,) = (await find(outbox, id_)).segments
    (attempt,) = segment.attempts
    assert (Status.QUEUED, 403, "read-only key") == (segment.status, attempt.http_status, attempt.detail)


async def test_three_texts_that_a_firewall_refuses_in_a_row_pause_the_account(
    outbox: Store, second_outbox: Store, worker: Worker
) -> None:
    """They fail with that reason, and later ones stay queued, whichever node sent them."""
    ids = [await put(outbox, f"Text {number}", to=recipient(number)) for number in range(5)]
    for _ in range(2):
        await worker.send(FIREWALL)
    assert (await worker.status()).account.paused_since is None
    await Worker(second_outbox, node="node-2").send(FIREWALL)

    account = (await worker.status()).account
    assert START == account.paused_since
    assert account.paused_reason is not None
    assert "firewalled" == account.paused_reason.code
    assert await worker.waits() is None
    expected = [*(Status.FAILED,) * 3, *(Status.QUEUED,) * 2]
    assert expected == [await status_of(outbox, id_) for id_ in ids]
    assert ["firewall"] == await codes_of(outbox, ids[2])
    await outbox.write(decisions.resume, ACCOUNT)
    await worker.send(FIREWALL)
    assert (await worker.status()).account.paused_since is None


async def test_a_text_sent_between_shows_that_the_address_is_not_blocked(
    outbox: Store, worker: Worker
) -> None:
    """The firewall takes offense at single texts."""
    for number in range(5):
        await put(outbox, f"Text {number}", to=recipient(number))
    for outcome in (FIREWALL, FIREWALL, SENT, FIREWALL, FIREWALL):
        await worker.send(outcome)

    assert (await worker.status()).account.paused_since is None


async def test_resuming_forgets_what_made_the_account_wait(outbox: Store, worker: Worker) -> None:
    """A person who resumes wants it to send now: no wait, no strikes, no excess of other programs."""
    await put_three(outbox)
    await worker.send(TOO_MANY)
    await outbox.write(decisions.resume, ACCOUNT)

    assert 3 == len(await worker.take_all())
    account = (await worker.status()).account
    assert (0, None, None) == (account.strikes, account.wait_until, account.wait_reason)


async def test_a_pause_keeps_its_first_instant(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """The latest reason, and since when nothing is sent."""
    await outbox.write(decisions.pause, ACCOUNT, "Holidays.")
    clock.advance(60)
    await outbox.write(decisions.pause, ACCOUNT, "Longer holidays.")

    account = (await worker.status()).account
    assert (START, Reason("by_hand", {"note": "Longer holidays."})) == (
        account.paused_since,
        account.paused_reason,
    )


async def test_an_account_may_be_paused_before_its_first_text(outbox: Store, worker: Worker) -> None:
    """Nothing need be known of it, and resuming what never paused does no harm."""
    await outbox.write(decisions.resume, "ACC-NEW")
    await outbox.write(decisions.pause, ACCOUNT, "Not yet.")
    await put_message(outbox, make_message())

    assert await worker.waits() is None
    assert {ACCOUNT, "ACC-NEW"} == set(await outbox.read(decisions.known_accounts))


async def test_the_first_of_those_who_pause_wakes(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """Of several people with a text just sent, the one who was first."""
    worker = worker.under(recipient_interval=timedelta(seconds=10))
    for text in ("one", "two"):
        for number in range(3):
            await put(outbox, text, to=recipient(number))
    for _ in range(3):
        await worker.send()
        clock.advance(1)

    assert START + timedelta(seconds=10) == await worker.waits()


async def test_a_pause_after_the_last_text_to_somebody_wakes_nobody(outbox: Store, worker: Worker) -> None:
    """There is nothing to wake for."""
    await put(outbox, "one", to=recipient(1))
    await worker.send()
    await put(outbox, "one", to=recipient(2))
    await worker.take()

    assert await worker.waits() is None


async def test_all_under_way_is_nothing_to_wait_for(outbox: Store, worker: Worker) -> None:
    """The end of an attempt is news."""
    await put(outbox, "one")
    await put(outbox, "two")
    await worker.take()

    assert await worker.waits() is None
