"""``sandbox``, the CallRail simulator alone, and ``demo``, one text on its whole way through it."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli.console import Json, print_json, say, show, stop_signal
from callrail_relay.cli.documents import message_document
from callrail_relay.domain.message import OPEN, Status
from callrail_relay.errors import NotFound, Unavailable
from callrail_relay.sentences import explain_all

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext
    from callrail_relay.bootstrap.sandbox import Sandbox

Port = Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="The port; 0 for any free one.")]
Faults = Annotated[Path | None, typer.Option(metavar="FILE", help="A JSON list of errors to simulate.")]
NoConfig = Annotated[Path | None, typer.Option("--config", hidden=True)]


async def sandbox(
    port: Port = 8789, faults: Faults = None, _config: NoConfig = None, as_json: Json = False
) -> None:
    """
    Run a simulated CallRail: no account, no real texts.

    It prints what to configure, and runs until Ctrl-C. See the texts it took at
    /sandbox/texts, and simulate errors at /sandbox/faults.

    Example:
    $ callrail-relay sandbox
    $ callrail-relay sandbox --port 0 --json --faults faults.json
    """
    from callrail_relay.bootstrap.sandbox import open_sandbox

    try:
        text = None if faults is None else faults.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"The file {faults} cannot be read; check its name and its rights.") from error
    async with open_sandbox(port=port, faults=text) as box, stop_signal() as stopped:
        lines = [f"{name:<16} {value}" for name, value in box.document().items()]
        show(box.document(), "\n".join(lines), as_json=as_json)
        if not as_json:
            say("Listening. Ctrl-C ends it.")
        await stopped.wait()


PAYLOAD = {
    "opportunity_id": 123456,
    "message": "Hi Dana, are you still thinking of selling 12 Oak St?",
    "sender_id": 789,
    "seller_id": 4567,
    "seller": "Dana Example",
    "seller_phone": "+12025550122",
    "seller_phone_non_international": "2025550122",
    "team_id": 42,
}


async def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep running until Ctrl-C, to try more.")] = False,
    _config: NoConfig = None,
    as_json: Json = False,
) -> None:
    """
    Send one simulated text end to end.

    It needs no account and sends nothing real. It uses a temporary directory,
    and doesn't touch your settings or keyring.

    Example:
    $ callrail-relay demo
    $ callrail-relay demo --keep
    """
    from callrail_relay.bootstrap.sandbox import demonstration, open_sandbox

    with tempfile.TemporaryDirectory(prefix="callrail-relay-demo-", ignore_cleanup_errors=True) as directory:
        async with open_sandbox(port=0) as sandbox:
            await _demonstrate(demonstration(Path(directory), sandbox), sandbox, keep=keep, as_json=as_json)


async def _demonstrate(context: "AppContext", sandbox: "Sandbox", *, keep: bool, as_json: bool) -> None:
    import httpx

    from callrail_relay.bootstrap.credentials import hook_tokens, hook_url, require_hook_token
    from callrail_relay.bootstrap.listeners import open_listeners
    from callrail_relay.bootstrap.wiring import open_relay, open_worker

    tokens = await hook_tokens(context)
    async with (
        stop_signal() as stopped,
        open_relay(context, long_running=True) as relay,
        open_worker(relay) as worker,
        open_listeners(relay, worker, tokens) as listening,
    ):
        running = asyncio.create_task(worker.run())
        url = hook_url(context.settings, await require_hook_token(context), base=listening.public_url)
        say("1. A simulated CallRail and the relay are up, both on this machine only.")
        say(f"2. InvestorFuse posts a text to the relay's webhook:\n     {json.dumps(PAYLOAD['message'])}")
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = (await client.post(url, json=PAYLOAD)).raise_for_status().json()
        say(f"3. The relay has it on disk and answers {answer['status']}, id {answer['id']}.")
        async with asyncio.timeout(30):
            [message] = await relay.operations.find(answer["id"])
            while message.status in OPEN:
                await context.clock.sleep(0.02)
                [message] = await relay.operations.find(answer["id"])
        if message.status is not Status.SENT:
            why = explain_all(message.reasons)
            raise Unavailable(f"The demonstration failed: the text is {message.status}. {why}")
        [text] = sandbox.simulator.texts
        say(f"4. The relay sends it from {text.tracking_number} to {text.customer_phone_number}.")
        attempt = message.segments[0].attempts[0]
        say(f"5. CallRail answers {attempt.http_status}: conversation {message.conversation_id}.")
        say("\nSent. With your own account it works the same: `callrail-relay configure`.")
        if as_json:
            print_json(message_document(message))
        if keep:
            say(f"\nStill up; Ctrl-C ends it.\n  Webhook:   {url}\n  Dashboard: {listening.login_url}")
            say(f"  CallRail:  {sandbox.url}/sandbox/texts")
            await stopped.wait()
        worker.stop()
        await running
