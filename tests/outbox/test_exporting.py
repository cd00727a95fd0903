"""
Reading many messages in portions.
"""

import pytest

from callrail_relay.domain.message import Export, MessageFilter, Status
from callrail_relay.outbox.store import Outbox
from tests.outbox.worker import Worker, put
from tests.support.factories import recipient

pytestmark = pytest.mark.anyio


async def read_all(outbox: Outbox, export: Export, size: int = 2) -> list[list[str | None]]:
    found, place = await outbox.read_portion(export, after=0, size=size)
    portions = []
    while found:
        portions.append([message.text for message in found])
        found, place = await outbox.read_portion(export, after=place, size=size)
    return portions


async def test_portions_are_all_of_it_oldest_first(outbox: Outbox) -> None:
    """
    What comes in meanwhile is not in it: the count that was told stays right.
    """
    for number in range(5):
        await put(outbox, f"Text {number}", to=recipient(number))
    export = await outbox.plan_export(MessageFilter())
    await put(outbox, "Later", to=recipient(9))

    assert 5 == export.count
    assert [["Text 0", "Text 1"], ["Text 2", "Text 3"], ["Text 4"]] == await read_all(outbox, export)


async def test_only_what_passes_the_filter_is_in_it(outbox: Outbox, worker: Worker) -> None:
    for number in range(3):
        await put(outbox, f"Text {number}", to=recipient(number))
    await worker.send()
    export = await outbox.plan_export(MessageFilter(statuses=(Status.QUEUED,), search="text"))

    assert 2 == export.count
    assert [["Text 1", "Text 2"]] == await read_all(outbox, export)


async def test_an_empty_store_has_nothing_to_export(outbox: Outbox) -> None:
    export = await outbox.plan_export(MessageFilter())

    assert (0, []) == (export.count, await read_all(outbox, export))
