"""``messages``: the texts as people and programs read them, and people's decisions on them."""

import contextlib
import getpass
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import typer

from callrail_relay.cli import console
from callrail_relay.cli.console import command, given, output, progress, require_yes, say, sentence, show
from callrail_relay.clock import SystemClock
from callrail_relay.domain.message import (
    ANONYMOUS,
    CANCELLABLE,
    RESENDABLE,
    Message,
    MessageFilter,
    Status,
    Verb,
    as_json,
)
from callrail_relay.domain.printable import guarded, lines, printable
from callrail_relay.domain.routing import Route
from callrail_relay.errors import NotAllowed, UsageError, Waiting
from callrail_relay.sentences import explain_all, plural, says

if TYPE_CHECKING:
    from callrail_relay.bootstrap.wiring import Relay

app = typer.Typer(no_args_is_help=True, help="List, review and resend texts.")


@command(app, "messages list")
async def list_messages(
    status: list[Status] | None = None,
    recipient: str | None = None,
    since: str | None = None,
    search: str | None = None,
    limit: int = 50,
) -> None:
    from callrail_relay.cli.render import print_messages

    wanted = _filter(status, recipient, since, search, limit=limit)
    async with console.opened_relay() as relay:
        found = await relay.operations.list_messages(wanted)
    console.print_json([message_document(one) for one in found]) if given.as_json else print_messages(found)


@command(app, "messages export")
async def export(
    file: str = "-",
    form: Literal["csv", "jsonl"] | None = None,
    status: list[Status] | None = None,
    recipient: str | None = None,
    since: str | None = None,
    search: str | None = None,
) -> None:
    wanted = _filter(status, recipient, since, search, limit=0)
    form = form or ("jsonl" if file.lower().endswith((".jsonl", ".ndjson")) else "csv")
    # The mark of utf-8-sig tells Excel that it's UTF-8.
    encoding, count = "utf-8-sig" if form == "csv" else "utf-8", 0
    async with console.opened_relay() as relay:
        with output(file, encoding=encoding) as write, progress("Exporting") as advance:
            if form == "csv":
                write(EXPORT_HEADER)
            async for portion in relay.operations.export(wanted):
                if form == "csv":
                    write(export_rows(portion))
                else:
                    write("".join(f"{console.json_text(message_document(message))}\n" for message in portion))
                count += len(portion)
                advance(len(portion))
    console.say_written({"file": file, "format": form, "messages": count}, plural(count, "text"))


@command(app, "messages show")
async def show_message(id_: str) -> None:
    from callrail_relay.cli.render import print_message

    async with console.opened_relay() as relay:
        [full] = await relay.operations.full_ids([id_])
        found = await relay.operations.find(full)
    if given.as_json:
        shown = [message_document(message) for message in found]
        console.print_json(shown[0] if len(shown) == 1 else shown)
        return
    for number, message in enumerate(found):
        if number:
            console.echo()
        print_message(message)


@command(app, "messages approve")
async def approve(
    ids: list[str], note: str | None = None, same_wording: bool = False, yes: bool = False
) -> None:
    async with console.opened_relay() as relay:
        ids = await relay.operations.full_ids(ids)
        chosen, opted_out = ids, 0
        if same_wording:
            alike = await relay.operations.held_alike(*ids)
            if not (chosen := [one.id for one in reversed(alike) if not one.opted_out]):
                raise NotAllowed(sentence("all_opted_out"))
            opted_out = len(alike) - len(chosen)
        found = [message for id_ in chosen for message in await relay.operations.find(id_)]
        if restored := {one for text in found for one in text.reasons if one.code == "restored"}:
            for reason in restored:
                say(says(reason))
            require_yes("Send what is not in CallRail's conversation?", "Nothing was sent.", yes=yes)
        await _decide(relay, Verb.APPROVE, chosen, note)
    if opted_out:
        say(f"{plural(opted_out, 'text')} like it stay on hold: these people opted out.")


@command(app, "messages remap")
async def remap(ids: list[str], note: str | None = None, _yes: bool = False) -> int:
    async with console.opened_relay() as relay:
        changed = await _decide(relay, Verb.REMAP, ids, note)
    held = [message for message in changed if message.status is Status.HELD]
    for message in held:
        say(f"On hold: {message.id}: {explain_all(message.reasons)}")
    return Waiting.exit_code if held else 0


@command(app, "messages resend")
async def resend(ids: list[str], note: str | None = None, yes: bool = False) -> None:
    async with console.opened_relay() as relay:
        ids = await relay.operations.full_ids(ids)
        if await _any_is(relay, ids, RESENDABLE):
            question = f"Send {len(ids)} again? An unconfirmed text may have arrived."
            require_yes(question, "Nothing was sent.", yes=yes)
        await _decide(relay, Verb.RESEND, ids, note)


@command(app, "messages mark-sent")
async def mark_sent(ids: list[str], note: str | None = None, _yes: bool = False) -> None:
    async with console.opened_relay() as relay:
        await _decide(relay, Verb.MARK_SENT, ids, note)


@command(app, "messages cancel")
async def cancel(
    ids: list[str], note: str | None = None, same_wording: bool = False, yes: bool = False
) -> None:
    async with console.opened_relay() as relay:
        ids = await relay.operations.full_ids(ids)
        if same_wording:
            ids = [one.id for one in reversed(await relay.operations.held_alike(*ids))]
        if await _any_is(relay, ids, CANCELLABLE):
            require_yes(f"Cancel {len(ids)} for good?", "Nothing was canceled.", yes=yes)
        await _decide(relay, Verb.CANCEL, ids, note)


async def _any_is(relay: "Relay", ids: list[str], statuses: Collection[Status]) -> bool:
    """Whether there's anything to ask: a text in none of *statuses* is refused whatever the answer."""
    found = [message for id_ in ids for message in await relay.operations.find(id_)]
    return any(message.status in statuses for message in found)


async def _decide(relay: "Relay", verb: Verb, ids: list[str], note: str | None) -> list[Message]:
    actor = replace(ANONYMOUS, note=note)
    with contextlib.suppress(OSError, KeyError, ImportError):  # a user without a name, as in some containers
        actor = replace(actor, name=getpass.getuser())
    changed: list[Message] = []
    try:
        for id_ in await relay.operations.full_ids(ids):
            changed += await relay.operations.decide(verb, id_, actor)
    finally:
        # If one of them is refused, those before it are changed all the same.
        if shown := [f"{message.status:<10} {message.id}" for message in changed]:
            show([message_document(message) for message in changed], "\n".join(shown))
    return changed


def _filter(
    status: list[Status] | None, recipient: str | None, since: str | None, search: str | None, *, limit: int
) -> MessageFilter:
    return MessageFilter(
        statuses=tuple(status or ()),
        recipient=None if recipient is None else console.read_number(recipient, "--recipient"),
        since=None if since is None else read_since(since),
        words=() if search is None else (search,),
        limit=limit,
    )


def read_since(when: str) -> datetime:
    """Return an instant: so long ago, or a date, or a date with a time, by this machine's clock."""
    from callrail_relay.bootstrap.context import read_duration

    with contextlib.suppress(ValueError):
        return SystemClock().now() - read_duration(when)
    try:
        return datetime.fromisoformat(when).astimezone(UTC)
    except (ValueError, OverflowError, OSError) as exc:  # Windows: before 1970
        raise UsageError(f"--since can't read {when!r}; write 2h, 3d, or 2026-11-23T09:00.") from exc


# The keys of a message's document; ``segments`` is their number, and ``attempts`` that of all of them.
EXPORT_HEADER = (
    "id,status,reason,source,recipient,tracking_number,company_id,account_id,text,segments,attempts,"
    "opportunity_id,sender_id,seller_id,seller,team_id,received_at,sent_at,conversation_id\n"
)
EXPORT_COLUMNS = EXPORT_HEADER.strip().split(",")

# Ours: an E.164 number starts with a plus, and no program should have to remove an apostrophe.
_OUR_OWN = ("recipient", "tracking_number")


def message_document(message: Message) -> dict[str, Any]:
    route = as_json(message.route) or dict.fromkeys(Route.__slots__)
    known = {**as_json(message), **route, "reason": explain_all(message.reasons, message.status)}
    names = (*EXPORT_COLUMNS[:3], "reasons", *EXPORT_COLUMNS[3:])
    return {name: known[name] for name in names if name in known}


def export_rows(messages: Iterable[Message]) -> str:
    """Return a line per message: formulas get an apostrophe, and terminal controls are shown."""
    rows = []
    for message in messages:
        attempts = sum(len(segment.attempts) for segment in message.segments)
        document = message_document(message) | {"segments": len(message.segments), "attempts": attempts}
        cells = {name: "" if document[name] is None else str(document[name]) for name in EXPORT_COLUMNS}
        rows.append([cell if name in _OUR_OWN else guarded(printable(cell)) for name, cell in cells.items()])
    return lines(rows)
