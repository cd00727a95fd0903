"""Messages as programs read them: the keys of ``messages show --json``, and the rows of an export."""

from collections.abc import Iterable
from typing import Any

from callrail_relay.domain.csv_rows import guarded, lines
from callrail_relay.domain.message import Attempt, Message, instant
from callrail_relay.domain.printable import printable
from callrail_relay.sentences import explain_all

EXPORT_HEADER = (
    "id,status,reason,source,recipient,tracking_number,company_id,account_id,text,segments,attempts,"
    "opportunity_id,sender_id,seller_id,seller,team_id,received_at,sent_at,conversation_id\n"
)
"""The keys of a message's document; ``segments`` is their number, and ``attempts`` that of all of them."""

EXPORT_COLUMNS = EXPORT_HEADER.strip().split(",")

# Written by us: an E.164 number begins with a plus, and no program should have to take an apostrophe off it.
_OUR_OWN = ("recipient", "tracking_number")


def message_document(message: Message) -> dict[str, Any]:
    route = message.route
    return {
        "id": message.id,
        "status": message.status,
        "reason": explain_all(message.reasons),
        "reasons": [reason.document() for reason in message.reasons],
        "source": message.source,
        "recipient": message.recipient,
        "tracking_number": route and route.tracking_number,
        "company_id": route and route.company_id,
        "account_id": route and route.account_id,
        "text": message.text,
        "segments": [
            {
                "position": segment.position,
                "content": segment.content,
                "status": segment.status,
                "attempts": [_attempt_document(attempt) for attempt in segment.attempts],
            }
            for segment in message.segments
        ],
        "opportunity_id": message.opportunity_id,
        "sender_id": message.sender_id,
        "seller_id": message.seller_id,
        "seller": message.seller,
        "team_id": message.team_id,
        "received_at": instant(message.received_at),
        "sent_at": instant(message.sent_at),
        "conversation_id": message.conversation_id,
    }


def _attempt_document(attempt: Attempt) -> dict[str, Any]:
    return {
        "started_at": instant(attempt.started_at),
        "finished_at": instant(attempt.finished_at),
        "outcome": attempt.outcome,
        "http_status": attempt.http_status,
        "detail": attempt.detail,
        "look_at": instant(attempt.look_at),
        "evidence": [{"noted_at": instant(one.noted_at), "detail": one.detail} for one in attempt.evidence],
    }


def export_rows(messages: Iterable[Message]) -> str:
    """A line for each message: formulas have an apostrophe before them, and terminal controls are shown."""
    rows = []
    for message in messages:
        attempts = sum(len(segment.attempts) for segment in message.segments)
        counts = {"segments": len(message.segments), "attempts": attempts}
        document = message_document(message) | counts
        cells = {name: "" if document[name] is None else str(document[name]) for name in EXPORT_COLUMNS}
        rows.append([cell if name in _OUR_OWN else guarded(printable(cell)) for name, cell in cells.items()])
    return lines(rows)
