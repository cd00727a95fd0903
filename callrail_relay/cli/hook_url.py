"""``hook-url``: the URL for IF3."""

from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli.console import Config, Json, command, echo, say
from callrail_relay.domain.public_url import BadPublicUrl, read_public_url
from callrail_relay.errors import UsageError

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext

NO_PUBLIC_ADDRESS = (
    "The URL below works on this computer only. IF3 needs a public https address that leads here, from a "
    "tunnel or a reverse proxy. Set it with `callrail-relay configure --public-url https://...`, then run "
    "`callrail-relay hook-url`."
)


def why_not_for_if3(public_url: str | None) -> str | None:
    """Return why IF3 can't use a URL with this public address, and what to do; None when it can."""
    if public_url is None:
        return NO_PUBLIC_ADDRESS
    try:
        read_public_url(public_url)
    except BadPublicUrl as error:
        return (
            f"IF3 can't use the URL below: server.public_url can't be right. {error} Set it with "
            "`callrail-relay configure --public-url https://...`, then run `callrail-relay hook-url`."
        )
    return None


@command
async def hook_url(
    rotate: Annotated[
        bool,
        typer.Option("--rotate", help="Make a new URL first; the old one works for 24 more hours."),
    ] = False,
    now: Annotated[
        bool,
        typer.Option("--now", help="With --rotate: end the old URLs now, if others know them."),
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> int:
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
    from callrail_relay.cli.console import print_json
    from callrail_relay.cli.render import local

    if now and not rotate:
        raise UsageError("--now goes with --rotate: `callrail-relay hook-url --rotate --now`.")
    context = load_context(config)
    if rotate:
        rotation = await credentials.rotate_hook_token(context, at_once=now)
        token = rotation.token
        say(f"The new webhook secret is in the {rotation.place}.")
        if rotation.former_until is None:
            say(
                "The former URLs have ended: a relay that runs refuses them from now on. IF3's texts are lost"
            )
            say("until it has this URL, so paste it into IF3 now.")
        else:
            say(
                f"The former URL works until {local(rotation.former_until)}; paste this one into IF3 by then."
            )
        await _say_who_else(context)
    else:
        token = await credentials.require_hook_token(context)
    if why := why_not_for_if3(context.settings.server.public_url):
        say(why)
    url = credentials.hook_url(context.settings, token)
    print_json({"url": url}) if as_json else echo(url)
    return 0


async def _say_who_else(context: "AppContext") -> None:
    """Name those besides IF3 who know the former secret, and need the new one."""
    from callrail_relay.bootstrap.credentials import find_signing_keys

    if await find_signing_keys(context) is not None:
        say("CallRail's webhooks use this secret as well: run `callrail-relay configure --webhooks`.")
    if not context.settings.database.url.startswith("sqlite"):
        say("Every other computer that runs this relay needs the new secret as well.")
