"""How the command line explains itself: the list of commands, ``help``, and sentences for wrong usage."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from callrail_relay.cli.console import complain

GROUPS = ("Set up", "Send", "Messages", "Operate")
HELP_NAMES = ["-h", "--help"]


class Program(TyperGroup):
    """The command ``callrail-relay``: its help has a line per command, and fits 24 lines."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - those of typer
        super().__init__(**settings)
        _without_types(self)

    def format_help(self, ctx: Any, formatter: object) -> None:  # noqa: ANN401, ARG002 - typer's
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        out = Console(markup=False, highlight=False, emoji=False)
        groups: dict[str, list[Any]] = {name: [] for name in GROUPS}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if not command.hidden:
                groups.setdefault(command.rich_help_panel or "", []).append(command)
        table = Table.grid(padding=(0, 2))
        roomy = out.is_terminal and out.height > sum(len(group) + 1 for group in groups.values()) + 2
        for panel, group in groups.items():
            for place, command in enumerate(group):
                title = Text("" if place else panel, style="bold")
                summary = command.help.strip().splitlines()[0]
                table.add_row(title, Text(command.name, style="bold cyan"), summary)
            if roomy:
                table.add_row()
        usage = Text.assemble(("Usage: ", "yellow"), ctx.command_path, " [-h] [-V] COMMAND")
        out.print(usage, Text(self.help or ""), *([Text()] if roomy else []), table, sep="\n")


def explain_usage(error: typer.TyperException) -> int:
    """Show wrong usage like every other error; return the exit code."""
    context = getattr(error, "ctx", None)
    if words := _value_words(error) or error.format_message().strip():
        path = "callrail-relay" if context is None else context.command_path
        quotes = "Put words with spaces in quotes. " if "extra argument" in words else ""
        complain(f"{words.rstrip('.')}{'' if words[-1] == '?' else '.'} {quotes}Run `{path} --help`.")
    return error.exit_code


def _value_words(error: Any) -> str | None:  # noqa: ANN401 - typer's, with a parameter or without
    """Return what is wrong with a value, in the words of the settings; None for another error."""
    from pydantic import ValidationError

    if not isinstance(error.__cause__, ValidationError):
        return None
    from callrail_relay.bootstrap.context import explain

    fault, name = error.__cause__.errors()[0], error.param.get_error_hint().split("'")[1]
    words = explain(fault["type"], fault.get("ctx", {}))
    if fault["type"] == "value_error":
        return f"{name}: {words}"
    return f'{name} is "{fault["input"]}" and {words}'


def _without_types(command: Any) -> None:  # noqa: ANN401 - typer's own click
    """Leave out of a command's help what only programmers read: <bool>, <list[str]>, 0<=x<=65535."""
    context = typer.Context(command, help_option_names=HELP_NAMES)
    for parameter in (*command.params, command.get_help_option(context)):
        parameter._get_number_range_help_str = lambda: None  # noqa: SLF001 - it has no public name
        if parameter.param_type_name == "argument" or parameter.is_flag:
            parameter.display_type_rich = lambda ctx: None  # noqa: ARG005 - as typer calls it
    for inner in getattr(command, "commands", {}).values():
        _without_types(inner)


def show_help(
    ctx: typer.Context, words: Annotated[list[str] | None, typer.Argument(metavar="COMMAND")] = None
) -> None:
    """
    Show the help of a command.

    Example:
    $ callrail-relay help messages list

    """
    root: Any = ctx.find_root()
    root.command.main([*(words or ()), "--help"], root.info_name, standalone_mode=False)
