"""The page of shadow mode: what it shows, and when it asks CallRail."""

import csv
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.domain.shadow import Mode, Passed, State, answered
from callrail_relay.outbox import shadow
from callrail_relay.web.dashboard.frame import KEPT, RECENT
from tests.service.rig import Rig
from tests.support.factories import recipient
from tests.web.posting import encoded, payload
from tests.web.private import Visitor, visiting

pytestmark = pytest.mark.anyio

OLD = "https://hooks.example.com/secret-of-the-zap"
LINK = '<a href="/shadow"'


@asynccontextmanager
async def in_shadow(folder: Path) -> AsyncIterator[tuple[Rig, Visitor]]:
    async with visiting(folder) as (rig, visitor):
        await rig.outbox.write(shadow.start, OLD)
        yield rig, visitor


async def again(visitor: Visitor) -> None:
    """Sign in after a long time."""
    await visitor.private.enter(visitor.client, visitor.private.login.new_token())


async def come(rig: Rig, words: str, number: int, *, passed: Passed | None = None, sent: int = 1) -> None:
    """A text comes in and is passed on, and the Zap sends it so many times."""
    body = encoded(payload(message=words, seller_phone=recipient(number), seller_phone_non_international=...))
    receipt = await rig.intake.accept_request(body, content_type="application/json")
    assert receipt.pass_on is not None
    await rig.outbox.write(shadow.record, receipt.pass_on.id or 0, 1, passed or answered(200))
    for _ in range(sent):
        rig.clock.advance(1)
        rig.simulator.write(recipient(number), words)


async def test_a_fault_of_the_program_is_no_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with visiting(tmp_path) as (rig, visitor):
        await rig.outbox.write(shadow.start, OLD)
        monkeypatch.setattr("callrail_relay.domain.shadow.compare", {}.__getitem__)
        shown = (await visitor.post("/shadow", back="/shadow")).text
        assert "Compared." not in shown
        assert "an internal error (TypeError)" in shown


async def test_the_link_is_there_while_it_is_of_use(tmp_path: Path) -> None:
    """In shadow, and for a month after the relay took over; the page itself answers in any case."""
    async with visiting(tmp_path) as (rig, visitor):
        assert LINK not in await visitor.page("/")
        assert "Shadow mode hasn't been used yet" in await visitor.page("/shadow")
        await rig.outbox.write(shadow.start, OLD)
        page = await visitor.page("/setup")
        assert LINK in page
        assert "secret-of-the-zap" not in await visitor.page("/shadow")
        await rig.outbox.write(shadow.switch, Mode.LIVE)
        assert LINK in await visitor.page("/")
        assert "live since" in await visitor.page("/shadow")
        rig.clock.advance(RECENT.total_seconds())
        await again(visitor)
        assert LINK not in await visitor.page("/")


async def test_only_the_button_asks_callrail(tmp_path: Path) -> None:
    """Looking at the page takes no request, however often and with whatever filter."""
    async with in_shadow(tmp_path) as (rig, visitor):
        await come(rig, "Right", 1)
        await come(rig, "Lost", 2, sent=0)
        await come(rig, "Twice", 3, sent=2)
        rig.clock.advance(3600)
        assert "nothing compared yet" in await visitor.page("/shadow")
        assert 0 == visitor.private.compared
        shown = (await visitor.post("/shadow", back="/shadow")).text
        assert "3 texts in 1 day. The Zap lost 1 and duplicated 1. The relay would have held none." in shown
        for path in ("/shadow", "/shadow?finding=missing", "/shadow?page=9", "/shadow?page=x&finding=y"):
            assert "3 texts in 1 day" in await visitor.page(path)
        missing = await visitor.page("/shadow?finding=missing")
        assert ("Lost" in missing, "Twice" in missing) == (True, False)
        assert "Twice" in await visitor.page("/shadow?finding=doubled")
        assert "Right" in await visitor.page("/shadow?finding=all")
        assert 1 == visitor.private.compared
        rig.clock.advance(KEPT.total_seconds() + 1)
        await again(visitor)
        assert "nothing compared yet" in await visitor.page("/shadow")


async def test_what_became_of_requests_is_known_without_callrail(tmp_path: Path) -> None:
    async with in_shadow(tmp_path) as (rig, visitor):
        await come(rig, "Refused", 1, passed=answered(410), sent=0)
        await come(rig, "Perhaps", 2, passed=Passed(State.UNKNOWN), sent=0)
        page = await visitor.page("/shadow")
        assert "The old URL rejected 1 request: is its Zap on?" in page
        assert "1 request may not have reached the old URL" in page


async def test_while_callrail_is_down_the_page_says_what_is_not_known(tmp_path: Path) -> None:
    """A complete report stays, with its time; an incomplete one gives way to the next."""
    async with in_shadow(tmp_path) as (rig, visitor):
        await come(rig, "First", 1)
        rig.simulator.fault(Fault(Kind.STATUS, on="read", status=503, times=1))
        first = (await visitor.post("/shadow", back="/shadow")).text
        assert "What the Zap did isn&#39;t known yet." in first
        assert "Not everything is known yet" in first
        assert "Not known</span>" in await visitor.page("/shadow?finding=unknown")
        assert "made no mistake" in (await visitor.post("/shadow", back="/shadow")).text
        rig.clock.advance(60)
        rig.simulator.fault(Fault(Kind.STATUS, on="read", status=503, times=1))
        again = (await visitor.post("/shadow", back="/shadow")).text
        assert "couldn't be compared again" in again
        assert "made no mistake" in again


async def test_the_report_stays_within_the_limit_of_requests(tmp_path: Path) -> None:
    """However often a person clicks."""
    async with in_shadow(tmp_path) as (rig, visitor):
        await come(rig, "First", 1)
        visitor.private.per_hour = 1
        assert "made no mistake" in (await visitor.post("/shadow", back="/shadow")).text
        rig.simulator.fault(Fault(Kind.STATUS, on="read", status=503))  # and none is made that could fail
        assert "used up this hour" in (await visitor.post("/shadow", back="/shadow")).text


async def test_the_csv_is_that_of_the_command(tmp_path: Path) -> None:
    """One line a text, and no text is a formula; before a comparison there is none."""
    async with in_shadow(tmp_path) as (rig, visitor):
        assert 404 == (await visitor.client.get("/shadow.csv")).status_code
        await come(rig, "=HYPERLINK(1)", 1)
        await visitor.post("/shadow", back="/shadow")
        answer = await visitor.client.get("/shadow.csv")
        assert "attachment" in answer.headers["content-disposition"]
        header, line = csv.reader(io.StringIO(answer.text.removeprefix("\ufeff")))
        assert "'=HYPERLINK(1)" == line[header.index("text")]


async def test_a_long_comparison_is_shown_when_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time: a second click starts no other."""
    monkeypatch.setattr("callrail_relay.web.dashboard.shadow.PATIENCE", timedelta())
    async with in_shadow(tmp_path) as (rig, visitor):
        await come(rig, "First", 1)
        visitor.private.may_compare.clear()
        for _ in range(2):
            assert "Comparing…" in (await visitor.post("/shadow", back="/shadow")).text
        visitor.private.may_compare.set()
        await visitor.private.dashboard.comparison.renew(timedelta(seconds=30))
        assert 1 == visitor.private.compared
        assert "made no mistake" in await visitor.page("/shadow")
