"""Removing what is personal: what a person may still have to see keeps its words."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from callrail_relay.domain.account import Limits
from callrail_relay.domain.guards import Verdict
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.outcome import Refusal, Rejected
from callrail_relay.outbox import decisions, retention
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain
from tests.outbox.worker import Worker, find, put, put_message
from tests.support.clock import ManualClock
from tests.support.factories import make_message, make_policy, recipient

pytestmark = pytest.mark.anyio

KEPT_FOR = timedelta(days=2)
LATER = timedelta(days=3)
TEXTS = 120
REFUSED = Rejected(422, "content is invalid", Refusal.CONTENT)


async def cancelled(outbox: Store) -> str:
    id_ = await put(outbox, "Hello")
    assert await outbox.write(decisions.cancel, id_, [Status.QUEUED])
    return id_


async def retire(outbox: Store, clock: ManualClock) -> int:
    return await outbox.write(retention.retire, clock.now() - KEPT_FOR, 10)


async def test_what_has_no_words_any_more_is_not_sent_again(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """They were removed between a person's look and their word; and no other text waits for it."""
    id_ = await cancelled(outbox)
    clock.advance(LATER)
    assert 1 == await retire(outbox, clock)

    assert not await outbox.write(decisions.resend, id_)
    other = await put(outbox, "Hello to you", to=recipient(7))
    assert other == (await worker.take()).message_id


async def test_a_text_that_failed_just_now_keeps_its_words(
    outbox: Store, worker: Worker, clock: ManualClock
) -> None:
    """However long ago it came: a person has to see what failed."""
    id_ = await cancelled(outbox)
    clock.advance(LATER)
    assert await outbox.write(decisions.resend, id_)
    await worker.send(REFUSED)

    assert 0 == await retire(outbox, clock)
    assert "Hello" == (await find(outbox, id_)).text
    clock.advance(LATER)
    assert 1 == await retire(outbox, clock)
    assert (await find(outbox, id_)).text is None


async def test_what_was_typed_goes_from_the_reasons_too(outbox: Store, clock: ManualClock) -> None:
    """A reason may show the phone or the words that were wrong; its code stays."""
    verdict = Verdict(
        holds=(
            Reason("merge_tag", {"placeholder": "{first_name}"}),
            Reason("bulk", {"detail": "It came with others."}),
        )
    )
    id_ = await put_message(outbox, make_message(verdict=verdict))
    assert await outbox.write(decisions.cancel, id_, [Status.HELD])
    clock.advance(LATER)
    assert 1 == await retire(outbox, clock)

    shown, other = (await find(outbox, id_)).reasons
    assert ("merge_tag", False) == (shown.code, "first_name" in explain(shown))
    assert Reason("bulk", {"detail": "It came with others."}) == other


def left_of(path: Path) -> set[int]:
    """The texts whose words or phone are in a file of the store."""
    content = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    return {
        number
        for number in range(TEXTS)
        if f"No. {number}:".encode() in content or recipient(number).encode() in content
    }


@pytest.mark.parametrize("overwrites", [True, False])
async def test_what_is_removed_is_in_no_file_of_the_store(
    sqlite_path: Path, clock: ManualClock, *, overwrites: bool
) -> None:
    """
    Neither in free pages nor in the log of changes, while it stays open; without the pragma it would be.
    """
    outbox = await Store.open(f"sqlite:///{sqlite_path.as_posix()}", clock)
    if not overwrites:
        sa.event.listen(sa.Engine, "begin", _overwrite_nothing)
    try:
        worker = Worker(outbox, make_policy(limits=Limits(1000, 1000)))
        for number in range(TEXTS):
            await put(outbox, f"No. {number}: " + "word " * (number % 120), to=recipient(number))
        while (claim := await worker.take_if_any()) is not None:
            await worker.finish(claim)
            clock.advance(2)
        assert set(range(TEXTS)) == left_of(sqlite_path)
        clock.advance(LATER)
        while await outbox.write(retention.retire, clock.now() - KEPT_FOR, 50) == 50:
            pass
        await outbox.empty_log()

        assert (set() if overwrites else set(range(TEXTS))) == left_of(sqlite_path)
    finally:
        if not overwrites:
            sa.event.remove(sa.Engine, "begin", _overwrite_nothing)
        await outbox.close()


def _overwrite_nothing(connection: sa.Connection) -> None:
    connection.exec_driver_sql("PRAGMA secure_delete=OFF")
