"""``replay``: saved payloads, mapped and sent."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callrail_relay.cli.console import (
    Config,
    Json,
    Yes,
    command,
    confirmed,
    echo,
    has_terminal,
    poll_now,
    progress,
    read_input,
    say,
)
from callrail_relay.errors import NotFound

if TYPE_CHECKING:
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.domain.mapper import Planned, SavedPayloads
    from callrail_relay.service.dispatch import DeliveryResult
    from callrail_relay.service.intake import SavedFile

# Which exit code tells most about a whole run: an unknown outcome comes before a known failure.
_GRAVEST_FIRST = (6, 5, 4, 8, 7)
_LONGEST_TEXT = 54


@command
async def replay(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files of saved requests; - for standard input.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent; send nothing.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Send again what the database has already.")] = False,
    yes: Yes = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="Seconds to wait at most.")
    ] = 120.0,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Send saved webhook requests.

    It reads IF3's JSON or form, lists, JSON Lines, and requests as Zapier, n8n,
    Node-RED and webhook.site save them. Each becomes a text as if it had come
    by webhook. A text that is in the database already is skipped, unless you
    say --force. --dry-run, and the question before more than one text is sent,
    tell what the run will do: by the rules, the texts in the database, and the
    others in the files.

    Example:
    $ callrail-relay replay payload.json
    $ callrail-relay replay saved/*.json --dry-run
    """
    from callrail_relay.bootstrap.context import load_context
    from callrail_relay.bootstrap.wiring import open_relay
    from callrail_relay.domain.mapper import map_saved

    documents = [read_input(file) for file in files]
    context = load_context(config)
    context.require_route()
    saved = [map_saved(document, context.mapping.routes) for document in documents]
    _tell_skipped(files, saved)
    found = [(document, one.drafts) for document, one in zip(documents, saved, strict=True) if one.drafts]
    if not found:
        raise NotFound(
            f"There is no text of IF3 in {', '.join(files)}; see docs/reference for what replay reads."
        )
    count = sum(len(drafts) for _, drafts in found)
    if not dry_run:
        context.require_terms()
    if count > 1 and not (dry_run or yes or has_terminal()):
        # Before the store is opened: there is no terminal to ask in.
        confirmed(f"Send what these files hold ({count} texts; --dry-run shows each)?", yes=False)
    async with open_relay(context) as relay:
        if dry_run or (count > 1 and not yes):
            planned = await relay.intake.plan_saved(found, force=force)
            await _show_plan(relay, planned, as_json=as_json, dry_run=dry_run)
        if dry_run:
            say("Nothing was sent: this was a dry run.")
            return 0
        if count > 1 and not confirmed("Continue?", yes=yes):
            say("Nothing was sent.")
            return 0
        return await _send(relay, found, force=force, timeout=timeout, as_json=as_json)


def _tell_skipped(files: list[str], saved: "list[SavedPayloads]") -> None:
    from callrail_relay.sentences import explain

    for file, payloads in zip(files, saved, strict=True):
        for reason in payloads.skipped:
            say(f"Skipped in {file}: {explain(reason)}")


async def _show_plan(relay: "Relay", planned: "list[Planned]", *, as_json: bool, dry_run: bool) -> None:
    """Show each text and what the run would make of it; with a question to come, JSON waits for its end."""
    from callrail_relay.cli.console import print_json
    from callrail_relay.cli.plan import plan_rows, plan_summary, read_earlier

    earlier = await read_earlier(relay, planned)
    if dry_run or not as_json:
        rows = plan_rows(planned, earlier)
        print_json(rows) if as_json else _print_plan(rows)
    say(await plan_summary(relay, planned, earlier))


async def _send(
    relay: "Relay", found: "Sequence[SavedFile]", *, force: bool, timeout: float, as_json: bool
) -> int:
    from callrail_relay.bootstrap.wiring import open_worker
    from callrail_relay.cli.console import print_json
    from callrail_relay.cli.plan import duplicate_row
    from callrail_relay.service.dispatch import Dispatch

    # The worker comes first: without a key nothing is stored that could not be sent.
    async with open_worker(relay) as worker:
        receipts = await relay.intake.accept_saved(found, force=force)
        accepted = [one for receipt in receipts for one in receipt.accepted]
        new = [one.message_id for one in accepted if one.duplicate_of is None]
        dispatch = Dispatch(relay.operations, worker, relay.store.clock)
        if new:
            await poll_now(worker)
        with progress("Sending", len(new)) as advance:
            endings = (
                await dispatch.deliver(new, timeout=timedelta(seconds=timeout), told=advance) if new else []
            )
        by_id = {ending.message.id: _row(ending) for ending in endings}
        rows = [
            by_id[one.message_id]
            if one.duplicate_of is None
            else duplicate_row((await relay.operations.find(one.duplicate_of))[0])
            for one in accepted
        ]
    if as_json:
        print_json(rows)
    else:
        _print_rows(rows)
    codes = {ending.exit_code for ending in endings}
    return next((code for code in _GRAVEST_FIRST if code in codes), 0)


def _row(ending: "DeliveryResult") -> dict[str, Any]:
    from callrail_relay.cli.documents import message_document

    row = message_document(ending.message)
    if ending.fault is not None and row["reason"] is None:
        row["reason"] = str(ending.fault)
    return row


def _print_plan(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        words = " ".join((row["text"] or "-").split())
        shown = words if len(words) <= _LONGEST_TEXT else f"{words[: _LONGEST_TEXT - 1]}…"
        echo(f"{row['status']:<10} {row['recipient'] or '-':<13} {shown}")
        if row["reason"]:
            echo(f"           {row['reason']}")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        reason = f": {row['reason']}" if row["reason"] and row["status"] != "sent" else ""
        echo(f"{row['status']:<10} {row['recipient'] or '-':<13} {row['id']}{reason}")
