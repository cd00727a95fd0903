"""The ladder against the keyring of a Linux desktop, each step in a separate process."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.secret_service import secret_service

STEP = """
import asyncio, json, sys
from pathlib import Path
from callrail_relay.config.secrets import SecretName, Secrets
from callrail_relay.errors import SecretError

async def step(config, verb, *value):
    secrets = Secrets(Path(config), keyring_timeout=60)
    if verb == "store":
        return await secrets.store(SecretName.API_KEY, *value, use_file=False)
    if verb == "remove":
        return await secrets.remove(SecretName.API_KEY)
    found = await secrets.find(SecretName.API_KEY)
    return found and [found.reveal(), found.source]

try:
    print(json.dumps(asyncio.run(step(*sys.argv[1:]))))
except SecretError as fault:
    sys.exit(str(fault))
"""
RUNG = "OS keyring (SecretService Keyring)"


def step(environment: Mapping[str, str], config: Path, *words: str) -> object:
    """What a new process answers."""
    done = run(environment, config, *words)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def run(environment: Mapping[str, str], config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STEP, config, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.mark.slow
def test_secret_outlives_the_process_and_the_session(tmp_path: Path) -> None:
    """Stored in one process it is found in the next, and after another login, until it is removed."""
    config, other = tmp_path / "config.toml", tmp_path / "other.toml"

    with secret_service(tmp_path) as environment:
        assert step(environment, config, "find") is None
        assert RUNG == step(environment, config, "store", "key")
        assert ["key", RUNG] == step(environment, config, "find")
        assert step(environment, other, "find") is None

    with secret_service(tmp_path) as environment:
        assert ["key", RUNG] == step(environment, config, "find")
        assert step(environment, config, "remove") is None
        assert step(environment, config, "find") is None

    assert not (tmp_path / "secrets.toml").exists()


@pytest.mark.slow
def test_locked_keyring_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    """The command says that it is locked."""
    config = tmp_path / "config.toml"
    with secret_service(tmp_path) as environment:
        step(environment, config, "store", "key")

    with secret_service(tmp_path, password=None) as environment:
        done = run(environment, config, "find")

    assert 1 == done.returncode
    assert "The OS keyring failed (KeyringLocked). Unlock it and try again" in done.stderr
