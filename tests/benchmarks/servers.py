"""Starting the servers that are measured, and reading what they cost. Linux only: it reads ``/proc``."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.benchmarks.yardsticks import CALLRAIL, STORE

LOOP = "BENCHMARK_LOOP"
"""
The variable that says on which event loop everything that is measured runs: uvloop, or asyncio, which is what
there is without the extra ``speed``. The load and the CallRail of the benchmark run on the quickest there is.
"""

TOKEN = "benchmark-token-0123456789abcdef01234567"
ACCOUNT = "ACC00000000000000000000000000000001"
PLENTY = 1_000_000

_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class Server:
    """A process that serves, and how to reach it."""

    process: subprocess.Popen[bytes]
    url: str
    private_url: str | None = None

    @property
    def hook(self) -> str:
        return f"{self.url}/hooks/if3/{TOKEN}"

    def memory(self) -> float:
        """Megabytes that it and its children have in memory (RSS)."""
        return sum(_memory(pid) for pid in _tree(self.process.pid)) / 1024

    def cpu(self) -> float:
        """Seconds of CPU time that it and its children took so far."""
        return sum(_cpu(pid) for pid in _tree(self.process.pid))

    def wake_ups(self) -> int:
        """How often one of its threads gave up the CPU to wait for something, so far."""
        return sum(_wake_ups(task) for task in Path(f"/proc/{self.process.pid}/task").iterdir())


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _tree(int(child))


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def _cpu(pid: int) -> float:
    # Fields 14 and 15 of proc(5); the name before them may hold blanks and ends with the last bracket.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _wake_ups(task: Path) -> int:
    lines = (task / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))


@contextmanager
def sink() -> Iterator[Server]:
    """The CallRail of the benchmark."""
    command = (sys.executable, "-m", "tests.benchmarks.sink")
    with _process(command, os.environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Server(process, f"http://127.0.0.1:{int(process.stdout.readline())}")


def arrived(callrail: Server) -> dict[int, float]:
    """When each text arrived at CallRail since this was last asked."""
    with urllib.request.urlopen(f"{callrail.url}/arrived") as answer:
        report = json.load(answer)
    assert report["again"] == 0, f"{report['again']} texts were sent twice"
    return {int(number): at for number, at in report["arrived"].items()}


@contextmanager
def yardstick(name: str, folder: Path, callrail: Server) -> Iterator[Server]:
    """An app of ``yardsticks`` under uvicorn as it comes, without its access log."""
    port = _free_port()
    command = (
        *(sys.executable, "-m", "uvicorn", f"tests.benchmarks.yardsticks:{name}"),
        *("--port", str(port), "--log-level", "error", "--no-access-log", "--loop", _loop()),
    )
    environment = {**os.environ, STORE: str(folder / "yardstick.db"), CALLRAIL: callrail.url}
    with _process(command, environment) as process:
        server = Server(process, f"http://127.0.0.1:{port}")
        wait_until_answered(server.hook, process)
        yield server


RED = "node_modules/node-red/red.js"
NODE = ("node_modules/.bin/node", "node_modules/.bin/node.exe")


@contextmanager
def node_red(installed: Path, folder: Path, callrail: Server) -> Iterator[Server]:
    """
    Node-RED as npm *installed* it there, with a flow that answers each webhook and posts it to CallRail.

    It runs on that folder's own `node` if it has one, else on the one on `PATH`.
    """
    port, script = _free_port(), (Path(__file__).parent / "node_red.js").read_text(encoding="utf-8")
    url = f"{callrail.url}/v3/a/100000001/text-messages.json"
    fields = ("http in", "http response", "http request", "function")
    flow: list[dict[str, object]] = [{"id": "tab", "type": "tab", "label": "relay"}]
    # A node that has no place on the page counts as a configuration.
    at = {"z": "tab", "x": 100, "y": 100}
    flow += [{"id": kind.replace(" ", ""), "type": kind, "wires": [], **at} for kind in fields]
    flow[1] |= {"url": "/hooks/if3/:token", "method": "post", "wires": [["httpresponse", "function"]]}
    flow[2] |= {"statusCode": "200"}
    flow[3] |= {"method": "POST", "url": url, "ret": "obj", "persist": True}
    flow[4] |= {"func": script, "outputs": 1, "wires": [["httprequest"]]}
    (folder / "flows.json").write_text(json.dumps(flow), encoding="utf-8")
    settings = {"uiPort": port, "uiHost": "127.0.0.1", "flowFile": "flows.json", "httpAdminRoot": False}
    settings |= {"logging": {"console": {"level": "error"}}, "telemetry": {"enabled": False}}
    (folder / "settings.js").write_text(f"module.exports = {json.dumps(settings)}", encoding="utf-8")
    node = next((str(installed / one) for one in NODE if (installed / one).exists()), "node")
    where = ("--userDir", str(folder), "--settings", str(folder / "settings.js"))
    command = (node, str(installed / RED), *where)
    with _process(command, os.environ, stdout=subprocess.DEVNULL) as process:
        server = Server(process, f"http://127.0.0.1:{port}")
        wait_until_answered(server.hook, process)
        yield server


@contextmanager
def relay(folder: Path, callrail: Server, **settings: object) -> Iterator[Server]:
    """
    ``callrail-relay serve`` on the data in *folder*; *settings* are names of the environment without prefix.
    """
    program = ("-m", "callrail_relay") if _loop() == "uvloop" else ("-c", _WITHOUT_UVLOOP)
    command = (sys.executable, *program, "serve", "--port", "0", "--json")
    environment = relay_environment(folder, callrail, **settings)
    with _process(command, environment, stdout=subprocess.PIPE) as process:
        listening = _listening(process)
        yield Server(process, listening["public_url"], listening["private_url"])


def run(folder: Path, callrail: Server, *words: str, **settings: object) -> None:
    """Run a command of the relay on the data in *folder*."""
    command = (sys.executable, "-m", "callrail_relay", *words)
    environment = relay_environment(folder, callrail, **settings)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def _loop() -> str:
    return os.environ.get(LOOP, "asyncio")


_WITHOUT_UVLOOP = """
import sys
sys.modules["uvloop"] = None  # as where it is not installed
from callrail_relay.cli import main
sys.exit(main())
"""


def _listening(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    lines = b""
    while not lines.endswith(b"}\n"):
        line = process.stdout.readline()
        assert line, "serve ended before it listened"
        lines += line
    found: dict[str, Any] = json.loads(lines)
    return found


def relay_environment(folder: Path, callrail: Server, **settings: object) -> dict[str, str]:
    """The defaults of a relay, but for CallRail's address, polls, and *settings*."""
    ours = {
        "CALLRAIL__API_URL": callrail.url,
        "CALLRAIL__ACCOUNT_ID": ACCOUNT,
        "CALLRAIL__COMPANY_ID": "COM00000000000000000000000000000001",
        "CALLRAIL__TRACKING_NUMBER": "+12025550133",
        "CALLRAIL__ACCEPTED_TERMS": "true",
        "REPLIES__POLL_EVERY": "off",  # its CallRail has no replies to read, and sending would wait for them
        "DASHBOARD__PORT": "0",
        "DATA": str(folder),
        "CONFIG": str(folder / "config.toml"),
        "HOOK_TOKEN": TOKEN,
        **{name: str(value) for name, value in settings.items()},
    }
    (folder / "config.toml").touch()
    return {
        **os.environ,
        **{f"CALLRAIL_RELAY_{name}": value for name, value in ours.items()},
        "CALLRAIL_API_KEY": "key",
    }


RAISED = {"LIMITS__PER_HOUR": PLENTY, "LIMITS__PER_DAY": PLENTY}
"""Settings under which no budget stops a text."""


@contextmanager
def _process(
    command: tuple[str, ...], environment: Mapping[str, str], *, stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, env=environment, stdout=stdout, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def wait_until_answered(url: str, process: subprocess.Popen[bytes], body: bytes = b"{}") -> None:
    """Return when *url* answers a POST of *body* with 2xx, or with a server error, for the first time."""
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    while True:
        assert process.poll() is None, "the server ended before it listened"
        try:
            urllib.request.urlopen(request).close()
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                return
            time.sleep(0.002)  # it listens before it knows its pages
        except OSError:
            time.sleep(0.002)  # another process has to start
        else:
            return


def post_load(url: str, **options: object) -> dict[str, Any]:
    """Run the load generator and return its report; every status must be 200."""
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = (sys.executable, "-m", "tests.benchmarks.load", url, *flags)
    report: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert set(report["statuses"]) == {"200"}, f"not every answer was 200: {report['statuses']}"
    return report
