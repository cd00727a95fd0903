"""What `replay` and `send` are about to do: one row for each text, and all of it in one sentence."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from callrail_relay.cli.documents import message_document
from callrail_relay.domain.message import Status

if TYPE_CHECKING:
    from callrail_relay.bootstrap.wiring import Relay
    from callrail_relay.domain.mapper import Planned
    from callrail_relay.domain.message import Message

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
