"""The tunnels that give the relay a public address: each program's arguments, and what its output means."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

LOST = (
    "The tunnel's temporary address has changed, so IF3 posts to one that has ended. Run `callrail-relay "
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
    """One kind of tunnel. A remedy can show the fields of the tunnel, and {found}, what was matched."""

    get: str  # where the program is from
    remedies: Mapping[str, str]  # what a pattern in the program's words means, and what to do
    arguments: Callable[[Tunnel, str, bool], list[str]] | None = None  # None: it keeps itself up
    before: Callable[[Tunnel], Sequence[list[str]]] = (
        lambda _: ()
    )  # commands to run first, as often as wanted
    address: str = "(?!)"  # a pattern of the line with a temporary address
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
        remedies={
            r"(?s)Funnel .*?(https://login\.tailscale\.com/\S+)": (
                "Funnel isn't allowed for this computer. Open {found}, allow it, then run this again."
            ),
            "(?i)NeedsLogin|logged out": "Tailscale isn't signed in. Run `tailscale up`.",
            '"BackendState": ?"Stopped"': "Tailscale is switched off. Run `tailscale up`.",
            "(?i)local tailscaled|is tailscale running": "Tailscale isn't running. Start it, then try again.",
            "(?i)access denied|operator|sudo": (
                "Only root may change Tailscale here. Run `sudo tailscale set --operator=$USER` once."
            ),
            "(?i)shields-up": "Tailscale is closed to others. Run `tailscale set --shields-up=false`.",
            "(?i)funnel": (
                "Tailscale refuses Funnel. In its admin console, turn on MagicDNS and HTTPS, and add the "
                "node attribute `funnel` to the access controls."
            ),
        },
    ),
    Kind.CLOUDFLARED: Way(
        get="https://github.com/cloudflare/cloudflared/releases, and sign in with `cloudflared tunnel login`",
        arguments=_cloudflared,
        before=lambda tunnel: (
            ["tunnel", "create", tunnel.target],
            ["tunnel", "route", "dns", tunnel.target, tunnel.host],
        ),
        address=r"(https://(?!api\.)[\w-]+\.trycloudflare\.com)",
        token="TUNNEL_TOKEN",  # noqa: S106 - a name
        remedies={
            "(?i)locating origin cert|specify origincert": (
                "cloudflared isn't signed in. Run `cloudflared tunnel login`, then run this again."
            ),
            "(?i)token is not valid|invalid tunnel secret|unauthorized": (
                "Cloudflare doesn't accept the tunnel's token or credentials. Copy the token again."
            ),
            "(?i)record with that host already exists|code: 1003": (
                "Cloudflare's DNS has another entry for {host}. Remove it there, or choose another name."
            ),
            "(?i)credentials file": (
                "The credentials of the tunnel {target} aren't on this computer. Choose another --name."
            ),
            "(?i)429 too many|error code: 1015": (
                "Cloudflare has no temporary address to give now. Wait some minutes, then run this again."
            ),
            "(?i)no such host|dial tcp|i/o timeout|failed to dial": (
                "cloudflared can't reach Cloudflare. Check the network, and the firewall for port 7844."
            ),
        },
    ),
    Kind.NGROK: Way(
        get="https://ngrok.com/download, and sign in with `ngrok config add-authtoken`",
        arguments=_ngrok,
        address=r'msg="started tunnel".* url=(https://\S+)',
        token="NGROK_AUTHTOKEN",  # noqa: S106 - a name
        remedies={
            r"ERR_NGROK_(4018|10[567])\b": (
                "ngrok isn't signed in. Run `ngrok config add-authtoken` with the token from "
                "https://dashboard.ngrok.com."
            ),
            r"ERR_NGROK_108\b": (
                "ngrok runs elsewhere for your account, perhaps on an old computer. Stop that one; if it is "
                "this relay's, run `callrail-relay expose --off` first."
            ),
            r"ERR_NGROK_334\b": "Another ngrok has {host}, perhaps on an old computer. Stop that one.",
            r"ERR_NGROK_3(1[49]|2\d)\b": (
                "{host} isn't a domain of your ngrok account. See https://dashboard.ngrok.com/domains."
            ),
            r"(ERR_NGROK_\d+)": "ngrok refused. See https://ngrok.com/docs/errors/{found}.",
        },
    ),
    Kind.SSH: Way(
        get="your system, as OpenSSH's client",
        arguments=_ssh,
        remedies={
            "HOST IDENTIFICATION HAS CHANGED": (
                "The host key of {target} has changed, so another computer may be answering. Ask the person "
                "who runs it; if that's right, take the old key out of ~/.ssh/known_hosts."
            ),
            "Host key verification failed": (
                "The host key of {target} isn't known here. Run `ssh {target}` once, as the user that runs "
                "the relay, and compare the fingerprint."
            ),
            "Permission denied|Too many authentication failures": (
                "{target} doesn't accept this computer's SSH key. Add the public key to its authorized_keys. "
                "The key must have no passphrase: a service can't type one."
            ),
            "remote port forwarding failed": (
                "{target} doesn't give port {remote_port}: a cut connection or another program holds it, or "
                "this key may not use it. Wait some minutes, or choose another --remote-port."
            ),
            "Could not resolve hostname": "DNS doesn't know the host of {target}. Check the spelling.",
            "(?i)(connection (refused|closed|reset)|timed out|timeout|no route|unreachable|not responding"
            "|broken pipe|closed by remote host)": (
                "The SSH connection to {target} broke or can't be made ({found}). Check that server."
            ),
        },
    ),
}


def find_address(kind: Kind, lines: Sequence[str]) -> str | None:
    """The newest temporary address in what the program printed."""
    found = (re.search(WAYS[kind].address, line) for line in reversed(lines))
    return next((match[1] for match in found if match), None)


def explain(tunnel: Tunnel, lines: Sequence[str]) -> str:
    """Why the program ended or failed, and what to do, by what it printed."""
    words = "\n".join(lines[-20:])
    for pattern, remedy in WAYS[tunnel.kind].remedies.items():
        if match := re.search(pattern, words):
            found = match[1] if match.lastindex else ""
            port, target, host = tunnel.remote_port, tunnel.target, tunnel.host
            return remedy.format(found=found, remote_port=port, target=target, host=host)
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"{tunnel.kind} ended; the last that it said is: {last[:200]}"
