"""Metrics on the private listener, and what is measured on the public one."""

from pathlib import Path

import pytest

from callrail_relay.outbox import opt_outs
from callrail_relay.service.overview import OPT_OUTS_LAST, History
from tests.service.rig import open_rig
from tests.support.factories import RECIPIENT, TRACKING_NUMBER
from tests.web.posting import HOOK, TOKEN, client_of, payload, public_app
from tests.web.private import private_rig

pytestmark = pytest.mark.anyio


async def test_loopback_needs_no_login(tmp_path: Path) -> None:
    async with private_rig(tmp_path) as (rig, private), private.client() as asking:
        await rig.accept()
        answer = await asking.get("/metrics")

    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (
        answer.status_code,
        answer.headers["content-type"],
    )
    assert 'callrail_relay_messages{status="queued"} 1.0' in answer.text.splitlines()


async def test_any_other_address_needs_one(tmp_path: Path) -> None:
    async with (
        private_rig(tmp_path, host="192.0.2.7") as (_, private),
        private.client("http://192.0.2.7:8788") as asking,
    ):
        assert 401 == (await asking.get("/metrics")).status_code
        await private.enter(asking)
        assert 200 == (await asking.get("/metrics")).status_code


async def test_a_foreign_name_is_refused(tmp_path: Path) -> None:
    """A page elsewhere cannot read them by a name that leads here."""
    async with private_rig(tmp_path) as (_, private), private.client() as asking:
        assert 421 == (await asking.get("/metrics", headers={"Host": "evil.example"})).status_code


async def test_opt_outs_are_counted_now_and_then(tmp_path: Path) -> None:
    """That list is looked through as a whole, which is not for every scrape."""
    async with open_rig(tmp_path) as rig:
        history, facts = History(rig.outbox), await rig.operations.facts()
        assert 0 == (await history.stats(facts)).opt_outs
        await rig.outbox.write(opt_outs.add_opt_out, TRACKING_NUMBER, RECIPIENT, "They replied STOP.")
        assert 0 == (await history.stats(facts)).opt_outs
        rig.clock.advance(OPT_OUTS_LAST)
        assert 1 == (await history.stats(facts)).opt_outs


async def test_answers_of_webhooks_are_told_without_their_path(tmp_path: Path) -> None:
    """The path holds the secret. Requests for anything else are not counted."""
    told: list[tuple[str, int, float]] = []
    async with open_rig(tmp_path) as rig:
        app = public_app(rig, answered=lambda *answer: told.append(answer))
        async with client_of(app) as asking:
            await asking.post(HOOK, json=payload())
            await asking.get(HOOK)
            await asking.post("/hooks/if3/wrong", json=payload())
            await asking.post("/hooks/callrail/wrong", json={})
            await asking.get("/healthz")
            await asking.get("/anything")

    assert [("if3", 200), ("if3", 405), ("if3", 404), ("callrail", 404)] == [one[:2] for one in told]
    assert TOKEN not in str(told)


async def test_a_fault_of_ours_is_told_as_500(tmp_path: Path) -> None:
    """It is what no one should overlook."""
    told: list[tuple[str, int, float]] = []
    async with open_rig(tmp_path) as rig:

        def wake() -> None:
            raise RuntimeError

        app = public_app(rig, answered=lambda *answer: told.append(answer), wake=wake)
        async with client_of(app) as asking:
            with pytest.raises(RuntimeError):
                await asking.post(HOOK, json=payload())

    assert [("if3", 500)] == [one[:2] for one in told]


async def test_the_time_of_an_answer_is_told(tmp_path: Path) -> None:
    """From the request to the answer, with all that it waited for."""
    told: list[tuple[str, int, float]] = []
    async with open_rig(tmp_path) as rig:

        def wake() -> None:
            rig.clock.advance(1.25)

        app = public_app(rig, answered=lambda *answer: told.append(answer), wake=wake)
        async with client_of(app) as asking:
            await asking.post(HOOK, json=payload())

    # Delivery is woken before the text is stored.
    assert [("if3", 200, 1.25)] == told
