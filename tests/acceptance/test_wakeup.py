"""A running `serve` notices everything within seconds, whatever commands come and go."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.acceptance.program import Program, Sandbox
from tests.support.postgres import PostgresCluster

LONGEST = 3.0
"""Seconds from the end of a command to CallRail."""


@pytest.fixture(params=["sqlite", "postgresql"])
def relay(request: pytest.FixtureRequest, configured: Program) -> Iterator[Program]:
    """A machine on which `serve` runs."""
    if request.param == "postgresql":
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        configured.environment["CALLRAIL_RELAY_DATABASE__URL"] = cluster.url(cluster.create_database())
    with configured.serving():
        yield configured


@pytest.mark.timeout(300)
def test_serve_hears_of_every_command_however_many_came_before(relay: Program, sandbox: Sandbox) -> None:
    """Texts, a person's word and the end of a pause, after commands that delivered by themselves and went."""
    recipients = iter(f"+1202555{number:04}" for number in range(101, 199))

    def send(*options: str) -> None:
        shown = relay.run("send", "--to", next(recipients), "--message", "Is Tuesday good?", *options)
        assert 0 == shown.returncode, shown.stderr

    def replay() -> None:
        body = {"message": "Is Friday good?", "seller_phone": next(recipients)}
        assert 0 == relay.run("replay", "--yes", "-", stdin=json.dumps(body)).returncode

    def heard(count: int) -> None:
        until = time.monotonic() + LONGEST
        while len(sandbox.texts()) < count:
            assert time.monotonic() < until
            time.sleep(0.05)  # another process works

    send()
    replay()
    send("--no-wait")
    heard(3)

    assert 0 == relay.run("pause", "--reason", "Lunch").returncode
    send("--no-wait")
    assert 0 == relay.run("resume").returncode
    heard(4)

    for _ in range(2):
        send("--no-wait")
    heard(6)
    relay.run("send", "--to", "+12025550198", "--message", "Hi {{first_name}}", "--no-wait")
    [held] = relay.json("messages", "list", "--status", "held")
    assert 0 == relay.run("messages", "approve", held["id"]).returncode
    heard(7)
