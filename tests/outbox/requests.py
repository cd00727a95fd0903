"""Requests to the webhook, and what maps them."""

import json

from callrail_relay.domain.account import Limits
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.mapper import Mapper, MappingPolicy, RawSubmission
from callrail_relay.domain.routing import Routes
from tests.support.factories import RECIPIENT, make_id, make_route
from tests.support.policies import guard_policy


def make_mapper() -> Mapper:
    policy = MappingPolicy(
        routes=Routes(default=make_route()),
        guards=guard_policy(mass_text=Mode.OFF),
        max_characters=140,
        limits=Limits(150, 1000),
    )
    return Mapper(policy, make_id)


def make_raw(text: str = "Hello", *, to: str = RECIPIENT) -> RawSubmission:
    body = json.dumps({"message": text, "seller_phone": to}).encode()
    return RawSubmission(id=make_id(), body=body, content_type="application/json")
