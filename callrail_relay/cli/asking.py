"""Questions to a person: on the terminal and never on standard output, which is for results."""

import contextlib
import signal
import sys
from collections.abc import Iterator

import typer

from callrail_relay.cli.console import complain, has_terminal, say
from callrail_relay.domain.printable import printable
from callrail_relay.errors import UsageFault


def ask(question: str, *, default: str | None = "", hidden: bool = False) -> str:
    """
    What the person answers, *default* for an empty line; with None an empty line is no answer.

    *hidden* shows nothing of what is typed. Raises KeyboardInterrupt at Ctrl-C and at the end of the input.
    """
    try:
        with _interruptible(), _clean_output():
            answer = typer.prompt(
                printable(question), default=default, show_default=False, hide_input=hidden, err=True
            )
    except typer.Abort:
        if not hidden:  # there it is done already
            say("")
        raise KeyboardInterrupt from None
    return str(answer).strip()


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the person says yes, or said so in advance. Ends with code 2 where nobody can be asked."""
    if yes:
        return True
    if not has_terminal():
        complain(f"{question} There is no terminal to ask in; answer in advance with --yes.")
        raise typer.Exit(UsageFault.exit_code)
    return ask(f"{question} [y/N]").lower() in ("y", "yes")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """
    Ctrl-C ends the question; asyncio's handler would cancel the command, and leave it waiting for an answer.
    """
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


@contextlib.contextmanager
def _clean_output() -> Iterator[None]:
    """Keep the end of the prompt, which goes to standard output, out of a file or a pipe."""
    if sys.stdout.isatty():
        yield
    else:
        with contextlib.redirect_stdout(sys.stderr):
            yield
