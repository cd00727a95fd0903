"""``opt-outs``: who opted out."""

import typer

from callrail_relay.cli import console
from callrail_relay.cli.console import command, say, sentence, show
from callrail_relay.cli.messages import read_since
from callrail_relay.clock import SystemClock
from callrail_relay.errors import Unavailable, UsageError
from callrail_relay.sentences import local, plural

app = typer.Typer(no_args_is_help=True, help="List and change who opted out.")


@command(app, "opt-outs list")
async def list_opt_outs() -> None:
    async with console.opened_relay() as relay:
        found = await relay.operations.opt_outs()
    lines = [
        f"{local(one.created_at)}  {one.recipient}  from {one.tracking_number}  {one.reason}" for one in found
    ]
    show([one.document() for one in found], "\n".join(lines) or "No opt-outs yet.")


@command(app, "opt-outs add")
async def add(recipient: str, tracking_number: str | None = None, reason: str = "A person added it.") -> None:
    person = console.read_number(recipient, "--recipient")
    ours = None if tracking_number is None else console.read_number(tracking_number, "--tracking-number")
    async with console.opened_relay(with_route=ours is None) as relay:
        entries = await relay.operations.opt_out(person, ours, reason)
    done = f"Opted out {person} from {', '.join(one.tracking_number for one in entries)}."
    show([one.document() for one in entries], done)


@command(app, "opt-outs remove")
async def remove(recipient: str, tracking_number: str | None = None) -> None:
    person = console.read_number(recipient, "--recipient")
    ours = None if tracking_number is None else console.read_number(tracking_number, "--tracking-number")
    async with console.opened_relay() as relay:
        removed = await relay.operations.remove_opt_out(person, ours)
    show({"recipient": person, "removed": removed}, f"Removed the opt-out of {person}.")


@command(app, "opt-outs import")
async def import_(file: str | None = None, from_callrail: bool = False, since: str = "730d") -> None:
    from callrail_relay.domain.opt_outs import read_list

    if (file is None) is not from_callrail:
        raise UsageError("Name a file, or use --from-callrail.")
    if file is None:
        await _import_from_callrail(since)
        return
    listed = read_list(console.read_input(file), now=SystemClock().now())
    for_all = not all(person.tracking_number for person in listed.people)
    async with console.opened_relay(with_route=for_all) as relay:
        with console.progress("Importing", len(listed.people)) as advance:
            added = await relay.operations.import_opt_outs(listed.people, advance)
    document = {
        "read": len(listed.people),
        "added": added,
        "bad_lines": [{"line": one.number, "reason": one.reason} for one in listed.bad_lines],
        "ignored_columns": list(listed.ignored_columns),
    }
    show(document, f"{len(listed.people)} line(s) read; {added} new on the list.")
    if listed.ignored_columns:
        say(f"Ignored the column(s) {', '.join(listed.ignored_columns)}.")
    for one in listed.bad_lines:
        say(f"Line {one.number}: {one.reason}")
    if listed.bad_lines:
        raise UsageError(sentence("bad_lines", count=len(listed.bad_lines)))


async def _import_from_callrail(since: str) -> None:
    from callrail_relay.bootstrap.wiring import open_conversations
    from callrail_relay.service.shadow import import_opt_outs

    async with console.opened_relay(with_route=True) as relay, open_conversations(relay) as read:
        known, policy = len(await relay.operations.opt_outs()), relay.context.inbound

        def on_progress(count: int) -> None:
            say(f"{plural(count, 'conversation')} read.")

        fault = await import_opt_outs(read, policy, since=read_since(since), on_progress=on_progress)
        total = len(await relay.operations.opt_outs())
    added = total - known
    show({"added": added}, f"{plural(added, 'opt-out')} added; {total:,} on the list.")
    if fault is not None:
        raise Unavailable(sentence("read_in_part", why=fault))


@command(app, "opt-outs export")
async def export(file: str = "-") -> None:
    from callrail_relay.domain.opt_outs import write_list

    async with console.opened_relay() as relay:
        found = await relay.operations.opt_outs()
    with console.output(file, encoding="utf-8-sig") as write:
        write(write_list(found))
    console.say_written({"file": file, "entries": len(found)}, f"{len(found)} on the list")
