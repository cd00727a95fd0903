"""``send``: one text from the command line."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli.console import Config, Json, command, complain, echo, read_number, say

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import Installation
    from callrail_relay.domain.routing import Route


@command
async def send(
    to: Annotated[str, typer.Option("--to", metavar="NUMBER", help="The person's number, US or Canada.")],
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="The words to send.")],
    sender: Annotated[
        str | None,
        typer.Option("--from", metavar="NUMBER", help="Any number of your CallRail account that can text."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the text has left.")] = True,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="The longest time to wait.")
    ] = 120.0,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Send one text, through the same outbox, rules and budget as the texts of IF3.

    Ends with 0 when CallRail took it, 5 when it refused, 6 when that is not known, 7 when
    the text is held or waits, and 8 when CallRail cannot be reached; the text then stays queued.
    A number in --from that is not in the settings is looked up at CallRail once, and remembered.

    \b
    Example:
      $ callrail-relay send --to +12025550122 --message "Is Tuesday at 9 good for you?"
      $ callrail-relay send --to 202-555-0122 --message "Hello" --dry-run
    """
    from callrail_relay.bootstrap.context import find_installation
    from callrail_relay.bootstrap.wiring import open_relay, open_worker
    from callrail_relay.cli.console import print_json
    from callrail_relay.cli.plan import plan_summary
    from callrail_relay.cli.render import print_message
    from callrail_relay.domain.mapper import map_text
    from callrail_relay.service.dispatch import Dispatch, Ending

    installation = find_installation(config)
    route = None if sender is None else await _sender(installation, to, sender)
    draft = map_text(to=to, text=message, policy=installation.mapping, sender=route)
    if dry_run:
        async with open_relay(installation) as relay:
            planned = await relay.intake.plan_direct(draft)
            print_json(planned.message.document()) if as_json else print_message(planned.message)
            say(await plan_summary(relay, [planned]))
        say("Nothing was sent: this was a dry run.")
        return 0
    installation.require_terms()
    # The worker comes first: without a key nothing is stored that could not leave.
    async with open_relay(installation) as relay, open_worker(relay) as worker:
        [accepted] = (await relay.intake.accept_direct(draft)).accepted
        if wait:
            dispatch = Dispatch(relay.operations, worker, relay.store.clock)
            [ending] = await dispatch.deliver([accepted.message_id], timeout=timedelta(seconds=timeout))
        else:
            [stored] = await relay.operations.find(accepted.message_id)
            ending = Ending(message=stored)
    if as_json:
        print_json(ending.message.document())
    if ending.fault is not None:
        complain(str(ending.fault))
    elif not as_json:
        echo(f"{ending.message.status.capitalize()}: text {ending.message.id} to {ending.message.recipient}.")
    return ending.exit_code


async def _sender(installation: "Installation", to: str, sender: str) -> "Route":
    """Where the text is sent from; a number that is not in the settings is looked up at CallRail once."""
    from callrail_relay.bootstrap.wiring import find_sender, open_relay

    read_number("--to", to)
    number = read_number("--from", sender)
    known = {route.tracking_number: route for route in installation.settings.routes_table()}
    if number in known:
        return known[number]
    async with open_relay(installation) as relay:
        return await find_sender(relay, number)
