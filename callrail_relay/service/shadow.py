"""Shadow mode: passing requests on to the URL that IF3 posted to before, comparing, and switching over."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from callrail_relay.domain.events import RequestPassedOn
from callrail_relay.domain.inbound import CallRailText, Company, Direction, InboundPolicy, SeenReplies
from callrail_relay.domain.mapper import RawSubmission
from callrail_relay.domain.opt_keywords import read_opt_keyword
from callrail_relay.domain.reconcile import BEFORE
from callrail_relay.domain.shadow import Mode, Passed, PassOn, Shadow, State, read_old_url
from callrail_relay.domain.shadow_report import GIVE_UP_AFTER, LATE_AFTER, ShadowReport, compare
from callrail_relay.errors import NotAllowed, Unavailable
from callrail_relay.outbox import shadow as store_shadow
from callrail_relay.outbox.inbound import ingest
from callrail_relay.outbox.rows import has_requests, note_requests, pages_read
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import PeriodicTask

RETRY = timedelta(seconds=1)
RECORDED_WITHIN = 1.0  # seconds, as those of MODE_WITHIN
MODE_WITHIN = 1.0
ANSWERED_WITHIN = 0.02
MOST_PAGES = 40  # of 250 conversations each


@dataclass(eq=False)
class PassingOn(PeriodicTask):
    """Passes requests on: a new one at once, and in order those that certainly did not arrive."""

    post: Callable[[PassOn], Awaitable[Passed]]  # called once for each try
    max_age: timedelta
    mark: str  # goes along with each request
    _unstored: deque[str] = field(default_factory=lambda: deque(maxlen=1000), init=False)  # of submissions
    _recording: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _retry_at: datetime | None = field(default=None, init=False)

    look = timedelta(seconds=15)

    def stop(self) -> None:
        # What is under way finishes first.
        self._stopping = True
        self.wake()

    async def aclose(self) -> None:
        """Return when all is recorded, or can't be in time."""
        self._stopping = True
        if self._recording:
            await asyncio.wait(self._recording, timeout=RECORDED_WITHIN)
        for recording in self._recording:
            recording.cancel()

    async def pass_on(self, request: PassOn) -> Passed:
        """Pass a new request on; if its answer has no body, IF3 gets our own."""
        passed = await self.post(request)
        recording = asyncio.create_task(self._record(request, passed))
        self._recording.add(recording)
        recording.add_done_callback(self._recorded)
        # Recorded, so that the person's next request goes at once; but IF3 waits for no store that fails.
        await asyncio.wait([recording], timeout=RECORDED_WITHIN)
        return passed

    def _recorded(self, recording: asyncio.Task[None]) -> None:
        self._recording.discard(recording)
        # It may have to be tried again, and others may wait behind it. To look now would hold up the answer.
        asyncio.get_running_loop().call_later(ANSWERED_WITHIN, self.wake)

    async def pass_on_unstored(self, request: RawSubmission) -> Passed:
        """
        Pass on once what could not be stored, if another system sends; return that one's answer.

        Raises Unavailable without an answer: then nothing vouches for the request, and IF3 must not hear 200.
        """
        # It may be stored all the same, a little later, and wait here.
        self._unstored.append(request.id)
        not_there = True
        try:
            mode = await read_mode(self.store)
            if not mode.is_on or mode.forward_to is None:
                raise Unavailable("The store could not take the request.")
            not_there = False
            passed = await self.pass_on(PassOn(id=None, url=mode.forward_to, request=request))
            not_there = passed.state is State.WAITING
        finally:
            if not_there and request.id in self._unstored:
                self._unstored.remove(request.id)
        if passed.http_status is None:
            raise Unavailable("Neither the store nor the old URL took the request.")
        return replace(passed, body=passed.body or b"")

    async def turn(self) -> datetime | None:
        if self._retry_at is not None and self._retry_at > self._clock.now():
            return self._retry_at  # what comes in meanwhile doesn't hasten it
        while not self._stopping:
            request = await self.store.write(store_shadow.take_next, self.max_age)
            if request is None:
                return None
            if request.request.id in self._unstored:
                passed = Passed(State.UNKNOWN, "It was passed on before it was stored.")
            else:
                passed = await self.post(request)
            await self._record(request, passed)
            if passed.state is State.WAITING:
                return self._retry_at
        return None

    async def _record(self, request: PassOn, passed: Passed) -> None:
        """Record what came of a try, as soon as the store takes it."""
        self.hook(RequestPassedOn(state=passed.state, http_status=passed.http_status, detail=passed.detail))
        self._retry_at = self._clock.now() + RETRY if passed.state is State.WAITING else None
        while request.id is not None:
            with suppress(Unavailable):
                await self.store.write(store_shadow.record, request.id, request.tries, passed)
                return
            if self._stopping:
                return
            await self._clock.sleep(RETRY.total_seconds())


async def read_mode(store: Store) -> Shadow:
    """The mode, for a request that waits for its answer. Raises Unavailable, also if the store is silent."""
    try:
        async with asyncio.timeout(MODE_WITHIN):
            return await store.read(store_shadow.read_shadow)
    except TimeoutError as error:
        raise Unavailable("The store does not say whether the relay runs in shadow mode.") from error


async def start(store: Store, forward_to: str) -> None:
    """Pass requests on to this URL from now on. Raises UsageError."""
    await store.write(store_shadow.start, read_old_url(forward_to))


async def switch(store: Store, *, live: bool) -> int:
    """Change who sends; return how many texts are held for a person. Raises NotAllowed."""
    held = await store.write(store_shadow.switch, Mode.LIVE if live else Mode.SHADOW)
    if held is None:
        other = "is in shadow mode already, or knows no old URL yet"
        why = "is live already" if live else other
        raise NotAllowed(f"The relay {why}: nothing was changed. Run `callrail-relay shadow status` to see.")
    return held


@dataclass(frozen=True)
class Conversations:
    """Reads a company's conversations within the limit of requests; a fault is part of the answer."""

    store: Store
    find: Callable[..., Awaitable[SeenReplies]]
    requests_per_hour: int

    async def read(self, company: Company, since: datetime, pages: range) -> SeenReplies:
        if not await self.store.read(has_requests, company[0], self.requests_per_hour):
            return SeenReplies(fault="The relay's requests to CallRail of this hour are used up.")
        seen = await self.find(*company, since=since, pages=pages)
        await self.store.write(note_requests, company[0], seen.requests)
        return seen


async def make_report(
    conversations: Conversations,
    *,
    since: datetime | None = None,
    late_after: timedelta = LATE_AFTER,
    give_up_after: timedelta = GIVE_UP_AFTER,
) -> ShadowReport:
    """Compare what came in shadow with CallRail's conversations."""
    store = conversations.store
    first, requests = await store.read(store_shadow.count_requests, since)
    texts = await store.read(store_shadow.read_texts, since)
    routed = ((text.route, text.received_at) for text in reversed(texts) if text.route is not None)
    begins = {(route.account_id, route.company_id): at for route, at in routed}
    shown: list[CallRailText] = []
    faults: dict[Company, str] = {}
    for company, begin in begins.items():
        seen = await conversations.read(company, begin - BEFORE, range(1, MOST_PAGES + 1))
        shown += [text for one in seen.conversations for text in one if text.direction is Direction.OUT]
        if seen.fault or not seen.is_last:
            faults[company] = seen.fault or "There are more conversations than it reads."
    now = await store.now()
    spans = {"late_after": late_after, "give_up_after": give_up_after}
    # In a thread: it may take seconds, and webhooks wait for no report.
    compared = await asyncio.to_thread(compare, texts, shown, now=now, unread=faults, **spans)
    fault = next(iter(faults.values()), None)
    return ShadowReport(since=since or first, until=now, requests=requests, texts=compared, fault=fault)


async def import_opt_outs(
    conversations: Conversations, policy: InboundPolicy, *, since: datetime, told: Callable[[int], None]
) -> str | None:
    """
    Do what people asked for in CallRail's conversations, as if their replies came now, page by page.

    *told* gets how many conversations were read. Returns why it broke off; the next run goes on there.
    """
    store, policy = conversations.store, replace(policy, forwards=False)
    read, days = 0, (await store.now() - since).days
    for company_id, account_id in policy.accounts.items():
        purpose, is_last = f"{company_id[:40]} opt-outs {days}", False
        while not is_last:
            page = await store.read(pages_read, account_id, purpose) + 1
            seen = await conversations.read((account_id, company_id), since, range(page, page + 1))
            for texts in seen.conversations:
                replies = (text for text in texts if text.direction is Direction.IN)
                if asked := [text for text in replies if read_opt_keyword(text.content) is not None]:
                    await store.write(ingest, asked, policy)
            if seen.fault is not None:
                return seen.fault
            # Only now: a page that a crash cuts off is read again.
            await store.write(note_requests, account_id, 0, purpose)
            read, is_last = read + len(seen.conversations), seen.is_last
            told(read)
    return None
