"""The command ``callrail-relay``. Commands import what is slow themselves, so ``--help`` is instant."""

import io
import sys
from typing import Annotated

import typer

from callrail_relay import __version__
from callrail_relay.cli import backups, configure, expose, messages, operate, opt_outs, send, serve, service
from callrail_relay.cli.console import command
from callrail_relay.cli.help import HELP_NAMES, Program, explain_usage, show_help
from callrail_relay.cli.shadow import app as shadow_app

app = typer.Typer(
    name="callrail-relay",
    cls=Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": HELP_NAMES},
    help="Sends InvestorFuse IF3 (Carrot) texts through CallRail.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"callrail-relay {__version__}")
        raise typer.Exit


@app.callback()
def callrail_relay(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


# The help lists the groups in the order of help.GROUPS.
command(app, "configure", panel="Set up")(configure.configure)
command(app, "hook-url", panel="Set up")(operate.hook_url)
command(app, "doctor", panel="Set up")(operate.doctor)
app.add_typer(operate.alerts_app, name="alerts", rich_help_panel="Set up")
app.add_typer(service.app, name="service", rich_help_panel="Set up")
command(app, "expose", panel="Set up")(expose.expose)
command(app, "serve", panel="Send", long_running=True)(serve.serve)
command(app, "send", panel="Send")(send.send)
command(app, "replay", panel="Send")(send.replay)
command(app, "status", panel="Operate")(operate.status)
command(app, "dashboard", panel="Operate")(operate.dashboard)
app.add_typer(messages.app, name="messages", rich_help_panel="Messages")
command(app, "pause", panel="Operate")(operate.pause)
command(app, "resume", panel="Operate")(operate.resume)
app.add_typer(opt_outs.app, name="opt-outs", rich_help_panel="Messages")
app.add_typer(opt_outs.app, name="suppressions", hidden=True)  # its former name, for scripts
app.add_typer(shadow_app, name="shadow", rich_help_panel="Operate")
app.add_typer(operate.database_app, name="database", rich_help_panel="Operate")
command(app, "backup", panel="Operate")(backups.backup)
command(app, "restore", panel="Operate")(backups.restore)
command(app, "uninstall", panel="Operate")(backups.uninstall)
command(app, "demo", panel="Send")(serve.demo)
command(app, "sandbox", panel="Send")(serve.sandbox)
app.command("help", hidden=True)(show_help)


def main() -> int:
    """Run the command of ``sys.argv``; return its exit code."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from callrail_relay.bootstrap.context import open_missing_streams

        open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Texts contain what no Windows code page has; a pipe carries JSON, which is UTF-8.
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
    try:
        # Nothing in a person's words is a pattern or a variable, though Typer would replace them on Windows.
        return app(standalone_mode=False, windows_expand_args=False) or 0
    except typer.TyperException as error:
        return explain_usage(error)
    except typer.Abort:
        return 1
