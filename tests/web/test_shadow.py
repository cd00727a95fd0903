"""The webhook in shadow while the store or the old URL fails."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from callrail_relay.domain.message import MessageFilter
from callrail_relay.domain.shadow import Mode, Passed, PassOn
from callrail_relay.errors import Unavailable
from callrail_relay.machine.old_url import OldUrl
from callrail_relay.outbox import shadow
from callrail_relay.outbox.accept import InShadow
from callrail_relay.outbox.store import Store
from tests.outbox.requests import make_mapper, make_raw
from tests.service.rig import Rig, open_rig
from tests.support.zap import Manner, Zap, running_zap
from tests.web.posting import HOOK, client_of, encoded, passing_requests_on, payload, public_app

pytestmark = pytest.mark.anyio

MAPPER = make_mapper()


@pytest.fixture
def zap() -> Iterator[Zap]:
    with running_zap() as zap:
        yield zap


async def post(rig: Rig, **changes: object) -> tuple[int, bytes]:
    async with (
        passing_requests_on(rig) as passing_on,
        client_of(public_app(rig, passing_on=passing_on)) as client,
    ):
        answer = await client.post(
            HOOK, content=encoded(payload(**changes)), headers={"Content-Type": "application/json"}
        )
        return answer.status_code, answer.content


async def test_what_cannot_be_stored_is_passed_on_all_the_same(tmp_path: Path, zap: Zap) -> None:
    """Once, and IF3 gets the Zap's answer; nothing of it is here."""
    async with open_rig(tmp_path, patience=0.0) as rig:
        await rig.outbox.write(shadow.start, zap.url)
        with rig.failing_store():
            assert (200, zap.manner.body) == await post(rig)
        assert 1 == len(zap.taken)
        assert [] == await rig.operations.list_messages(MessageFilter())


async def test_what_neither_took_is_503(tmp_path: Path, zap: Zap) -> None:
    """Nothing vouches for it; and if it is stored late after all, it is passed on then."""
    async with open_rig(tmp_path, patience=0.0) as rig, passing_requests_on(rig) as passing_on:
        await rig.outbox.write(shadow.start, zap.url)
        app = public_app(rig, passing_on=passing_on)
        zap.close()
        async with client_of(app) as client:
            with rig.failing_store():
                refused = await client.post(HOOK, content=encoded(payload()))
            assert 503 == refused.status_code
        zap.open()
        await passing_on.turn()
        assert [] == zap.taken
        assert (200, zap.manner.body) == await post(rig)


@pytest.mark.parametrize("size", [10, 70_000])
async def test_unstored_request_gets_the_status_of_the_old_url(size: int, tmp_path: Path, zap: Zap) -> None:
    """Also without a body that is too large to be given back: our own 200 would promise too much."""
    async with open_rig(tmp_path, patience=0.0) as rig:
        await rig.outbox.write(shadow.start, zap.url)
        zap.manner = Manner(status=500, body=b"x" * size)
        with rig.failing_store():
            assert 500 == (await post(rig))[0]


async def test_what_was_passed_on_unstored_is_not_passed_on_again(tmp_path: Path, zap: Zap) -> None:
    """The store has it after all, a little later, behind another one to the person."""
    async with open_rig(tmp_path, patience=0.0) as rig, passing_requests_on(rig) as passing_on:
        await rig.outbox.write(shadow.start, zap.url)
        first, second = make_raw("First"), make_raw("Second")
        before = await rig.outbox.accept(MAPPER(first))
        with rig.failing_store():
            assert 200 == (await passing_on.pass_on_unstored(second)).http_status
        late = await rig.outbox.accept(MAPPER(second))
        assert isinstance(before, InShadow)
        assert before.pass_on is not None
        assert isinstance(late, InShadow)
        assert late.pass_on is None
        await passing_on.pass_on(before.pass_on)

        await passing_on.turn()

        assert ["Second", "First"] == zap.words
        assert 0 == (await rig.outbox.read(shadow.read_shadow)).waiting


async def test_a_stop_while_the_old_url_takes_its_time_refuses_nothing(tmp_path: Path, zap: Zap) -> None:
    """It is on disk: a 503 would bring it a second time."""
    async with open_rig(tmp_path, patience=0.0) as rig, passing_requests_on(rig) as passing_on:
        await rig.outbox.write(shadow.start, zap.url)
        there, loop = asyncio.Event(), asyncio.get_running_loop()
        zap.manner = Manner(delay=1.0, send=lambda _: loop.call_soon_threadsafe(there.set))
        async with client_of(public_app(rig, passing_on=passing_on)) as client:
            posting = asyncio.create_task(client.post(HOOK, content=encoded(payload())))
            await there.wait()
            posting.cancel()
            answer = await posting
        assert (200, "success") == (answer.status_code, answer.json()["status"])


async def test_live_it_is_refused(tmp_path: Path, zap: Zap) -> None:
    """503, as ever: no one else sends it."""
    async with open_rig(tmp_path, patience=0.0) as rig:
        await rig.outbox.write(shadow.start, zap.url)
        await rig.outbox.write(shadow.switch, Mode.LIVE)
        with rig.failing_store():
            assert 503 == (await post(rig))[0]
        assert [] == zap.taken


async def test_a_mode_that_cannot_be_read_is_503(tmp_path: Path, zap: Zap) -> None:
    """It isn't known whose it is, so IF3 has to send it again."""
    async with open_rig(tmp_path, patience=0.0) as rig:
        await rig.outbox.write(shadow.start, zap.url)
        with rig.failing_store(), patch.object(Store, "read", side_effect=Unavailable("gone")):
            assert 503 == (await post(rig))[0]
        assert [] == zap.taken


async def test_a_full_disk_in_the_second_of_the_switch_changes_nothing(tmp_path: Path, zap: Zap) -> None:
    """The relay stays in shadow, and says so."""
    async with open_rig(tmp_path, patience=0.0) as rig:
        await rig.outbox.write(shadow.start, zap.url)
        with rig.failing_store(), pytest.raises(Unavailable):
            await rig.outbox.write(shadow.switch, Mode.LIVE)
        assert (await rig.outbox.read(shadow.read_shadow)).is_on
        assert (200, zap.manner.body) == await post(rig)


async def test_an_answer_that_cannot_be_recorded_is_given_all_the_same(tmp_path: Path, zap: Zap) -> None:
    """What is not recorded may have arrived: it is not passed on again."""
    async with open_rig(tmp_path, patience=0.0) as rig:
        await rig.outbox.write(shadow.start, zap.url)
        passed_on = OldUrl.pass_on

        async def fail_then(self: OldUrl, request: PassOn) -> Passed:
            passed = await passed_on(self, request)
            failing.__enter__()
            return passed

        failing = rig.failing_store()
        with patch.object(OldUrl, "pass_on", fail_then):
            status, body = await post(rig)
        assert (200, "the zap") == (status, json.loads(body)["of"])
        failing.__exit__(None, None, None)
        rig.clock.advance(60)
        assert await rig.outbox.write(shadow.take_next, rig.mapping.guards.max_age) is None
        assert 1 == len(zap.taken)


async def test_delivery_is_woken_as_soon_as_the_relay_is_live(tmp_path: Path, zap: Zap) -> None:
    """In shadow it has nothing to claim; the first text after the switch is claimed at once."""
    woken: list[int] = []
    async with open_rig(tmp_path) as rig, passing_requests_on(rig) as passing_on:
        app = public_app(rig, passing_on=passing_on, wake=lambda: woken.append(1))
        async with client_of(app) as client:

            async def post(words: str) -> int:
                before = len(woken)
                assert 200 == (await client.post(HOOK, content=encoded(payload(message=words)))).status_code
                return len(woken) - before

            await rig.outbox.write(shadow.start, zap.url)
            await post("First")
            assert 0 == await post("Second")
            await rig.outbox.write(shadow.switch, Mode.LIVE)
            assert 1 == await post("Third")
            assert 2 == await post("Fourth")
