"""Builds the services on an open store, the worker, the connection to CallRail, alerts and metrics."""

import contextlib
import logging
import platform
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from callrail_relay.bootstrap.context import AppContext, listener_url, sentence
from callrail_relay.callrail.client import CallRail
from callrail_relay.clock import Clock, SystemClock
from callrail_relay.config.places import private_directory
from callrail_relay.config.secrets import SecretName
from callrail_relay.config.types import check_database_url
from callrail_relay.domain.events import Event, EventHook, ignore
from callrail_relay.domain.health import Facts
from callrail_relay.errors import SettingsError, UsageError
from callrail_relay.machine.addresses import fetch
from callrail_relay.machine.files import network_drive, synced_folder
from callrail_relay.machine.notes import read_note
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
from callrail_relay.service.overview import ChangeSignal
from callrail_relay.service.people import People
from callrail_relay.service.public_address import PublicAddress, PublicAddressWatch
from callrail_relay.service.reconciliation import Reconciliation
from callrail_relay.service.replies import Forwarding, InboundTexts, Polling
from callrail_relay.service.setup import cover_new_numbers
from callrail_relay.service.shadow import Conversations
from callrail_relay.telemetry import logs
from callrail_relay.telemetry.alerts import AppriseChannels
from callrail_relay.telemetry.metrics import Metrics

UNUSED = "unused-settings.json"  # the note of which settings in the file a running relay doesn't use yet


@dataclass(kw_only=True)
class Relay:
    context: AppContext  # with the settings that are in use: some can be changed while it runs
    store: Store
    hook: EventHook
    metrics: Metrics  # of all events
    signal: ChangeSignal  # of any event, for open pages
    intake: Intake
    operations: Operations
    people: People
    public_address: PublicAddress

    async def facts(self) -> Facts:
        """Return the facts of the verdict. Raises Unavailable."""
        return self.completed(await self.operations.facts())

    def completed(self, facts: Facts) -> Facts:
        """Return the store's facts with what is known on this computer."""
        unused = tuple(read_note(self.context.data / UNUSED) or ())
        return replace(facts, public_url=self.public_address.seen, unused_settings=unused)


def log_events(context: AppContext) -> EventHook:
    """Send logs where the settings say, and return the hook that writes events to them."""
    log = context.settings.log
    logs.configure(log.level, log.format)
    return logs.event_logger()


@asynccontextmanager
async def open_relay(
    context: AppContext, tell: EventHook = ignore, *, long_running: bool = False
) -> AsyncIterator[Relay]:
    """Open the services on a store; *tell* gets each event. Others can see that a *long_running* one runs."""
    server, signal = context.settings.server, ChangeSignal()
    metrics = Metrics(context.clock, context.routes.account_ids if long_running else ())

    def hook(event: Event) -> None:
        for notify in (tell, metrics, signal):
            notify(event)

    ask_outside = partial(fetch, from_outside=True)
    file, allowed = context.store_file, context.settings.database.allow_network_drive
    if file is not None and not allowed and (kind := network_drive(file)) is not None:
        raise SettingsError(sentence("network_drive", file=file, kind=kind))
    if long_running and (synced := synced_store(context)):
        logging.getLogger("callrail_relay").warning("%s", synced)
    store = await Store.open(context.settings.database.url, context.clock, serves=long_running)
    try:
        await store.read(presence.require_keeper)
        yield Relay(
            context=context,
            store=store,
            hook=hook,
            metrics=metrics,
            signal=signal,
            intake=Intake(store, context.mapping, random=context.random, clock=context.clock, hook=hook),
            operations=Operations(store, context.mapping),
            people=People(store),
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
async def open_worker(relay: Relay, *, long_running: bool = False) -> AsyncIterator[TaskGroup]:
    """Open a worker; a *long_running* one polls before it sends, and does what goes on beside delivery."""
    context, store, hook = relay.context, relay.store, relay.hook
    file = context.store_file
    names = private_directory(context.data) if file is None else presence.names_of_store(file)
    async with open_callrail(context, clock=store.clock) as callrail:
        with presence.node_name(names) as node, contextlib.closing(KeepAwake()) as keep_awake:
            await store.require_not_copied()
            await cover_new_numbers(store, context.routes.tracking_numbers)
            polls = context.polling
            closed = set(polls.accounts if long_running and polls else ())
            send, claim, lookups = callrail.send_text, context.claim, context.lookups
            concurrency = context.settings.delivery.concurrency
            delivery = Delivery(store, hook, send, claim, lookups, concurrency, context.random, node, closed)
            reconciliation = Reconciliation(store, hook, callrail.find_texts, lookups, delivery.wake)
            worker = TaskGroup(
                delivery, reconciliation, background.Wakeup(store, hook, (delivery, reconciliation))
            )
            if polls:
                texts = InboundTexts(store, hook, context.inbound, worker.wake_all)
                find = callrail.find_replies
                worker.polling = Polling(store, hook, find, polls, texts, closed, delivery.wake)
            if long_running:
                detector = relay.intake.sleep
                delivery.about_to_claim = detector.look
                if polling := worker.polling:
                    worker.tasks.append(polling)
                    detector.woken.append(polling.begin_again)
                detector.woken.append(worker.wake_all)
                hold = keep_awake.hold if context.settings.server.keep_awake else None
                worker.tasks.append(background.SleepWatch(store, hook, detector, hold))
                worker.tasks += _others(relay, callrail)
            yield worker


def _others(relay: Relay, callrail: CallRail) -> list[background.PeriodicTask]:
    """Return the tasks beside delivery that the settings ask for. Raises SettingsError."""
    context, store, hook = relay.context, relay.store, relay.hook
    tell, free_bytes = alert_sender(context), partial(_free_bytes, context.data)
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


async def try_alerts(context: AppContext) -> tuple[AppriseChannels, list[str]]:
    """Send a test alert; return the channels, and the names of those that failed. Raises SettingsError."""
    if (found := channels(context, "alerts.urls")) is None:
        raise SettingsError(sentence("no_channel", path=context.config_path))
    title, words = "callrail-relay: a test", sentence("test_alert")
    return found, await found.pass_on(title, words, found.names, "warning")


def copy_database(source: str, target: str, begin: Begin) -> dict[str, int]:
    """Copy a store; return the rows of each table. Raises UsageError for an address that can't be used."""
    for name, url in (("FROM", source), ("TO", target)):
        try:
            check_database_url(url)
        except ValueError as error:
            raise UsageError(f"{name} {error}.") from error
    return copy_store(source, target, begin, now=SystemClock().now())
