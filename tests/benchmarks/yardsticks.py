"""
What the relay is measured against: apps that do one part of its work and nothing else.

    uvicorn tests.benchmarks.yardsticks:bare       answers 200
    uvicorn tests.benchmarks.yardsticks:shared     stores each body in SQLite, FULL, many in one commit
    uvicorn tests.benchmarks.yardsticks:forwards   a relay of 30 lines, which answers when CallRail has
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

STORE = "BENCHMARK_STORE"
CALLRAIL = "BENCHMARK_CALLRAIL"

_HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
_BODY = {"type": "http.response.body", "body": b"ok"}


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """The web server alone."""
    await _read(receive)
    await send(_HEAD)
    await send(_BODY)


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        part = await receive()
        body += bytes(part.get("body", b""))
        if not part.get("more_body"):
            return body


class _SharedCommits:
    """One table in SQLite; bodies that arrive while others are being written share the next commit."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._writer = ThreadPoolExecutor(1)
        self._arriving: list[tuple[bytes, asyncio.Future[None]]] = []
        self._storing: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arriving.append((body, stored))
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_arriving())
        await stored
        await send(_HEAD)
        await send(_BODY)

    async def _store_arriving(self) -> None:
        while self._arriving:
            batch, self._arriving = self._arriving, []
            bodies = [(body,) for body, _ in batch]
            await asyncio.get_running_loop().run_in_executor(self._writer, self._store, bodies)
            for _, stored in batch:
                stored.set_result(None)
        self._storing = None

    def _store(self, bodies: list[tuple[bytes]]) -> None:
        if self._connection is None:
            self._connection = sqlite3.connect(os.environ[STORE], isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS bodies (id INTEGER PRIMARY KEY, body BLOB)")
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO bodies (body) VALUES (?)", bodies)
        self._connection.execute("COMMIT")


shared = _SharedCommits()


@asynccontextmanager
async def _client(app: Starlette) -> AsyncIterator[None]:
    async with httpx2.AsyncClient(base_url=os.environ[CALLRAIL], trust_env=False) as client:
        app.state.client = client
        yield


async def _forward(request: Request) -> JSONResponse:
    payload = await request.json()
    answer = await request.app.state.client.post(
        "/v3/a/100000001/text-messages.json",
        headers={"Authorization": "Token token=key"},
        json={
            "company_id": "COM00000000000000000000000000000001",
            "tracking_number": "+12025550133",
            "customer_phone_number": f"+1{payload['seller_phone_non_international']}",
            "content": payload["message"],
        },
    )
    return JSONResponse({"status": "success"}, 200 if answer.status_code == 200 else 502)


forwards = Starlette(routes=[Route("/hooks/if3/{token}", _forward, methods=["POST"])], lifespan=_client)
