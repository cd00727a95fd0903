"""Messages as programs read them: the keys of the contract, instants in UTC."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from callrail_relay.cli.messages import message_document
from callrail_relay.domain.message import Attempt, Evidence, Message, Reason, Segment, Source, Status
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.routing import Route
from callrail_relay.sentences import explain_all

NOW = datetime(2026, 3, 2, 15, 0, 0, 123456, tzinfo=UTC)
TOLD = "2026-03-02T15:00:00.123Z"

BARE = Message(id="M1", submission_id="S1", status=Status.HELD, source=Source.WEBHOOK, received_at=NOW)
ATTEMPT = Attempt(
    started_at=NOW, finished_at=NOW, outcome=OutcomeKind.RATE_LIMITED, http_status=429, detail="too many"
)
WHOLE = replace(
    BARE,
    status=Status.SENT,
    reasons=(Reason("sent_twice"), Reason("too_old", {"max_age_seconds": 7200.0})),
    recipient="+12025550122",
    text="Hello",
    route=Route("ACC1", "COM1", "+12025550133"),
    segments=(Segment(position=1, content="Hello", status=Status.SENT, attempts=(ATTEMPT,)),),
    opportunity_id="1",
    sender_id="2",
    seller_id="3",
    seller="Pat Example",
    team_id="4",
    sent_at=NOW,
    conversation_id="CON1",
)

KEYS = [
    *(
        "id",
        "status",
        "reason",
        "reasons",
        "source",
        "recipient",
        "tracking_number",
        "company_id",
        "account_id",
    ),
    *("text", "segments", "opportunity_id", "sender_id", "seller_id", "seller", "team_id"),
    *("received_at", "sent_at", "conversation_id"),
]


def attempt_document(attempt: Attempt) -> dict[str, Any]:
    message = replace(WHOLE, segments=(replace(WHOLE.segments[0], attempts=(attempt,)),))
    [segment] = message_document(message)["segments"]
    [document] = segment["attempts"]
    return dict(document)


def test_a_document_holds_all_that_is_known() -> None:
    """Under the names of the contract, in its order."""
    assert {
        "id": "M1",
        "status": "sent",
        "reason": (
            "CallRail accepted this message twice: the first try arrived after all. Tell the person if it "
            "matters. Waited more than 2 hours. Still want to send it? Approve it or cancel it."
        ),
        "reasons": [
            {"code": "sent_twice", "parameters": {}},
            {"code": "too_old", "parameters": {"max_age_seconds": 7200.0}},
        ],
        "source": "webhook",
        "recipient": "+12025550122",
        "tracking_number": "+12025550133",
        "company_id": "COM1",
        "account_id": "ACC1",
        "text": "Hello",
        "segments": message_document(WHOLE)["segments"],
        "opportunity_id": "1",
        "sender_id": "2",
        "seller_id": "3",
        "seller": "Pat Example",
        "team_id": "4",
        "received_at": TOLD,
        "sent_at": TOLD,
        "conversation_id": "CON1",
    } == message_document(WHOLE)


@pytest.mark.parametrize("message", [BARE, WHOLE], ids=["bare", "whole"])
def test_a_document_has_exactly_the_keys_of_the_contract(message: Message) -> None:
    """What is not known is null, not absent."""
    assert KEYS == list(message_document(message))


def test_a_segment_and_its_attempts_have_the_keys_of_the_contract() -> None:
    """What was learned of an attempt afterwards comes after them."""
    segment = message_document(WHOLE)["segments"][0]
    (attempt,) = segment["attempts"]

    assert ["position", "content", "status", "attempts"] == list(segment)
    assert ["started_at", "finished_at", "outcome", "http_status", "detail"] == list(attempt)[:5]
    assert [TOLD, TOLD, "RateLimited", 429, "too many"] == list(attempt.values())[:5]


def test_an_attempt_tells_what_was_learnt_of_it_afterwards() -> None:
    """And when its outcome is looked up next."""
    learnt = replace(ATTEMPT, next_lookup_at=NOW, evidence=(Evidence(noted_at=NOW, detail="Not there yet."),))

    assert {"next_lookup_at": TOLD, "evidence": [{"noted_at": TOLD, "detail": "Not there yet."}]} == {
        key: value for key, value in attempt_document(learnt).items() if key in ("next_lookup_at", "evidence")
    }


def test_an_attempt_under_way_has_no_outcome_yet() -> None:
    """Three nulls."""
    under_way = Attempt(started_at=NOW, finished_at=None, outcome=None, http_status=None, detail=None)

    assert [None, None, None] == [
        attempt_document(under_way)[key] for key in ("finished_at", "outcome", "detail")
    ]


def test_a_document_is_json() -> None:
    """Statuses and outcomes are written as their words."""
    document = json.loads(json.dumps(message_document(WHOLE)))

    assert ("sent", "webhook") == (document["status"], document["source"])


def test_a_message_without_reasons_has_none_to_tell() -> None:
    """Null, and not an empty text."""
    assert explain_all(BARE.reasons) is None
    assert [] == message_document(BARE)["reasons"]
    assert message_document(BARE)["reason"] is None


@pytest.mark.parametrize("status", Status)
def test_a_reason_says_what_to_do_while_something_can_be_done(status: Status) -> None:
    """A canceled text can't be approved, and neither can one that another system sends."""
    told = message_document(
        replace(BARE, status=status, reasons=(Reason("merge_tag", {"placeholder": "{x}"}),))
    )

    assert told["reason"].startswith("This message has an unfilled placeholder: {x}.")
    assert (status not in (Status.CANCELLED, Status.SHADOW)) == ("approve it" in told["reason"])
