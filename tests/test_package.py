"""The package as a whole: its version, its first impression, and what lies beside it."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

import callrail_relay
from callrail_relay.cli import app
from callrail_relay.cli.help import GROUPS, explain_usage

ROOT = Path(__file__).parents[1]

TOP_LEVEL = {
    ".ci",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "callrail_relay",
    "docs",
    "pyproject.toml",
    "renovate.json",
    "requirements.lock",
    "tests",
}

COMMANDS = {
    "configure",
    "send",
    "serve",
    "service install",
    "service logs",
    "service restart",
    "service status",
    "service uninstall",
    "replay",
    "demo",
    "dashboard",
    "doctor",
    "expose",
    "status",
    "messages list",
    "messages show",
    "messages approve",
    "messages cancel",
    "messages resend",
    "messages mark-sent",
    "messages export",
    "messages remap",
    "pause",
    "resume",
    "alerts test",
    "opt-outs list",
    "opt-outs add",
    "opt-outs remove",
    "opt-outs import",
    "opt-outs export",
    "shadow start",
    "shadow status",
    "shadow report",
    "shadow end",
    "shadow resume",
    "database copy",
    "hook-url",
    "backup",
    "restore",
    "uninstall",
    "sandbox",
}

# Each takes a noticeable part of a second to import, and none is needed to show help.
HEAVY = {
    "httpx2",
    "keyring",
    "phonenumbers",
    "regex",
    "sqlalchemy",
    "starlette",
    "uvicorn",
}

SHOW_HELP = """
import json, sys
from callrail_relay.cli import app
from callrail_relay.cli.help import GROUPS
try:
    app(["--help"])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def test_version_is_that_of_the_distribution() -> None:
    """The version in the code is the one that was installed."""
    assert version("callrail-relay") == callrail_relay.__version__


def test_version_is_shown() -> None:
    """`python -m callrail_relay --version` says which version runs."""
    shown = run_python("-m", "callrail_relay", "--version")

    assert f"callrail-relay {callrail_relay.__version__}\n" == shown.stdout


def test_help_is_instant() -> None:
    """`--help` imports no heavy library."""
    shown = run_python("-c", SHOW_HELP)

    assert "Usage" in shown.stdout
    assert set() == HEAVY & set(json.loads(shown.stderr.splitlines()[-1]))


def test_help_names_every_command_on_a_line_of_its_own() -> None:
    """On a terminal of 80 columns no sentence in the lists of commands is cut or broken."""
    lines = [line for name in lists() for line in help_of(name, columns=80)]

    assert max(map(len, lines)) <= 80
    for name in commands():
        *_, own = name.split()
        sentence = command_of(name).help.splitlines()[0]
        assert [own, sentence] in [line.split(maxsplit=1) for line in lines], name
        assert len(sentence) <= 45, name
        assert "..." not in sentence, name


def test_help_fits_a_terminal() -> None:
    """80 columns and 24 lines; the wizard, with an option for each of its questions, takes 40."""
    for name in ["", *lists(), *commands()]:
        most = 40 if name in {"configure", "shadow report"} else 24
        shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*name.split(), "--help"]).output.rstrip()

        assert len(shown.splitlines()) <= most, name
        assert not re.search(r"<[a-z|\[]+>", shown), name


def test_help_is_a_command_as_well() -> None:
    """`help messages list` shows what `messages list --help` does."""
    for words in ([], ["messages"], ["messages", "list"]):
        helped = CliRunner().invoke(app, ["help", *words])

        asked = CliRunner().invoke(app, [*words, "-h"])
        assert (0, asked.output.rstrip()) == (helped.exit_code, helped.output.rstrip())
    assert 2 == CliRunner().invoke(app, ["help", "mesages"]).exit_code


def test_wrong_usage_is_told_as_other_errors_are() -> None:
    """On one line for a program, with the command that explains more."""
    arguments = [sys.executable, "-m", "callrail_relay", "messages", "lst"]
    shown = subprocess.run(arguments, capture_output=True, text=True, check=False)

    sentence = "Error: No such command 'lst'. Did you mean 'list'? Run `callrail-relay messages --help`."
    told = shown.stderr.replace("python -m callrail_relay", "callrail-relay")
    assert (2, f"{sentence}\n") == (shown.returncode, told)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("serve --port abc", '--port is "abc" and must be a whole number.'),
        ("serve --port 99999", '--port is "99999" and must be 65535 or less.'),
        ("send --timeout soon", '--timeout is "soon" and must be a number.'),
        ("service logs -n -3", '--lines is "-3" and must be 0 or more.'),
        ("send --timeout -1", '--timeout is "-1" and must be 0 or more.'),
        ("expose wireguard", "WAY: 'wireguard' is not one of 'tailscale'"),
        ("send --to 1 --message Hi there", "Got unexpected extra argument(s) (there). Put words with spaces"),
    ],
)
def test_wrong_value_is_told_as_in_the_settings(typed: str, sentence: str) -> None:
    """What it is, and what it must be or needs."""
    with pytest.raises(typer.TyperException) as fault:
        app(typed.split(), "callrail-relay", standalone_mode=False)

    with contextlib.redirect_stderr(io.StringIO()) as told:
        assert 2 == explain_usage(fault.value)
    assert told.getvalue().startswith(f"Error: {sentence}")
    assert "Run `callrail-relay" in told.getvalue()


def test_every_command_of_the_contract_is_there() -> None:
    """No command that scripts rely on is missing, and none is there that is not listed here."""
    assert COMMANDS == set(commands())


def test_every_help_has_an_example() -> None:
    """The help of each command shows how it is called, under the heading "Example"."""
    assert [] == [command for command in commands() if not examples(command)]


@pytest.mark.parametrize(
    ("help_text", "found"),
    [
        ("Usage: callrail-relay send\n\n Example:\n\n   $ callrail-relay send --to +12025550122\n", 1),
        ("│ Examples │\n│ callrail-relay send --dry-run │\n│ callrail-relay send --json │\n", 2),
        ("Usage: callrail-relay send [OPTIONS]\n\n Sends one text.\n", 0),
        ("Example\n $ callrail-relay serve\n", 0),
    ],
)
def test_missing_example_is_noticed(help_text: str, found: int) -> None:
    """A line of usage is no example, nor is another command."""
    assert found == len(examples_in(help_text, "send"))


def test_nothing_else_lies_at_the_top() -> None:
    """The top level of the repository holds what everybody expects there, and nothing more."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    # The checkout may belong to another user, and the settings that allow it are out of reach here.
    git = ["git", "-c", f"safe.directory={ROOT.as_posix()}", "ls-files", "-z"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)

    assert TOP_LEVEL == {name.split("/")[0] for name in listed.stdout.split("\0") if name}


def test_lock_has_what_the_program_and_its_tests_ask_for() -> None:
    """Each requirement is pinned to a version that fits, and each pin has hashes and names no place."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S)", lock.strip())
    pins = dict(re.split(r"==|\s", block, maxsplit=2)[:2] for block in blocks)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [
        Requirement(text)
        for texts in (project["dependencies"], *project["optional-dependencies"].values())
        for text in texts
    ]

    assert all(" --hash=sha256:" in block for block in blocks)
    assert "://" not in lock
    for one in asked:
        if one.name != project["name"]:
            assert one.specifier.contains(pins[canonicalize_name(one.name)]), f"{one}: see pyproject.toml"


def run_python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


def commands() -> list[str]:
    """Every command as it is typed, without the program's name: `messages list`."""
    return sorted(_walk(typer.main.get_command(app)))


def _walk(command: object, *path: str) -> Iterator[str]:
    if not isinstance(command, typer.core.TyperGroup):
        yield " ".join(path)
        return
    for name, child in command.commands.items():
        # Former names of commands, for scripts.
        if not child.hidden:
            yield from _walk(child, *path, name)


def lists() -> set[str]:
    """Every command that has others, "" for the program itself."""
    return {name.rpartition(" ")[0] for name in commands()}


def command_of(name: str) -> Any:  # noqa: ANN401 - typer's own click
    command: Any = typer.main.get_command(app)
    for part in name.split():
        command = command.commands[part]
    return command


def help_of(command: str, *, columns: int) -> list[str]:
    """The lines that a terminal of so many columns shows, without the frames."""
    shown = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, [*command.split(), "--help"])
    assert 0 == shown.exit_code, shown.output
    lines = [line.strip(" │╭╮╰╯─") for line in shown.output.splitlines()]
    if not command:  # the name of a group stands before its first command
        lines = [line.removeprefix(next(filter(line.startswith, GROUPS), "")).strip() for line in lines]
    return lines


def examples(command: str) -> list[str]:
    """The examples in the help that a person sees on a wide terminal."""
    return examples_in("\n".join(help_of(command, columns=200)), command)


def examples_in(help_text: str, command: str) -> list[str]:
    """The lines under the heading "Example" that call this command."""
    lines = [line.strip(" │|╭╮╰╯─:") for line in help_text.splitlines()]
    headings = [number for number, line in enumerate(lines) if line in {"Example", "Examples"}]
    below = lines[headings[0] + 1 :] if headings else []
    return [line for line in below if line.removeprefix("$ ").startswith(f"callrail-relay {command}")]
