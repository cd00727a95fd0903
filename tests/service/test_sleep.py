"""The computer sleeps and wakes."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.cli.render import console, print_status
from callrail_relay.domain.events import ComputerSlept, KeepAwakeFailed
from callrail_relay.domain.health import Node, Slept
from callrail_relay.domain.inbound import SeenReplies
from callrail_relay.domain.message import Status
from callrail_relay.errors import Unavailable
from callrail_relay.outbox.presence import StoreLock
from callrail_relay.sentences import asleep, running_words, when
from callrail_relay.service.background import HOLD_AGAIN, SleepDetector, SleepWatch
from callrail_relay.service.delivery import Delivery
from callrail_relay.service.replies import Polling
from tests.service.rig import Rig, open_rig, outcomes
from tests.service.test_polling import polling_of
from tests.support.clock import START
from tests.support.factories import RECIPIENT

pytestmark = pytest.mark.anyio

NIGHT = timedelta(hours=8)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, serves=True) as one:
        yield one


def watch_of(rig: Rig, hold: object = None) -> SleepWatch:
    return SleepWatch(rig.outbox, rig.events, rig.intake.sleep, hold)  # type: ignore[arg-type]  # a test's


def held_back(rig: Rig) -> tuple[Delivery, SleepDetector, Polling]:
    """What sends nothing before its first poll, nor before the first one after a sleep."""
    closed = {rig.account_id}
    delivery, detector = rig.delivery(closed=closed), rig.intake.sleep
    delivery.about_to_claim = detector.look
    polling = polling_of(rig, closed=closed, opened=delivery.wake)
    detector.woken.append(polling.begin_again)
    return delivery, detector, polling


@pytest.mark.parametrize("polls_on_its_way", [False, True])
async def test_replies_are_read_before_anything_is_sent(rig: Rig, *, polls_on_its_way: bool) -> None:
    """A person opted out while the computer slept; also if that began in the middle of a poll."""
    delivery, detector, polling = held_back(rig)
    if not polls_on_its_way:
        await polling.turn()
    told = await rig.accept("Are you still thinking of selling?")
    if polls_on_its_way:
        seen = rig.callrail.find_replies

        async def sleepy(*arguments: str, **more: object) -> SeenReplies:
            polling.find_replies = seen
            found = await seen(*arguments, **more)  # type: ignore[arg-type]  # as they came
            rig.clock.suspend(timedelta(minutes=10))
            rig.simulator.receive(RECIPIENT, "STOP")
            detector.look()
            return found

        polling.find_replies = sleepy
        await polling.turn()
    else:
        rig.clock.suspend(timedelta(minutes=10))
        rig.simulator.receive(RECIPIENT, "STOP")

    await rig.work(delivery, turns=2)
    assert [] == outcomes(await rig.message(told))
    await polling.turn()
    await rig.work(delivery, turns=2)

    held = await rig.message(told)
    assert (Status.HELD, []) == (held.status, outcomes(held))


async def test_texts_are_sent_after_the_poll(rig: Rig) -> None:
    delivery, _, polling = held_back(rig)
    await polling.turn()
    rig.clock.suspend(NIGHT)
    id_ = await rig.accept("Good morning, Dana")
    await rig.work(delivery)
    waiting = (await rig.message(id_)).status
    await polling.turn()
    await rig.work(delivery)

    assert (Status.QUEUED, Status.SENT) == (waiting, (await rig.message(id_)).status)


async def test_it_is_said_how_long_the_computer_slept(
    rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the log, and to every command by the note beside the store; a moment is no sleep."""
    watch = watch_of(rig)
    rig.clock.advance(30)
    await watch.turn()
    rig.clock.suspend(timedelta(seconds=5))
    await watch.turn()
    assert [] == rig.events.of(ComputerSlept)

    rig.clock.suspend(NIGHT)
    rig.clock.advance(2)
    await watch.turn()
    await watch.turn()

    slept = Slept(int(NIGHT.total_seconds()), rig.clock.now())
    assert [slept.seconds] == [event.seconds for event in rig.events.of(ComputerSlept)]
    node = StoreLock(rig.path).server()
    assert node is not None
    assert slept == node.slept
    report = await rig.operations.status()
    [shown] = report.document()["relay"]["nodes"]
    assert {"seconds": 28800, "woke_at": "2026-03-02T23:00:37.000Z"} == shown["slept"]
    words = "This computer was asleep or suspended for 8 hours until"
    monkeypatch.setattr(console(), "width", 200, raising=False)
    print_status(report)
    assert words in capsys.readouterr().out
    assert words in running_words(report.facts)


async def test_a_relay_that_something_stopped_is_told(rig: Rig) -> None:
    """As `docker pause` does: the computer was awake, but the relay was not."""
    watch = watch_of(rig)
    rig.clock.advance(3600)
    rig.intake.sleep.look()
    await watch.turn()

    assert [3590] == [event.seconds for event in rig.events.of(ComputerSlept)]


@pytest.mark.parametrize(
    ("seconds", "words"), [(31, "1 minute"), (600, "10 minutes"), (5399, "2 hours"), (28_950, "8 hours")]
)
async def test_a_sleep_is_told_in_round_words(seconds: int, words: str) -> None:
    node = Node(name="office", slept=Slept(seconds, START))
    assert f"office was asleep or suspended for {words} until {when(START, START)}" in asleep(node, START)


async def test_computer_that_cannot_be_kept_awake_is_told_once(rig: Rig) -> None:
    """It is tried again now and then, as when its user signs in."""
    tries: list[int] = []

    def hold() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise Unavailable("Access denied.")

    watch = watch_of(rig, hold)
    for _ in range(4):
        await watch.turn()
        await watch.turn()
        rig.clock.advance(HOLD_AGAIN)

    assert 4 + 1 == len(tries)
    assert ["Access denied."] == [event.reason for event in rig.events.of(KeepAwakeFailed)]
