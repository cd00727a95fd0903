"""Whatever people, forms and CallRail write, a terminal shows it and is not steered by it."""

import ast
import io
import json
import os
import sys
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

import callrail_relay
from callrail_relay.cli import app, render
from callrail_relay.cli.console import has_terminal, working
from callrail_relay.domain.health import CheckResult, Condition
from callrail_relay.service.health import HealthReport
from callrail_relay.telemetry import logs

STEERING = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202egnp.exe\u2066\u2028\u200b\x08\x85"
HOSTILE = f"Hi Dana [red]x[/red] {STEERING} end 👩‍👩‍👧 José"
NEVER_RAW = set(STEERING) - set("]0;owned[31m2Jgnp.exe")
PAYLOAD = {
    "opportunity_id": f"12{STEERING}",
    "message": HOSTILE,
    "sender_id": f"7{STEERING}",
    "seller": f"Dana {STEERING}",
    "seller_phone": "+12025550122",
    "team_id": f"4{STEERING}",
}
SETTINGS = {
    "CALLRAIL_API_KEY": "0123456789abcdef",
    "CALLRAIL_RELAY_HOOK_TOKEN": "a" * 43,
    "CALLRAIL_RELAY_CALLRAIL": '{"account_id": "ACC1", "company_id": "COM1", "tracking_number": '
    '"+12025550133", "accepted_terms": true, "api_url": "http://127.0.0.1:9"}',
}


def run(*command: str, piped: str = "") -> Result:
    return CliRunner().invoke(app, list(command), input=piped)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(tmp_path: Path) -> None:
    """A store with such a text, such a reason of a pause, and such an opt-out."""
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps(PAYLOAD | {"message": f"{HOSTILE} {{{{name}}}}"}), encoding="utf-8")
    replayed = run("replay", str(saved), "--timeout", "0")
    assert (7, "1 on hold.") == (replayed.exit_code, replayed.stderr.splitlines()[-1])
    assert 0 == run("pause", "--reason", HOSTILE).exit_code
    opted_out = ("--recipient", "+12025550123", "--reason", HOSTILE)
    assert 0 == run("opt-outs", "add", *opted_out).exit_code


COMMANDS = [
    ("send", "--to", "+12025550122", "--message", HOSTILE, "--dry-run"),
    ("send", "--to", STEERING, "--message", "x", "--dry-run"),
    ("replay", "-", "--dry-run"),
    ("replay", "-", "--dry-run", "--json"),
    ("replay", f"no such file {STEERING}"),
    ("messages", "list"),
    ("messages", "list", "--json"),
    ("messages", "list", "--since", STEERING),
    ("messages", "list", "--status", STEERING),
    ("messages", "show", STEERING),
    ("messages", "export"),
    ("messages", "export", "--format", "jsonl"),
    ("status",),
    ("status", "--json"),
    ("opt-outs", "list"),
    ("suppressions", "list", "--json"),
    ("opt-outs", "import", "-"),
    ("doctor",),
    ("status", "--config", f"/nonexistent/{STEERING}.toml"),
]


@pytest.mark.usefixtures("store")
def test_no_command_shows_it_raw() -> None:
    """Neither as a table nor as JSON, neither as a result nor as a fault."""
    [message] = json.loads(run("messages", "list", "--json").stdout)
    shows = [("messages", "show", message["id"]), ("messages", "show", message["id"], "--json")]
    for command in [*COMMANDS, *shows]:
        piped = f"recipient\n{STEERING}\n" if "opt-outs" in command else json.dumps(PAYLOAD)
        ended = run(*command, piped=piped)

        raw = NEVER_RAW & set(ended.stdout + ended.stderr)
        assert not raw, (command, raw)
        assert ended.exit_code in (0, 2, 3, 4, 7, 8), (command, ended.stderr)

    assert message["text"] == f"{HOSTILE} {{{{name}}}}"
    shown = run("messages", "show", message["id"]).stdout
    assert r"Hi Dana [red]x[/red] \x1b]0;owned\x07\x1b[31m\x9b2J\u202egnp.exe" in shown
    assert "👩‍👩‍👧 José" in shown


def test_a_path_is_shown_while_something_is_done() -> None:
    """Brackets in it are no style, and end none."""
    with working("Removing the settings, /srv/[/old]/relay.toml"):
        pass


def test_a_long_path_is_shown_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal that is narrower than the path."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    path = "C:\\Users\\DanaExample\\AppData\\Local\\callrail-relay\\config.toml"
    check = CheckResult(name="settings", condition=Condition.OK, detail=f"They are in {path}")
    render.print_health(HealthReport(findings=(check,)))

    assert path in "".join(line.strip() for line in capsys.readouterr().out.splitlines())


def test_nothing_is_not_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows' own isatty says that NUL is one, and then a question would wait for an answer."""
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert not has_terminal()


def test_pretty_log_does_not_show_it_raw() -> None:
    """No matter which logger writes to it."""
    stream = io.StringIO()
    logs.configure("debug", "pretty", stream)
    structlog.get_logger().info("received", seller=STEERING, names=[STEERING], plain="x\x1b[31m")
    structlog.reset_defaults()

    assert "owned" in stream.getvalue()
    assert not NEVER_RAW & set(stream.getvalue())


def test_results_go_through_one_function() -> None:
    """No command prints by itself."""
    folder = Path(callrail_relay.__file__).parent / "cli"
    own = {"__init__.py", "console.py"}
    for file in folder.glob("*.py"):
        calls = {
            ast.unparse(node.func)
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        }
        assert file.name in own or not {"typer.echo", "print", "sys.stdout.write"} & calls, file.name


def test_a_terminal_of_another_character_set_gets_plain_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the escapes that Python would write for what it does not have."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="iso-8859-1", write_through=True))
    render.console().print("✓ ██░ “It\u2019s Núñez”…")

    assert written.getvalue().strip() == '+ ##. "It\'s Núñez"~'.encode("iso-8859-1")
