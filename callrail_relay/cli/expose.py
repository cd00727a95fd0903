"""``expose``: the relay's public address, through a tunnel."""

import re
from typing import TYPE_CHECKING, Any

from callrail_relay.cli.console import load_context, say, show
from callrail_relay.domain.public_url import BadPublicUrl, read_public_url
from callrail_relay.domain.tunnels import Kind
from callrail_relay.errors import SettingsError, Unavailable, UsageError

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext
    from callrail_relay.domain.tunnels import Tunnel


_TAILSCALE_PORTS = (443, 8443, 10000)


async def expose(
    way: Kind | None = None,
    target: str | None = None,
    *,
    public_url: str | None = None,
    remote_port: int | None = None,
    name: str = "callrail-relay",
    for_now: bool = False,
    check: bool = False,
    off: bool = False,
) -> int:
    from callrail_relay.bootstrap import tunnels

    if (way is not None) + check + off != 1:
        raise UsageError("Name one of tailscale, cloudflared, ngrok and ssh, or give --check or --off.")
    context = load_context()
    if check:
        found = await tunnels.check(context)
        show(found, found["detail"])
        return 0 if found["reached"] else Unavailable.exit_code
    if off:
        kind = await tunnels.turn_off(context)
        words = f"The {kind} tunnel is taken down. IF3 can't reach the relay until you give it another URL."
        show({"kind": kind}, words)
        return 0
    tunnel = read_tunnel(Kind(way or ""), target, public_url, remote_port, name, for_now=for_now)
    exposed, words = await bring_up(context, tunnel, for_now=for_now)
    show(exposed, f"{words} Next: paste the URL of `callrail-relay hook-url` into IF3.")
    return 0


async def bring_up(
    context: "AppContext", tunnel: "Tunnel", *, for_now: bool = False
) -> tuple[dict[str, Any], str]:
    """Have the running relay bring *tunnel* up; returns the document of it and a sentence."""
    from callrail_relay.bootstrap import tunnels
    from callrail_relay.bootstrap.credentials import find_signing_keys

    exposed = await tunnels.expose(context, tunnel, for_now=for_now, say=say)
    say(exposed["detail"])
    if (await find_signing_keys(context))[0]:
        say("CallRail's webhooks go to the former address: run `callrail-relay configure --webhooks`.")
    end = " It can end at any time." if for_now else ""
    return exposed, f"The public address is {exposed['public_url']}, and the relay keeps it up.{end}"


def read_tunnel(
    kind: Kind,
    target: str | None,
    public_url: str | None = None,
    port: int | None = None,
    name: str = "callrail-relay",
    *,
    for_now: bool = False,
) -> "Tunnel":
    """What the options say, if it can be right. Raises UsageError, SettingsError or Unavailable."""
    from callrail_relay.bootstrap.tunnels import find_program
    from callrail_relay.domain.tunnels import Tunnel

    by_name = kind in (Kind.CLOUDFLARED, Kind.NGROK)
    if by_name and target is not None:
        public_url = public_url or f"https://{target.removeprefix('https://')}"
    try:
        url = None if public_url is None else read_public_url(public_url, for_now=for_now)
    except BadPublicUrl as error:
        raise SettingsError(f"The public address can't be right. {error}") from error
    if kind is Kind.TAILSCALE and (target or url or (port := port or 443) not in _TAILSCALE_PORTS):
        raise UsageError(
            "Tailscale chooses the address itself, and makes only the ports 443, 8443 and 10000 public. "
            "Leave out TARGET and --public-url, and choose one of these with --remote-port."
        )
    if kind is Kind.SSH and (target is None or url is None or not re.fullmatch(r"[^\s-]\S*", target)):
        raise UsageError(
            "Name the server, and the address that leads to its port: `callrail-relay expose ssh USER@HOST "
            "--public-url https://...`"
        )
    if by_name and url is None and not for_now:
        raise UsageError(
            f"Name your host name, as in `callrail-relay expose {kind} texts.example.com`. For a temporary "
            "address, give --for-now."
        )
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError("--name takes the name of a tunnel: letters, digits, dots and dashes.")
    targets = {Kind.SSH: target or "", Kind.CLOUDFLARED: name if url else ""}
    port = port or {Kind.SSH: 8787}.get(kind, 0)
    return Tunnel(
        kind=kind, program=find_program(kind), address=url, target=targets.get(kind, ""), remote_port=port
    )
