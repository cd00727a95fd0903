"""Messages as rows of a CSV file, for a spreadsheet."""

from collections.abc import Iterable

from callrail_relay.domain.message import Message
from callrail_relay.domain.printable import printable
from callrail_relay.domain.sheets import guarded, lines

COLUMNS = (
    "id",
    "status",
    "reason",
    "source",
    "recipient",
    "tracking_number",
    "company_id",
    "account_id",
    "text",
    "segments",
    "attempts",
    "opportunity_id",
    "sender_id",
    "seller_id",
    "seller",
    "team_id",
    "received_at",
    "sent_at",
    "conversation_id",
)
"""The keys of a message's document; ``segments`` is their number, and ``attempts`` that of all of them."""

# Written by us: an E.164 number begins with a plus, and no program should have to take an apostrophe off it.
_OUR_OWN = frozenset({"recipient", "tracking_number"})


def header() -> str:
    """The first line."""
    return lines([COLUMNS])


def rows(messages: Iterable[Message]) -> str:
    r"""
    A line for each message, with an apostrophe before what looks like a formula.

    What would steer a terminal is written out, such as ``\x1b``; JSON lines hold the words to the letter.
    """
    return lines(_cells(message) for message in messages)


def _cells(message: Message) -> list[str]:
    document = message.document() | {
        "segments": len(message.segments),
        "attempts": sum(len(segment.attempts) for segment in message.segments),
    }
    return [_cell(name, document[name]) for name in COLUMNS]


def _cell(name: str, value: object) -> str:
    words = "" if value is None else str(value)
    return words if name in _OUR_OWN else guarded(printable(words))
