"""A real sshd on loopback, as the small server of an office, with a key that may only forward one port."""

import getpass
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.parts import need


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class SshServer:
    """The server, and an `ssh` in *programs* that knows it as `vps`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sshd = need("sshd")
        self._log = folder / "sshd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self.remote_port = free_port(), free_port()
        self.target = f"{getpass.getuser()}@vps"
        self.programs = folder / "bin"
        self.programs.mkdir(parents=True)
        for name in ("host", "key", "other"):
            self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
        self.permit(folder / "key.pub")
        self.know_host(folder / "host.pub")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel VERBOSE\n"
        )
        (folder / "ssh_config").write_text(
            f"Host vps\n  HostName 127.0.0.1\n  Port {self.port}\n  IdentityFile {folder / 'key'}\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder / 'known_hosts'}\n"
            "  GlobalKnownHostsFile none\n"
        )
        program = self.programs / "ssh"
        program.write_text(f'#!/bin/sh\nexec {need("ssh")} -F {folder / "ssh_config"} "$@"\n')
        program.chmod(0o755)

    def permit(self, key: Path) -> None:
        """Let this key alone forward the port, and nothing else."""
        port = f'"127.0.0.1:{self.remote_port}"'
        only = f'restrict,port-forwarding,permitlisten={port},permitopen={port},command="/bin/false"'
        (self._folder / "authorized_keys").write_text(f"{only} {key.read_text()}")

    def know_host(self, key: Path | None) -> None:
        """Have the client know the server by this key, or not at all."""
        known = "" if key is None else f"[127.0.0.1]:{self.port} {key.read_text()}"
        (self._folder / "known_hosts").write_text(known)

    @property
    def other_key(self) -> Path:
        return self._folder / "other.pub"

    @property
    def own_key(self) -> Path:
        return self._folder / "key.pub"

    @property
    def host_key(self) -> Path:
        return self._folder / "host.pub"

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        with self._log.open("ab") as log:
            command = [str(self._sshd), "-D", "-e", "-f", str(self._folder / "sshd_config")]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.05)

    def sessions(self) -> list[int]:
        """The processes of the connections."""
        assert self._process is not None
        return _children(self._process.pid)

    def send(self, number: int) -> None:
        """Send a signal to every process of every connection."""
        for parent in self.sessions():
            _send(number, parent, *_children(parent))

    def end(self, sessions: Sequence[int]) -> None:
        """Have the server notice that these connections are over."""
        for parent in sessions:
            _send(signal.SIGKILL, *_children(parent), parent)

    def end_clients(self) -> None:
        """End every client without a word to the server."""
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if os.fsencode(self._folder / "ssh_config") in process.read_bytes().split(b"\0"):
                    _send(signal.SIGKILL, int(process.parent.name))

    def stop(self) -> None:
        if self._process is not None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            self._process = None

    @staticmethod
    def _run(*command: str) -> None:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _children(pid: int) -> list[int]:
    command = ["ps", "-o", "pid=", "--ppid", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


def _send(number: int, *pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    server = SshServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
