"""``dashboard``: a new link to the dashboard of the relay that runs."""

from callrail_relay.cli.console import command, echo, say
from callrail_relay.cli.options import Config, Json


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
    from callrail_relay.cli.documents import print_json

    link = await ask_for_link(find_installation(config))
    say("Good for one browser, and for ten minutes:")
    print_json({"url": link}) if as_json else echo(link)
    return 0
