"""``opt-outs``: who opted out."""

from typing import Annotated

import typer

from callrail_relay.cli import console
from callrail_relay.cli.completion import number_option, person_option
from callrail_relay.cli.console import Config, Json, OutputFile, command, say, show
from callrail_relay.clock import SystemClock
from callrail_relay.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="List and change who opted out.")

Recipient = Annotated[str, person_option(help="The person's number.")]
TrackingNumber = Annotated[str | None, number_option(help="One of your numbers; default: all of them.")]


@command(app, "list")
async def list_opt_outs(config: Config = None, as_json: Json = False) -> None:
    """
    List the people who opted out, newest first.

    Example:
    $ callrail-relay opt-outs list
    """
    from callrail_relay.cli.render import local

    async with console.opened_relay(config) as relay:
        found = await relay.operations.opt_outs()
    lines = [
        f"{local(one.created_at)}  {one.recipient}  from {one.tracking_number}  {one.reason}" for one in found
    ]
    show([one.document() for one in found], "\n".join(lines) or "No opt-outs yet.", as_json=as_json)


@command(app, "add")
async def add(
    recipient: Recipient,
    tracking_number: TrackingNumber = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Shown in the list.")] = "A person added it.",
    config: Config = None,
    as_json: Json = False,
) -> None:
    r"""
    Opt a person out.

    Example:
    $ callrail-relay opt-outs add --recipient +12025550122 \
        --reason "Asked by phone."
    """
    person = console.read_number("--recipient", recipient)
    ours = None if tracking_number is None else console.read_number("--tracking-number", tracking_number)
    async with console.opened_relay(config, with_route=ours is None) as relay:
        entries = await relay.operations.opt_out(person, ours, reason)
    done = f"Opted out {person} from {', '.join(one.tracking_number for one in entries)}."
    show([one.document() for one in entries], done, as_json=as_json)


@command(app, "remove")
async def remove(
    recipient: Recipient, tracking_number: TrackingNumber = None, config: Config = None, as_json: Json = False
) -> None:
    """
    Take a person off the list.

    Do this only if they agreed to be texted again. CallRail keeps its own list:
    to get off that one, the person has to reply START.

    Example:
    $ callrail-relay opt-outs remove --recipient +12025550122
    """
    person = console.read_number("--recipient", recipient)
    ours = None if tracking_number is None else console.read_number("--tracking-number", tracking_number)
    async with console.opened_relay(config) as relay:
        removed = await relay.operations.remove_opt_out(person, ours)
    show({"recipient": person, "removed": removed}, f"Removed the opt-out of {person}.", as_json=as_json)


@command(app, "import")
async def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A CSV file; - for standard input.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """
    Add everyone in a CSV file to the list.

    `opt-outs export` or a spreadsheet writes such a file. Its first line names
    the columns: tracking_number,recipient,reason,created_at. Only recipient is
    required; without a tracking number, the person isn't texted from any of
    your numbers. Valid lines are imported even if others fail: each bad line is
    named, and the command ends with 2. Existing entries aren't changed, so you
    can fix the file and import it again.

    Example:
    $ callrail-relay opt-outs import opted-out.csv
    $ callrail-relay opt-outs import - < opted-out.csv
    """
    from callrail_relay.domain.opt_outs import read_list

    listed = read_list(console.read_input(file), now=SystemClock().now())
    for_all = any(person.tracking_number is None for person in listed.people)
    async with console.opened_relay(config, with_route=for_all) as relay:
        with console.progress("Importing", len(listed.people)) as advance:
            added = await relay.operations.import_opt_outs(listed.people, advance)
    document = {
        "read": len(listed.people),
        "added": added,
        "bad_lines": [{"line": one.number, "reason": one.reason} for one in listed.bad_lines],
        "ignored_columns": list(listed.ignored_columns),
    }
    show(document, f"{len(listed.people)} line(s) read; {added} new on the list.", as_json=as_json)
    if listed.ignored_columns:
        say(f"Ignored the column(s) {', '.join(listed.ignored_columns)}.")
    for one in listed.bad_lines:
        say(f"Line {one.number}: {one.reason}")
    if listed.bad_lines:
        raise UsageError(
            f"{len(listed.bad_lines)} line(s) were not imported; fix them, and import the file again."
        )


@command(app, "export")
async def export(file: OutputFile = "-", config: Config = None, as_json: Json = False) -> None:
    """
    Save the list as CSV, newest first.

    `opt-outs import` reads it again. Cells that a spreadsheet could take for a
    formula begin with an apostrophe. Only you can read the file (mode 0600). It
    replaces one of the same name when it's complete.

    Example:
    $ callrail-relay opt-outs export opted-out.csv
    $ callrail-relay opt-outs export > opted-out.csv
    """
    from callrail_relay.domain.opt_outs import write_list

    if as_json and file == "-":
        raise UsageError(
            "The list and --json can't both go to standard output; name a file, or use `opt-outs list`."
        )
    async with console.opened_relay(config) as relay:
        found = await relay.operations.opt_outs()
    with console.output(file, encoding="utf-8-sig") as write:
        write(write_list(found))
    if as_json:
        console.print_json({"file": file, "entries": len(found)})
    elif file != "-":
        say(f"{len(found)} on the list, written to {file}.")
