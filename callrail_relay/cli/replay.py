"""``replay``: saved payloads, mapped and sent."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callrail_relay.cli.console import (
    Config,
    DryRun,
    Json,
    Timeout,
    Yes,
    command,
    confirmed,
    echo,
    has_terminal,
    poll_now,
    print_json,
    progress,
    read_input,
    say,
)
from callrail_relay.cli.documents import message_document
from callrail_relay.domain.message import Status
from callrail_relay.errors import NotFound
from callrail_relay.sentences import explain

if TYPE_CHECKING:
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.domain.mapper import Planned, SavedPayloads
    from callrail_relay.domain.message import Message
    from callrail_relay.service.dispatch import DeliveryResult
    from callrail_relay.service.intake import SavedFile


_ON_HOLD = {
    "mass_text": "bulk",
    "opt_out": "opted out",
    "merge_tag": "unfilled placeholder",
    "quiet_hours": "quiet hours, sent by themselves later",
}
"""Why texts are on hold, in a word or two; other codes are read as they are."""

_ALREADY = {
    Status.HELD: "already on hold",
    Status.QUEUED: "already queued",
    Status.SENDING: "already being sent",
    Status.UNKNOWN: "already tried, and unconfirmed",
    Status.SENT: "already sent",
    Status.FAILED: "already failed",
    Status.CANCELLED: "already canceled",
}

REPEATED = "The same text comes earlier in these files."


async def read_earlier(relay: "Relay", planned: "Iterable[Planned]") -> "dict[str, Message]":
    """Return the messages in the store for which others would be left out, by their ids."""
    ids = dict.fromkeys(one.duplicate_of for one in planned if one.duplicate_of is not None)
    return {id_: (await relay.operations.find(id_))[0] for id_ in ids}


def plan_rows(planned: "Iterable[Planned]", earlier: "Mapping[str, Message]") -> list[dict[str, Any]]:
    """Return the rows that the run itself would print; a text that would be left out is a "duplicate"."""
    rows = []
    for one in planned:
        if one.duplicate_of is not None:
            rows.append(duplicate_row(earlier[one.duplicate_of]))
        elif one.repeats:
            rows.append({**message_document(one.message), "status": "duplicate", "reason": REPEATED})
        else:
            rows.append(message_document(one.message))
    return rows


def duplicate_row(earlier: "Message") -> dict[str, Any]:
    reason = f"The same text is in the store already, as {earlier.id}, which is {earlier.status}."
    return {**message_document(earlier), "status": "duplicate", "reason": reason}


async def plan_summary(
    relay: "Relay", planned: "Sequence[Planned]", earlier: "Mapping[str, Message] | None" = None
) -> str:
    """Return what the run would do in one sentence, and what keeps it from doing all of it at once."""
    new = [one.message for one in planned if one.is_new]
    held = [message for message in new if message.status is Status.HELD]
    known = Counter(
        earlier[one.duplicate_of].status for one in planned if earlier and one.duplicate_of is not None
    )
    repeats = sum(one.repeats for one in planned)
    parts = [f"{len(new) - len(held) or 'none'} will be sent"]
    if held:
        parts.append(f"{len(held)} on hold: {_reasons(message.reasons[0].code for message in held)}")
    parts += [f"{count} {_ALREADY[status]}" for status, count in known.items()]
    if repeats:
        parts.append(f"{repeats} twice in these files")
    sentence = f"{', '.join(parts)}."
    return " ".join((sentence[0].upper() + sentence[1:], *await _limits(relay, planned)))


def _reasons(codes: Iterable[str]) -> str:
    counts = Counter(_ON_HOLD.get(code, code.replace("_", " ")) for code in codes)
    if len(counts) == 1:
        return next(iter(counts))
    return " and ".join(f"{count} {why}" for why, count in counts.items())


async def _limits(relay: "Relay", planned: "Sequence[Planned]") -> list[str]:
    """Return what makes texts wait that no rule holds: a pause, or the sending limits."""
    parts: Counter[str] = Counter()
    for one in planned:
        message = one.message
        if one.is_new and message.status is Status.QUEUED and message.route is not None:
            parts[message.route.account_id] += len(message.segments)
    sentences = []
    for standing in await relay.operations.standings():
        account, wanted = standing.account, parts[standing.account.id]
        room = max(0, min(standing.hour.room, standing.day.room) - standing.pending)
        if wanted and account.paused_since is not None:
            sentences.append(f"Sending is paused for account {account.id}: they wait until it is resumed.")
        elif wanted > room:
            sentences.append(
                f"Account {account.id} has room for {room} more now; the others follow by themselves."
            )
    return sentences


# Which exit code tells most about a whole run: an unknown outcome comes before a known failure.
_GRAVEST_FIRST = (6, 5, 4, 8, 7)
_LONGEST_TEXT = 54


@command
async def replay(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files of saved requests; - for standard input.")
    ],
    dry_run: DryRun = False,
    force: Annotated[bool, typer.Option("--force", help="Send again what the database has already.")] = False,
    yes: Yes = False,
    timeout: Timeout = 120.0,
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
            planned = await relay.intake.plan(relay.intake.saved(found, force=force))
            await _show_plan(relay, planned, as_json=as_json, dry_run=dry_run)
        if dry_run:
            say("Nothing was sent: this was a dry run.")
            return 0
        if count > 1 and not confirmed("Continue?", yes=yes):
            say("Nothing was sent.")
            return 0
        return await _send(relay, found, force=force, timeout=timeout, as_json=as_json)


def _tell_skipped(files: list[str], saved: "list[SavedPayloads]") -> None:
    for file, payloads in zip(files, saved, strict=True):
        for reason in payloads.skipped:
            say(f"Skipped in {file}: {explain(reason)}")


async def _show_plan(relay: "Relay", planned: "list[Planned]", *, as_json: bool, dry_run: bool) -> None:
    """Show each text and what the run would make of it; with a question to come, JSON waits for its end."""
    earlier = await read_earlier(relay, planned)
    if dry_run or not as_json:
        rows = plan_rows(planned, earlier)
        print_json(rows) if as_json else _print_plan(rows)
    say(await plan_summary(relay, planned, earlier))


async def _send(
    relay: "Relay", found: "Sequence[SavedFile]", *, force: bool, timeout: float, as_json: bool
) -> int:
    from callrail_relay.bootstrap.wiring import open_worker
    from callrail_relay.service.dispatch import deliver

    # The worker comes first: without a key nothing is stored that could not be sent.
    async with open_worker(relay) as worker:
        receipts = await relay.intake.accept(relay.intake.saved(found, force=force))
        accepted = [one for receipt in receipts for one in receipt.accepted]
        new = [one.message_id for one in accepted if one.duplicate_of is None]
        if new:
            await poll_now(worker)
        with progress("Sending", len(new)) as advance:
            span = timedelta(seconds=timeout)
            endings = await deliver(relay.operations, worker, new, timeout=span, told=advance) if new else []
        by_id = {ending.message.id: _row(ending) for ending in endings}
        rows = [
            by_id[one.message_id]
            if one.duplicate_of is None
            else duplicate_row((await relay.operations.find(one.duplicate_of))[0])
            for one in accepted
        ]
    print_json(rows) if as_json else _print_rows(rows)
    codes = {ending.exit_code for ending in endings}
    return next((code for code in _GRAVEST_FIRST if code in codes), 0)


def _row(ending: "DeliveryResult") -> dict[str, Any]:
    row = message_document(ending.message)
    if ending.fault is not None and row["reason"] is None:
        row["reason"] = str(ending.fault)
    return row


def _print_plan(rows: list[dict[str, Any]]) -> None:
    from callrail_relay.cli.render import shortened

    for row in rows:
        echo(f"{row['status']:<10} {row['recipient'] or '-':<13} {shortened(row['text'], _LONGEST_TEXT)}")
        if row["reason"]:
            echo(f"           {row['reason']}")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        reason = f": {row['reason']}" if row["reason"] and row["status"] != "sent" else ""
        echo(f"{row['status']:<10} {row['recipient'] or '-':<13} {row['id']}{reason}")
