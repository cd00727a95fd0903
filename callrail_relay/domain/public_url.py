"""The public URL: which ones IF3 can reach, what one answered, and what that proves."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum, auto
from urllib.parse import urlsplit

from callrail_relay.domain import read_table
from callrail_relay.domain.printable import printable_line
from callrail_relay.errors import SettingsError

EXAMPLE = "https://texts.example.com"

_HOST = re.compile(r"(?!-)[\w-]{1,63}(?<!-)(\.(?!-)[\w-]{1,63}(?<!-))*")
_OWN_NETWORK = frozenset({  # last labels that no public DNS has
    "localhost", "localdomain", "local", "lan", "home", "internal", "intranet", "private", "corp", "arpa"
})  # fmt: skip
_NEEDED = f"IF3 needs an address that the internet can reach, from a tunnel or a proxy, such as {EXAMPLE}"

_SENTENCES: dict[str, dict[str, str]] = read_table(__package__, "public_url")
_BY_STATUS = {**dict.fromkeys((401, 403), "login"), **dict.fromkeys((502, 503, 504, 530), "proxy")}
_PROOF = re.compile(rb"[0-9a-f]{64}")
_TAILSCALE = ipaddress.ip_network("100.64.0.0/10")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _invalid(why: str) -> SettingsError:
    return SettingsError(f"The public URL isn't valid. {why}")


def read_public_url(text: str, *, for_now: bool = False) -> str:
    """
    Return *text* as the relay keeps it; *for_now* allows http on loopback. Raises SettingsError.

    The error says why, and shows the right form. It leaves out the path, which may be secret.
    """
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise _invalid(f"It isn't a URL. Write it like this: {EXAMPLE}") from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\\]", url):
        raise _invalid(f"It isn't a web address. Write it like this: {EXAMPLE}")
    in_brackets = f"[{host}]" if ":" in host else host
    right = f"https://{in_brackets}{f':{port}' if port and parts.scheme == 'https' else ''}"
    address, shown = read_address(host), printable_line(host[:120])
    if for_now and parts.scheme == "http" and (address.is_loopback if address else host == "localhost"):
        return f"http://{in_brackets}{f':{port}' if port else ''}"
    if address is None and (not _HOST.fullmatch(host) or host.rpartition(".")[2].isdigit()):
        raise _invalid(f"{shown} isn't a host name. Write the URL like this: {EXAMPLE}")
    if address.is_loopback if address else host == "localhost" or host.endswith(".localhost"):
        raise _invalid(f"{host} leads only to this computer. {_NEEDED}")
    if not is_public(address) if address else "." not in host or host.rpartition(".")[2] in _OWN_NETWORK:
        raise _invalid(f"{shown} can be reached only in your own network. {_NEEDED}")
    if parts.scheme != "https":
        raise _invalid(f"Without https anyone on the way can read the messages. Write {right}")
    if "/hooks" in parts.path:
        raise _invalid(f"That is the webhook's own URL. Give only its beginning: {right}")
    if parts.username is not None or parts.path or "?" in url or "#" in url:
        raise _invalid(f"Give it without a path, a user name, ? or #: {right}")
    return right


def is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast


def is_tailscale(addresses: tuple[str, ...]) -> bool:
    """Whether this computer's own Tailscale answered for a name, and not public DNS."""
    return any(address is not None and address in _TAILSCALE for address in map(read_address, addresses))


def proves_nothing(addresses: tuple[str, ...]) -> str | None:
    """Return why a name with these addresses can't be tested from this computer; None if it can."""
    for address in map(read_address, addresses):
        if address is not None and address in _TAILSCALE:
            return f"this computer's own Tailscale answers for the name ({address})"
        if address is not None and not is_public(address):
            return f"the name leads to a private address here ({address})"
    return None


def read_address(host: str) -> Address | None:
    """Return an IP address; for a listener on both kinds, one of IPv4 comes as one of IPv6."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class Trouble(StrEnum):
    NO_NAME = auto()
    REFUSED = auto()
    TIME_OUT = auto()
    EXPIRED = auto()
    WRONG_NAME = auto()
    UNTRUSTED = auto()
    TLS = auto()
    PROXY = auto()
    BROKEN = auto()


class NoAnswer(Exception):
    def __init__(self, trouble: Trouble, detail: str = "", addresses: tuple[str, ...] = ()) -> None:
        super().__init__(trouble.replace("_", " "))
        self.trouble = trouble
        self.detail = detail
        self.addresses = addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes = b""
    location: str = ""
    addresses: tuple[str, ...] = ()  # of the name; none if a proxy looked it up


Fetch = Callable[[str], Awaitable[Answer]]  # gets a URL; raises NoAnswer


def proof(secret: str, nonce: str) -> str:
    """Return what only a relay with this *secret* can answer to *nonce*."""
    return hmac.new(secret.encode(), f"callrail-relay probe {nonce}".encode(), hashlib.sha256).hexdigest()


def is_proven(answer: Answer, secret: str, nonce: str) -> bool:
    return hmac.compare_digest(answer.body.strip(), proof(secret, nonce).encode())


def wrong_answer(answer: Answer, url: str, target: str) -> str:
    """Return who answers at *url* instead of the relay, which listens at *target*, and what to do."""
    status, body = answer.status, answer.body.strip()
    is_relay = status == 200 and (not body or _PROOF.fullmatch(body) is not None)
    kind = "redirect" if 300 <= status < 400 else _BY_STATUS.get(status, "relay" if is_relay else "server")
    parts = urlsplit(answer.location if kind == "redirect" else "")
    to = f" to {parts.scheme}://{parts.hostname}" if parts.hostname else ""
    return _SENTENCES["wrong_answer"][kind].format(url=url, status=status, to=to, target=target)


def no_answer(error: NoAnswer, url: str) -> str:
    detail = f" ({printable_line(error.detail[:120])})" if error.detail else ""
    words = _SENTENCES["trouble"][error.trouble]
    return words.format(host=urlsplit(url).hostname, detail=detail, url=url)
