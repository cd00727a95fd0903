"""
``status``: budgets, pauses and the queue.
"""

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli.options import Config, Json
from callrail_relay.cli.running import command, complain
from callrail_relay.errors import Unavailable

if TYPE_CHECKING:
    from callrail_relay.bootstrap.relay import Relay


@command
async def status(
    watch: Annotated[bool, typer.Option("--watch", help="Stay until Ctrl-C, and show every change.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Show what the hour and the day still allow, what waits and why, and when the queue will be empty.

    With --watch and --json each change is one line of JSON.

    \b
    Example:
      $ callrail-relay status
      $ callrail-relay status --watch
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.bootstrap.relay import open_relay
    from callrail_relay.cli.documents import print_json
    from callrail_relay.cli.status_view import print_status

    async with open_relay(find_installation(config)) as relay:
        if watch:
            await _watch(relay, as_json=as_json)
            return 0
        report = await relay.operations.status()
        try:
            await relay.outbox.write_probe()
        except Unavailable as error:
            report = replace(report, store_fault=str(error))
    print_json(report.document()) if as_json else print_status(report)
    if report.store_fault is None:
        return 0
    complain(report.store_fault)
    return Unavailable.exit_code


async def _watch(relay: "Relay", *, as_json: bool) -> None:
    from callrail_relay.cli.status_view import watch_status
    from callrail_relay.cli.stopping import stop_signal

    async with stop_signal() as stopped:
        watching = asyncio.create_task(
            watch_status(relay.operations.status, relay.installation.clock, as_json=as_json)
        )
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        watching.cancel()
        # It ends by itself only where it fails; then this raises why.
        with contextlib.suppress(asyncio.CancelledError):
            await watching
