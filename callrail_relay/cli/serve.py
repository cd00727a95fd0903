"""``serve``: both listeners and the delivery worker in one process."""

import asyncio
import gc
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli.console import Config, Json, print_json, say, stop_signal
from callrail_relay.errors import AlreadyRunning, Unavailable

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext

Host = Annotated[str | None, typer.Option(metavar="ADDRESS", help="The webhook's address to listen on.")]
Port = Annotated[
    int | None, typer.Option(metavar="PORT", min=0, max=65535, help="The webhook's port; 0 for any free one.")
]
LogLevel = Annotated[str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")]


async def serve(
    host: Host = None,
    port: Port = None,
    dashboard: Annotated[bool | None, typer.Option(help="Serve the dashboard.", show_default=False)] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Send to a simulated CallRail.")] = False,
    log_level: LogLevel = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """
    Run the relay: take texts from IF3 and send them.

    It runs until Ctrl-C, and you can stop it at any moment. A text that was
    answered with 200 is on disk: it's sent, or you see why it wasn't.

    Example:
    $ callrail-relay serve
    $ callrail-relay serve --port 8080 --no-dashboard
    $ callrail-relay serve --sandbox
    """
    from callrail_relay.bootstrap.context import load_context
    from callrail_relay.cli.render import clock_time

    overrides: dict[str, object] = {
        "server": {"host": host, "port": port},
        "dashboard": {"enabled": dashboard},
        "log": {"level": log_level},
    }
    async with AsyncExitStack() as stack:
        throwaway = False
        if sandbox:
            from callrail_relay.bootstrap.sandbox import open_sandbox

            box = await stack.enter_async_context(open_sandbox(port=0))
            say(f"Sandbox: nothing real is sent. What it takes is at {box.url}/sandbox/texts.")
            context = load_context(config, overrides=overrides | box.overrides(), environ=box.environ())
            context, throwaway = await box.with_hook_token(context)
        else:
            context = load_context(config, overrides=overrides)
        try:
            await _serve(context, as_json=as_json, show_hook_url=throwaway)
        except AlreadyRunning as error:
            since = "" if error.since is None else f" since {clock_time(error.since, context.clock.now())}"
            process = "" if error.pid is None else f" (process {error.pid})"
            if error.by != "serve":
                raise Unavailable(
                    f"`callrail-relay {error.by}` is using the database{since}{process}. Start the relay "
                    "when it has ended."
                ) from error
            link = " Open its dashboard with `callrail-relay dashboard`." if error.has_dashboard else ""
            raise Unavailable(f"The relay is already running{since}{process}.{link}") from error


async def _serve(context: "AppContext", *, as_json: bool, show_hook_url: bool) -> None:
    from callrail_relay.bootstrap import credentials
    from callrail_relay.bootstrap.listeners import check_listening, open_listeners
    from callrail_relay.bootstrap.wiring import count_events, log_events, open_relay, open_worker
    from callrail_relay.domain.events import every
    from callrail_relay.service.changes import ChangeSignal

    context.require_ready_to_send()
    metrics = count_events(context)
    signal = ChangeSignal()
    hook = every(log_events(context), metrics, signal)
    async with stop_signal() as stopped, open_relay(context, hook, long_running=True) as relay:
        known = await credentials.hook_tokens(context, relay.store)
        # A store that can only be read would refuse every text: better to say so now.
        await relay.store.write_probe()
        async with (
            open_worker(relay, hook, long_running=True) as worker,
            open_listeners(relay, worker, known, hook=hook, metrics=metrics, signal=signal) as listening,
        ):
            if as_json:
                print_json({"public_url": listening.public_url, "private_url": listening.private_url})
            # The webhook's URL holds a secret and stays out of service logs.
            say(f"Listening at {listening.public_url}; `callrail-relay hook-url` prints the URL for IF3.")
            if listening.login_url is not None:
                say(f"Dashboard, good for one log-in: {listening.login_url}")
            if show_hook_url:
                token = await credentials.require_hook_token(context)
                url = credentials.hook_url(context.settings, token, listening.public_url)
                say(f"Webhook of this run: {url}")
            # What is loaded by now stays. To look through all of it stops everything for 30 ms.
            gc.freeze()
            running = asyncio.create_task(worker.run())
            waiting = asyncio.create_task(stopped.wait())
            checking = asyncio.create_task(check_listening(context, listening, hook))
            await asyncio.wait((running, waiting, checking), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            # What is under way finishes first.
            worker.stop()
            await running
            if checking.done():
                checking.result()
            checking.cancel()
