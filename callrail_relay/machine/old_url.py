"""Posting to the URL that IF3 posted to before, while the relay runs beside another system."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from urllib.parse import urlsplit

import httpx2

from callrail_relay.domain.shadow import ANSWER_WITHIN, LARGEST_ANSWER, Passed, PassOn, State, answered
from callrail_relay.errors import SettingsError
from callrail_relay.machine.public_address import CONNECT_WITHIN, Network

# After a second the other side may close an idle connection, and a request on it would be lost.
LIMITS = httpx2.Limits(max_connections=50, keepalive_expiry=1.0)


_NOT_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


class OldUrl:
    """Makes each request exactly once, never repeated or redirected; *mark* goes along, to find loops."""

    def __init__(self, find_network: Callable[[str], Network], mark: str) -> None:
        self._find_network = find_network
        self._headers = {"User-Agent": "callrail-relay", "Accept-Encoding": "identity", "Via": mark}
        self._clients: dict[str, httpx2.AsyncClient] = {}

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def pass_on(self, request: PassOn) -> Passed:
        """Every end is a result. Only what is still WAITING may be tried again."""
        seconds, status = ANSWER_WITHIN.total_seconds(), None
        try:
            client = self._client(request.url)
            async with (
                asyncio.timeout(seconds),
                aclosing(await client.send(_request(client, request), stream=True)) as answer,
            ):
                status, body = answer.status_code, bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > LARGEST_ANSWER:
                        return answered(status)
                return answered(status, bytes(body), answer.headers.get("content-type"))
        except (SettingsError, *_NOT_CONNECTED) as error:
            return Passed(State.WAITING, f"No connection ({_cause(error)}).")
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            broken = Passed(State.UNKNOWN, f"No whole answer ({_cause(error)}).")
            return broken if status is None else answered(status)

    def _client(self, url: str) -> httpx2.AsyncClient:
        origin, longest = "://".join(urlsplit(url)[:2]), ANSWER_WITHIN.total_seconds()
        if origin not in self._clients:
            self._clients[origin] = httpx2.AsyncClient(
                transport=self._find_network(url).transport(LIMITS),
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
