"""The public URL: which ones IF3 can reach at all, and what is wrong with the others."""

import ipaddress
import re
from urllib.parse import urlsplit

EXAMPLE = "https://texts.example.com"

_HOST = re.compile(r"(?!-)[\w-]{1,63}(?<!-)(\.(?!-)[\w-]{1,63}(?<!-))*")
_OWN_NETWORK = frozenset({
    "localhost", "localdomain", "local", "lan", "home", "internal", "intranet", "private", "corp", "arpa"
})  # fmt: skip
"""Last labels that no public DNS has: the names of one's own network."""

_NEEDED = f"IF3 needs an address that the internet can reach, from a tunnel or a proxy, such as {EXAMPLE}"

_TAILSCALE = ipaddress.ip_network("100.64.0.0/10")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class BadPublicUrl(ValueError):
    """A public URL that IF3 can't use. The words say why, and show the right form."""


def read_public_url(text: str) -> str:
    """
    Return *text* as the relay keeps it, without white space around it or a slash at its end.

    Raises BadPublicUrl for one that can't be right. Its words never hold a path, which may be the secret's.
    """
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise BadPublicUrl(f"It isn't a URL. Write it like this: {EXAMPLE}") from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\\]", url):
        raise BadPublicUrl(f"It isn't a web address. Write it like this: {EXAMPLE}")
    right = f"https://{_in_brackets(host)}{f':{port}' if port and parts.scheme == 'https' else ''}"
    address = _read_address(host)
    if address is None and (not _HOST.fullmatch(host) or host.rpartition(".")[2].isdigit()):
        raise BadPublicUrl(f"{_printable(host)} isn't a host name. Write the URL like this: {EXAMPLE}")
    if address.is_loopback if address else host == "localhost" or host.endswith(".localhost"):
        raise BadPublicUrl(f"{host} is this computer alone. {_NEEDED}")
    if not is_public(address) if address else "." not in host or host.rpartition(".")[2] in _OWN_NETWORK:
        raise BadPublicUrl(f"{_printable(host)} can be reached only in your own network. {_NEEDED}")
    if parts.scheme != "https":
        raise BadPublicUrl(f"Without https anyone on the way can read the messages. Write {right}")
    if "/hooks" in parts.path:
        raise BadPublicUrl(f"That is the webhook's own URL. Give only its beginning: {right}")
    if parts.username is not None or parts.path or "?" in url or "#" in url:
        raise BadPublicUrl(f"Give it without a path, a user name, ? or #: {right}")
    return right


_NEEDED = (
    "IF3 needs an address that the whole internet can reach, from a tunnel or a reverse proxy, such as "
    + EXAMPLE
)


def is_public(address: Address) -> bool:
    """Return whether *address* can be reached from the internet."""
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_global and not address.is_multicast


def proves_nothing(addresses: tuple[str, ...]) -> str | None:
    """
    Return what keeps a name with these addresses from being tried on this computer, or None.

    A name that leads into one's own network here may lead elsewhere from outside.
    """
    for address in map(_read_address, addresses):
        if address is not None and address in _TAILSCALE:
            return f"this computer's own Tailscale answers for the name ({address})"
        if address is not None and not is_public(address):
            return f"the name leads to a private address here ({address})"
    return None


def _read_address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _printable(host: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in host)[:80]
