"""Messages as rows."""

import csv
import io
from dataclasses import replace

from callrail_relay.cli.messages import EXPORT_COLUMNS, EXPORT_HEADER, export_rows
from callrail_relay.domain.message import Attempt, Message, Reason, Segment, Source, Status
from tests.support.clock import START
from tests.support.factories import RECIPIENT, make_route

ATTEMPT = Attempt(started_at=START, finished_at=None, outcome=None, http_status=None, detail=None)
MESSAGE = Message(
    id="m-1",
    submission_id="s-1",
    status=Status.HELD,
    source=Source.WEBHOOK,
    received_at=START,
    reasons=(Reason("opt_out"),),
    recipient=RECIPIENT,
    text='=HYPERLINK("http://example.com";"Hi")',
    route=make_route(),
    segments=(Segment(position=1, content="Hi", status=Status.SENT, attempts=(ATTEMPT, ATTEMPT)),),
    seller="Dana, of 12 Oak St",
)


def read(*messages: Message) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(EXPORT_HEADER + export_rows(messages), newline="")))


def test_a_row_has_a_cell_for_each_key() -> None:
    """Segments and attempts are counted; phone numbers stay as they are, for the programs that read them."""
    [row] = read(MESSAGE)

    assert EXPORT_COLUMNS == list(row)
    assert {
        "recipient": RECIPIENT,
        "tracking_number": "+12025550133",
        "segments": "1",
        "attempts": "2",
        "seller": "Dana, of 12 Oak St",
        "received_at": "2026-03-02T15:00:00.000Z",
        "sent_at": "",
        "reason": "This person opted out. You can't text them from this number until they reply START or "
        "you remove the opt-out.",
    }.items() <= row.items()


def test_words_are_no_formula() -> None:
    """What a person wrote runs nothing in the spreadsheet that opens it."""
    formulas = replace(MESSAGE, seller="@SUM(1)", opportunity_id="+1", sender_id="-2", text="\t=1")

    [first, second] = read(MESSAGE, formulas)

    assert '\'=HYPERLINK("http://example.com";"Hi")' == first["text"]
    assert ["'@SUM(1)", "'+1", "'-2", "'\t'=1"] == [
        second[name] for name in ("seller", "opportunity_id", "sender_id", "text")
    ]
