"""``alerts``: whether the owner can be told."""

import typer

from callrail_relay.cli.console import command, echo
from callrail_relay.cli.options import Config, Json
from callrail_relay.errors import Unavailable

app = typer.Typer(no_args_is_help=True, help="Try the ways by which you are told when something is wrong.")


@app.command("test")
@command
async def try_channels(config: Config = None, as_json: Json = False) -> int:
    """
    Send a test alert on every channel of alerts.urls, and say which took it.

    Ends with 3 where no channel is set, and with 8 where one did not take it.

    \b
    Example:
      $ callrail-relay alerts test
    """
    from callrail_relay.bootstrap.alerts import alert_channels
    from callrail_relay.bootstrap.context import find_installation
    from callrail_relay.cli.documents import print_json
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
