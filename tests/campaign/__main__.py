"""Runs a campaign and prints its table; ends with 1 when a promise was broken."""

import argparse
import asyncio
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.campaign.run import PLENTY, Campaign, run_campaign, table
from tests.campaign.troubles import CROWDED, fake_time_library
from tests.support.postgres import running_cluster


def main() -> int:
    """Read the options, run, print."""
    options = read_options()
    number = signal.SIGTERM if options.signal == "TERM" or sys.platform == "win32" else signal.SIGKILL
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="campaign-")))
        cluster = None
        if options.postgres or options.nodes > 1:
            settings = CROWDED.format(connections=5 * options.nodes + 3) if options.crowded else ""
            cluster = stack.enter_context(running_cluster(settings))
        campaign = Campaign(
            kills=options.kills,
            seed=options.seed,
            number=number,
            folder=folder,
            cluster=cluster,
            nodes=options.nodes,
            per_hour=options.per_hour,
            restarts=options.restarts,
            cuts=options.cuts,
            fake_time=fake_time_library() if options.clocks else None,
        )
        report = asyncio.run(run_campaign(campaign))
    print(table(campaign, report))  # noqa: T201 - a command of its own
    return 1 if report.faults else 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server of its own")
    parser.add_argument("--nodes", type=int, default=1, help="so many on one PostgreSQL database")
    parser.add_argument("--per-hour", type=int, default=PLENTY, help="what the account may send in an hour")
    parser.add_argument("--restarts", action="store_true", help="restart PostgreSQL under the nodes")
    parser.add_argument("--cuts", action="store_true", help="cut nodes off from PostgreSQL for seconds")
    parser.add_argument("--crowded", action="store_true", help="fewer connections than the nodes want")
    parser.add_argument("--clocks", action="store_true", help="clocks of the nodes minutes apart")
    options = parser.parse_args()
    if (options.restarts or options.cuts or options.crowded) and not (options.postgres or options.nodes > 1):
        parser.error("--restarts, --cuts and --crowded need --postgres or --nodes")
    return options


if __name__ == "__main__":
    sys.exit(main())
