"""Replies: what CallRail's webhooks and the poll bring, and passing them on."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from callrail_relay.clock import Clock
from callrail_relay.domain.events import (
    EventHook,
    ForwardFailed,
    MaybeOptedOut,
    OptedIn,
    OptedOut,
    OptOutUnplaced,
    RepliesNotRead,
    ReplyForwarded,
    ReplyReceived,
    SentByOthers,
    WebhookNotUnderstood,
    ignore,
)
from callrail_relay.domain.inbound import (
    CallRailText,
    Direction,
    DuePoll,
    Forward,
    Noted,
    PollPolicy,
    ReadText,
    SeenReplies,
    WitnessPolicy,
)
from callrail_relay.domain.opt_keywords import OptKeyword
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import inbound, polling
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import PeriodicTask
from callrail_relay.service.reconciliation import tell
from callrail_relay.service.refusals import Refused, uncounted
from callrail_relay.service.tokens import SigningKeys

SIGNATURE_HEADER = "Signature"

EVENT = "event"
"""The name, in the query of the URLs that we register, of which webhook it is."""

EVENTS = {"received": Direction.IN, "sent": Direction.OUT}


class Witness:
    """Keeps what CallRail tells, and says what came of it."""

    def __init__(
        self,
        store: Store,
        policy: WitnessPolicy,
        *,
        keys: SigningKeys,
        read: ReadText,
        hook: EventHook = ignore,
        heard: Callable[[], None] = lambda: None,
        refused: Refused = uncounted,
    ) -> None:
        """
        *heard* is called when there was a new text: it may let others leave, and a reply is to be passed on.
        *refused* is told why a request was not taken for one of CallRail's.
        """
        self._store = store
        self._policy = policy
        self._keys = keys
        self._read = read
        self._hook = hook
        self._heard = heard
        self._refused = refused

    async def take(
        self, body: bytes, *, signature: str | None, content_type: str | None, event: str | None = None
    ) -> bool:
        """
        Take a webhook's body as it came; False where CallRail did not sign it, and nothing was read.

        What CallRail signed is never refused: it sends nothing twice, and after too many refusals it
        stops sending. What cannot be read is told to a person. Raises Unavailable when the store fails.
        """
        refusal = await self._keys.refusal(body, signature)
        if refusal is not None:
            self._refused(f"{refusal} on CallRail's webhook")
            return False
        try:
            text = self._read(body, content_type)
            if text is None:
                self._hook(WebhookNotUnderstood(reason="It tells of no text."))
            else:
                await self._note(text, EVENTS.get(event or ""))
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours is no reason to be sent no more
            self._hook(WebhookNotUnderstood(reason=type(error).__name__))
        return True

    async def _note(self, text: CallRailText, hint: Direction | None) -> None:
        noted = await self._store.write(inbound.note, text, self._policy, hint)
        if not noted.is_new:
            return
        tell_noted(self._hook, noted)
        self._heard()


def tell_noted(hook: EventHook, noted: Noted) -> None:
    """Say what became of a text that CallRail told of."""
    if noted.settled is not None:
        tell(hook, noted.settled)
    if noted.by_others:
        hook(SentByOthers(resource_id=noted.key, account_id=noted.account_id))
    if noted.direction is Direction.IN:
        hook(ReplyReceived(resource_id=noted.key, account_id=noted.account_id))
    if noted.suppressed:
        hook(OptedOut(resource_id=noted.key, people=noted.suppressed))
    if noted.doubted:
        hook(MaybeOptedOut(resource_id=noted.key, people=noted.doubted))
    if noted.keyword is OptKeyword.STOP and not noted.people:
        hook(OptOutUnplaced(resource_id=noted.key))
    if noted.lifted:
        hook(OptedIn(resource_id=noted.key))


LEASE = timedelta(minutes=5)
"""Longer than all channels may take: after it another node passes the reply on."""


class ForwardChannels(Protocol):
    """Where replies go. Each channel may be told again; what it does with that is its own affair."""

    @property
    def names(self) -> Sequence[str]: ...

    async def pass_on(self, title: str, words: str, names: Collection[str]) -> list[str]: ...


class Forwarding(PeriodicTask):
    """Passes each reply on to every channel, at least once: a crash in between does it again."""

    def __init__(
        self, store: Store, channels: ForwardChannels, *, clock: Clock, hook: EventHook = ignore
    ) -> None:
        super().__init__(clock, hook)
        self._store = store
        self._channels = channels
        # Of a reply that some channels took: those that did not. Forgotten with this process.
        self._left: dict[str, list[str]] = {}

    async def turn(self) -> datetime | None:
        # Read first: nothing is written to disk just to learn that nothing is due.
        while (due_at := await self._store.read(polling.next_forward)) is not None:
            if due_at > await self._store.now():
                break
            forward = await self._store.write(polling.claim_forward, LEASE)
            if forward is None:
                break
            await self._pass_on(forward)
        return due_at

    async def _pass_on(self, forward: Forward) -> None:
        names = self._left.pop(forward.resource_id, [*self._channels.names])
        failed = await self._channels.pass_on(forward.title, forward.words, names)
        if not failed:
            await self._store.write(polling.end_forward, forward.resource_id, None)
            self._hook(ReplyForwarded(resource_id=forward.resource_id))
            return
        retry_at = forward.retry_at(await self._store.now())
        if retry_at is not None:
            self._left[forward.resource_id] = failed
        await self._store.write(polling.end_forward, forward.resource_id, retry_at)
        self._hook(
            ForwardFailed(
                resource_id=forward.resource_id,
                channels=tuple(failed),
                tries=forward.tries,
                retry_at=retry_at,
            )
        )


class ReplyReader(Protocol):
    """What reads replies. It changes nothing at CallRail, and a fault is part of its answer."""

    async def find_replies(self, account_id: str, company_id: str, *, since: datetime) -> SeenReplies: ...


class Polling(PeriodicTask):
    """Looks for the replies of each company in turn; of several nodes one looks."""

    def __init__(
        self,
        store: Store,
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
        self._store = store
        self._reader = reader
        self._policy = policy
        self._witness = witness
        self._heard = heard

    async def turn(self) -> datetime:
        # Read first: nothing is written to disk just to learn that nothing is due.
        while (due_at := await self._store.read(polling.next_poll, self._policy)) <= await self._store.now():
            due = await self._store.write(polling.claim_poll, self._policy)
            if due is None:
                # Another node came first, or the requests of this hour are used.
                return await self._store.now() + self.look
            await self._look(due)
        return due_at

    async def _look(self, due: DuePoll) -> None:
        seen = await self._reader.find_replies(due.account_id, due.company_id, since=due.since)
        # What was read before a fault is heeded as well: it may hold a STOP.
        for texts in seen.conversations:
            for noted in await self._store.write(inbound.note_seen, texts, self._witness):
                if noted.is_new:
                    tell_noted(self._hook, noted)
                    self._heard()
        await self._store.write(polling.end_poll, due.id, seen.requests, well=seen.fault is None)
        if seen.fault is not None:
            self._hook(RepliesNotRead(account_id=due.account_id, reason=seen.fault))
