"""Mapping by a policy: never failing, and the same in whatever process it is done."""

import json
from datetime import time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain import mapper as mapper_module
from callrail_relay.domain.account import Limits
from callrail_relay.domain.guards import GuardPolicy, Mode
from callrail_relay.domain.mapper import Mapper, MappingPolicy, RawSubmission, is_ping
from callrail_relay.domain.payload import read_request
from callrail_relay.domain.routing import Route, RouteRule, Routes
from callrail_relay.sentences import explain
from tests.support.factories import RECIPIENT, make_id, make_route
from tests.support.policies import guard_policy

ROUTES = st.builds(Route, st.text(), st.text(), st.text())
POLICIES = st.builds(
    MappingPolicy,
    routes=st.builds(
        Routes,
        st.lists(st.builds(RouteRule, ROUTES, st.none() | st.text(), st.none() | st.text()), max_size=3).map(
            tuple
        ),
        st.none() | ROUTES,
    ),
    guards=st.builds(
        GuardPolicy,
        duplicate=st.sampled_from(Mode),
        quiet_hours=st.sampled_from(Mode),
        max_age=st.timedeltas(timedelta(), timedelta(days=30)),
        quiet_start=st.builds(time, st.integers(0, 23), st.integers(0, 59)),
        quiet_zone=st.none() | st.just("America/Denver"),
    ),
    max_characters=st.integers(1, 1530),
    limits=st.builds(Limits, st.integers(0, 1000), st.integers(0, 10_000)),
)


def make_mapper(policy: MappingPolicy | None = None) -> Mapper:
    return Mapper(
        policy
        or MappingPolicy(
            routes=Routes(default=make_route()),
            guards=guard_policy(),
            max_characters=140,
            limits=Limits(150, 1000),
        ),
        make_id,
    )


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


@pytest.mark.parametrize("step", ["read_request", "map_entry", "split_text"])
def test_a_fault_of_our_own_is_held(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it happens: the request is kept, and a person sees it; its words are in no reason."""
    working = getattr(mapper_module, step)
    failures = iter([True])

    def breaks_once(*args: object, **kwargs: object) -> object:
        if next(failures, False):
            raise KeyError("secret words")
        return working(*args, **kwargs)

    monkeypatch.setattr(mapper_module, step, breaks_once)
    raw = make_raw(json.dumps({"message": "Hello", "seller_phone": RECIPIENT}).encode())

    [message] = make_mapper()(raw).messages

    [reason] = message.verdict.holds
    assert "internal" == reason.code
    assert "KeyError" in explain(reason)
    assert "secret" not in explain(reason)


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
