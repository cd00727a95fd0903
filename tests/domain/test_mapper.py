"""Requests to the webhook, mapped."""

import json

from callrail_relay.domain.mapper import RawSubmission
from tests.outbox.requests import make_mapper
from tests.support.factories import RECIPIENT, make_id, make_route


def make_raw(body: bytes) -> RawSubmission:
    return RawSubmission(id=make_id(), body=body, content_type="application/json")


def test_a_request_becomes_messages() -> None:
    """With its id and its body."""
    raw = make_raw(json.dumps({"message": "Hello", "seller_phone": RECIPIENT}).encode())

    submission = make_mapper()(raw)

    assert (raw.id, raw.body) == (submission.id, submission.body)
    [message] = submission.messages
    assert ("Hello", RECIPIENT, make_route()) == (
        message.draft.text,
        message.draft.recipient,
        message.draft.route,
    )
