"""nginx and Caddy in front of two nodes, with the very files that the pages hand out."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.docs.markdown import DOCS
from tests.support.parts import PARTS, find, need

DEPLOY = DOCS / "deploy"
CADDY_FROM = (2, 7)
"""Older ones, as that of Debian 12, send the other node a request without its body."""

LOOKS = 200


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A running proxy: where it listens, and where it writes what it has to say."""

    url: str
    folder: Path

    def words(self) -> str:
        """All that it logged."""
        logs = (path for path in self.folder.rglob("*") if path.is_file() and path.suffix in (".log", ".out"))
        return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in logs)

    def post(
        self, path: str, payload: object, *, address: str = "127.0.0.1", **headers: str
    ) -> httpx2.Response:
        """Post as a caller from *address* does."""
        transport = httpx2.HTTPTransport(local_address=address, verify=False)
        with httpx2.Client(transport=transport, timeout=30) as client:
            return client.post(f"{self.url}{path}", json=payload, headers=headers)

    def health(self) -> int:
        try:
            return httpx2.get(f"{self.url}/healthz", verify=False, trust_env=False).status_code
        except httpx2.TransportError:
            return 0


Starts = Callable[[Path, list[int]], "tuple[list[str], dict[str, str], str]"]
"""How to start a proxy in a folder, before nodes on these ports: command, environment and URL."""


@contextmanager
def running(start: Starts, folder: Path, ports: list[int]) -> Iterator[Proxy]:
    """A proxy of 127.0.0.1 before the nodes on *ports*, which are up."""
    folder.mkdir()
    command, environment, url = start(folder, ports)
    with (folder / "said.out").open("wb") as said:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL
        )
    proxy = Proxy(url=url, folder=folder)
    try:
        for _ in range(LOOKS):
            if proxy.health() == 200:
                break
            assert process.poll() is None, proxy.words()
            time.sleep(0.05)  # another process has to begin
        else:
            raise AssertionError(proxy.words())
        yield proxy
    finally:
        process.terminate()
        process.wait(30)


def nginx(folder: Path, ports: list[int]) -> tuple[list[str], dict[str, str], str]:
    """The shipped file with other addresses, and its own certificate."""
    port = free_port()
    certificate = _certificate(folder)
    replaced = {
        "node1.example.com:8787": f"127.0.0.1:{ports[0]}",
        "node2.example.com:8787": f"127.0.0.1:{ports[1]}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/texts.example.com.pem": str(certificate),
        "/etc/ssl/texts.example.com.key": str(certificate),
        "/var/log/nginx/relays.log": str(folder / "relays.log"),
    }
    relays = _with((DEPLOY / "nginx.conf").read_text(encoding="utf-8"), replaced)
    (folder / "relays.conf").write_text(relays, encoding="utf-8")
    places = "".join(
        f"{name}_temp_path {folder / name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # One worker knows at once what befell a node; what is around the shipped file says what all would say.
    whole = (
        f"daemon off;\nworker_processes 1;\npid {folder / 'pid'};\nerror_log {folder / 'nginx.log'};\n"
        f"events {{}}\nhttp {{\n{places}include {folder / 'relays.conf'};\n}}\n"
    )
    (folder / "nginx.conf").write_text(whole, encoding="utf-8")
    program = str(need("nginx"))
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "start.log")]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    return command, {}, f"https://127.0.0.1:{port}"


def caddy(folder: Path, ports: list[int]) -> tuple[list[str], dict[str, str], str]:
    """The shipped file, told by its own variables where it listens and where the nodes are."""
    port = free_port()
    program = new_caddy()
    assert program is not None
    environment = {
        "SITE": f"http://127.0.0.1:{port}",
        "NODES": " ".join(f"127.0.0.1:{one}" for one in ports),
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    file = ["--config", str(DEPLOY / "Caddyfile"), "--adapter", "caddyfile"]
    subprocess.run(
        [program, "validate", *file], env=os.environ | environment, check=True, capture_output=True
    )
    # The place of its own API is no variable of the file's.
    own = _with((DEPLOY / "Caddyfile").read_text(encoding="utf-8"), {"\n{\n": "\n{\n\tadmin off\n"})
    (folder / "Caddyfile").write_text(own, encoding="utf-8")
    command = [str(program), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    return command, environment, f"http://127.0.0.1:{port}"


def new_caddy() -> Path | None:
    """A Caddy that is new enough, where there is one; CADDY names another than that on PATH."""
    named = os.environ.get("CADDY")
    program = Path(named) if named else find(PARTS["Caddy"])
    if program is None:
        return None
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    numbers = re.findall(r"\d+", said)
    return program if (int(numbers[0]), int(numbers[1])) >= CADDY_FROM else None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


def _with(text: str, replaced: Mapping[str, str]) -> str:
    for old, new in replaced.items():
        assert old in text, f"The file does not say {old!r} any more."
        text = text.replace(old, new)
    return text


def _certificate(folder: Path) -> Path:
    """A certificate and its key in one file, self-signed."""
    openssl = shutil.which("openssl")
    assert openssl is not None
    files = (folder / "key.pem", folder / "certificate.pem")
    request = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1")
    into = ("-keyout", str(files[0]), "-out", str(files[1]))
    subprocess.run([openssl, *request, *into], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text("".join(file.read_text(encoding="ascii") for file in files), encoding="ascii")
    return both
