"""A backup brought back on another computer: whole or not at all, and nothing goes out twice."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from callrail_relay.bootstrap import backups
from callrail_relay.bootstrap.context import load_context
from callrail_relay.bootstrap.wiring import open_relay
from callrail_relay.errors import NotAllowed, RelayError
from tests.acceptance.program import API_KEY, HOOK_TOKEN, PAYLOAD, Program, Sandbox, Started

LONG = "The first of two parts, " * 6 + "and what follows after it."
SECRETS = ("CALLRAIL_API_KEY", "CALLRAIL_RELAY_HOOK_TOKEN")


@pytest.fixture
def old(configured: Program, tmp_path: Path) -> Program:
    """The relay on the old computer; only its environment has its settings and secrets."""
    old = computer(configured, tmp_path / "old")
    Path(old.environment["CALLRAIL_RELAY_CONFIG"]).write_text("# Mine.\n")
    return old


def computer(program: Program, home: Path) -> Program:
    """The same program on another computer."""
    home.mkdir()
    places = {"CALLRAIL_RELAY_CONFIG": str(home / "config.toml"), "CALLRAIL_RELAY_DATA": str(home / "data")}
    return Program(program.environment | places, home)


def fresh(old: Program, home: Path) -> Program:
    """A computer where nothing is set but the API key."""
    new = computer(old, home)
    new.environment = {
        name: value
        for name, value in new.environment.items()
        if not name.startswith("CALLRAIL_RELAY_") or name in ("CALLRAIL_RELAY_CONFIG", "CALLRAIL_RELAY_DATA")
    }
    return new


def write(serving: Started, words: str, ending: int, **more: object) -> None:
    number = {"seller_phone": f"+120255501{ending:02}", "seller_phone_non_international": None}
    assert 200 == serving.post(PAYLOAD | number | {"message": words} | more).status_code


def texts_of(program: Program) -> dict[str, dict[str, Any]]:
    return {one["text"]: one for one in program.json("messages", "list", "--limit", "0")}


def live_on(old: Program, sandbox: Sandbox, file: Path) -> Counter[str]:
    """Have texts in every state, make a backup, and send on; returns how often CallRail has each text."""
    old.environment |= {"CALLRAIL_RELAY_GUARDS__MASS_TEXT": "off", "CALLRAIL_RELAY_LIMITS__PER_HOUR": "90"}
    with old.serving() as serving:
        write(serving, "Sent before the backup", 1)
        old.wait_for("sent", 1)
        sandbox.fault(kind="drop", times=1)
        write(serving, "Unknown in the backup", 2)
        old.wait_for("unknown", 1)
        assert 0 == old.run("opt-outs", "add", "--recipient", "+12025550109").returncode
        write(serving, "To one who opted out", 9)
        sandbox.fault(kind="delay", delay=300, times=1)
        write(serving, "On its way in the backup", 3)
        old.wait_for("sending", 1)
        assert 0 == old.run("pause").returncode
        for words, ending in (("Sent since", 4), (LONG, 5), ("Ok", 6), ("Ok", 6), ("Held in the backup", 8)):
            write(serving, words, ending, **({"seller_phone": "+441632960108"} if ending == 8 else {}))
        made = old.json("backup", str(file))
        assert (True, False) == (made["texts"], made["api_key"])
        assert 0o600 == file.stat().st_mode & 0o777 or os.name == "nt"
        sandbox.remove_faults()
        sandbox.fault(kind="status", status=400, number="+12025550105", position=2)
        assert 0 == old.run("resume").returncode
        old.wait_for("sent", 4)
        old.wait_until_settled()
    before = Counter(text["content"] for text in sandbox.texts())
    assert {"Ok": 1, "Sent since": 1} == {words: before[words] for words in ("Ok", "Sent since")}
    return before


def test_nothing_goes_out_twice(old: Program, sandbox: Sandbox, tmp_path: Path) -> None:
    """
    What the old relay sent after the backup is found at CallRail, whatever its state was in the backup.

    Everything else waits for a person, and later texts to the same person don't wait for it.
    """
    file, new = tmp_path / "relay.backup", fresh(old, tmp_path / "new")
    before = live_on(old, sandbox, file)

    refused = new.run("restore", str(file))
    assert 3 == refused.returncode
    assert (
        "no OS keyring here to keep the webhook secret in. Run this again with --secrets-file"
        in refused.stderr
    )
    restored = new.json("restore", str(file), "--secrets-file")

    assert {"not_final": 8, "not_looked_up": 0} == {
        name: restored["texts"][name] for name in ("not_final", "not_looked_up")
    }
    now = texts_of(new)
    twice = [one["status"] for one in new.json("messages", "list", "--search", "Ok")]
    assert ["held", "sent"] == sorted(twice)
    assert ["sent", "queued"] == [part["status"] for part in now[LONG]["segments"]]
    assert "held" == now[LONG]["status"]
    assert {"sent", "held"} == {one["status"] for one in now.values()}
    for words in ("Sent before the backup", "On its way in the backup", "Sent since"):
        assert "sent" == now[words]["status"]
        assert [] == now[words]["reasons"]
    for words in ("Unknown in the backup", "To one who opted out", "Held in the backup"):
        assert ("held", "restored") == (now[words]["status"], now[words]["reasons"][0]["code"])
        assert "relay.backup" in now[words]["reason"]
        assert "may have been sent since" in now[words]["reason"]
    assert ["+12025550109"] == [one["recipient"] for one in new.json("opt-outs", "list")]
    hour = new.json("status")["accounts"][0]["hour"]
    assert (90, True) == (hour["allowed"], hour["used"] >= before.total())
    with new.serving() as serving:
        assert 0 == new.run("resume").returncode
        write(serving, "A later text to the same person", 2)  # by the same URL
        new.wait_until_settled()
        assert "sent" == texts_of(new)["A later text to the same person"]["status"]
        id_ = now["Unknown in the backup"]["id"]
        asked = new.run("messages", "approve", id_)
        assert (2, True) == (asked.returncode, "may have been sent since" in asked.stderr)
        assert "held" == texts_of(new)["Unknown in the backup"]["status"]
        assert 0 == new.run("messages", "approve", "--yes", id_, now[LONG]["id"]).returncode
        new.wait_until_settled()
    more = Counter(text["content"] for text in sandbox.texts()) - before
    rest = now[LONG]["segments"][1]["content"]
    assert more == Counter(["A later text to the same person", "Unknown in the backup", rest])


def test_what_could_not_be_looked_up_is_looked_up_by_serve(
    old: Program, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Without an API key `restore` asks nothing; held texts stay so until a `serve` has one."""
    file, new = tmp_path / "relay.backup", fresh(old, tmp_path / "new")
    with old.serving() as serving:
        assert 0 == old.run("pause").returncode
        write(serving, "Sent since", 4)
        write(serving, "Never sent", 5)
        assert 0 == old.run("backup", str(file)).returncode
        assert 0 == old.run("resume").returncode
        old.wait_for("sent", 1)
        old.wait_until_settled()
    key = new.environment.pop("CALLRAIL_API_KEY")

    restored = new.json("restore", str(file), "--secrets-file")

    assert {"not_final": 2, "held": 2, "not_looked_up": 2} == restored["texts"]
    new.environment["CALLRAIL_API_KEY"] = key
    with new.serving():
        new.wait_for("sent", 2)
    assert {"sent"} == {one["status"] for one in texts_of(new).values()}
    assert Counter(["Sent since", "Never sent"]) == Counter(text["content"] for text in sandbox.texts())


def test_restoring_again_keeps_what_was_held(old: Program, tmp_path: Path) -> None:
    """A backup of a restored store says the newer date, and its texts wait all the same."""
    first, second = tmp_path / "first.backup", tmp_path / "second.backup"
    with old.serving() as serving:
        assert 0 == old.run("pause").returncode
        write(serving, "Never sent", 5)
        assert 0 == old.run("backup", str(first)).returncode
    middle, last = fresh(old, tmp_path / "middle"), fresh(old, tmp_path / "last")

    assert 1 == middle.json("restore", str(first), "--secrets-file")["texts"]["held"]
    assert 0 == middle.run("backup", str(second)).returncode
    assert 1 == last.json("restore", str(second), "--secrets-file")["texts"]["held"]

    [reason] = texts_of(last)["Never sent"]["reasons"]
    assert ("restored", "second.backup", "not_shown") == (
        reason["code"],
        reason["parameters"]["backup"],
        reason["parameters"]["problem"],
    )


# Whole or not at all


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Another computer's, where nothing is yet."""
    home = tmp_path / "another"
    home.mkdir()
    return home


@pytest.fixture
def file(old: Program, tmp_path: Path) -> Path:
    """A backup with a text that waits."""
    file = tmp_path / "relay.backup"
    with old.serving() as serving:
        assert 0 == old.run("pause").returncode
        write(serving, "It waits", 5)
        assert 0 == old.run("backup", str(file)).returncode
    return file


def data_of(home: Path) -> Path:
    """Where the data is: on Linux beside the settings' folder, elsewhere, and for every other kill, in it."""
    return home if home.name[-1] in "13579" else home / "data"


@contextmanager
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        for name in SECRETS:
            patched.delenv(name, raising=False)
        patched.setenv("CALLRAIL_RELAY_CONFIG", str(home / "config.toml"))
        patched.setenv("CALLRAIL_RELAY_DATA", str(data_of(home)))
        yield


def restore_here(file: Path) -> int:
    return asyncio.run(backups.restore(None, file, use_file=True))[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it forks")
def test_killed_at_every_step(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After a kill at any step it is whole, or it counts as nothing: no store can be opened, and `restore` can
    be run again. Nothing that was waiting is ever queued.
    """
    (tmp_path / "first").mkdir()
    with environment(tmp_path / "first", monkeypatch):
        restore_here(file)  # so that no kill is spent on a step that only the first run has
    step, whole, is_over = 0, 0, False
    while not is_over:
        home = tmp_path / f"home-{step}"
        with environment(home, monkeypatch):
            is_over, is_done = survives(step, home, file)
            whole += is_done
        step += 1
    # With the data elsewhere it has more steps, or fewer: the last of these may have been left out.
    home = tmp_path / f"again-{step - 1}"
    with environment(home, monkeypatch):
        whole += survives(step - 2, home, file)[1]
    assert step > 40
    assert whole > 1


def survives(step: int, home: Path, file: Path) -> tuple[bool, bool]:
    """Whether it had fewer steps than this one to be killed at, and whether it was whole without another."""
    home.mkdir()
    is_over, is_done = killed_at(step, file), is_whole(home)
    if not is_done:
        if (data_of(home) / "relay.db").exists() or (home / "config.toml").exists():
            with pytest.raises(RelayError, match="interrupted"):
                read_statuses()
        assert 1 == restore_here(file)
    assert {"held": 1} == read_statuses()
    left = {one.name for one in home.iterdir()} - {"config.toml", "data", "secrets.toml"}
    assert {name for name in left if not name.startswith("relay.db")} == set()
    assert not [*data_of(home).glob("*restoring*")]
    return is_over, is_done


def is_whole(home: Path) -> bool:
    is_unfinished = (data_of(home) / "restoring.toml").exists()
    return (home / "config.toml").exists() and (data_of(home) / "relay.db").exists() and not is_unfinished


def killed_at(step: int, file: Path) -> bool:
    """Restore in a process that dies at its step of this number; True if it had fewer."""
    process = os.fork()
    if process == 0:
        left = [step]

        def count(event: str, arguments: tuple[object, ...]) -> None:
            changes = event.startswith(("os.", "sqlite3.connect", "shutil.")) or (
                event == "open" and "r" not in str(arguments[1] or "w")
            )
            if changes and event not in ("os.listdir", "os.scandir", "os.getxattr"):
                if not left[0]:
                    os._exit(9)
                left[0] -= 1

        sys.addaudithook(count)
        try:
            restore_here(file)
        except BaseException:  # noqa: BLE001 - it must not come back into the test
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return os.waitstatus_to_exitcode(status) == 0


def read_statuses() -> dict[str, int]:
    async def read() -> dict[str, int]:
        async with open_relay(load_context(None)) as relay:
            counts = (await relay.operations.status()).counts
        return {status.value: count for status, count in counts.items() if count}

    return asyncio.run(read())


def test_a_failure_leaves_nothing(file: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a keyring nothing is restored, and it can be run again."""
    with environment(home, monkeypatch):
        with pytest.raises(RelayError, match="keyring"):
            asyncio.run(backups.restore(None, file, use_file=False))

        assert not (home / "config.toml").exists()
        assert {"relay.db-serve.lock"} >= {one.name for one in (home / "data").iterdir()}
        assert 1 == restore_here(file)


@pytest.mark.parametrize("place", ["config.toml", "data/relay.db", "data/anything"])
def test_nothing_is_replaced(file: Path, home: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Where there are settings or data, `restore` is refused and changes nothing."""
    there = home / place
    there.parent.mkdir(exist_ok=True)
    there.write_text("# mine\n")
    with environment(home, monkeypatch), pytest.raises(NotAllowed, match=there.name):
        restore_here(file)
    assert "# mine\n" == there.read_text()
    assert not (home / "secrets.toml").exists()


def test_a_damaged_backup_is_refused(file: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever byte is wrong: it is refused, or nothing of the content is different."""
    content, whole = file.read_bytes(), backups.read_backup(file)
    refused = 0
    for at in range(0, len(content), 13):
        file.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            assert whole == backups.read_backup(file)
        except NotAllowed:
            refused += 1
    assert refused > len(content) / 13 * 0.8
    for damaged in (content[:-1], content[: len(content) // 2], b"", b"no backup"):
        file.write_bytes(damaged)
        with environment(home, monkeypatch), pytest.raises(NotAllowed, match="Nothing was changed"):
            restore_here(file)
    assert not (home / "data").exists()


def test_the_webhook_secret_and_settings_come_back(
    file: Path, home: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    """Also those that only the environment of the old computer had."""
    with environment(home, monkeypatch):
        restore_here(file)
    assert f'"{HOOK_TOKEN}"' in (home / "secrets.toml").read_text()
    assert API_KEY not in (home / "secrets.toml").read_text()
    assert sandbox.account_id in (home / "config.toml").read_text()
    assert 0o600 == (home / "data" / "relay.db").stat().st_mode & 0o777 or os.name == "nt"
