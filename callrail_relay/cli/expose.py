"""``expose``: the relay's public address, through a tunnel."""

import re
from typing import TYPE_CHECKING, Any

from callrail_relay.cli.console import load_context, say, sentence, show
from callrail_relay.cli.operate import why_not_for_if3
from callrail_relay.domain.public_url import read_public_url
from callrail_relay.domain.tunnels import Kind, Tunnel
from callrail_relay.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext


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

    if (count := (way is not None) + check + off) != 1:
        raise UsageError(sentence("expose_one" if count else "expose_how"))
    context = load_context()
    if check:
        found = await tunnels.check(context)
        show(found, found["detail"])
        return 0 if found["reached"] else Unavailable.exit_code
    if off:
        kind = await tunnels.turn_off(context)
        show({"kind": kind}, sentence("tunnel_down", kind=kind))
        return 0
    tunnel = read_tunnel(Kind(way or ""), target, public_url, remote_port, name, for_now=for_now)
    exposed, words = await bring_up(context, tunnel, for_now=for_now)
    if why_not_for_if3(exposed["public_url"]) is None:
        words = f"{words} {sentence('paste_hook_url')}"
    show(exposed, words)
    return 0


async def bring_up(
    context: "AppContext", tunnel: Tunnel, *, for_now: bool = False
) -> tuple[dict[str, Any], str]:
    """Have the running relay bring *tunnel* up; return its document and a sentence."""
    from callrail_relay.bootstrap import tunnels
    from callrail_relay.bootstrap.credentials import find_signing_keys

    exposed = await tunnels.expose(context, tunnel, for_now=for_now, say=say)
    say(exposed["detail"])
    if (await find_signing_keys(context))[0]:
        say(sentence("webhooks_address"))
    end = sentence("tunnel_ends") if for_now else ""
    return exposed, sentence("address_is", url=exposed["public_url"], end=end)


def read_tunnel(
    kind: Kind,
    target: str | None,
    public_url: str | None = None,
    port: int | None = None,
    name: str = "callrail-relay",
    *,
    for_now: bool = False,
) -> Tunnel:
    """Return what the options say, if it can be right. Raises UsageError, SettingsError or Unavailable."""
    from callrail_relay.bootstrap.tunnels import find_program

    by_name = kind in (Kind.CLOUDFLARED, Kind.NGROK)
    if by_name and target is not None:
        public_url = public_url or f"https://{target.removeprefix('https://')}"
    url = None if public_url is None else read_public_url(public_url, for_now=for_now)
    if kind is Kind.TAILSCALE and (target or url or (port := port or 443) not in _TAILSCALE_PORTS):
        raise UsageError(sentence("tailscale_ports"))
    if kind is Kind.SSH and (target is None or url is None or not re.fullmatch(r"[^\s-]\S*", target)):
        raise UsageError(sentence("ssh_server"))
    if by_name and url is None and not for_now:
        raise UsageError(sentence("host_name", kind=kind))
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(sentence("tunnel_name"))
    targets = {Kind.SSH: target or "", Kind.CLOUDFLARED: name if url else ""}
    port = port or {Kind.SSH: 8787}.get(kind, 0)
    return Tunnel(
        kind=kind, program=find_program(kind), address=url, target=targets.get(kind, ""), remote_port=port
    )
