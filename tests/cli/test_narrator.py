"""What `serve` says on a terminal, and `service logs` of what was logged."""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from callrail_relay.cli.render import Narrator, narrate_log
from callrail_relay.domain import events
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import OutcomeKind
from tests.service.rig import open_rig
from tests.support.factories import ACCOUNT, RECIPIENT

pytestmark = pytest.mark.anyio


def logged(event: events.Event, at: datetime) -> str:
    """The line of the log."""
    known = {"timestamp": at.isoformat(), "action": event.action, "level": event.level}
    return json.dumps(known | vars(event), default=str)


def attempt(outcome: OutcomeKind, status: Status) -> dict[str, object]:
    return {"account_id": ACCOUNT, "position": 1, "outcome": outcome, "http_status": 200, "status": status}


@pytest.mark.parametrize(
    ("event", "fields", "told"),
    [
        (events.AttemptFinished, attempt(OutcomeKind.SENT, Status.SENDING), "Sent part 1 of 2 to {who}"),
        (events.AttemptFinished, attempt(OutcomeKind.UNKNOWN, Status.UNKNOWN), "Unconfirmed: {who}."),
        (events.AttemptFinished, attempt(OutcomeKind.REJECTED, Status.FAILED), "Failed: {who}."),
        (events.AttemptFinished, attempt(OutcomeKind.NOT_SENT, Status.QUEUED), "Not sent yet: {who}"),
        (events.OutcomeFound, {"status": Status.SENT, "detail": ""}, "Confirmed: CallRail has it for {who}"),
        (events.OutcomeFound, {"status": Status.UNKNOWN, "detail": ""}, "Not found at CallRail: {who}."),
        (events.MessageHeld, {"reasons": ("too_old",)}, "On hold: {who}."),
        (events.SentTwice, {}, "Sent twice to {who}"),
        (events.LookupFailed, {"reason": "No answer."}, "Lookup failed: No answer."),
    ],
)
async def test_each_event_of_a_text_names_the_person(
    event: type[events.MessageEvent],
    fields: dict[str, object],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the whole number, which no event has."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept("Hello there. " * 15)
        narrator = Narrator(rig.clock)
        narrator(event(message_id=id_, **fields))
        narrator(None)
        await narrator.run(rig.operations.find)
        line = logged(event(message_id=id_, **fields), rig.clock.now())
        await narrate_log([line], rig.operations.find, rig.clock.now)
        seen = capsys.readouterr()
        await narrate_log([line], None, rig.clock.now)

    number = f"({RECIPIENT[2:5]}) {RECIPIENT[5:8]}-{RECIPIENT[8:]}"
    assert told.format(who=number) in " ".join(seen.err.split())
    assert seen.out == seen.err
    without_store = capsys.readouterr().out
    assert number not in without_store
    assert event.action.replace("_", " ").capitalize() in without_store


async def test_other_events_are_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With their reason; what is for debugging is left out, and a text that isn't stored has only its id."""
    async with open_rig(tmp_path) as rig:
        narrator = Narrator(rig.clock)
        for event in (
            events.AccountPaused(account_id=ACCOUNT, reason="unauthorized"),
            events.AccountPaused(account_id=ACCOUNT, reason="forbidden"),
            events.AccountPaused(account_id=ACCOUNT, reason="firewalled"),
            events.MessageHeld(message_id="not stored", reasons=()),
            events.AttemptStarted(message_id="not stored", account_id=ACCOUNT, position=1),
            events.RequestsRefused(reason="wrong secret", count=3),
            events.PingReceived(),
        ):
            narrator(event)
        narrator(None)
        await narrator.run(rig.operations.find)

    said = re.sub(r"\d+:\d\d [AP]M ", "|", " ".join(capsys.readouterr().err.split()))
    paused, forbidden, firewalled, *others = said.removeprefix("|").split("|")
    assert paused.startswith("Sending is paused. CallRail doesn't recognize the API key (401).")
    for unquoted in (forbidden, firewalled):
        assert "(403). `callrail-relay status` shows its words" in unquoted
    assert ["Message held: text t stored ", "Requests refused: wrong secret ", "Ping received."] == others


async def test_all_other_lines_of_a_log_stay_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of systemd, of libraries, of a damaged file, and what the relay said itself; all can be shown."""
    async with open_rig(tmp_path) as rig:
        now = rig.clock.now()
        said = {"timestamp": (now - timedelta(days=1)).isoformat(), "level": "info", "action": "said"}
        lines = [
            "Started callrail-relay.service.\x1b[2J",
            json.dumps(said | {"words": "Listening at http://127.0.0.1:8787."}),
            json.dumps(said | {"action": "The former settings stay in use: no table"}),
            json.dumps(said | {"action": "attempt_finished"}),
            '{"timestamp": "2026',
            "[1, 2]",
        ]
        await narrate_log(lines, None, rig.clock.now)

    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert [
        "Started callrail-relay.service.\\x1b[2J",
        "Listening at http://127.0.0.1:8787.",
        "The former settings stay in use: no table",
        "attempt_finished",
        lines[-2],
        lines[-1],
    ] == [re.sub(r"^yesterday \d+:\d\d [AP]M  ", "", line.rstrip()) for line in shown.splitlines()]
