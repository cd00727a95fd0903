"""The commands of the program, built once for a process: typer builds all of them anew for each call."""

import functools

import typer.testing


def keep_commands() -> None:
    """Build the commands of an app once: that takes longer than most calls, and no call changes them."""
    build = functools.cache(typer.main.get_command)
    typer.main.get_command = build
    typer.testing._get_command = build  # type: ignore[attr-defined]  # noqa: SLF001 - what CliRunner calls
