"""CallRail's webhooks between two programs: the relay as it is installed, and the sandbox."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue

import pytest

from callrail_relay.callrail.client import CallRail
from callrail_relay.service.replies import EVENT
from tests.acceptance.program import HOOK_TOKEN, LONGEST, PAYLOAD, Program, Sandbox, Started

PERSON = "+12025550122"


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


@pytest.fixture
def registered(configured: Program, sandbox: Sandbox, port: int) -> Program:
    """A relay that gets CallRail's webhooks; `configure --webhooks` registers no address on this computer."""

    async def register() -> str | None:
        url = f"http://127.0.0.1:{port}/hooks/callrail/{HOOK_TOKEN}?{EVENT}="
        key, short = configured.environment["CALLRAIL_API_KEY"], 10.0
        async with CallRail.open(
            key, api_url=sandbox.url, connect_timeout=short, read_timeout=short
        ) as callrail:
            company = sandbox.account_id, sandbox.company_id
            urls = {event: f"{url}{event}" for event in ("received", "sent")}
            await callrail.change_webhooks(*company, lambda _: False, urls)
            return (await callrail.webhooks(*company)).signing_key

    signing_key = asyncio.run(register())
    assert signing_key is not None
    configured.environment["CALLRAIL_SIGNING_KEY"] = signing_key
    return configured


@pytest.fixture
def serving(registered: Program, port: int) -> Iterator[Started]:
    with registered.serving("--port", str(port)) as process:
        yield process


def write(serving: Started, words: str) -> str:
    answer = serving.post(PAYLOAD | {"message": words})
    assert 200 == answer.status_code
    id_: str = answer.json()["id"]
    return id_


def test_stop_holds_and_start_lets_flow(registered: Program, sandbox: Sandbox, serving: Started) -> None:
    """
    A person replies STOP: the next text is held. START: the next one is sent. Numbers are masked throughout.
    """
    sandbox.tell(masked=True, times=2)
    write(serving, "Hi Dana, are you still thinking of selling?")
    registered.wait_for("sent", 1)

    sandbox.reply(PERSON, "Stop.")
    assert {200} == {told["status"] for told in sandbox.webhooks()}
    held = write(serving, "One more thing")
    registered.wait_for("held", 1)
    [message] = [registered.json("messages", "show", held)]
    assert "opted out" in message["reason"]
    assert 1 == len(sandbox.texts())

    sandbox.reply(PERSON, "START")
    assert {200} == {told["status"] for told in sandbox.webhooks()}
    write(serving, "Good to hear from you")
    registered.wait_for("sent", 2)

    assert ["Hi Dana, are you still thinking of selling?", "Good to hear from you"] == [
        text["content"] for text in sandbox.texts()
    ]
    _, errors = serving.stop()
    actions = [json.loads(line)["action"] for line in errors.splitlines() if line.startswith("{")]
    assert (1, 1, 2) == tuple(actions.count(one) for one in ("opted_out", "opted_in", "reply_received"))
    assert "Stop." not in errors
    assert PERSON not in errors


def test_a_webhook_settles_what_no_answer_told(
    registered: Program, sandbox: Sandbox, serving: Started
) -> None:
    """Long before the first look-up. What others send uses the budget, and what is wrongly signed nothing."""
    sandbox.fault(kind="drop_answer", times=1)
    id_ = write(serving, "Hello")
    registered.wait_for("sent", 1)
    evidence = json.dumps(registered.json("messages", "show", id_))
    assert "CallRail's webhook says that it went out" in evidence
    assert 1 == len(sandbox.texts())

    sandbox.tell()
    sandbox.send_by_others(PERSON, "From CallRail's page")
    sandbox.tell(wrong_signature=True)
    sandbox.send_by_others(PERSON, "From who knows where")
    assert [200, 200, 401] == [told["status"] for told in sandbox.webhooks()]
    [account] = registered.json("status")["accounts"]
    assert 2 == account["hour"]["used"]


def test_replies_are_looked_for_and_passed_on(configured: Program, sandbox: Sandbox) -> None:
    """Where no webhook can reach the relay."""
    taken: SimpleQueue[bytes] = SimpleQueue()

    class Channel(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Channel) as channel:
        threading.Thread(target=channel.serve_forever, daemon=True).start()
        configured.environment |= {
            "CALLRAIL_RELAY_REPLIES__POLL_EVERY": "1m",
            "CALLRAIL_RELAY_REPLIES__FORWARD_TO": f"json://127.0.0.1:{channel.server_port}/",
        }
        sandbox.reply(PERSON, "Please do not text me again")
        sandbox.reply(PERSON, "STOP")
        with configured.serving() as serving:
            passed_on = [json.loads(taken.get(timeout=LONGEST))["message"] for _ in range(2)]
            write(serving, "Hello")
            configured.wait_for("held", 1)
        channel.shutdown()

    assert {"Please do not text me again", "STOP"} == {words.splitlines()[0] for words in passed_on}
    assert [] == sandbox.texts()
    [doctor] = [one for one in configured.json("doctor")["checks"] if one["name"] == "replies"]
    assert doctor["detail"].startswith("Replies were last read ")
    assert doctor["detail"].endswith(
        ". The relay reads them every 1 minute. Replies are forwarded to 1 channel."
    )


def test_an_opt_out_that_came_while_the_relay_was_off_holds_what_is_queued(
    configured: Program, sandbox: Sandbox
) -> None:
    """Without any setting: the first poll comes before the first text."""
    queued = configured.run("send", "--no-wait", "--to", PERSON, "--message", "Hello")
    assert 0 == queued.returncode, queued.stderr
    sandbox.reply(PERSON, "Stop texting me")

    with configured.serving():
        configured.wait_for("held", 1)

    assert [] == sandbox.texts()


def test_a_channel_that_makes_no_sense_ends_the_start(configured: Program) -> None:
    configured.environment["CALLRAIL_RELAY_REPLIES__FORWARD_TO"] = "bogus://hunter2"

    started = configured.run("serve", "--port", "0")

    assert 3 == started.returncode
    assert "replies.forward_to[0] (bogus) isn't an address that Apprise knows" in started.stderr
    assert "hunter2" not in started.stderr
