"""
``replay``: saved payloads, mapped and sent.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callrail_relay.cli.asking import confirmed
from callrail_relay.cli.files import read_input
from callrail_relay.cli.options import Config, Json, Yes
from callrail_relay.cli.progress import progress
from callrail_relay.cli.running import command, has_terminal, say
from callrail_relay.errors import NotFound

if TYPE_CHECKING:
    from callrail_relay.bootstrap.installation import Installation
    from callrail_relay.bootstrap.relay import Relay
    from callrail_relay.domain.mapper import SavedPayloads
    from callrail_relay.domain.submission import Accepted
    from callrail_relay.service.dispatch import Ending

# Which exit code tells most about a whole run: what nobody knows comes before what is known to be wrong.
_GRAVEST_FIRST = (6, 5, 4, 8, 7)


@command
async def replay(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files of saved payloads; - reads standard input.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Send a text again that the store holds already.")
    ] = False,
    yes: Yes = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="The longest time to wait.")
    ] = 120.0,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Send saved payloads: IF3's JSON or form, lists, JSON lines, envelopes of Zapier and n8n.

    Each becomes a text as if it had come by webhook. A text that the store holds already is
    left out, unless you say --force.

    \b
    Example:
      $ callrail-relay replay payload.json
      $ callrail-relay replay saved/*.json --dry-run
    """
    from callrail_relay.bootstrap.installation import find_installation
    from callrail_relay.domain.mapper import map_saved

    documents = [read_input(file) for file in files]
    installation = find_installation(config)
    installation.require_route()
    saved = [map_saved(document, installation.mapping) for document in documents]
    _tell_skipped(files, saved)
    if not any(one.drafts for one in saved):
        raise NotFound(
            f"There is no text of IF3 in {', '.join(files)}; see docs/reference for what replay reads."
        )
    if dry_run:
        _show_plan(saved, installation, as_json=as_json)
        say("Nothing was sent: this was a dry run.")
        return 0
    installation.require_terms()
    if not _agreed(saved, installation, yes=yes, as_json=as_json):
        say("Nothing was sent.")
        return 0
    return await _send(installation, documents, saved, force=force, timeout=timeout, as_json=as_json)


def _tell_skipped(files: list[str], saved: "list[SavedPayloads]") -> None:
    for file, payloads in zip(files, saved, strict=True):
        for reason in payloads.skipped:
            say(f"Skipped in {file}: {reason.detail}")


def _show_plan(saved: "list[SavedPayloads]", installation: "Installation", *, as_json: bool) -> None:
    from callrail_relay.cli.documents import documents, print_json
    from callrail_relay.cli.render import print_messages
    from callrail_relay.domain.mapper import preview
    from callrail_relay.domain.message import Source

    now = installation.clock.now()
    planned = [
        preview(draft, installation.mapping, source=Source.REPLAY, now=now)
        for one in saved
        for draft in one.drafts
    ]
    print_json(documents(planned)) if as_json else print_messages(planned)


def _agreed(saved: "list[SavedPayloads]", installation: "Installation", *, yes: bool, as_json: bool) -> bool:
    """
    Ask before more than one text leaves.
    """
    count = sum(len(one.drafts) for one in saved)
    if count <= 1:
        return True
    if not yes and not as_json and has_terminal():
        _show_plan(saved, installation, as_json=False)
    return confirmed(f"Send these {count} texts to real people now?", yes=yes)


async def _send(
    installation: "Installation",
    documents: list[bytes],
    saved: "list[SavedPayloads]",
    *,
    force: bool,
    timeout: float,
    as_json: bool,
) -> int:
    from callrail_relay.bootstrap.relay import open_relay, open_worker
    from callrail_relay.cli.documents import print_json
    from callrail_relay.service.dispatch import Dispatch

    async with open_relay(installation) as relay, open_worker(relay) as worker:
        accepted: list[Accepted] = []
        for document, payloads in zip(documents, saved, strict=True):
            if payloads.drafts:
                receipt = await relay.intake.accept_saved(document, payloads.drafts, force=force)
                accepted += receipt.accepted
        new = [one.message_id for one in accepted if one.duplicate_of is None]
        dispatch = Dispatch(relay.operations, worker, relay.outbox.clock)
        with progress("Sending", len(new)) as advance:
            endings = (
                await dispatch.deliver(new, timeout=timedelta(seconds=timeout), told=advance) if new else []
            )
        by_id = {ending.message.id: _row(ending) for ending in endings}
        rows = [
            by_id[one.message_id]
            if one.duplicate_of is None
            else await _duplicate_row(relay, one.duplicate_of)
            for one in accepted
        ]
    if as_json:
        print_json(rows)
    else:
        _print_rows(rows)
    codes = {ending.exit_code for ending in endings}
    return next((code for code in _GRAVEST_FIRST if code in codes), 0)


def _row(ending: "Ending") -> dict[str, Any]:
    row = ending.message.document()
    if ending.fault is not None and row["reason"] is None:
        row["reason"] = str(ending.fault)
    return row


async def _duplicate_row(relay: "Relay", earlier_id: str) -> dict[str, Any]:
    [earlier] = await relay.operations.find(earlier_id)
    reason = f"The same text is in the store already, as {earlier.id}, which is {earlier.status}."
    return {**earlier.document(), "status": "duplicate", "reason": reason}


def _print_rows(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        reason = f": {row['reason']}" if row["reason"] and row["status"] != "sent" else ""
        typer.echo(f"{row['status']:<10} {row['recipient'] or '-':<13} {row['id']}{reason}")
