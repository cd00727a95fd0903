"""Trying the channels."""

import json
import sys
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from callrail_relay.cli import app
from tests.support.receiver import Receiver, receiving

NOWHERE = "json://127.0.0.1:9/secret-of-the-channel"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def run(monkeypatch: pytest.MonkeyPatch, *urls: str, as_json: bool = False) -> Result:
    monkeypatch.setenv("CALLRAIL_RELAY_ALERTS__URLS", ",".join(urls))
    return CliRunner().invoke(app, ["alerts", "test", *(["--json"] if as_json else [])])


def test_a_channel_that_works(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    shown = run(monkeypatch, receiver.url)

    assert (0, "sent    alerts.urls[0] (json)\n", "") == (shown.exit_code, shown.stdout, shown.stderr)
    assert ["callrail-relay: a test"] == receiver.titles


def test_a_channel_that_does_not(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """8, also where another one works, and no word of its address."""
    shown = run(monkeypatch, NOWHERE, receiver.url, as_json=True)

    assert 8 == shown.exit_code
    assert [
        {"channel": "alerts.urls[0] (json)", "delivered": False},
        {"channel": "alerts.urls[1] (json)", "delivered": True},
    ] == json.loads(shown.stdout)
    assert 8 == run(monkeypatch, NOWHERE).exit_code
    assert "secret" not in shown.output


def test_no_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run(monkeypatch)

    assert 3 == shown.exit_code
    assert "There is no alert channel yet" in shown.stderr


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    shown = run(monkeypatch, NOWHERE)

    assert 3 == shown.exit_code
    assert "pip install '.[alerts]'" in " ".join(shown.stderr.split())


@pytest.mark.parametrize("url", ["slack", "token-of-mine@nowhere"])
def test_an_address_is_never_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Not even one that is written wrong."""
    shown = run(monkeypatch, url)

    assert 3 == shown.exit_code
    assert "alerts.urls[0]" in shown.stderr
    assert f'"{url}"' not in shown.stderr


def test_demonstration_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence and 8, as for everything that can't be reached."""
    monkeypatch.setattr("callrail_relay.cli.serve.DEMO_LIMIT", 0)

    shown = CliRunner().invoke(app, ["demo"])

    assert 8 == shown.exit_code
    assert "the text wasn't sent within 0 seconds" in shown.stderr
    assert "internal error" not in shown.output
