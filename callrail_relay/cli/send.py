"""``send``, one text from the command line, and ``replay``, the texts of saved requests."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from glob import glob
from typing import TYPE_CHECKING, Any

from callrail_relay.cli import console
from callrail_relay.cli.console import WORDS, echo, given, load_context, print_json, say, sentence, show
from callrail_relay.cli.messages import message_document
from callrail_relay.domain.charset import UnparsedError, decode
from callrail_relay.domain.message import OPEN, Message, Reason, Status
from callrail_relay.domain.printable import shortened
from callrail_relay.domain.routing import Route
from callrail_relay.errors import NotFound, SettingsError, UsageError
from callrail_relay.sentences import explain, says

if TYPE_CHECKING:
    from callrail_relay.bootstrap.context import AppContext
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.domain.mapper import Accepted
    from callrail_relay.service.delivery import TaskGroup
    from callrail_relay.service.intake import SavedFile


async def send(
    to: str,
    message: str,
    sender: str | None = None,
    dry_run: bool = False,
    wait: bool = True,
    timeout: float = 120.0,
) -> None:
    from callrail_relay.bootstrap.wiring import open_relay, open_worker
    from callrail_relay.cli.render import print_message
    from callrail_relay.domain.mapper import map_direct
    from callrail_relay.service.dispatch import deliver

    if message == "-":
        message = _read_words()
    context = load_context()
    route = None if sender is None else await _sender(context, to, sender)
    draft = map_direct(to=to, text=message, routes=context.mapping.routes, sender=route)
    _require_complete(draft.reasons)
    if dry_run:
        async with open_relay(context) as relay:
            _, planned = await relay.intake.plan(relay.intake.direct(draft))
            [new] = planned.values()
            print_json(message_document(new)) if given.as_json else print_message(new)
            say(await _plan_summary(relay, [new]))
        say("Nothing was sent: this was a dry run.")
        return
    context.require_terms()
    # The worker comes first: without a key it could send nothing, so nothing is stored.
    async with open_relay(context) as relay, open_worker(relay) as worker:
        [accepted] = await relay.intake.accept(relay.intake.direct(draft))
        if wait:
            span, ids = timedelta(seconds=timeout), [accepted.message_id]
            async with _sending(worker):
                [(sent, fault)] = await deliver(relay.operations, worker, ids, timeout=span)
        else:
            [sent], fault = await relay.operations.find(accepted.message_id), None
    if given.as_json or fault is None:
        document = message_document(sent)
        ended = WORDS["ended"].get(sent.status, sent.status).capitalize()
        why = f": {document['reason']}" if document["reason"] else "."
        show(document, f"{ended}: message {sent.id} to {sent.recipient}{why}")
    if fault is not None:
        raise fault


_OPTIONS = {"bad_phone": "--to", "no_text": "--message", "bad_text": "--message"}


def _read_words() -> str:
    """Return the text on standard input, without the line break at its end."""
    try:
        return decode(console.read_input("-"), None).rstrip("\r\n")
    except UnparsedError as error:
        broken = Reason("bad_text", {"problem": "broken_character"})
        raise UsageError(f"--message can't be used: {says(broken)}") from error


@asynccontextmanager
async def _sending(worker: "TaskGroup") -> AsyncIterator[None]:
    """Read replies before stored texts are sent; at Ctrl-C, say what happens to those that weren't."""
    try:
        if not await worker.poll_now():
            say(sentence("replies_unread"))
        yield
    except asyncio.CancelledError:
        say(sentence("stays_queued"))
        raise


def _require_complete(reasons: Iterable[Reason]) -> None:
    """Raise UsageError for what can't be sent as typed, SettingsError if there's no number."""
    for reason in reasons:
        if reason.code in _OPTIONS:
            raise UsageError(f"{_OPTIONS[reason.code]} can't be used: {says(reason)}")
        if reason.parameters:
            raise SettingsError(explain(reason))
        raise UsageError(f"{says(reason)} Name one with --from.")


async def _sender(context: "AppContext", to: str, sender: str) -> Route:
    """Return where the text is sent from; a number not in the settings is looked up once at CallRail."""
    from callrail_relay.bootstrap.wiring import open_callrail, open_relay
    from callrail_relay.service.setup import find_sending_route

    console.read_number(to, "--to")
    number = console.read_number(sender, "--from")
    async with open_relay(context) as relay:
        context.require_route()
        ask = partial(open_callrail, context)
        return await find_sending_route(number, context.routes, relay.store, ask)


# The exit code that says most about a whole run: an unknown outcome comes before a known failure.
_GRAVEST_FIRST = (6, 5, 4, 8, 7)


async def replay(
    files: list[str], dry_run: bool = False, force: bool = False, yes: bool = False, timeout: float = 120.0
) -> int:
    from callrail_relay.bootstrap.wiring import open_relay

    if os.name == "nt":  # whose shells leave that to the program
        files = [file for name in files for file in sorted(glob(name.replace("[", "[[]"))) or [name]]  # noqa: PTH207 - absolute, too
    documents = {file: console.read_input(file) for file in files}
    context = load_context()
    context.require_route()
    found = _read_saved(context, documents)
    count = sum(len(drafts) for _, drafts in found)
    if not dry_run:
        context.require_terms()
    asks = count > 1 and not (dry_run or yes)
    if asks and not console.has_terminal():
        # Before the store is opened: there's no terminal to ask in.
        console.confirmed(f"Send the texts in these files ({count} texts; --dry-run shows each)?")
    async with open_relay(context) as relay:
        if dry_run or asks:
            planned = await relay.intake.plan(relay.intake.saved(found, force=force))
            await _show_plan(relay, *planned, dry_run=dry_run)
        if dry_run:
            say("Nothing was sent: this was a dry run.")
            return 0
        if asks:
            console.require_yes("Continue?", "Nothing was sent.", yes=False)
        return await _send_saved(relay, found, force=force, timeout=timeout)


def _read_saved(context: "AppContext", documents: Mapping[str, bytes]) -> "list[SavedFile]":
    """Return the files with texts; say why the others, or parts of them, aren't used. Raises NotFound."""
    from callrail_relay.domain.mapper import map_saved

    found: list[SavedFile] = []
    for file, document in documents.items():
        drafts, skipped = map_saved(document, context.mapping, context.clock.now())
        for reason in skipped:
            say(f"Skipped in {file}: {explain(reason)}")
        if drafts:
            found.append((document, drafts))
        elif not skipped and len(documents) > 1:
            say(f"Skipped {file}: it is empty.")
    if not found:
        raise NotFound(sentence("no_saved_text", files=", ".join(documents)))
    return found


async def _send_saved(relay: "Relay", found: "Sequence[SavedFile]", *, force: bool, timeout: float) -> int:
    from callrail_relay.bootstrap.wiring import open_worker
    from callrail_relay.service.dispatch import DeliveryResult, deliver

    endings: list[DeliveryResult] = []
    # The worker comes first: without a key, nothing is stored that couldn't be sent.
    async with open_worker(relay) as worker:
        accepted = await relay.intake.accept(relay.intake.saved(found, force=force))
        new = [one.message_id for one in accepted if one.duplicate_of is None]
        known = dict.fromkeys(one.duplicate_of for one in accepted if one.duplicate_of)
        # An interrupted run left texts in the queue: they're sent when it's run again.
        left = [one.id for one in await relay.operations.left_to_send(*known)]
        if ids := list(dict.fromkeys([*new, *left])):
            span = timedelta(seconds=timeout)
            async with _sending(worker):
                with console.progress("Sending", len(ids)) as advance:
                    endings = await deliver(relay.operations, worker, ids, timeout=span, on_progress=advance)
        sent = {ending.message.id: message_document(ending.message) for ending in endings}
        for ending in endings:
            row = sent[ending.message.id]
            row["reason"] = row["reason"] or (ending.fault and str(ending.fault))
        earlier = {one.id: one for one in await relay.operations.find(*known)}
        rows, counts = [], Counter[str]()
        for one in accepted:
            if row := sent.pop(one.duplicate_of or one.message_id, {}):
                rows.append(row)
                counts[WORDS["ended"].get(row["status"], row["status"])] += 1
            else:
                message = earlier[one.duplicate_of or ""]
                rows.append(_duplicate_row(message))
                counts[_already(message.status)] += 1
    if given.as_json:
        print_json(rows)
    else:
        for row in rows:
            reason = f": {row['reason']}" if row["reason"] and row["status"] != "sent" else ""
            echo(f"{row['status']:<10} {row['recipient'] or '-':<13} {row['id']}{reason}")
        say(f"{', '.join(f'{count} {what}' for what, count in counts.items())}.")
    codes = {ending.fault.exit_code for ending in endings if ending.fault}
    return next((code for code in _GRAVEST_FIRST if code in codes), 0)


async def _show_plan(
    relay: "Relay", accepted: "Sequence[Accepted]", new: Mapping[str, Message], *, dry_run: bool
) -> None:
    """Show the rows that the run itself would print; with a question to come, JSON waits for its end."""
    known = {one.duplicate_of for one in accepted if one.duplicate_of} - {*new}
    left = {one.id: one for one in await relay.operations.left_to_send(*known)}
    found = {one.id: one for one in await relay.operations.find(*known) if one.id not in left}
    to_send, rows, going, earlier = {**new, **left}, [], list[Message](), list[Message]()
    for one in accepted:
        id_ = one.duplicate_of or one.message_id
        if message := to_send.pop(id_, None):
            going.append(message)
            rows.append(message_document(message))
        elif message := found.get(id_):
            earlier.append(message)
            rows.append(_duplicate_row(message))
        else:
            repeats = {"status": "duplicate", "reason": "The same text comes earlier in these files."}
            rows.append(message_document(new.get(id_) or left[id_]) | repeats)
    if not given.as_json:
        for row in rows:
            echo(f"{row['status']:<10} {row['recipient'] or '-':<13} {shortened(row['text'] or '-', 54)}")
            if row["reason"]:
                echo(f"           {row['reason']}")
    elif dry_run:
        print_json(rows)
    twice = len(accepted) - len(going) - len(earlier)
    say(await _plan_summary(relay, going, earlier, twice))


def _duplicate_row(earlier: Message) -> dict[str, Any]:
    reason = f"The same text is already in the database, as {earlier.id}, which is {earlier.status}."
    return {**message_document(earlier), "status": "duplicate", "reason": reason}


def _already(status: Status) -> str:
    return f"already {WORDS['already'].get(status, status)}"


async def _plan_summary(
    relay: "Relay", going: Sequence[Message], earlier: Sequence[Message] = (), twice: int = 0
) -> str:
    """Return what the run would do; *earlier* are the messages because of which texts would be left out."""
    held = [message for message in going if message.status is Status.HELD]
    parts = [f"{len(going) - len(held) or 'None'} will be sent"]
    if left := sum(_is_left(message) for message in going):
        parts.append(f"{left} of them already queued")
    if held:
        codes = (message.reasons[0].code for message in held)
        why = Counter(WORDS["on_hold"].get(code, code.replace("_", " ")) for code in codes)
        reasons = [f"{count} {reason}" if len(why) > 1 else reason for reason, count in why.items()]
        parts.append(f"{len(held)} on hold: {' and '.join(reasons)}")
    for status, count in Counter(one.status for one in earlier).items():
        parts.append(f"{count} {_already(status)}")
    if twice:
        parts.append(f"{twice} twice in these files")
    return " ".join((f"{', '.join(parts)}.", *await _limits(relay, going)))


def _is_left(message: Message) -> bool:
    """Whether a text that would be sent is in the queue already, not only planned."""
    return bool(message.id) and message.status in OPEN


async def _limits(relay: "Relay", going: Sequence[Message]) -> list[str]:
    """Return what makes texts wait that no rule holds: a pause, or the sending limits."""
    parts, pending = Counter[str](), Counter[str]()
    for message in going:
        if message.status is not Status.HELD and message.route is not None:
            unsent = sum(segment.status is Status.QUEUED for segment in message.segments)
            parts[message.route.account_id] += unsent
            pending[message.route.account_id] += unsent * _is_left(message)
    sentences = []
    for status in await relay.operations.account_statuses():
        account, wanted = status.account, parts[status.account.id]
        others = status.pending - pending[account.id]
        room = max(0, min(status.hour.room, status.day.room) - others)
        if wanted and account.paused_since is not None:
            sentences.append(sentence("account_paused", account=account.id))
        elif wanted > room:
            sentences.append(sentence("account_full", account=account.id, room=room))
    return sentences
