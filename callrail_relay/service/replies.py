"""Replies: what CallRail's webhooks and the poll bring, and passing them on."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from callrail_relay.clock import Clock
from callrail_relay.domain import events
from callrail_relay.domain.events import EventHook, ignore
from callrail_relay.domain.inbound import (
    CallRailText,
    Direction,
    DuePoll,
    Forward,
    InboundPolicy,
    Ingested,
    PollPolicy,
    ReadText,
    SeenReplies,
)
from callrail_relay.domain.opt_keywords import OptKeyword
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import inbound
from callrail_relay.outbox import replies as store_replies
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import PeriodicTask, Refused, uncounted
from callrail_relay.service.reconciliation import tell
from callrail_relay.service.tokens import SigningKeys

SIGNATURE_HEADER = "Signature"

EVENT = "event"
"""The query parameter of the URLs that we register; its values are EVENTS."""

EVENTS = {"received": Direction.IN, "sent": Direction.OUT}


class InboundTexts:
    """Takes texts from webhooks and polls: stored, acted on, and reported."""

    def __init__(
        self,
        store: Store,
        policy: InboundPolicy,
        *,
        hook: EventHook = ignore,
        arrived: Callable[[], None] = lambda: None,
    ) -> None:
        """*arrived* is called after each new text."""
        self._store = store
        self._policy = policy
        self._hook = hook
        self._arrived = arrived

    async def ingest(self, texts: Sequence[CallRailText], hint: Direction | None = None) -> None:
        """Ingest texts of one conversation; *hint* is which way they went if nothing else tells."""
        for ingested in await self._store.write(inbound.ingest, texts, self._policy, hint):
            if ingested.is_new:
                self._report(ingested)
                self._arrived()

    def _report(self, text: Ingested) -> None:
        if text.settled is not None:
            tell(self._hook, text.settled)
        if text.by_others:
            self._hook(events.SentByOthers(resource_id=text.key, account_id=text.account_id))
        if text.direction is Direction.IN:
            self._hook(events.ReplyReceived(resource_id=text.key, account_id=text.account_id))
        if text.opted_out:
            self._hook(events.OptedOut(resource_id=text.key, people=text.opted_out))
        if text.doubted:
            self._hook(events.MaybeOptedOut(resource_id=text.key, people=text.doubted))
        if text.keyword is OptKeyword.STOP and not text.people:
            self._hook(events.OptOutUnplaced(resource_id=text.key))
        if text.opted_in:
            self._hook(events.OptedIn(resource_id=text.key))


class CallRailWebhooks:
    def __init__(
        self,
        texts: InboundTexts,
        *,
        keys: SigningKeys,
        read: ReadText,
        hook: EventHook = ignore,
        refused: Refused = uncounted,
    ) -> None:
        """*refused* gets the reason why a request doesn't count as CallRail's."""
        self._texts = texts
        self._keys = keys
        self._read = read
        self._hook = hook
        self._refused = refused

    async def take(
        self, body: bytes, *, signature: str | None, content_type: str | None, event: str | None = None
    ) -> bool:
        """Take a body; False, and nothing is read, only if CallRail did not sign it. Raises Unavailable."""
        refusal = await self._keys.refusal(body, signature)
        if refusal is not None:
            self._refused(f"{refusal} on CallRail's webhook")
            return False
        try:
            text = self._read(body, content_type)
            if text is None:
                self._hook(events.WebhookNotUnderstood(reason="It has no text."))
            else:
                await self._texts.ingest([text], EVENTS.get(event or ""))
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a refusal would stop CallRail's webhooks
            self._hook(events.WebhookNotUnderstood(reason=type(error).__name__))
        return True


LEASE = timedelta(minutes=5)
"""Longer than all channels may take: after it another node passes the reply on."""


class ForwardChannels(Protocol):
    """Where replies go. Each channel may get the same reply again."""

    @property
    def names(self) -> Sequence[str]: ...

    async def pass_on(self, title: str, words: str, names: Collection[str]) -> list[str]: ...


class Forwarding(PeriodicTask):
    """Passes each reply on to every channel, at least once: a crash in between does it again."""

    def __init__(
        self, store: Store, channels: ForwardChannels, *, clock: Clock, hook: EventHook = ignore
    ) -> None:
        super().__init__(store, clock=clock, hook=hook)
        self._channels = channels
        # Of a reply that some channels took: those that did not. Not kept after a restart.
        self._left: dict[str, list[str]] = {}

    async def turn(self) -> datetime | None:
        # Read first: nothing is written to disk just to learn that nothing is due.
        while (due_at := await self._store.read(store_replies.next_forward)) is not None:
            if due_at > await self._store.now():
                break
            if (forward := await self._store.write(store_replies.claim_forward, LEASE)) is None:
                break
            await self._pass_on(forward)
        return due_at

    async def _pass_on(self, forward: Forward) -> None:
        id_ = forward.resource_id
        names = self._left.pop(id_, [*self._channels.names])
        failed = await self._channels.pass_on(forward.title, forward.words, names)
        retry_at = forward.retry_at(await self._store.now()) if failed else None
        if retry_at is not None:
            self._left[id_] = failed
        await self._store.write(store_replies.end_forward, id_, retry_at)
        if failed:
            channels, tries = tuple(failed), forward.tries
            self._hook(
                events.ForwardFailed(resource_id=id_, channels=channels, tries=tries, retry_at=retry_at)
            )
        else:
            self._hook(events.ReplyForwarded(resource_id=id_))


class ReplyReader(Protocol):
    """Reads replies. It changes nothing at CallRail, and a fault is part of its answer."""

    async def find_replies(self, account_id: str, company_id: str, *, since: datetime) -> SeenReplies: ...


FIRST_POLL_WITHIN = timedelta(minutes=2)
"""How long texts wait for the first poll of a run; then they are sent without it."""

FIRST_RETRY = timedelta(seconds=10)
"""How soon a poll that failed is made again while texts wait for it."""

COMMAND_WAITS = 10.0
"""Seconds that a command takes to poll before it sends by itself."""


class Polling(PeriodicTask):
    """
    Reads replies from CallRail's conversations at the start and every ``poll_every``; one of the nodes does.

    An account's texts wait for its first poll: people may have opted out while the relay was off.
    """

    def __init__(
        self,
        store: Store,
        reader: ReplyReader,
        policy: PollPolicy,
        texts: InboundTexts,
        *,
        clock: Clock,
        hook: EventHook = ignore,
        opened: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        """*opened* is called with accounts whose texts may be sent from now on."""
        super().__init__(store, clock=clock, hook=hook)
        self._reader = reader
        self._policy = policy
        self._texts = texts
        self._opened = opened
        self._closed = policy.accounts
        self._began: datetime | None = None

    async def run(self) -> None:
        late = asyncio.create_task(self._open_late())
        try:
            await super().run()
        finally:
            late.cancel()

    async def turn(self) -> datetime:
        try:
            return await self._poll_due()
        except Unavailable:
            # The store may not know that a poll ended: texts wait for another one, not for its lease.
            self._began = None
            raise

    async def _poll_due(self) -> datetime:
        if self._began is None:
            self._began = await self._store.now()
        policy = self._policy
        if self._closed:
            policy = replace(policy, not_before=self._began, retry=FIRST_RETRY)
        # Read first: nothing is written to disk just to learn that nothing is due.
        while (due_at := await self._store.read(store_replies.next_poll, policy)) <= (
            now := await self._store.now()
        ):
            if policy.not_before is not None and policy.not_before > now:
                # The clock was set back: no poll would count before the old time has come again.
                self._began = now
                policy = replace(policy, not_before=now)
                continue
            due = await self._store.write(store_replies.claim_poll, policy)
            if due is None:
                # Another node came first, or the requests of this hour are used.
                due_at = await self._store.now() + self.look
                break
            await self._poll(due)
        if self._closed:
            self._open(self._closed & await self._polled(policy))
        # While texts wait for the poll of another node, its end is not to be missed.
        return min(due_at, await self._store.now() + FIRST_RETRY / 10) if self._closed else due_at

    async def poll_now(self) -> bool:
        """Poll unless that was done within ``poll_every``; False if not all replies could be read in time."""
        not_before = await self._store.now() - self._policy.every
        policy = replace(self._policy, not_before=not_before, retry=FIRST_RETRY)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMAND_WAITS):
                while (due := await self._store.write(store_replies.claim_poll, policy)) is not None:
                    await self._poll(due)
        return self._policy.accounts <= await self._polled(policy)

    async def _poll(self, due: DuePoll) -> None:
        requests = 1
        fault: str | None = "The poll was broken off."
        try:
            seen = await self._reader.find_replies(due.account_id, due.company_id, since=due.since)
            requests = seen.requests
            # What was read before a fault counts as well: it may hold a STOP.
            for texts in seen.conversations:
                await self._texts.ingest(texts)
            fault = seen.fault
        finally:
            # Also when this run ends, so that another one polls at once.
            await self._store.write(store_replies.end_poll, due.id, requests, well=fault is None)
        if fault is not None:
            self._hook(events.RepliesNotRead(account_id=due.account_id, reason=fault))

    async def _polled(self, policy: PollPolicy) -> frozenset[str]:
        """The accounts that were polled since ``not_before``, here or by another node."""
        polled, since = await self._store.read(store_replies.last_polls, policy), policy.not_before
        return frozenset(one for one, at in polled.items() if since is None or at >= since)

    def _open(self, account_ids: frozenset[str]) -> None:
        if account_ids:
            self._closed -= account_ids
            self._opened(account_ids)

    async def _open_late(self) -> None:
        await self._clock.sleep(FIRST_POLL_WITHIN.total_seconds())
        unpolled = sorted(self._closed)
        self._open(self._closed)
        for account_id in unpolled:
            self._hook(events.SendingUnpolled(account_id=account_id))
