"""What a shell completes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from callrail_relay.cli import app, console
from tests.support.factories import RECIPIENT, TRACKING_NUMBER


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CALLRAIL_API_KEY", "test-key")
    monkeypatch.setenv("CALLRAIL_RELAY_DATABASE__URL", f"sqlite:///{tmp_path.as_posix()}/texts/relay.db")
    route = f'{{"account_id": "ACC1", "company_id": "COM1", "tracking_number": "{TRACKING_NUMBER}"'
    monkeypatch.setenv("CALLRAIL_RELAY_CALLRAIL", f'{route}, "accepted_terms": true}}')


def command(name: str) -> typer.Context:
    return typer.Context(typer.main.get_command(app), info_name=name)


def test_ids_are_those_that_the_command_takes(tmp_path: Path) -> None:
    """As tables show them, without what others wrote; the store is only read, also while it is locked."""
    for words in ("Hi Dana", "Hi {{name}}"):
        CliRunner().invoke(app, ["send", "--to", RECIPIENT, "--message", words, "--no-wait"])
    file = tmp_path / "texts" / "relay.db"
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}

    [held] = console.ids(command("approve"))

    assert f"held {RECIPIENT}" == held[1]
    assert 2 == len(console.ids(command("show")))
    assert [RECIPIENT] == console.COMPLETE["people"](command("list"))
    assert (TRACKING_NUMBER,) == console.COMPLETE["own_numbers"](command("send"))
    assert before == {path.name: path.read_bytes() for path in file.parent.iterdir()}
    with closing(sqlite3.connect(file, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        writing.execute("UPDATE messages SET status = 'failed'")
        assert 2 == len(console.ids(command("show")))
        writing.execute("COMMIT")


@pytest.mark.parametrize("url", ["", "postgresql://nobody@127.0.0.1:9/none", "nonsense"])
def test_nothing_to_complete_is_no_fault(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a store, with one on a server, and with bad settings; nothing is created."""
    if url:
        monkeypatch.setenv("CALLRAIL_RELAY_DATABASE__URL", url)

    assert [] == console.ids(command("show"))
    assert not (tmp_path / "texts").exists()
