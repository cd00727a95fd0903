"""The tutorial, typed in as it is."""

import json
import re
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.docs.markdown import DOCS, Page
from tests.docs.shell import Step, install, open_shell, steps

TUTORIAL = Page(DOCS / "tutorial" / "first-text.md")
STAYING = "callrail-relay serve --sandbox"
PORTS = ("8787", "8788")
SANDBOX = re.compile(r"(?<=127\.0\.0\.1:)\d+(?=/sandbox)")
SHORT_ID = re.compile(r"\b[0-9a-f]{8}(?= --yes|$)")


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are for a Unix shell")
def test_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    """Every command of the first half ends well, and shows what the page shows."""
    home = tmp_path / "home"
    install(home / ".callrail-relay" / "bin")
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    environment = {
        "COLUMNS": "400",  # a narrow terminal breaks lines that the page does not break
        "CALLRAIL_RELAY_SERVER__PORT": ports["8787"],
        "CALLRAIL_RELAY_DASHBOARD__PORT": ports["8788"],
    }
    held = None
    with open_shell(environment) as shell:
        for step in steps(TUTORIAL.blocks("console")):
            command = step.command
            if command == STAYING:
                output = shell.start(command, len(step.shown))
                _send_what_the_page_says(output)
                output = SANDBOX.sub(
                    "40123", _with_ports(output, {free: port for port, free in ports.items()})
                )
                [held] = json.loads(shell.run("callrail-relay messages list --status held --json"))
            else:
                output = shell.run(SHORT_ID.sub(held["id"][-8:], command) if held else command)
            _compare(step, output)


def _send_what_the_page_says(shown: str) -> None:
    """In the place of the dashboard's form."""
    url = shown.splitlines()[-1].split()[-1]
    texts = [block.text for block in TUTORIAL.blocks("text") if block.text.startswith("Hi ")]
    assert 2 == len(texts)
    for text in texts:
        sent = {"message": text, "seller_phone": "(202) 555-0122"}
        httpx2.post(url, json=sent, trust_env=False).raise_for_status()


def test_real_account_half_is_not_for_copying_into_a_test() -> None:
    """What would need an account is marked so that nothing runs it: the second half has no console block."""
    half = TUTORIAL.text.partition("## With your account")[2]

    assert half
    assert "```console" not in half


def _compare(step: Step, output: str) -> None:
    if step.shown:
        assert step.matches(output), f"{step.command}\n{output}"
    else:
        assert "Error" not in output, f"{step.command}\n{output}"


def _with_ports(text: str, ports: dict[str, str]) -> str:
    for port, other in ports.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{other}")
    return text


def _free_ports(count: int) -> list[str]:
    """Ports that nothing uses now."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [str(one.getsockname()[1]) for one in held]
