from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.domain.health import CheckResult, Condition
from callrail_relay.errors import RefusedByCallRail, SettingsError, Unavailable
from callrail_relay.service.health import PROBE_INTERVAL, CheckWarning, HealthReport, run_checks, store_probe
from tests.service.rig import open_rig

pytestmark = pytest.mark.anyio


def check(result: str | Exception) -> Callable[[], Awaitable[str]]:
    async def answer() -> str:
        if isinstance(result, Exception):
            raise result
        return result

    return answer


async def test_every_check_is_run() -> None:
    """Whatever the ones before it found; the first failure gives the exit code, a warning none."""
    report = await run_checks(
        [
            ("a", check("Fine.")),
            ("b", check(CheckWarning("Look at it."))),
            ("c", check(RefusedByCallRail("No."))),
            ("d", check(SettingsError("Wrong."))),
            ("e", check("Fine too.")),
        ]
    )

    assert ["ok", "warning", "failed", "failed", "ok"] == [finding.condition for finding in report.findings]
    assert 5 == report.exit_code
    assert {
        "ok": False,
        "checks": [
            {"name": "a", "status": "ok", "detail": "Fine."},
            {"name": "b", "status": "warning", "detail": "Look at it."},
            {"name": "c", "status": "failed", "detail": "No."},
            {"name": "d", "status": "failed", "detail": "Wrong."},
            {"name": "e", "status": "ok", "detail": "Fine too."},
        ],
    } == report.document()


async def test_warnings_alone_are_well() -> None:
    """What doesn't keep texts from being sent is no failure."""
    report = HealthReport(findings=(CheckResult(name="a", condition=Condition.WARNING, detail="Look."),))

    assert 0 == report.exit_code
    assert report.document()["ok"] is True


async def test_fault_of_the_program_is_not_taken_for_a_finding() -> None:
    """Only what has words for a person is a finding."""
    with pytest.raises(KeyError):
        await run_checks([("a", check(KeyError("x")))])


async def test_probe_writes_at_most_once_in_its_interval(tmp_path: Path) -> None:
    """Who asks often gets the last answer; a failing store is seen after a second, and so is its return."""
    async with open_rig(tmp_path, patience=0) as rig:
        writable = store_probe(rig.outbox, lambda _reason: None)
        assert await writable()
        with rig.failing_store():
            assert await writable()
            rig.clock.advance(PROBE_INTERVAL)
            assert not await writable()
        assert not await writable()
        rig.clock.advance(PROBE_INTERVAL)
        assert await writable()
        assert [(1,)] == rig.stored("count(*)", "probe")


async def test_a_write_that_failed_is_seen_at_once(tmp_path: Path) -> None:
    """Before the probe writes again; it recovers by itself when the probe can."""
    async with open_rig(tmp_path, patience=0) as rig:
        writable = store_probe(rig.outbox, lambda _reason: None)
        assert await writable()
        with rig.failing_store(), pytest.raises(Unavailable):
            await rig.accept()
        assert not await writable()
        rig.clock.advance(PROBE_INTERVAL)
        assert await writable()


async def test_clock_set_back_does_not_freeze_the_probe(tmp_path: Path) -> None:
    """An answer grows old whatever the wall clock shows."""
    async with open_rig(tmp_path, patience=0) as rig:
        writable = store_probe(rig.outbox, lambda _reason: None)
        assert await writable()
        rig.clock.set(rig.clock.now() - timedelta(hours=1))
        rig.clock.advance(PROBE_INTERVAL)
        with rig.failing_store():
            assert not await writable()


async def test_a_fault_of_the_program_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is no, and the reason shows where refused requests are counted."""
    reasons: list[str] = []

    async def broken() -> None:
        raise KeyError("x")

    async with open_rig(tmp_path) as rig:
        monkeypatch.setattr(rig.outbox, "write_probe", broken)
        assert not await store_probe(rig.outbox, reasons.append)()

    assert ["the database can't be written to: KeyError"] == reasons


async def test_probe_names_no_fault() -> None:
    """Its answer is yes or no: the cause is for people who may see it."""
    assert not issubclass(CheckWarning, Unavailable)
