"""Starting the program, and talking to what it started."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import httpx2

from tests.support.leaks import require_no_leak
from tests.support.warm import CAN_FORK, Forked

API_KEY = "test-key-0123456789abcdef"
HOOK_TOKEN = "test-token-0123456789abcdef0123456789abcdef"
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

TELLING = (("demo",),)
"""Commands that show a text and its numbers on standard error: made up, and not a real person's."""

LONGEST = 60
"""Seconds that a command may take here, on a machine that is busy with other tests."""


class Started:
    """A command that stays, with its output."""

    def __init__(self, process: "subprocess.Popen[str] | Forked", *, tells: bool = False) -> None:
        """*tells* is true for a command that shows a text and its numbers to the person on purpose."""
        self.process = process
        self._tells = tells
        self._seen = ""
        self.public = ""
        self.private = ""

    def read_json(self) -> dict[str, Any]:
        """The JSON object that it prints when it is ready."""
        assert self.process.stdout is not None
        text = ""
        for line in self.process.stdout:
            text += line
            if line.startswith("}"):
                break
        assert text, self.stop()
        document: dict[str, Any] = json.loads(text)
        return document

    def read_log(self, *until: str) -> None:
        """
        Read standard error until each of *until* has been in a line; ``stop`` returns what was read as well.
        """
        assert self.process.stderr is not None
        missing = set(until)
        for line in self.process.stderr:
            self._seen += line
            missing = {words for words in missing if words not in line}
            if not missing:
                return
        raise AssertionError(self._seen)

    def post(self, payload: object, *, token: str = HOOK_TOKEN) -> httpx2.Response:
        """Post to IF3's webhook."""
        return httpx2.post(f"{self.public}/hooks/if3/{token}", json=payload, timeout=LONGEST, trust_env=False)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, and return the exit code and what was written to standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=LONGEST)
        errors, self._seen = self._seen + rest, ""
        if not self._tells:
            require_no_leak(errors, "The log")
        return self.process.wait(), errors


def wait_until(holds: Callable[[], bool], within: float = 90) -> None:
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.5)  # most of them ask a command, which is work itself


class Sandbox:
    """The simulator in a separate process."""

    def __init__(self, document: Mapping[str, str]) -> None:
        self.document = document
        self.url = document["url"]
        self.account_id = document["account_id"]
        self.company_id = document["company_id"]
        self.tracking_number = document["tracking_number"]

    def texts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._request("GET", "/sandbox/texts").json()
        return found

    def fault(self, **fault: object) -> None:
        self._request("POST", "/sandbox/faults", fault)

    def remove_faults(self) -> None:
        """Remove them, and go on with the requests that they delay."""
        self._request("DELETE", "/sandbox/faults")

    def opt_out(self, recipient: str) -> None:
        self._request("POST", "/sandbox/opt-outs", {"recipient": recipient})

    def reply(self, recipient: str, content: str) -> None:
        """Let a person write to the first number there is."""
        self._request("POST", "/sandbox/replies", {"recipient": recipient, "content": content})

    def send_by_others(self, recipient: str, content: str) -> None:
        """Send a text as if from CallRail's own page."""
        self._request("POST", "/sandbox/others", {"recipient": recipient, "content": content})

    def tell(self, **manner: object) -> None:
        """Have webhooks told in this manner."""
        self._request("POST", "/sandbox/webhooks", manner)

    def webhooks(self) -> list[dict[str, Any]]:
        """Those told so far, when each has its answer."""
        while True:
            told: list[dict[str, Any]] = self._request("GET", "/sandbox/webhooks").json()
            if all(one["status"] is not None for one in told):
                return told

    def _request(self, method: str, path: str, body: object = None) -> httpx2.Response:
        answer = httpx2.request(method, f"{self.url}{path}", json=body, trust_env=False, timeout=LONGEST)
        answer.raise_for_status()
        return answer


class Program:
    """The program on one machine: its environment, and a directory for its files."""

    def __init__(self, environment: dict[str, str], folder: Path, *, warm: bool = CAN_FORK) -> None:
        """*warm* is false where the time that loading takes belongs to the story."""
        self.environment = environment
        self.folder = folder
        self.warm = warm

    def run(
        self, *arguments: str, stdin: str | None = None, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, without a terminal."""
        with self._running(arguments, env, stdin or "") as process:
            output, errors = process.communicate(timeout=LONGEST)
        shown = subprocess.CompletedProcess(arguments, process.wait(), output, errors)
        if arguments[:1] not in TELLING:
            require_no_leak(_without_typed(shown.stderr, arguments), "Standard error")
        return shown

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        """The document that a command prints with --json."""
        shown = self.run(*arguments, "--json")
        assert shown.stdout, shown.stderr
        return json.loads(shown.stdout)

    def wait_for(self, status: str, count: int) -> None:
        """Return when *count* messages have *status*."""
        self.wait_until(lambda counts: counts[status] >= count)

    def wait_until_settled(self) -> None:
        """Return when nothing is queued or under way."""
        self.wait_until(lambda counts: counts["queued"] + counts["sending"] == 0)

    def wait_until(self, done: Callable[[Mapping[str, int]], bool]) -> None:
        end = time.monotonic() + 2 * LONGEST
        while not (done(counts := self._counts()) and done(self.json("status")["messages"])):
            assert time.monotonic() < end, counts
            time.sleep(0.2)  # another process has to get there, and each look is work itself

    def _counts(self) -> Mapping[str, int]:
        """The messages by status; from the file if that is the store, since a command is far more work."""
        file = Path(self.environment["CALLRAIL_RELAY_DATA"]) / "relay.db"
        if "CALLRAIL_RELAY_DATABASE__URL" in self.environment or not file.exists():
            counts: dict[str, int] = self.json("status")["messages"]
            return counts
        query = "SELECT status, SUM(messages) FROM tallies GROUP BY status"
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as store:
            return Counter(dict(store.execute(query)))

    @contextmanager
    def started(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Started]:
        """A command that stays, ended with the block."""
        with self._running(arguments, env) as process:
            started = Started(process, tells=arguments[:1] in TELLING)
            try:
                yield started
            finally:
                started.stop()

    @contextmanager
    def serving(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Started]:
        """`serve` on free ports."""
        ports = {"CALLRAIL_RELAY_DASHBOARD__PORT": "0"} | dict(env or {})
        with self.started("serve", "--port", "0", "--json", *arguments, env=ports) as started:
            listening = started.read_json()
            started.public, started.private = listening["public_url"], listening["private_url"]
            yield started

    def start(
        self, *arguments: str, env: Mapping[str, str] | None = None, words: str = ""
    ) -> "subprocess.Popen[str] | Forked":
        """Start the program with *words* on its standard input; the caller ends it."""
        environment = self.environment | dict(env or {})
        with TemporaryFile() as stdin:
            stdin.write(words.encode())
            stdin.seek(0)
            if self.warm:
                return Forked(arguments, environment, self.folder, stdin)
            return subprocess.Popen(
                [sys.executable, "-m", "callrail_relay", *arguments],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                cwd=self.folder,
                env=environment,
            )

    @contextmanager
    def _running(
        self, arguments: tuple[str, ...], env: Mapping[str, str] | None, words: str = ""
    ) -> "Iterator[subprocess.Popen[str] | Forked]":
        """The program until the end of the block."""
        with self.start(*arguments, env=env, words=words) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()


def _without_typed(words: str, arguments: tuple[str, ...]) -> str:
    """*words* without what the person typed, which is shown as it was typed."""
    for argument in sorted(arguments, key=len, reverse=True):
        words = words.replace(argument, "")
    return words
