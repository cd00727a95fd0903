"""The public and the private listener of a relay."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from callrail_relay.bootstrap import credentials, wiring
from callrail_relay.bootstrap.context import AppContext, listener_url
from callrail_relay.bootstrap.diagnosis import checks
from callrail_relay.bootstrap.editing import Editor
from callrail_relay.domain.public_url import proof
from callrail_relay.domain.routing import is_loopback
from callrail_relay.domain.shadow import ShadowReport
from callrail_relay.machine.addresses import OldUrl, fetch
from callrail_relay.outbox import relay_secrets
from callrail_relay.service import setup
from callrail_relay.service.alerts import Alerts
from callrail_relay.service.background import Refusals
from callrail_relay.service.delivery import Delivery, TaskGroup
from callrail_relay.service.health import store_probe
from callrail_relay.service.overview import History
from callrail_relay.service.shadow import PassingOn, make_report
from callrail_relay.service.tokens import new_token
from callrail_relay.web.auth import Login
from callrail_relay.web.dashboard.frame import Dashboard
from callrail_relay.web.private import create_private_app
from callrail_relay.web.public import PublicParts, create_public_app
from callrail_relay.web.server import Listener, until_unanswered

check_listening = partial(until_unanswered, partial(fetch, directly=True))


@dataclass(frozen=True, kw_only=True)
class Listening:
    public_url: str
    private_url: str | None
    login_url: str | None  # good once
    trust: Callable[[Sequence[str]], None]  # another list of trusted proxies


@asynccontextmanager
async def open_listeners(relay: wiring.Relay, worker: TaskGroup) -> AsyncIterator[Listening]:
    """Open the public listener, and the private one if the settings have it."""
    context = relay.context
    server, settings = context.settings.server, context.settings.dashboard
    refusals = Refusals(context.clock, relay.hook)
    refused = refusals.count
    secret = await relay.store.write(relay_secrets.read_relay_secret, new_token())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(refusals.close)
        mark = f"1.1 callrail-relay-{proof(secret, 'via')[:16]}"  # of what was passed on here
        old_url, max_age = OldUrl(mark), context.settings.delivery.max_age
        passing_on = PassingOn(relay.store, relay.hook, old_url.pass_on, max_age, mark)
        for one in (old_url, passing_on):
            stack.push_async_callback(one.aclose)
        worker.tasks.append(passing_on)
        parts = PublicParts(
            intake=relay.intake,
            webhooks=await credentials.open_callrail_webhooks(relay, worker.wake_all, refused),
            tokens=await credentials.hook_tokens(context, relay.store),
            clock=context.clock,
            wake=worker.wake,
            writable=store_probe(relay.store, refused),
            prove=partial(proof, secret),
            answered=relay.metrics.answered,
            passing_on=passing_on,
            allow_addresses=server.allow_addresses,
            refused=refused,
        )
        public = Listener(
            create_public_app(parts),
            host=server.host,
            port=server.port,
            setting="server.port (--port)",
            trusted_proxies=[str(network) for network in server.trusted_proxies],
            refused=refused,
        )
        await stack.enter_async_context(public)
        private_url = login_url = None
        if settings.enabled:
            dashboard = _dashboard(relay, worker)
            host, port = settings.host, settings.port
            app = create_private_app(dashboard, relay.metrics.exposition, host=host)
            private = Listener(app, host=host, port=port, setting="dashboard.port", refused=refused)
            await stack.enter_async_context(private)
            private_url, login_url = private.url, f"{private.url}/login?token={dashboard.login.token}"
            stack.push_async_callback(dashboard.close)
            stack.enter_context(credentials.open_desk(context.data, private_url, dashboard.login.link_secret))
            await relay.store.note(private_url=private_url)
        yield Listening(
            public_url=public.url, private_url=private_url, login_url=login_url, trust=public.trust
        )


def _dashboard(relay: wiring.Relay, worker: TaskGroup) -> Dashboard:
    context = relay.context

    async def compare() -> ShadowReport:
        async with wiring.open_conversations(relay) as conversations:
            return await make_report(conversations)

    async def read_url() -> str:
        base = relay.public_address.url or listener_url(context.settings.server)
        return credentials.hook_url(context.settings, await credentials.require_hook_token(context), base)

    async def read_names() -> setup.Names:
        async with wiring.open_callrail(context) as callrail:
            return await setup.read_names(callrail, context.routes.account_ids)

    dashboard = Dashboard(
        operations=relay.operations,
        history=History(relay.store),
        intake=relay.intake,
        login=Login(context.clock, relay.people, credentials.session_key(context)),
        clock=context.clock,
        checks=checks(relay),
        compare=compare,
        facts=relay.facts,
        read_url=read_url,
        # A person's decision may let any text be sent, even if nothing that comes in could.
        wake=worker.wake_all,
        signal=relay.signal,
        sandbox=is_loopback(urlsplit(context.settings.callrail.api_url).hostname or ""),
        settings=Editor(context, lambda changed: _take_up(changed, relay, worker, dashboard), relay.hook),
        read_names=read_names,
    )
    return dashboard


def _take_up(changed: AppContext, relay: wiring.Relay, worker: TaskGroup, dashboard: Dashboard) -> None:
    """Use the settings of *changed* from now on. Each claim and each request reads its policy once."""
    relay.context = changed
    relay.operations.mapping = relay.intake.policy = changed.mapping
    for task in worker.tasks:
        match task:
            case Delivery():
                task.follow(changed.claim)
            case PassingOn():
                task.max_age = changed.settings.delivery.max_age
            case Alerts():
                task.send, task.policy = wiring.alert_sender(changed), changed.alerts
    dashboard.examiner.expire()
    worker.wake_all()
