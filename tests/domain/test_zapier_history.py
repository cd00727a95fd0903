"""Zapier's task history: what it shows as sent is not sent again unseen, and what is old is known as old."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from callrail_relay.domain.mapper import map_saved
from callrail_relay.domain.payload import Payload
from callrail_relay.domain.routing import Routes
from callrail_relay.domain.saved import read_saved
from tests.support.factories import make_route
from tests.support.policies import guard_policy

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
TEXT = {"message": "Hi Dana", "seller_phone": "+12025550122", "team_id": 42}
CSV = (
    "Task ID,Zap,Status,Timestamp,1. Message,1. Seller Phone,2. Content\n"
    'a1,IF3,success,2026-11-23T14:50:00Z,"Hi Dana, it\'s me",+12025550122,x\n'
    "a2,IF3,held,2026-11-23T14:55:00Z,Hi Pat,+12025550123,\n"
    "a3,IF3,error,2026-11-20 08:00:00,Hi Lee,+12025550124,\n"
)


def codes(document: str | bytes) -> list[tuple[str | None, list[str]]]:
    raw = document.encode() if isinstance(document, str) else document
    saved = map_saved(raw, Routes(default=make_route()), now=NOW, policy=guard_policy())
    return [(one.text, [reason.code for reason in one.reasons]) for one in saved.drafts]


def test_a_csv_file_is_read_with_its_times() -> None:
    """Sent, held and old: only the second would be sent."""
    assert [
        ("Hi Dana, it's me", ["sent_by_zapier"]),
        ("Hi Pat", []),
        ("Hi Lee", ["too_old"]),
    ] == codes(CSV)
    [first, *_] = read_saved(CSV.encode())
    assert isinstance(first, Payload)
    assert NOW - timedelta(minutes=10) == first.came_at


@pytest.mark.parametrize(
    "run",
    [
        {"status": "success", "date": "2026-11-23T14:00:00Z", "input": TEXT},
        {
            "state": "Success",
            "created_at": 1795442400,
            "steps": [{"output": TEXT}, {"input": {"content": "x"}}],
        },
        {"status": "success", "timestamp": "11/23/2026 2:00 PM", "data": json.dumps({"body": TEXT})},
        {"status": "success", "date": "2026-11-23 14:00", "data": json.dumps(TEXT)},
        {"status": "success", "date": "2026-11-23 14:00", **TEXT},
    ],
)
def test_a_run_is_found_wherever_its_text_is(run: dict[str, object]) -> None:
    """In a list, in an object of results, or alone; an unsuccessful one is a text as any other."""
    failed = {**run, "status": "halted", "state": "halted"}
    for document in ([run, failed], {"results": [run, failed]}):
        assert [("Hi Dana", ["sent_by_zapier"]), ("Hi Dana", [])] == codes(json.dumps(document))
    lines = "\n".join(json.dumps(one) for one in (run, failed))
    assert [("Hi Dana", ["sent_by_zapier"]), ("Hi Dana", [])] == codes(lines)


def test_a_time_that_cannot_be_read_does_no_harm() -> None:
    """The text is read without its age."""
    assert [("Hi Dana", ["sent_by_zapier"])] == codes(
        json.dumps({"status": "success", "date": "soon", **TEXT})
    )


def test_a_run_without_a_text_is_said_to_have_none() -> None:
    """Nothing else in it is taken for one."""
    saved = map_saved(
        json.dumps({"status": "success", "date": "2026-11-23", "input": {"a": 1}}).encode(),
        Routes(default=make_route()),
    )
    assert (0, ["not_a_payload"]) == (len(saved.drafts), [one.code for one in saved.skipped])
