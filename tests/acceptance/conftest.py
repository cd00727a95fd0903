"""The program as a user has it: in its own process, with its own home directory."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.program import API_KEY, HOOK_TOKEN, Program, Sandbox, Started


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A fresh machine: nothing configured, no keyring."""
    return Program(dict(os.environ) | {"PYTHONUTF8": "1"}, tmp_path)


@pytest.fixture
def sandbox(program: Program) -> Iterator[Sandbox]:
    """The simulator, as `callrail-relay sandbox` starts it."""
    with program.started("sandbox", "--port", "0", "--json", env={"CALLRAIL_API_KEY": API_KEY}) as process:
        yield Sandbox(process.read_json())


@pytest.fixture
def configured(program: Program, sandbox: Sandbox) -> Program:
    """A machine whose environment holds all that is needed to send to the sandbox."""
    program.environment |= {
        "CALLRAIL_API_KEY": API_KEY,
        "CALLRAIL_RELAY_HOOK_TOKEN": HOOK_TOKEN,
        "CALLRAIL_RELAY_CALLRAIL__API_URL": sandbox.url,
        "CALLRAIL_RELAY_CALLRAIL__ACCOUNT_ID": sandbox.account_id,
        "CALLRAIL_RELAY_CALLRAIL__COMPANY_ID": sandbox.company_id,
        "CALLRAIL_RELAY_CALLRAIL__TRACKING_NUMBER": sandbox.tracking_number,
        "CALLRAIL_RELAY_CALLRAIL__ACCEPTED_TERMS": "true",
        "CALLRAIL_RELAY_LIMITS__RECIPIENT_INTERVAL": "0",
    }
    return program


@pytest.fixture
def serving(configured: Program) -> Iterator[Started]:
    """A running `serve` on free ports; `public` is the address of its public listener."""
    with configured.serving() as process:
        yield process
