"""``uninstall``, and a backup of a relay on PostgreSQL: what goes, what stays, and what is refused."""

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from keyring.errors import KeyringLocked
from typer.testing import CliRunner, Result

from callrail_relay.bootstrap import backups
from callrail_relay.callrail.simulator import Fault, Kind, Simulator
from callrail_relay.cli import app
from callrail_relay.domain.shadow import Passed, State
from callrail_relay.outbox import accept, shadow
from callrail_relay.outbox.presence import StoreLock
from callrail_relay.outbox.transaction import Transaction
from tests.callrail.simulated import KEY, make_simulator
from tests.cli.served import served
from tests.cli.test_configure_webhooks import CONFIG, PUBLIC, TOKEN, add_integration, configs, write
from tests.outbox.database import connected
from tests.outbox.requests import make_mapper, make_raw
from tests.support.memory_keyring import MemoryKeyring
from tests.support.service_programs import ServicePrograms

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in is for systemd")


@pytest.fixture
def simulator() -> Simulator:
    return make_simulator()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data = tmp_path / "data"
    monkeypatch.setenv("CALLRAIL_RELAY_DATA", str(data))
    return data


@pytest.fixture
def config(simulator: Simulator, memory: MemoryKeyring, data: Path, tmp_path: Path) -> Iterator[Path]:
    """A relay that is set up, with webhooks at CallRail and a text on disk."""
    path = tmp_path / "settings" / "relay.toml"
    path.parent.mkdir()
    add_integration(simulator, CONFIG)
    with served(simulator) as url:
        write(path, simulator, url)
        for name, value in (("api-key", KEY), ("hook-token", TOKEN), ("signing-keys", "a-signing-key")):
            memory.entries["callrail-relay", f"{name}@{path}"] = value
        assert 0 == run(path, "send", "--to", "+12025550122", "--message", "Hello", "--no-wait").exit_code
        assert (data / "relay.db").exists()
        yield path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServicePrograms:
    """A systemd that answers, and knows no service."""
    return ServicePrograms(tmp_path / "programs", monkeypatch)


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(config)])


def test_all_goes_but_the_texts(
    config: Path, data: Path, memory: MemoryKeyring, simulator: Simulator, programs: ServicePrograms
) -> None:
    """In its order, listed before the question; where the texts are is said."""
    unit = Path(os.environ["XDG_CONFIG_HOME"], "systemd", "user", "callrail-relay.service")
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    with config.open("a", encoding="utf-8") as file:
        file.write('\n[tunnel]\nkind = "ssh"\nprogram = "/usr/bin/ssh"\ntarget = "relay@vps.example.com"\n')
        file.write('address = "https://texts.example.com"\nremote_port = 8787\n')

    asked, done = run(config, "uninstall"), run(config, "uninstall", "--yes")

    assert (2, True) == (asked.exit_code, "--yes" in asked.stderr)
    assert 0 == done.exit_code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("  - ")]
    listed = (
        "the service",
        "the ssh tunnel",
        "the relay's webhooks",
        "the secrets: CallRail",
        "the settings",
    )
    assert [True] * 5 == [words in line for words, line in zip(listed, lines, strict=True)], lines
    assert [f"Removed {line.removeprefix('  - ')}." for line in lines] == [
        line for line in done.stderr.splitlines() if line.startswith("Removed ")
    ]
    assert f"still in {data / 'relay.db'}" in done.stderr
    assert (data / "relay.db").exists()
    assert not unit.exists()
    assert not config.parent.exists()
    assert {} == memory.entries
    assert [{"sms_received_webhook": [], "sms_sent_webhook": []}] == configs(simulator)


def test_what_could_not_be_removed_is_said(config: Path, simulator: Simulator) -> None:
    """The rest is removed all the same."""
    simulator.fault(Fault(kind=Kind.STATUS, on="any", status=500))

    done = run(config, "uninstall", "--yes", "--json")

    assert 8 == done.exit_code
    [left] = json.loads(done.stdout)["left"]
    assert "webhooks at CallRail, if there are any (CallRail couldn't be asked)" in done.stderr
    assert "CallRail is having problems (500)" in left
    assert f"Not removed: {left}" in done.stderr
    assert not config.exists()


def test_only_what_is_there_is_listed(
    config: Path, memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No webhooks that CallRail doesn't have, no secrets of a keyring that can't be read; that is said."""
    assert 0 == run(config, "configure", "--remove-webhooks").exit_code

    def is_locked(service: str, username: str) -> str:
        raise KeyringLocked(f"{service} {username}")

    with monkeypatch.context() as locked:
        locked.setattr(memory, "get_password", is_locked)
        locked.setenv("CALLRAIL_API_KEY", KEY)
        locked.setenv("CALLRAIL_RELAY_HOOK_TOKEN", TOKEN)
        done = run(config, "uninstall", "--yes")
    again = run(config, "uninstall", "--yes")
    nothing = run(config, "uninstall", "--yes", "--json")

    assert 8 == done.exit_code
    assert "webhooks" not in done.stderr
    assert f"  - the settings, {config}\n" in done.stderr
    assert "  - the secrets" not in done.stderr
    assert "The OS keyring failed (KeyringLocked)." in done.stderr
    assert "unlock it and run `callrail-relay uninstall` again" in done.stderr
    assert (0, True) == (again.exit_code, "Removed the secrets: CallRail API key (" in again.stderr)
    assert {} == memory.entries
    assert (0, []) == (nothing.exit_code, json.loads(nothing.stdout)["removed"])
    assert "There is nothing to remove." in run(config, "uninstall").stdout


def test_stored_secrets_are_listed_that_the_environment_overrides(
    config: Path, memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are removed as well."""
    monkeypatch.setenv("CALLRAIL_API_KEY", KEY)
    monkeypatch.setenv("CALLRAIL_SIGNING_KEY", "another-signing-key")

    done = run(config, "uninstall", "--yes", "--json")

    [secrets] = [one for one in json.loads(done.stdout)["removed"] if one.startswith("the secrets: ")]
    assert 3 == secrets.count("(OS keyring (Memory))")
    assert {} == memory.entries


@pytest.mark.parametrize("name", ["api-key", "tunnel-token"])
def test_a_damaged_secret_in_the_keyring_is_removed(config: Path, memory: MemoryKeyring, name: str) -> None:
    """It can't be used any more, but a keyring that can be read isn't locked."""
    memory.entries["callrail-relay", f"{name}@{config}"] = "two\nlines"

    done = run(config, "uninstall", "--yes")

    assert "unlock" not in done.stderr
    assert {} == memory.entries


def test_a_file_of_secrets_that_others_can_read_is_told_with_its_remedy(
    config: Path, memory: MemoryKeyring
) -> None:
    """It isn't removed: a person may have to change the secrets that others have read."""
    memory.entries.clear()
    secrets = config.with_name("secrets.toml")
    secrets.write_text(f'api-key = "{KEY}"\n')
    secrets.chmod(0o644)

    done = run(config, "uninstall", "--yes", "--json")

    assert 8 == done.exit_code
    assert f"  - the secrets: {secrets}\n" in done.stderr
    assert "unlock" not in done.stderr
    assert any("chmod 600" in line for line in json.loads(done.stdout)["left"])


def test_data_goes_only_when_all_is_sent(config: Path, data: Path) -> None:
    """Nothing is removed while a text is queued; then nothing is left."""
    refused = run(config, "uninstall", "--data", "--yes")
    assert (4, True) == (refused.exit_code, "1 queued" in refused.stderr)
    assert config.exists()
    [text] = json.loads(run(config, "messages", "list", "--json").stdout)
    assert 0 == run(config, "messages", "cancel", "--yes", text["id"]).exit_code

    done = run(config, "uninstall", "--data", "--yes")

    assert 0 == done.exit_code, done.stderr
    assert not data.exists()
    assert not config.exists()


def test_data_stays_if_the_settings_are_not_there(config: Path, data: Path) -> None:
    """Their name may be mistyped."""
    done = run(config.with_name("mistyped.toml"), "uninstall", "--data", "--yes")

    assert 3 == done.exit_code
    assert (data / "relay.db").exists()


def test_it_can_be_repeated_as_it_was(config: Path, data: Path, memory: MemoryKeyring) -> None:
    """Once the keyring is open, for instance; the settings and the texts went with the first run."""
    [text] = json.loads(run(config, "messages", "list", "--json").stdout)
    assert 0 == run(config, "messages", "cancel", "--yes", text["id"]).exit_code
    kept = dict(memory.entries)
    assert 0 == run(config, "uninstall", "--data", "--yes").exit_code
    memory.entries |= kept

    again = run(config, "uninstall", "--data", "--yes")

    assert 0 == again.exit_code, again.stderr
    assert {} == memory.entries
    assert not (data / "relay.db").exists()


def test_data_stays_while_requests_wait_for_the_old_url(config: Path, data: Path) -> None:
    """They are on their way to the Zap, and are nowhere else."""
    [text] = json.loads(run(config, "messages", "list", "--json").stdout)
    assert 0 == run(config, "messages", "cancel", "--yes", text["id"]).exit_code
    with connected(f"sqlite:///{data / 'relay.db'}") as connection:
        tx = Transaction(connection, datetime.now(UTC))
        shadow.start(tx, "https://hooks.example.com/old")
        accept.store(tx, lambda: [make_mapper()(make_raw())])
        shadow.record(tx, 1, 1, Passed(State.WAITING, "No connection."))

    refused = run(config, "uninstall", "--data", "--yes")

    assert (4, True) == (refused.exit_code, "1 waiting for the old URL" in refused.stderr)
    assert config.exists()


def test_a_running_relay_is_left_alone(config: Path, data: Path) -> None:
    """One that is not the service has to be stopped first."""
    lock = StoreLock(data / "relay.db")
    lock.take("serve", datetime(2026, 11, 29, 9, 14, tzinfo=UTC))
    try:
        done = run(config, "uninstall", "--yes")
    finally:
        lock.release()

    assert (4, True) == (done.exit_code, "Stop it" in done.stderr)
    assert config.exists()


def test_postgresql_keeps_its_texts_and_its_password(config: Path, tmp_path: Path) -> None:
    """A backup has settings and secrets only, and no password; `--data` is refused."""
    url = "postgresql://relay:hidden@db.example.com/relay?password=hidden&sslmode=require"
    with config.open("a", encoding="utf-8") as file:
        file.write(f'[database]\nurl = "{url}"\n')
    backup = tmp_path / "relay.backup"

    made, removal = run(config, "backup", str(backup)), run(config, "uninstall", "--data", "--yes")

    assert 0 == made.exit_code, made.stderr
    assert "pg_dump" in made.stderr
    found = backups.read_backup(backup)
    assert (False, False) == (found.has_store, found.has_api_key)
    assert 'url = "postgresql://relay@db.example.com/relay?sslmode=require"' in found.settings
    assert "hidden" not in found.settings
    assert (4, True) == (removal.exit_code, "PostgreSQL" in removal.stderr)
    assert PUBLIC in found.settings
