"""Requests to the webhook, mapped."""

import json

from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.mapper import RawSubmission, is_ping
from callrail_relay.domain.payload import read_request
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


@given(
    st.sampled_from([b"", b" ", b"{}", b" {}\n", b"[]"]) | st.binary(max_size=8), st.sampled_from(["", "a=1"])
)
def test_what_is_plainly_a_ping_is_one(body: bytes, query: str) -> None:
    """The quick answer is never another one than that of reading all of it."""
    if is_ping(body, query):
        assert [] == read_request(body, content_type=None, query=query)


def test_a_ping_is_plain() -> None:
    """The pings that people send are known without reading."""
    assert all(is_ping(body, "") for body in (b"", b"{}", b" {}\r\n"))
