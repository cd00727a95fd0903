"""
The public and the private listener of a relay.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from callrail_relay.bootstrap.diagnosis import checks
from callrail_relay.bootstrap.metrics import scrape
from callrail_relay.bootstrap.relay import Relay
from callrail_relay.domain.addresses import is_loopback
from callrail_relay.service.health import HealthReport, StoreProbe, examine
from callrail_relay.service.hook_tokens import HookTokens
from callrail_relay.service.worker import Worker
from callrail_relay.telemetry.metrics import Metrics
from callrail_relay.web.listener import Listener
from callrail_relay.web.login import Login
from callrail_relay.web.metrics import Measured, metrics_route
from callrail_relay.web.private import PrivatePages, create_private_app
from callrail_relay.web.public import Hook, create_public_app


@dataclass(frozen=True, kw_only=True)
class Listening:
    """
    Where the relay listens; the login link is good once.
    """

    public_url: str
    private_url: str | None
    login_url: str | None


@asynccontextmanager
async def open_listeners(
    relay: Relay, worker: Worker, tokens: HookTokens, metrics: Metrics | None = None
) -> AsyncIterator[Listening]:
    """
    The public listener, and the private one where the settings have it. Raises Unavailable.

    *metrics* are those that count the events of this run.
    """
    installation = relay.installation
    metrics = metrics or Metrics(installation.clock)
    server, dashboard = installation.settings.server, installation.settings.dashboard
    hook = Hook(
        relay.intake,
        tokens,
        installation.clock,
        allow_addresses=server.allow_addresses,
        wake=worker.wake,
    )
    public = Listener(
        Measured(
            create_public_app(hook, StoreProbe(relay.outbox, installation.clock).writable),
            metrics.answered,
            installation.clock,
        ),
        host=server.host,
        port=server.port,
        setting="server.port (--port)",
        trusted_proxies=[str(network) for network in server.trusted_proxies],
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(public)
        if not dashboard.enabled:
            yield Listening(public_url=public.url, private_url=None, login_url=None)
            return
        login = Login()
        private = Listener(
            create_private_app(
                _private_pages(relay, login),
                host=dashboard.host,
                others=[metrics_route(scrape(relay, metrics), login, loopback=is_loopback(dashboard.host))],
            ),
            host=dashboard.host,
            port=dashboard.port,
            setting="dashboard.port",
        )
        await stack.enter_async_context(private)
        yield Listening(
            public_url=public.url,
            private_url=private.url,
            login_url=f"{private.url}/login?token={login.token}",
        )


def _private_pages(relay: Relay, login: Login) -> PrivatePages:
    installation = relay.installation
    all_checks = checks(relay)

    async def look() -> HealthReport:
        return await examine(all_checks)

    return PrivatePages(
        relay.operations,
        look,
        login,
        installation.clock,
        loopback=is_loopback(installation.settings.dashboard.host),
    )
