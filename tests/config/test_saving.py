from pathlib import Path

import keyring
import pytest

from callrail_relay.config.saving import Changes, overruled, save
from callrail_relay.config.secrets import SecretName, Secrets
from callrail_relay.errors import SecretError, SettingsError
from tests.support.memory_keyring import MemoryKeyring

pytestmark = pytest.mark.anyio

CHANGES = {"server": {"port": 9000, "public_url": None}}
KEPT = {SecretName.HOOK_TOKEN: "token", SecretName.API_KEY: "key"}


class Choosy(MemoryKeyring):
    """A keyring that takes everything but an API key."""

    def set_password(self, service: str, username: str, password: str) -> None:
        if username.startswith("api-key"):
            raise OSError("full")
        super().set_password(service, username, password)


@pytest.fixture
def choosy(memory: MemoryKeyring) -> Choosy:
    choosy = Choosy()
    keyring.set_keyring(choosy)
    return choosy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


def write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


async def test_settings_and_secrets_are_written(path: Path, memory: MemoryKeyring) -> None:
    """Each secret comes back with the place it went to."""
    places = await save(path, Secrets(path), CHANGES, KEPT, use_file=False)

    assert dict.fromkeys(KEPT, "OS keyring (Memory)") == places
    assert {"token", "key"} == set(memory.entries.values())
    assert "port = 9000" in (read(path) or "")


async def test_failure_leaves_no_new_file(path: Path, choosy: Choosy) -> None:
    """What was made before the fault is taken out again."""
    with pytest.raises(SecretError):
        await save(path, Secrets(path), CHANGES, KEPT, use_file=False)

    assert read(path) is None
    assert {} == choosy.entries


async def test_failure_puts_the_former_settings_back(path: Path, choosy: Choosy) -> None:
    """The settings read as before, to the letter, and a webhook secret that was there stays."""
    former = "# ours\n[server]\nport=8000 # of old\n"
    write(path, former)
    choosy.entries["callrail-relay", f"hook-token@{path}"] = "token"

    with pytest.raises(SecretError):
        await save(path, Secrets(path), CHANGES, KEPT, use_file=False)

    assert former == read(path)
    assert ["token"] == list(choosy.entries.values())


async def test_nothing_is_written_that_would_not_be_read(path: Path, memory: MemoryKeyring) -> None:
    with pytest.raises(SettingsError, match=r"server\.port"):
        await save(path, Secrets(path), {"server": {"port": -1}}, KEPT, use_file=False)

    assert read(path) is None
    assert {} == memory.entries


@pytest.mark.parametrize(("variable", "keys"), [("9000", []), ("9001", ["server.port"]), (None, [])])
async def test_environment_that_wins_is_noticed(
    variable: str | None, keys: list[str], path: Path, memory: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that says the same is not worth a notice."""
    if variable is not None:
        monkeypatch.setenv("CALLRAIL_RELAY_SERVER__PORT", variable)
    changes: Changes = CHANGES

    await save(path, Secrets(path), changes, {}, use_file=False)

    assert keys == overruled(path, changes)
