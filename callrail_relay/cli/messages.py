"""
``messages``: the texts, and a person's word on them.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli.asking import confirmed
from callrail_relay.cli.options import Config, Json, Yes, read_number
from callrail_relay.cli.running import command, say
from callrail_relay.errors import UsageFault

if TYPE_CHECKING:
    from callrail_relay.domain.message import Message, Status

app = typer.Typer(no_args_is_help=True, help="Look at texts, and decide on those that are held.")

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of texts or of submissions.")]


@app.command("list")
@command
async def list_messages(
    status: Annotated[
        list[str] | None, typer.Option("--status", help="Only texts with this status; may be repeated.")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option("--recipient", metavar="NUMBER", help="Only texts to this person.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Only texts since then: 2h, 3d, 2026-11-23.")
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", metavar="WORDS", help="Only texts with these words in them.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="How many; 0 for all.")] = 50,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    List texts, newest first.

    \b
    Example:
      $ callrail-relay messages list --status held --status unknown
      $ callrail-relay messages list --since 2h --json
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.bootstrap.relay import open_relay
    from callrail_relay.cli.render import documents, print_json, print_messages
    from callrail_relay.domain.message import MessageFilter

    installation = find_installation(config)
    wanted = MessageFilter(
        statuses=tuple(_status(name) for name in status or ()),
        recipient=None if recipient is None else read_number("--recipient", recipient),
        since=None if since is None else _since(since, installation.clock.now()),
        search=search,
        limit=limit,
    )
    async with open_relay(installation) as relay:
        found = await relay.operations.list_messages(wanted)
    print_json(documents(found)) if as_json else print_messages(found)
    return 0


@app.command("show")
@command
async def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id of a text or of a submission.")],
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Show one text with its whole way: its segments, each attempt, and CallRail's answers.

    \b
    Example:
      $ callrail-relay messages show 019a0f8e-7c1e-7f3f-b358-4f8cd8f16adf
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.bootstrap.relay import open_relay
    from callrail_relay.cli.render import print_json, print_message

    async with open_relay(find_installation(config)) as relay:
        found = await relay.operations.find(id_)
    if as_json:
        documents = [message.document() for message in found]
        print_json(documents[0] if len(documents) == 1 else documents)
        return 0
    for number, message in enumerate(found):
        if number:
            typer.echo()
        print_message(message)
    return 0


@app.command("approve")
@command
async def approve(ids: Ids, _yes: Yes = False, config: Config = None, as_json: Json = False) -> int:
    """
    Let held texts leave. What is overridden is exactly the reasons that each one shows.

    \b
    Example:
      $ callrail-relay messages approve 019a0f8e-7c1e-7f3f-b358-4f8cd8f16adf
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.bootstrap.relay import open_relay

    async with open_relay(find_installation(config)) as relay:
        changed = [message for id_ in ids for message in await relay.operations.approve(id_)]
    _show_changed(changed, as_json=as_json)
    return 0


@app.command("resend")
@command
async def resend(ids: Ids, yes: Yes = False, config: Config = None, as_json: Json = False) -> int:
    """
    Send unknown, failed or cancelled texts again.

    CallRail has no way to send a text once for certain: an unknown one may have arrived. Look into the
    conversation first. Where both arrive, the text is shown as sent twice.

    \b
    Example:
      $ callrail-relay messages resend 019a0f8e-7c1e-7f3f-b358-4f8cd8f16adf --yes
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.bootstrap.relay import open_relay

    if not confirmed(f"Send {len(ids)} again? An unknown text may have arrived.", yes=yes):
        say("Nothing was sent.")
        return 0
    async with open_relay(find_installation(config)) as relay:
        changed = [message for id_ in ids for message in await relay.operations.resend(id_)]
    _show_changed(changed, as_json=as_json)
    return 0


@app.command("mark-sent")
@command
async def mark_sent(ids: Ids, _yes: Yes = False, config: Config = None, as_json: Json = False) -> int:
    """
    Say that CallRail has taken unknown texts after all; what of them has not left yet follows.

    \b
    Example:
      $ callrail-relay messages mark-sent 019a0f8e-7c1e-7f3f-b358-4f8cd8f16adf
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.bootstrap.relay import open_relay

    async with open_relay(find_installation(config)) as relay:
        changed = [message for id_ in ids for message in await relay.operations.mark_sent(id_)]
    _show_changed(changed, as_json=as_json)
    return 0


@app.command("cancel")
@command
async def cancel(ids: Ids, yes: Yes = False, config: Config = None, as_json: Json = False) -> int:
    """
    Keep held, queued or unknown texts from leaving; `messages resend` brings them back.

    \b
    Example:
      $ callrail-relay messages cancel 019a0f8e-7c1e-7f3f-b358-4f8cd8f16adf --yes
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.bootstrap.relay import open_relay

    if not confirmed(f"Cancel {len(ids)} for good?", yes=yes):
        say("Nothing was cancelled.")
        return 0
    async with open_relay(find_installation(config)) as relay:
        changed = [message for id_ in ids for message in await relay.operations.cancel(id_)]
    _show_changed(changed, as_json=as_json)
    return 0


def _show_changed(messages: "list[Message]", *, as_json: bool) -> None:
    from callrail_relay.cli.render import documents, print_json

    if as_json:
        print_json(documents(messages))
        return
    for message in messages:
        typer.echo(f"{message.status:<10} {message.id}")


def _status(name: str) -> "Status":
    from callrail_relay.domain.message import Status

    try:
        return Status(name.lower())
    except ValueError as error:
        raise UsageFault(f"There is no status {name}; there are {', '.join(Status)}.") from error


def _since(when: str, now: datetime) -> datetime:
    """
    An instant: so long ago, or a date, or a date with a time, by this machine's clock.
    """
    from callrail_relay.bootstrap.installation import read_duration

    try:
        return now - read_duration(when)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(when).astimezone()
    except ValueError as error:
        raise UsageFault(
            f"--since does not understand {when!r}; write 2h, 3d, or 2026-11-23T09:00."
        ) from error
