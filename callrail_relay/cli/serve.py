"""``serve``: both listeners and the delivery worker in one process."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callrail_relay.cli.console import Config, Json, print_json, say, server, stop_signal
from callrail_relay.errors import AlreadyRunning, Unavailable

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext
    from callrail_relay.bootstrap.listeners import Listening
    from callrail_relay.service.delivery import TaskGroup


@server
async def serve(
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="The webhook's address to listen on.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="PORT", min=0, max=65535, help="The webhook's port; 0 for any free one."
        ),
    ] = None,
    dashboard: Annotated[
        bool | None,
        typer.Option("--dashboard/--no-dashboard", help="Serve the dashboard.", show_default=False),
    ] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Send to a simulated CallRail.")] = False,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
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

    overrides: dict[str, object] = {
        "server": {"host": host, "port": port},
        "dashboard": {"enabled": dashboard},
        "log": {"level": log_level},
    }
    if not sandbox:
        await _serve_alone(load_context(config, overrides=overrides), as_json=as_json)
        return
    from callrail_relay.bootstrap.sandbox import open_sandbox

    async with open_sandbox(port=0) as box:
        say(f"Sandbox: nothing real is sent. What it takes is at {box.url}/sandbox/texts.")
        context = load_context(config, overrides=overrides | box.overrides(), environ=box.environ())
        context, throwaway = box.with_hook_token(context)
        await _serve_alone(context, as_json=as_json, show_hook_url=throwaway)


async def _serve_alone(context: "AppContext", *, as_json: bool, show_hook_url: bool = False) -> None:
    """Serve, or say who serves this store already."""
    from callrail_relay.cli.render import clock_time

    try:
        await _serve(context, as_json=as_json, show_hook_url=show_hook_url)
    except AlreadyRunning as error:
        since = "" if error.since is None else f" since {clock_time(error.since, context.clock.now())}"
        process = "" if error.pid is None else f" (process {error.pid})"
        if error.by != "serve":
            raise Unavailable(
                f"`callrail-relay {error.by}` is using the database{since}{process}. Start the relay when it "
                "has ended."
            ) from error
        dashboard = " Open its dashboard with `callrail-relay dashboard`." if error.has_dashboard else ""
        raise Unavailable(f"The relay is already running{since}{process}.{dashboard}") from error


async def _serve(context: "AppContext", *, as_json: bool, show_hook_url: bool = False) -> None:
    from callrail_relay.bootstrap import credentials
    from callrail_relay.bootstrap.listeners import check_listening, open_listeners
    from callrail_relay.bootstrap.wiring import count_events, log_events, open_relay, open_worker
    from callrail_relay.domain.events import every
    from callrail_relay.service.overview import ChangeSignal

    context.require_route()
    context.require_terms()
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
            _show(listening, as_json=as_json)
            if show_hook_url:
                token = await credentials.require_hook_token(context)
                url = credentials.hook_url(context.settings, token, listening.public_url)
                say(f"Webhook of this run: {url}")
            # What is loaded by now stays. To look through all of it stops everything for 30 ms.
            gc.freeze()
            await _work(worker, stopped, check_listening(context, listening, hook))


async def _work(worker: "TaskGroup", stopped: asyncio.Event, listening: Coroutine[Any, Any, None]) -> None:
    """Deliver until the stop signal, or until *listening* fails; what is under way then finishes first."""
    running = asyncio.create_task(worker.run())
    waiting = asyncio.create_task(stopped.wait())
    checking = asyncio.create_task(listening)
    await asyncio.wait((running, waiting, checking), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    worker.stop()
    await running
    if checking.done():
        checking.result()
    checking.cancel()


def _show(listening: "Listening", *, as_json: bool) -> None:
    """Where the relay listens. The webhook's URL holds a secret and stays out of service logs."""
    if as_json:
        print_json({"public_url": listening.public_url, "private_url": listening.private_url})
    say(f"Listening at {listening.public_url}; `callrail-relay hook-url` prints the URL for IF3.")
    if listening.login_url is not None:
        say(f"Dashboard, good for one log-in: {listening.login_url}")
