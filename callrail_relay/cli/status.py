"""
``status``: budgets, pauses and the queue.
"""

from typing import Annotated

import typer

from callrail_relay.cli.options import Config, Json
from callrail_relay.cli.running import command


@command
async def status(
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show every change.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Show what the hour and the day still allow, what waits and why, and when the queue will be empty.

    \b
    Example:
      $ callrail-relay status
      $ callrail-relay status --watch
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.bootstrap.relay import open_relay
    from callrail_relay.cli.render import print_json, print_status, watch_status

    installation = find_installation(config)
    async with open_relay(installation) as relay:
        if watch and not as_json:
            await watch_status(relay.operations.status, installation.clock)
        report = await relay.operations.status()
    print_json(report.document()) if as_json else print_status(report)
    return 0
