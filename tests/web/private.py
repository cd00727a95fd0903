"""The private app of one relay, for tests that speak HTTP to it without a browser."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from callrail_relay.bootstrap.context import AppContext, load_context
from callrail_relay.bootstrap.editing import Editor
from callrail_relay.clock import Clock
from callrail_relay.config.saving import update
from callrail_relay.domain.guards import GuardPolicy
from callrail_relay.domain.health import Condition
from callrail_relay.domain.shadow import ShadowReport
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import presence
from callrail_relay.service.health import CheckWarning, Remembered
from callrail_relay.service.overview import ChangeSignal, History
from callrail_relay.service.people import People
from callrail_relay.service.setup import Names, read_names
from callrail_relay.service.shadow import Conversations, make_report
from callrail_relay.telemetry.metrics import Metrics
from callrail_relay.web.auth import COOKIE, Login
from callrail_relay.web.dashboard.frame import Dashboard
from callrail_relay.web.private import create_private_app
from tests.service.rig import Rig, open_rig

ORIGIN = "http://127.0.0.1:8788"
SESSION = f"{COOKIE}_8788"
"""The session's cookie at ORIGIN."""

HOOK_URL = "https://texts.example.com/hooks/if3/secret-of-the-hook"


class Examination(Remembered):
    """A check whose result a test chooses, and how often it was made, and was to ask CallRail anew."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(self, clock)
        self.condition = Condition.OK
        self.made = 0
        self.made_anew = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.condition is Condition.WARNING:
            raise CheckWarning("Words.")
        if self.condition is Condition.FAILED:
            raise Unavailable("Words.")
        return "Words."

    def expire(self) -> None:
        self.made_anew += 1


class Private:
    """The private app of one relay; ``woken`` counts how often delivery was woken."""

    def __init__(self, rig: Rig, *, host: str) -> None:
        self.rig = rig
        self.login = Login(rig.clock, People(rig.outbox))
        self.examination = Examination(rig.clock)
        self.signal = ChangeSignal()
        self.woken = 0
        self.taken_up: list[AppContext] = []
        self.compared = 0
        self.may_compare = asyncio.Event()
        self.may_compare.set()
        self.per_hour = 800  # requests to CallRail
        self.dashboard = Dashboard(
            operations=rig.operations,
            history=History(rig.outbox),
            intake=rig.intake,
            login=self.login,
            clock=rig.clock,
            checks=[("store", self.examination)],
            compare=self._compare,
            read_url=self._read_url,
            facts=rig.operations.facts,
            wake=self._wake,
            signal=self.signal,
            sandbox=False,
            settings=Editor(self._context(), self._take_up, rig.events),
            read_names=self._read_names,
        )
        self.app = create_private_app(self.dashboard, Metrics(rig.clock).exposition, host=host)

    async def _compare(self) -> ShadowReport:
        self.compared += 1
        await self.may_compare.wait()
        conversations = Conversations(self.rig.outbox, self.rig.callrail.find_replies, self.per_hour)
        return await make_report(conversations)

    async def _read_url(self) -> str:
        return HOOK_URL

    def _context(self) -> AppContext:
        path, route = self.rig.path.with_name("config.toml"), next(iter(self.rig.mapping.routes))
        update(path, {"callrail": {name: getattr(route, name) for name in type(route).__slots__}})
        return load_context(path)

    def _take_up(self, context: AppContext) -> None:
        self.taken_up.append(context)

    async def _read_names(self) -> Names:
        return await read_names(self.rig.callrail, [self.rig.account_id])

    def _wake(self) -> None:
        self.woken += 1

    @property
    def link(self) -> str:
        return f"/login?token={self.login.token}"

    def client(self, origin: str = ORIGIN) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url=origin)

    async def enter(self, client: httpx2.AsyncClient, token: str | None = None) -> httpx2.Response:
        """Log in as the button of the link's page does."""
        return await client.post("/login", data={"token": self.login.token if token is None else token})


@dataclass
class Visitor:
    """A person who is logged in, and uses the forms of the pages."""

    client: httpx2.AsyncClient
    private: Private
    csrf: str = field(default="")
    back: str = field(default="/")

    async def page(self, path: str = "/") -> str:
        """A page's HTML."""
        response = await self.client.get(path)
        assert 200 == response.status_code, response.text
        found = re.search(r'name="csrf" value="([^"]+)"', response.text)
        assert found is not None
        self.csrf, self.back = found[1], re.findall(r'name="back" value="([^"]*)"', response.text)[-1]
        return response.text

    async def post(self, path: str, **fields: str) -> httpx2.Response:
        """Post a form of this session, and return the page that comes after it."""
        if not self.csrf:
            await self.page()
        form = {"csrf": self.csrf, "back": self.back} | fields
        return await self.client.post(path, data=form, follow_redirects=True)


@asynccontextmanager
async def private_rig(
    folder: Path, *, host: str = "127.0.0.1", guards: GuardPolicy | None = None
) -> AsyncIterator[tuple[Rig, Private]]:
    async with open_rig(folder, guards=guards, serves=True) as rig:
        await rig.outbox.write(presence.note_contacts, [rig.account_id], answered=True)
        private = Private(rig, host=host)
        yield rig, private
        await private.dashboard.close()


@asynccontextmanager
async def visiting(folder: Path, *, guards: GuardPolicy | None = None) -> AsyncIterator[tuple[Rig, Visitor]]:
    """A relay, and a person who is logged in to its dashboard."""
    async with private_rig(folder, guards=guards) as (rig, private), private.client() as client:
        assert 303 == (await private.enter(client)).status_code
        yield rig, Visitor(client, private)
