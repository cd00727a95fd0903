"""
One sentence that says whether all is well.
"""

from dataclasses import replace

import pytest

from callrail_relay.domain.budget import Window
from callrail_relay.domain.message import Status
from callrail_relay.domain.standing import Standing
from callrail_relay.service.operations import StatusReport
from callrail_relay.service.summary import summary
from tests.support.clock import START
from tests.support.factories import make_account

WELL = Standing(account=make_account(), hour=Window(0, 150), day=Window(0, 1000), pending=0, drains_at=None)
NONE = dict.fromkeys(Status, 0)
PAUSED = replace(WELL, account=make_account().paused(START, "Lunch."))
WAITS = replace(WELL, account=make_account().waiting(START, START, "CallRail's rate limit is reached."))
FULL = replace(WELL, hour=Window(150, 150, START), pending=3)


def said(*standings: Standing, held: int = 0, unknown: int = 0, releasing: int = 0) -> str:
    counts = NONE | {Status.HELD: held, Status.UNKNOWN: unknown}
    return summary(StatusReport(standings=standings, counts=counts, releasing=releasing))


@pytest.mark.parametrize(
    ("sentence", "begin"),
    [
        (said(), "Nothing is set up yet"),
        (said(WELL), "All is well."),
        (said(PAUSED, WAITS, held=1), "Paused: nothing leaves from one account"),
        (said(PAUSED, PAUSED), "Paused: nothing leaves from 2 accounts"),
        (said(WAITS, held=1), "Nothing leaves from one account for the moment"),
        (said(WELL, held=1), "1 held text waits for your word."),
        (said(WELL, held=2, unknown=1), "2 held and 1 unknown texts wait for your word."),
        (said(WELL, held=2, releasing=2), "All is well."),
        (said(WELL, held=2, releasing=1), "1 held text waits"),
        (said(FULL), "All is well; the texts that wait leave"),
        (said(replace(FULL, pending=0)), "All is well."),
    ],
)
def test_what_matters_most_is_said(sentence: str, begin: str) -> None:
    assert sentence.startswith(begin)
