import asyncio
import json
import os
import signal
import socket
import sqlite3
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from keyring.errors import KeyringLocked
from typer.testing import CliRunner, Result

from callrail_relay.bootstrap import service_setup
from callrail_relay.bootstrap.backups import move_store
from callrail_relay.cli import app, console
from callrail_relay.cli.service import offer
from callrail_relay.machine import service_managers
from callrail_relay.outbox.presence import StoreLock
from tests.cli.test_background import SETTINGS, free_port
from tests.config.test_places import mode
from tests.support.memory_keyring import MemoryKeyring
from tests.support.service_programs import ServicePrograms

if sys.platform != "linux":
    pytest.skip("systemd is on Linux", allow_module_level=True)

KEY, TOKEN = "test-key-0123456789", "test-token-0123456789"
ACTIVE = "ActiveState=active\nUnitFileState=enabled\nActiveEnterTimestamp=Sun 2026-11-29 11:14:28 UTC\n"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files of a system service go."""
    root = tmp_path / "root"
    monkeypatch.setattr(service_setup, "SYSTEM_CONFIG", root / "etc/callrail-relay/config.toml")
    monkeypatch.setattr(service_setup, "SYSTEM_DATA", root / "var/lib/callrail-relay")
    monkeypatch.setattr(service_managers, "SYSTEM_UNITS", root / "etc/systemd/system")
    monkeypatch.setattr(service_setup, "MUST_RUN_WITHIN", 0.5)
    # The commands change it, as they point at a system service.
    monkeypatch.setenv("CALLRAIL_RELAY_CONFIG", os.environ["XDG_CONFIG_HOME"] + "/callrail-relay/config.toml")
    return root


@pytest.fixture
def config() -> Path:
    """Settings that are complete but for the secrets."""
    config = Path(os.environ["CALLRAIL_RELAY_CONFIG"])
    config.parent.mkdir(parents=True)
    config.write_text(SETTINGS.format(port=free_port()), "utf-8")
    return config


@pytest.fixture
def secrets(config: Path) -> Path:
    """A file of secrets beside the settings."""
    secrets = config.with_name("secrets.toml")
    secrets.write_text(f'api-key = "{KEY}"\nhook-token = "{TOKEN}"\n', "utf-8")
    secrets.chmod(0o600)
    return secrets


@pytest.fixture
def data() -> Path:
    """The directory for the data."""
    data = Path(os.environ["CALLRAIL_RELAY_DATA"])
    data.mkdir()
    return data


@contextmanager
def held(store: Path) -> Iterator[None]:
    """A store as a running ``serve`` holds it."""
    lock = StoreLock(store)
    lock.take("serve", datetime(2026, 11, 29, 9, 14, tzinfo=UTC))
    try:
        yield
    finally:
        lock.release()


@pytest.fixture
def unit() -> Path:
    return Path(os.environ["XDG_CONFIG_HOME"], "systemd", "user", "callrail-relay.service")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServicePrograms]:
    """A systemd that runs what it is told to."""
    programs = ServicePrograms(tmp_path / "programs", monkeypatch)
    programs.answer("show-user", "Linger=yes\n")
    programs.answer("--property=Version", "252.38-1~deb12u1\n")
    programs.answer("show callrail-relay", ACTIVE)
    yield programs
    if programs.pid is not None:
        try:
            os.kill(programs.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def service(*words: str) -> Result:
    return CliRunner().invoke(app, ["service", *words])


# Printing


@pytest.mark.parametrize("kind", ["systemd", "systemd-system", "launchd", "windows"])
def test_each_kind_is_printed_and_nothing_changes(kind: str, tmp_path: Path) -> None:
    """Settings and secrets need not be there."""
    before = sorted(tmp_path.rglob("*"))

    done = service("install", "--print", "--kind", kind, "--config", "/srv/Ünal/relay.toml")

    assert (0, "") == (done.exit_code, done.stderr)
    assert str(tmp_path / "data") in done.stdout or kind == "systemd-system"
    assert "/srv/Ünal/relay.toml" in done.stdout or kind == "systemd-system"
    assert before == sorted(tmp_path.rglob("*"))


def test_printed_unit_is_that_of_this_system() -> None:
    assert service("install", "--print").stdout == service("install", "--print", "--kind", "systemd").stdout
    assert "DynamicUser=yes" in service("install", "--print", "--system").stdout


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of the environment, and not the password of a proxy."""
    monkeypatch.setenv("CALLRAIL_API_KEY", KEY)
    monkeypatch.setenv("HTTPS_PROXY", "http://dana:password@proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "localhost")

    printed = service("install", "--print").stdout

    assert KEY not in printed
    assert "password" not in printed
    assert "Environment=NO_PROXY=localhost" in printed


@pytest.mark.parametrize("words", [("--kind", "launchd"), ("--print", "--kind", "upstart")])
def test_kind_is_for_printing(words: tuple[str, ...]) -> None:
    assert 2 == service("install", *words).exit_code


# Installing


def test_service_is_installed_answers_and_goes(programs: ServicePrograms, unit: Path, secrets: Path) -> None:
    """A real relay runs with nothing but what the unit says, and a second install is as good."""
    programs.run_unit(unit)

    first, again = service("install"), service("install", "--json")
    status = service("status", "--json")

    assert (0, 0, 0) == (first.exit_code, again.exit_code, status.exit_code), first.stderr
    assert "The service is running and responding." in first.stdout
    assert f"The service is {unit}." in first.stderr
    assert {
        "installed": True,
        "enabled": True,
        "running": True,
        "since": "2026-11-29T11:14:28.000Z",
        "path": str(unit),
        "kind": "systemd",
    } == json.loads(status.stdout)
    assert json.loads(status.stdout).items() <= json.loads(again.stdout).items()
    assert KEY not in unit.read_text("utf-8")

    unanswered = service("uninstall")
    gone = service("uninstall", "--yes")

    assert (2, 0) == (unanswered.exit_code, gone.exit_code)
    assert not unit.exists()
    assert secrets.exists()
    assert 4 == service("uninstall", "--yes").exit_code


def test_service_that_does_not_answer_is_told(programs: ServicePrograms, unit: Path, secrets: Path) -> None:
    """One that ends at once is not waited for."""
    programs.answer("show callrail-relay", "ActiveState=failed\nUnitFileState=enabled\n")

    done = service("install")

    assert 8 == done.exit_code
    assert "It started, then stopped. See why with `callrail-relay service logs`" in done.stderr


def test_no_manager_leaves_nothing_behind(
    programs: ServicePrograms, unit: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it store secrets."""
    programs.answer("--property=Version", "Failed to connect to bus: No medium found", code=1)
    monkeypatch.setenv("CALLRAIL_API_KEY", KEY)
    monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", TOKEN)

    done = service("install", "--yes")

    assert 8 == done.exit_code
    assert "Failed to connect to bus" in done.stderr
    assert [config] == list(config.parent.iterdir())
    assert not unit.exists()


@pytest.mark.parametrize("action", ["uninstall", "restart", "status"])
def test_a_system_without_services_is_named(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the service is installed can't be known there."""
    monkeypatch.setattr("sys.platform", "freebsd14")

    assert 8 == service(action).exit_code


@pytest.mark.usefixtures("programs")
def test_service_needs_a_relay_that_is_set_up(unit: Path) -> None:
    assert 3 == service("install", "--yes").exit_code
    assert not unit.exists()


def test_what_only_the_environment_has_is_stored_after_a_question(
    programs: ServicePrograms, unit: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is named; without an answer nothing is installed."""
    programs.run_unit(unit)
    monkeypatch.setenv("CALLRAIL_API_KEY", KEY)
    monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", TOKEN)
    monkeypatch.setenv("CALLRAIL_RELAY_DELIVERY__MAX_AGE", "2h")
    monkeypatch.setenv("CALLRAIL_RELAY_GUARDS__MASS_TEXT", "warn")
    monkeypatch.setenv("CALLRAIL_RELAY_REPLIES__POLL_EVERY", "off")
    monkeypatch.setenv("CALLRAIL_RELAY_ROUTES", '[{"team_id": "42", "tracking_number": "+12025550134"}]')
    monkeypatch.setenv("CALLRAIL_RELAY_CALLRAIL__COMPANY_ID", "COM1")
    before = config.read_text("utf-8")

    unanswered = service("install")

    assert 2 == unanswered.exit_code
    for name in (
        "CALLRAIL_API_KEY",
        "CALLRAIL_RELAY_HOOK_TOKEN",
        "MAX_AGE",
        "MASS_TEXT",
        "CALLRAIL_RELAY_ROUTES",
    ):
        assert name in unanswered.stderr
    assert "COMPANY_ID" not in unanswered.stderr
    assert (before, False) == (config.read_text("utf-8"), unit.exists())
    assert [config] == list(config.parent.iterdir())

    done = service("install", "--yes")

    assert 0 == done.exit_code, done.stderr
    written = tomllib.loads(config.read_text("utf-8"))
    assert ("2h", "warn") == (written["delivery"]["max_age"], written["guards"]["mass_text"])
    assert {"poll_every": "off"} == written["replies"]
    assert [{"team_id": "42", "tracking_number": "+12025550134"}] == written["routes"]
    secrets = config.with_name("secrets.toml")
    assert {"api-key": KEY, "hook-token": TOKEN} == tomllib.loads(secrets.read_text("utf-8"))
    assert 0o600 == mode(secrets)
    assert KEY not in done.output


def test_keyring_that_is_closed_until_someone_signs_in_is_left(
    programs: ServicePrograms, unit: Path, config: Path, memory: MemoryKeyring
) -> None:
    """Its secrets move to the private file, after a question."""
    programs.answer("show callrail-relay", "ActiveState=failed\n")
    memory.entries["callrail-relay", "api-key"] = KEY
    memory.entries["callrail-relay", "hook-token"] = TOKEN

    unanswered, done = service("install"), service("install", "--yes")

    assert (2, True) == (unanswered.exit_code, unit.exists()), done.stderr
    assert "CallRail API key, webhook secret" in unanswered.stderr
    assert {} == memory.entries
    assert KEY == tomllib.loads(config.with_name("secrets.toml").read_text("utf-8"))["api-key"]


def test_file_in_use_needs_no_keyring(
    programs: ServicePrograms, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a Mac, too, where a keyring that can be opened would take what only the environment has."""

    def fail() -> None:
        raise KeyringLocked

    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("keyring.get_keyring", fail)
    monkeypatch.setenv("CALLRAIL_API_KEY", other := f"{KEY}-2")

    done = service("install", "--yes")

    assert "The CallRail API key is in the file" in done.stderr, done.stderr
    assert other == tomllib.loads(secrets.read_text("utf-8"))["api-key"]
    assert any("launchctl bootstrap" in call for call in programs.calls)


@pytest.mark.usefixtures("secrets")
def test_relay_that_is_no_service_is_told_first(
    programs: ServicePrograms, unit: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what else is at its port."""
    programs.answer("show callrail-relay", "ActiveState=inactive\n")
    with held(data / "relay.db"):
        running = service("install")
    port = tomllib.loads(Path(os.environ["CALLRAIL_RELAY_CONFIG"]).read_text("utf-8"))["server"]["port"]
    with socket.create_server(("127.0.0.1", port)):
        taken = service("install")
    with socket.create_server(("127.0.0.1", 0)) as other, monkeypatch.context() as changed:
        changed.setenv("CALLRAIL_RELAY_DASHBOARD__ENABLED", "true")
        changed.setenv("CALLRAIL_RELAY_DASHBOARD__PORT", str(dashboard := other.getsockname()[1]))
        half_taken = service("install", "--yes")

    assert (8, 8, 8) == (running.exit_code, taken.exit_code, half_taken.exit_code)
    assert "The relay is already running (process" in running.stderr
    assert f"Port {port} is in use" in taken.stderr
    assert f"Port {dashboard} is in use, perhaps by another user's relay." in half_taken.stderr
    assert not unit.exists()


def test_password_of_a_proxy_is_not_taken_along(
    programs: ServicePrograms, unit: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.answer("show callrail-relay", "ActiveState=failed\n")
    monkeypatch.setenv("HTTPS_PROXY", "http://dana:password@proxy.example.com:3128")

    done = service("install")

    assert "The service doesn't get HTTPS_PROXY" in done.stderr
    assert "password@" not in unit.read_text("utf-8") + done.output


def test_another_program_in_its_place_is_told(
    programs: ServicePrograms, unit: Path, config: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it answers: only this relay can prove that it is."""
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\n", "utf-8")
    monkeypatch.setattr(service_setup, "ANSWERS_WITHIN", 0.5)
    port = tomllib.loads(config.read_text("utf-8"))["server"]["port"]

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "64")
            self.end_headers()
            self.wfile.write(b"0" * 64)

    with HTTPServer(("127.0.0.1", port), Other) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        done = service("install")
        other.shutdown()
        thread.join()

    assert 8 == done.exit_code
    assert f"Another program answers at http://127.0.0.1:{port}." in done.stderr


# A system service


@pytest.fixture
def system(programs: ServicePrograms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's systemd, which starts nothing; the program is where every user can run it."""
    monkeypatch.setattr(service_setup, "ANSWERS_WITHIN", 0.5)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(service_setup, "require_program_for_all", lambda: None)


def test_program_in_a_home_directory_is_refused(
    programs: ServicePrograms, root: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sys, "prefix", str(Path.home() / "venv"))

    done = service("install", "--system", "--yes")

    assert 8 == done.exit_code
    assert "its own user, which can't use" in done.stderr
    assert not root.exists()


@pytest.mark.usefixtures("system")
def test_system_service_takes_over_settings_secrets_and_store(
    root: Path, config: Path, secrets: Path, tmp_path: Path
) -> None:
    """The store is moved whole, the rest is copied, and the variables for other commands are shown."""
    assert 0 == CliRunner().invoke(app, ["pause"]).exit_code
    identity = tmp_path / "data" / "node-0.id"
    identity.write_text("a-node", "utf-8")
    written = config.read_text("utf-8")

    done = service("install", "--system")

    data, folder = root / "var/lib/callrail-relay", root / "etc/callrail-relay"
    assert "It doesn't answer" in done.stderr  # the stand-in has not started it
    assert written == (folder / "config.toml").read_text("utf-8") == config.read_text("utf-8")
    assert (KEY, TOKEN) == tuple(
        (folder / name).read_text("utf-8") for name in ("callrail-api-key", "callrail-relay-hook-token")
    )
    assert {0o600} == {mode(path) for path in folder.iterdir()}
    assert (0o700, 0o700) == (mode(folder), mode(data))
    assert "a-node" == (data / "node-0.id").read_text("utf-8")
    assert not (tmp_path / "data" / "relay.db").exists()
    assert f"CALLRAIL_RELAY_DATA={data} CREDENTIALS_DIRECTORY={folder}" in done.stderr
    unit = (root / "etc/systemd/system/callrail-relay.service").read_text("utf-8")
    assert f"LoadCredential=callrail-api-key:{folder}/callrail-api-key" in unit
    assert "signing-key" not in unit

    listed = CliRunner().invoke(app, ["status", "--json"])
    assert json.loads(listed.stdout)["accounts"][0]["paused"] is not None

    gone = service("uninstall", "--system", "--yes")
    assert 0 == gone.exit_code, gone.stderr
    assert not folder.exists()
    assert (data / "relay.db").exists()


@pytest.mark.usefixtures("system", "secrets")
def test_store_is_moved_with_what_is_still_in_its_log(root: Path, data: Path) -> None:
    """SQLite writes to its log first; also after a move that was cut off before the settings came."""
    assert 0 == CliRunner().invoke(app, ["status"]).exit_code
    with closing(sqlite3.connect(data / "relay.db")) as reader:
        assert reader.execute("SELECT count(*) FROM accounts").fetchone() is not None
        assert 0 == CliRunner().invoke(app, ["pause"]).exit_code
        assert (data / "relay.db-wal").stat().st_size > 0
        move_store(data / "relay.db", root / "var/lib/callrail-relay/relay.db")

    done = service("install", "--system")

    assert "It doesn't answer" in done.stderr
    listed = CliRunner().invoke(app, ["status", "--json"])
    assert json.loads(listed.stdout)["accounts"][0]["paused"] is not None
    assert {0o600} == {mode(path) for path in (root / "var/lib/callrail-relay").glob("relay.db")}


@pytest.mark.usefixtures("system")
def test_failed_system_service_leaves_all_as_it_was(
    programs: ServicePrograms, root: Path, config: Path, secrets: Path, data: Path
) -> None:
    """The store is back in its place, and no secret stays elsewhere."""
    programs.answer("restart", "Job for callrail-relay.service failed.", code=1)
    assert 0 == CliRunner().invoke(app, ["pause"]).exit_code

    done = service("install", "--system")

    assert 8 == done.exit_code
    assert "Job for callrail-relay.service failed." in done.stderr
    assert not (root / "etc/callrail-relay").exists()
    assert ["relay.db-serve.lock"] == [path.name for path in (root / "var/lib/callrail-relay").iterdir()]
    assert (0o600, 0o600) == (mode(data / "relay.db"), mode(secrets))
    variables = {"CALLRAIL_RELAY_DATA": str(data), "CALLRAIL_RELAY_CONFIG": str(config)}
    listed = CliRunner(env=variables).invoke(app, ["status", "--json"])
    assert json.loads(listed.stdout)["accounts"][0]["paused"] is not None


@pytest.mark.usefixtures("system")
def test_store_is_never_put_over_another(root: Path, secrets: Path, tmp_path: Path) -> None:
    """Two of them would send the same texts."""
    assert 0 == CliRunner().invoke(app, ["pause"]).exit_code
    other = root / "var/lib/callrail-relay/relay.db"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"another")

    done = service("install", "--system")

    assert 4 == done.exit_code
    assert "Remove one of them" in done.stderr
    assert (b"another", True) == (other.read_bytes(), (tmp_path / "data" / "relay.db").exists())
    assert not (root / "etc").exists()


@pytest.mark.usefixtures("system", "secrets")
def test_store_of_a_running_relay_is_not_moved(root: Path, data: Path) -> None:
    assert 0 == CliRunner().invoke(app, ["pause"]).exit_code

    with held(data / "relay.db"):
        done = service("install", "--system")

    assert 8 == done.exit_code
    assert "The relay is already running (process" in done.stderr
    assert not (root / "var").exists()


def test_one_service_is_enough(programs: ServicePrograms, root: Path, unit: Path, secrets: Path) -> None:
    system = root / "etc/systemd/system/callrail-relay.service"
    system.parent.mkdir(parents=True)
    system.write_text("[Unit]\n", "utf-8")

    done = service("install")

    assert 4 == done.exit_code
    assert "service uninstall --system" in done.stderr


# Looking at it


@pytest.mark.parametrize(("shown", "code"), [(ACTIVE, 0), ("ActiveState=failed\n", 8), (None, 8), ("", 4)])
def test_status_ends_with_its_code(
    shown: str | None, code: int, programs: ServicePrograms, unit: Path
) -> None:
    """Also with settings that make no sense, and without a systemd that answers."""
    Path(os.environ["CALLRAIL_RELAY_CONFIG"]).parent.mkdir(parents=True)
    Path(os.environ["CALLRAIL_RELAY_CONFIG"]).write_text("[colours]\n", "utf-8")
    programs.answer("show", shown or "Failed to connect to bus", code=0 if shown else 1)
    if shown != "":
        unit.parent.mkdir(parents=True)
        unit.write_text("[Unit]\n", "utf-8")

    words, done = service("status"), service("status", "--json")

    assert (code, code) == (words.exit_code, done.exit_code)
    assert ["installed", "enabled", "running", "since", "path", "kind"] == list(json.loads(done.stdout))
    assert code == 0 or "callrail-relay service" in words.stdout


def test_logs_are_shown(programs: ServicePrograms, unit: Path) -> None:
    programs.answer("journalctl", "Started.\nListening.\n")

    assert "Started.\nListening.\n" == service("logs", "--lines", "2").stdout
    assert ["Started.", "Listening."] == json.loads(service("logs", "--json").stdout)
    assert "Started.\nListening.\n" == service("logs", "--follow").stdout
    assert 2 == service("logs", "--follow", "--json").exit_code


def test_restart_wants_good_settings(
    programs: ServicePrograms, unit: Path, config: Path, secrets: Path
) -> None:
    """A relay that runs is not ended for settings it could not start with."""
    missing = service("restart")
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\n", "utf-8")
    good = config.read_text("utf-8")
    config.write_text(good + '[alerts]\nurls = ["carrier-pigeon://roof"]\n', "utf-8")
    no_channel = service("restart")
    config.write_text("[colours]\n", "utf-8")

    assert (4, 3, 3) == (missing.exit_code, no_channel.exit_code, service("restart").exit_code)
    assert "alerts.urls" in no_channel.stderr
    assert not any(" restart " in call for call in programs.calls)


# The wizard


def test_wizard_offers_the_service_once(
    programs: ServicePrograms, unit: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a service can be installed, and isn't yet."""
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return "y"

    monkeypatch.setattr(console, "has_terminal", lambda: True)
    monkeypatch.setattr(console, "ask", ask)
    programs.answer("--property=Version", "Failed to connect to bus", code=1)
    asyncio.run(offer())
    assert [] == asked

    programs.answer("--property=Version", "252\n")
    programs.answer("show callrail-relay", "ActiveState=failed\n")
    asyncio.run(offer())
    asyncio.run(offer())

    assert ["Run the relay as a service that starts with this computer? [y/N]"] == asked
    assert unit.exists()
