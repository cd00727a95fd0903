"""Requests to the webhook, and what maps them."""

import json
from collections.abc import Callable

from callrail_relay.domain.account import Limits
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.mapper import (
    MappingPolicy,
    NewSubmission,
    RawSubmission,
    map_webhook,
    new_submission,
)
from callrail_relay.domain.message import Source
from callrail_relay.domain.routing import Routes
from tests.support.factories import RECIPIENT, make_id, make_route
from tests.support.policies import guard_policy


def make_mapper(policy: MappingPolicy | None = None) -> Callable[[RawSubmission], NewSubmission]:
    """What the intake makes of a request to the webhook."""
    known = policy or MappingPolicy(
        routes=Routes(default=make_route()),
        guards=guard_policy(mass_text=Mode.OFF),
        max_characters=140,
        limits=Limits(150, 1000),
    )

    def mapped(raw: RawSubmission) -> NewSubmission:
        drafts = map_webhook(raw.body, content_type=raw.content_type, routes=known.routes)
        return new_submission(raw, Source.WEBHOOK, drafts, known, make_id)

    return mapped


def make_raw(text: str = "Hello", *, to: str = RECIPIENT) -> RawSubmission:
    body = json.dumps({"message": text, "seller_phone": to}).encode()
    return RawSubmission(id=make_id(), body=body, content_type="application/json")
