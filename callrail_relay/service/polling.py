"""Looking into CallRail's conversations for replies, where its webhooks cannot reach."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from callrail_relay.clock import Clock
from callrail_relay.domain.events import EventHook, RepliesNotRead, ignore
from callrail_relay.domain.inbound import DuePoll, PollPolicy, SeenReplies, WitnessPolicy
from callrail_relay.outbox.store import Outbox
from callrail_relay.service.background import Repeating
from callrail_relay.service.replies import tell_noted


class ReplyReader(Protocol):
    """What reads replies. It changes nothing at CallRail, and a fault is part of its answer."""

    async def find_replies(self, account_id: str, company_id: str, *, since: datetime) -> SeenReplies: ...


class Polling(Repeating):
    """Looks for the replies of each company in turn; of several nodes one looks."""

    def __init__(
        self,
        outbox: Outbox,
        reader: ReplyReader,
        policy: PollPolicy,
        witness: WitnessPolicy,
        *,
        clock: Clock,
        hook: EventHook = ignore,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        """*heard* is called when there was a new reply: it may let texts leave, and is to be passed on."""
        super().__init__(clock, hook)
        self._outbox = outbox
        self._reader = reader
        self._policy = policy
        self._witness = witness
        self._heard = heard

    async def turn(self) -> datetime:
        # Read first: nothing is written to disk just to learn that nothing is due.
        while (due_at := await self._outbox.next_poll(self._policy)) <= await self._outbox.now():
            due = await self._outbox.claim_poll(self._policy)
            if due is None:
                # Another node came first, or the requests of this hour are used.
                return await self._outbox.now() + self.look
            await self._look(due)
        return due_at

    async def _look(self, due: DuePoll) -> None:
        seen = await self._reader.find_replies(due.account_id, due.company_id, since=due.since)
        # What was read before a fault is heeded as well: it may hold a STOP.
        for texts in seen.conversations:
            for noted in await self._outbox.note_seen(texts, self._witness):
                if noted.is_new:
                    tell_noted(self._hook, noted)
                    self._heard()
        await self._outbox.end_poll(due.id, seen.requests, well=seen.fault is None)
        if seen.fault is not None:
            self._hook(RepliesNotRead(account_id=due.account_id, reason=seen.fault))
