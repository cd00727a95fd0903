"""The totals of the report in a sentence that an owner understands."""

from dataclasses import replace
from datetime import timedelta

import pytest

from callrail_relay.domain.message import Message, Reason, Source, Status
from callrail_relay.domain.shadow_report import Compared, Finding, ShadowReport
from callrail_relay.sentences import totals
from tests.support.clock import START
from tests.support.factories import RECIPIENT, make_route

TEXT = Message(
    id="1",
    submission_id="1",
    status=Status.SHADOW,
    source=Source.WEBHOOK,
    received_at=START,
    recipient=RECIPIENT,
    text="Hi",
    route=make_route(),
)
RIGHT = Compared(TEXT, START)
LATE = replace(RIGHT, findings=(Finding.LATE,))
LOST = Compared(TEXT, findings=(Finding.MISSING,))
HELD = replace(RIGHT, text=replace(TEXT, reasons=(Reason("merge_tag"),)))
DOUBLED = replace(RIGHT, findings=(Finding.DOUBLED,))
PENDING = Compared(TEXT, findings=(Finding.PENDING,))
UNREAD = Compared(TEXT)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "No texts came in shadow mode in that time."),
        (
            [LOST] * 3 + [DOUBLED] + [LATE] * 9 + [HELD] * 2,
            (
                "15 texts in 6 days. The Zap lost 3, doubled 1 and sent 9 more than a minute late."
                " The relay would have held 2."
            ),
        ),
        ([RIGHT], "1 text in 6 days. The Zap made no mistake. The relay would have held none."),
        (
            [RIGHT, PENDING],
            (
                "2 texts in 6 days. The Zap sent the others as they came. CallRail doesn't show 1 yet."
                " The relay would have held none."
            ),
        ),
        (
            [UNREAD, UNREAD],
            "2 texts in 6 days. What the Zap did isn't known yet. The relay would have held none.",
        ),
        (
            [LOST, UNREAD],
            "2 texts in 6 days. The Zap lost 1. 1 can't be compared. The relay would have held none.",
        ),
    ],
)
def test_the_totals_claim_no_more_than_is_known(texts: list[Compared], said: str) -> None:
    """One sentence for what the Zap did, one for the relay."""
    report = ShadowReport(since=START, until=START + timedelta(days=6), requests={}, texts=tuple(texts))

    assert said == totals(report, timedelta(minutes=1))
