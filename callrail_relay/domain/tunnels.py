"""Tunnels that give the relay a public address: each program's arguments, and what its output means."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
    address: str | None = None  # None: a temporary one that the program chooses
    target: str = ""  # USER@HOST for ssh, or the name of cloudflared's tunnel
    remote_port: int = 0  # of ssh's server, or of Tailscale

    @property
    def host(self) -> str:
        return urlsplit(self.address or "").hostname or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelState:
    """How the tunnel of a running relay is doing."""

    tunnel: Tunnel
    running: bool = False
    address: str | None = None  # of the tunnel, or what the program says
    detail: str = ""  # why nothing can come through it, and what to do


@dataclass(frozen=True, kw_only=True)
class Way:
    """One kind of tunnel, as in ``tunnels.toml``."""

    get: str  # where to get the program
    remedies: Mapping[str, str]  # what to do, by a pattern of the program's output
    before: Sequence[str] = ()  # what to run first
    named: str | None = None  # its arguments; None: it keeps itself up
    by_token: str | None = None  # the same if there is a token; None: that makes no difference
    temporary: str = ""
    address: str = "(?!)"  # a pattern of the line with a temporary address
    connected: str | None = None  # a pattern of the line that says it's connected; None: it never does
    token: str = ""  # the variable in which the program takes its token

    def arguments(self, tunnel: Tunnel, listener: str, *, has_token: bool) -> list[str]:
        if tunnel.address is None:
            return _filled(self.temporary, tunnel, listener)
        return _filled((has_token and self.by_token) or self.named or "", tunnel, listener)

    def commands_before(self, tunnel: Tunnel) -> list[list[str]]:
        return [_filled(words, tunnel) for words in self.before]


def _filled(words: str, tunnel: Tunnel, listener: str = "") -> list[str]:
    fields = asdict(tunnel) | {"host": tunnel.host, "listener": listener}
    fields |= {"listens_at": listener.removeprefix("http://")}
    return [word.format(**fields) for word in words.split()]


WAYS = {Kind(kind): Way(**row) for kind, row in read_table(__package__, "tunnels").items()}


def find_address(kind: Kind, lines: Sequence[str]) -> str | None:
    """Return the newest temporary address in the program's output."""
    found = (re.search(WAYS[kind].address, line) for line in reversed(lines))
    return next((match[1] for match in found if match), None)


def is_connected(kind: Kind, lines: Sequence[str]) -> bool | None:
    """Return whether the program said that it's connected; None if it never says so."""
    pattern = WAYS[kind].connected
    return None if pattern is None else any(re.search(pattern, line) for line in lines)


def explain(tunnel: Tunnel, lines: Sequence[str]) -> str:
    """Return why the program ended or failed, and what to do, by its output."""
    words = "\n".join(lines[-20:])
    for pattern, remedy in WAYS[tunnel.kind].remedies.items():
        if match := re.search(pattern, words):
            found = match[1] if match.lastindex else ""
            return remedy.format(found=found, host=tunnel.host, **asdict(tunnel))
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"{tunnel.kind} ended. Its last words: {last[:200]}"
