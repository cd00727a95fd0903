import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from keyring.errors import PasswordDeleteError
from typer.testing import CliRunner, Result

from callrail_relay.cli import app
from tests.support.memory_keyring import MemoryKeyring

pytestmark = pytest.mark.usefixtures("memory")


@pytest.fixture
def config(tmp_path: Path, memory: MemoryKeyring) -> Path:
    """Settings with a public address, and a webhook secret in the keyring."""
    config = tmp_path / "config.toml"
    config.write_text('[server]\npublic_url = "https://texts.example.com"\n', "utf-8")
    memory.entries["callrail-relay", f"hook-token@{config}"] = "first"
    return config


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["hook-url", "--config", str(config), *words])


def test_url_stands_alone(config: Path) -> None:
    """A script can take standard output as it is."""
    shown = run(config)

    assert (0, "https://texts.example.com/hooks/if3/first\n", "") == (
        shown.exit_code,
        shown.stdout,
        shown.stderr,
    )


def test_json_is_an_object(config: Path) -> None:
    assert {"url": "https://texts.example.com/hooks/if3/first"} == json.loads(run(config, "--json").stdout)


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("", "http://127.0.0.1:8787"),
        ('host = "0.0.0.0"\nport = 80', "http://127.0.0.1:80"),
        ('host = "::"', "http://[::1]:8787"),
        ('host = "192.0.2.1"', "http://192.0.2.1:8787"),
    ],
)
def test_missing_public_address_is_told(server: str, address: str, config: Path) -> None:
    """The URL is one that works on this machine, and what IF3 needs is said beside it."""
    config.write_text(f"[server]\n{server}\n", "utf-8")

    shown = run(config)

    assert f"{address}/hooks/if3/first\n" == shown.stdout
    assert "IF3 needs a public https address" in shown.stderr


@pytest.mark.parametrize(
    "address", ["http://texts.example.com", "https://192.168.0.4", "https://office.local"]
)
def test_public_address_that_cannot_be_right_is_told(address: str, config: Path) -> None:
    """The URL is printed anyway, for people who need it in their own network."""
    config.write_text(f'[server]\npublic_url = "{address}"\n', "utf-8")

    shown = run(config)

    assert f"{address}/hooks/if3/first\n" == shown.stdout
    assert "IF3 can't use the URL below" in shown.stderr


def test_missing_secret_is_told(config: Path, memory: MemoryKeyring) -> None:
    memory.entries.clear()

    shown = run(config)

    assert (3, "") == (shown.exit_code, shown.stdout)
    assert "Run `callrail-relay configure`" in shown.stderr


def test_rotation_keeps_the_former_url_for_a_day(config: Path, memory: MemoryKeyring) -> None:
    """The new secret is printed and stored; the former one is stored with its end."""
    before = datetime.now(UTC)

    shown = run(config, "--rotate")

    assert 0 == shown.exit_code, shown.stderr
    new = memory.entries["callrail-relay", f"hook-token@{config}"]
    until, _, former = memory.entries["callrail-relay", f"hook-token-previous@{config}"].partition("|")
    assert f"https://texts.example.com/hooks/if3/{new}\n" == shown.stdout
    assert "first" == former != new
    assert timedelta(0) <= datetime.fromisoformat(until) - before - timedelta(hours=24) < timedelta(minutes=2)
    assert "The new webhook secret is in the OS keyring (Memory)." in shown.stderr
    assert "The old URL works until" in shown.stderr


def test_leaked_url_is_ended(config: Path, memory: MemoryKeyring) -> None:
    """With --now nothing of the former secret is kept; alone --now means nothing."""
    memory.entries["callrail-relay", f"signing-keys@{config}"] = "key"

    shown = run(config, "--rotate", "--now")

    assert 0 == shown.exit_code, shown.stderr
    new = memory.entries["callrail-relay", f"hook-token@{config}"]
    assert f"https://texts.example.com/hooks/if3/{new}\n" == shown.stdout
    assert ("callrail-relay", f"hook-token-previous@{config}") not in memory.entries
    assert "The old URLs no longer work" in shown.stderr
    assert "run `callrail-relay configure --webhooks`" in shown.stderr
    assert 2 == run(config, "--now").exit_code


def test_new_url_is_shown_though_the_keyring_keeps_the_former_one(
    config: Path, memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The secret is in the file then, and a keyring that deletes nothing has one that opens nothing."""

    def refuse(_service: str, _username: str) -> None:
        raise PasswordDeleteError

    secrets = config.with_name("secrets.toml")
    secrets.touch(0o600)
    monkeypatch.setattr(memory, "delete_password", refuse)

    shown = run(config, "--rotate", "--now")

    assert 0 == shown.exit_code, shown.stderr
    new = tomllib.loads(secrets.read_text("utf-8"))["hook-token"]
    assert "first" == memory.entries["callrail-relay", f"hook-token@{config}"] != new
    assert f"https://texts.example.com/hooks/if3/{new}\n" == shown.stdout


def test_secret_of_the_environment_is_rotated_there(
    config: Path, memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation that would not count is refused."""
    monkeypatch.setenv("CALLRAIL_RELAY_HOOK_TOKEN", "of-the-environment")

    shown = run(config, "--rotate")

    assert (3, "") == (shown.exit_code, shown.stdout)
    assert "environment variable CALLRAIL_RELAY_HOOK_TOKEN; change it there" in shown.stderr
    assert 1 == len(memory.entries)
