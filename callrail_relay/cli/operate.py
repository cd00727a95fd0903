"""Commands that run a relay: ``pause``, ``resume``, ``doctor``, ``dashboard``, ``alerts``, ``database``."""

from typing import Annotated

import typer

from callrail_relay.cli.console import Config, Json, command, echo, say
from callrail_relay.errors import Unavailable

Account = Annotated[str | None, typer.Option("--account", metavar="ID", help="One account; all by default.")]


@command
async def pause(
    account: Account = None,
    reason: Annotated[str, typer.Option("--reason", help="Shown wherever the pause is.")] = "A person "
    "paused it.",
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Accept and keep texts, and send none until `resume`.

    \b
    Example:
      $ callrail-relay pause --reason "The office is closed today."
    """
    from callrail_relay.bootstrap.context import find_installation
    from callrail_relay.bootstrap.wiring import open_relay

    async with open_relay(find_installation(config)) as relay:
        ids = await relay.operations.pause(account, reason)
    _show("Paused", ids, as_json=as_json)
    return 0


@command
async def resume(account: Account = None, config: Config = None, as_json: Json = False) -> int:
    """
    Send again after a pause, whoever or whatever paused it.

    \b
    Example:
      $ callrail-relay resume
    """
    from callrail_relay.bootstrap.context import find_installation
    from callrail_relay.bootstrap.wiring import open_relay

    async with open_relay(find_installation(config)) as relay:
        ids = await relay.operations.resume(account)
    _show("Resumed", ids, as_json=as_json)
    return 0


def _show(done: str, ids: list[str], *, as_json: bool) -> None:
    from callrail_relay.cli.console import print_json

    if as_json:
        print_json(ids)
        return
    echo(f"{done}: {', '.join(ids)}." if ids else "There is no account yet; run `callrail-relay configure`.")


alerts_app = typer.Typer(
    no_args_is_help=True, help="Try the ways by which you are told when something is wrong."
)


@alerts_app.command("test")
@command
async def try_channels(config: Config = None, as_json: Json = False) -> int:
    """
    Send a test alert on every channel of alerts.urls, and say which took it.

    Ends with 3 where no channel is set, and with 8 where one did not take it.

    \b
    Example:
      $ callrail-relay alerts test
    """
    from callrail_relay.bootstrap.context import find_installation
    from callrail_relay.bootstrap.wiring import alert_channels
    from callrail_relay.cli.console import print_json
    from callrail_relay.domain.alerts import Level

    channels = alert_channels(find_installation(config))
    try:
        failed = await channels.tell(
            "callrail-relay: a test",
            "This is a test of callrail-relay. Alerts come this way when something is wrong.",
            Level.WARNING,
        )
    except Unavailable:
        failed = channels.names
    if as_json:
        print_json([{"channel": name, "delivered": name not in failed} for name in channels.names])
    else:
        for name in channels.names:
            echo(f"{'failed' if name in failed else 'sent':<7} {name}")
    if failed:
        raise Unavailable(f"{', '.join(failed)} did not take the alert; check the address and the network.")
    return 0


@command
async def dashboard(config: Config = None, as_json: Json = False) -> int:
    """
    Print a new link to the dashboard of the relay that runs on this machine.

    The link is good for one browser, and for ten minutes. Run this as the user that runs `serve`.

    \b
    Example:
      $ callrail-relay dashboard
    """
    from callrail_relay.bootstrap.context import find_installation
    from callrail_relay.bootstrap.dashboard_access import ask_for_link
    from callrail_relay.cli.console import print_json

    link = await ask_for_link(find_installation(config))
    say("Good for one browser, and for ten minutes:")
    print_json({"url": link}) if as_json else echo(link)
    return 0


@command
async def doctor(config: Config = None, as_json: Json = False) -> int:
    """
    Check your setup, and show how to fix problems.

    It wants a relay to be running. Nothing is sent. The exit code is that of the first check that failed.

    \b
    Example:
      $ callrail-relay doctor
      $ callrail-relay doctor --json
    """
    from callrail_relay.bootstrap.diagnosis import diagnose
    from callrail_relay.cli.console import print_json
    from callrail_relay.cli.render import print_health

    report = await diagnose(config)
    print_json(report.document()) if as_json else print_health(report)
    return report.exit_code


database_app = typer.Typer(no_args_is_help=True, help="Move what is stored to another database.")


@database_app.command("copy")
@command
async def copy(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="The store to copy, such as sqlite:///relay.db.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TO", help="The empty database, such as postgresql://relay@db.example.com/relay."
        ),
    ],
    config: Config = None,  # noqa: ARG001 - every command takes it; both stores are named here
    as_json: Json = False,
) -> int:
    """
    Copy a store into an empty database, from SQLite to PostgreSQL or back.

    Stop every `serve` on both first, and let `send` and `replay` finish. FROM stays as it is. If the copy is
    interrupted, nothing is in TO: give the command again. Ends with 4 while a `serve`, `send` or `replay`
    runs on either, and if TO is not empty. None of them starts meanwhile.

    \b
    Example:
      $ callrail-relay database copy sqlite:///relay.db postgresql://relay@db.example.com/relay
    """
    from contextlib import ExitStack

    from callrail_relay.bootstrap.copying import copy_database
    from callrail_relay.cli.console import print_json, progress

    with ExitStack() as stack:
        copied = await copy_database(
            source, target, lambda rows: stack.enter_context(progress("Copying", rows))
        )
    if as_json:
        print_json({"tables": [{"table": table, "copied": rows} for table, rows in copied.items()]})
    else:
        for table, rows in copied.items():
            echo(f"{table:<20} {rows:>10}")
    return 0
