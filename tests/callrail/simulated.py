"""
What the simulator's tests share: a clock that never waits, a text, and clients in process and over a socket.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypedDict, TypeVar, Unpack

import httpx2
import uvicorn

from callrail_relay.callrail.simulator import Simulator, create_app
from tests.support.simulator import InProcessTransport

T = TypeVar("T")

KEY = "test-key"
RECIPIENT = "+12025550122"
NOON = datetime(2026, 4, 8, 2, 25, 4, 953000, tzinfo=UTC)


@dataclass
class StandingClock:
    """Moves only when a task sleeps on it, and then at once."""

    instant: datetime = NOON
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.instant.timestamp()

    def awake(self) -> float:
        return self.monotonic()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


def make_simulator(clock: StandingClock | None = None, random: Random | None = None) -> Simulator:
    return Simulator(clock=clock or StandingClock(), api_key=KEY, random=random or Random(1))


def make_client(
    transport: httpx2.AsyncBaseTransport | None, *, url: str = "http://127.0.0.1", patience: float = 5
) -> httpx2.AsyncClient:
    """
    A client with the right key; without a transport it takes the network, and it waits *patience* seconds.
    """
    headers = {"Authorization": f'Token token="{KEY}"'}
    return httpx2.AsyncClient(transport=transport, base_url=url, headers=headers, timeout=patience)


class Request(TypedDict, total=False):
    params: Mapping[str, str | int]
    json: object
    content: bytes
    data: dict[str, object]
    files: list[tuple[str, tuple[str, bytes, str]]]
    headers: Mapping[str, str] | Mapping[bytes, bytes]


def asked(simulator: Simulator, method: str, path: str, **request: Unpack[Request]) -> httpx2.Response:
    """One request in process; *path* is below the account unless it begins with a slash."""

    async def ask() -> httpx2.Response:
        async with make_client(InProcessTransport(simulator)) as client:
            return await client.request(method, full_path(simulator, path), **request)

    return asyncio.run(ask())


def got(simulator: Simulator, path: str, **params: str | int) -> dict[str, Any]:
    """The body of a GET that must succeed."""
    response = asked(simulator, "GET", path, params=params)
    assert 200 == response.status_code, response.text
    body: dict[str, Any] = response.json()
    return body


def full_path(simulator: Simulator, path: str) -> str:
    return path if path.startswith("/") else f"/v3/a/{simulator.account_id}/{path}"


def text_form(simulator: Simulator, **changes: object) -> dict[str, object]:
    """The parameters of a text that is taken; a change to None omits one."""
    form = {
        "company_id": simulator.company_id,
        "tracking_number": simulator.tracking_number,
        "customer_phone_number": RECIPIENT,
        "content": "Example Co: your appointment is tomorrow at 9. Reply STOP to opt out.",
    } | changes
    return {name: value for name, value in form.items() if value is not None}


def send(simulator: Simulator, **changes: object) -> httpx2.Response:
    return asked(simulator, "POST", "text-messages.json", json=text_form(simulator, **changes))


@asynccontextmanager
async def listening(simulator: Simulator) -> AsyncIterator[str]:
    """The simulator under uvicorn on a free port of 127.0.0.1; yields its URL."""
    config = uvicorn.Config(create_app(simulator), http="h11", ws="none", lifespan="off", log_config=None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server.ready.wait()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


async def over_socket(
    simulator: Simulator,
    use: Callable[[httpx2.AsyncClient], Awaitable[T]],
    *,
    patience: float = 10,
) -> T:
    """What *use* makes of a client that is connected through a real socket."""
    async with (
        listening(simulator) as url,
        make_client(None, url=url, patience=patience) as client,
    ):
        return await use(client)
