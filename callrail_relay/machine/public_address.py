"""Asking the public URL, as the world does."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import Protocol

import httpx2

from callrail_relay.domain.public_url import Answer, NoAnswer, Trouble, is_tailscale
from callrail_relay.errors import SettingsError

CONNECT_WITHIN = 5.0
ANSWER_WITHIN = 10.0
ALL_WITHIN = 20.0
LARGEST_ANSWER = 1024
_WORLD = "https://cloudflare-dns.com/dns-query?type=A&name={}"

_CERTIFICATE = {10: Trouble.EXPIRED, 62: Trouble.WRONG_NAME, 64: Trouble.WRONG_NAME}
"""OpenSSL's numbers of what is wrong with one; 64 is of an IP address."""


class Network(Protocol):
    """How an address is reached from here."""

    @property
    def proxy(self) -> object | None: ...

    def transport(self, limits: httpx2.Limits) -> httpx2.AsyncBaseTransport: ...


async def fetch(url: str, find_network: Callable[[str], Network], *, from_outside: bool = False) -> Answer:
    """
    Return what answers a GET of *url*, without retries and redirects. Raises NoAnswer.

    *from_outside* asks the DNS of the world where this computer's own Tailscale answers for the name.
    """
    addresses: tuple[str, ...] = ()
    asked = target = httpx2.URL(url)
    try:
        network = find_network(url)
    except SettingsError as error:
        raise NoAnswer(Trouble.PROXY, "see the network check") from error
    try:
        async with asyncio.timeout(ALL_WITHIN):
            # If a proxy looks the name up, it is not known here.
            addresses = () if network.proxy else await _resolve(target)
            if from_outside and is_tailscale(addresses):
                addresses = await _ask_world(asked.host, find_network) or addresses
                target = asked.copy_with(host=addresses[0])
            timeout = httpx2.Timeout(ANSWER_WITHIN, connect=CONNECT_WITHIN)
            transport, headers = network.transport(httpx2.Limits()), {"Host": asked.netloc.decode()}
            async with (
                httpx2.AsyncClient(timeout=timeout, trust_env=False, transport=transport) as http,
                http.stream(
                    "GET", target, headers=headers, extensions={"sni_hostname": asked.host}
                ) as response,
            ):
                body = await anext(response.aiter_raw(LARGEST_ANSWER), b"")
                location = response.headers.get("location", "")
                return Answer(status=response.status_code, body=body, location=location, addresses=addresses)
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise NoAnswer(Trouble.TIME_OUT, addresses=addresses) from error
    except httpx2.ProxyError as error:
        raise NoAnswer(Trouble.PROXY, str(error)) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        trouble, detail = _trouble(error)
        if network.proxy and trouble in (Trouble.REFUSED, Trouble.NO_NAME):
            # Only the proxy itself was connected to from here.
            trouble = Trouble.PROXY
        raise NoAnswer(trouble, detail, addresses) from error


async def _resolve(url: httpx2.URL) -> tuple[str, ...]:
    find = asyncio.get_running_loop().getaddrinfo
    found = await find(url.host, url.port or 443, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _ask_world(host: str, find_network: Callable[[str], Network]) -> tuple[str, ...]:
    """The public addresses of *host* by DNS over HTTPS; none if that can't be asked."""
    with suppress(httpx2.HTTPError, OSError, SettingsError, ValueError, KeyError, TypeError):
        transport = find_network(_WORLD).transport(httpx2.Limits())
        async with httpx2.AsyncClient(timeout=CONNECT_WITHIN, trust_env=False, transport=transport) as http:
            answer = await http.get(_WORLD.format(host), headers={"Accept": "application/dns-json"})
            found = answer.raise_for_status().json()["Answer"]
            return tuple(str(ip_address(one["data"])) for one in found if one["type"] == 1)
    return ()


def _trouble(error: BaseException) -> tuple[Trouble, str]:
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError(verify_code=code, verify_message=message):
                return (_CERTIFICATE[code], "") if code in _CERTIFICATE else (Trouble.UNTRUSTED, message)
            case ssl.SSLError():
                return Trouble.TLS, cause.reason or ""
            case socket.gaierror():
                return Trouble.NO_NAME, ""
            case ConnectionRefusedError():
                return Trouble.REFUSED, ""
    return Trouble.BROKEN, str(error) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        # One for each address of the name.
        yield from error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
        error = error.__cause__ or error.__context__
