"""``pause`` and ``resume``: accept texts, and send none for a while."""

from typing import Annotated

import typer

from callrail_relay.cli.console import command, echo
from callrail_relay.cli.options import Config, Json

Account = Annotated[str | None, typer.Option("--account", metavar="ID", help="One account; all by default.")]


@command
async def pause(
    account: Account = None,
    reason: Annotated[str, typer.Option("--reason", help="Shown wherever the pause is.")] = "A person "
    "paused it.",
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Accept and keep texts, and send none until `resume`.

    \b
    Example:
      $ callrail-relay pause --reason "The office is closed today."
    """
    from callrail_relay.bootstrap.context import find_installation
    from callrail_relay.bootstrap.wiring import open_relay

    async with open_relay(find_installation(config)) as relay:
        ids = await relay.operations.pause(account, reason)
    _show("Paused", ids, as_json=as_json)
    return 0


@command
async def resume(account: Account = None, config: Config = None, as_json: Json = False) -> int:
    """
    Send again after a pause, whoever or whatever paused it.

    \b
    Example:
      $ callrail-relay resume
    """
    from callrail_relay.bootstrap.context import find_installation
    from callrail_relay.bootstrap.wiring import open_relay

    async with open_relay(find_installation(config)) as relay:
        ids = await relay.operations.resume(account)
    _show("Resumed", ids, as_json=as_json)
    return 0


def _show(done: str, ids: list[str], *, as_json: bool) -> None:
    from callrail_relay.cli.documents import print_json

    if as_json:
        print_json(ids)
        return
    echo(f"{done}: {', '.join(ids)}." if ids else "There is no account yet; run `callrail-relay configure`.")
