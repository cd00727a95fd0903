"""Asks the public URL as the world does, and posts to the URL that IF3 posted to before."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import aclosing, suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx2

from callrail_relay.domain import shadow
from callrail_relay.domain.public_url import Answer, NoAnswer, Trouble, is_tailscale
from callrail_relay.domain.shadow import Passed, PassOn, State, answered
from callrail_relay.errors import SettingsError
from callrail_relay.network import find_network

CONNECT_WITHIN = 5.0
ANSWER_WITHIN = 10.0
ALL_WITHIN = 20.0
LARGEST_ANSWER = 1024
_WORLD = "https://cloudflare-dns.com/dns-query?type=A&name={}"

# OpenSSL's numbers of what is wrong with one; 64 is of an IP address.
_CERTIFICATE = {10: Trouble.EXPIRED, 62: Trouble.WRONG_NAME, 64: Trouble.WRONG_NAME}


async def fetch(url: str, *, from_outside: bool = False, directly: bool = False) -> Answer:
    """
    Return what answers one GET. Raises NoAnswer.

    *from_outside* asks public DNS and not this Tailscale; *directly* asks this computer.
    """
    addresses: tuple[str, ...] = ()
    asked = target = httpx2.URL(url)
    try:
        network = find_network("http://127.0.0.1" if directly else url)
    except SettingsError as error:
        raise NoAnswer(Trouble.PROXY, "see the network check") from error
    try:
        async with asyncio.timeout(ALL_WITHIN):
            # If a proxy looks the name up, it isn't known here. An address of this computer has none.
            addresses = () if network.proxy or directly else await _resolve(target)
            if from_outside and is_tailscale(addresses):
                addresses = await _ask_world(asked.host) or addresses
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
            trouble, detail = Trouble.PROXY, str(error)
        raise NoAnswer(trouble, detail, addresses) from error


async def _resolve(url: httpx2.URL) -> tuple[str, ...]:
    find = asyncio.get_running_loop().getaddrinfo
    found = await find(url.host, url.port or 443, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _ask_world(host: str) -> tuple[str, ...]:
    """Return the public addresses of *host* by DNS over HTTPS; none if that can't be asked."""
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
    # The system's words, such as "Too many open files", say more than the client's.
    words = (cause.strerror for cause in _causes(error) if isinstance(cause, OSError))
    return Trouble.BROKEN, next(filter(None, words), str(error) or type(error).__name__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        # One for each address of the name.
        yield from error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
        error = error.__cause__ or error.__context__


# After a second, the other side may close an idle connection, and a request on it would be lost.
LIMITS = httpx2.Limits(max_connections=50, keepalive_expiry=1.0)


_NOT_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


class OldUrl:
    """Makes each request exactly once, never repeated or redirected; *mark* goes along, to find loops."""

    def __init__(self, mark: str) -> None:
        self._headers = {"User-Agent": "callrail-relay", "Accept-Encoding": "identity", "Via": mark}
        self._clients: dict[str, httpx2.AsyncClient] = {}

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def pass_on(self, request: PassOn) -> Passed:
        """Pass a request on. Every end is a result; only one that is still WAITING may be tried again."""
        seconds, status = shadow.ANSWER_WITHIN.total_seconds(), None
        try:
            client = self._client(request.url)
            async with (
                asyncio.timeout(seconds),
                aclosing(await client.send(_request(client, request), stream=True)) as answer,
            ):
                status, body = answer.status_code, bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > shadow.LARGEST_ANSWER:
                        return answered(status)
                return answered(status, bytes(body), answer.headers.get("content-type"))
        except (SettingsError, *_NOT_CONNECTED) as error:
            return Passed(State.WAITING, f"No connection ({_cause(error)}).")
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            broken = Passed(State.UNKNOWN, f"No whole answer ({_cause(error)}).")
            return broken if status is None else answered(status)

    def _client(self, url: str) -> httpx2.AsyncClient:
        origin, longest = "://".join(urlsplit(url)[:2]), shadow.ANSWER_WITHIN.total_seconds()
        if origin not in self._clients:
            self._clients[origin] = httpx2.AsyncClient(
                transport=find_network(url).transport(LIMITS),
                timeout=httpx2.Timeout(longest, connect=CONNECT_WITHIN, pool=CONNECT_WITHIN),
                headers=self._headers,
                trust_env=False,
            )
        return self._clients[origin]


def _request(client: httpx2.AsyncClient, request: PassOn) -> httpx2.Request:
    parts, raw = urlsplit(request.url), request.request
    query = "&".join(filter(None, (parts.query, raw.query)))
    # As it came, byte for byte: httpx2 would write some characters of a query in another way.
    target = f"{parts.path or '/'}{'?' if query else ''}{query}".encode("utf-8", "surrogateescape")
    headers = {} if raw.content_type is None else {"Content-Type": raw.content_type}
    return client.build_request(
        "POST", request.url, content=raw.body, headers=headers, extensions={"target": target}
    )


def _cause(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
