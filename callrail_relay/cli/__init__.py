"""
The command ``callrail-relay``: its commands, each in a file with those like it.

A command reads input, calls a service and shows the result. Whatever is heavy is imported inside the
commands, so that ``--help`` is instant.
"""

import io
import sys
from typing import Annotated

import typer

from callrail_relay import __version__
from callrail_relay.cli import configure, messages, operate, opt_outs, sandbox, send, serve

__all__ = ["app", "main"]

app = typer.Typer(
    name="callrail-relay",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Sends InvestorFuse IF3 (Carrot) texts through CallRail.",
    epilog="Try it without an account: callrail-relay demo",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"callrail-relay {__version__}")
        raise typer.Exit


@app.callback()
def callrail_relay(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


SET_UP, SEND, WATCH, OPERATE, TRY = "Set up", "Send", "Watch", "Operate", "Try it"
"""The panels of the help, in this order."""

app.command("configure", rich_help_panel=SET_UP)(configure.configure)
app.command("hook-url", rich_help_panel=SET_UP)(operate.hook_url)
app.command("doctor", rich_help_panel=SET_UP)(operate.doctor)
app.add_typer(operate.alerts_app, name="alerts", rich_help_panel=SET_UP)
app.command("serve", rich_help_panel=SEND)(serve.serve)
app.command("send", rich_help_panel=SEND)(send.send)
app.command("replay", rich_help_panel=SEND)(send.replay)
app.command("status", rich_help_panel=WATCH)(operate.status)
app.command("dashboard", rich_help_panel=WATCH)(operate.dashboard)
app.add_typer(messages.app, name="messages", rich_help_panel=WATCH)
app.command("pause", rich_help_panel=OPERATE)(operate.pause)
app.command("resume", rich_help_panel=OPERATE)(operate.resume)
app.add_typer(opt_outs.app, name="opt-outs", rich_help_panel=OPERATE)
# Its former name, for scripts.
app.add_typer(opt_outs.app, name="suppressions", hidden=True)
app.add_typer(operate.database_app, name="database", rich_help_panel=OPERATE)
app.command("demo", rich_help_panel=TRY)(sandbox.demo)
app.command("sandbox", rich_help_panel=TRY)(sandbox.sandbox)


def main() -> None:
    """The program ``callrail-relay``."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from callrail_relay.bootstrap.context import open_missing_streams

        open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Texts hold what no code page of Windows does; a pipe carries JSON, which is UTF-8.
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
    app()
