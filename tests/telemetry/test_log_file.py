"""A program without a console logs to a file, and nothing of it fails."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from callrail_relay.telemetry import logs
from callrail_relay.telemetry.logs import LogFile

WITHOUT_CONSOLE = """
import sys
sys.stdin = sys.stdout = sys.stderr = None
sys.argv[1:] = {command!r}
from callrail_relay.cli import main
sys.exit(main())
"""


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def users_log() -> Path:
    return platformdirs.user_log_path("callrail-relay", appauthor=False) / "callrail-relay.log"


def test_every_line_is_json_and_holds_no_secret(tmp_path: Path) -> None:
    """What a person would have read is masked as every log is."""
    with LogFile(tmp_path / "relay.log") as log:
        log.write('{"action": "started"}\nError: no ')
        log.write("text for +1 202 555 0122\n\nLink: http://127.0.0.1:1/login?token=sesame&a=b\n")
        log.write("http://127.0.0.1/hooks/if3/sesame\n")

    lines = read(tmp_path / "relay.log")
    assert ["started", "said", "said", "said"] == [line["action"] for line in lines]
    assert ("error", "Error: no text for +1••••••••22") == (lines[1]["level"], lines[1]["words"])
    assert "Link: http://127.0.0.1:1/login?token=[not logged]&a=b" == lines[2]["words"]
    assert "sesame" not in (tmp_path / "relay.log").read_text(encoding="utf-8")
    if os.name == "posix":
        assert 0o600 == stat.S_IMODE((tmp_path / "relay.log").stat().st_mode)


def test_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LARGEST", 1_000)
    with LogFile(tmp_path / "relay.log") as log:
        for number in range(200):
            log.write(f"line {number}\n")

    files = sorted(tmp_path.glob("relay.log*"))
    assert ["relay.log", "relay.log.1", "relay.log.2", "relay.log.3"] == [path.name for path in files]
    assert all(path.stat().st_size <= 1_000 for path in files)
    assert "line 199" == read(tmp_path / "relay.log")[-1]["words"]


def test_file_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    """The line is lost, and the program goes on."""
    with LogFile(tmp_path / "none" / "relay.log") as log:
        log.write("line\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["send", "--to", "12", "--message", "x", "--dry-run"], None, "Error: "),
        (["status"], 0, None),
        (["messages", "export"], 0, None),
        (["resume", "--json"], 0, None),
        (["messages", "show", "x"], 4, "Error: "),
    ],
)
def test_no_command_fails_without_a_console(command: list[str], code: int | None, words: str | None) -> None:
    """As pythonw starts it: what would have been said is in the user's log directory."""
    source = WITHOUT_CONSOLE.format(command=command)
    ended = subprocess.run([sys.executable, "-c", source], check=False, timeout=100)

    assert ended.returncode in ({code} if code is not None else {2, 3})
    assert (words is None) == (not users_log().exists())
    if words is not None:
        assert read(users_log())[-1]["words"].startswith(words)


@pytest.mark.skipif(os.name == "nt", reason="its streams have no numbers that a caller closes")
def test_store_never_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """What a library writes to number 2 would be written into the store."""
    source = (
        "from callrail_relay.bootstrap.context import open_missing_streams as o; o(); import os; "
        f"os._exit(0 if open({str(tmp_path / 'file')!r}, 'w').fileno() > 2 else 9)"
    )
    closing = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", source]

    assert 0 == subprocess.run(closing, check=False, timeout=100).returncode
