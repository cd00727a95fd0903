"""Alerts: from what is wrong in a real store to a real HTTP server, through Apprise."""

import asyncio
import io
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest

from callrail_relay.domain.alerts import Code, Incident, Level
from callrail_relay.domain.events import AlertFailed, AlertTold, ProgramFailed
from callrail_relay.domain.message import Verb
from callrail_relay.errors import SettingsError, Unavailable
from callrail_relay.outbox import alerts as store_alerts
from callrail_relay.service.alerts import LONGEST_RETRY, Alerts
from callrail_relay.telemetry.alerts import AppriseChannels
from tests.service.rig import Rig, open_rig
from tests.support.clock import START
from tests.support.policies import alert_policy
from tests.support.receiver import Receiver, receiving

pytestmark = pytest.mark.anyio

GIGABYTE = 1024**3
NOWHERE = "json://127.0.0.1:9/secret-of-the-channel"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def alerts_of(rig: Rig, *urls: str, free_bytes: int | None = GIGABYTE, weekly_summary: str = "off") -> Alerts:
    return Alerts(
        rig.outbox,
        rig.events,
        rig.operations.facts,
        AppriseChannels.open(urls, setting="alerts.urls").send_alerts,
        alert_policy(weekly_summary=weekly_summary),
        machine="office",
        free_bytes=lambda: free_bytes,
    )


async def test_the_owner_hears_of_a_pause_and_of_its_end(tmp_path: Path, receiver: Receiver) -> None:
    """Once each, however often it checks."""
    async with open_rig(tmp_path) as rig:
        alerts = alerts_of(rig, receiver.url)
        await alerts.turn()
        await rig.operations.pause(None, "The office is closed.")
        for _ in range(3):
            await alerts.turn()
        await rig.operations.resume(None)
        for _ in range(3):
            await alerts.turn()

        assert ["callrail-relay needs attention", "callrail-relay: resolved"] == receiver.titles
        assert "The office is closed." in receiver.messages[0]
        assert ["failure", "success"] == [one["type"] for one in receiver.taken]
        assert 2 == len(rig.events.of(AlertTold))
        assert [] == await rig.outbox.read(store_alerts.read_incidents)


async def test_what_begins_together_is_told_together(tmp_path: Path, receiver: Receiver) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.accept("Hello {{name}}")
        rig.clock.advance(16 * 60)
        await rig.operations.pause(None, "Lunch.")

        await alerts_of(rig, receiver.url, free_bytes=0).turn()

        [message] = receiver.messages
        assert 3 == len(message.split("\n\n"))
        assert "1 message needs your review (1 on hold)" in message
        assert "Hello" not in message


async def test_another_node_does_not_tell_it_again(tmp_path: Path, receiver: Receiver) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.operations.pause(None, "Lunch.")

        await asyncio.gather(*(alerts_of(rig, receiver.url).turn() for _ in range(3)))

        assert 1 == len(receiver.taken)


async def test_a_channel_that_fails_is_tried_again_later(tmp_path: Path, receiver: Receiver) -> None:
    """Ever more seldom, until it works; its secret is in no word about it."""
    receiver.status = 500
    async with open_rig(tmp_path) as rig:
        alerts = alerts_of(rig, receiver.url)
        await rig.operations.pause(None, "Lunch.")
        for _ in range(12):
            await alerts.turn()
            await alerts.turn()
            failed = rig.events.of(AlertFailed)
            rig.clock.advance(failed[-1].retry_in)

        assert 12 == receiver.refused == len(failed)
        assert [30, 60, 120, 240] == [one.retry_in.total_seconds() for one in failed[:4]]
        assert LONGEST_RETRY == failed[-1].retry_in
        assert "alerts.urls[0] (json)" in failed[0].reason
        assert "secret" not in str(rig.events)
        receiver.status = 200
        await alerts.turn()
        assert 1 == len(receiver.taken)


async def at(rig: Rig, local: str) -> None:
    """Let the clock go on until this instant, by this computer's own time zone."""
    wanted = datetime.fromisoformat(local).astimezone()
    rig.clock.advance((wanted - rig.clock.now()).total_seconds())


async def test_each_week_begins_with_a_summary_of_the_last_one(tmp_path: Path, receiver: Receiver) -> None:
    """Once, however many nodes there are and however often they restart."""
    async with open_rig(tmp_path) as rig:

        def node() -> Alerts:
            return alerts_of(rig, receiver.url, weekly_summary="monday")

        await at(rig, "2026-12-02T12:00")
        await node().turn()
        await rig.accept("Hello")
        await rig.work(rig.delivery())
        await rig.operations.decide(Verb.CANCEL, await rig.accept("Hello {{name}}"))
        await at(rig, "2026-12-07T07:59")
        await node().turn()
        assert [] == receiver.titles

        await at(rig, "2026-12-07T08:00")
        await asyncio.gather(*(node().turn() for _ in range(3)))
        await at(rig, "2026-12-10T08:00")
        await node().turn()
        assert ["callrail-relay: 1 sent, 0 lost, 1 reviewed"] == receiver.titles
        assert ["info"] == [one["type"] for one in receiver.taken]
        assert "Since 12:00 PM on Dec 2: 1 sent, 0 lost, 0 duplicates, 1 reviewed." == receiver.messages[0]

        await at(rig, "2026-12-14T08:00")
        await node().turn()
        assert "Since 8:00 AM on Dec 7: 0 sent, 0 lost, 0 duplicates, 0 reviewed." == receiver.messages[1]


async def test_a_node_without_the_summary_keeps_it_from_no_other(tmp_path: Path, receiver: Receiver) -> None:
    """Each has settings of its own."""
    async with open_rig(tmp_path) as rig:
        nodes = [alerts_of(rig, receiver.url, weekly_summary=on) for on in ("monday", "off")]
        for _ in range(15):
            for alerts in nodes:
                await alerts.turn()
            rig.clock.advance(86_400)
        assert 2 == sum("0 lost" in message for message in receiver.messages)


async def test_a_summary_that_was_due_while_the_relay_was_off_is_sent_once(
    tmp_path: Path, receiver: Receiver
) -> None:
    """Also when a channel fails at first. The next one covers what came since, and no longer."""
    async with open_rig(tmp_path) as rig:
        alerts = alerts_of(rig, receiver.url, weekly_summary="friday")
        await at(rig, "2026-12-02T12:00")
        await alerts.turn()
        await at(rig, "2026-12-22T17:00")
        receiver.status = 500
        await alerts.turn()
        receiver.status = 200
        rig.clock.advance(60)
        await alerts.turn()
        await alerts_of(rig, receiver.url, weekly_summary="friday").turn()
        [late] = receiver.messages
        assert late.startswith("Since 12:00 PM on Dec 2: ")

        await at(rig, "2026-12-25T08:00")
        await alerts.turn()
        assert receiver.messages[1].startswith("Since 5:00 PM on Dec 22: ")


async def test_a_lost_message_is_in_the_summary_and_so_is_what_waits(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with open_rig(tmp_path) as rig:
        alerts = alerts_of(rig, receiver.url, weekly_summary="monday")
        await at(rig, "2026-12-02T12:00")
        await alerts.turn()
        lost = await rig.accept("Hello")
        await rig.accept("Hello {{name}}")
        with sqlite3.connect(rig.path) as store:
            store.execute("DELETE FROM segments")
            store.execute("DELETE FROM messages WHERE id = ?", (lost,))
        await at(rig, "2026-12-07T08:00")
        await alerts.turn()

        assert receiver.messages[-1].endswith(
            "0 sent, 1 lost, 0 duplicates, 0 reviewed. 1 message needs your review now."
        )


async def test_one_channel_of_two_is_enough(tmp_path: Path, receiver: Receiver) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.operations.pause(None, "Lunch.")

        alerts = alerts_of(rig, NOWHERE, receiver.url)
        await alerts.turn()
        await alerts.turn()

        [told] = rig.events.of(AlertTold)
        assert ("alerts.urls[0] (json)",) == told.failed_channels
        assert 1 == len(receiver.taken)


async def test_a_store_that_does_not_work_is_told_past_it(tmp_path: Path, receiver: Receiver) -> None:
    """When it lasts: for a moment it may be locked."""
    async with open_rig(tmp_path, patience=0) as rig:
        alerts = alerts_of(rig, receiver.url)
        await rig.operations.pause(None, "Lunch.")
        with rig.failing_store():
            await alerts.turn()
            rig.clock.advance(60)
            await alerts.turn()
            await alerts.turn()
        await alerts.turn()
        await alerts.turn()

        assert ["New messages have been", "Sending is paused for", "Resolved: the database"] == [
            " ".join(message.split()[:count])
            for message, count in zip(receiver.messages, (4, 4, 3), strict=True)
        ]


@asynccontextmanager
async def running(alerts: Alerts) -> AsyncIterator[None]:
    task = asyncio.create_task(alerts.run())
    yield
    alerts.stop()
    await task


async def test_it_looks_four_times_a_minute_until_it_is_stopped(tmp_path: Path, receiver: Receiver) -> None:
    async with open_rig(tmp_path) as rig:
        async with running(alerts_of(rig, receiver.url)):
            await rig.clock.until_asleep()
            await rig.operations.pause(None, "Lunch.")
            rig.clock.advance(15)
            await rig.events.until(AlertTold)
        stopped = alerts_of(rig, receiver.url)
        stopped.stop()
        await stopped.run()

        assert 1 == len(receiver.taken)


async def test_a_fault_of_its_own_ends_nothing(tmp_path: Path, receiver: Receiver) -> None:
    async with open_rig(tmp_path) as rig:
        alerts = alerts_of(rig, receiver.url)
        alerts.free_bytes = lambda: 1 // 0
        async with running(alerts):
            [failed] = await rig.events.until(ProgramFailed)
            await rig.clock.until_asleep()

        assert "ZeroDivisionError" == failed.reason


async def test_no_word_of_apprise_reaches_our_log(receiver: Receiver) -> None:
    """It may name the channel's address."""
    parameters = {"since": START.isoformat(), "detail": "It is locked."}
    incident = Incident(key=Code.DATABASE, level=Level.ERROR, parameters=parameters, opened_at=START)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        with pytest.raises(Unavailable) as raised:
            await AppriseChannels.open([NOWHERE], setting="alerts.urls").send_alerts([incident])
    finally:
        logging.getLogger().removeHandler(handler)

    assert "secret" not in str(raised.value)
    assert "" == stream.getvalue()


@pytest.mark.parametrize("url", ["nothing://secret", "json://"])
def test_an_address_that_nobody_knows_is_a_fault_of_the_settings(url: str) -> None:
    with pytest.raises(SettingsError, match=r"alerts.urls\[0\]") as raised:
        AppriseChannels.open([url], setting="alerts.urls")

    assert "secret" not in str(raised.value)
