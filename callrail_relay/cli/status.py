"""``status``: budgets, pauses and the queue."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli.console import Config, Json, command, opened_relay, print_json, stop_signal
from callrail_relay.errors import RelayError, Unavailable

if TYPE_CHECKING:
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.cli.render import Read
    from callrail_relay.service.operations import StatusReport


@command
async def status(
    watch: Annotated[bool, typer.Option("--watch", help="Show every change until Ctrl-C.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Show sending limits, the queue and problems.

    With --watch and --json, each change is one line of JSON.

    Example:
    $ callrail-relay status
    $ callrail-relay status --watch
    """
    from callrail_relay.cli.render import print_status
    from callrail_relay.domain.health import FailedCheck

    exit_code = 0
    async with opened_relay(config) as relay:
        if watch:
            await _watch(relay, as_json=as_json)
            return 0
        report = await _reader(relay)()
        try:
            await relay.store.write_probe()
        except Unavailable as error:
            report = report.with_facts(failed_checks=[FailedCheck(name="the database", detail=str(error))])
            exit_code = error.exit_code
    print_json(report.document()) if as_json else print_status(report)
    return exit_code


def _reader(relay: "Relay") -> "Read":
    """What reads the status, with the public URL's last check if a relay is running that it could lead to."""

    async def read() -> "StatusReport":
        report = await relay.operations.status()
        if not report.facts.running:
            return report
        with contextlib.suppress(RelayError):  # what is wrong is in what was seen
            await relay.public_address.recent()
        return report.with_facts(public_url=relay.public_address.seen)

    return read


async def _watch(relay: "Relay", *, as_json: bool) -> None:
    from callrail_relay.cli.render import watch_status

    async with stop_signal() as stopped:
        watching = asyncio.create_task(watch_status(_reader(relay), relay.context.clock, as_json=as_json))
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        watching.cancel()
        # It ends by itself only if it fails; then this raises why.
        with contextlib.suppress(asyncio.CancelledError):
            await watching
