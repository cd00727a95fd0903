"""What a person sees on a terminal, and a program in a pipe: colours, width, bars."""

import json
import os
import re
import signal
import sys
from collections.abc import Mapping

import httpx2
import pytest

from tests.acceptance.program import Program
from tests.acceptance.terminal import Terminal
from tests.support.factories import TRACKING_NUMBER, recipient
from tests.support.service_programs import ServicePrograms

# The child is replaced by the program at once, so no lock of another thread can hold it up.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of forkpty:DeprecationWarning")

COLOUR = re.compile(r"\x1b\[[0-9;]*[1-9][0-9;]*m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLUMNS = 80


@pytest.fixture
def program(program: Program) -> Program:
    program.environment |= {
        "CALLRAIL_RELAY_CALLRAIL__ACCOUNT_ID": "ACC0000000000000000000000000000001",
        "CALLRAIL_RELAY_CALLRAIL__COMPANY_ID": "COM0000000000000000000000000000001",
        "CALLRAIL_RELAY_CALLRAIL__TRACKING_NUMBER": TRACKING_NUMBER,
        "TERM": "xterm-256color",
    }
    return program


def shown(program: Program, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """All that a command shows on a terminal."""
    _, seen = Terminal(program, *arguments, env=env, columns=COLUMNS).end()
    return seen


def too_wide(words: str) -> list[str]:
    return [line for line in CONTROL.sub("", words).splitlines() if len(line.rstrip()) > COLUMNS]


def test_bars_are_for_people(program: Program) -> None:
    """A terminal shows how far long work is; a pipe takes the result alone."""
    listed = "".join(f"{recipient(number)}\n" for number in range(1000))
    (program.folder / "list.csv").write_text(listed, "utf-8")

    seen = shown(program, "opt-outs", "import", "list.csv")
    piped = program.run("opt-outs", "import", "list.csv")

    assert "Importing" in seen
    assert "1000/1000" in seen
    assert COLOUR.search(seen)
    assert [] == too_wide(seen)
    assert ("1000 line(s) read; 0 new on the list.\n", "") == (piped.stdout, piped.stderr)
    plain = shown(program, "opt-outs", "import", "list.csv", env={"NO_COLOR": "1"})
    assert "Importing" in plain
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:3[0-9]|38;[0-9;]+|9[0-7])m", plain)


def test_status_fits_the_terminal_and_keeps_its_words_in_a_pipe(program: Program) -> None:
    """Long reasons are broken for a person and left whole for a program; colors are optional."""
    reason = "The office is closed today since somebody has to count the keys, all of them, twice. " * 2
    program.run("pause", "--reason", reason)

    seen = shown(program, "status")
    plain = shown(program, "status", env={"NO_COLOR": "1"})
    piped = program.run("status").stdout

    assert [] == too_wide(seen) + too_wide(plain)
    assert COLOUR.search(seen)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", plain)
    assert reason.strip() in piped
    assert "\x1b" not in piped
    error = shown(program, "messages", "show", "nothing", env={"NO_COLOR": "1"})
    assert "Error: There is no text" in error
    assert not COLOUR.search(error)


@pytest.mark.skipif(sys.platform != "linux", reason="the stand-in is for systemd")
def test_log_of_the_service_is_words_for_a_person(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, and --json, take the lines as they were logged."""
    programs = ServicePrograms(program.folder / "programs", monkeypatch)
    program.environment["PATH"] = os.environ["PATH"]
    line = '{"timestamp": "2026-03-02T15:04:05Z", "level": "info", "action": "ping_received"}'
    programs.answer("journalctl", f"{line}\n")

    seen = CONTROL.sub("", shown(program, "service", "logs")).strip()

    assert seen.startswith("Mar ")
    assert seen.endswith("  Ping received.")
    assert f"{line}\n" == program.run("service", "logs").stdout
    assert [line] == program.json("service", "logs")


def test_a_person_gets_a_table_and_a_program_lines(program: Program) -> None:
    """The table has short ids, which every command takes; a program gets whole ids, with tabs between."""
    words = "Hi {{first_name}}, it was so good to talk to you about the house on 12 Oak Street yesterday."
    to = recipient(1)
    program.environment |= {"CALLRAIL_API_KEY": "key", "CALLRAIL_RELAY_CALLRAIL__ACCEPTED_TERMS": "true"}
    program.run("send", "--to", to, "--message", words, "--no-wait")
    [message] = program.json("messages", "list")

    seen = shown(program, "messages", "list")
    piped = program.run("messages", "list").stdout

    short, number = message["id"][-8:], f"({to[2:5]}) {to[5:8]}-{to[8:]}"
    assert [] == too_wide(seen)
    assert short in seen
    assert message["id"] not in seen
    assert number in seen
    assert [message["id"], "held", to, words] == [piped.split("\t")[place] for place in (0, 2, 3, 4)]
    assert message == program.json("messages", "show", short)
    assert [] == too_wide(shown(program, "messages", "show", short))
    assert "cancelled" == program.json("messages", "cancel", "--yes", short)[0]["status"]


def test_an_error_says_on_a_line_of_its_own_what_to_try(program: Program) -> None:
    """For a program it stays one sentence after the other."""
    seen = CONTROL.sub("", shown(program, "messages", "show", "nothing"))
    piped = program.run("messages", "show", "nothing").stderr

    remedy = "`callrail-relay messages list` shows the ids.\n"
    assert f"Error: There is no text with the id nothing; {remedy}" == piped
    assert "Error: There is no text with the id nothing.\r\n" in seen
    assert f"Try:   {remedy}" == seen.splitlines()[1] + "\n"


def test_doctor_says_once_what_mends_several_things(program: Program) -> None:
    """It counts at the end; in a pipe each line is whole."""
    program.environment.pop("CALLRAIL_API_KEY", None)
    remedy = "keep it in a file with `callrail-relay configure --secrets-file`."

    seen = " ".join(CONTROL.sub("", shown(program, "doctor")).split())
    piped = program.run("doctor").stdout

    assert 1 == seen.count(remedy) < piped.count(remedy)
    assert re.search(r" errors?\.$", seen)
    assert re.fullmatch(r"\d+ passed, \d+ warnings, \d+ errors\.", piped.splitlines()[-1])


def test_serve_tells_a_person_what_happens(program: Program) -> None:
    """
    In words, with the names and numbers that logs don't have, and nothing that steers the terminal.

    It is started from nothing, as a person starts it.
    """
    free = {f"CALLRAIL_RELAY_{part}__PORT": "0" for part in ("SERVER", "DASHBOARD")}
    program = Program(program.environment, program.folder, warm=False)
    terminal = Terminal(program, "serve", "--sandbox", env=free)
    url = terminal.find(r"Webhook for this run:\s+(http\S+)")
    for seller, words, told in (
        (
            "Dana",
            "Hi Dana",
            ["Received for Dana Example (202) 555-0122", "Sent to Dana Example (202) 555-0122"],
        ),
        ("\x1b[31mPat", "Hi {{name}}", [r"On hold: \x1b[31mPat Example (202) 555-0122."]),
    ):
        text = {"message": words, "seller": f"{seller} Example", "seller_phone": "+12025550122"}
        httpx2.post(url, json=text, trust_env=False).raise_for_status()
        terminal.expect(*told)
    terminal.press("\x03")
    code, seen = terminal.end()

    assert 0 == code
    assert "message_accepted" not in seen


def test_watching_goes_on_until_ctrl_c(program: Program) -> None:
    """What changes is shown without asking, and quitting is no fault."""
    terminal = Terminal(program, "status", "--watch")
    terminal.expect("No relay is running")
    program.run("pause", "--reason", "Lunch.")
    terminal.expect("Sending is paused.", "Lunch.")
    terminal.press("\x03")
    code, _ = terminal.end()

    assert 0 == code


def test_a_program_watches_line_by_line(program: Program) -> None:
    """Each change is one line of JSON, and nothing is said twice."""
    with program.started("status", "--watch", "--json") as watching:
        assert watching.process.stdout is not None
        first = json.loads(watching.process.stdout.readline())
        program.run("pause", "--reason", "Lunch.")
        second = json.loads(watching.process.stdout.readline())
        code, _ = watching.stop(signal.SIGINT)

    assert None is first["accounts"][0]["paused"]
    assert "Lunch." == second["accounts"][0]["paused"]["reason"]
    assert 0 == code
