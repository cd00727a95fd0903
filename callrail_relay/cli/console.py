"""Running a command: its event loop, its errors in words, its exit code."""

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import typer

from callrail_relay.domain.printable import printable
from callrail_relay.errors import RelayError

P = ParamSpec("P")

SWITCH_INTERVAL = 0.0005
"""Seconds after which a busy thread lets another have its turn; Python's own, ten times as much, is felt."""

INTERRUPTED = 130
PROGRAM_FAULT = 1
BROKEN_PIPE = 141


NewLoop = Callable[[], asyncio.AbstractEventLoop]


def command(function: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """Turn a coroutine into a command: what it returns is the exit code, and its faults become sentences."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        raise typer.Exit(_exit_code(function(*args, **kwargs)))

    return run


def server(function: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """The same for a command that serves: on the quicker event loop, where it is installed."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        # The store's threads and the event loop hand the interpreter to each other all the time.
        sys.setswitchinterval(SWITCH_INTERVAL)
        raise typer.Exit(_exit_code(function(*args, **kwargs), _quick_loop()))

    return run


def _quick_loop() -> NewLoop | None:
    try:
        import uvloop  # an extra, not on Windows, and worth its loading only where it runs for long
    except ImportError:
        return None
    return uvloop.new_event_loop


def _exit_code(coroutine: Coroutine[Any, Any, int | None], new_loop: NewLoop | None = None) -> int:
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(coroutine) or 0
    except RelayError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        complain("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; without this the interpreter complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if os.environ.get("CALLRAIL_RELAY_LOG__LEVEL", "").lower() == "debug":
            raise
        complain(
            f"callrail-relay failed by a fault of its own ({type(error).__name__}). Nothing that was "
            "stored is lost; "
            "with CALLRAIL_RELAY_LOG__LEVEL=debug it shows where it happened."
        )
        return PROGRAM_FAULT


def complain(words: str) -> None:
    """Tell a person what is wrong, on standard error."""
    # Typer leaves colours out of a pipe by itself, and does not ask for the wish of the person.
    mark = "Error:" if os.environ.get("NO_COLOR") else typer.style("Error:", fg=typer.colors.RED, bold=True)
    typer.echo(f"{mark} {printable(words)}", err=True)


def say(words: str) -> None:
    """Tell a person something beside the result, on standard error."""
    typer.echo(printable(words), err=True)


def echo(words: str = "") -> None:
    """Print a line of the result, on standard output."""
    typer.echo(printable(words))


def has_terminal() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin is not None and sys.stdin.isatty()
