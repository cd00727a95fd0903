"""Delivers certain messages now, and reports how they ended."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from callrail_relay import errors
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.message import OPEN, Attempt, Message, Status
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.retry import NO_ANSWER, UNREACHABLE
from callrail_relay.sentences import explain_all
from callrail_relay.service import sentence
from callrail_relay.service.delivery import TaskGroup
from callrail_relay.service.operations import Operations

LOOK = timedelta(seconds=0.1)
"""The shortest time between two looks at the messages; after a long wait it is a twentieth of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    message: Message
    fault: errors.RelayError | None = None  # why it wasn't sent in time

    @property
    def exit_code(self) -> int:
        return 0 if self.fault is None else self.fault.exit_code


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
            messages = await _read(operations, message_ids)
            now = clock.now()
            ended = sum(_ended(one, status, deadline) for one, status in messages)
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
    messages = await _read(operations, message_ids)
    return [DeliveryResult(message=one, fault=_fault(one, status)) for one, status in messages]


async def _read(
    operations: Operations, message_ids: Sequence[str]
) -> list[tuple[Message, AccountStatus | None]]:
    found = {one.id: one for one in await operations.find(*message_ids)}
    messages = [found[id_] for id_ in message_ids]
    statuses = {one.account.id: one for one in await operations.account_statuses()}
    return [(one, statuses.get(one.route.account_id) if one.route else None) for one in messages]


def _ended(message: Message, status: AccountStatus | None, deadline: datetime) -> bool:
    """Whether a message is done, or certainly can't be sent before *deadline*."""
    if message.status is Status.UNKNOWN:
        looks = [attempt.next_lookup_at for segment in message.segments for attempt in segment.attempts]
        return all(next_lookup_at is None or next_lookup_at > deadline for next_lookup_at in looks)
    if message.status not in OPEN:
        return True
    if any(segment.status is Status.SENDING for segment in message.segments):
        return False
    if status is None or status.account.paused_since is not None:
        return True
    frees = (status.account.wait_until, status.hour.free_at, status.day.free_at)
    return any(free_at is not None and free_at > deadline for free_at in frees)


def _fault(message: Message, status: AccountStatus | None) -> errors.RelayError | None:
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
            return _still_waiting(message, status)


def _still_waiting(message: Message, status: AccountStatus | None) -> errors.RelayError:
    """Return why an open message isn't sent now: by its account, then by its own latest attempt."""
    attempts = [attempt for segment in message.segments for attempt in segment.attempts]
    latest = attempts[-1] if attempts else None
    why = explain_all(message.reasons) or "Others are ahead of it."
    later = sentence("queued", why=why)
    if status is not None and status.account.paused_since is not None:
        if latest is not None and latest.http_status in (401, 403):
            return errors.RefusedByCallRail(f"{why} The message stays queued.")
        return errors.Waiting(later)
    if status is not None and _is_unreachable(status, latest):
        detail = f" {latest.detail}" if latest is not None else ""
        return errors.Unavailable(sentence("unreachable", detail=detail))
    return errors.Waiting(f"{later} `callrail-relay serve` sends it.")


def _is_unreachable(status: AccountStatus, latest: Attempt | None) -> bool:
    if status.account.wait_until is not None:
        return status.account.wait_reason in (UNREACHABLE, NO_ANSWER)
    full = status.hour.free_at is not None or status.day.free_at is not None
    return not full and latest is not None and latest.outcome is OutcomeKind.NOT_SENT
