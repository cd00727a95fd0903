"""Replies: what CallRail's webhooks and the poll bring, and forwarding them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from callrail_relay.clock import Cached
from callrail_relay.domain import events, inbound
from callrail_relay.domain.events import EventHook
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import replies as store_replies
from callrail_relay.outbox.inbound import ingest
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import PeriodicTask, Refused

SIGNATURE_HEADER = "Signature"
EVENT = "event"  # the query parameter of the URLs that we register; its values are EVENTS
EVENTS = {"received": inbound.Direction.IN, "sent": inbound.Direction.OUT}


@dataclass(eq=False)
class InboundTexts:
    """Stores, acts on and reports texts from webhooks and polls; *arrived* is called after each."""

    store: Store
    hook: EventHook
    policy: inbound.InboundPolicy
    arrived: Callable[[], None]

    async def ingest(
        self, texts: Sequence[inbound.CallRailText], hint: inbound.Direction | None = None
    ) -> None:
        """Ingest the texts of one conversation; *hint* is their direction if nothing else tells."""
        for news in await self.store.write(ingest, texts, self.policy, hint):
            for event in news:
                self.hook(event)
            self.arrived()


@dataclass(eq=False)
class CallRailWebhooks:
    """
    CallRail's webhooks; *refused* gets the reason why a request doesn't count as CallRail's.

    It signs with one of the *keys*: one per company, two while one is being replaced.
    """

    texts: InboundTexts
    keys: Cached[Sequence[str]]
    verify: Callable[[Iterable[str], bytes, str], bool]  # a header signs a body with one of the keys
    read: Callable[[bytes, str | None], inbound.CallRailText | None]  # None for a body without a text
    refused: Refused

    async def take(
        self, body: bytes, *, signature: str | None, content_type: str | None, event: str | None = None
    ) -> bool:
        """Take a body; False, unread, only if CallRail didn't sign it. Raises Unavailable."""
        if refusal := await self._refusal(body, signature):
            self.refused(f"{refusal} on CallRail's webhook")
            return False
        try:
            text = self.read(body, content_type)
            if text is None:
                self.texts.hook(events.WebhookNotUnderstood(reason="It has no text."))
            else:
                await self.texts.ingest([text], EVENTS.get(event or ""))
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a refusal would stop CallRail's webhooks
            self.texts.hook(events.WebhookNotUnderstood(reason=type(error).__name__))
        return True

    async def _refusal(self, body: bytes, signature: str | None) -> str:
        """Return why *signature* isn't CallRail's of the raw *body*; empty if it is."""
        if not signature:
            return "no signature"
        known = self.keys.value or ()
        if self.verify(known, body, signature) or self.verify(await self.keys.get(), body, signature):
            return ""
        return "wrong signature" if self.keys.value else "no signing key is set"


LEASE = timedelta(minutes=5)  # longer than all channels may take: after it, another node forwards the reply


@dataclass(eq=False)
class Forwarding(PeriodicTask):
    """Forwards each reply to every channel, at least once: after a crash in between, again."""

    channels: Sequence[str]
    # Takes a title, words and the names of channels, and returns those that failed; may be called again.
    pass_on: Callable[[str, str, Collection[str]], Awaitable[list[str]]]
    # Of a reply that some channels accepted: those that didn't. Not kept after a restart.
    _left: dict[str, list[str]] = field(default_factory=dict, init=False)

    async def turn(self) -> datetime | None:
        # Read first: nothing is written to disk just to learn that nothing is due.
        while (due_at := await self.store.read(store_replies.next_forward)) is not None:
            if due_at > await self.store.now():
                break
            if (forward := await self.store.write(store_replies.claim_forward, LEASE)) is None:
                break
            await self._pass_on(forward)
        return due_at

    async def _pass_on(self, forward: inbound.Forward) -> None:
        id_ = forward.resource_id
        names = self._left.pop(id_, [*self.channels])
        failed = await self.pass_on(forward.title, forward.words, names)
        retry_at = forward.retry_at(await self.store.now()) if failed else None
        if retry_at is not None:
            self._left[id_] = failed
        await self.store.write(store_replies.end_forward, id_, retry_at)
        if not failed:
            self.hook(events.ReplyForwarded(resource_id=id_))
            return
        channels, tries = tuple(failed), forward.tries
        self.hook(events.ForwardFailed(resource_id=id_, channels=channels, tries=tries, retry_at=retry_at))


# Reads those of an account's company since an instant. A failure is part of its answer.
FindReplies = Callable[..., Awaitable[inbound.SeenReplies]]

FIRST_POLL_WITHIN = timedelta(minutes=2)  # how long texts wait for a run's first poll
FIRST_RETRY = timedelta(seconds=10)  # how soon a failed poll is repeated while texts wait for it
COMMAND_WAITS = 10.0  # seconds that a command takes to poll before it sends


@dataclass(eq=False)
class Polling(PeriodicTask):
    """Reads replies. An account's texts wait for its first poll: a person may have opted out meanwhile."""

    find_replies: FindReplies
    policy: inbound.PollPolicy
    texts: InboundTexts
    closed: set[str]  # the accounts whose texts wait, for delivery to read
    opened: Callable[[], None]  # called when some of them may be sent

    def __post_init__(self) -> None:
        super().__post_init__()
        self._began: datetime | None = None
        self._late: asyncio.Task[None] | None = None

    async def run(self) -> None:
        self._late = asyncio.create_task(self._open_late())
        try:
            await super().run()
        finally:
            self._late.cancel()

    def begin_again(self) -> None:
        """Let texts wait for another poll: a person may have opted out while this computer slept."""
        self.closed.update(self.policy.accounts)
        self._began = None
        if self._late is not None:
            self._late.cancel()
            self._late = asyncio.create_task(self._open_late())
        self.wake()

    async def turn(self) -> datetime:
        try:
            return await self._poll_due()
        except Unavailable:
            # The store may not know that a poll ended: texts wait for another one, not for its lease.
            self._began = None
            raise

    async def _poll_due(self) -> datetime:
        now = await self.store.now()
        # If the clock was set back, no poll would count before the old time came again.
        self._began = min(self._began or now, now)
        policy = self.policy
        if self.closed:
            policy = replace(policy, not_before=self._began, retry=FIRST_RETRY)
        # Read first: nothing is written to disk just to learn that nothing is due.
        due, due_at = await self.store.read(store_replies.due_polls, policy)
        if await self._poll_each(due, policy):
            _, due_at = await self.store.read(store_replies.due_polls, policy)
        elif due:
            # Another node came first, or this hour's requests are used up.
            due_at = await self.store.now() + self.look
        if self.closed:
            polled = await self._polled(policy)
            if self._began is not None:  # otherwise this computer slept meanwhile, and none of it counts
                self._open(self.closed & polled)
        # While texts wait for another node's poll, its end must not be missed.
        return min(due_at, await self.store.now() + FIRST_RETRY / 10) if self.closed else due_at

    async def poll_now(self) -> bool:
        """Poll unless that was done within ``poll_every``; False if not all replies could be read in time."""
        not_before = await self.store.now() - self.policy.every
        policy = replace(self.policy, not_before=not_before, retry=FIRST_RETRY)
        due, _ = await self.store.read(store_replies.due_polls, policy)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMAND_WAITS):
                await self._poll_each(due, policy)
        return self.policy.accounts <= await self._polled(policy)

    async def _poll_each(self, companies: Iterable[inbound.Company], policy: inbound.PollPolicy) -> bool:
        """Poll these companies, unless another node does or no requests are left; False for none."""
        some = False
        for company in companies:
            due = await self.store.write(store_replies.claim_poll, company, policy)
            if due is not None:
                await self._poll(due)
                some = True
        return some

    async def _poll(self, due: inbound.DuePoll) -> None:
        requests = 1
        fault: str | None = "The poll was interrupted."
        try:
            seen = await self.find_replies(due.account_id, due.company_id, since=due.since)
            requests = seen.requests
            # What was read before an error counts, too: it may contain a STOP.
            for texts in seen.conversations:
                await self.texts.ingest([one for one in texts if one.direction is not inbound.Direction.OUT])
            fault = seen.fault
        finally:
            # Also when this run ends, so that another one polls at once.
            await self.store.write(store_replies.end_poll, due.id, requests, well=fault is None)
        if fault is not None:
            self.hook(events.RepliesNotRead(account_id=due.account_id, reason=fault))

    async def _polled(self, policy: inbound.PollPolicy) -> frozenset[str]:
        """Return the accounts that were polled since ``not_before``, here or by another node."""
        polled, since = await self.store.read(store_replies.last_polls, policy), policy.not_before
        return frozenset(one for one, at in polled.items() if since is None or at >= since)

    def _open(self, account_ids: Collection[str]) -> None:
        if account_ids:
            self.closed.difference_update(account_ids)
            self.opened()

    async def _open_late(self) -> None:
        await self._clock.sleep(FIRST_POLL_WITHIN.total_seconds())
        unpolled = sorted(self.closed)
        self._open(unpolled)
        for account_id in unpolled:
            self.hook(events.SendingUnpolled(account_id=account_id))
