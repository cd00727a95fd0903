"""
The command ``callrail-relay``: its commands, gathered.

Whatever is heavy is imported inside the commands, so that ``--help`` is instant.
"""

import io
import sys
from typing import Annotated

import typer

from callrail_relay import __version__
from callrail_relay.cli import (
    configure,
    hook_url,
    messages,
    operate,
    opt_outs,
    replay,
    sandbox,
    send,
    serve,
    status,
)

app = typer.Typer(
    name="callrail-relay",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: the boxes take three times as long to load as the program.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Sends the texts of InvestorFuse IF3 (Carrot CRM) through CallRail: kept, once, in order, within the "
        "rules, in sight."
    ),
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


app.command("configure")(configure.configure)
app.command("send")(send.send)
app.command("serve")(serve.serve)
app.command("replay")(replay.replay)
app.command("demo")(sandbox.demo)
app.command("dashboard")(operate.dashboard)
app.command("doctor")(operate.doctor)
app.command("status")(status.status)
app.add_typer(messages.app, name="messages")
app.command("pause")(operate.pause)
app.command("resume")(operate.resume)
app.add_typer(opt_outs.app, name="opt-outs")
# Its former name, for scripts.
app.add_typer(opt_outs.app, name="suppressions", hidden=True)
app.add_typer(operate.alerts_app, name="alerts")
app.add_typer(operate.database_app, name="database")
app.command("hook-url")(hook_url.hook_url)
app.command("sandbox")(sandbox.sandbox)


def main() -> None:
    """The program ``callrail-relay``."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from callrail_relay.bootstrap.console import open_missing_streams

        open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Texts hold what no code page of Windows does; a pipe carries JSON, which is UTF-8.
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
    app()
