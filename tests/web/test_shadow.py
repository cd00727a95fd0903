"""The webhook in shadow while the store or the old URL fails."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
import sqlalchemy as sa

from callrail_relay.domain.message import MessageFilter
from callrail_relay.domain.shadow import LEASE, Mode, Passed, PassOn, answered
from callrail_relay.errors import Unavailable
from callrail_relay.machine.addresses import OldUrl
from callrail_relay.outbox import shadow, store
from callrail_relay.outbox.engine import FileIdentity, require_same_file
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
    """Nothing vouches for it, so IF3 has to send it again."""
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
        assert before.in_shadow
        assert before.pass_on is not None
        assert late.in_shadow
        assert late.pass_on is None
        await passing_on.pass_on(before.pass_on)

        await passing_on.turn()

        assert ["Second", "First"] == zap.words
        assert 0 == (await rig.outbox.read(shadow.read_shadow)).waiting


@contextmanager
def late_commit(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The next commit ends when the event is set, and its sender gives up before."""
    go_on = threading.Event()

    def late(engine: sa.Engine, opened: FileIdentity | None) -> None:
        monkeypatch.setattr(store, "require_same_file", require_same_file)
        go_on.wait(60)
        require_same_file(engine, opened)

    monkeypatch.setattr(store, "require_same_file", late)
    monkeypatch.setattr(store, "ANSWER_IN", 0.05)
    yield go_on
    go_on.set()


async def counts_of(rig: Rig) -> dict[str, int]:
    _, counts = await rig.outbox.read(shadow.count_requests, None)
    return {state: count for state, count in counts.items() if count}


async def test_what_is_stored_late_and_was_not_passed_on_is_passed_on_then(
    tmp_path: Path, zap: Zap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No one waited for the answer of the commit that had it passed on at once."""
    async with open_rig(tmp_path) as rig:
        await rig.outbox.write(shadow.start, zap.url)
        zap.close()
        with late_commit(monkeypatch) as go_on:
            async with passing_requests_on(rig) as passing_on:
                async with client_of(public_app(rig, passing_on=passing_on)) as client:
                    refused = await client.post(HOOK, content=encoded(payload()))
                assert 503 == refused.status_code
                go_on.set()
        assert {"waiting": 1} == await counts_of(rig)
        zap.open()
        async with passing_requests_on(rig) as passing_on:
            await passing_on.turn()
        assert 1 == len(zap.taken)
        assert {"forwarded": 1} == await counts_of(rig)


async def test_what_is_stored_late_and_was_passed_on_is_left_alone_by_other_nodes(
    tmp_path: Path, zap: Zap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was to be passed on at once, or waits behind another one to the person."""
    async with open_rig(tmp_path) as rig:
        await rig.outbox.write(shadow.start, zap.url)
        with late_commit(monkeypatch) as go_on:
            async with passing_requests_on(rig) as passing_on:
                async with client_of(public_app(rig, passing_on=passing_on)) as client:
                    posts = [client.post(HOOK, content=encoded(payload(message=f"{n}"))) for n in range(2)]
                    answers = await asyncio.gather(*posts)
                assert [200, 200] == [answer.status_code for answer in answers]
                go_on.set()
        rig.clock.advance(LEASE.total_seconds())
        async with passing_requests_on(rig) as other:
            await other.turn()
        assert 2 == len(zap.taken)
        assert {"forwarded": 2} == await counts_of(rig)


async def test_a_try_under_way_at_what_seemed_unstored_is_waited_for(tmp_path: Path, zap: Zap) -> None:
    """The store has it before the old URL answers: what came of that try is recorded."""
    async with open_rig(tmp_path) as rig, passing_requests_on(rig) as passing_on:
        await rig.outbox.write(shadow.start, zap.url)
        first, second = make_raw("First"), make_raw("Second")
        before = await rig.outbox.accept(MAPPER(first))
        there, loop = asyncio.Event(), asyncio.get_running_loop()
        zap.manner = Manner(delay=0.5, send=lambda _: loop.call_soon_threadsafe(there.set))
        trying = asyncio.create_task(passing_on.pass_on_unstored(second))
        await there.wait()
        await rig.outbox.accept(MAPPER(second))
        assert before.in_shadow
        assert before.pass_on is not None
        assert before.pass_on.id is not None
        await rig.outbox.write(shadow.record, before.pass_on.id, before.pass_on.tries, answered(200, b""))
        await passing_on.turn()
        assert 200 == (await trying).http_status
        assert ["Second"] == zap.words
        assert {"forwarded": 2} == await counts_of(rig)


async def test_a_clock_that_is_set_back_delays_no_next_try(tmp_path: Path, zap: Zap) -> None:
    async with open_rig(tmp_path) as rig, passing_requests_on(rig) as passing_on:
        await rig.outbox.write(shadow.start, zap.url)
        zap.close()
        async with client_of(public_app(rig, passing_on=passing_on)) as client:
            await client.post(HOOK, content=encoded(payload()))
        zap.open()
        await passing_on.turn()
        assert [] == zap.taken  # too soon
        rig.clock.set(rig.clock.now() - timedelta(hours=1))
        rig.clock.advance(1)
        await passing_on.turn()
        assert 1 == len(zap.taken)


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
            assert 1 == await post("Fourth")
