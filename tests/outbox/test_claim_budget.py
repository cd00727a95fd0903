"""The budget of a claim: no window of any account is ever passed, and no text is begun that cannot end."""

from datetime import datetime, timedelta

import pytest

from callrail_relay.domain.account import DAY, HOUR, Limits
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import NotSent, Refusal, Rejected, Unknown
from callrail_relay.outbox import decisions
from callrail_relay.outbox.claim import ROOM_RETRY
from callrail_relay.outbox.store import Store
from tests.outbox.worker import (
    FIREWALL,
    REFUSED,
    SENT,
    TOO_MANY,
    Worker,
    accept_one,
    codes_of,
    find,
    plain,
    put,
    sent_with,
    status_of,
    words,
)
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, make_submission, recipient
from tests.support.policies import guard_policy

pytestmark = pytest.mark.anyio

NEVER_TOO_OLD = guard_policy(too_old=Mode.OFF)


async def put_many(outbox: Store, count: int, *, account_id: str = ACCOUNT, first: int = 0) -> None:
    """Store as many texts, each to a different person."""
    texts = [
        plain(f"Text {number}", to=recipient(number), account_id=account_id)
        for number in range(first, first + count)
    ]
    await accept_one(outbox, make_submission(*texts))


async def send_all(worker: Worker, clock: ManualClock) -> list[datetime]:
    """
    Send until nothing waits any more, with the clock put to each instant the store names; the departures.
    """
    departures = []
    while True:
        result = await worker.look()
        if result.claims:
            departures.append(clock.now())
            [claim] = result.claims
            await worker.finish(claim)
        elif result.wake_at is None:
            return departures
        else:
            assert result.wake_at > clock.now()
            clock.set(result.wake_at)


def most_in_any(window: timedelta, departures: list[datetime]) -> int:
    """The largest number of departures in any half-open window of this length."""
    most = first = 0
    for last, instant in enumerate(departures):
        while instant - departures[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


async def test_40_texts_take_two_hours(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """15 are sent at once, 15 an hour later, and 10 after two."""
    await put_many(outbox, 40)

    departures = await send_all(worker.under(limits=Limits(15, 1000)), clock)

    assert [START] * 15 + [START + HOUR] * 15 + [START + 2 * HOUR] * 10 == departures


async def test_150_texts_take_a_day(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """100 are sent on the first day, 15 an hour; the rest a day after those whose places they take."""
    worker = worker.under(guards=NEVER_TOO_OLD, limits=Limits(15, 100))
    await put_many(outbox, 150)

    departures = await send_all(worker, clock)

    assert 150 == len(departures)
    assert 15 == most_in_any(HOUR, departures)
    assert 100 == most_in_any(DAY, departures)
    assert START + DAY + 3 * HOUR == departures[-1]


async def test_the_windows_roll(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """A place is free an hour after its own use, not at the full hour."""
    worker = worker.under(limits=Limits(3, 100))
    await put_many(outbox, 6)
    departures = []
    for _ in range(3):
        await worker.send()
        departures.append(clock.now())
        clock.advance(timedelta(minutes=15))

    departures += await send_all(worker, clock)

    assert [0, 15, 30, 60, 75, 90] == [(one - START) / timedelta(minutes=1) for one in departures]


async def test_a_place_is_taken_until_the_hour_is_over(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Not a microsecond earlier."""
    worker = worker.under(limits=Limits(1, 100))
    await put_many(outbox, 2)
    await worker.send()
    clock.advance(HOUR - timedelta(microseconds=1))

    assert START + HOUR == await worker.waits()
    clock.set(START + HOUR)
    await worker.take()


async def test_a_text_under_way_has_its_place(outbox: Store, worker: Worker) -> None:
    """The claim takes it, not the answer."""
    worker = worker.under(limits=Limits(2, 100))
    await put_many(outbox, 3)

    assert 2 == len(await worker.take_all())


async def test_the_hour_is_counted_from_the_answer(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """CallRail may have counted it at the very end of the request."""
    worker = worker.under(limits=Limits(1, 100))
    await put_many(outbox, 2)
    claim = await worker.take()
    clock.advance(30)
    await worker.finish(claim)

    assert START + timedelta(seconds=30) + HOUR == await worker.waits()


async def test_accounts_have_budgets_of_their_own(outbox: Store, worker: Worker) -> None:
    """One account's full hour is no other's."""
    worker = worker.under(accounts=["ACC-1", "ACC-2"], limits=Limits(2, 100))
    await put_many(outbox, 5, account_id="ACC-1")
    await put_many(outbox, 3, account_id="ACC-2", first=5)

    claims = await worker.take_all()

    assert ["ACC-1", "ACC-1", "ACC-2", "ACC-2"] == [claim.route.account_id for claim in claims]


async def test_the_sooner_of_two_accounts_wakes(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """With both full, the one whose place is free first says when to look again."""
    worker = worker.under(accounts=["ACC-1", "ACC-2"], limits=Limits(1, 100))
    await put_many(outbox, 2, account_id="ACC-2")
    await worker.send()
    clock.advance(60)
    await put_many(outbox, 2, account_id="ACC-1", first=5)
    await worker.send()

    assert START + HOUR == await worker.waits()


@pytest.mark.parametrize(("limits", "window"), [(Limits(4, 100), HOUR), (Limits(100, 4), DAY)])
async def test_a_text_of_which_only_half_fits_is_not_begun(
    outbox: Store, worker: Worker, clock: ManualClock, limits: Limits, window: timedelta
) -> None:
    """
    It waits until the window has room for all of it. A shorter one would have room now, so that it is asked
    every minute whether the long one is still the first.
    """
    worker = worker.under(limits=limits, guards=NEVER_TOO_OLD)
    await put_many(outbox, 2)
    await worker.send()
    clock.advance(60)
    await worker.send()
    id_ = await put(outbox, words(400), to=recipient(50))

    assert clock.now() + ROOM_RETRY == await worker.waits()
    clock.set(START + window - timedelta(seconds=1))
    assert START + window == await worker.waits()
    assert Status.QUEUED == await status_of(outbox, id_)
    clock.set(START + window)
    assert id_ == (await worker.take()).message_id


async def test_segments_of_a_text_under_way_are_reserved(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Others get only what it doesn't need, also between its segments."""
    worker = worker.under(limits=Limits(4, 100))
    long = await put(outbox, words(400), to=recipient(50))
    await put_many(outbox, 2)

    first = await worker.take()
    (other,) = await worker.take_all()
    assert (long, 1) == (first.message_id, first.position)
    assert "Text 0" == other.content
    await worker.finish(first)
    await worker.finish(other)
    for position in (2, 3):
        clock.advance(1)
        claim = await worker.send()
        assert (long, position) == (claim.message_id, claim.position)
    assert START + HOUR == await worker.waits()


async def test_the_rest_of_a_text_is_not_forgotten_behind_one_that_does_not_fit(
    outbox: Store, worker: Worker
) -> None:
    """While the next text waits for room, the wake-up is that of the segment that is due sooner."""
    worker = worker.under(limits=Limits(3, 100))
    await put(outbox, words(400), to=recipient(50))
    await put_many(outbox, 1)
    await worker.send()

    assert START + timedelta(seconds=1) == await worker.waits()


async def test_a_text_that_no_hour_can_take_is_held(outbox: Store, worker: Worker) -> None:
    """It would wait for ever; the others go on."""
    worker = worker.under(limits=Limits(2, 100))
    long = await put(outbox, words(400), to=recipient(50))
    await put_many(outbox, 1)

    result = await worker.look()

    assert 1 == len(result.claims)
    assert [(long, ["too_long"])] == [(held.message_id, [*held.reasons]) for held in result.held]
    assert Status.HELD == await status_of(outbox, long)
    assert ["too_long"] == await codes_of(outbox, long)


async def test_a_text_held_for_its_length_goes_when_the_settings_allow_it(
    outbox: Store, worker: Worker
) -> None:
    """The remedy that the reason names is one."""
    id_ = await put(outbox, words(400))
    assert await worker.under(limits=Limits(2, 100)).waits() is None
    await outbox.write(decisions.approve, id_)

    claim = await worker.under(limits=Limits(2, 100), max_characters=1000).take()

    assert words(400) == claim.content


@pytest.mark.parametrize(
    "outcome",
    [
        NotSent("no route."),
        TOO_MANY,
        Rejected(401, "bad key", Refusal.AUTHORIZATION),
        Rejected(403, "read-only key", Refusal.AUTHORIZATION),
        FIREWALL,
    ],
    ids=["NotSent", "RateLimited", "401", "403", "403 with HTML"],
)
async def test_what_did_not_leave_costs_nothing(
    outbox: Store, worker: Worker, outcome: NotSent | Rejected
) -> None:
    """Its place is free again at once."""
    await put(outbox, "Hello")
    claim = await worker.take()
    assert 1 == (await worker.status()).hour.used

    await worker.finish(claim, outcome)

    status = await worker.status()
    assert (0, 0) == (status.hour.used, status.day.used)


@pytest.mark.parametrize(
    "outcome", [SENT, REFUSED, Unknown("no answer.")], ids=lambda outcome: str(outcome.kind.value)
)
async def test_what_may_have_left_keeps_its_place(
    outbox: Store, worker: Worker, clock: ManualClock, outcome: Unknown | Rejected
) -> None:
    """For an hour of one window and a day of the other."""
    await put(outbox, "Hello")
    await worker.send(outcome)

    async def used() -> tuple[int, int]:
        status = await worker.status()
        return status.hour.used, status.day.used

    assert (1, 1) == await used()
    clock.advance(HOUR)
    assert (0, 1) == await used()
    clock.advance(DAY - HOUR)
    assert (0, 0) == await used()


async def test_another_program_on_the_account_counts(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """CallRail's own count is higher than ours: the difference takes places, for as long as a window is."""
    worker = worker.under(limits=Limits(10, 100))
    await put_many(outbox, 5)
    await worker.send(sent_with(hour_allowed=10, hour_used=7, day_allowed=100, day_used=9))

    status = await worker.status()
    assert (7, 9) == (status.hour.used, status.day.used)
    assert 3 == len(await worker.take_all())
    assert START + HOUR == await worker.waits()
    clock.advance(HOUR)
    status = await worker.status()
    assert (0, 8 + 4) == (status.hour.used, status.day.used)


async def test_a_lower_count_of_callrail_is_not_believed(outbox: Store, worker: Worker) -> None:
    """Its window may have begun later than ours."""
    worker = worker.under(limits=Limits(3, 100))
    await put_many(outbox, 5)
    await worker.send()
    await worker.send(sent_with(hour_used=1, day_used=1))

    assert 2 == (await worker.status()).hour.used
    assert 1 == len(await worker.take_all())


async def test_the_excess_of_another_program_ends_before_ours(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The next text fits when what the other program used is over, though our own uses are newer."""
    worker = worker.under(limits=Limits(10, 100))
    await put_many(outbox, 12)
    await worker.send(sent_with(hour_used=6, day_used=6))
    clock.advance(timedelta(minutes=30))
    assert 4 == len([await worker.send() for _ in range(4)])

    # The first of ours and the five of the others end together, the four later ones half an hour after.
    assert START + HOUR == await worker.waits()
    assert START + HOUR == (await worker.status()).hour.free_at
    clock.set(START + HOUR)
    assert 6 == len(await worker.take_all())


async def test_a_window_full_of_newer_uses_frees_with_the_older_excess(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Where the excess is the oldest in the window, its end is the next place."""
    worker = worker.under(limits=Limits(4, 100))
    await put_many(outbox, 12)
    await worker.send(sent_with(hour_used=3, day_used=3))
    clock.advance(timedelta(minutes=20))
    await worker.send()
    assert START + HOUR == await worker.waits()
    clock.set(START + HOUR)

    assert 3 == len(await worker.take_all())


async def test_a_window_filled_by_others_frees_when_they_end(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """Also where none of the uses is ours."""
    worker = worker.under(limits=Limits(3, 100))
    long = await put(outbox, words(400), to=recipient(50))
    await put_many(outbox, 1)
    limited = TOO_MANY.__class__(429, "Rate limit exceeded.", 5, sent_with(hour_used=3, day_used=3).usage)
    await worker.send(limited)
    clock.advance(5)

    assert START + HOUR == await worker.waits()
    clock.set(START + HOUR)
    assert long == (await worker.take()).message_id


async def test_a_lower_limit_of_callrail_holds(outbox: Store, worker: Worker) -> None:
    """The smaller of the setting and CallRail's own."""
    await put_many(outbox, 5)
    await worker.send(sent_with(hour_allowed=3, day_allowed=4))

    status = await worker.status()
    assert (3, 4) == (status.hour.allowed, status.day.allowed)
    assert 2 == len(await worker.take_all())


async def test_a_higher_limit_of_callrail_does_not_raise_the_setting(outbox: Store, worker: Worker) -> None:
    """A person who set less meant it."""
    worker = worker.under(limits=Limits(2, 3))
    await put_many(outbox, 5)
    await worker.send(sent_with(hour_allowed=500, day_allowed=5000))

    status = await worker.status()
    assert (2, 3) == (status.hour.allowed, status.day.allowed)


async def test_a_limit_that_callrail_raises_again_holds(outbox: Store, worker: Worker) -> None:
    """The latest answer counts."""
    await put_many(outbox, 5)
    await worker.send(sent_with(hour_allowed=2, day_allowed=2))
    await worker.send(sent_with(hour_allowed=150, day_allowed=1000))

    assert 3 == len(await worker.take_all())


async def test_a_text_that_began_waits_where_callrail_lowers_the_limit(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """The limit is kept even for the rest of a text."""
    id_ = await put(outbox, words(400))
    await worker.send(sent_with(hour_allowed=1, day_allowed=1000))
    clock.advance(1)

    assert START + HOUR == await worker.waits()
    assert Status.SENDING == await status_of(outbox, id_)
    assert [Status.SENT, Status.QUEUED, Status.QUEUED] == [
        segment.status for segment in (await find(outbox, id_)).segments
    ]


async def test_an_account_that_may_send_nothing_waits(outbox: Store, worker: Worker) -> None:
    """A limit of zero is no reason to hold the texts: it may be raised again."""
    await put_many(outbox, 2)
    await worker.send(sent_with(hour_allowed=0))

    assert START + HOUR == await worker.waits()
