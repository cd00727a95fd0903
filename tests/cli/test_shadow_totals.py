"""The totals of the report in a sentence that an owner understands."""

from dataclasses import replace
from datetime import timedelta

import pytest

from callrail_relay.cli.shadow import _print_report
from callrail_relay.domain.message import Message, Reason, Source, Status
from callrail_relay.domain.shadow import Compared, Finding, ShadowReport
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
                "15 texts in 6 days. The Zap lost 3, duplicated 1 and sent 9 more than a minute late."
                " The relay would have held 2."
            ),
        ),
        ([RIGHT], "1 text in 6 days. The Zap made no mistakes. The relay would have held none."),
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


def test_each_text_that_did_not_come_out_right_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With its findings, and by how long it was late; what came out right has none."""
    late = replace(LATE, sent_at=START + timedelta(minutes=4), findings=(Finding.LATE, Finding.DOUBLED))
    requests = {"forwarded": 1, "refused": 2, "unknown": 0, "waiting": 1}
    found = (RIGHT, late, replace(HELD, text=replace(HELD.text, text="Hi {{x}}")))
    report = ShadowReport(since=START, until=START + timedelta(days=1), requests=requests, texts=found)

    _print_report(report, timedelta(minutes=1))

    _, refused, waiting, *lines = capsys.readouterr().out.splitlines()
    assert ("rejected 2 requests" in refused, "1 request not passed on" in waiting) == (True, True)
    assert 4 == len(lines)
    assert lines[0].endswith("late by 4 minutes; doubled")
    assert lines[2].endswith("would hold: merge_tag")
    assert "    Hi {{x}}" == lines[3]
