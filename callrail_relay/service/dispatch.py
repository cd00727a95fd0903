"""Delivers certain messages now, and reports how they ended."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from callrail_relay import errors
from callrail_relay.domain.message import OPEN, Message, Reason, Status, read_instant
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.retry import NO_ANSWER, UNREACHABLE
from callrail_relay.sentences import explain_all
from callrail_relay.service import sentence
from callrail_relay.service.delivery import TaskGroup
from callrail_relay.service.operations import Operations

# The shortest time between two looks at the messages; after a long wait it is a twentieth of that.
LOOK = timedelta(seconds=0.1)


class DeliveryResult(NamedTuple):
    message: Message
    fault: errors.RelayError | None  # why it wasn't sent in time


async def deliver(
    operations: Operations,
    worker: TaskGroup,
    message_ids: Sequence[str],
    *,
    timeout: timedelta,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[DeliveryResult]:
    """Deliver until these messages ended, or can't in time; *on_progress* gets how many more did."""
    clock, done = operations.store.clock, 0
    begun = clock.now()
    deadline = begun + timeout
    working = asyncio.create_task(worker.run())
    try:
        while True:
            messages = await operations.find(*message_ids)
            now = clock.now()
            ended = sum(_ended(one, deadline) for one in messages)
            on_progress(ended - done)
            done = ended
            if now >= deadline or ended == len(messages):
                break
            pause = min(max(LOOK, (now - begun) / 20), deadline - now)
            await clock.sleep(pause.total_seconds())
    finally:
        worker.stop()
        await working
    # Read once more: what was in flight has been recorded by now.
    found = {one.id: one for one in await operations.find(*message_ids)}
    return [DeliveryResult(found[id_], _fault(found[id_])) for id_ in message_ids]


def _ended(message: Message, deadline: datetime) -> bool:
    """Whether a message is done, or certainly can't be sent before *deadline*."""
    if message.status is Status.UNKNOWN:
        looks = [attempt.next_lookup_at for segment in message.segments for attempt in segment.attempts]
        return all(next_lookup_at is None or next_lookup_at > deadline for next_lookup_at in looks)
    return message.status not in OPEN or any(_outlasts(reason, deadline) for reason in message.reasons)


def _outlasts(reason: Reason, deadline: datetime) -> bool:
    """Whether what keeps an open message waiting goes on until *deadline*."""
    if reason.code in ("account_waits", "budget"):
        until = read_instant(reason.parameters["until"])
        return until is not None and until > deadline
    return reason.code in ("paused", "foreign_account")


def _fault(message: Message) -> errors.RelayError | None:
    why = explain_all(message.reasons)
    match message.status:
        case Status.SENT:
            return None
        case Status.FAILED:
            return errors.RefusedByCallRail(why or sentence("rejected"))
        case Status.UNKNOWN:
            return errors.OutcomeUnknown(why or sentence("unconfirmed"))
        case Status.HELD:
            return errors.Waiting(sentence("held", why=why))
        case Status.CANCELLED:
            return errors.NotAllowed(sentence("canceled"))
        case _:
            return _still_waiting(message, why or "Its turn hasn't come yet.")


def _still_waiting(message: Message, why: str) -> errors.RelayError:
    """Return why an open message isn't sent now: by its account, then by its own latest attempt."""
    attempts = [attempt for segment in message.segments for attempt in segment.attempts]
    latest = attempts[-1] if attempts else None
    causes = {reason.code: reason.parameters.get("cause", {}) for reason in message.reasons}
    later = sentence("queued", why=why)
    if "paused" in causes:
        if latest is not None and latest.http_status in (401, 403):
            return errors.RefusedByCallRail(f"{why} The message stays queued.")
        return errors.Waiting(later)
    if "account_waits" in causes:
        is_unreachable = causes["account_waits"].get("code") in (UNREACHABLE.code, NO_ANSWER.code)
    else:
        never_left = latest is not None and latest.outcome is OutcomeKind.NOT_SENT
        is_unreachable = never_left and "budget" not in causes
    if is_unreachable:
        detail = f" {latest.detail}" if latest is not None else ""
        return errors.Unavailable(sentence("unreachable", detail=detail))
    return errors.Waiting(f"{later} `callrail-relay serve` sends it.")
