"""Real relays that are killed while they switch between a Zap and themselves."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.run import KILLS_ON_REQUEST, Campaign
from tests.campaign.shadow import ShadowReport, run_shadow_campaign
from tests.support.postgres import PostgresCluster, running_cluster
from tests.support.zap import running_zap

KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL
KILLS = KILLS_ON_REQUEST or 4
PER_KILL = 12  # requests that may be cut off by one: each person has one under way

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0 if KILLS_ON_REQUEST else 600), pytest.mark.no_cover]


@pytest.fixture
def own_cluster() -> Iterator[PostgresCluster]:
    with running_cluster() as cluster:
        yield cluster


def run(campaign: Campaign) -> ShadowReport:
    with running_zap() as zap:
        return asyncio.run(run_shadow_campaign(campaign, zap))


def test_no_kill_and_no_switch_loses_or_doubles_a_text(tmp_path: Path) -> None:
    """Each text is with the Zap or with CallRail, on hold, or known as one that a kill cut off."""
    report = run(Campaign(kills=KILLS, seed=3, number=KILL, folder=tmp_path))

    assert 0 == report.faults, report
    assert report.cut_off <= KILLS * PER_KILL
    assert report.switches >= 4
    assert report.at_zap > 20
    assert report.at_callrail > 20


def test_two_nodes_switch_as_one(tmp_path: Path, own_cluster: PostgresCluster) -> None:
    """The same on one PostgreSQL."""
    report = run(Campaign(kills=KILLS, seed=5, number=KILL, folder=tmp_path, cluster=own_cluster, nodes=2))

    assert 0 == report.faults, report
    assert report.cut_off <= KILLS * PER_KILL
    assert report.at_zap > 20
    assert report.at_callrail > 20
