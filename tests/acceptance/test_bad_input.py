"""Bad input: one sentence that names the thing and the remedy, no traceback, and the contract's exit code."""

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.program import PAYLOAD, Program, Sandbox

SEND = ("send", "--to", "+12025550122", "--message", "Hello")


def complains(shown: "subprocess.CompletedProcess[str]", code: int, *words: str) -> None:
    """The command ended with *code*, and its complaint holds *words* and no traceback."""
    assert code == shown.returncode, shown.stdout + shown.stderr
    assert "Traceback" not in shown.stderr
    missing = [word for word in words if word not in shown.stderr]
    assert not missing, shown.stderr


@pytest.mark.parametrize("number", ["123", "+442071838750", "202-555-0122 x12", "call me", "+18765550122"])
def test_wrong_phone(configured: Program, number: str) -> None:
    """A number that CallRail cannot text is refused before anything is stored."""
    complains(configured.run("send", "--to", number, "--message", "Hello"), 2, "--to")


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_empty_text(configured: Program, text: str) -> None:
    """There is nothing to send in a blank text."""
    complains(configured.run("send", "--to", "+12025550122", "--message", text), 2, "--message")


def test_unknown_tracking_number(configured: Program) -> None:
    """--from must be one of our own numbers."""
    complains(configured.run(*SEND, "--from", "+12025550199"), 2, "--from")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[limits]\nper_hours = 5\n", ("limits.per_hours", "per_hour", "config.toml", "line 2")),
        ("[limits]\nper_hour = 'many'\n", ("limits.per_hour", "config.toml")),
        ("[limits\n", ("not valid TOML", "config.toml")),
    ],
)
def test_bad_settings(configured: Program, content: str, words: tuple[str, ...]) -> None:
    """A settings file with a fault is named with its key, its line and the remedy."""
    settings = configured.folder / "config.toml"
    settings.write_text(content, encoding="utf-8")

    complains(configured.run(*SEND, "--config", str(settings)), 3, *words)


def test_bad_setting_in_the_environment(configured: Program) -> None:
    """A fault in a variable names the variable."""
    variable = "CALLRAIL_RELAY_LIMITS__PER_HOUR"

    complains(configured.run("status", env={variable: "lots"}), 3, variable)


def test_missing_settings_file(configured: Program) -> None:
    """A file that was named must be there."""
    complains(configured.run("status", "--config", "nowhere.toml"), 3, "nowhere.toml", "configure")


def test_nothing_configured(program: Program) -> None:
    """Without any settings each command says what to run first."""
    complains(program.run(*SEND), 3, "callrail-relay configure")
    complains(program.run("serve"), 3, "callrail-relay configure")
    complains(program.run("hook-url"), 3, "callrail-relay configure")


def test_unaccepted_terms(configured: Program) -> None:
    """Nothing is sent before CallRail's rule is accepted."""
    refused = {"CALLRAIL_RELAY_CALLRAIL__ACCEPTED_TERMS": "false"}

    for arguments in (SEND, ("serve",), ("replay", "-", "--yes")):
        shown = configured.run(
            *arguments, env=refused, stdin='{"message": "a", "seller_phone": "2025550122"}'
        )
        complains(shown, 3, "person-to-person", "accepted_terms")


def test_no_key_and_no_keyring(configured: Program) -> None:
    """Without a key the ways to give one are named, and nothing is stored."""
    complains(configured.run(*SEND, env={"CALLRAIL_API_KEY": ""}), 3, "CALLRAIL_API_KEY", "--secrets-file")
    assert [] == configured.json("messages", "list")


def test_unreadable_file(configured: Program) -> None:
    """A payload file that is not there, or is a directory."""
    complains(configured.run("replay", "nowhere.json"), 4, "nowhere.json")
    complains(configured.run("replay", str(configured.folder)), 4, str(configured.folder))


def test_file_without_payload(configured: Program) -> None:
    """A file that holds no texts from IF3 is not found to be one."""
    complains(configured.run("replay", "-", stdin='{"hello": "world"}'), 4, "no texts from IF3")


def test_bad_faults_file(program: Program) -> None:
    """The sandbox names what it does not understand in a file of faults."""
    file = program.folder / "faults.json"
    file.write_text('[{"kind": "explode"}]', encoding="utf-8")

    complains(program.run("sandbox", "--port", "0", "--faults", str(file)), 2, "kind must be")
    complains(program.run("sandbox", "--port", "0", "--faults", "nowhere.json"), 4, "nowhere.json")


def test_unknown_text(configured: Program) -> None:
    """An id that no text has."""
    for verb in ("show", "approve"):
        complains(configured.run("messages", verb, "nothing"), 4, "nothing", "messages list")


def test_port_in_use(configured: Program) -> None:
    """A port that another program has, public or private."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        complains(configured.run("serve", "--port", port), 8, port, "--port")
        private = {"CALLRAIL_RELAY_DASHBOARD__PORT": port}
        complains(configured.run("serve", "--port", "0", env=private), 8, port, "dashboard.port")
        complains(configured.run("sandbox", "--port", port), 8, port)


def database(configured: Program) -> Path:
    """The store, made by a first command."""
    assert 0 == configured.run("status").returncode
    return Path(configured.environment["CALLRAIL_RELAY_DATA"]) / "relay.db"


def test_locked_database(configured: Program) -> None:
    """Another program writes to the store and does not end."""
    with sqlite3.connect(database(configured), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        complains(configured.run(*SEND), 8, "is locked")
        other.execute("ROLLBACK")
    other.close()


def test_damaged_database(configured: Program) -> None:
    """A file that is no database is named as such."""
    database(configured).write_bytes(b"This is no database. " * 100)

    complains(configured.run("status"), 8, "relay.db", "damaged")


def test_database_of_a_newer_version(configured: Program) -> None:
    """A store that a newer release has changed is left alone."""
    with sqlite3.connect(database(configured)) as store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
    store.close()

    complains(configured.run("status"), 8, "newer callrail-relay")


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such rights there")
def test_read_only_database(configured: Program) -> None:
    """A store that this user may not write."""
    path = database(configured)
    if os.geteuid() == 0:
        # Rights do not bind root; a file that cannot be changed does.
        marked = subprocess.run(["chattr", "+i", str(path)], capture_output=True, check=False)
        if marked.returncode:
            pytest.skip("root may write everything here, and the file system has no immutable files")
        try:
            complains(configured.run(*SEND), 8, "relay.db")
        finally:
            subprocess.run(["chattr", "-i", str(path)], check=True)
        return
    path.chmod(0o400)
    complains(configured.run(*SEND), 8, "read-only")


def test_unwritable_store_is_a_503(configured: Program) -> None:
    """
    What cannot be stored is not answered with 200, and the health says so; afterwards all is well again.
    """
    with (
        configured.serving() as serving,
        sqlite3.connect(database(configured), isolation_level=None) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        answer = serving.post(PAYLOAD)
        health = httpx2.get(f"{serving.public}/healthz", trust_env=False, timeout=30)
        other.execute("ROLLBACK")
        assert (503, 503) == (answer.status_code, health.status_code)
        assert "Retry-After" in answer.headers
        assert 200 == serving.post(PAYLOAD).status_code
    other.close()


@pytest.mark.parametrize("command", ["doctor", "send"])
def test_unreachable_api(configured: Program, command: str) -> None:
    """Nothing listens at the API's address."""
    nowhere = {"CALLRAIL_RELAY_CALLRAIL__API_URL": "http://127.0.0.1:9"}
    arguments = (*SEND, "--timeout", "1") if command == "send" else ("doctor",)

    shown = configured.run(*arguments, env=nowhere)

    assert 8 == shown.returncode
    assert "reach" in shown.stdout + shown.stderr


def test_doctor_finds_a_wrong_key_and_wrong_names(configured: Program, sandbox: Sandbox) -> None:
    """`doctor` tells a wrong key, and an account, a company or a number that the key cannot see, apart."""
    prefix = "CALLRAIL_RELAY_CALLRAIL__"
    for variable, value, word in (
        ("CALLRAIL_API_KEY", "wrong-key-0123456789", "401"),
        (f"{prefix}ACCOUNT_ID", "ACC99999999999999999999999999999999", "ACC9999"),
        (f"{prefix}COMPANY_ID", "COM99999999999999999999999999999999", "COM9999"),
        (f"{prefix}TRACKING_NUMBER", "+12025550199", "0199"),
    ):
        shown = configured.run("doctor", env={variable: value})
        assert (5, True) == (shown.returncode, word in shown.stdout), shown.stdout


def test_key_and_texts_stay_out_of_the_logs(configured: Program) -> None:
    """The output of `serve` names no key, no words of a text and no full number."""
    with configured.serving("--log-level", "debug") as serving:
        assert 200 == serving.post(PAYLOAD).status_code
        configured.wait_for("sent", 1)
        _, errors = serving.stop()

    assert "attempt_finished" in errors
    secrets = [configured.environment[name] for name in ("CALLRAIL_API_KEY", "CALLRAIL_RELAY_HOOK_TOKEN")]
    for private in (*secrets, "Oak St", "2025550122", "Dana"):
        assert private not in errors
