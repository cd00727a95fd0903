"""Passing replies on."""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from callrail_relay.domain.events import AttemptFinished, ForwardFailed, ReplyForwarded
from callrail_relay.domain.inbound import GIVE_UP, LONGEST_RETRY, CallRailText, Direction, ShownNumber
from callrail_relay.errors import SettingsError
from callrail_relay.outbox import history, replies
from callrail_relay.service.replies import LEASE, Forwarding
from callrail_relay.telemetry.alerts import AppriseChannels
from callrail_relay.web.server import Listener
from tests.outbox.told import ingest_one
from tests.outbox.worker import accept_one
from tests.service.rig import Rig, open_rig
from tests.support.clock import START
from tests.support.factories import RECIPIENT, make_draft, make_message, make_route, make_submission

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as one:
        yield one


class Channels:
    """Two channels that take what they are told, but for those of *broken*."""

    names: Sequence[str] = ("one", "two")

    def __init__(self, *broken: str) -> None:
        self.broken = set(broken)
        self.told: list[tuple[str, str, str]] = []

    async def pass_on(self, title: str, words: str, names: Collection[str]) -> list[str]:
        self.told += [(name, title, words) for name in names if name not in self.broken]
        return [name for name in names if name in self.broken]


def forwarding_of(rig: Rig, channels: Channels | AppriseChannels) -> Forwarding:
    return Forwarding(rig.outbox, rig.events, channels.names, channels.pass_on)


async def reply(rig: Rig, content: str = "Who is this?", *, key: str = "SCI1", forwards: bool = True) -> None:
    text = CallRailText(
        key=key,
        content=content,
        source=ShownNumber(RECIPIENT),
        destination=ShownNumber(rig.simulator.tracking_number),
        direction=Direction.IN,
        company_id=rig.simulator.company_id,
    )
    assert await ingest_one(rig.outbox, text, replace(rig.inbound, forwards=forwards)) is not None


async def text(rig: Rig, opportunity_id: str) -> None:
    """A text to the same person from our number, about an opportunity."""
    route = make_route(tracking_number=rig.simulator.tracking_number)
    draft = make_draft(route=route, opportunity_id=opportunity_id, text=f"About {opportunity_id}")
    await accept_one(rig.outbox, make_submission(make_message(draft=draft)))


async def test_a_reply_goes_to_every_channel_once(rig: Rig) -> None:
    """With the opportunity of the last text to that person."""
    await text(rig, "100")
    await text(rig, "101")
    await reply(rig)
    channels = Channels()
    forwarding = forwarding_of(rig, channels)

    assert await forwarding.turn() is None
    assert await forwarding.turn() is None

    words = (
        "Who is this?\n\n"
        f"From: {RECIPIENT}\nTo: {rig.simulator.tracking_number}\n"
        "IF3 opportunity: 101\nIF3 seller: 202\nIF3 sender: 789"
    )
    assert [(name, "Text from Pat Example", words) for name in ("one", "two")] == channels.told
    assert ["SCI1"] == [event.resource_id for event in rig.events.of(ReplyForwarded)]


async def test_a_reply_of_somebody_unknown_is_passed_on_as_well(rig: Rig) -> None:
    await reply(rig, "")
    channels = Channels()

    await forwarding_of(rig, channels).turn()

    _, title, words = channels.told[0]
    assert f"Text from {RECIPIENT}" == title
    assert words.startswith("(no words: a picture, or another file)")
    assert "opportunity" not in words


async def test_without_a_wish_nothing_is_passed_on(rig: Rig) -> None:
    """Neither replies from before it was wished, nor what goes out."""
    await reply(rig, forwards=False)
    sent = CallRailText(
        key="SCI2",
        content="Hello",
        source=ShownNumber(rig.simulator.tracking_number),
        destination=ShownNumber(RECIPIENT),
        direction=Direction.OUT,
        company_id=rig.simulator.company_id,
    )
    await ingest_one(rig.outbox, sent, replace(rig.inbound, forwards=True))
    channels = Channels()

    assert await forwarding_of(rig, channels).turn() is None
    assert [] == channels.told


async def test_a_channel_that_fails_is_tried_again_alone(rig: Rig) -> None:
    """Ever later, and the other one is not told twice; the log names the channel and not the words."""
    await reply(rig)
    channels = Channels("two")
    forwarding = forwarding_of(rig, channels)

    assert START + MINUTE == await forwarding.turn()
    rig.clock.advance(MINUTE)
    assert START + 3 * MINUTE == await forwarding.turn()
    channels.broken.clear()
    rig.clock.advance(2 * MINUTE)
    assert await forwarding.turn() is None

    assert ["one", "two"] == [name for name, _, _ in channels.told]
    first, second = rig.events.of(ForwardFailed)
    assert (("two",), 1, START + MINUTE) == (first.channels, first.tries, first.retry_at)
    assert 2 == second.tries
    assert "Who is this?" not in str(rig.events)


async def test_a_reply_that_nobody_takes_is_given_up_after_a_day(rig: Rig) -> None:
    """It stays in the conversation."""
    await reply(rig)
    forwarding = forwarding_of(rig, Channels("one", "two"))
    due_at = await forwarding.turn()
    while due_at is not None:
        assert due_at - rig.clock.now() <= LONGEST_RETRY
        rig.clock.set(due_at)
        due_at = await forwarding.turn()

    failures = rig.events.of(ForwardFailed)
    assert failures[-1].retry_at is None
    assert rig.clock.now() - START >= GIVE_UP
    assert 20 < len(failures) < 40
    conversation = await rig.outbox.read(
        history.read_conversation, rig.simulator.tracking_number, RECIPIENT, None, 10
    )
    assert ["Who is this?"] == [one.content for one in conversation.messages]


async def test_after_a_crash_it_is_passed_on_by_another(rig: Rig) -> None:
    """When the lease is over; until then no other node takes it."""
    await reply(rig)
    assert await rig.outbox.write(replies.claim_forward, LEASE) is not None
    channels = Channels()
    other = forwarding_of(rig, channels)

    assert START + LEASE == await other.turn()
    rig.clock.advance(LEASE)
    assert await other.turn() is None

    assert 2 == len(channels.told)


async def test_a_slow_channel_keeps_no_text_from_leaving(rig: Rig) -> None:
    """Nor the relay from stopping: what is not passed on yet is later."""
    begun = asyncio.Event()

    class Slow(Channels):
        async def pass_on(self, title: str, words: str, names: Collection[str]) -> list[str]:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    await reply(rig)
    forwarding = forwarding_of(rig, Slow())
    delivery = rig.delivery()
    worker = rig.worker(delivery, beside=[forwarding])
    running = asyncio.create_task(worker.run())
    await begun.wait()
    await rig.accept("Hello")
    worker.wake()
    await rig.events.until(AttemptFinished)
    assert 1 == len(rig.simulator.texts)

    worker.stop()
    rig.clock.advance(5)
    await running


async def test_apprise_passes_a_reply_on(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """For real, over HTTP; a channel that is not there fails by its place and scheme alone."""
    posted: list[dict[str, str]] = []

    async def take(request: Request) -> Response:
        posted.append(json.loads(await request.body()))
        return Response()

    app = Starlette(routes=[Route("/take", take, methods=["POST"])])
    await reply(rig, "Is it about the house?")
    async with Listener(app, host="127.0.0.1", port=0, setting="--port") as listener:
        port = listener.url.rpartition(":")[2]
        urls = [f"json://127.0.0.1:{port}/take", "json://user:hunter2@127.0.0.1:9/secret"]
        channels = AppriseChannels.open(urls, setting="replies.forward_to")
        # Apprise's own log is kept out of ours, which pytest listens to all the same.
        with caplog.at_level(logging.DEBUG), caplog.at_level(logging.WARNING, logger="apprise"):
            await forwarding_of(rig, channels).turn()

    [body] = posted
    assert ("info", f"Text from {RECIPIENT}") == (body["type"], body["title"])
    assert body["message"].startswith("Is it about the house?")
    [failed] = rig.events.of(ForwardFailed)
    assert ("replies.forward_to[1] (json)",) == failed.channels
    assert "hunter2" not in caplog.text


def test_without_apprise_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(SettingsError, match=r"replies.forward_to needs Apprise: install the relay again"):
        AppriseChannels.open(["json://127.0.0.1"], setting="replies.forward_to")
