"""Commands that run a relay: status, checks, pausing, links and URLs, alerts, the database."""

import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import typer

from callrail_relay.cli import console
from callrail_relay.cli.console import command, given, load_context, require_yes, say, sentence, show
from callrail_relay.domain.public_url import read_public_url
from callrail_relay.errors import RelayError, SecretError, SettingsError, Unavailable, UsageError
from callrail_relay.sentences import local

if TYPE_CHECKING:
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.service.operations import StatusReport


async def status(watch: bool = False) -> int:
    from callrail_relay.cli.render import print_status, watch_status
    from callrail_relay.domain.health import CheckResult, Condition

    async with console.opened_relay() as relay:
        read = partial(read_status, relay)
        if watch:
            async with console.stop_signal() as stopped:
                await watch_status(read, stopped)
            return 0
        report, exit_code = await read(), 0
        try:
            await relay.store.write_probe()
        except Unavailable as error:
            failed = CheckResult(name="the database", condition=Condition.FAILED, detail=str(error))
            report = replace(report, facts=replace(report.facts, failed_checks=[failed]))
            exit_code = error.exit_code
    console.print_json(report.document()) if given.as_json else print_status(report)
    return exit_code


async def read_status(relay: "Relay") -> "StatusReport":
    """Return the status; with a running relay, including the last check of the public URL, or a new one."""
    report = await relay.operations.status()
    if report.facts.running:
        with contextlib.suppress(RelayError):  # `seen` has the failure, too
            await relay.public_address.recent()
    return replace(report, facts=relay.completed(report.facts))


async def pause(account: str | None = None, reason: str = "A person paused it.") -> None:
    async with console.opened_relay() as relay:
        ids = await relay.operations.pause(account, reason)
    show(ids, _done("Paused", ids))


async def resume(account: str | None = None) -> None:
    async with console.opened_relay() as relay:
        ids = await relay.operations.resume(account)
    show(ids, _done("Resumed", ids))


def _done(what: str, ids: list[str]) -> str:
    return f"{what}: {', '.join(ids)}." if ids else "There is no account yet; run `callrail-relay configure`."


alerts_app = typer.Typer(no_args_is_help=True, help="Test your alerts.")


@command(alerts_app, "alerts test")
async def try_channels() -> None:
    from callrail_relay.bootstrap.wiring import try_alerts

    tried, failed = await try_alerts(load_context())
    document = [{"channel": name, "delivered": name not in failed} for name in tried.names]
    lines = [f"{'failed' if name in failed else 'sent':<7} {name}" for name in tried.names]
    show(document, "\n".join(lines))
    if failed:
        raise Unavailable(sentence("alert_failed", names=", ".join(failed)))


async def dashboard(reset: bool = False, yes: bool = False) -> None:
    from callrail_relay.bootstrap.credentials import ask_for_link

    if reset:
        require_yes(sentence("ask_reset"), yes=yes)
    link, shown = None, ""
    try:
        link = shown = await ask_for_link(load_context(), only=reset)
    except Unavailable as error:
        if not reset:
            raise
        shown = str(error)
    if reset:  # after the links ended, so that none creates another person
        async with console.opened_relay() as relay:
            await relay.people.remove()
        say(sentence("reset"))
    if link is not None:
        say(sentence("link_good"))
    show({"url": link}, shown)


async def doctor() -> int:
    from callrail_relay.bootstrap.diagnosis import diagnose
    from callrail_relay.cli.render import print_health

    report = await diagnose(given.config)
    console.print_json(report.document()) if given.as_json else print_health(report)
    return report.exit_code


database_app = typer.Typer(no_args_is_help=True, help="Copy a database.")


@command(database_app, "database copy")
async def copy(source: str, target: str) -> None:
    with console.interruptible(), contextlib.ExitStack() as stack:
        from callrail_relay.bootstrap.wiring import copy_database

        copied = copy_database(
            source, target, lambda rows: stack.enter_context(console.progress("Copying", rows))
        )
    document = {"tables": [{"table": table, "copied": rows} for table, rows in copied.items()]}
    lines = [f"{table:<20} {rows:>10}" for table, rows in copied.items()]
    show(document, "\n".join(lines))


def why_not_for_if3(public_url: str | None) -> str | None:
    """Return why IF3 can't use a URL with this public address, and what to do; None if it can."""
    if public_url is None:
        return sentence("local_url")
    try:
        read_public_url(public_url)
    except SettingsError as error:
        return sentence("bad_url", error=error)
    return None


async def hook_url(rotate: bool = False, now: bool = False) -> None:
    from callrail_relay.bootstrap import credentials

    if now and not rotate:
        raise UsageError(sentence("now_alone"))
    context = load_context()
    if rotate:
        token, place, until = await credentials.rotate_hook_token(context, at_once=now)
        say(sentence("new_secret", place=place))
        say(sentence("former_works", until=local(until)) if until else sentence("former_ended"))
        # Others besides IF3 who know the former secret.
        if (await credentials.find_signing_keys(context))[0]:
            say(sentence("webhooks_secret"))
        if context.store_file is None:
            say(sentence("other_computers"))
    else:
        try:
            token = await credentials.require_hook_token(context)
        except SecretError as error:
            if context.routes.account_ids:
                raise
            raise SettingsError(sentence("nothing_set_up")) from error
    if why := why_not_for_if3(context.settings.server.public_url):
        say(why)
    url = credentials.hook_url(context.settings, token)
    show({"url": url}, url)
