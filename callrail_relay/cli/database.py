"""``database``: the store as a whole."""

from typing import TYPE_CHECKING, Annotated

import typer

from callrail_relay.cli.console import command, echo
from callrail_relay.cli.options import Config, Json
from callrail_relay.errors import NotAllowed

if TYPE_CHECKING:
    from callrail_relay.bootstrap.copying import TableCopy

app = typer.Typer(no_args_is_help=True, help="Move what is stored to another database.")


@app.command("copy")
@command
async def copy(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="The store to copy, such as sqlite:///relay.db.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TO", help="The empty database, such as postgresql://relay@db.example.com/relay."
        ),
    ],
    config: Config = None,  # noqa: ARG001 - every command takes it; both stores are named here
    as_json: Json = False,
) -> int:
    """
    Copy a store into another database, from SQLite to PostgreSQL or back.

    Stop every `serve` on both first, and let `send` and `replay` finish. FROM stays as it is. To finish a
    copy that was interrupted, give the command again: what is in TO already is left. Ends with 4 while a
    `serve`, `send` or `replay` runs on either, and when the two do not hold the same afterwards. None of
    them starts meanwhile.

    \b
    Example:
      $ callrail-relay database copy sqlite:///relay.db postgresql://relay@db.example.com/relay
    """
    from contextlib import ExitStack

    from callrail_relay.bootstrap.copying import copy_database, differing
    from callrail_relay.cli.documents import print_json
    from callrail_relay.cli.progress import progress

    with ExitStack() as stack:
        copies = await copy_database(
            source, target, lambda rows: stack.enter_context(progress("Copying", rows))
        )
    differ = differing(copies)
    if as_json:
        print_json(
            {
                "same": not differ,
                "tables": [
                    {"table": one.table, "source": one.source, "target": one.target, "copied": one.copied}
                    for one in copies
                ],
            }
        )
    else:
        _show(copies)
    if differ:
        raise NotAllowed(
            f"The two do not hold the same: {', '.join(differ)}. TO holds more than came from FROM; "
            "copy into an empty database."
        )
    return 0


def _show(copies: "list[TableCopy]") -> None:
    echo(f"{'':<16} {'FROM':>10} {'TO':>10} {'copied now':>12}")
    for one in copies:
        echo(f"{one.table:<16} {one.source:>10} {one.target:>10} {one.copied:>12}")
