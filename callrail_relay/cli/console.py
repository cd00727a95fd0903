"""What every command needs: event loop, options, completion, questions, files, JSON, errors, exit codes."""

import asyncio
import contextlib
import functools
import inspect
import io
import json
import os
import re
import shutil
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callrail_relay.domain import read_table, sentences_from
from callrail_relay.domain.message import Status
from callrail_relay.domain.printable import printable, printable_json
from callrail_relay.errors import NotFound, RelayError, Unavailable, UsageError
from callrail_relay.replacing import new_content
from callrail_relay.sentences import says

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext
    from callrail_relay.bootstrap.wiring import Relay

Command = Callable[..., Coroutine[Any, Any, int | None]]


@dataclass(slots=True)
class Given:
    """The options of every command."""

    config: Path | None = None
    as_json: bool = False


given = Given()  # of the command that runs: a process runs one


HELP = read_table(__package__, "help")  # of each command
WORDS = read_table(__package__, "words")
sentence = sentences_from(__package__, "words", "sentences")


def command(
    app: typer.Typer, name: str, *, panel: str | None = None, long_running: bool = False
) -> Callable[[Command], Command]:
    """
    Make a coroutine a command: it returns the exit code, and its errors become sentences.

    ``help.toml`` has its help, and how its parameters look on the command line. It also gets ``Given``.
    """

    def add(function: Command) -> Command:
        @functools.wraps(function)
        def run(*, config: Path | None = None, as_json: bool = False, **options: object) -> None:
            given.config, given.as_json = config, as_json
            raise typer.Exit(_exit_code(function(**options), long_running=long_running))

        rows = HELP["common"] | HELP[name]
        common = list(inspect.signature(run, follow_wrapped=False).parameters.values())[:2]
        parameters = [
            one.replace(annotation=Annotated[one.annotation, _declared(one, rows[one.name.strip("_")])])
            for one in (*inspect.signature(function).parameters.values(), *common)
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        app.command(name.rsplit(maxsplit=1)[-1], rich_help_panel=panel, help=rows["help"])(run)
        return function

    return add


def _declared(parameter: inspect.Parameter, row: Mapping[str, Any]) -> object:
    """Return what a row of ``help.toml`` says to Typer; a flag without a name would also get ``--no-...``."""
    more = {name: value for name, value in row.items() if name not in ("argument", "names", "complete")}
    if complete := row.get("complete"):
        more["autocompletion"] = COMPLETE[complete]
    if row.get("argument"):
        return typer.Argument(**more)
    is_flag = parameter.annotation is bool and parameter.default is False
    names = row.get("names") or ([f"--{parameter.name.replace('_', '-')}"] if is_flag else [])
    return typer.Option(*names, **more)


def _exit_code(coroutine: Coroutine[Any, Any, int | None], *, long_running: bool) -> int:
    try:
        with asyncio.Runner(loop_factory=_fast_loop() if long_running else None) as runner:
            return runner.run(coroutine) or 0
    except RelayError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        complain("Interrupted.")
        return 130  # 128 + SIGINT
    except BrokenPipeError:
        # The program reading our output is gone; without this, the interpreter complains again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if os.environ.get("CALLRAIL_RELAY_LOG__LEVEL", "").lower() == "debug":
            raise
        if isinstance(error, OSError) and error.errno:  # such as a full disk: not the program's fault
            complain(sentence("system", why=error.strerror))
            return Unavailable.exit_code
        complain(sentence("internal", error=type(error).__name__))
        return 1


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    # The store's threads and the event loop hand the interpreter to each other all the time. Python's own
    # interval, ten times as long, would be noticeable.
    sys.setswitchinterval(0.0005)
    try:
        import uvloop  # an extra, not on Windows, and worth loading only for a long run
    except ImportError:
        return None
    return uvloop.new_event_loop


def load_context(**options: Any) -> "AppContext":  # noqa: ANN401 - bootstrap's own
    """Return the settings, secrets and data of this command. Raises SettingsError."""
    from callrail_relay.bootstrap import context

    return context.load_context(given.config, **options)


@asynccontextmanager
async def opened_relay(*, with_route: bool = False) -> AsyncIterator["Relay"]:
    """Open the relay of these settings; *with_route* only if they name a number to text from."""
    from callrail_relay.bootstrap.wiring import open_relay

    context = load_context()
    if with_route:
        context.require_route()
    async with open_relay(context) as relay:
        yield relay


# Where a sentence stops saying what happened and starts to say what to do.
_REMEDY = re.compile(
    r"(?<=[.;?)]) (?=(?:`callrail-relay|(?:accept|add|answer|ask|cancel|change|check|choose|copy|end|fix|"
    r"free|give|install|keep|leave|look|make|move|name|open|pipe|press|put|read|review|run|see|set|start|stop|take|"
    r"unlock|unset|use|wait|write)\b))",
    re.IGNORECASE,
)


def split_remedy(words: str) -> tuple[str, str]:
    """Split what happened from what to do about it; the second is empty if there's nothing to do."""
    if not (found := _REMEDY.search(words)):
        return words, ""
    what, remedy = words[: found.start()], words[found.end() :]
    return f"{what[:-1]}." if what.endswith(";") else what, remedy[0].upper() + remedy[1:]


def complain(words: str) -> None:
    """Tell a person what is wrong, on standard error; in a pipe on one line, for a program."""
    words = printable(words)
    if not sys.stderr.isatty():
        typer.echo(f"Error: {words}", err=True)
        return
    what, remedy = split_remedy(words)
    mark, lines = "Error:", f"Try:   {_wrapped(remedy, indent=7)}"
    if not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        mark, lines = typer.style(mark, fg="red", bold=True), typer.style(lines, dim=True)
    typer.echo(f"{mark} {_wrapped(what, indent=7)}", err=True)
    if remedy:
        typer.echo(lines, err=True)


def _wrapped(words: str, *, indent: int = 0) -> str:
    """Return *words* broken into lines for the terminal, each but the first indented."""
    width, after = shutil.get_terminal_size().columns - indent, "\n" + " " * indent
    lines = (
        textwrap.fill(line, max(width, 20), break_long_words=False, break_on_hyphens=False) or line
        for line in words.split("\n")
    )
    return "\n".join(lines).replace("\n", after)


def say(words: str) -> None:
    """Tell a person something beside the result, on standard error."""
    words = printable(words)
    typer.echo(_wrapped(words) if sys.stderr.isatty() else words, err=True)


def echo(words: str = "") -> None:
    typer.echo(printable(words))


def print_json(document: object) -> None:
    typer.echo(json_text(document, indent=2))


def json_text(document: object, *, indent: int | None = None) -> str:
    r"""Return *document* as JSON that a terminal may show: what could control it is written as ``\u…``."""
    return printable_json(json.dumps(document, indent=indent, ensure_ascii=False))


def show(document: object, sentence: str) -> None:
    """Print the result of a command, as JSON or as a sentence."""
    print_json(document) if given.as_json else echo(sentence)


def has_terminal() -> bool:
    # On Windows, NUL says that it's a terminal, too. But a real one isn't read as a file.
    raw = getattr(getattr(sys.stdin, "buffer", None), "raw", None)
    return sys.stdin.isatty() and not (os.name == "nt" and isinstance(raw, io.FileIO))


def ask(question: str, *, default: str | None = "", hidden: bool = False) -> str:
    """Return a person's answer, *default* for an empty line; None asks again. Raises KeyboardInterrupt."""
    # Typer prints the end of its question on standard output, which may be a file or a pipe.
    aside = contextlib.nullcontext() if sys.stdout.isatty() else contextlib.redirect_stdout(sys.stderr)
    try:
        with interruptible(), aside:
            answer = typer.prompt(
                printable(question), default=default, show_default=False, hide_input=hidden, err=True
            )
    except typer.Abort:
        if not hidden:  # hidden input has done that already
            say("")
        raise KeyboardInterrupt from None
    return str(answer).strip()


@contextmanager
def interruptible() -> Iterator[None]:
    """End what doesn't await anything at Ctrl-C: asyncio's own handler would let it finish first."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def confirmed(question: str) -> bool:
    """Whether the person says yes. Without a terminal, exit with code 2."""
    if not has_terminal():
        raise UsageError(sentence("no_terminal", question=question))
    return ask(f"{question} [y/N]").lower() in ("y", "yes")


def require_yes(question: str, otherwise: str = "Nothing was changed.", *, yes: bool) -> None:
    """Say *otherwise* and end the command, unless the person says yes, or said so in advance."""
    if not yes and not confirmed(question):
        say(otherwise)
        raise typer.Exit


def read_number(raw: str, option: str | None = None) -> str:
    """Return a typed phone number as E.164; *option* took it. Raises UsageError."""
    from callrail_relay.domain.phone import BadPhone, normalize

    try:
        return normalize(raw)
    except BadPhone as error:
        words = says(error.reason)
        raise UsageError(f"{option} can't be used: {words}" if option else words) from error


def read_input(name: str) -> bytes:
    """Return all of a file; ``-`` is standard input. Raises NotFound."""
    try:
        with interruptible():
            return sys.stdin.buffer.read() if name == "-" else Path(os.path.expanduser(name)).read_bytes()  # noqa: PTH111 - raises nothing
    except OSError as error:
        raise NotFound(sentence("unreadable", name=name, why=error.strerror)) from error


@contextmanager
def output(name: str, *, encoding: str = "utf-8") -> Iterator[Callable[[str], object]]:
    """Yield a function that writes to a file of mode 0600, seen only when complete. Raises Unavailable."""
    if name == "-":
        if given.as_json:
            raise UsageError(sentence("two_outputs"))
        if sys.stdout.isatty():
            # Nothing that is written can control a person's terminal.
            yield lambda words: sys.stdout.write(printable(words))
        else:
            write = sys.stdout.buffer.write
            yield lambda words: write(words.encode())
        sys.stdout.flush()
        return
    # A link stays a link: the file it points to is replaced.
    target = Path(os.path.expanduser(name)).resolve()  # noqa: PTH111 - as above
    try:
        if target.exists() and not target.is_file():
            # A device or a pipe can't be replaced.
            with target.open("w", encoding=encoding, newline="") as file:
                yield file.write
            return
        with new_content(target, encoding=encoding) as file:
            yield file.write
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unavailable(sentence("unwritable", name=name, why=error.strerror)) from error


def say_written(document: Mapping[str, object], what: str) -> None:
    """Say what ``output`` wrote, except to standard output."""
    if given.as_json:
        print_json(document)
    elif document["file"] != "-":
        say(f"{what}, written to {document['file']}.")


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that something is being done."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(f"{what} ...")):
        yield


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes how many more are done; shows a bar if standard error is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console, hidden = Console(stderr=True), not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


@asynccontextmanager
async def stop_signal() -> AsyncIterator[asyncio.Event]:
    """An event that is set at the first such signal; a second one ends the program at once."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, former[number])
        loop.call_soon_threadsafe(stopped.set)

    # signal.signal, not the loop's own: Windows has no other.
    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    former = {number: signal.getsignal(number) for name in names if (number := getattr(signal, name, None))}
    for number in former:
        signal.signal(number, handle)
    try:
        yield stopped
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def ids(ctx: typer.Context) -> list[tuple[str, str]]:
    """Return the ends of the newest texts' ids, as in tables, of the statuses that the command takes."""
    takes = WORDS["takes"].get(ctx.info_name, list(Status))
    # Nothing that others wrote: a shell evaluates what it gets.
    return [(id_[-8:], f"{status} {to or ''}") for id_, to, status in _known(ctx)[1] if status in takes]


def _known(ctx: typer.Context) -> tuple[tuple[str, ...], list[tuple[str, str | None, str]]]:
    from callrail_relay.bootstrap.context import peek

    config = ctx.params.get("config")
    with contextlib.redirect_stderr(io.StringIO()):  # a warning would appear in the middle of what is typed
        return peek(None if config is None else Path(config))


COMPLETE: dict[str, Callable[..., Sequence[str | tuple[str, str]]]] = {
    "ids": ids,
    "people": lambda ctx: list(dict.fromkeys(to for _, to, _ in _known(ctx)[1] if to)),
    "own_numbers": lambda ctx: _known(ctx)[0],
}
