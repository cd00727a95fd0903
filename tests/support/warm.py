"""
Starting the program without loading it each time: a process that has loaded it forks.

Loading is nine tenths of the work of a short command. What is started here is a process of its own all the
same, with its own arguments, environment, directory and streams; it ends, and dies of signals, as any other.
That the program starts from nothing is seen in tests/docs, in tests/acceptance/test_proxies.py, and on a
terminal.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, Self

import httpx2
import typer

from tests.support.certificates import keep_certificates
from tests.support.command_line import keep_commands
from tests.support.unmeasured import unmeasured

ROOT = Path(__file__).parents[2]
CAN_FORK = sys.platform == "linux"
"""Windows has no fork, and after one on macOS the system's own libraries may end the process."""

LATE = (
    "alembic.command",
    "anyio._backends._asyncio",
    "httpcore2",
    "jinja2",
    "keyring",
    "psycopg",
    "rich.progress",
    "rich.table",
    "truststore",
    "uvicorn.lifespan.off",
    "uvloop",
)
"""What the program imports once it needs it."""

LONGEST_REQUEST = 1 << 18  # bytes
ONE_LOADER = threading.Lock()


class Running:
    """The running program, on three streams of the caller: its input, output and errors."""

    def __init__(
        self, arguments: tuple[str, ...], environment: Mapping[str, str], folder: Path, *streams: int
    ) -> None:
        self.args = ("callrail-relay", *arguments)
        self.returncode: int | None = None
        request = {"arguments": arguments, "environment": dict(environment), "folder": str(folder)}
        with ONE_LOADER:
            loader = _loader()[1]
        self._told, told = _pipe()
        with told:
            socket.send_fds(loader, [json.dumps(request).encode()], [*streams, told.fileno()])
        self.pid = int(self._told.readline())

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return the exit code."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self._told.close()

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            self.returncode = int(self._told.readline())
        return self.returncode


class Forked(Running):
    """The running program, with what the tests use of ``subprocess.Popen``."""

    def __init__(
        self, arguments: tuple[str, ...], environment: Mapping[str, str], folder: Path, stdin: IO[Any]
    ) -> None:
        (self.stdout, stdout), (self.stderr, stderr) = _pipe(), _pipe()
        with stdout, stderr:
            streams = (stdin.fileno(), stdout.fileno(), stderr.fileno())
            super().__init__(arguments, environment, folder, *streams)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return what it wrote and was not read yet."""
        with ThreadPoolExecutor() as threads:
            written = [threads.submit(stream.read) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.send_signal(signal.SIGKILL)
                raise
            output, errors = (each.result() for each in written)
        return output, errors

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for stream in (self.stdout, self.stderr):
            stream.close()


def _pipe() -> tuple[IO[str], IO[str]]:
    reading, writing = os.pipe()
    return os.fdopen(reading, encoding="utf-8"), os.fdopen(writing, "w", encoding="utf-8")


@cache
def _loader() -> tuple["subprocess.Popen[bytes]", socket.socket]:
    """The process that has loaded the program, and our end of its socket; it ends when we end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())],
            cwd=ROOT,
            env=unmeasured() | {"PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # an interrupt from the keyboard is for the tests
        )
    return process, ours


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork for each request; return it in the child, and None at the end."""
    running: dict[int, int] = {}
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    while True:
        ready, _, _ = select.select([requests.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_who_ended(running)
        if requests.fileno() not in ready:
            continue
        request, files, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 4)
        if not request:
            return None
        *streams, told = files
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            requests.close()
            for end in (woken, wake, *files, *running.values()):
                os.close(end)
            return dict(json.loads(request))
        for stream in streams:
            os.close(stream)
        os.write(told, b"%d\n" % child)
        running[child] = told


def _tell_who_ended(running: dict[int, int]) -> None:
    while running:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        told = running.pop(child)
        os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(told)


def _become(request: dict[str, Any]) -> None:
    """Go on as the program, as if started with these arguments, in this environment and directory."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    time.tzset()
    if os.isatty(0):  # a terminal of its own, whose Ctrl-C reaches it
        os.login_tty(os.dup(0))
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", 1 if os.isatty(1) else -1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    if "COVERAGE_PROCESS_CONFIG" in os.environ:
        importlib.import_module("coverage").process_startup()
    sys.argv = ["callrail-relay", *request["arguments"]]
    try:
        runpy.run_module("callrail_relay", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        _end(end.code)
        raise


def _end(code: object) -> None:
    """
    End as Python does, but leave the memory to the system.

    To free every object would copy all the memory shared with the loader: most of what a short command costs.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing ends
    atexit._run_exitfuncs()  # noqa: SLF001 - as above
    with suppress(OSError):  # Python tells it
        sys.stdout.flush()
        sys.stderr.flush()
        if isinstance(code, int):
            os._exit(code)


def _load() -> None:
    package = importlib.import_module("callrail_relay")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(("__main__", ".env")) and ".versions." not in module.name:
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    keep_certificates()
    httpx2.create_ssl_context(trust_env=False)
    keep_commands()
    typer.main.get_command(importlib.import_module("callrail_relay.cli").app)
    gc.freeze()  # or each child would look through all that was loaded when it ends


if __name__ == "__main__":
    _load()
    with socket.socket(fileno=int(sys.argv[1])) as the_requests:
        the_request = _serve(the_requests)
    if the_request is not None:
        _become(the_request)
