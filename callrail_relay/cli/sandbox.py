"""``sandbox``: the CallRail simulator alone."""

from pathlib import Path
from typing import Annotated

import typer

from callrail_relay.cli.console import command, echo, say
from callrail_relay.cli.options import Json
from callrail_relay.errors import NotFound


@command
async def sandbox(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free port.")] = 8789,
    faults: Annotated[
        Path | None, typer.Option("--faults", metavar="FILE", help="A JSON list of faults to play.")
    ] = None,
    _config: Annotated[Path | None, typer.Option("--config", hidden=True)] = None,
    as_json: Json = False,
) -> int:
    """
    Run a simulated CallRail on this machine: no account, no real text.

    It prints what to configure, and stays until Ctrl-C. What it took is at /sandbox/texts; what shall go
    wrong can be set at /sandbox/faults.

    \b
    Example:
      $ callrail-relay sandbox
      $ callrail-relay sandbox --port 0 --json --faults faults.json
    """
    from callrail_relay.bootstrap.sandbox import open_sandbox
    from callrail_relay.cli.documents import print_json
    from callrail_relay.cli.stopping import stop_signal

    text = None if faults is None else _read(faults)
    async with open_sandbox(port=port, faults=text) as box, stop_signal() as stopped:
        if as_json:
            print_json(box.document())
        else:
            for name, value in box.document().items():
                echo(f"{name:<16} {value}")
            say("Listening. Ctrl-C ends it.")
        await stopped.wait()
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"The file {path} cannot be read; check its name and its rights.") from error
