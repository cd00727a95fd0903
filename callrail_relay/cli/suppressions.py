"""
``suppressions``: who opted out.
"""

from typing import Annotated

import typer

from callrail_relay.cli.options import Config, Json, read_number
from callrail_relay.cli.running import command

app = typer.Typer(no_args_is_help=True, help="Look at and change the list of people who opted out.")

Recipient = Annotated[str, typer.Option("--recipient", metavar="NUMBER", help="The person's number.")]
TrackingNumber = Annotated[
    str | None,
    typer.Option("--tracking-number", metavar="NUMBER", help="One of our numbers; all of them by default."),
]


@app.command("list")
@command
async def list_suppressions(config: Config = None, as_json: Json = False) -> int:
    """
    List everybody who opted out, newest first.

    \b
    Example:
      $ callrail-relay suppressions list
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.bootstrap.relay import open_relay
    from callrail_relay.cli.render import local, print_json

    async with open_relay(find_installation(config)) as relay:
        found = await relay.operations.suppressions()
    if as_json:
        print_json([one.document() for one in found])
        return 0
    for one in found:
        typer.echo(f"{local(one.created_at)}  {one.recipient}  from {one.tracking_number}  {one.reason}")
    if not found:
        typer.echo("Nobody opted out.")
    return 0


@app.command("add")
@command
async def add(
    recipient: Recipient,
    tracking_number: TrackingNumber = None,
    reason: Annotated[str, typer.Option("--reason", help="Shown in the list.")] = "A person added it.",
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Let nobody text a person any more, from one of our numbers or from all.

    \b
    Example:
      $ callrail-relay suppressions add --recipient +12025550122 --reason "Asked by phone."
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.bootstrap.relay import open_relay
    from callrail_relay.cli.render import print_json

    person = read_number("--recipient", recipient)
    ours = None if tracking_number is None else read_number("--tracking-number", tracking_number)
    installation = find_installation(config)
    if ours is None:
        installation.require_route()
    async with open_relay(installation) as relay:
        entries = await relay.operations.suppress(person, ours, reason)
    if as_json:
        print_json([one.document() for one in entries])
    else:
        typer.echo(
            f"{person} is not texted any more from {', '.join(one.tracking_number for one in entries)}."
        )
    return 0


@app.command("remove")
@command
async def remove(
    recipient: Recipient,
    tracking_number: TrackingNumber = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Take a person off the list who agreed to be texted again. CallRail keeps a list of its own: there the
    person has to reply START.

    \b
    Example:
      $ callrail-relay suppressions remove --recipient +12025550122
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.bootstrap.relay import open_relay
    from callrail_relay.cli.render import print_json

    person = read_number("--recipient", recipient)
    ours = None if tracking_number is None else read_number("--tracking-number", tracking_number)
    async with open_relay(find_installation(config)) as relay:
        lifted = await relay.operations.lift_suppression(person, ours)
    print_json({"recipient": person, "removed": lifted}) if as_json else typer.echo(
        f"{person} is off the list."
    )
    return 0
