"""Passing replies on: IF3 has no way in for them."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from callrail_relay.clock import Clock
from callrail_relay.domain.events import EventHook, ForwardFailed, ReplyForwarded, ignore
from callrail_relay.domain.inbound import Forward
from callrail_relay.outbox.store import Outbox
from callrail_relay.service.background import Repeating

LEASE = timedelta(minutes=5)
"""Longer than all channels may take: after it another node passes the reply on."""


class ForwardChannels(Protocol):
    """Where replies go. Each channel may be told again; what it does with that is its own affair."""

    @property
    def names(self) -> Sequence[str]: ...

    async def pass_on(self, title: str, words: str, names: Collection[str]) -> list[str]: ...


class Forwarding(Repeating):
    """Passes each reply on to every channel, at least once: a crash in between does it again."""

    def __init__(
        self, outbox: Outbox, channels: ForwardChannels, *, clock: Clock, hook: EventHook = ignore
    ) -> None:
        super().__init__(clock, hook)
        self._outbox = outbox
        self._channels = channels
        # Of a reply that some channels took: those that did not. Forgotten with this process.
        self._left: dict[str, list[str]] = {}

    async def turn(self) -> datetime | None:
        # Read first: nothing is written to disk just to learn that nothing is due.
        while (due_at := await self._outbox.next_forward()) is not None:
            if due_at > await self._outbox.now():
                break
            forward = await self._outbox.claim_forward(LEASE)
            if forward is None:
                break
            await self._pass_on(forward)
        return due_at

    async def _pass_on(self, forward: Forward) -> None:
        names = self._left.pop(forward.resource_id, [*self._channels.names])
        failed = await self._channels.pass_on(forward.title, forward.words, names)
        if not failed:
            await self._outbox.end_forward(forward.resource_id, None)
            self._hook(ReplyForwarded(resource_id=forward.resource_id))
            return
        retry_at = forward.retry_at(await self._outbox.now())
        if retry_at is not None:
            self._left[forward.resource_id] = failed
        await self._outbox.end_forward(forward.resource_id, retry_at)
        self._hook(
            ForwardFailed(
                resource_id=forward.resource_id,
                channels=tuple(failed),
                tries=forward.tries,
                retry_at=retry_at,
            )
        )
