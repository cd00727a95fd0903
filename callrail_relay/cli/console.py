"""What every command needs: its event loop, options, questions, files, JSON, errors and exit codes."""

import asyncio
import contextlib
import functools
import io
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, ParamSpec

import typer

from callrail_relay.domain.printable import printable, printable_json
from callrail_relay.errors import NotFound, RelayError, Unavailable, UsageError
from callrail_relay.replacing import replace

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.service.delivery import TaskGroup

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
    """The same for a command that runs for long: on the faster event loop, if it is installed."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        # The store's threads and the event loop hand the interpreter to each other all the time.
        sys.setswitchinterval(SWITCH_INTERVAL)
        raise typer.Exit(_exit_code(function(*args, **kwargs), _quick_loop()))

    return run


def _quick_loop() -> NewLoop | None:
    try:
        import uvloop  # an extra, not on Windows, and worth loading only if it runs for long
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
        # The program reading our output is gone; without this the interpreter complains again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if os.environ.get("CALLRAIL_RELAY_LOG__LEVEL", "").lower() == "debug":
            raise
        complain(
            f"callrail-relay failed because of an internal error ({type(error).__name__}). No saved data "
            "is lost. Set CALLRAIL_RELAY_LOG__LEVEL=debug to see where it happened."
        )
        return PROGRAM_FAULT


def complain(words: str) -> None:
    """Tell a person what is wrong, on standard error."""
    # Typer drops colors in a pipe by itself, but doesn't check NO_COLOR.
    mark = "Error:" if os.environ.get("NO_COLOR") else typer.style("Error:", fg=typer.colors.RED, bold=True)
    typer.echo(f"{mark} {printable(words)}", err=True)


def say(words: str) -> None:
    """Tell a person something beside the result, on standard error."""
    typer.echo(printable(words), err=True)


@asynccontextmanager
async def opened_relay(config: Path | None, *, with_route: bool = False) -> AsyncIterator["Relay"]:
    """The relay of these settings; *with_route* only if they name a number to text from."""
    from callrail_relay.bootstrap.context import load_context
    from callrail_relay.bootstrap.wiring import open_relay

    context = load_context(config)
    if with_route:
        context.require_route()
    async with open_relay(context) as relay:
        yield relay


async def poll_now(worker: "TaskGroup") -> None:
    """Read replies before texts are sent, and warn if that didn't work."""
    if not await worker.poll_now():
        say(
            "Warning: replies could not be read from CallRail before sending, so someone who has just opted "
            "out may be texted."
        )


def echo(words: str = "") -> None:
    """Print a line of the result, on standard output."""
    typer.echo(printable(words))


def show(document: object, sentence: str, *, as_json: bool) -> None:
    """Print the result of a command: as JSON, or as a sentence."""
    print_json(document) if as_json else echo(sentence)


def has_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str, *, default: str | None = "", hidden: bool = False) -> str:
    """
    What the person answers, *default* for an empty line; with None an empty line is no answer.

    *hidden* shows nothing of what is typed. Raises KeyboardInterrupt at Ctrl-C and at the end of the input.
    """
    try:
        # Typer prints the end of its question on standard output, which may be a file or a pipe.
        aside = contextlib.nullcontext() if sys.stdout.isatty() else contextlib.redirect_stdout(sys.stderr)
        with interruptible(), aside:
            answer = typer.prompt(
                printable(question), default=default, show_default=False, hide_input=hidden, err=True
            )
    except typer.Abort:
        if not hidden:  # there it is done already
            say("")
        raise KeyboardInterrupt from None
    return str(answer).strip()


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the person says yes, or said so in advance. Ends with code 2 if there is no terminal."""
    if yes:
        return True
    if not has_terminal():
        complain(f"{question} There is no terminal to ask in; answer in advance with --yes.")
        raise typer.Exit(UsageError.exit_code)
    return ask(f"{question} [y/N]").lower() in ("y", "yes")


@contextmanager
def interruptible() -> Iterator[None]:
    """End the question at Ctrl-C; asyncio's handler would leave the command waiting for an answer."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def print_json(document: object, *, indent: int | None = 2) -> None:
    """One JSON document on standard output."""
    typer.echo(json_text(document, indent=indent))


def json_text(document: object, *, indent: int | None = None) -> str:
    r"""*document* as JSON that a terminal may show: what could steer it is written as ``\u…``."""
    return printable_json(json.dumps(document, indent=indent, ensure_ascii=False))


STANDARD = "-"


def read_input(name: str) -> bytes:
    """All of a file. Raises NotFound."""
    try:
        return sys.stdin.buffer.read() if name == STANDARD else Path(name).read_bytes()
    except OSError as error:
        raise NotFound(
            f"The file {name} cannot be read ({error.strerror}); check its name and its rights."
        ) from error


@contextmanager
def output(name: str) -> Iterator[BinaryIO]:
    """What to write to. A file is of mode 0600 and is there only when it is whole. Raises Unavailable."""
    if name == STANDARD:
        yield _Terminal() if sys.stdout.isatty() else sys.stdout.buffer
        sys.stdout.flush()
        return
    # A link stays a link: the file it points to is the one that is replaced.
    target = Path(name).resolve()
    try:
        if target.exists() and not target.is_file():
            # A device or a pipe cannot be replaced.
            with target.open("wb") as file:
                yield file
            return
        with _replacing(target) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unavailable(
            f"The file {name} cannot be written ({error.strerror}); check its directory, rights and disk."
        ) from error


class _Terminal(io.BytesIO):
    """Standard output of a person who looks on: nothing that is written can steer the terminal."""

    def write(self, words: "ReadableBuffer") -> int:
        return sys.stdout.write(printable(bytes(words).decode()))


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # of mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        replace(Path(temporary), target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


Config = Annotated[Path | None, typer.Option("--config", metavar="PATH", help="Path to the settings file.")]
Json = Annotated[bool, typer.Option("--json", help="Output JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; send nothing.")]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0, help="Seconds to wait at most.")
]
OutputFile = Annotated[str, typer.Argument(metavar="FILE", help="The file to write; - for standard output.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to every question.")]


def read_number(option: str, raw: str) -> str:
    """A phone number that a person typed, as E.164. Raises UsageError."""
    from callrail_relay.domain.phone import BadPhone, normalise
    from callrail_relay.sentences import says

    try:
        return normalise(raw)
    except BadPhone as error:
        raise UsageError(f"{option} can't be used: {says(error.reason)}") from error


Advance = Callable[[int], None]
"""Takes how many more are done."""


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """A bar on standard error that goes when the work is done; nothing if that isn't a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # As wide as the terminal, but not so wide that the eye has to travel.
    console = Console(stderr=True)
    console.width = min(console.width, 100)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")


@asynccontextmanager
async def stop_signal() -> AsyncIterator[asyncio.Event]:
    """An event that is set at the first such signal; a second one ends the program at once."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, former[number])
        loop.call_soon_threadsafe(stopped.set)

    # signal.signal and not the loop's own: Windows has no other.
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    former = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, handle)
    try:
        yield stopped
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
