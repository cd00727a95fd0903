"""Builds the services on an open store, the worker, the connection to CallRail, alerts and metrics."""

import asyncio
import contextlib
import logging
import platform
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event

from callrail_relay.bootstrap.context import AppContext, listener_url, sentence
from callrail_relay.callrail.client import CallRail
from callrail_relay.clock import Clock, SystemClock
from callrail_relay.config.places import private_directory
from callrail_relay.config.secrets import SecretName
from callrail_relay.config.types import check_database_url
from callrail_relay.domain.events import EventHook, ignore
from callrail_relay.domain.health import Facts
from callrail_relay.errors import SettingsError, UsageError
from callrail_relay.machine.addresses import fetch
from callrail_relay.machine.files import network_drive, synced_folder
from callrail_relay.machine.sleep import KeepAwake
from callrail_relay.machine.tunnels import read_state
from callrail_relay.outbox import presence
from callrail_relay.outbox.copying import Begin, copy_store
from callrail_relay.outbox.store import Store
from callrail_relay.service import background
from callrail_relay.service.alerts import Alerts, SendAlerts
from callrail_relay.service.delivery import Delivery, TaskGroup
from callrail_relay.service.intake import Intake
from callrail_relay.service.operations import Operations
from callrail_relay.service.people import People
from callrail_relay.service.public_address import PublicAddress, PublicAddressWatch
from callrail_relay.service.reconciliation import Reconciliation
from callrail_relay.service.replies import Forwarding, InboundTexts, Polling
from callrail_relay.service.setup import cover_new_numbers
from callrail_relay.service.shadow import Conversations
from callrail_relay.telemetry import logs
from callrail_relay.telemetry.alerts import AppriseChannels
from callrail_relay.telemetry.metrics import Metrics


@dataclass(kw_only=True)
class Relay:
    context: AppContext  # with the settings that are in use: some can be changed while it runs
    store: Store
    intake: Intake
    operations: Operations
    people: People
    public_address: PublicAddress

    async def facts(self) -> Facts:
        """Return the facts of the verdict. Raises Unavailable."""
        return replace(await self.operations.facts(), public_url=self.public_address.seen)


def log_events(context: AppContext) -> EventHook:
    """Send logs where the settings say, and return the hook that writes events to them."""
    log = context.settings.log
    logs.configure(log.level, log.format)
    return logs.event_logger()


@asynccontextmanager
async def open_relay(
    context: AppContext, hook: EventHook = ignore, *, long_running: bool = False
) -> AsyncIterator[Relay]:
    """Open the services on a store. Others can see that a *long_running* one serves it."""
    server = context.settings.server
    ask_outside = partial(fetch, from_outside=True)
    file, allowed = context.store_file, context.settings.database.allow_network_drive
    if file is not None and not allowed and (kind := network_drive(file)) is not None:
        raise SettingsError(sentence("network_drive", file=file, kind=kind))
    if long_running and (synced := synced_store(context)):
        logging.getLogger("callrail_relay").warning("%s", synced)
    store = await Store.open(context.settings.database.url, context.clock, serves=long_running)
    try:
        await store.read(presence.require_direct)
        yield Relay(
            context=context,
            store=store,
            intake=Intake(store, context.mapping, random=context.random, clock=context.clock, hook=hook),
            operations=Operations(store, context.mapping),
            people=People(store, context.clock),
            public_address=PublicAddress(
                server.public_url,
                store,
                ask_outside,
                listener_url(server),
                tunnel=partial(read_state, context.data),
                for_now=context.settings.tunnel.for_now,
            ),
        )
    finally:
        await store.close()


def synced_store(context: AppContext) -> str | None:
    """Return a warning if a sync program has the store in its folder, else None."""
    file = context.store_file
    program = None if file is None else synced_folder(file)
    return program and (sentence("synced", file=file, program=program))


@asynccontextmanager
async def open_worker(
    relay: Relay, hook: EventHook = ignore, *, long_running: bool = False
) -> AsyncIterator[TaskGroup]:
    """Open a worker; a *long_running* one polls before it sends, and does what goes on beside delivery."""
    context, store = relay.context, relay.store
    file = context.store_file
    names = private_directory(context.data) if file is None else presence.names_of_store(file)
    async with open_callrail(context, clock=store.clock) as callrail:
        with presence.node_name(names) as node, contextlib.closing(KeepAwake()) as keep_awake:
            await store.require_not_copied()
            await cover_new_numbers(store, context.routes.tracking_numbers)
            polls = context.polling
            closed = polls.accounts if long_running and polls else frozenset()
            send, claim, lookups = callrail.send_text, context.claim, context.lookups
            concurrency = context.settings.delivery.concurrency
            delivery = Delivery(store, hook, send, claim, lookups, concurrency, context.random, node, closed)
            reconciliation = Reconciliation(store, hook, callrail.find_texts, lookups, delivery.wake)
            worker = TaskGroup(
                delivery, reconciliation, background.Wakeup(store, hook, (delivery, reconciliation))
            )
            if polls:
                texts = InboundTexts(store, hook, context.inbound, worker.wake_all)
                worker.polling = Polling(store, hook, callrail.find_replies, polls, texts, delivery.open)
            if long_running:
                detector = relay.intake.sleep
                delivery.about_to_claim = detector.look
                if polling := worker.polling:
                    worker.tasks.append(polling)
                    detector.woken += [lambda _: delivery.close(closed), lambda _: polling.begin_again()]
                hold = keep_awake.hold if context.settings.server.keep_awake else None
                worker.tasks.append(background.SleepWatch(store, hook, detector, worker.wake_all, hold))
                worker.tasks += _others(relay, callrail, hook)
            yield worker


def _others(relay: Relay, callrail: CallRail, hook: EventHook) -> list[background.PeriodicTask]:
    """Return the tasks beside delivery that the settings ask for. Raises SettingsError."""
    context, store, tell = relay.context, relay.store, alert_sender(relay.context)
    free_bytes = partial(_free_bytes, context.data)
    others: list[background.PeriodicTask] = [
        background.Connection(store, hook, callrail, context.routes.account_ids),
        Alerts(store, hook, relay.facts, tell, context.alerts, platform.node(), free_bytes),
        PublicAddressWatch(store, hook, relay.public_address),
    ]
    if store.beats:
        others.append(background.Heartbeat(store, hook))
    if (outside := context.settings.alerts.heartbeat_url) is not None:
        others.append(background.OutsideHeartbeat(store, hook, relay.facts, partial(fetch, outside)))
    if (kept_for := context.settings.retention.after) is not None:
        others.append(background.Retention(store, hook, kept_for))
    if (forwards := channels(context, "replies.forward_to")) is not None:
        others.append(Forwarding(store, hook, forwards.names, forwards.pass_on))
    return others


def _free_bytes(folder: Path) -> int | None:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free
    return None


@asynccontextmanager
async def open_callrail(
    context: AppContext, api_key: str | None = None, clock: Clock | None = None
) -> AsyncIterator[CallRail]:
    """Open CallRail's API for *api_key*, or for the stored one. Raises SecretError."""
    delivery = context.settings.delivery
    async with CallRail.open(
        api_key or (await context.secrets.require(SecretName.API_KEY)).reveal(),
        api_url=context.settings.callrail.api_url,
        connect_timeout=delivery.connect_timeout.total_seconds(),
        read_timeout=delivery.read_timeout.total_seconds(),
        # One more than can be sending: a look-up must not take a text's place.
        connections=delivery.concurrency + 1,
        clock=clock or context.clock,
    ) as callrail:
        yield callrail


@asynccontextmanager
async def open_conversations(relay: Relay) -> AsyncIterator[Conversations]:
    """Open CallRail's conversations, read within the limit of requests. Raises SecretError."""
    async with open_callrail(relay.context, clock=relay.store.clock) as callrail:
        yield Conversations(
            relay.store, callrail.find_replies, relay.context.settings.limits.lookups_per_hour
        )


def channels(context: AppContext, setting: str) -> AppriseChannels | None:
    """Return the channels that *setting* names, None if there are none. Raises SettingsError."""
    urls = context.settings.by_key()[setting]
    return AppriseChannels.open(urls, setting=setting) if urls else None


def alert_sender(context: AppContext) -> SendAlerts | None:
    found = channels(context, "alerts.urls")
    return found.send_alerts if found else None


async def try_alerts(context: AppContext) -> dict[str, bool]:
    """Send a test alert; return which channels accepted it. Raises SettingsError if there are none."""
    if (found := channels(context, "alerts.urls")) is None:
        raise SettingsError(sentence("no_channel", path=context.config_path))
    failed = await found.pass_on("callrail-relay: a test", sentence("test_alert"), found.names, "warning")
    return {name: name not in failed for name in found.names}


def count_events(context: AppContext) -> Metrics:
    return Metrics(context.clock, context.routes.account_ids)


async def copy_database(source: str, target: str, begin: Begin) -> dict[str, int]:
    """Copy a store; return the rows of each table. An interrupt ends it, and nothing was copied."""
    for name, url in (("FROM", source), ("TO", target)):
        try:
            check_database_url(url)
        except ValueError as error:
            raise UsageError(f"{name} {error}.") from error
    stopped = Event()

    def begin_unless_stopped(rows: int) -> Callable[[int], None]:
        told = begin(rows)

        def advance(count: int) -> None:
            if stopped.is_set():
                raise asyncio.CancelledError
            told(count)

        return advance

    now = SystemClock().now()
    try:
        return await asyncio.to_thread(copy_store, source, target, begin_unless_stopped, now=now)
    finally:
        stopped.set()
