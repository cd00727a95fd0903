"""Shadow mode: passes requests on to the URL that IF3 posted to before, compares, and switches over."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from callrail_relay.domain import shadow
from callrail_relay.domain.events import RequestPassedOn
from callrail_relay.domain.inbound import CallRailText, Company, Direction, InboundPolicy, SeenReplies
from callrail_relay.domain.mapper import RawSubmission
from callrail_relay.domain.opt_keywords import read_opt_keyword
from callrail_relay.domain.reconcile import BEFORE
from callrail_relay.errors import NotAllowed, Unavailable
from callrail_relay.outbox import shadow as store_shadow
from callrail_relay.outbox.inbound import ingest
from callrail_relay.outbox.rows import has_requests, note_requests, pages_read
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import PeriodicTask

RETRY = timedelta(seconds=1)
RECORDED_WITHIN = 1.0  # seconds, like those of MODE_WITHIN
MODE_WITHIN = 1.0
ANSWERED_WITHIN = 0.02
MOST_UNSTORED = 5000  # consecutive requests that the store seemed not to take
MOST_PAGES = 40  # of 250 conversations each


@dataclass(eq=False)
class PassingOn(PeriodicTask):
    """Passes requests on: a new one at once, and in order those that certainly didn't arrive."""

    post: Callable[[shadow.PassOn], Awaitable[shadow.Passed]]  # called once per try
    max_age: timedelta
    mark: str  # goes along with each request
    # Tries at what seemed not to be stored, by submission, until their results are recorded.
    _unstored: dict[str, asyncio.Future[shadow.Passed]] = field(default_factory=dict, init=False)
    _recording: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _settling: asyncio.Task[None] | None = field(default=None, init=False)
    _retry_at: float = field(default=-math.inf, init=False)  # on the monotonic clock

    look = timedelta(seconds=15)
    finishes = True

    async def aclose(self) -> None:
        """Return once everything is recorded, or can't be in time."""
        self._stopping = True
        if self._recording:
            await asyncio.wait(self._recording, timeout=RECORDED_WITHIN)
        for recording in self._recording:
            recording.cancel()

    async def pass_on(self, request: shadow.PassOn) -> shadow.Passed:
        """Pass a new request on; if its answer has no body, IF3 gets our own."""
        passed = await self.post(request)
        recording = self._begin(self._record(request, passed))
        # Recorded, so that the person's next request goes at once; but IF3 doesn't wait for a failing store.
        await asyncio.wait([recording], timeout=RECORDED_WITHIN)
        return passed

    def _begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        recording = asyncio.create_task(work)
        self._recording.add(recording)
        recording.add_done_callback(self._recorded)
        return recording

    def _recorded(self, recording: asyncio.Task[None]) -> None:
        self._recording.discard(recording)
        # It may have to be tried again, and others may wait behind it. Looking now would delay the answer.
        asyncio.get_running_loop().call_later(ANSWERED_WITHIN, self.wake)

    async def pass_on_unstored(self, request: RawSubmission) -> shadow.Passed:
        """
        Pass on once what couldn't be stored, if another system sends; return its answer.

        Raises Unavailable without an answer: nothing vouches for the request, and IF3 must not get a 200.
        """
        trying = self._unstored[request.id] = asyncio.get_running_loop().create_future()
        if len(self._unstored) > MOST_UNSTORED:
            del self._unstored[next(iter(self._unstored))]
        passed = shadow.Passed(shadow.State.WAITING)
        try:
            mode = await read_mode(self.store)
            if mode.is_on and mode.forward_to is not None:
                passed = shadow.Passed(shadow.State.UNKNOWN)
                passed = await self.post(shadow.PassOn(id=None, url=mode.forward_to, request=request))
                self._note(passed)
        finally:
            trying.set_result(passed)
            if self._settling is None or self._settling.done():
                self._settling = self._begin(self._record_unstored())
        if passed.http_status is None:
            raise Unavailable("Neither the store nor the old URL took the request.")
        return replace(passed, body=passed.body or b"")

    async def turn(self) -> datetime | None:
        # What comes in meanwhile doesn't hasten the next try.
        while not self._stopping and (wait := self._retry_at - self._clock.monotonic()) <= 0:
            request = await self.store.write(store_shadow.take_next, self.max_age)
            if request is None:
                return None
            if (trying := self._unstored.get(request.request.id)) is not None:
                await asyncio.wait([trying])  # passed on already, or just now
                passed = trying.result()
            else:
                passed = await self.post(request)
            await self._record(request, passed)
        return None if self._stopping else self._clock.now() + timedelta(seconds=wait)

    def _note(self, passed: shadow.Passed) -> None:
        self.hook(RequestPassedOn(state=passed.state, http_status=passed.http_status, detail=passed.detail))
        waits = RETRY.total_seconds() if passed.state is shadow.State.WAITING else -math.inf
        self._retry_at = self._clock.monotonic() + waits

    async def _record(self, request: shadow.PassOn, passed: shadow.Passed) -> None:
        """Record the result of a try, as soon as the store takes it."""
        self._note(passed)
        if request.id is not None:
            await self._until_taken(self.store.write, store_shadow.record, request.id, request.tries, passed)

    async def _record_unstored(self) -> None:
        """The same for all finished tries at what seemed not to be stored; what isn't there is left out."""
        while ended := {id_: trying.result() for id_, trying in self._unstored.items() if trying.done()}:
            # In turn: a commit that was given up may still be in progress.
            if not await self._until_taken(self.store.write_in_turn, store_shadow.record_unstored, ended):
                return
            for id_ in ended:
                self._unstored.pop(id_, None)

    async def _until_taken(self, write: Callable[..., Awaitable[None]], *what: object) -> bool:
        """Try until the store takes it; False if this process stops before."""
        while True:
            with suppress(Unavailable):
                await write(*what)
                return True
            if self._stopping:
                return False
            await self._clock.sleep(RETRY.total_seconds())


async def read_mode(store: Store) -> shadow.Shadow:
    """Return the mode, for a request that waits. Raises Unavailable, also if the store is silent."""
    try:
        async with asyncio.timeout(MODE_WITHIN):
            return await store.read(store_shadow.read_shadow)
    except TimeoutError as error:
        raise Unavailable("The database doesn't say whether the relay is in shadow mode.") from error


async def start(store: Store, forward_to: str) -> None:
    """Pass requests on to this URL from now on. Raises UsageError."""
    await store.write(store_shadow.start, shadow.read_old_url(forward_to))


async def switch(store: Store, *, live: bool) -> int:
    """Change who sends; return how many texts are held for a person. Raises NotAllowed."""
    held = await store.write(store_shadow.switch, shadow.Mode.LIVE if live else shadow.Mode.SHADOW)
    if held is None:
        other = "is already in shadow mode, or has no old URL yet"
        why = "is already live" if live else other
        raise NotAllowed(f"The relay {why}: nothing was changed. Run `callrail-relay shadow status` to see.")
    return held


@dataclass(frozen=True)
class Conversations:
    """Reads a company's conversations within the limit of requests; a failure is part of the answer."""

    store: Store
    find: Callable[..., Awaitable[SeenReplies]]
    requests_per_hour: int

    async def read(self, company: Company, since: datetime, pages: range) -> SeenReplies:
        if not await self.store.read(has_requests, company[0], self.requests_per_hour):
            return SeenReplies(fault="The relay has used up this hour's requests to CallRail.")
        seen = await self.find(*company, since=since, pages=pages)
        await self.store.write(note_requests, company[0], seen.requests)
        return seen


async def make_report(
    conversations: Conversations,
    *,
    since: datetime | None = None,
    late_after: timedelta = shadow.LATE_AFTER,
    give_up_after: timedelta = shadow.GIVE_UP_AFTER,
) -> shadow.ShadowReport:
    """Compare what came in shadow mode with CallRail's conversations."""
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
            faults[company] = seen.fault or "There are more conversations than the relay reads."
    now = await store.now()
    spans = {"late_after": late_after, "give_up_after": give_up_after}
    # In a thread: it may take seconds, and webhooks wait for no report.
    compared = await asyncio.to_thread(shadow.compare, texts, shown, now=now, unread=faults, **spans)
    fault = next(iter(faults.values()), None)
    return shadow.ShadowReport(
        since=since or first, until=now, requests=requests, texts=compared, fault=fault
    )


async def import_opt_outs(
    conversations: Conversations,
    policy: InboundPolicy,
    *,
    since: datetime,
    on_progress: Callable[[int], None],
) -> str | None:
    """
    Do what people asked for in CallRail's conversations, page by page, as if their replies came now.

    *on_progress* gets how many were read. Returns why it broke off; the next run continues there.
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
            on_progress(read)
    return None
