"""Shadow mode: passing requests on to the URL that IF3 posted to before, and switching over."""

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

from callrail_relay.domain import public_url
from callrail_relay.domain.events import NotPassedOn, RequestPassedOn
from callrail_relay.domain.inbound import Company, Direction, SeenReplies
from callrail_relay.domain.mapper import RawSubmission
from callrail_relay.domain.opt_outs import read_opt_outs
from callrail_relay.domain.reconcile import BEFORE
from callrail_relay.domain.shadow import (
    Answered,
    BadOldUrl,
    NotPassed,
    Passed,
    PassOn,
    Shadow,
    read_old_url,
    state_after,
)
from callrail_relay.domain.shadow_report import Comparison, ShadowReport, Shown
from callrail_relay.errors import NotAllowed, Unavailable, UsageError
from callrail_relay.outbox import opt_outs, relay_secrets
from callrail_relay.outbox import shadow as store_shadow
from callrail_relay.outbox.rows import has_requests
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import PeriodicTask
from callrail_relay.service.tokens import new_token

FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=1), timedelta(seconds=15)
MOST_PAGES = 40  # of 250 conversations each
NO_REQUESTS = "The relay's requests to CallRail of this hour are used up."
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REMEMBERED = 1000  # requests that were passed on though the store did not take them

Post = Callable[[PassOn], Awaitable[Passed]]  # called once for each try
Fetch = Callable[[str], Awaitable[public_url.Answer]]  # Gets a URL. Raises NoAnswer.


@dataclass(eq=False)
class PassingOn(PeriodicTask):
    """Passes requests on: a new one at once, and in order those that certainly did not arrive."""

    post: Post
    max_age: timedelta
    _unstored: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED), init=False)
    _unrecorded: list[tuple[int, int, Passed]] = field(default_factory=list, init=False)
    _recording: set[asyncio.Task[Passed]] = field(default_factory=set, init=False)
    _failures: int = field(default=0, init=False)

    look = LONGEST_RETRY

    def stop(self) -> None:
        # What is under way finishes first.
        self._stopping = True
        self.wake()

    async def pass_on(self, request: PassOn) -> Answered | None:
        """Pass a new request on; None if there is no whole answer, so that IF3 gets our own."""
        passed = await self.post(request)
        # IF3 doesn't wait for the record; what a crash keeps from being recorded counts as unknown.
        recording = asyncio.create_task(self._recorded(request, passed))
        self._recording.add(recording)
        recording.add_done_callback(self._ended)
        return passed if isinstance(passed, Answered) and passed.body is not None else None

    async def close(self) -> None:
        """Return when all is recorded."""
        await asyncio.gather(*self._recording, return_exceptions=True)

    def _ended(self, recording: asyncio.Task[Passed]) -> None:
        self._recording.discard(recording)
        # It may have to be tried again, and others may wait behind it.
        self.wake()

    async def pass_on_unstored(self, request: RawSubmission) -> Answered | None:
        """Pass on once what could not be stored, if another system sends. Raises Unavailable if not."""
        mode = await self.store.read(store_shadow.read_shadow)
        if not mode.is_on or mode.forward_to is None:
            raise Unavailable("The store could not take the request.")
        # It may be stored all the same, a little later.
        self._unstored.append(request.id)
        return await self.pass_on(PassOn(id=None, url=mode.forward_to, request=request))

    async def turn(self) -> datetime | None:
        while self._unrecorded:
            await self._record(*self._unrecorded[0])
            del self._unrecorded[0]
        while not self._stopping:
            due_at = await self.store.read(store_shadow.next_turn)
            now = await self.store.now()
            if due_at is None or due_at > now:
                return due_at
            unstored = tuple(self._unstored)
            request = await self.store.write(store_shadow.take_next, self.max_age, unstored)
            if request is None:
                return now + FIRST_RETRY
            if isinstance(await self._recorded(request, await self.post(request)), NotPassed):
                self._failures += 1
                return now + min(LONGEST_RETRY, FIRST_RETRY * (1 << min(self._failures - 1, 10)))
            self._failures = 0
        return None

    async def _recorded(self, request: PassOn, passed: Passed) -> Passed:
        known = {"http_status": getattr(passed, "status", None), "detail": getattr(passed, "detail", None)}
        self.hook(RequestPassedOn(state=state_after(passed), **known))
        if request.id is not None:
            try:
                await self._record(request.id, request.tries, passed)
            except Unavailable:
                # It was answered all the same, and is recorded as soon as that can be done.
                self._unrecorded.append((request.id, request.tries, passed))
        return passed

    async def _record(self, id_: int, tries: int, passed: Passed) -> None:
        if held := await self.store.write(store_shadow.record, id_, tries, passed):
            self.hook(NotPassedOn(count=held))


class ConversationReader(Protocol):
    """Reads what a company's numbers sent; it changes nothing, and a fault is part of its answer."""

    async def find_replies(
        self, account_id: str, company_id: str, *, since: datetime, direction: Direction, pages: range
    ) -> SeenReplies: ...


async def make_report(
    store: Store,
    reader: AbstractAsyncContextManager[ConversationReader],
    requests_per_hour: int,
    *,
    since: datetime | None,
    late_after: timedelta,
    give_up_after: timedelta,
) -> ShadowReport:
    """Compare what came in shadow with CallRail's conversations, within the limit of requests."""
    first, requests = await store.read(store_shadow.count_requests, since or EPOCH)
    texts = await store.read(store_shadow.read_texts, since or EPOCH)
    begins: dict[Company, datetime] = {}
    for text in texts:
        if text.account_id is not None and text.company_id is not None:
            begins.setdefault((text.account_id, text.company_id), text.received_at)
    shown: list[Shown] = []
    faults: dict[Company, str] = {}
    if begins:
        async with reader as callrail:
            for company, begin in begins.items():
                found, fault = await _read_sent(store, callrail, company, begin - BEFORE, requests_per_hour)
                shown += found
                faults |= {} if fault is None else {company: fault}
    now = await store.now()
    comparison = Comparison(
        now=now, late_after=late_after, give_up_after=give_up_after, unread=frozenset(faults)
    )
    return ShadowReport(
        since=since or first,
        until=now,
        requests=requests,
        texts=comparison.compare(texts, shown),
        fault=next(iter(faults.values()), None),
    )


async def _read_sent(
    store: Store, callrail: ConversationReader, company: Company, since: datetime, per_hour: int
) -> tuple[list[Shown], str | None]:
    account_id, company_id = company
    if not await store.read(has_requests, account_id, per_hour):
        return [], NO_REQUESTS
    seen = await callrail.find_replies(
        account_id, company_id, since=since, direction=Direction.OUT, pages=range(1, MOST_PAGES + 1)
    )
    await store.write(store_shadow.note_requests, account_id, seen.requests)
    shown = [
        Shown(company_id=company_id, recipient=person, content=one.content, written_at=one.written_at)
        for texts in seen.conversations
        for one in texts
        if one.written_at is not None and (person := one.destination.full) is not None
    ]
    return shown, seen.fault or (None if seen.is_last else "There are more conversations than it reads.")


@dataclass(eq=False)
class Switch:
    """Who sends: another system or the relay."""

    store: Store
    fetch: Fetch
    own_urls: Sequence[str]  # where the relay's own webhook may be

    async def read(self) -> Shadow:
        return await self.store.read(store_shadow.read_shadow)

    async def start(self, forward_to: str, own_tokens: Sequence[str]) -> Shadow:
        """Pass requests on to this URL from now on. Raises UsageError."""
        try:
            url = read_old_url(forward_to, own_tokens=own_tokens, own_urls=self.own_urls)
        except BadOldUrl as error:
            raise UsageError(f"--forward-to can't be used. {error}") from error
        if await self._is_own(url):
            raise UsageError(
                "--forward-to leads to this relay itself, which would go in circles. Give the old URL."
            )
        await self.store.write(store_shadow.start, url)
        return await self.read()

    async def end(self) -> int:
        """Make the relay live; return how many texts are held for a person. Raises NotAllowed."""
        held = await self.store.write(store_shadow.end)
        if held is None:
            raise NotAllowed(
                "The relay is live already, and nothing was changed. `callrail-relay shadow status` shows it."
            )
        return held

    async def resume(self) -> Shadow:
        """Go back to the old URL. Raises NotAllowed."""
        if not await self.store.write(store_shadow.resume):
            if (await self.read()).is_on:
                raise NotAllowed("The relay is in shadow mode already, and nothing was changed.")
            raise NotAllowed(
                "No old URL is known yet. Run `callrail-relay shadow start --forward-to URL` with it."
            )
        return await self.read()

    async def _is_own(self, url: str) -> bool:
        """Whether a webhook's URL of a relay is that of this one; asked only if it looks like one."""
        parts = urlsplit(url)
        before, found, _ = parts.path.partition("/hooks/if3/")
        if not found:
            return False
        secret = await self.store.write(relay_secrets.read_relay_secret, new_token())
        nonce = secrets.token_urlsafe(24)
        try:
            probe = f"{parts.scheme}://{parts.netloc}{before}/healthz?probe={nonce}"
            return public_url.is_proven(await self.fetch(probe), secret, nonce)
        except public_url.NoAnswer:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedOptOuts:
    conversations: int
    found: int
    added: int
    fault: str | None = None  # why it broke off; the next run goes on there


async def import_opt_outs(
    store: Store,
    callrail: ConversationReader,
    companies: Sequence[Company],
    ours: Sequence[str],
    requests_per_hour: int,
    *,
    since: datetime,
    told: Callable[[int, int], None],
) -> ImportedOptOuts:
    """Add those who opted out in CallRail's conversations, page by page; *told* gets the sums so far."""
    conversations = found = added = 0
    fault: str | None = None
    for account_id, company_id in companies:
        page: int | None = await store.read(opt_outs.read_import, company_id, since)
        while page is not None and fault is None:
            if not await store.read(has_requests, account_id, requests_per_hour):
                fault = NO_REQUESTS
                break
            seen = await callrail.find_replies(
                account_id, company_id, since=since, direction=Direction.IN, pages=range(page, page + 1)
            )
            await store.write(store_shadow.note_requests, account_id, seen.requests)
            entries = [one for texts in seen.conversations for one in read_opt_outs(texts, ours)]
            conversations, found, fault = (
                conversations + len(seen.conversations),
                found + len(entries),
                seen.fault,
            )
            # A page that broke off is read again.
            page = page if fault else None if seen.is_last else page + 1
            added += await store.write(opt_outs.note_import, company_id, since, page, entries)
            told(conversations, found)
    return ImportedOptOuts(conversations=conversations, found=found, added=added, fault=fault)
