"""Files in and out: the list of opt-outs, and the texts."""

import csv
import io
import json
import stat
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from callrail_relay.cli import app, main
from tests.support.factories import RECIPIENT, TRACKING_NUMBER, recipient
from tests.web.posting import payload

HEADER = "tracking_number,recipient,reason,created_at\n"


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "ACCOUNT_ID": "ACC1",
        "COMPANY_ID": "COM1",
        "TRACKING_NUMBER": TRACKING_NUMBER,
        "ACCEPTED_TERMS": "true",
    }.items():
        monkeypatch.setenv(f"CALLRAIL_RELAY_CALLRAIL__{name}", value)
    monkeypatch.setenv("CALLRAIL_API_KEY", "test-key")
    monkeypatch.chdir(tmp_path)


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(words), input=stdin)


def store(*texts: str) -> None:
    """Put texts into the store, which nothing delivers."""
    for text in texts:
        shown = run("send", "--to", RECIPIENT, "--message", text, "--no-wait")
        assert 0 == shown.exit_code, shown.output


def test_opt_outs_go_out_and_come_in() -> None:
    """What was exported is on the list already when it is imported."""
    added = run("opt-outs", "import", "-", stdin=f"{HEADER},202-555-0122,=1+1,2026-01-31\n")
    assert (0, "1 line(s) read; 1 new on the list.\n") == (added.exit_code, added.stdout)

    exported = run("opt-outs", "export").stdout
    assert f"{HEADER}{TRACKING_NUMBER},{RECIPIENT},'=1+1,2026-01-31T00:00:00.000Z\n" == exported
    again = run("opt-outs", "import", "-", "--json", stdin=exported)
    assert {"read": 1, "added": 0, "bad_lines": [], "ignored_columns": []} == json.loads(again.stdout)


def test_bad_lines_are_named_and_the_others_count() -> None:
    """The exit code tells a script that a person is not on the list."""
    shown = run("opt-outs", "import", "-", stdin=f"recipient,name\n{RECIPIENT},Dana\nnobody,Pat\n")

    assert (2, "1 line(s) read; 1 new on the list.\n") == (shown.exit_code, shown.stdout)
    assert "Line 3: " in shown.stderr
    assert "column(s) name" in shown.stderr
    assert RECIPIENT not in shown.stderr


def test_a_list_without_numbers_of_ours_wants_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a person would seem to be on the list of a number that is set up later."""
    for name in ("ACCOUNT_ID", "COMPANY_ID", "TRACKING_NUMBER"):
        monkeypatch.delenv(f"CALLRAIL_RELAY_CALLRAIL__{name}")

    assert 3 == run("opt-outs", "import", "-", stdin=f"recipient\n{RECIPIENT}\n").exit_code
    line = f"{TRACKING_NUMBER},{RECIPIENT},,\n"
    assert 0 == run("opt-outs", "import", "-", stdin=HEADER + line).exit_code


def test_a_file_that_is_not_there() -> None:
    assert 4 == run("opt-outs", "import", "nowhere.csv").exit_code
    assert 8 == run("opt-outs", "export", "nowhere/list.csv").exit_code
    assert 8 == run("messages", "export", "nowhere/list.csv").exit_code


def test_texts_go_out_as_a_table(tmp_path: Path) -> None:
    """Newest first, for a spreadsheet, in a file that no other user can read."""
    store("=1+1", "Two\nlines")

    shown = run("messages", "export", "texts.csv", "--json")

    assert {"file": "texts.csv", "format": "csv", "messages": 2} == json.loads(shown.stdout)
    written = (tmp_path / "texts.csv").read_bytes()
    rows = list(csv.DictReader(io.StringIO(written.decode("utf-8-sig"), newline="")))
    assert ["Two\nlines", "'=1+1"] == [row["text"] for row in rows]
    assert written.startswith(b"\xef\xbb\xbf")
    if sys.platform != "win32":
        assert 0o600 == stat.S_IMODE((tmp_path / "texts.csv").stat().st_mode)
    assert ["texts.csv"] == [file.name for file in tmp_path.iterdir() if file.is_file()]


def test_texts_go_out_as_lines(tmp_path: Path) -> None:
    """Each is the document that `messages show` prints; the filters are those of `messages list`."""
    store("One", "Two")

    [line] = run("messages", "export", "--format", "jsonl", "--search", "two").stdout.splitlines()
    document = json.loads(line)

    assert json.loads(run("messages", "show", document["id"], "--json").stdout) == document
    assert [document] == json.loads(run("messages", "list", "--search", "two", "--json").stdout)
    assert 0 == run("messages", "export", "texts.jsonl", "--status", "queued").exit_code
    assert 2 == len((tmp_path / "texts.jsonl").read_text("utf-8").splitlines())


def test_an_export_that_breaks_off_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of that name is replaced by a whole one or not at all."""
    (tmp_path / "texts.csv").write_text("former", "utf-8")
    store("One")
    monkeypatch.setattr("callrail_relay.cli.messages.export_rows", lambda _: 1 / 0)

    assert 1 == run("messages", "export", "texts.csv").exit_code
    assert "former" == (tmp_path / "texts.csv").read_text("utf-8")
    assert ["texts.csv"] == [file.name for file in tmp_path.iterdir() if file.is_file()]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /dev/stdout")
def test_a_device_is_written_to(tmp_path: Path) -> None:
    store("One")

    assert 0 == run("messages", "export", "/dev/null").exit_code
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("command", ["opt-outs", "messages"])
def test_one_document_is_all_that_standard_output_takes(command: str) -> None:
    assert 2 == run(command, "export", "--json").exit_code


def test_a_text_is_mapped_again_after_the_settings_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """7 while it is held, 0 when it is queued, 4 when there is nothing to map."""
    (tmp_path / "payload.json").write_text(json.dumps(payload()), "utf-8")
    monkeypatch.delenv("CALLRAIL_RELAY_CALLRAIL__TRACKING_NUMBER")
    monkeypatch.setenv(
        "CALLRAIL_RELAY_ROUTES", json.dumps([{"team_id": "1", "tracking_number": TRACKING_NUMBER}])
    )
    run("replay", "payload.json", "--timeout", "0")
    [held] = json.loads(run("messages", "list", "--json").stdout)
    assert 7 == run("messages", "remap", held["id"]).exit_code
    monkeypatch.delenv("CALLRAIL_RELAY_ROUTES")
    monkeypatch.setenv("CALLRAIL_RELAY_CALLRAIL__TRACKING_NUMBER", TRACKING_NUMBER)

    shown = run("messages", "remap", held["id"], "--json")

    assert ["queued"] == [message["status"] for message in json.loads(shown.stdout)]
    assert TRACKING_NUMBER == json.loads(shown.stdout)[0]["tracking_number"]
    assert 4 == run("messages", "remap", held["id"]).exit_code
    assert 4 == run("messages", "remap", "nothing").exit_code


@pytest.mark.parametrize(
    "words",
    ["Make $$ fast", "~5 pm works", "100%% sure, %PATH%", "Meet at $PATH", "*.toml", "[a].toml", "Really?"],
)
def test_words_are_no_pattern_for_files(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Typer replaces what looks like one on Windows, where shells don't."""
    (tmp_path / "a.toml").write_text("", "utf-8")
    send = ["send", "--to", RECIPIENT, "--message", words, "--dry-run", "--json"]
    monkeypatch.setattr(sys, "argv", ["callrail-relay", *send])

    assert 0 == main()
    assert words == json.loads(capsys.readouterr().out)["text"]


@pytest.mark.skipif(sys.platform != "win32", reason="elsewhere, shells do that")
def test_a_pattern_names_the_files_of_a_replay(tmp_path: Path) -> None:
    """A bracket belongs to a name, as for the shells of Windows."""
    for name in ("a1.json", "a2.json", "b[1].json", "b1.json"):
        (tmp_path / name).write_text(json.dumps({"message": name, "seller_phone": RECIPIENT}), "utf-8")

    shown = json.loads(run("replay", "a?.json", "b[1].json", "--dry-run", "--json").stdout)
    assert ["a1.json", "a2.json", "b[1].json"] == [one["text"] for one in shown]


def test_a_replay_tells_what_becomes_of_texts_that_are_queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that a run left: a pause, an opt-out and their age count before it is run again."""
    monkeypatch.setenv("CALLRAIL_RELAY_CALLRAIL__API_URL", "http://127.0.0.1:9")
    people = [recipient(1), recipient(2), recipient(2)]
    lines = (json.dumps({"message": "Hi", "seller_phone": person}) for person in people)
    (tmp_path / "saved.jsonl").write_text("\n".join(lines), "utf-8")
    replay = ("replay", "saved.jsonl", "--yes", "--timeout", "0")
    run(*replay)
    run("pause")

    plan = run("replay", "saved.jsonl", "--dry-run")
    done = run(*replay)

    told = "2 will be sent, 2 of them already queued, 1 twice in these files. Sending is paused for account"
    assert told in plan.stderr
    assert (7, "2 queued, 1 already queued.") == (done.exit_code, done.stderr.splitlines()[-1])
    assert 2 == done.stdout.count("Sending is paused.")

    run("resume")
    run("opt-outs", "add", "--recipient", recipient(1))
    plan = run("replay", "saved.jsonl", "--dry-run")
    assert "1 will be sent, 1 of them already queued, 1 on hold: opted out, 1 twice in these" in plan.stderr
    monkeypatch.setenv("CALLRAIL_RELAY_GUARDS__OPT_OUT", "off")
    monkeypatch.setenv("CALLRAIL_RELAY_DELIVERY__MAX_AGE", "0.001s")
    plan = run("replay", "saved.jsonl", "--dry-run", "--json")
    assert ["held", "held", "duplicate"] == [row["status"] for row in json.loads(plan.stdout)]
    monkeypatch.delenv("CALLRAIL_RELAY_DELIVERY__MAX_AGE")
    monkeypatch.setenv("CALLRAIL_RELAY_CALLRAIL__ACCOUNT_ID", "ACC2")
    assert "None will be sent, 3 already queued." in run("replay", "saved.jsonl", "--dry-run").stderr


ZONES = ("America/Los_Angeles", "Asia/Tokyo")
AT_AN_END = ("9999-12-31T23:59", "9999-12-31T23:59-05:00", "0001-01-01", "0001-01-01T00:00+05:00")


@pytest.mark.skipif(sys.platform == "win32", reason="time.tzset is of POSIX")
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("when", [*AT_AN_END, "1960-01-01", "2999-01-01"])
def test_dates_at_the_end_of_the_calendar_are_answered(
    monkeypatch: pytest.MonkeyPatch, zone: str, when: str
) -> None:
    """A date that is in no year of UTC gets one sentence and code 2."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        shown = run("messages", "list", "--since", when)
    time.tzset()

    assert shown.exit_code in (0, 2), shown.output
    if shown.exit_code:
        assert when in AT_AN_END
        assert f"--since can't read '{when}'" in shown.stderr


def test_dates_before_the_clock_are_answered() -> None:
    """Windows has no local time before 1970."""
    assert (2 if sys.platform == "win32" else 0) == run("messages", "list", "--since", "1960-01-01").exit_code


@pytest.mark.parametrize(
    "when", ["9999-12-31T23:59-05:00", "0001-01-01T00:00+05:00", "1900-01-01", "1969-12-31"]
)
def test_opt_out_dated_at_the_end_of_the_calendar_is_a_bad_line(when: str) -> None:
    """It is named, and the others count."""
    rows = f"{TRACKING_NUMBER},{RECIPIENT},,{when}\n{TRACKING_NUMBER},2025550123,,\n"

    shown = run("opt-outs", "import", "-", stdin=HEADER + rows)

    assert (2, "1 line(s) read; 1 new on the list.\n") == (shown.exit_code, shown.stdout)
    assert "Line 2: its created_at isn't a date" in shown.stderr


def test_canceling_is_spelled_as_in_the_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """The status of the contract keeps its own spelling."""
    store("Hello")
    [message] = json.loads(run("messages", "list", "--json").stdout)

    with monkeypatch.context() as patch:
        patch.setattr("callrail_relay.cli.console.has_terminal", lambda: True)
        left = run("messages", "cancel", message["id"], stdin="n\n")
    done = run("messages", "cancel", "--yes", message["id"])

    assert (0, True) == (left.exit_code, "Nothing was canceled." in left.stderr)
    assert f"cancelled  {message['id']}\n" == done.stdout


def test_texts_of_one_wording_are_approved_together() -> None:
    """But for people who opted out; when all of them did, there is nothing to approve."""
    for n in range(1, 9):
        words = f"Hi Pat, are you still thinking of selling {n} Oak St?"
        run("send", "--to", recipient(n), "--message", words, "--no-wait")
    held = json.loads(run("messages", "list", "--status", "held", "--json").stdout)
    newest, *others = held
    run("opt-outs", "add", "--recipient", newest["recipient"])

    shown = run("messages", "approve", newest["id"], "--same-wording")
    assert (0, len(others)) == (shown.exit_code, shown.stdout.count("queued"))
    assert "1 text like it stay on hold: these people opted out." in shown.stderr
    none = run("messages", "approve", newest["id"], "--same-wording")
    assert 4 == none.exit_code
    assert "all of the people opted out" in none.stderr
    dropped = run("messages", "cancel", newest["id"], "--same-wording", "--yes")
    assert (0, f"cancelled  {newest['id']}\n") == (dropped.exit_code, dropped.stdout)
