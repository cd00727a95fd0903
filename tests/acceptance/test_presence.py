"""Whether a relay is running: said by the commands, and kept to one on each SQLite store."""

import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from tests.acceptance.program import Program, Sandbox, wait_until

KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL


def database(program: Program, name: str) -> str:
    return f"sqlite:///{(program.folder / name).as_posix()}"


def test_doctor_is_content_only_while_a_relay_is_running(configured: Program) -> None:
    """With everything else in place it fails without one; it says where each secret came from."""
    idle = configured.run("doctor")
    with configured.serving():
        shown = configured.run("doctor")
        assert configured.json("doctor")["ok"]

    assert 8 == idle.returncode, idle.stdout
    assert idle.stdout.startswith("✗ relay: No relay is running")
    assert "callrail-relay serve" in idle.stdout
    assert 0 == shown.returncode, shown.stdout
    assert "environment variable CALLRAIL_API_KEY" in shown.stdout


def test_status_says_whether_a_relay_is_running(configured: Program, sandbox: Sandbox) -> None:
    """
    First of all, and never that all is well without one, nor that the queue gets empty.

    The steps of the first run stay until IF3's first text has come in.
    """
    configured.run("send", "--to", "+12025550122", "--message", "Hello", "--no-wait")
    idle = configured.run("status").stdout
    assert idle.startswith("No relay is running")
    assert "will be empty" not in idle
    assert "First run: 1 of 5 steps done\n  1 API key\n    This step needs a running relay." in idle
    assert {"running": False, "since": None, "nodes": []} == configured.json("status")["relay"]

    with configured.serving():
        configured.wait_for("sent", 1)
        running = configured.run("status").stdout
        relay = configured.json("status")["relay"]
    assert running.startswith("All is well on this computer. No public URL is set, so")
    assert "\nRunning since " in running
    assert (
        "First run: 3 of 5 steps done\n  ✓ API key\n  ✓ Account and number\n  3 Public address\n" in running
    )
    assert "`callrail-relay expose`" in running
    assert relay["running"]
    assert datetime.fromisoformat(relay["since"]).tzinfo is not None
    assert [relay["since"]] == [node["since"] for node in relay["nodes"]]
    assert 1 == len(sandbox.texts())


def test_settings_that_need_a_restart_are_told(configured: Program) -> None:
    """By `status` and `doctor`, within seconds, as long as the running relay uses the former values."""
    file = Path(configured.environment["XDG_CONFIG_HOME"]) / "callrail-relay" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[limits]\nmax_characters = 140\n", encoding="utf-8")
    words = "The relay still uses the old values of limits.max_characters. Restart it"
    with configured.serving():
        assert words not in configured.run("status").stdout
        file.write_text("[limits]\nmax_characters = 300\n", encoding="utf-8")
        wait_until(lambda: words in configured.run("status").stdout)
        assert words in " ".join(configured.run("doctor").stdout.split())
        file.write_text("[limits]\nmax_characters = 140\n", encoding="utf-8")
        wait_until(lambda: words not in configured.run("status").stdout)
        file.write_text("[limits]\nmax_characters = 300\n", encoding="utf-8")
        wait_until(lambda: words in configured.run("status").stdout)
    with configured.serving():
        wait_until(lambda: words not in configured.run("status").stdout)


def test_second_serve_says_that_the_relay_is_running(configured: Program) -> None:
    """Also in a sandbox, and through another spelling of the same file; it doesn't say to end the first."""
    with configured.serving() as first:
        other_spelling = database(configured, f"../{configured.folder.name}/relay.db")
        configured.environment["CALLRAIL_RELAY_DATABASE__URL"] = database(configured, "relay.db")
        with configured.serving() as named:
            for arguments, url, remedy in (
                (["serve", "--port", "0"], database(configured, "relay.db"), "dashboard"),
                (["serve", "--port", "0", "--sandbox"], other_spelling, "demo --keep"),
            ):
                refused = configured.run(*arguments, env={"CALLRAIL_RELAY_DATABASE__URL": url})
                assert 8 == refused.returncode, refused.stderr
                assert "already running since" in refused.stderr
                assert f"(process {named.process.pid})" in refused.stderr
                assert f"`callrail-relay {remedy}`" in refused.stderr
            assert named.process.poll() is None
        assert first.process.poll() is None


def test_relay_starts_at_once_after_it_was_killed(configured: Program) -> None:
    with configured.serving() as first:
        os.kill(first.process.pid, KILL)
        first.process.wait()
        assert not configured.json("status")["relay"]["running"]
        with configured.serving():
            assert configured.json("status")["relay"]["running"]


def test_database_is_not_copied_while_a_relay_is_running(configured: Program, tmp_path: Path) -> None:
    """Neither from the store that it serves nor into it."""
    served, other = database(configured, "relay.db"), database(configured, "other.db")
    configured.environment["CALLRAIL_RELAY_DATABASE__URL"] = served
    with configured.serving():
        away = configured.run("database", "copy", served, other)
        assert not (tmp_path / "other.db").exists()
    copied = configured.run("database", "copy", served, other)
    with configured.serving():
        back = configured.run("database", "copy", other, served)

    assert (4, True) == (away.returncode, "A relay is running" in away.stderr), away.stderr
    assert 0 == copied.returncode, copied.stderr
    assert (4, True) == (back.returncode, "A relay is running" in back.stderr), back.stderr
