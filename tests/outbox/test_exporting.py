"""Reading many messages in portions."""

from datetime import timedelta

import pytest

from callrail_relay.domain.guards import Verdict
from callrail_relay.domain.message import Export, MessageFilter, Reason, Status
from callrail_relay.outbox import queries
from callrail_relay.outbox.store import Store
from tests.outbox.worker import Worker, accept_one, put
from tests.support.clock import START, ManualClock
from tests.support.factories import make_draft, make_message, make_submission, recipient

pytestmark = pytest.mark.anyio

UNMAPPED = Verdict((Reason("no_phone", {"detail": "It has no number."}),))


async def read_all(outbox: Store, export: Export, size: int = 2) -> list[list[str | None]]:
    found, place = await outbox.read(queries.read_portion, export, after=0, size=size)
    portions = []
    while found:
        portions.append([message.text for message in found])
        found, place = await outbox.read(queries.read_portion, export, after=place, size=size)
    return portions


async def test_portions_are_all_of_it_oldest_first(outbox: Store) -> None:
    """What comes in meanwhile is not in it: the count that was told stays right."""
    for number in range(5):
        await put(outbox, f"Text {number}", to=recipient(number))
    export = await outbox.read(queries.plan_export, MessageFilter())
    await put(outbox, "Later", to=recipient(9))

    assert 5 == export.count
    assert [["Text 0", "Text 1"], ["Text 2", "Text 3"], ["Text 4"]] == await read_all(outbox, export)


async def test_only_what_passes_the_filter_is_in_it(outbox: Store, worker: Worker) -> None:
    for number in range(3):
        await put(outbox, f"Text {number}", to=recipient(number))
    await worker.send()
    export = await outbox.read(queries.plan_export, MessageFilter(statuses=(Status.QUEUED,), words=("text",)))

    assert 2 == export.count
    assert [["Text 1", "Text 2"]] == await read_all(outbox, export)


async def test_words_are_looked_for_in_portions(outbox: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that holds none of them does not end the export."""
    monkeypatch.setattr(queries, "LOOKED_THROUGH", 2)
    for number in range(9):
        await put(outbox, f"{'House' if number in (0, 1, 6, 7) else 'Flat'} {number}", to=recipient(number))
    export = await outbox.read(queries.plan_export, MessageFilter(words=("house",)))

    assert 4 == export.count
    assert [["House 0", "House 1"], ["House 6", "House 7"]] == await read_all(outbox, export)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (MessageFilter(), 4),
        (MessageFilter(statuses=(Status.SENT,)), 1),
        (MessageFilter(statuses=(Status.SENT, Status.QUEUED)), 3),
        (MessageFilter(recipient=recipient(0)), 1),
        (MessageFilter(since=START + timedelta(hours=1)), 1),
        (MessageFilter(since=START + timedelta(hours=2)), 0),
    ],
)
async def test_the_count_is_that_of_what_is_exported(
    outbox: Store, worker: Worker, clock: ManualClock, wanted: MessageFilter, count: int
) -> None:
    for number in range(2):
        await put(outbox, f"Text {number}", to=recipient(number))
    await worker.send()
    await accept_one(
        outbox, make_submission(make_message(draft=make_draft(recipient=None), verdict=UNMAPPED))
    )
    clock.advance(timedelta(hours=1))
    await put(outbox, "Late", to=recipient(9))
    export = await outbox.read(queries.plan_export, wanted)

    assert (count, count) == (export.count, sum(len(one) for one in await read_all(outbox, export)))


async def test_an_empty_store_has_nothing_to_export(outbox: Store) -> None:
    export = await outbox.read(queries.plan_export, MessageFilter())

    assert (0, []) == (export.count, await read_all(outbox, export))
