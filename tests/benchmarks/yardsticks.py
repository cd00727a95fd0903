"""
What the relay is measured against: apps that do one part of its work and nothing else.

    uvicorn tests.benchmarks.yardsticks:bare       answers 200
    uvicorn tests.benchmarks.yardsticks:shared     stores each body in SQLite, FULL, many in one commit
    uvicorn tests.benchmarks.yardsticks:forwards   a relay of 30 lines, which answers when CallRail has
    uvicorn tests.benchmarks.yardsticks:keeps      one that keeps its promises: text and attempt are on disk
                                                   before the POST, the outcome after it; one commit for each
"""

import asyncio
import json
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
            self._connection = open_store(os.environ[STORE])
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO bodies (body) VALUES (?)", bodies)
        self._connection.execute("COMMIT")


def open_store(path: str) -> sqlite3.Connection:
    """A store with the same safety on disk as the relay's."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS bodies (id INTEGER PRIMARY KEY, body BLOB)")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS attempts (id INTEGER PRIMARY KEY, body_id INT, outcome INT)"
    )
    return connection


shared = _SharedCommits()


@asynccontextmanager
async def _client(app: Starlette) -> AsyncIterator[None]:
    async with httpx2.AsyncClient(base_url=os.environ[CALLRAIL], trust_env=False, timeout=None) as client:
        app.state.client = client
        app.state.store = open_store(os.environ[STORE])
        app.state.sending = set()
        yield


async def _forward(request: Request) -> JSONResponse:
    status = await _post(request.app.state.client, await request.json())
    return JSONResponse({"status": "success"}, 200 if status == 200 else 502)


async def _keep(request: Request) -> JSONResponse:
    state, body = request.app.state, await request.body()
    payload = json.loads(body)
    state.store.execute("BEGIN IMMEDIATE")
    text = state.store.execute("INSERT INTO bodies (body) VALUES (?)", (body,)).lastrowid
    attempt = state.store.execute("INSERT INTO attempts (body_id) VALUES (?)", (text,)).lastrowid
    state.store.execute("COMMIT")

    async def send() -> None:
        status = await _post(state.client, payload)
        state.store.execute("UPDATE attempts SET outcome = ? WHERE id = ?", (status, attempt))

    task = asyncio.create_task(send())
    state.sending.add(task)
    task.add_done_callback(state.sending.discard)
    return JSONResponse({"status": "success"})


async def _post(client: httpx2.AsyncClient, payload: dict[str, Any]) -> int:
    answer = await client.post(
        "/v3/a/100000001/text-messages.json",
        headers={"Authorization": "Token token=key"},
        json={
            "company_id": "COM00000000000000000000000000000001",
            "tracking_number": "+12025550133",
            "customer_phone_number": f"+1{payload['seller_phone_non_international']}",
            "content": payload["message"],
        },
    )
    return answer.status_code


def _app(endpoint: Callable[[Request], Awaitable[JSONResponse]]) -> Starlette:
    return Starlette(routes=[Route("/hooks/if3/{token}", endpoint, methods=["POST"])], lifespan=_client)


forwards, keeps = _app(_forward), _app(_keep)
