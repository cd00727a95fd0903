"""The webhook in shadow while the store or the old URL fails."""

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
from callrail_relay.outbox.store import Store
from tests.service.rig import Rig, open_rig
from tests.support.zap import Zap, running_zap
from tests.web.posting import HOOK, client_of, encoded, passing_requests_on, payload, public_app

pytestmark = pytest.mark.anyio


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
