"""The promises under fire: the real program, killed at random instants."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.campaign.ledger import Ledger, audit
from tests.campaign.run import KILLS_ON_REQUEST, Campaign, run_campaign, table

KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL


@pytest.mark.no_cover
@pytest.mark.timeout(0 if KILLS_ON_REQUEST else 600)
@pytest.mark.parametrize(("number", "kills"), [(KILL, 8), (signal.SIGTERM, 3)])
def test_nothing_is_lost_doubled_or_reordered(tmp_path: Path, number: signal.Signals, kills: int) -> None:
    """Whatever is answered with 200 is at CallRail once and in order, or shown to a person."""
    kills = KILLS_ON_REQUEST or kills
    campaign = Campaign(kills=kills, seed=20, number=number, folder=tmp_path)

    report = asyncio.run(run_campaign(campaign))

    assert 0 == report.audit.faults, table(campaign, report)
    assert 0 == report.dirty_stops
    assert len(report.ledger.promised) > 10 * kills


def test_the_audit_sees_what_is_wrong() -> None:
    """Each kind of broken promise is found in a ledger that has one of each."""
    promised = [f"p00: text {number:05}" for number in range(6)]
    taken = [promised[1], promised[0], promised[2], promised[2], promised[5]]
    messages = [{"text": text, "status": "sent"} for text in promised[:4]]
    messages.append({"text": promised[5], "status": "unknown"})

    found = audit(Ledger(promised=promised), taken, messages)

    assert [promised[3], promised[4]] == found.lost
    assert [promised[3]] == found.false
    assert [promised[2]] == found.twice
    assert [promised[0]] == found.disordered
    assert [promised[5]] == found.unfound
