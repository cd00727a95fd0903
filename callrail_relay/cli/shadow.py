"""``shadow``: running beside the old Zap without sending, and taking over from it."""

from datetime import timedelta
from typing import TYPE_CHECKING

import typer

from callrail_relay.cli import console
from callrail_relay.cli.console import command, echo, given, require_yes, show
from callrail_relay.cli.messages import read_since
from callrail_relay.domain.printable import shortened
from callrail_relay.errors import Unavailable, UsageError
from callrail_relay.sentences import local, not_forwarded, plural, roughly, totals

if TYPE_CHECKING:
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.domain.shadow import Shadow, ShadowReport

app = typer.Typer(no_args_is_help=True, help="Run beside your old Zap, compare, and take over.")

MOST_LINES = 50  # texts that a report shows


async def _read(relay: "Relay") -> "Shadow":
    return (await relay.operations.facts()).shadow


def _show(shadow: "Shadow", *, more: str = "", **known: int) -> None:
    since = f" since {local(shadow.since)}" if shadow.since else ""
    waits = f" {plural(shadow.waiting, 'request')} not passed on yet." if shadow.waiting else ""
    said = f"The relay is live{since}: it sends what comes in."
    if shadow.is_on:
        passes = f"passes each request on to {shadow.masked_url}"
        said = f"Shadow mode{since}: the relay sends nothing, and {passes}.{waits}"
    show(shadow.document() | known, said + more)


@command(app, "shadow start")
async def start(forward_to: str, _yes: bool = False) -> None:
    from callrail_relay.service import shadow

    async with console.opened_relay() as relay:
        await shadow.start(relay.store, forward_to)
        _show(await _read(relay))


@command(app, "shadow status")
async def status() -> None:
    async with console.opened_relay() as relay:
        _show(await _read(relay))


@command(app, "shadow report")
async def report(
    since: str | None = None, late_after: str = "60s", give_up_after: str = "15m", as_csv: bool = False
) -> None:
    from callrail_relay.bootstrap.context import read_duration
    from callrail_relay.bootstrap.wiring import open_conversations
    from callrail_relay.service.shadow import make_report

    try:
        late, give_up = read_duration(late_after), read_duration(give_up_after)
    except ValueError as error:
        raise UsageError(f"--late-after and --give-up-after are spans; each {error}.") from error
    begin = None if since is None else read_since(since)
    async with console.opened_relay() as relay, open_conversations(relay) as conversations:
        made = await make_report(conversations, since=begin, late_after=late, give_up_after=give_up)
    if as_csv:
        with console.output("-") as write:
            write(made.csv())
    elif given.as_json:
        console.print_json(made.document())
    else:
        _print_report(made, late)
    if made.fault is not None:
        raise Unavailable(f"Not everything could be compared yet: {made.fault} Run it again later.")


def _print_report(report: "ShadowReport", late_after: timedelta) -> None:
    """Print the totals in sentences, then a line per text that didn't come out right."""
    for words in (totals(report, late_after), *not_forwarded(report.requests)):
        echo(words)
    wrong = [one for one in report.texts if one.findings or one.reasons]
    for one in wrong[:MOST_LINES]:
        late = f" by {roughly(one.late_by.total_seconds())}" if one.late_by else ""
        said = [finding.replace("_", " ") + (late if finding == "late" else "") for finding in one.findings]
        said += [f"would hold: {', '.join(why.code for why in one.reasons)}"] if one.reasons else []
        echo(f"{local(one.text.received_at)}  {one.text.recipient or '-':<12}  {'; '.join(said)}")
        echo(f"    {shortened(one.text.text or '-', 76)}")
    if len(wrong) > MOST_LINES:
        echo(f"{len(wrong) - MOST_LINES:,} more: see --csv.")


@command(app, "shadow end")
async def end(yes: bool = False) -> None:
    from callrail_relay.service import shadow

    async with console.opened_relay() as relay:
        if (await _read(relay)).is_on:
            stays = "Nothing was changed: the relay stays in shadow mode."
            require_yes("From now on the relay sends. Continue?", stays, yes=yes)
        held = await shadow.switch(relay.store, live=True)
        more = " Turn the old Zap off now; `callrail-relay shadow resume` goes back."
        if held:
            never = "never reached the old URL: on hold, see `messages list --status held`."
            more += f" {plural(held, 'text')} {never}"
        _show(await _read(relay), more=more, held=held)


@command(app, "shadow resume")
async def resume(yes: bool = False) -> None:
    from callrail_relay.service import shadow

    async with console.opened_relay() as relay:
        if not (await _read(relay)).is_on:
            question = "From now on the old URL gets each request, and its Zap must be on. Continue?"
            require_yes(question, "Nothing was changed: the relay stays live.", yes=yes)
        await shadow.switch(relay.store, live=False)
        _show(await _read(relay))
