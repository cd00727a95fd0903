"""Several nodes on one PostgreSQL, and one whose database goes away."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.program import PAYLOAD, Program, Sandbox
from tests.campaign.run import KILLS_ON_REQUEST, Campaign, run_campaign, table
from tests.support.postgres import PostgresCluster, running_cluster

KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL
LOOKS = 200


@pytest.fixture
def own_cluster() -> Iterator[PostgresCluster]:
    """A server that the other tests do not miss."""
    with running_cluster() as cluster:
        yield cluster


@pytest.mark.timeout(0 if KILLS_ON_REQUEST else 600)
def test_nodes_share_the_work_whatever_befalls_them(tmp_path: Path, own_cluster: PostgresCluster) -> None:
    """
    Two nodes are killed, their database is restarted and cut off: nothing is lost, doubled or reordered.
    """
    campaign = Campaign(
        kills=KILLS_ON_REQUEST or 4,
        seed=7,
        number=KILL,
        folder=tmp_path,
        cluster=own_cluster,
        nodes=2,
        restarts=True,
        cuts=True,
    )

    report = asyncio.run(run_campaign(campaign))

    assert 0 == report.faults, table(campaign, report)
    assert len(report.ledger.promised) > 20


def test_a_node_without_its_database_says_so_and_comes_back(
    configured: Program, sandbox: Sandbox, own_cluster: PostgresCluster
) -> None:
    """
    503 on the webhook and for the load balancer while the database is gone, and 200 when it is there again.
    """
    database = own_cluster.url(own_cluster.create_database())
    with configured.serving(env={"CALLRAIL_RELAY_DATABASE__URL": database}) as relay:
        assert 200 == relay.post(PAYLOAD).status_code
        own_cluster.stop()
        refused = relay.post(PAYLOAD | {"message": "Nobody keeps this one."})
        assert (503, "30") == (refused.status_code, refused.headers["Retry-After"])
        assert 503 == _health_until(relay.public, 503)

        own_cluster.restart("fast")
        assert 200 == _health_until(relay.public, 200)
        assert 200 == relay.post(PAYLOAD | {"message": "This one is kept."}).status_code
        configured.environment |= {"CALLRAIL_RELAY_DATABASE__URL": database}
        configured.wait_for("sent", 2)
    taken = [text["content"] for text in sandbox.texts()]
    assert [PAYLOAD["message"], "This one is kept."] == taken


def _health_until(url: str, status: int) -> int:
    """What /healthz says once it says *status*, or at last: it remembers its answer for a moment."""
    found = 0
    for _ in range(LOOKS):
        found = httpx2.get(f"{url}/healthz", trust_env=False, timeout=30).status_code
        if found == status:
            break
        time.sleep(0.1)  # another process has to notice
    return found
