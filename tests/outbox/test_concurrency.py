"""
Two nodes on one store: nothing is claimed twice, no budget is passed, no node waits for another forever.
"""

import asyncio
from dataclasses import replace
from itertools import chain

import psycopg
import pytest
import sqlalchemy as sa

from callrail_relay.clock import SystemClock
from callrail_relay.domain.account import Limits
from callrail_relay.domain.delivery import Claim, ClaimResult
from callrail_relay.domain.message import MessageFilter, Status
from callrail_relay.outbox import queries
from callrail_relay.outbox.claim import LOCKED_RETRY
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import accounts
from tests.outbox.database import connected
from tests.outbox.worker import SENT, TOO_MANY, Worker, accept_one, plain, put, told
from tests.support.clock import START, ManualClock
from tests.support.factories import make_message, make_submission, recipient

pytestmark = pytest.mark.anyio


@pytest.fixture
def workers(outbox: Store, second_outbox: Store) -> list[Worker]:
    return [Worker(outbox, node="node-1"), Worker(second_outbox, node="node-2")]


async def look_together(workers: list[Worker], times: int) -> list[Claim]:
    """What as many claims of each worker come to, all begun at one time."""
    looks = [worker.look() for _ in range(times) for worker in workers]
    results: list[ClaimResult] = await asyncio.gather(*looks)
    return [claim for result in results for claim in result.claims]


async def test_no_text_is_claimed_twice(outbox: Store, workers: list[Worker]) -> None:
    """Each goes to one of them."""
    await accept_one(
        outbox, make_submission(*(plain(f"Text {number}", to=recipient(number)) for number in range(40)))
    )

    claims = await look_together(workers, 30)

    assert sorted(f"Text {number}" for number in range(40)) == sorted(claim.content for claim in claims)


async def test_the_budget_is_not_passed(outbox: Store, workers: list[Worker]) -> None:
    """Two nodes have one budget."""
    await accept_one(
        outbox, make_submission(*(plain(f"Text {number}", to=recipient(number)) for number in range(40)))
    )
    limited = [worker.under(limits=Limits(25, 100)) for worker in workers]

    claims = await look_together(limited, 30)

    assert 25 == len(claims)


async def test_one_text_to_one_person_at_a_time(outbox: Store, workers: list[Worker]) -> None:
    """Also where both look at once."""
    for number in range(4):
        await put(outbox, f"A{number}", to=recipient(1))
        await put(outbox, f"B{number}", to=recipient(2))

    assert ["A0", "B0"] == sorted(claim.content for claim in await look_together(workers, 10))


async def test_one_probe_at_a_time(outbox: Store, workers: list[Worker]) -> None:
    """One of all nodes."""
    for number in range(4):
        await put(outbox, "Hello", to=recipient(number))
    await workers[0].send(replace(TOO_MANY, retry_after=0))

    assert 1 == len(await look_together(workers, 5))


async def test_an_attempt_is_settled_once(outbox: Store, workers: list[Worker]) -> None:
    """Its own node and the one that takes it for abandoned may record at one time."""
    await put(outbox, "Hello")
    claim = await workers[0].take()

    results = await asyncio.gather(*(worker.record(claim, SENT) for worker in workers * 3))

    assert 1 == sum("attempt_finished" in told(result) for result in results)
    assert 1 == (await workers[0].status()).hour.used


async def test_a_held_text_is_held_once(outbox: Store, workers: list[Worker]) -> None:
    """One claim reports it."""
    id_ = await put(outbox, "word " * 100)
    strict = [worker.under(limits=Limits(1, 1)) for worker in workers]

    results = await asyncio.gather(*(worker.look() for worker in strict * 4))

    assert [id_] == [held.message_id for held in chain.from_iterable(one.held for one in results)]


async def test_a_double_click_that_two_nodes_took_is_held(outbox: Store, second_outbox: Store) -> None:
    """The guard sees what another node is storing at the same instant."""
    await put(outbox, "before", to=recipient(99))
    for number in range(10):
        draft = plain("Hello", to=recipient(number)).draft
        both = await asyncio.gather(
            *(accept_one(one, make_submission(make_message(draft=draft))) for one in (outbox, second_outbox))
        )
        assert [Status.HELD, Status.QUEUED] == sorted(accepted.status for (accepted,) in both)


async def test_nodes_that_need_several_accounts_do_not_block_each_other(
    outbox: Store, second_outbox: Store
) -> None:
    """Claims, answers and new texts for two accounts, in both orders at one time, all come to their end."""
    account_ids = ["ACC-1", "ACC-2"]
    workers = [
        Worker(one, node=node).under(accounts=account_ids, limits=Limits(1000, 1000))
        for one, node in ((outbox, "node-1"), (second_outbox, "node-2"))
    ]

    async def work(worker: Worker, order: list[str], first: int) -> None:
        for number in range(first, first + 15):
            texts = [
                plain("Hello", to=recipient(2 * number + account_ids.index(account)), account_id=account)
                for account in order
            ]
            await accept_one(worker.outbox, make_submission(*texts))
            while (claim := await worker.take_if_any()) is not None:
                await worker.finish(claim)

    await asyncio.gather(work(workers[0], account_ids, 0), work(workers[1], account_ids[::-1], 100))

    ends = {message.status for message in await outbox.read(queries.list_messages, MessageFilter(limit=0))}
    assert {Status.SENT} == ends


async def test_an_account_that_another_node_has_in_hand_is_passed_by(
    postgres_url: str, clock: ManualClock
) -> None:
    """So that several nodes claim at the same time, each for another account."""
    outbox = await Store.open(postgres_url, clock, database_time=False)
    worker = Worker(outbox).under(accounts=["ACC-1", "ACC-2"])
    await put(outbox, "First", account_id="ACC-1")
    await put(outbox, "Second", account_id="ACC-2", to=recipient(1))

    with connected(postgres_url) as connection:
        connection.execute(sa.select(accounts).where(accounts.c.id == "ACC-1").with_for_update()).all()
        claim = await asyncio.wait_for(worker.take(), timeout=3)
        assert "ACC-2" == claim.route.account_id
        assert clock.now() + LOCKED_RETRY == await asyncio.wait_for(worker.waits(), timeout=3)

    assert "ACC-1" == (await worker.take()).route.account_id
    await outbox.close()


async def test_a_node_that_starts_does_not_block_webhooks(postgres_url: str, clock: ManualClock) -> None:
    """It looks at all accounts, and a burst needs several: both take them in one order, wherever they lie."""
    outbox = await Store.open(postgres_url, clock, database_time=False)
    await put(outbox, "First", account_id="ACC-1")
    await put(outbox, "Second", account_id="ACC-2", to=recipient(1))
    with connected(postgres_url) as connection:
        # Its row lies behind that of ACC-2 from now on.
        connection.execute(sa.update(accounts).where(accounts.c.id == "ACC-1").values(due_at=START))
    burst = make_submission(
        *(plain("Hello", to=recipient(number), account_id=f"ACC-{number}") for number in (1, 2))
    )

    with connected(postgres_url) as connection:
        connection.execute(sa.select(accounts).where(accounts.c.id == "ACC-2").with_for_update()).all()
        start = asyncio.create_task(Worker(outbox).settle_abandoned("node-1"))
        await until_waiting(postgres_url, 1)
        accept = asyncio.create_task(accept_one(outbox, burst))
        await until_waiting(postgres_url, 2)

    await asyncio.gather(start, accept)
    await outbox.close()


async def until_waiting(store_url: str, number: int) -> None:
    """Return when so many transactions wait for a lock."""
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    async with asyncio.timeout(4):
        while True:
            with connected(store_url) as connection:
                if connection.scalar(waiting) >= number:
                    return
            await asyncio.sleep(0.01)


async def test_a_node_keeps_few_connections(postgres_url: str) -> None:
    """However much is asked of it at once: PostgreSQL has a hundred for everybody."""
    outbox = await Store.open(postgres_url, SystemClock(), serves=True)
    asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'callrail-relay%'"
    found = []
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for _ in range(5):
            work = (outbox.accept(make_submission()), outbox.write_probe(), outbox.now())
            all_at_once = asyncio.gather(*(one for _ in range(20) for one in work))
            while not all_at_once.done():
                found += connection.execute(asked).fetchall()
                await asyncio.sleep(0.01)
            await all_at_once
    await outbox.close()

    assert 1 < max(count for (count,) in found) <= 10
