"""``send``, one text from the command line, and ``replay``, those of saved requests."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callrail_relay.cli import console
from callrail_relay.cli.completion import number_option, person_option
from callrail_relay.cli.console import Config, DryRun, Json, Timeout, Yes, echo, print_json, say, sentence
from callrail_relay.cli.messages import message_document
from callrail_relay.domain.message import Message, Reason, Status
from callrail_relay.errors import NotFound, SettingsError, UsageError
from callrail_relay.sentences import explain, says

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.domain.mapper import Planned
    from callrail_relay.domain.routing import Route
    from callrail_relay.service.delivery import TaskGroup
    from callrail_relay.service.intake import SavedFile

Sender = Annotated[str | None, number_option("--from", help="One of your numbers that can text.")]


async def send(
    to: Annotated[str, person_option(help="The person's number.")],
    message: Annotated[str, typer.Option(metavar="TEXT", help="The text to send.")],
    sender: Sender = None,
    dry_run: DryRun = False,
    wait: Annotated[bool, typer.Option(help="Wait until the text is sent.", show_default=False)] = True,
    timeout: Timeout = 120.0,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """
    Send one text, within the same rules.

    Exit codes: 0 CallRail took it, 5 refused it, 6 didn't confirm it; 7 the text
    is on hold or waiting; 8 CallRail can't be reached, and the text stays queued.
    A number in --from that isn't in the settings is looked up at CallRail once.

    Example:
    $ callrail-relay send --to +12025550122 --message "Is 9 good for you?"
    $ callrail-relay send --to 202-555-0122 --message "Hello" --dry-run
    """
    from callrail_relay.bootstrap.context import load_context
    from callrail_relay.bootstrap.wiring import open_relay, open_worker
    from callrail_relay.cli.render import print_message
    from callrail_relay.domain.mapper import map_direct
    from callrail_relay.service.dispatch import DeliveryResult, deliver

    context = load_context(config)
    route = None if sender is None else await _sender(context, to, sender)
    draft = map_direct(to=to, text=message, routes=context.mapping.routes, sender=route)
    _require_complete(draft.reasons)
    if dry_run:
        async with open_relay(context) as relay:
            [planned] = await relay.intake.plan(relay.intake.direct(draft))
            print_json(message_document(planned.message)) if as_json else print_message(planned.message)
            say(await _plan_summary(relay, [planned], []))
        say("Nothing was sent: this was a dry run.")
        return
    context.require_terms()
    # The worker comes first: without a key it could send nothing, so nothing is stored.
    async with open_relay(context) as relay, open_worker(relay) as worker:
        [accepted] = (await relay.intake.accept(relay.intake.direct(draft)))[0].accepted
        if wait:
            await _poll_now(worker)
            span, ids = timedelta(seconds=timeout), [accepted.message_id]
            [ending] = await deliver(relay.operations, worker, ids, timeout=span)
        else:
            [stored] = await relay.operations.find(accepted.message_id)
            ending = DeliveryResult(message=stored)
    if as_json:
        print_json(message_document(ending.message))
    if ending.fault is not None:
        raise ending.fault
    if not as_json:
        echo(f"{ending.message.status.capitalize()}: text {ending.message.id} to {ending.message.recipient}.")


_OPTIONS = {"bad_phone": "--to", "no_text": "--message", "bad_text": "--message", "bad_sender": "--from"}


def _require_complete(reasons: Iterable[Reason]) -> None:
    """Raises UsageError for what can't be sent as it was typed, SettingsError if there is no number."""
    for reason in reasons:
        if reason.code in _OPTIONS:
            raise UsageError(f"{_OPTIONS[reason.code]} can't be used: {says(reason)}")
        if reason.parameters:
            raise SettingsError(explain(reason))
        raise UsageError(f"{says(reason)} Name one with --from.")


async def _sender(context: "AppContext", to: str, sender: str) -> "Route":
    """Where the text is sent from; a number that is not in the settings is looked up at CallRail once."""
    from callrail_relay.bootstrap.wiring import find_sender, open_relay

    console.read_number("--to", to)
    number = console.read_number("--from", sender)
    known = {route.tracking_number: route for route in context.settings.routes_table()}
    if number in known:
        return known[number]
    async with open_relay(context) as relay:
        return await find_sender(relay, number)


async def _poll_now(worker: "TaskGroup") -> None:
    """Read replies before texts are sent, and warn if that didn't work."""
    if not await worker.poll_now():
        say(sentence("replies_unread"))


# Which exit code tells most about a whole run: an unknown outcome comes before a known failure.
_GRAVEST_FIRST = (6, 5, 4, 8, 7)


async def replay(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Saved requests; - for standard input.")],
    dry_run: DryRun = False,
    force: Annotated[bool, typer.Option("--force", help="Send texts again that the database has.")] = False,
    yes: Yes = False,
    timeout: Timeout = 120.0,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """
    Send saved webhook requests.

    It reads IF3's JSON or form, lists, JSON Lines, and requests as Zapier, n8n,
    Node-RED and webhook.site save them, and Zapier's history: what it shows as
    sent, or as old, comes in on hold. A text in the database already is skipped.

    Example:
    $ callrail-relay replay saved/*.json --dry-run
    """
    from callrail_relay.bootstrap.context import load_context
    from callrail_relay.bootstrap.wiring import open_relay
    from callrail_relay.domain.mapper import map_saved

    documents = [console.read_input(file) for file in files]
    context = load_context(config)
    context.require_route()
    found: list[SavedFile] = []
    for file, document in zip(files, documents, strict=True):
        now, policy = context.clock.now(), context.guards
        saved = map_saved(document, context.mapping.routes, now=now, policy=policy)
        for reason in saved.skipped:
            say(f"Skipped in {file}: {explain(reason)}")
        if saved.drafts:
            found.append((document, saved.drafts))
    if not found:
        raise NotFound(
            f"There is no text of IF3 in {', '.join(files)}; see docs/reference for what replay reads."
        )
    count = sum(len(drafts) for _, drafts in found)
    if not dry_run:
        context.require_terms()
    asks = count > 1 and not (dry_run or yes)
    if asks and not console.has_terminal():
        # Before the store is opened: there is no terminal to ask in.
        console.confirmed(f"Send what these files hold ({count} texts; --dry-run shows each)?", yes=False)
    async with open_relay(context) as relay:
        if dry_run or asks:
            planned = await relay.intake.plan(relay.intake.saved(found, force=force))
            await _show_plan(relay, planned, as_json=as_json, dry_run=dry_run)
        if dry_run:
            say("Nothing was sent: this was a dry run.")
            return 0
        if asks and not console.confirmed("Continue?", yes=False):
            say("Nothing was sent.")
            return 0
        return await _send_saved(relay, found, force=force, timeout=timeout, as_json=as_json)


_ENDED = {"held": "on hold", "unknown": "unconfirmed", "cancelled": "canceled", "duplicate": "skipped"}


async def _send_saved(
    relay: "Relay", found: "Sequence[SavedFile]", *, force: bool, timeout: float, as_json: bool
) -> int:
    from callrail_relay.bootstrap.wiring import open_worker
    from callrail_relay.service.dispatch import DeliveryResult, deliver

    endings: list[DeliveryResult] = []
    # The worker comes first: without a key nothing is stored that could not be sent.
    async with open_worker(relay) as worker:
        receipts = await relay.intake.accept(relay.intake.saved(found, force=force))
        accepted = [one for receipt in receipts for one in receipt.accepted]
        new = [one.message_id for one in accepted if one.duplicate_of is None]
        if new:
            await _poll_now(worker)
            span = timedelta(seconds=timeout)
            with console.progress("Sending", len(new)) as advance:
                endings = await deliver(relay.operations, worker, new, timeout=span, told=advance)
        sent = {ending.message.id: message_document(ending.message) for ending in endings}
        for ending in endings:
            row = sent[ending.message.id]
            row["reason"] = row["reason"] or (ending.fault and str(ending.fault))
        rows = [
            sent[one.message_id]
            if one.duplicate_of is None
            else _duplicate_row((await relay.operations.find(one.duplicate_of))[0])
            for one in accepted
        ]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            reason = f": {row['reason']}" if row["reason"] and row["status"] != "sent" else ""
            echo(f"{row['status']:<10} {row['recipient'] or '-':<13} {row['id']}{reason}")
        counts = Counter(_ENDED.get(row["status"], row["status"]) for row in rows)
        say(f"{', '.join(f'{count} {what}' for what, count in counts.items())}.")
    codes = {ending.exit_code for ending in endings}
    return next((code for code in _GRAVEST_FIRST if code in codes), 0)


_ON_HOLD = {
    "mass_text": "bulk",
    "sent_by_zapier": "sent by Zapier already",
    "opt_out": "opted out",
    "merge_tag": "unfilled placeholder",
    "quiet_hours": "quiet hours, sent by themselves later",
}
"""Why texts are on hold, in a word or two; other codes are read as they are."""

_ALREADY = {
    Status.HELD: "on hold",
    Status.SENDING: "being sent",
    Status.UNKNOWN: "tried, and unconfirmed",
    Status.CANCELLED: "canceled",
    Status.SHADOW: "passed on to the old webhook",
}
"""What texts are already; the other statuses are read as they are."""


async def _show_plan(relay: "Relay", planned: "Sequence[Planned]", *, as_json: bool, dry_run: bool) -> None:
    """Show the rows that the run itself would print; with a question to come, JSON waits for its end."""
    from callrail_relay.cli.render import shortened

    rows, earlier = [], []
    for one in planned:
        if one.duplicate_of is not None:
            earlier.append((await relay.operations.find(one.duplicate_of))[0])
            rows.append(_duplicate_row(earlier[-1]))
            continue
        rows.append(message_document(one.message))
        if one.repeats:
            rows[-1] |= {"status": "duplicate", "reason": "The same text comes earlier in these files."}
    if not as_json:
        for row in rows:
            echo(f"{row['status']:<10} {row['recipient'] or '-':<13} {shortened(row['text'], 54)}")
            if row["reason"]:
                echo(f"           {row['reason']}")
    elif dry_run:
        print_json(rows)
    say(await _plan_summary(relay, planned, earlier))


def _duplicate_row(earlier: Message) -> dict[str, Any]:
    reason = f"The same text is in the store already, as {earlier.id}, which is {earlier.status}."
    return {**message_document(earlier), "status": "duplicate", "reason": reason}


async def _plan_summary(relay: "Relay", planned: "Sequence[Planned]", earlier: Sequence[Message]) -> str:
    """Return what the run would do; *earlier* are the messages for which texts would be left out."""
    new = [one.message for one in planned if one.is_new]
    held = [message for message in new if message.status is Status.HELD]
    parts = [f"{len(new) - len(held) or 'None'} will be sent"]
    if held:
        codes = (message.reasons[0].code for message in held)
        why = Counter(_ON_HOLD.get(code, code.replace("_", " ")) for code in codes)
        reasons = [f"{count} {reason}" if len(why) > 1 else reason for reason, count in why.items()]
        parts.append(f"{len(held)} on hold: {' and '.join(reasons)}")
    for status, count in Counter(message.status for message in earlier).items():
        parts.append(f"{count} already {_ALREADY.get(status, status)}")
    if repeats := sum(one.repeats for one in planned):
        parts.append(f"{repeats} twice in these files")
    return " ".join((f"{', '.join(parts)}.", *await _limits(relay, new)))


async def _limits(relay: "Relay", new: Sequence[Message]) -> list[str]:
    """Return what makes texts wait that no rule holds: a pause, or the sending limits."""
    parts: Counter[str] = Counter()
    for message in new:
        if message.status is Status.QUEUED and message.route is not None:
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
