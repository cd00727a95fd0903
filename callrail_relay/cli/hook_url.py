"""
``hook-url``: the URL for IF3.
"""

from typing import Annotated

import typer

from callrail_relay.cli.options import Config, Json
from callrail_relay.cli.running import command, say

NO_PUBLIC_ADDRESS = (
    "The URL below is for this machine only: IF3 needs a public https address that leads here, by a tunnel "
    "or a reverse proxy. Give it with `callrail-relay configure --public-url https://...`, then see "
    "`callrail-relay hook-url`."
)


@command
async def hook_url(
    rotate: Annotated[
        bool,
        typer.Option("--rotate", help="Make a new secret first; the former URL works for another 24 hours."),
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Print the URL to paste into IF3: Team Dashboard > Settings > Messaging > "Outbound Text Webhook".

    The URL holds the secret that lets texts in: treat it like a password.

    \b
    Example:
      $ callrail-relay hook-url
      $ callrail-relay hook-url --rotate
    """
    from callrail_relay.bootstrap import tokens
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.cli.documents import print_json
    from callrail_relay.cli.render import local

    installation = find_installation(config)
    if rotate:
        rotation = await tokens.rotate_hook_token(installation)
        token = rotation.token
        say(f"The new webhook secret is in the {rotation.place}.")
        say(f"The former URL works until {local(rotation.former_until)}; paste this one into IF3 by then.")
    else:
        token = await tokens.require_hook_token(installation)
    if installation.settings.server.public_url is None:
        say(NO_PUBLIC_ADDRESS)
    url = tokens.hook_url(installation.settings, token)
    print_json({"url": url}) if as_json else typer.echo(url)
    return 0
