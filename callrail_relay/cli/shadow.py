"""``shadow``: beside the old Zap without sending, and taking over from it."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli import console
from callrail_relay.cli.console import Config, Json, Yes, command, confirmed, echo, say, show
from callrail_relay.errors import Unavailable, UsageError
from callrail_relay.sentences import plural

if TYPE_CHECKING:
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.domain.shadow import Shadow
    from callrail_relay.domain.shadow_report import ShadowReport
    from callrail_relay.service.shadow import Switch

app = typer.Typer(no_args_is_help=True, help="Run beside your old Zap, compare, and take over.")


def switch(relay: "Relay") -> "Switch":
    from callrail_relay.service.shadow import Switch

    address = relay.public_address
    return Switch(relay.store, address.fetch, tuple(filter(None, (address.url, address.listener))))


def shadow_sentence(shadow: "Shadow") -> str:
    from callrail_relay.cli.render import local
    from callrail_relay.domain.shadow import mask_url

    if not shadow.is_on or shadow.forward_to is None:
        since = "" if shadow.since is None else f" since {local(shadow.since)}"
        return f"The relay is live{since}: it sends what comes in."
    waits = f" {plural(shadow.waiting, 'request')} not passed on yet." if shadow.waiting else ""
    return (
        f"Shadow mode since {local(shadow.since)}: the relay sends nothing, and passes each request on to "
        f"{mask_url(shadow.forward_to)}.{waits}"
    )


@command(app, "start")
async def start(
    forward_to: Annotated[str, typer.Option(metavar="URL", help="The webhook URL that IF3 used so far.")],
    yes: Yes = False,  # noqa: ARG001 - asks nothing, and takes it as the others do
    config: Config = None,
    as_json: Json = False,
) -> None:
    """
    Pass each request on to your old webhook URL, and send nothing.

    Then paste the relay's URL into IF3: your Zap goes on sending, and the relay
    only watches. What the relay took before is still sent by the relay. In
    shadow mode already, this changes the URL.

    Example:
    $ callrail-relay shadow start --forward-to https://hooks.zapier.com/hooks/catch/123/abc/
    """
    from callrail_relay.bootstrap.credentials import read_hook_tokens

    async with console.opened_relay(config) as relay:
        tokens = [token.value for token in await read_hook_tokens(relay.context)]
        shadow = await switch(relay).start(forward_to, tokens)
    show(shadow.document(), shadow_sentence(shadow), as_json=as_json)


@command(app, "status")
async def status(config: Config = None, as_json: Json = False) -> None:
    """
    Show who sends, and what isn't passed on yet.

    Example:
    $ callrail-relay shadow status
    """
    async with console.opened_relay(config) as relay:
        shadow = await switch(relay).read()
    show(shadow.document(), shadow_sentence(shadow), as_json=as_json)


@command(app, "report")
async def report(
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Since then: 2h, 3d, 2026-11-23; default: all.")
    ] = None,
    late_after: Annotated[str, typer.Option(metavar="SPAN", help="What is late: 60s, 5m.")] = "60s",
    give_up_after: Annotated[
        str, typer.Option(metavar="SPAN", help="When a text that CallRail doesn't show is missing.")
    ] = "15m",
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
    from callrail_relay.bootstrap.wiring import open_callrail
    from callrail_relay.cli.messages import read_since
    from callrail_relay.service.shadow import make_report

    spans = {"late_after": _span("--late-after", late_after)}
    spans["give_up_after"] = _span("--give-up-after", give_up_after)
    begin = None if since is None else read_since(since)
    async with console.opened_relay(config) as relay:
        limits = relay.context.settings.limits
        reader = open_callrail(relay.context)
        made = await make_report(relay.store, reader, limits.lookups_per_hour, since=begin, **spans)
    if as_csv:
        with console.output("-") as write:
            write(made.csv())
    elif as_json:
        console.print_json(made.document())
    else:
        _print_report(made, spans["late_after"])
    if made.fault is not None:
        raise Unavailable(f"Not all could be compared yet: {made.fault} Run it again later.")


def _span(option: str, raw: str) -> timedelta:
    from callrail_relay.bootstrap.context import read_duration

    try:
        return read_duration(raw)
    except ValueError as error:
        raise UsageError(f"{option} does not understand {raw!r}; write 60s, 15m or 2h.") from error


MOST_LINES = 50


def _print_report(report: "ShadowReport", late_after: timedelta) -> None:
    """The totals in sentences, then a line for each text that didn't come out right."""
    from callrail_relay.cli.render import local, shortened
    from callrail_relay.sentences import span

    late = span(late_after.total_seconds())
    echo(totals(report, "a minute" if late == "1 minute" else late))
    requests = report.requests
    if requests["refused"]:
        echo(f"The old URL rejected {plural(requests['refused'], 'request')}: is its Zap on?")
    if requests["unknown"]:
        echo(
            f"{plural(requests['unknown'], 'request')} may not have got to the old URL, which gave no answer."
        )
    if requests["waiting"]:
        echo(f"{plural(requests['waiting'], 'request')} not passed on: the old URL can't be reached.")
    wrong = [one for one in report.texts if one.findings or one.text.would_hold]
    for one in wrong[:MOST_LINES]:
        words = [finding.value.replace("_", " ") for finding in one.findings]
        words += [f"would hold: {', '.join(one.text.would_hold)}"] if one.text.would_hold else []
        echo(f"{local(one.text.received_at)}  {one.text.recipient or '-':<12}  {'; '.join(words)}")
        echo(f"    {shortened(one.text.text)}")
    if len(wrong) > MOST_LINES:
        echo(f"{len(wrong) - MOST_LINES:,} more: see --csv.")


def totals(report: "ShadowReport", late: str) -> str:
    """What an owner wants to know, such as "412 texts in 6 days. The Zap lost 3. The relay would hold 2."."""
    counts = report.counts
    if not counts["texts"]:
        return "No texts came in shadow mode in that time."
    days = max(1, round((report.until - (report.since or report.until)) / timedelta(days=1)))
    said = {
        "lost": counts["missing"],
        "doubled": counts["doubled"],
        "cut": counts["cut"],
        "swapped the order of": counts["out_of_order"],
        "texted in spite of an opt-out": counts["to_opted_out"],
    }
    parts = [f"{verb} {count:,}" for verb, count in said.items() if count]
    if counts["late"]:
        parts.append(f"sent {counts['late']:,} more than {late} late")
    did = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)
    if not did and counts["sent"]:
        did = "made no mistake" if counts["sent"] == counts["texts"] else "sent the others as they came"
    zap = f"The Zap {did}." if did else "What the Zap did isn't known yet."
    pending = f" CallRail doesn't show {counts['pending']:,} yet." if counts["pending"] else ""
    unknown = counts["texts"] - counts["sent"] - counts["missing"] - counts["pending"]
    pending += f" {unknown:,} can't be compared." if unknown and did else ""
    held = f"The relay would have held {counts['would_hold'] or 'none'}."
    return f"{plural(counts['texts'], 'text')} in {plural(days, 'day')}. {zap}{pending} {held}"


@command(app, "end")
async def end(yes: Yes = False, config: Config = None, as_json: Json = False) -> None:
    """
    Take over: from now on, the relay sends what comes in.

    Requests that came before belong to the old URL. Texts that certainly never
    got there are put on hold, so you can still send them.

    Example:
    $ callrail-relay shadow end
    """
    async with console.opened_relay(config) as relay:
        mode = switch(relay)
        if (await mode.read()).is_on and not confirmed("From now on the relay sends. Go on?", yes=yes):
            say("Nothing was changed: the relay stays in shadow mode.")
            return
        held = await mode.end()
        shadow = await mode.read()
    words = f"{shadow_sentence(shadow)} Turn the old Zap off now; `callrail-relay shadow resume` goes back."
    if held:
        words += (
            f" {plural(held, 'text')} never got to the old URL: on hold, see `messages list --status held`."
        )
    show(shadow.document() | {"held": held}, words, as_json=as_json)


@command(app, "resume")
async def resume(yes: Yes = False, config: Config = None, as_json: Json = False) -> None:
    """
    Go back to shadow mode, with the same old URL.

    What came before is still sent by the relay.

    Example:
    $ callrail-relay shadow resume
    """
    async with console.opened_relay(config) as relay:
        mode = switch(relay)
        known = await mode.read()
        question = "From now on the old URL gets each request, and its Zap must be on. Go on?"
        if not known.is_on and known.forward_to is not None and not confirmed(question, yes=yes):
            say("Nothing was changed: the relay stays live.")
            return
        shadow = await mode.resume()
    show(shadow.document(), shadow_sentence(shadow), as_json=as_json)
