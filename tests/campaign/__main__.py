"""
Runs a campaign and prints its table; ends with 1 when a promise was broken.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.campaign.run import Campaign, run_campaign, table
from tests.support.postgres import running_cluster


def main() -> int:
    """
    Read the options, run, print.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server of its own")
    options = parser.parse_args()
    number = signal.SIGTERM if options.signal == "TERM" or sys.platform == "win32" else signal.SIGKILL
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="campaign-")))
        database = None
        if options.postgres:
            cluster = stack.enter_context(running_cluster())
            database = cluster.url(cluster.create_database())
        campaign = Campaign(
            kills=options.kills, seed=options.seed, number=number, folder=folder, database=database
        )
        report = asyncio.run(run_campaign(campaign))
    print(table(campaign, report))  # noqa: T201 - a command of its own
    return 1 if report.audit.faults else 0


if __name__ == "__main__":
    sys.exit(main())
