"""``send``: one text from the command line."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli.console import (
    Config,
    DryRun,
    Json,
    Timeout,
    command,
    complain,
    echo,
    poll_now,
    print_json,
    read_number,
    say,
)
from callrail_relay.cli.documents import message_document
from callrail_relay.errors import SettingsError, UsageError
from callrail_relay.sentences import explain, says

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext
    from callrail_relay.domain.mapper import MappedText
    from callrail_relay.domain.routing import Route


@command
async def send(
    to: Annotated[str, typer.Option("--to", metavar="NUMBER", help="The person's number, US or Canada.")],
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="The text to send.")],
    sender: Annotated[
        str | None,
        typer.Option("--from", metavar="NUMBER", help="A number of your CallRail account that can text."),
    ] = None,
    dry_run: DryRun = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the text is sent.")] = True,
    timeout: Timeout = 120.0,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Send one text, within the same rules and limits.

    Ends with 0 if CallRail took it, 5 if CallRail refused it, 6 if that isn't
    known, 7 if the text is on hold or waiting, and 8 if CallRail can't be
    reached; the text then stays queued. A number in --from that isn't in the
    settings is looked up at CallRail once, and remembered.

    Example:
    $ callrail-relay send --to +12025550122 --message "Is 9 good for you?"
    $ callrail-relay send --to 202-555-0122 --message "Hello" --dry-run
    """
    from callrail_relay.bootstrap.context import load_context
    from callrail_relay.bootstrap.wiring import open_relay, open_worker
    from callrail_relay.cli.render import print_message
    from callrail_relay.cli.replay import plan_summary
    from callrail_relay.domain.mapper import map_direct
    from callrail_relay.service.dispatch import DeliveryResult, deliver

    context = load_context(config)
    route = None if sender is None else await _sender(context, to, sender)
    draft = map_direct(to=to, text=message, routes=context.mapping.routes, sender=route)
    _require_complete(draft)
    if dry_run:
        async with open_relay(context) as relay:
            [planned] = await relay.intake.plan(relay.intake.direct(draft))
            print_json(message_document(planned.message)) if as_json else print_message(planned.message)
            say(await plan_summary(relay, [planned]))
        say("Nothing was sent: this was a dry run.")
        return 0
    context.require_terms()
    # The worker comes first: without a key it could send nothing, so nothing is stored.
    async with open_relay(context) as relay, open_worker(relay) as worker:
        [accepted] = (await relay.intake.accept(relay.intake.direct(draft)))[0].accepted
        if wait:
            await poll_now(worker)
            span, ids = timedelta(seconds=timeout), [accepted.message_id]
            [ending] = await deliver(relay.operations, worker, ids, timeout=span)
        else:
            [stored] = await relay.operations.find(accepted.message_id)
            ending = DeliveryResult(message=stored)
    if as_json:
        print_json(message_document(ending.message))
    if ending.fault is not None:
        complain(str(ending.fault))
    elif not as_json:
        echo(f"{ending.message.status.capitalize()}: text {ending.message.id} to {ending.message.recipient}.")
    return ending.exit_code


_OPTIONS = {"bad_phone": "--to", "no_text": "--message", "bad_text": "--message", "bad_sender": "--from"}


def _require_complete(draft: "MappedText") -> None:
    """Raises UsageError for what can't be sent as it was typed, SettingsError if there is no number."""
    for reason in draft.reasons:
        option = _OPTIONS.get(reason.code)
        if option is not None:
            raise UsageError(f"{option} can't be used: {says(reason)}")
        if reason.parameters:
            raise SettingsError(explain(reason))
        raise UsageError(f"{says(reason)} Name one with --from.")


async def _sender(context: "AppContext", to: str, sender: str) -> "Route":
    """Where the text is sent from; a number that is not in the settings is looked up at CallRail once."""
    from callrail_relay.bootstrap.wiring import find_sender, open_relay

    read_number("--to", to)
    number = read_number("--from", sender)
    known = {route.tracking_number: route for route in context.settings.routes_table()}
    if number in known:
        return known[number]
    async with open_relay(context) as relay:
        return await find_sender(relay, number)
