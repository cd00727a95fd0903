"""Two nodes behind a proxy, as the page says: with its own files, and the real nginx and Caddy."""

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.acceptance import proxy
from tests.acceptance.program import HOOK_TOKEN, PAYLOAD, Program, Sandbox, Started
from tests.acceptance.proxy import Proxy, Starts, free_port, new_caddy, running
from tests.campaign.gate import Gate
from tests.support.parts import need

HOOK = f"/hooks/if3/{HOOK_TOKEN}"
TEXTS = 25
CONCURRENCY = 4  # the default of delivery.concurrency
LOOKS = 200
PEOPLE = ("+12025550122", "+12025550123", "+12025550124")

# Caddy is not asked for where tests may not be skipped: the one that Debian has is too old for the file.
PROXIES: dict[str, Starts] = {"nginx": proxy.nginx}
if new_caddy():
    PROXIES["Caddy"] = proxy.caddy


class Nodes:
    """Two relays on one database, each with its own files, which can be ended and started again."""

    def __init__(self, program: Program, database: str, stack: ExitStack) -> None:
        self._loaded = program
        self._from_nothing = Program(program.environment, program.folder, warm=False)
        self._stack = stack
        self.databases = [database, database]
        self.ports = [free_port(), free_port()]
        self.running: list[Started | None] = [None, None]
        self.program = Program(
            program.environment | {"CALLRAIL_RELAY_DATABASE__URL": database}, program.folder
        )

    def start(self, number: int, *, again: bool = False) -> None:
        """Start a node; one that starts *again* is away for as long as loading the program takes."""
        program = self._from_nothing if again else self._loaded
        environment = {
            "CALLRAIL_RELAY_DATABASE__URL": self.databases[number],
            "CALLRAIL_RELAY_DATA": str(program.folder / f"node-{number}"),
            "CALLRAIL_RELAY_SERVER__TRUSTED_PROXIES": '["127.0.0.1"]',
            "CALLRAIL_RELAY_DELIVERY__READ_TIMEOUT": "2",
            "CALLRAIL_RELAY_DELIVERY__RECONCILE_AFTER": '["0.5s", "1s", "2s"]',
            "CALLRAIL_RELAY_GUARDS__MASS_TEXT": "off",
        }
        serving = program.serving("--port", str(self.ports[number]), env=environment)
        self.running[number] = self._stack.enter_context(serving)

    def end(self, number: int, how: int) -> None:
        started = self.running[number]
        assert started is not None
        started.stop(how)


@pytest.fixture
def nodes(configured: Program, postgres_url: str) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes(configured, postgres_url, stack)


@pytest.fixture(params=PROXIES)
def starts(request: pytest.FixtureRequest) -> Starts:
    if request.param == "nginx":
        need("nginx")
    return PROXIES[request.param]


@pytest.fixture
def behind(nodes: Nodes, starts: Starts, tmp_path: Path) -> Iterator[Proxy]:
    """The proxy, before both nodes; what it logs never shows the secret."""
    for number in range(2):
        nodes.start(number)
    with running(starts, tmp_path / "proxy", nodes.ports) as found:
        yield found
    assert HOOK_TOKEN not in found.words()


def write(behind: Proxy, person: str, words: str) -> int:
    payload = PAYLOAD | {
        "message": words,
        "seller_phone": person,
        "seller_phone_non_international": person[2:],
    }
    return behind.post(HOOK, payload).status_code


@pytest.mark.timeout(180)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_no_text_is_lost_or_doubled_while_nodes_end(nodes: Nodes, behind: Proxy, sandbox: Sandbox) -> None:
    """
    One is killed, the other stopped, while people write: each text is taken, and sent once and in order.

    Only what the killed node had claimed and not sent yet is unconfirmed: CallRail doesn't show it.
    """
    written = threading.Semaphore(0)

    def write_all(person: str) -> list[int]:
        answers = []
        for number in range(TEXTS):
            answers.append(write(behind, person, f"Text {number:02} to {person[-2:]}"))
            written.release()
        return answers

    with ThreadPoolExecutor() as threads:
        answers = [threads.submit(write_all, person) for person in PEOPLE]
        for number, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
            for _ in range(20):
                written.acquire()
            nodes.end(number, how)
            nodes.start(number, again=True)
        assert [200] * TEXTS * len(PEOPLE) == [one for answer in answers for one in answer.result()]

    written_down = TEXTS * len(PEOPLE)
    nodes.program.wait_until(
        lambda counts: counts["sent"] == len(sandbox.texts()) >= written_down - counts["unknown"]
    )
    messages = nodes.program.json("messages", "list", "--limit", "0")
    unsent = [message["text"] for message in messages if message["status"] == "unknown"]
    assert len(unsent) <= CONCURRENCY
    taken = [text["content"] for text in sandbox.texts()]
    assert {1} == set(Counter([*taken, *unsent]).values())
    for person in PEOPLE:
        own = [words for words in taken if words.endswith(person[-2:])]
        all_of_them = [f"Text {number:02} to {person[-2:]}" for number in range(TEXTS)]
        assert [words for words in all_of_them if words not in unsent] == own
    # What the proxy repeated is held as a duplicate.
    assert {message["status"] for message in messages} <= {"sent", "held", "unknown"}


def test_a_node_without_its_database_is_passed_over(
    nodes: Nodes, starts: Starts, tmp_path: Path, postgres_url: str
) -> None:
    """
    It answers 503 at once, and the other one takes the text: nginx in the same request, Caddy as soon as
    it has asked after the node's health.
    """
    with cut_off(nodes, postgres_url) as gate, running_before(nodes, starts, tmp_path) as behind:
        gate.refuse()
        answers: list[int] = []
        while answers[-6:] != [200] * 6:
            answers.append(write(behind, PEOPLE[0], f"Text {len(answers):02}"))
            assert len(answers) < LOOKS, answers
            time.sleep(0.1)  # another process has to notice
        if starts is proxy.nginx:
            assert [200] * 6 == answers
        assert set(answers) <= {200, 503}


@pytest.mark.timeout(120)
def test_a_late_503_is_not_tried_elsewhere(
    nodes: Nodes, starts: Starts, tmp_path: Path, postgres_url: str
) -> None:
    """After 10 seconds the text may be in the store all the same, and no guard would know its double."""
    with cut_off(nodes, postgres_url) as gate, running_before(nodes, starts, tmp_path) as behind:
        gate.shut()
        with ThreadPoolExecutor() as threads:
            answers = list(
                threads.map(lambda one: write(behind, f"+1202555010{one}", f"Text {one}"), range(6))
            )
        assert {200, 503} == set(answers)
        gate.open()
        nodes.program.wait_for("sent", answers.count(200))
        stored = Counter(message["text"] for message in nodes.program.json("messages", "list"))
        assert {1} == set(stored.values())


def test_callers_are_told_apart_by_their_own_addresses(behind: Proxy) -> None:
    """Wrong secrets count against their real sender, whatever it claims to be; others are not limited."""
    claims = [{"X-Forwarded-For": f"198.51.100.{number}"} for number in range(60)]
    answers = [
        behind.post("/hooks/if3/wrong", {}, address="127.0.0.2", **claim).status_code for claim in claims
    ]

    assert [404, 429] == [answers[0], answers[-1]]
    assert 404 == behind.post("/hooks/if3/wrong", {}, address="127.0.0.3").status_code
    assert 404 == behind.post("/", {}).status_code


class Cut(Gate):
    """A way to the database that can be cut by other threads, silently or so that connections are refused."""

    def __init__(self, host: str, port: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(host, port)
        self._loop = loop

    def shut(self) -> None:
        self._loop.call_soon_threadsafe(super().shut)

    def open(self) -> None:
        self._loop.call_soon_threadsafe(super().open)

    def refuse(self) -> None:
        """End all connections, and take no new ones."""
        self._there = ("127.0.0.1", free_port())
        self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        for task in self._passing:
            task.cancel()


@contextmanager
def cut_off(nodes: Nodes, database: str) -> Iterator[Cut]:
    """Lets the first node reach the database through a gate."""
    address = sa.make_url(database)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    gate = Cut(address.host or "", address.port or 0, loop)
    listening = gate.listening()
    try:
        asyncio.run_coroutine_threadsafe(listening.__aenter__(), loop).result()
        nodes.databases[0] = address.set(port=gate.port).render_as_string(hide_password=False)
        yield gate
    finally:
        gate.open()
        asyncio.run_coroutine_threadsafe(listening.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def running_before(nodes: Nodes, starts: Starts, folder: Path) -> Iterator[Proxy]:
    for number in range(2):
        nodes.start(number)
    with running(starts, folder / "proxy", nodes.ports) as behind:
        yield behind
    assert HOOK_TOKEN not in behind.words()
