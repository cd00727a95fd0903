"""The tunnels that give the relay a public address: each program's arguments, and what its output means."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from callrail_relay.domain import read_table

LOST = (
    "The tunnel's temporary address has changed, so IF3 still posts to the old one. Run `callrail-relay "
    "expose` again, and paste the new URL into IF3."
)


class Kind(StrEnum):
    TAILSCALE = "tailscale"
    CLOUDFLARED = "cloudflared"
    NGROK = "ngrok"
    SSH = "ssh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    kind: Kind
    program: str
    address: str | None = None  # None: a temporary one, which the program chooses
    target: str = ""  # USER@HOST of ssh, or the name of cloudflared's tunnel
    remote_port: int = 0  # of ssh's server, or of Tailscale

    @property
    def host(self) -> str:
        return urlsplit(self.address or "").hostname or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelState:
    """How the tunnel of a running relay is doing."""

    tunnel: Tunnel
    running: bool = False
    address: str | None = None  # that of the tunnel, or what the program says
    detail: str = ""  # why nothing can come through it, and what to do


@dataclass(frozen=True, kw_only=True)
class Way:
    """One kind of tunnel; ``tunnel_remedies.toml`` has what its program says when it fails."""

    get: str  # where the program is from
    arguments: Callable[[Tunnel, str, bool], list[str]] | None = None  # None: it keeps itself up
    before: Callable[[Tunnel], Sequence[list[str]]] = lambda _: ()  # commands to run first
    address: str = "(?!)"  # a pattern of the line with a temporary address
    connected: str | None = None  # a pattern of the line that says that it is connected; None: it never does
    token: str = ""  # the variable in which the program takes its token


def _cloudflared(tunnel: Tunnel, listener: str, has_token: bool) -> list[str]:  # noqa: FBT001 - as the others
    to_us = ["--url", listener]
    # With a token, Cloudflare's own page says where requests go.
    runs = [] if tunnel.address is None else ["run"] if has_token else ["run", *to_us, tunnel.target]
    return ["tunnel", "--no-autoupdate", *(runs or to_us)]


def _ngrok(tunnel: Tunnel, listener: str, _has_token: bool) -> list[str]:  # noqa: FBT001 - as the others
    # Its page for inspecting requests would show the webhook's secret to every user of this computer.
    words = ["http", "--inspect=false", "--log=stdout", "--log-format=logfmt"]
    return [*words, *([f"--url={tunnel.address}"] if tunnel.address else []), listener]


# Without ExitOnForwardFailure it would stay and receive nothing. A service has no agent and no terminal.
_SSH = (
    "-N -T -a -x -o BatchMode=yes -o ExitOnForwardFailure=yes -o ServerAliveInterval=15 -o "
    "ServerAliveCountMax=3 -o ConnectTimeout=15 -o IdentityAgent=none -o ControlPath=none -R"
)


def _ssh(tunnel: Tunnel, listener: str, _has_token: bool) -> list[str]:  # noqa: FBT001 - as the others
    forward = f"127.0.0.1:{tunnel.remote_port}:{listener.removeprefix('http://')}"
    return [*_SSH.split(), forward, "--", tunnel.target]


WAYS = {
    Kind.TAILSCALE: Way(
        get="https://tailscale.com/download, and sign in with `tailscale up`",
        before=lambda tunnel: (["funnel", "--bg", "--yes", f"--https={tunnel.remote_port}", tunnel.target],),
    ),
    Kind.CLOUDFLARED: Way(
        get="https://github.com/cloudflare/cloudflared/releases, and sign in with `cloudflared tunnel login`",
        arguments=_cloudflared,
        before=lambda tunnel: (
            ["tunnel", "create", tunnel.target],
            ["tunnel", "route", "dns", tunnel.target, tunnel.host],
        ),
        address=r"(https://(?!api\.)[\w-]+\.trycloudflare\.com)",
        connected=r"Registered tunnel connection|Connection \S+ registered",
        token="TUNNEL_TOKEN",  # noqa: S106 - a name
    ),
    Kind.NGROK: Way(
        get="https://ngrok.com/download, and sign in with `ngrok config add-authtoken`",
        arguments=_ngrok,
        address=r'msg="started tunnel".* url=(https://\S+)',
        connected=r'msg="started tunnel"',
        token="NGROK_AUTHTOKEN",  # noqa: S106 - a name
    ),
    Kind.SSH: Way(get="your system, as OpenSSH's client", arguments=_ssh),
}


_REMEDIES: dict[str, dict[str, str]] = read_table(__package__, "tunnel_remedies")


def find_address(kind: Kind, lines: Sequence[str]) -> str | None:
    """The newest temporary address in what the program printed."""
    found = (re.search(WAYS[kind].address, line) for line in reversed(lines))
    return next((match[1] for match in found if match), None)


def is_connected(kind: Kind, lines: Sequence[str]) -> bool | None:
    """Whether the program said that it is connected; None if it is one that never says so."""
    pattern = WAYS[kind].connected
    return None if pattern is None else any(re.search(pattern, line) for line in lines)


def explain(tunnel: Tunnel, lines: Sequence[str]) -> str:
    """Why the program ended or failed, and what to do, by what it printed."""
    words = "\n".join(lines[-20:])
    for pattern, remedy in _REMEDIES[tunnel.kind].items():
        if match := re.search(pattern, words):
            found = match[1] if match.lastindex else ""
            port, target, host = tunnel.remote_port, tunnel.target, tunnel.host
            return remedy.format(found=found, remote_port=port, target=target, host=host)
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"{tunnel.kind} ended. Its last words: {last[:200]}"
