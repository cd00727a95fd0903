"""``serve``, the relay; ``sandbox``, the CallRail simulator; ``demo``, one text through both."""

import asyncio
import gc
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from callrail_relay.cli import console
from callrail_relay.cli.console import given, load_context, say, sentence, show, stop_signal
from callrail_relay.cli.messages import message_document
from callrail_relay.domain.message import OPEN, Status
from callrail_relay.errors import AlreadyRunning, Unavailable
from callrail_relay.sentences import explain_all, when

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.cli.render import Narrator
    from callrail_relay.domain.events import Event


async def serve(
    host: str | None = None,
    port: int | None = None,
    dashboard: bool | None = None,
    sandbox: bool = False,
    log_level: str | None = None,
) -> None:
    overrides: dict[str, object] = {
        "server": {"host": host, "port": port},
        "dashboard": {"enabled": dashboard},
        "log": {"level": log_level},
    }
    async with AsyncExitStack() as stack:
        environ, token = None, os.environ.get("CALLRAIL_RELAY_HOOK_TOKEN")
        if sandbox:
            from callrail_relay.bootstrap.sandbox import open_sandbox

            box = await stack.enter_async_context(open_sandbox(port=0))
            say(sentence("sandbox", url=box.url))
            overrides, environ = overrides | box.overrides(), box.environ(token)
        context = load_context(overrides=overrides, environ=environ)
        try:
            await _serve(context, sandbox=sandbox, show_hook_url=sandbox and not token)
        except AlreadyRunning as error:
            if error.by != "serve":
                raise
            since = "" if error.since is None else f" since {when(error.since, context.clock.now())}"
            what = sentence("sandbox_beside" if sandbox else "open_dashboard")
            more = what if sandbox or error.has_dashboard else ""
            words = sentence("relay_runs", since=since, process=error.process, more=more)
            raise Unavailable(words) from error


async def _serve(context: "AppContext", *, show_hook_url: bool, sandbox: bool) -> None:
    from callrail_relay.bootstrap import credentials
    from callrail_relay.bootstrap.listeners import check_listening, open_listeners
    from callrail_relay.bootstrap.tunnels import keep_tunnel
    from callrail_relay.bootstrap.wiring import count_events, log_events, open_relay, open_worker
    from callrail_relay.cli.render import Narrator
    from callrail_relay.service.overview import ChangeSignal

    context.require_route()
    context.require_terms()
    metrics = count_events(context)
    signal = ChangeSignal()
    tell, log = log_events(context), context.settings.log
    narrator = None
    if sys.stderr.isatty() and log.format == "auto" and log.level == "info" and not given.as_json:
        tell = narrator = Narrator(context.clock)

    def hook(event: "Event") -> None:
        for notify in (tell, metrics, signal):
            notify(event)

    async with (
        stop_signal() as stopped,
        open_relay(context, hook, long_running=True) as relay,
        nullcontext() if narrator is None else _narrating(narrator, relay),
    ):
        # A store that can only be read would refuse every text: better to say so now.
        await relay.store.write_probe()
        async with (
            open_worker(relay, hook, long_running=True) as worker,
            open_listeners(relay, worker, hook=hook, metrics=metrics, signal=signal) as listening,
        ):
            if given.as_json:
                console.print_json({"public_url": listening.public_url, "private_url": listening.private_url})
            # The webhook URL contains a secret and stays out of service logs.
            say(sentence("sandbox_at" if sandbox else "listening", url=listening.public_url))
            if listening.login_url is not None:
                say(sentence("dashboard_at", url=listening.login_url))
            if show_hook_url:
                token = await credentials.require_hook_token(context)
                url = credentials.hook_url(context.settings, token, listening.public_url)
                say(sentence("hook_of_run", url=url))
            if not sandbox:  # otherwise IF3's texts would come here, and go nowhere
                worker.tasks.append(keep_tunnel(relay, hook, listening, worker.wake_all))
            # What is loaded by now stays. Collecting garbage in it would stop everything for 30 ms.
            gc.freeze()
            running = asyncio.create_task(worker.run())
            waiting = asyncio.create_task(stopped.wait())
            checking = asyncio.create_task(check_listening(listening.public_url, context.clock, hook))
            await asyncio.wait((running, waiting, checking), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            # What is in progress finishes first.
            worker.stop()
            await running
            if checking.done():
                checking.result()
            checking.cancel()


@asynccontextmanager
async def _narrating(narrator: "Narrator", relay: "Relay") -> AsyncIterator[None]:
    narrating = asyncio.create_task(narrator.run(relay.operations.find))
    try:
        yield
    finally:
        narrator(None)
        await asyncio.wait((narrating,), timeout=2)
        narrating.cancel()


async def sandbox(port: int = 8789, faults: str | None = None) -> None:
    from callrail_relay.bootstrap.sandbox import open_sandbox

    document = None if faults is None else console.read_input(faults)
    async with open_sandbox(port=port, faults=document) as box, stop_signal() as stopped:
        lines = [f"{name:<16} {value}" for name, value in box.document().items()]
        show(box.document(), "\n".join(lines))
        if not given.as_json:
            say(sentence("sandbox_listening"))
        await stopped.wait()


DEMO_LIMIT = 30  # seconds until its text has to be sent


async def demo(keep: bool = False) -> None:
    import httpx2

    from callrail_relay.bootstrap.credentials import hook_url, require_hook_token
    from callrail_relay.bootstrap.listeners import open_listeners
    from callrail_relay.bootstrap.sandbox import demonstration, open_sandbox
    from callrail_relay.bootstrap.wiring import open_relay, open_worker

    async with AsyncExitStack() as stack:
        directory = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="callrail-relay-demo-", ignore_cleanup_errors=True)
        )
        sandbox = await stack.enter_async_context(open_sandbox(port=0))
        context = demonstration(Path(directory), sandbox)
        stopped = await stack.enter_async_context(stop_signal())
        relay = await stack.enter_async_context(open_relay(context, long_running=True))
        worker = await stack.enter_async_context(open_worker(relay))
        listening = await stack.enter_async_context(open_listeners(relay, worker))
        running = asyncio.create_task(worker.run())
        url = hook_url(context.settings, await require_hook_token(context), base=listening.public_url)
        say(sentence("demo_up"))
        payload = console.WORDS["demo"]
        say(f"2. InvestorFuse posts a text to the relay's webhook:\n     {json.dumps(payload['message'])}")
        try:
            async with (
                asyncio.timeout(DEMO_LIMIT),
                httpx2.AsyncClient(trust_env=False, timeout=DEMO_LIMIT) as client,
            ):
                answer = (await client.post(url, json=payload)).raise_for_status().json()
                say(sentence("demo_taken", status=answer["status"], id=answer["id"]))
                [message] = await relay.operations.find(answer["id"])
                while message.status in OPEN:
                    await context.clock.sleep(0.02)
                    [message] = await relay.operations.find(answer["id"])
        except TimeoutError as error:
            raise Unavailable(sentence("demo_late", seconds=DEMO_LIMIT)) from error
        if message.status is not Status.SENT:
            why = explain_all(message.reasons)
            raise Unavailable(sentence("demo_failed", status=message.status, why=why))
        [text] = sandbox.simulator.texts
        say(sentence("demo_sends", tracking_number=text.tracking_number, recipient=text.recipient))
        attempt = message.segments[0].attempts[0]
        say(f"5. CallRail answers {attempt.http_status}: conversation {message.conversation_id}.")
        say("\nSent. With your own account it works the same: `callrail-relay configure`.")
        if given.as_json:
            console.print_json(message_document(message))
        if keep:
            say(f"\nStill running; Ctrl-C stops it.\n  Webhook:   {url}\n  Dashboard: {listening.login_url}")
            say(f"  CallRail:  {sandbox.url}/sandbox/texts")
            await stopped.wait()
        worker.stop()
        await running
