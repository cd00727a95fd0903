"""The page of the core library: its examples run and print what it shows, and it names all there is."""

import asyncio
import contextlib
import io
import os
import re
import subprocess
import sys

import pytest

import callrail_relay
from callrail_relay.bootstrap.sandbox import open_sandbox
from callrail_relay.sentences import SENTENCES
from tests.docs.markdown import DOCS, Page

LIBRARY = Page(DOCS / "reference" / "library.md")
LOADED = "import sys, callrail_relay; print(*sys.modules)"


def run(source: str, names: dict[str, object]) -> str:
    """What an example prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(source, "library.md", "exec"), names)
    return printed.getvalue()


def test_examples_print_what_the_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, the last one against a real sandbox."""
    monkeypatch.setenv("CALLRAIL_API_KEY", "k3y")
    names: dict[str, object] = {}
    blocks = LIBRARY.blocks("python", "text")

    async def examples() -> None:
        async with open_sandbox(port=0) as sandbox:
            monkeypatch.setenv("SANDBOX_URL", sandbox.url)
            for name in ("account_id", "company_id", "tracking_number"):
                monkeypatch.setenv(name.upper(), str(getattr(sandbox.simulator, name)))
            for example, shown in zip(blocks[::2], blocks[1::2], strict=True):
                assert ("python", "text") == (example.language, shown.language)
                assert shown.text == (await asyncio.to_thread(run, example.text, names)).strip()
            assert 1 == len(sandbox.simulator.texts)

    asyncio.run(examples())


def test_page_names_all_that_is_public() -> None:
    """And no name that is not there."""
    [listed] = [line for line in LIBRARY.prose() if line.startswith("`map_webhook` ·")]

    assert sorted(callrail_relay.__all__) == sorted(re.findall("`([^`]+)`", listed))
    assert all(hasattr(callrail_relay, name) for name in callrail_relay.__all__)
    assert not hasattr(callrail_relay, "no_such_name")
    assert set(callrail_relay.__all__) <= set(dir(callrail_relay))


def test_page_names_every_reason() -> None:
    """Each code has its row."""
    assert {key.partition(".")[0] for key in SENTENCES} <= set(LIBRARY.inline_code())


def test_importing_it_loads_no_client_and_no_database() -> None:
    """A program that only maps pays for nothing else."""
    # Measuring coverage loads sqlite3.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, env=env
    )
    parts = {module.partition(".")[0] for module in loaded.stdout.split()}

    assert "callrail_relay" in parts
    assert not {"httpx2", "sqlalchemy", "sqlite3", "phonenumbers", "starlette"} & parts
