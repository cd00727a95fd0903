"""Which accounts a claim looks at: those that something may be sent from, in turn, and no others."""

from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from callrail_relay.domain.account import HOUR, Limits
from callrail_relay.domain.opt_outs import OptOut
from callrail_relay.domain.outcome import NotSent, Unknown
from callrail_relay.outbox import claim as store_claim
from callrail_relay.outbox import decisions, opt_outs, rows
from callrail_relay.outbox.claim import AT_ONCE
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import accounts
from tests.outbox.database import connected
from tests.outbox.worker import Worker, codes_of, put, words
from tests.support.clock import START, ManualClock
from tests.support.factories import ACCOUNT, TRACKING_NUMBER, recipient
from tests.support.policies import guard_policy
from tests.support.stores import statements

pytestmark = pytest.mark.anyio

MANY = tuple(f"ACC{number:03}" for number in range(30))


async def fill(outbox: Store, *account_ids: str, texts: int = 2) -> None:
    """Texts of each account, to different people."""
    for number, account_id in enumerate(account_ids):
        for text in range(texts):
            await put(outbox, f"{account_id} {text}", to=recipient(number * 10 + text), account_id=account_id)


async def test_accounts_take_turns(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """None waits until another has nothing more to send."""
    await fill(outbox, "ACC1", "ACC2", "ACC3")
    worker = worker.under(accounts=["ACC1", "ACC2", "ACC3"])

    sent = []
    for _ in range(6):
        clock.advance(timedelta(milliseconds=1))
        sent.append((await worker.send()).route.account_id)

    assert ["ACC1", "ACC2", "ACC3"] == sorted(sent[:3])
    assert ["ACC1", "ACC2", "ACC3"] == sorted(sent[3:])


async def test_each_account_is_looked_at_once_whatever_the_collation(
    outbox: Store, worker: Worker, store_url: str
) -> None:
    """PostgreSQL may sort ids as a dictionary does, and more accounts may be due than are read at a time."""
    ids = ("ACCa", "ACCB", "ACCc", "ACCD", "ACCe", "ACCF", "ACCg", "ACCH")
    worker = worker.under(accounts=ids)
    if store_url.startswith("postgresql"):
        with connected(store_url) as connection:
            connection.exec_driver_sql('ALTER TABLE accounts ALTER id TYPE varchar COLLATE "en-x-icu"')
    await fill(outbox, *ids, texts=1)
    with connected(store_url) as connection:
        connection.execute(sa.update(accounts).values(due_at=START))

    taken = [claim.route.account_id for _ in range(3) for claim in (await worker.look(most=3)).claims]

    assert list(ids) == sorted(taken, key=str.lower)


async def test_an_account_that_waits_with_nothing_to_send_is_not_due(outbox: Store, worker: Worker) -> None:
    await put(outbox, "Hello")
    await worker.send(Unknown("the answer did not come."))

    await outbox.write(rows.look_at_all, accounts.c.id == ACCOUNT)

    assert await worker.waits() is None


async def test_a_look_passes_by_accounts_at_their_limit(outbox: Store, worker: Worker) -> None:
    """However many there are: what a claim costs is the same."""
    worker = worker.under(accounts=MANY, limits=Limits(1, 10))
    await fill(outbox, *MANY)
    for _ in MANY:
        await worker.send()
    assert START + HOUR == await worker.waits()

    with statements() as asked:
        assert START + HOUR == await worker.waits()

    assert 1 == len([one for one in asked if "FROM accounts" in one or "messages" in one])


async def test_a_text_of_an_account_at_its_limit_waits_with_the_others(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """It makes no process look, and is sent when there is room again."""
    worker = worker.under(limits=Limits(1, 10))
    await put(outbox, "First")
    await worker.send()
    await put(outbox, "Second", to=recipient(1))
    assert START + HOUR == await worker.waits()

    await put(outbox, "Third", to=recipient(2))
    with statements() as asked:
        assert START + HOUR == await worker.waits()

    assert 1 == len([one for one in asked if "FROM accounts" in one or "messages" in one])
    clock.set(START + HOUR)
    assert "Second" == (await worker.take()).content


async def test_what_costs_nothing_after_all_opens_the_account(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """A text that was not sent gives its place back, and no text waits for the end of the hour."""
    worker = worker.under(limits=Limits(1, 10))
    await put(outbox, "First")
    await put(outbox, "Second", to=recipient(1))
    claim = await worker.take()
    assert START + HOUR == await worker.waits()

    await worker.finish(claim, NotSent("No connection."))
    wake_at = await worker.waits()

    assert wake_at is not None
    assert wake_at < START + timedelta(minutes=10)
    clock.set(wake_at)
    await worker.take()


async def test_a_start_looks_at_all_accounts(outbox: Store, worker: Worker) -> None:
    """Under settings that allow more, no text waits for what the former ones said."""
    await put(outbox, "First")
    await worker.under(limits=Limits(1, 10)).send()
    await put(outbox, "Second", to=recipient(1))
    assert START + HOUR == await worker.under(limits=Limits(1, 10)).waits()

    await worker.settle_abandoned("node-1")

    assert "Second" == (await worker.take()).content


async def test_a_forgotten_account_is_taken_up(outbox: Store, worker: Worker, store_url: str) -> None:
    """If a fault hides when to look at it, its texts wait for a minute and not forever."""
    await put(outbox, "Hello")
    with connected(store_url) as connection:
        connection.execute(sa.update(accounts).values(due_at=None))
    assert await worker.waits() is None

    await outbox.write(store_claim.take_up_forgotten)

    assert "Hello" == (await worker.take()).content


async def test_a_paused_account_is_not_forgotten(outbox: Store, worker: Worker) -> None:
    """It is looked at when it is resumed."""
    await put(outbox, "Hello")
    await outbox.write(decisions.pause, ACCOUNT, "Lunch")
    assert await worker.waits() is None
    await outbox.write(store_claim.take_up_forgotten)
    assert await worker.waits() is None

    await outbox.write(decisions.resume, ACCOUNT)

    assert "Hello" == (await worker.take()).content


@pytest.mark.parametrize("listed", [False, True])
async def test_an_opt_out_lets_those_behind_it_leave(outbox: Store, worker: Worker, *, listed: bool) -> None:
    """
    A long text that waits for room is held when its person opts out, alone or in a list; the short one behind
    it has room now.
    """
    worker = worker.under(limits=Limits(3, 10))
    await put(outbox, "First")
    await worker.send()
    long = await put(outbox, words(400), to=recipient(1))
    await put(outbox, "Short", to=recipient(2))
    assert (await worker.waits() or START) > START

    opt_out = OptOut(
        tracking_number=TRACKING_NUMBER, recipient=recipient(1), reason="They asked.", created_at=START
    )
    if listed:
        await outbox.write(opt_outs.add_opt_outs, [opt_out])
    else:
        await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(1), "They asked.")

    assert "Short" == (await worker.take()).content
    assert ["opt_out"] == await codes_of(outbox, long)


async def test_many_texts_that_grew_too_old_are_held_some_at_a_time(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """A webhook that comes meanwhile does not wait until all of them are held."""
    for number in range(AT_ONCE + 2):
        await put(outbox, f"Old {number}", to=recipient(number))
    clock.advance(guard_policy().max_age + timedelta(seconds=1))
    await put(outbox, "New", to=recipient(99))

    first = await worker.look()
    second = await worker.look()

    assert (AT_ONCE, (), clock.now()) == (len(first.held), first.claims, first.wake_at)
    assert 2 == len(second.held)
    assert ["New"] == [claim.content for claim in second.claims]


async def test_what_is_held_half_way_keeps_no_room(outbox: Store, worker: Worker, clock: ManualClock) -> None:
    """
    When a person opts out while the rest of their text waits, the next text gets its room in the same look.
    """
    worker = worker.under(limits=Limits(3, 10))
    await put(outbox, "First", to=recipient(1))
    await worker.send()
    long = await put(outbox, words(250), to=recipient(2))
    await worker.send()
    await put(outbox, "Short", to=recipient(3))
    clock.advance(2)

    await outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, recipient(2), "They asked on the phone.")

    assert "Short" == (await worker.take()).content
    assert ["opt_out"] == await codes_of(outbox, long)


async def test_a_text_that_grows_too_old_lets_those_behind_it_leave(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """At the very moment at which it will not be sent any more."""
    worker = worker.under(limits=Limits(3, 10), guards=guard_policy(max_age=timedelta(seconds=30)))
    await put(outbox, "First")
    await worker.send()
    long = await put(outbox, words(400), to=recipient(1))
    clock.advance(20)
    await put(outbox, "Short", to=recipient(2))

    wake_at = await worker.waits()

    assert wake_at is not None
    assert START + timedelta(seconds=30) < wake_at < START + timedelta(seconds=31)
    clock.set(wake_at)
    assert "Short" == (await worker.take()).content
    assert ["too_old"] == await codes_of(outbox, long)


async def test_a_pause_has_no_other_account_looked_at(
    outbox: Store, worker: Worker, clock: ManualClock, store_url: str
) -> None:
    """Nor has resuming it: those at their limits sleep on."""
    await fill(outbox, *MANY)
    worker = worker.under(accounts=MANY, limits=Limits(1, 100))
    for _ in MANY:
        await worker.send()
    assert not (await worker.look()).claims

    for change in (partial(decisions.pause, reason="Holidays."), decisions.resume):
        await outbox.write(change, account_id=MANY[7])
        with connected(store_url) as connection:
            due = sa.select(accounts.c.id).where(accounts.c.due_at <= clock.now())
            assert [MANY[7]] == list(connection.scalars(due))
        assert not (await worker.look()).claims
