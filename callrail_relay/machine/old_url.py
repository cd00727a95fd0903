"""Posting to the URL that IF3 posted to before, while the relay runs beside another system."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from urllib.parse import urlsplit

import httpx

from callrail_relay.domain.shadow import (
    ANSWER_WITHIN,
    LARGEST_ANSWER,
    Answered,
    MayHaveArrived,
    NotPassed,
    Passed,
    PassOn,
)
from callrail_relay.errors import SettingsError
from callrail_relay.machine.public_address import Network

CONNECT_WITHIN = 5.0
IDLE_CONNECTION = (
    1.0  # seconds; the other side may close one idle for longer, and a request on it would be lost
)
MOST_CONNECTIONS = 50


class OldUrl:
    """Makes each request exactly once, never repeated or redirected; *mark* goes along, to find loops."""

    def __init__(self, find_network: Callable[[str], Network], mark: str) -> None:
        self._find_network = find_network
        self._headers = {"User-Agent": "callrail-relay", "Accept-Encoding": "identity", "Via": mark}
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def pass_on(self, request: PassOn) -> Passed:
        """Every end is a result. Only ``NotPassed`` may be tried again."""
        deadline = asyncio.timeout(ANSWER_WITHIN.total_seconds())
        status = None
        try:
            client = self._client(request.url)
            async with (
                deadline,
                aclosing(await client.send(self._request(client, request), stream=True)) as answer,
            ):
                status, body = answer.status_code, bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > LARGEST_ANSWER:
                        return Answered(status=status)
                return Answered(
                    status=status, body=bytes(body), content_type=answer.headers.get("content-type")
                )
        except SettingsError:
            return NotPassed(detail="The proxy or the certificates of this computer can't be used.")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            return NotPassed(detail=f"No connection ({_cause(error)}).")
        except TimeoutError:
            missing = MayHaveArrived(detail=f"No answer within {ANSWER_WITHIN.seconds} seconds.")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            missing = MayHaveArrived(detail=f"The connection broke before the answer ({_cause(error)}).")
        return missing if status is None else Answered(status=status)

    def _client(self, url: str) -> httpx.AsyncClient:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._clients:
            limits = httpx.Limits(max_connections=MOST_CONNECTIONS, keepalive_expiry=IDLE_CONNECTION)
            self._clients[origin] = httpx.AsyncClient(
                transport=self._find_network(url).transport(limits),
                timeout=httpx.Timeout(
                    ANSWER_WITHIN.total_seconds(), connect=CONNECT_WITHIN, pool=CONNECT_WITHIN
                ),
                headers=self._headers,
                follow_redirects=False,
                trust_env=False,
            )
        return self._clients[origin]

    def _request(self, client: httpx.AsyncClient, request: PassOn) -> httpx.Request:
        parts, raw = urlsplit(request.url), request.request
        query = "&".join(filter(None, (parts.query, raw.query)))
        # As it came, byte for byte: httpx would write some characters of a query in another way.
        target = f"{parts.path or '/'}{'?' if query else ''}{query}".encode("utf-8", "surrogateescape")
        headers = {} if raw.content_type is None else {"Content-Type": raw.content_type}
        return client.build_request(
            "POST", request.url, content=raw.body, headers=headers, extensions={"target": target}
        )


def _cause(error: httpx.HTTPError | httpx.InvalidURL | httpx.StreamError) -> str:
    return str(error)[:200] or type(error).__name__
