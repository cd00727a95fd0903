"""What launchd and the Task Scheduler start, as they start it: in a process of its own, without a console."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from callrail_relay.clock import pause
from tests.acceptance.program import LONGEST

SETTINGS = """\
[callrail]
api_url = "http://127.0.0.1:9"
account_id = "ACC1"
company_id = "COM1"
tracking_number = "+12025550133"
accepted_terms = true
[server]
port = {port}
[dashboard]
enabled = false
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Background:
    """The module, with settings, secrets and a log in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / "logs" / "callrail-relay.log"
        self.config = folder / "config.toml"
        self.config.write_text(SETTINGS.format(port=self.port), "utf-8")
        secrets = folder / "secrets.toml"
        secrets.write_text('api-key = "test-key"\nhook-token = "test-token-0123456789"\n', "utf-8")
        secrets.chmod(0o600)
        self._data = folder / "data"

    @contextmanager
    def started(self, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
        process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-P",
                    "-m",
                    "callrail_relay.cli.background",
                    "--log",
                    str(self.log),
                    *options,
                ),
                *(f"CALLRAIL_RELAY_CONFIG={self.config}", f"CALLRAIL_RELAY_DATA={self._data}"),
            ],
            env={name: value for name, value in os.environ.items() if not name.startswith("CALLRAIL")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            self.wait(answers=False)

    def wait(self, *, answers: bool, but: int | None = None) -> int | None:
        """Return the process that serves when the relay answers and is not *but*, or None when none does."""
        for _ in range(LONGEST * 10):
            try:
                httpx2.get(f"http://127.0.0.1:{self.port}/healthz", trust_env=False, timeout=LONGEST)
            except httpx2.TransportError:
                if not answers:
                    return None
            else:
                pid: int = json.loads((self._data / "relay.db-serve.json").read_text("utf-8"))["pid"]
                if answers and pid != but:
                    return pid
            pause(0.1)
        raise AssertionError(self.log.read_text("utf-8"))

    def lines(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]


@pytest.fixture
def background(tmp_path: Path) -> Background:
    return Background(tmp_path)


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--restart",), 3)])
def test_wrong_setting_ends_it_for_good(options: tuple[str, ...], code: int, background: Background) -> None:
    """launchd starts again what does not end with 0, and the Task Scheduler starts nothing again."""
    background.config.write_text("[colours]\n", "utf-8")

    with background.started(*options) as process:
        assert code == process.wait(LONGEST)

    [line] = background.lines()
    assert "colours" in line["words"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_crash_starts_it_again_and_its_end_stops_it(background: Background) -> None:
    """The relay is not left behind by the process that watches over it, however that ends."""
    with background.started("--restart") as process:
        first = background.wait(answers=True)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        second = background.wait(answers=True, but=first)
        assert process.poll() is None

        process.kill()
        background.wait(answers=False)

    assert second != first
    assert any(line["action"] == "said" and "Listening" in line["words"] for line in background.lines())


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a task without a signal")
def test_stop_is_clean_and_others_cannot_read_the_log(background: Background) -> None:
    with background.started() as process:
        background.wait(answers=True)
        process.send_signal(signal.SIGTERM)

        assert 0 == process.wait(LONGEST)

    assert 0o600 == background.log.stat().st_mode & 0o777
