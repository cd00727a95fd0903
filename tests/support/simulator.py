"""The simulator without a socket, and what tests add to its one account, company and number."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import httpx2
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callrail_relay.callrail.simulator import Fault, Kind, Simulator, create_app
from callrail_relay.callrail.simulator.records import Account, Bucket, Company, Tracker
from callrail_relay.callrail.simulator.state import new_id
from callrail_relay.clock import Clock


@dataclass
class Patience:
    """How many seconds a client waits for an answer, and whether it gave up."""

    seconds: float | None
    is_over: bool = False


_patience: ContextVar[Patience] = ContextVar("patience")


class PatientClock:
    """The simulator's clock, on which no wait is longer than the patience of the client of a request."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.monotonic, self.awake = clock.monotonic, clock.awake

    def now(self) -> datetime:
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        patience = _patience.get(Patience(None))
        if patience.seconds is not None and seconds >= patience.seconds:
            patience.is_over, seconds = True, patience.seconds
        await self._clock.sleep(seconds)


class InProcessTransport(httpx2.AsyncBaseTransport):
    """
    Calls the simulator in process and raises what a client meets over a socket.

    A refused connection is a ConnectError, an answer later than the request's read time-out a
    ReadTimeout, and any other broken one a RemoteProtocolError. Time passes on the simulator's
    clock alone: a request that is not held up by a fault takes none.
    """

    def __init__(self, simulator: Simulator, app: ASGIApp | None = None) -> None:
        simulator.faults.clock = PatientClock(simulator.clock)
        self._app = app or create_app(simulator)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        patience = Patience(request.extensions.get("timeout", {}).get("read"))
        _patience.set(patience)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_on(message: Message) -> None:
                if patience.is_over:
                    raise TimeoutError
                await send(message)

            await self._app(scope, receive, send_on)

        try:
            return await httpx2.ASGITransport(app).handle_async_request(request)
        except (ConnectionError, TimeoutError) as exc:
            if patience.is_over:
                raise httpx2.ReadTimeout("no answer in time", request=request) from exc
            if isinstance(exc, ConnectionRefusedError):
                raise httpx2.ConnectError("connection refused", request=request) from exc
            raise httpx2.RemoteProtocolError("connection closed by the server", request=request) from exc


def add_account(
    simulator: Simulator, *, name: str = "Example Account", per_hour: int = 150, per_day: int = 1000
) -> Account:
    """An account without a company."""
    number = len(simulator.accounts) + 1
    account = Account(
        id=new_id("ACC", number),
        numeric_id=123456788 + number,
        name=name,
        created_at=simulator.clock.now() - timedelta(days=60),
        texts=Bucket(per_hour, per_day),
    )
    simulator.accounts[account.id] = account
    return account


def add_company(
    simulator: Simulator, *, account_id: str | None = None, name: str = "Example Co", disabled: bool = False
) -> Company:
    """A company of the first account, or of the one named, without any tracker."""
    number, now = len(simulator.companies) + 1, simulator.clock.now()
    company = Company(
        id=new_id("COM", number),
        account_id=account_id or simulator.account_id,
        name=name,
        created_at=now,
        signing_key=f"example-signing-key-{number}",
        disabled_at=now if disabled else None,
    )
    simulator.companies[company.id] = company
    return company


def add_tracker(
    simulator: Simulator,
    *,
    company_id: str | None = None,
    name: str = "Website",
    number: str | None = None,
    pool: int = 0,
) -> Tracker:
    """
    A tracker that can text, of the first company or the one named.

    Without a *number* it gets a new one; with *pool* it is a session tracker of so many new numbers.
    """
    used = sum(len(tracker.tracking_numbers) for tracker in simulator.trackers.values())
    # Numbers set aside for fiction, 555-0100 to 555-0199, in an area code of their own.
    new = tuple(f"+13035550{99 + used + each}" for each in range(pool or 1))
    tracker = Tracker(
        id=new_id("TRK", len(simulator.trackers) + 1),
        company=simulator.companies[company_id or simulator.company_id],
        name=name,
        type="session" if pool else "source",
        tracking_numbers=(number,) if number else new,
    )
    simulator.trackers[tracker.id] = tracker
    return tracker


def change_tracker(simulator: Simulator, tracker_id: str, **changes: object) -> None:
    """Change a tracker of the simulator: its ``status``, or whether it can text."""
    simulator.trackers[tracker_id] = replace(simulator.trackers[tracker_id], **changes)  # type: ignore[arg-type]  # its fields


def spend(simulator: Simulator, texts: int) -> None:
    """Take *texts* off the account's limits, as another program on the same account would."""
    simulator.accounts[simulator.account_id].texts.spend(simulator.clock.now(), texts)


def refuse(simulator: Simulator, recipient: str, words: str) -> None:
    """Refuse every text to this person in these *words*."""
    simulator.fault(Fault(Kind.STATUS, number=recipient, status=400, body=f'{{"error": "{words}"}}'))


async def settle(simulator: Simulator) -> None:
    """Return when every webhook that was under way has been posted."""
    while simulator.webhooks.under_way:
        await asyncio.wait(simulator.webhooks.under_way)
