"""A whole relay beside the test: sandbox, both listeners, and the worker, in an event loop of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal

from callrail_relay.bootstrap.context import AppContext
from callrail_relay.bootstrap.credentials import ask_for_link, hook_url, require_hook_token
from callrail_relay.bootstrap.listeners import Listening, open_listeners
from callrail_relay.bootstrap.sandbox import demonstration, open_sandbox
from callrail_relay.bootstrap.wiring import Relay, open_relay, open_worker
from callrail_relay.callrail.simulator import Fault, Simulator
from callrail_relay.clock import Clock
from callrail_relay.config.loading import load
from callrail_relay.config.saving import update
from callrail_relay.domain.message import MessageFilter, Status
from callrail_relay.outbox import presence
from tests.support.clock import ManualClock
from tests.web.made_up import SentByZap

T = TypeVar("T")

FLAGS = {
    "server": ("host", "port"),
    "dashboard": ("host", "port"),
    "database": ("url", "allow_network_drive"),
}
"""What such a relay is given beside its file."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    context: AppContext
    relay: Relay
    listening: Listening
    simulator: Simulator
    hook_url: str


class Running:
    """The relay as a browser and IF3 reach it; ``call`` does something in its event loop."""

    def __init__(self, portal: BlockingPortal, parts: Parts) -> None:
        self._portal = portal
        self.parts = parts
        self.relay = parts.relay
        self.simulator = parts.simulator
        assert parts.listening.private_url is not None
        assert parts.listening.login_url is not None
        self.url = parts.listening.private_url
        self.login_url = parts.listening.login_url

    def call(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        return self._portal.call(function, *arguments)

    def fault(self, *faults: Fault) -> None:
        self.simulator.fault(*faults)

    def post(self, **payload: object) -> None:
        """Post a text to IF3's webhook."""
        httpx2.post(self.parts.hook_url, json=payload, trust_env=False).raise_for_status()

    def send_by_zap(self, sent: Iterable[SentByZap]) -> None:
        """Have CallRail's conversations show these texts, as another program sent them."""
        clock = self.simulator.clock
        for one in sorted(sent, key=lambda one: one.at):
            self.simulator.clock = ManualClock(one.at)
            number = self.simulator.tracking_number
            self.simulator.record(number, one.who.phone, one.words, "outgoing")
        self.simulator.clock = clock

    def new_link(self) -> str:
        """One more link, as `callrail-relay dashboard` prints it."""
        return self.call(ask_for_link, self.parts.context)

    def ids(self, status: str) -> list[str]:
        """The ids of the newest texts with *status*."""
        found = self.call(
            self.relay.operations.list_messages, MessageFilter(statuses=(Status(status),), limit=500)
        )
        return [message.id for message in found]


@contextmanager
def running(
    folder: Path,
    *,
    clock: Clock | None = None,
    deliver: bool = True,
    long_running: bool = False,
    prepare: Callable[[AppContext], None] | None = None,
    **settings: dict[str, Any],
) -> Iterator[Running]:
    """
    A relay that keeps everything in *folder*, until the end of the block.

    Without *deliver* nothing is sent. One that is *long_running* does, as `serve`, what is beside delivery.
    *prepare* may fill the store before the relay opens it.
    """
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            _parts(folder, clock, prepare, settings, deliver=deliver, long_running=long_running)
        ) as parts,
    ):
        yield Running(portal, parts)


@asynccontextmanager
async def _parts(
    folder: Path,
    clock: Clock | None,
    prepare: Callable[[AppContext], None] | None,
    settings: dict[str, dict[str, Any]],
    *,
    deliver: bool,
    long_running: bool,
) -> AsyncIterator[Parts]:
    async with open_sandbox(port=0) as sandbox:
        context = demonstration(folder, sandbox)
        # In the file, as with everybody: the dashboard changes them there.
        update(context.config_path, sandbox.overrides() | settings)
        flags = {
            name: {
                key: getattr(getattr(context.settings, name), key)
                for key in keys
                if key not in settings.get(name, {})
            }
            for name, keys in FLAGS.items()
        }
        context = replace(context, overrides=flags, settings=load(context.config_path, overrides=flags))
        if clock is not None:
            context = replace(context, clock=clock)
        if prepare is not None:
            prepare(context)
        async with (
            open_relay(context, long_running=True) as relay,
            open_worker(relay, long_running=long_running) as worker,
            open_listeners(relay, worker) as listening,
            anyio.create_task_group() as tasks,
        ):
            if deliver:
                tasks.start_soon(worker.run)
            await relay.store.write(presence.note_contacts, context.routes.account_ids, answered=True)
            token = await require_hook_token(context)
            yield Parts(
                context=context,
                relay=relay,
                listening=listening,
                simulator=sandbox.simulator,
                hook_url=hook_url(context.settings, token, listening.public_url),
            )
            worker.stop()
