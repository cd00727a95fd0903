"""
Settling attempts whose outcome nobody knows.

An attempt that was under way when its process died has left a record and no
outcome: it may have reached CallRail. It is settled as unknown, shown to a
person, and never sent again by itself.
"""

from datetime import timedelta
from random import Random

from callrail_relay.domain.events import AttemptFinished, EventHook
from callrail_relay.domain.standing import Recorded
from callrail_relay.outbox.store import Outbox


async def settle_abandoned(
    outbox: Outbox, *, node: str | None, interval: timedelta, random: Random, hook: EventHook
) -> None:
    """
    Settle every attempt whose lease ran out, and at the start of *node* each one that it left open.

    Raises Unavailable.
    """
    for recorded in await outbox.settle_abandoned(node=node, interval=interval, random=random):
        hook(attempt_finished(recorded))


def attempt_finished(recorded: Recorded) -> AttemptFinished:
    return AttemptFinished(
        message_id=recorded.message_id,
        account_id=recorded.account.id,
        position=recorded.position,
        outcome=recorded.outcome.kind,
        http_status=recorded.outcome.http_status,
        status=recorded.status,
    )
