"""
`expose`, from the command to a text that comes through.

ssh is real, with a real sshd on loopback; the other programs are stand-ins, which record what they are told
and print what the real ones are documented to print.
"""

import json
import os
import signal
import socket
import stat
import threading
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from callrail_relay.config.saving import update
from tests.acceptance.program import HOOK_TOKEN, PAYLOAD, Program, Sandbox, Started, wait_until
from tests.support.public_way import HOST, PUBLIC, PublicWay, public_way, response
from tests.support.sshd import SshServer, free_port, ssh_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the stand-ins are scripts for a shell"),
]

HOOK = f"/hooks/if3/{HOOK_TOKEN}"


def config(program: Program) -> Path:
    return Path(program.environment["XDG_CONFIG_HOME"]) / "callrail-relay" / "config.toml"


def settings(program: Program) -> dict[str, Any]:
    return tomllib.loads(config(program).read_text(encoding="utf-8"))


def checked(program: Program) -> dict[str, Any]:
    """What `expose --check` says; its exit code agrees."""
    shown = program.run("expose", "--check", "--json")
    found: dict[str, Any] = json.loads(shown.stdout)
    assert (0 if found["reached"] else 8) == shown.returncode
    return found


# --- ssh ----------------------------------------------------------------------------------------------------


@pytest.fixture
def vps(tmp_path: Path) -> Iterator[SshServer]:
    with ssh_server(tmp_path / "vps") as server:
        yield server


@pytest.fixture
def office(configured: Program, vps: SshServer) -> Program:
    """A computer whose `ssh` knows the server, with settings that have a comment."""
    configured.environment["PATH"] = f"{vps.programs}:{configured.environment['PATH']}"
    config(configured).parent.mkdir(parents=True)
    config(configured).write_text(
        '# Ask Dana before you change this.\n[log]\nlevel = "info"\n', encoding="utf-8"
    )
    return configured


@pytest.fixture
def relay(office: Program) -> Iterator[Started]:
    with office.serving() as started:
        yield started


def url(vps: SshServer) -> str:
    return f"http://127.0.0.1:{vps.remote_port}"


def exposing(vps: SshServer) -> list[str]:
    port = str(vps.remote_port)
    return ["expose", "ssh", vps.target, "--remote-port", port, "--public-url", url(vps), "--for-now"]


@pytest.mark.timeout(240)
def test_a_text_comes_through_ssh(office: Program, relay: Started, vps: SshServer, sandbox: Sandbox) -> None:
    """The connection may be cut: it stands again by itself, and `--off` takes everything away."""
    former = config(office).read_text(encoding="utf-8")
    shown = office.run(*exposing(vps))
    assert 0 == shown.returncode, shown.stderr
    assert url(vps) in shown.stdout
    assert {"public_url": url(vps), "trusted_proxies": ["127.0.0.1"]} == settings(office)["server"]
    assert ("ssh", vps.target) == tuple(settings(office)["tunnel"][name] for name in ("kind", "target"))
    assert config(office).read_text(encoding="utf-8").startswith(former)

    assert 200 == httpx2.post(f"{url(vps)}{HOOK}", json=PAYLOAD, trust_env=False).status_code
    office.wait_for("sent", 1)
    assert 1 == len(sandbox.texts())
    wait_until(lambda: checked(office)["reached"])
    found = checked(office)
    assert (url(vps), "ssh", True) == (found["public_url"], found["kind"], found["running"])
    assert url(vps) in office.run("hook-url").stdout

    vps.send(signal.SIGKILL)
    wait_until(lambda: checked(office)["reached"])
    assert 200 == httpx2.post(f"{url(vps)}{HOOK}", json=PAYLOAD, trust_env=False).status_code

    off = office.run("expose", "--off")
    assert 0 == off.returncode, off.stderr
    assert {"log": {"level": "info"}, "server": {}} == settings(office)
    assert config(office).read_text(encoding="utf-8").startswith(former)
    wait_until(lambda: not vps.sessions())
    assert (None, False, "none", False) == tuple(list(checked(office).values())[:4])
    assert 4 == office.run("expose", "--off").returncode


@pytest.mark.timeout(240)
def test_a_port_that_the_old_connection_holds_is_waited_for(
    office: Program, relay: Started, vps: SshServer
) -> None:
    """The server has not noticed the cut: a new connection gets the port once the old one is over."""
    assert 0 == office.run(*exposing(vps)).returncode
    wait_until(lambda: checked(office)["reached"])
    held = vps.sessions()
    vps.send(signal.SIGSTOP)  # as after a cut: nothing is answered, and the port is held
    vps.end_clients()
    wait_until(lambda: "won't open port" in checked(office)["detail"])
    status = office.run("status").stdout
    assert "Problem with the public URL" in status
    assert "Wait a few minutes, choose another --remote-port, or allow the port" in " ".join(status.split())

    vps.end(held)
    wait_until(lambda: checked(office)["reached"])


@pytest.mark.parametrize(
    ("mishap", "words"),
    [
        ("another key", "doesn't accept this computer's SSH key"),
        ("an unknown host key", "The host key of"),
        ("a changed host key", "has changed, so another computer may be answering"),
        ("a port that is taken", "won't open port"),
        ("a port that the key may not use", "won't open port"),
        ("no server", "Check that server"),
        ("an address that leads to another relay", "Another relay answers at"),
    ],
)
def test_what_is_wrong_with_ssh_is_told_and_nothing_is_written(
    mishap: str, words: str, office: Program, relay: Started, vps: SshServer
) -> None:
    former = config(office).read_text(encoding="utf-8")
    command = exposing(vps)
    with socket.socket() as other:
        match mishap:
            case "another key":
                vps.permit(vps.other_key)
            case "an unknown host key":
                vps.know_host(None)
            case "a changed host key":
                vps.know_host(vps.other_key)
            case "a port that is taken":
                other.bind(("127.0.0.1", vps.remote_port))
                other.listen()
            case "a port that the key may not use":
                command[command.index("--remote-port") + 1] = str(free_port())
            case "no server":
                vps.stop()
            case "an address that leads to another relay":
                command[command.index("--public-url") + 1] = another_relay(other)
        shown = office.run(*command)

    assert 8 == shown.returncode
    [error] = [line for line in shown.stderr.splitlines() if line.startswith("Error:")]
    assert words in error
    assert former == config(office).read_text(encoding="utf-8")


def another_relay(listener: socket.socket) -> str:
    """A server that answers every probe as a relay would, with another secret."""
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    answer = response(200, b"0" * 64)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


# --- what is refused before anything is started -------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Choose tailscale"),
        (["ngrok", "--off"], 2, "Use only one of these"),
        (["--check", "--off"], 2, "Use only one of these"),
        (["ssh"], 2, "Give the server"),
        (["ssh", "-oProxyCommand=true", "--public-url", PUBLIC], 2, "No such option"),
        (["ssh", "relay@vps", "--public-url", "http://127.0.0.1:1"], 3, "only to this computer"),
        (["ssh", "relay@vps", "--public-url", "http://texts.example.com", "--for-now"], 3, "https"),
        (["ngrok"], 2, "--for-now"),
        (["cloudflared", HOST, "--name", "--url"], 2, "--name takes"),
        (["tailscale", "--remote-port", "8080"], 2, "443, 8443 and 10000"),
        (["tailscale", "--public-url", PUBLIC], 2, "Leave out"),
        (["ngrok", HOST], 8, "ngrok isn't installed. Get it from https://ngrok.com/download"),
        (["cloudflared", HOST], 8, "cloudflared isn't installed"),
        (["tailscale"], 8, "tailscale isn't installed"),
    ],
)
def test_what_cannot_be_right_is_refused(
    arguments: list[str], code: int, words: str, configured: Program, tmp_path: Path
) -> None:
    configured.environment["PATH"] = str(tmp_path)
    shown = configured.run("expose", *arguments)
    assert code == shown.returncode, shown.stderr
    assert words in " ".join(shown.stderr.split())


# --- stand-ins ----------------------------------------------------------------------------------------------


class StandIn:
    """A program that records its arguments and its token, and prints what it was told to."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self.programs = folder / "bin"
        self.programs.mkdir(exist_ok=True)
        program = self.programs / name
        program.write_text(
            f'#!/bin/sh\ncd "{self._folder}"\necho "$*" >> calls\n'
            'echo "$TUNNEL_TOKEN$NGROK_AUTHTOKEN" >> tokens\n'
            'for name in "$1 $2" "$1" any; do [ -f "$name" ] && break; done\n'
            '[ -f "$name.seconds" ] && sleep "$(cat "$name.seconds")"\n'
            '[ -f "$name" ] && cat "$name"\n[ -f "$name.code" ] && exit "$(cat "$name.code")"\n'
            "echo $$ > pid\nexec sleep 600\n"
        )
        program.chmod(0o755)

    def says(self, words: str, *, to: str = "any", code: int | None = None, after: float = 0) -> None:
        """What it prints *after* seconds for a command that begins so; it stays unless there is a code."""
        (self._folder / f"{to}.seconds").write_text(str(after))
        (self._folder / to).write_text(f"{words}\n")
        (self._folder / f"{to}.code").unlink(missing_ok=True)
        if code is not None:
            (self._folder / f"{to}.code").write_text(str(code))

    @property
    def calls(self) -> list[str]:
        file = self._folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def tokens(self) -> set[str]:
        return set((self._folder / "tokens").read_text().splitlines())

    def end(self) -> None:
        os.kill(int((self._folder / "pid").read_text()), signal.SIGKILL)


@pytest.fixture
def way(tmp_path: Path) -> Iterator[PublicWay]:
    with public_way(tmp_path) as found:
        yield found


@pytest.fixture
def home(configured: Program, way: PublicWay, tmp_path: Path) -> Program:
    """A computer with stand-ins on its PATH, for which the public name leads somewhere."""
    configured.environment |= way.environment
    configured.environment["PATH"] = f"{tmp_path / 'tools' / 'bin'}:{configured.environment['PATH']}"
    return configured


@pytest.fixture
def running(home: Program, way: PublicWay) -> Iterator[Started]:
    port = free_port()
    home.environment["CALLRAIL_RELAY_SERVER__PORT"] = str(port)
    with home.started("serve", "--json", env={"CALLRAIL_RELAY_DASHBOARD__PORT": "0"}) as started:
        started.public = started.read_json()["public_url"]
        way.target = urlsplit(started.public).port
        yield started


def test_ngrok_gets_the_domain_and_its_token(
    home: Program, running: Started, way: PublicWay, tmp_path: Path
) -> None:
    """The token stays out of the settings and of what the program is told."""
    ngrok = StandIn(tmp_path / "tools", "ngrok")
    ngrok.says(
        f'lvl=info msg="started tunnel" obj=tunnels name=command_line addr={running.public} url={PUBLIC}'
    )
    shown = home.run("expose", "ngrok", HOST, "--json")
    assert 0 == shown.returncode, shown.stderr
    document = json.loads(shown.stdout)
    assert (PUBLIC, True, "ngrok", True) == tuple(list(document.values())[:4])
    assert (
        f"http --inspect=false --log=stdout --log-format=logfmt --url={PUBLIC} {running.public}"
        in ngrok.calls
    )
    assert PUBLIC == settings(home)["server"]["public_url"]
    assert stat.S_IMODE(config(home).stat().st_mode) == 0o600


def test_cloudflared_is_set_up_once(home: Program, running: Started, tmp_path: Path) -> None:
    """The tunnel and its DNS entry are made; where they are there already, that is as good."""
    cloudflared = StandIn(tmp_path / "tools", "cloudflared")
    cloudflared.says("Created tunnel callrail-relay with id 1", to="tunnel create", code=0)
    cloudflared.says("INF Added CNAME texts.example.com", to="tunnel route", code=0)
    cloudflared.says("INF Registered tunnel connection", to="tunnel --no-autoupdate")
    assert 0 == home.run("expose", "cloudflared", HOST).returncode
    cloudflared.says("failed to create tunnel: tunnel with name already exists", to="tunnel create", code=1)
    assert 0 == home.run("expose", "cloudflared", "--public-url", PUBLIC, "--name", "office").returncode

    assert [
        "tunnel create callrail-relay",
        f"tunnel route dns callrail-relay {HOST}",
        f"tunnel --no-autoupdate run --url {running.public} callrail-relay",
        "tunnel create office",
        f"tunnel route dns office {HOST}",
        f"tunnel --no-autoupdate run --url {running.public} office",
    ] == cloudflared.calls


def test_a_token_takes_the_place_of_the_set_up(home: Program, way: PublicWay, tmp_path: Path) -> None:
    home.environment["CALLRAIL_RELAY_TUNNEL_TOKEN"] = "tunnel-token-0123456789"
    cloudflared = StandIn(tmp_path / "tools", "cloudflared")
    cloudflared.says("INF Registered tunnel connection")
    with home.serving() as started:
        way.target = urlsplit(started.public).port
        shown = home.run("expose", "cloudflared", HOST)
    assert 0 == shown.returncode, shown.stderr
    assert ["tunnel --no-autoupdate run"] == cloudflared.calls
    assert {"tunnel-token-0123456789"} == cloudflared.tokens
    assert "tunnel-token" not in config(home).read_text(encoding="utf-8")


@pytest.mark.timeout(240)
def test_a_temporary_address_that_changes_is_taken_out(
    home: Program, running: Started, tmp_path: Path
) -> None:
    """IF3 has the old one, so `status` says what to do; and after another `expose` all is well."""
    ngrok = StandIn(tmp_path / "tools", "ngrok")
    ngrok.says(NGROK_LINE + PUBLIC)
    assert 0 == home.run("expose", "ngrok", "--for-now").returncode
    assert PUBLIC == settings(home)["server"]["public_url"]

    ngrok.says(NGROK_LINE + "https://other.example.com")
    ngrok.end()
    wait_until(lambda: "public_url" not in settings(home)["server"])
    wait_until(lambda: "temporary address has changed" in home.run("status").stdout)
    assert "temporary address has changed" in checked(home)["detail"]

    ngrok.says(NGROK_LINE + PUBLIC)
    ngrok.end()
    assert 0 == home.run("expose", "ngrok", "--for-now").returncode
    wait_until(lambda: checked(home)["reached"])


NGROK_LINE = 'lvl=info msg="started tunnel" obj=tunnels name=command_line addr=http://127.0.0.1:1 url='
FUNNEL = {
    "TCP": {"443": {"HTTPS": True}},
    "Web": {f"{HOST}:443": {"Handlers": {"/": {"Proxy": "http://127.0.0.1:3000"}}}},
    "AllowFunnel": {f"{HOST}:443": True},
}


def test_tailscale_is_switched_on_for_one_port(home: Program, running: Started, tmp_path: Path) -> None:
    """And off again for that port alone. A port that another program has is left to it."""
    tailscale = StandIn(tmp_path / "tools", "tailscale")
    node = {"BackendState": "Running", "Self": {"DNSName": f"{HOST}."}}
    tailscale.says(json.dumps(node), to="status --json", code=0)
    tailscale.says(json.dumps(FUNNEL), to="funnel status", code=0)
    shown = home.run("expose", "tailscale")
    assert 8 == shown.returncode
    assert "Tailscale's port 443 is in use: it leads to http://127.0.0.1:3000" in shown.stderr
    assert not config(home).exists()

    tailscale.says("null", to="funnel status", code=0)
    tailscale.says(f"Available on the internet:\n\nhttps://{HOST}/", to="funnel --bg", code=0)
    shown = home.run("expose", "tailscale")
    assert 0 == shown.returncode, shown.stderr
    assert PUBLIC == settings(home)["server"]["public_url"]
    ours = json.loads(json.dumps(FUNNEL).replace("http://127.0.0.1:3000", running.public))
    tailscale.says(json.dumps(ours), to="funnel status", code=0)
    found = checked(home)
    assert (True, "tailscale", True) == (found["reached"], found["kind"], found["running"])

    assert f"funnel --bg --yes --https=443 {running.public}" in tailscale.calls
    tailscale.says("", to="funnel --https=443", code=0)
    StandIn(tmp_path / "tools", "ngrok").says(NGROK_LINE + PUBLIC)
    assert 0 == home.run("expose", "ngrok", HOST).returncode
    assert "funnel --https=443 off" == tailscale.calls[-1]

    assert 0 == home.run("expose", "tailscale").returncode
    assert 1 == tailscale.calls.count("funnel --https=443 off")
    assert 0 == home.run("expose", "--off").returncode
    assert 2 == tailscale.calls.count("funnel --https=443 off")
    assert {} == settings(home).get("server", {})


def node(state: str) -> str:
    """What Tailscale prints of a computer without a name: its state is many lines before the end."""
    itself = {"HostName": "office", "DNSName": ""} | {f"More{number}": None for number in range(25)}
    return json.dumps({"BackendState": state, "Self": itself, "Health": [], "Peer": None}, indent=2)


@pytest.mark.parametrize(
    ("name", "command", "words", "remedy"),
    [
        ("ngrok", "any", "ERROR:  ERR_NGROK_4018", "ngrok config add-authtoken"),
        ("cloudflared", "tunnel create", "Error locating origin cert: x", "cloudflared tunnel login"),
        ("tailscale", "status --json", node("NeedsLogin"), "Run `tailscale up`"),
        ("tailscale", "status --json", node("Starting"), "Tailscale isn't ready (Starting)."),
        ("tailscale", "status --json", node("Running"), "turn on MagicDNS"),
    ],
)
def test_a_program_that_is_not_signed_in_is_told(
    name: str, command: str, words: str, remedy: str, home: Program, running: Started, tmp_path: Path
) -> None:
    """Though it takes its time to say so, and the address leads to this relay by another way meanwhile."""
    StandIn(tmp_path / "tools", name).says(words, to=command, code=1, after=2)
    shown = home.run("expose", name, *([] if name == "tailscale" else [HOST]))
    assert 8 == shown.returncode
    assert remedy in shown.stderr
    assert not config(home).exists()


def test_what_is_changed_meanwhile_stays_when_it_fails(
    home: Program, running: Started, tmp_path: Path
) -> None:
    """The whole file is restored only if no other program wrote to it; else only the tunnel is removed."""
    StandIn(tmp_path / "tools", "ngrok").says("ERROR:  ERR_NGROK_4018", code=1, after=3)

    def change() -> None:
        wait_until(config(home).exists)
        update(config(home), {"limits": {"per_hour": 100}})

    with ThreadPoolExecutor() as other:
        changing = other.submit(change)
        assert 8 == home.run("expose", "ngrok", HOST).returncode
        changing.result()
    assert {"limits": {"per_hour": 100}} == settings(home)


def test_an_expired_certificate_is_told(configured: Program, tmp_path: Path) -> None:
    """And that the settings can't be written, before anything is started."""
    StandIn(tmp_path / "tools", "ngrok").says(NGROK_LINE + PUBLIC)
    with public_way(tmp_path, expired=True) as way:
        configured.environment |= way.environment
        configured.environment["PATH"] = f"{tmp_path / 'tools' / 'bin'}:{configured.environment['PATH']}"
        with configured.serving() as started:
            way.target = urlsplit(started.public).port
            shown = configured.run("expose", "ngrok", HOST)
            assert 8 == shown.returncode
            assert "certificate of texts.example.com has expired" in shown.stderr
            config(configured).parent.mkdir(parents=True, exist_ok=True)
            config(configured).unlink(missing_ok=True)
            config(configured).symlink_to("/proc/self/timers")  # empty, and not even root can write there
            shown = configured.run("expose", "ngrok", HOST)
            assert 3 == shown.returncode
            assert "can't be written" in shown.stderr


def test_without_a_relay_nothing_is_tried(home: Program, tmp_path: Path) -> None:
    ngrok = StandIn(tmp_path / "tools", "ngrok")
    shown = home.run("expose", "ngrok", HOST)
    assert 8 == shown.returncode
    assert "callrail-relay service install" in shown.stderr
    assert [] == ngrok.calls


def test_a_running_relay_takes_up_another_public_url(home: Program, running: Started) -> None:
    """Within seconds, and without a restart; what is wrong in the settings changes nothing."""
    config(home).parent.mkdir(parents=True, exist_ok=True)
    config(home).write_text("[server", encoding="utf-8")
    running.read_log("The former settings stay in use")
    began = time.monotonic()
    config(home).write_text(f'[server]\npublic_url = "{PUBLIC}"\n', encoding="utf-8")
    running.read_log("public_address_checked")
    assert 5 > time.monotonic() - began
    assert checked(home)["reached"]


def test_a_sandbox_takes_no_texts_of_if3(home: Program, tmp_path: Path) -> None:
    """It would get them through the tunnel, and send none for real."""
    ngrok = StandIn(tmp_path / "tools", "ngrok")
    config(home).parent.mkdir(parents=True, exist_ok=True)
    config(home).write_text(f'[tunnel]\nkind = "ngrok"\naddress = "{PUBLIC}"\n', encoding="utf-8")
    with home.serving():
        began = time.monotonic()
        wait_until(lambda: ngrok.calls != [])
        took = time.monotonic() - began
    calls = ngrok.calls
    with home.serving("--sandbox"):
        time.sleep(2 + 2 * took)  # far longer than this computer just took to start a tunnel
    assert calls == ngrok.calls
