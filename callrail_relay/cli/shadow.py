"""``shadow``: beside the old Zap without sending, and taking over from it."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli import console
from callrail_relay.cli.console import Config, Json, Yes, command, confirmed, echo, say, show
from callrail_relay.errors import Unavailable, UsageError
from callrail_relay.sentences import not_forwarded, plural, roughly, totals

if TYPE_CHECKING:
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.domain.shadow import Shadow
    from callrail_relay.domain.shadow_report import ShadowReport

app = typer.Typer(no_args_is_help=True, help="Run beside your old Zap, compare, and take over.")

MOST_LINES = 50  # texts that a report shows
Since = Annotated[str | None, typer.Option(metavar="WHEN", help="2h, 3d or 2026-11-23; default: all.")]
Late = Annotated[str, typer.Option(metavar="SPAN", help="What is late: 60s, 5m.")]
GiveUp = Annotated[
    str, typer.Option(metavar="SPAN", help="When a text that CallRail doesn't show is missing.")
]


async def _read(relay: "Relay") -> "Shadow":
    return (await relay.operations.facts()).shadow


def _show(shadow: "Shadow", *, as_json: bool, more: str = "", **known: int) -> None:
    from callrail_relay.cli.render import local

    since = f" since {local(shadow.since)}" if shadow.since else ""
    waits = f" {plural(shadow.waiting, 'request')} not passed on yet." if shadow.waiting else ""
    said = f"The relay is live{since}: it sends what comes in."
    if shadow.is_on:
        passes = f"passes each request on to {shadow.masked_url}"
        said = f"Shadow mode{since}: the relay sends nothing, and {passes}.{waits}"
    show(shadow.document() | known, said + more, as_json=as_json)


@command(app, "start")
async def start(
    forward_to: Annotated[str, typer.Option(metavar="URL", help="The webhook URL that IF3 used so far.")],
    yes: Yes = False,  # noqa: ARG001 - asks nothing, and takes it as the others do
    config: Config = None,
    as_json: Json = False,
) -> None:
    """
    Pass requests on to your Zap, and send none.

    Then paste the relay's URL into IF3: your Zap goes on sending, and the relay
    only watches. What the relay took before is still sent by the relay. In
    shadow mode already, this changes the URL.

    Example:
    $ callrail-relay shadow start --forward-to https://hooks.zapier.com/hooks/catch/123/abc/
    """
    from callrail_relay.service import shadow

    async with console.opened_relay(config) as relay:
        await shadow.start(relay.store, forward_to)
        _show(await _read(relay), as_json=as_json)


@command(app, "status")
async def status(config: Config = None, as_json: Json = False) -> None:
    """
    Show who sends, and what isn't passed on yet.

    Example:
    $ callrail-relay shadow status
    """
    async with console.opened_relay(config) as relay:
        _show(await _read(relay), as_json=as_json)


@command(app, "report")
async def report(
    since: Since = None,
    late_after: Late = "60s",
    give_up_after: GiveUp = "15m",
    as_csv: Annotated[bool, typer.Option("--csv", help="Output CSV, one line a text.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """
    Compare what your Zap did with what came in.

    It reads CallRail's conversations: which texts are missing, late, cut,
    doubled, out of order, or went to someone who had opted out, and which the
    relay would have put on hold.

    Example:
    $ callrail-relay shadow report --since 6d
    $ callrail-relay shadow report --csv > report.csv
    """
    from callrail_relay.bootstrap.context import read_duration
    from callrail_relay.bootstrap.wiring import open_conversations
    from callrail_relay.cli.messages import read_since
    from callrail_relay.service.shadow import make_report

    try:
        late, give_up = read_duration(late_after), read_duration(give_up_after)
    except ValueError as error:
        raise UsageError(f"--late-after and --give-up-after are spans; each {error}.") from error
    begin = None if since is None else read_since(since)
    async with console.opened_relay(config) as relay, open_conversations(relay) as conversations:
        made = await make_report(conversations, since=begin, late_after=late, give_up_after=give_up)
    if as_csv:
        with console.output("-") as write:
            write(made.csv())
    elif as_json:
        console.print_json(made.document())
    else:
        _print_report(made, late)
    if made.fault is not None:
        raise Unavailable(f"Not all could be compared yet: {made.fault} Run it again later.")


def _print_report(report: "ShadowReport", late_after: timedelta) -> None:
    """The totals in sentences, then a line for each text that didn't come out right."""
    from callrail_relay.cli.render import local, shortened

    for words in (totals(report, late_after), *not_forwarded(report.requests)):
        echo(words)
    wrong = [one for one in report.texts if one.findings or one.would_hold]
    for one in wrong[:MOST_LINES]:
        late = f" by {roughly(one.late_by.total_seconds())}" if one.late_by else ""
        said = [finding.replace("_", " ") + (late if finding == "late" else "") for finding in one.findings]
        said += [f"would hold: {', '.join(one.would_hold)}"] if one.would_hold else []
        echo(f"{local(one.text.received_at)}  {one.text.recipient or '-':<12}  {'; '.join(said)}")
        echo(f"    {shortened(one.text.text)}")
    if len(wrong) > MOST_LINES:
        echo(f"{len(wrong) - MOST_LINES:,} more: see --csv.")


@command(app, "end")
async def end(yes: Yes = False, config: Config = None, as_json: Json = False) -> None:
    """
    Take over: the relay sends from now on.

    Requests that came before belong to the old URL. Texts that certainly never
    got there are put on hold, so you can still send them.

    Example:
    $ callrail-relay shadow end
    """
    from callrail_relay.service import shadow

    async with console.opened_relay(config) as relay:
        if (await _read(relay)).is_on and not confirmed("From now on the relay sends. Go on?", yes=yes):
            say("Nothing was changed: the relay stays in shadow mode.")
            return
        held = await shadow.switch(relay.store, live=True)
        more = " Turn the old Zap off now; `callrail-relay shadow resume` goes back."
        if held:
            never = "never reached the old URL: on hold, see `messages list --status held`."
            more += f" {plural(held, 'text')} {never}"
        _show(await _read(relay), as_json=as_json, more=more, held=held)


@command(app, "resume")
async def resume(yes: Yes = False, config: Config = None, as_json: Json = False) -> None:
    """
    Go back to shadow mode, with the old URL.

    What came before is still sent by the relay.

    Example:
    $ callrail-relay shadow resume
    """
    from callrail_relay.service import shadow

    async with console.opened_relay(config) as relay:
        question = "From now on the old URL gets each request, and its Zap must be on. Go on?"
        if not (await _read(relay)).is_on and not confirmed(question, yes=yes):
            say("Nothing was changed: the relay stays live.")
            return
        await shadow.switch(relay.store, live=False)
        _show(await _read(relay), as_json=as_json)
