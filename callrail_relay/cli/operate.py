"""Commands that run a relay: status, checks, pausing, links and URLs, alerts, the database."""

import asyncio
import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli import console
from callrail_relay.cli.console import Config, Json, Yes, command, confirmed, say, sentence, show
from callrail_relay.domain.public_url import BadPublicUrl, read_public_url
from callrail_relay.errors import RelayError, Unavailable, UsageError

if TYPE_CHECKING:
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.service.operations import StatusReport

Account = Annotated[str | None, typer.Option(metavar="ID", help="One account; default: all.")]
PauseReason = Annotated[str, typer.Option(metavar="TEXT", help="Shown with the pause.")]


async def status(
    watch: Annotated[bool, typer.Option("--watch", help="Show every change until Ctrl-C.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Show sending limits, the queue and problems.

    With --watch and --json, each change is one line of JSON.

    Example:
    $ callrail-relay status
    $ callrail-relay status --watch
    """
    from callrail_relay.cli.render import print_status, watch_status
    from callrail_relay.domain.health import CheckResult, Condition

    async with console.opened_relay(config) as relay:
        read = partial(read_status, relay)
        if watch:
            async with console.stop_signal() as stopped:
                watching = asyncio.create_task(watch_status(read, relay.context.clock, as_json=as_json))
                stopping = asyncio.create_task(stopped.wait())
                await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                watching.cancel()
                # It ends by itself only if it fails; then this raises why.
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
            return 0
        report, exit_code = await read(), 0
        try:
            await relay.store.write_probe()
        except Unavailable as error:
            failed = CheckResult(name="the database", condition=Condition.FAILED, detail=str(error))
            report = replace(report, facts=replace(report.facts, failed_checks=[failed]))
            exit_code = error.exit_code
    console.print_json(report.document()) if as_json else print_status(report)
    return exit_code


async def read_status(relay: "Relay") -> "StatusReport":
    """The status; if a relay is running, with the last check of the public URL, or a new one."""
    report = await relay.operations.status()
    if report.facts.running:
        with contextlib.suppress(RelayError):  # `seen` has the failure, too
            await relay.public_address.recent()
    return replace(report, facts=replace(report.facts, public_url=relay.public_address.seen))


async def pause(
    account: Account = None,
    reason: PauseReason = "A person paused it.",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """
    Stop sending; keep accepting texts.

    Example:
    $ callrail-relay pause --reason "The office is closed today."
    """
    async with console.opened_relay(config) as relay:
        ids = await relay.operations.pause(account, reason)
    show(ids, _done("Paused", ids), as_json=as_json)


async def resume(account: Account = None, config: Config = None, as_json: Json = False) -> None:
    """
    Resume sending.

    It ends every pause, also one that the relay began by itself.

    Example:
    $ callrail-relay resume
    """
    async with console.opened_relay(config) as relay:
        ids = await relay.operations.resume(account)
    show(ids, _done("Resumed", ids), as_json=as_json)


def _done(what: str, ids: list[str]) -> str:
    return f"{what}: {', '.join(ids)}." if ids else "There is no account yet; run `callrail-relay configure`."


alerts_app = typer.Typer(no_args_is_help=True, help="Test your alerts.")


@command(alerts_app, "test")
async def try_channels(config: Config = None, as_json: Json = False) -> None:
    """
    Send a test alert to every alert channel.

    The channels are those of alerts.urls in the settings. Ends with 3 if there is
    none, and with 8 if one didn't take the alert.

    Example:
    $ callrail-relay alerts test
    """
    from callrail_relay.bootstrap.context import load_context
    from callrail_relay.bootstrap.wiring import try_alerts

    delivered = await try_alerts(load_context(config))
    document = [{"channel": name, "delivered": took} for name, took in delivered.items()]
    lines = [f"{'sent' if took else 'failed':<7} {name}" for name, took in delivered.items()]
    show(document, "\n".join(lines), as_json=as_json)
    if failed := [name for name, took in delivered.items() if not took]:
        raise Unavailable(sentence("alert_failed", names=", ".join(failed)))


async def dashboard(
    reset: Annotated[bool, typer.Option("--reset", help="Remove all people, sign out all.")] = False,
    yes: Yes = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """
    Print a sign-in link to the dashboard.

    The link works in one browser, for ten minutes. Run this on the machine and
    as the user that runs `serve`. If passwords are lost or known to others,
    --reset removes them all first, and signs out every browser.

    Example:
    $ callrail-relay dashboard
    $ callrail-relay dashboard --reset
    """
    from callrail_relay.bootstrap.context import load_context
    from callrail_relay.bootstrap.dashboard_access import ask_for_link

    question = sentence("ask_reset")
    if reset and not confirmed(question, yes=yes):
        return
    link, why = None, ""
    try:
        link = await ask_for_link(load_context(config), only=reset)
    except Unavailable as error:
        if not reset:
            raise
        why = str(error)
    if reset:  # after the links ended, so that none makes another person
        async with console.opened_relay(config) as relay:
            await relay.people.remove()
        say(sentence("reset"))
    if link is None:
        show({"url": None}, why, as_json=as_json)
        return
    say(sentence("link_good"))
    show({"url": link}, link, as_json=as_json)


async def doctor(config: Config = None, as_json: Json = False) -> int:
    """
    Check your setup and show how to fix it.

    Run it while the relay runs. It sends nothing. The exit code is that of the
    first check that failed.

    Example:
    $ callrail-relay doctor
    $ callrail-relay doctor --json
    """
    from callrail_relay.bootstrap.diagnosis import diagnose
    from callrail_relay.cli.render import print_health

    report = await diagnose(config)
    console.print_json(report.document()) if as_json else print_health(report)
    return report.exit_code


database_app = typer.Typer(no_args_is_help=True, help="Copy a database.")


@command(database_app, "copy")
async def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The database, such as sqlite:///relay.db.")],
    target: Annotated[
        str,
        typer.Argument(metavar="TO", help="The empty database to copy it to."),
    ],
    config: Config = None,  # noqa: ARG001 - every command takes it; both stores are named here
    as_json: Json = False,
) -> None:
    r"""
    Copy a database to an empty one.

    Either can be SQLite or PostgreSQL. Stop every `serve` on both first, and let
    `send` and `replay` finish. FROM isn't changed. If the copy is interrupted, TO
    stays empty: run it again.

    Example:
    $ callrail-relay database copy sqlite:///relay.db \
        postgresql://relay@db.example.com/relay
    """
    from callrail_relay.bootstrap.wiring import copy_database

    with contextlib.ExitStack() as stack:
        copied = await copy_database(
            source, target, lambda rows: stack.enter_context(console.progress("Copying", rows))
        )
    document = {"tables": [{"table": table, "copied": rows} for table, rows in copied.items()]}
    lines = [f"{table:<20} {rows:>10}" for table, rows in copied.items()]
    show(document, "\n".join(lines), as_json=as_json)


def why_not_for_if3(public_url: str | None) -> str | None:
    """Return why IF3 can't use a URL with this public address, and what to do; None when it can."""
    if public_url is None:
        return sentence("this_computer_only")
    try:
        read_public_url(public_url)
    except BadPublicUrl as error:
        return sentence("wrong_public_url", error=error)
    return None


async def hook_url(
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new URL first; the old one works for 24 more hours.")
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="With --rotate: end the old URLs now, if others know them.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """
    Print the webhook URL to paste into IF3.

    In IF3 it goes in Team Dashboard > Settings > Messaging > "Outbound Text
    Webhook". Anyone with this URL can send texts as you: treat it like a
    password.

    Example:
    $ callrail-relay hook-url
    $ callrail-relay hook-url --rotate
    $ callrail-relay hook-url --rotate --now
    """
    from callrail_relay.bootstrap import credentials
    from callrail_relay.bootstrap.context import load_context
    from callrail_relay.cli.render import local

    if now and not rotate:
        raise UsageError(sentence("now_alone"))
    context = load_context(config)
    if rotate:
        rotation = await credentials.rotate_hook_token(context, at_once=now)
        token = rotation.token
        say(sentence("new_secret", place=rotation.place))
        if rotation.former_until is None:
            say(sentence("former_ended"))
        else:
            say(sentence("former_works", until=local(rotation.former_until)))
        # Others besides IF3 who know the former secret.
        if (await credentials.find_signing_keys(context))[0]:
            say(sentence("webhooks_secret"))
        if not context.settings.database.url.startswith("sqlite"):
            say(sentence("other_computers"))
    else:
        token = await credentials.require_hook_token(context)
    if why := why_not_for_if3(context.settings.server.public_url):
        say(why)
    url = credentials.hook_url(context.settings, token)
    show({"url": url}, url, as_json=as_json)
