"""What the dashboard and metrics show of the store, and when it changed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from callrail_relay.clock import Clock, until_woken
from callrail_relay.domain import views
from callrail_relay.domain.events import Event
from callrail_relay.domain.health import Facts, StoreStats
from callrail_relay.domain.mapper import StoredSubmission
from callrail_relay.domain.message import MessageFilter, Status
from callrail_relay.domain.opt_outs import OptOut
from callrail_relay.domain.shadow import Shadow
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import decisions, opt_outs, queries
from callrail_relay.outbox import history as store_history
from callrail_relay.outbox import shadow as store_shadow
from callrail_relay.outbox.store import Store
from callrail_relay.service.operations import FAILED_LATELY

OPT_OUTS = 200  # that a page shows at most
BUBBLES = 60
RECENT = timedelta(hours=26)
PAST_LASTS = timedelta(minutes=1)
KEPT_SINCE = timedelta(days=30)
KEPT_LASTS = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class PastArrivals:
    since: datetime
    until: datetime
    counted_at: datetime
    arrivals: tuple[views.Arrivals, ...]


@dataclass(eq=False)
class History:
    """Reading for pages: nothing here changes anything, and nothing costs more in a larger store."""

    store: Store
    _past: PastArrivals | None = field(default=None, init=False)
    _kept: tuple[datetime, views.Kept] | None = field(default=None, init=False)

    async def arrivals(self, now: datetime, since: datetime) -> tuple[views.Arrivals, ...]:
        """What came in. Of what did more than RECENT ago little changes: it is counted once in PAST_LASTS."""
        past = self._past
        if past is None or past.since != since or not timedelta() <= now - past.counted_at < PAST_LASTS:
            # At a whole quarter, so that no quarter is counted in two parts.
            until = now - RECENT - (now - since) % views.QUARTER
            arrivals = await self.store.read(store_history.read_arrivals, since, until)
            self._past = past = PastArrivals(since, until, now, arrivals)
        new = await self.store.read(store_history.read_arrivals, max(past.until, since), None)
        return (*past.arrivals, *new)

    async def frees_at(self, account_ids: Sequence[str]) -> dict[str, views.FreesAt]:
        return await self.store.read(store_history.read_frees_at, account_ids)

    async def today(self, midnight: datetime) -> tuple[views.Today, views.Kept]:
        """The figures of the first page; those of KEPT_SINCE are counted once in KEPT_LASTS."""
        now = self.store.clock.now()
        if self._kept is None or not timedelta() <= now - self._kept[0] < KEPT_LASTS:
            self._kept = now, await self.store.read(store_history.read_kept, now - KEPT_SINCE)
        return await self.store.read(store_history.read_today, midnight), self._kept[1]

    async def waiting(self, shown: int) -> views.Waiting:
        """What waits for a person, with up to *shown* rows of each kind."""
        since = self.store.clock.now() - FAILED_LATELY
        return await self.store.read(store_history.read_waiting, since, shown)

    async def rows(self, ids: Sequence[str]) -> list[views.MessageSummary]:
        return await self.store.read(store_history.read_rows, ids)

    async def counts(self) -> dict[Status, int]:
        return await self.store.read(queries.count_by_status)

    async def for_person(self) -> int:
        return await self.store.read(store_history.count_for_person, self.store.clock.now() - FAILED_LATELY)

    async def shadow(self) -> Shadow:
        return await self.store.read(store_shadow.read_shadow)

    async def requests_in_shadow(self) -> dict[str, int]:
        """How many requests got how far to the old URL."""
        _, counts = await self.store.read(store_shadow.count_requests, None)
        return counts

    async def page(self, wanted: MessageFilter) -> views.TextPage:
        return await self.store.read(store_history.read_page, wanted)

    async def request(self, submission_id: str) -> StoredSubmission:
        return await self.store.read(decisions.read_submission, submission_id)

    async def conversation(self, ours: str, recipient: str, before: datetime | None) -> views.Conversation:
        return await self.store.read(store_history.read_conversation, ours, recipient, before, BUBBLES)

    async def opt_outs(self) -> list[OptOut]:
        return await self.store.read(opt_outs.list_opt_outs, OPT_OUTS)

    async def marker(self) -> str:
        """Return a text that differs after every change."""
        return await self.store.read(store_history.read_marker)


OPT_OUTS_AGE = timedelta(minutes=5)  # how old the number of opt-outs may be: counting reads the whole list


@dataclass(eq=False)
class StatsReader:
    store: Store
    facts: Callable[[], Awaitable[Facts]]
    _opt_outs: tuple[float, int] | None = field(default=None, init=False)

    async def read(self) -> StoreStats:
        """Raises Unavailable."""
        facts, counts = await self.facts(), await self.store.read(queries.read_counts)
        now = self.store.clock.monotonic()
        if self._opt_outs is None or now - self._opt_outs[0] >= OPT_OUTS_AGE.total_seconds():
            self._opt_outs = now, await self.store.read(queries.count_opt_outs)
        return StoreStats(facts=facts, counts=counts, opt_outs=self._opt_outs[1])


LOOK = timedelta(milliseconds=500)  # how often to look for what others changed in the store
PAUSE = timedelta(milliseconds=200)  # a burst of changes is reported once in this time
HEARTBEAT = timedelta(seconds=15)  # a stream is not silent longer, so that a lost connection is noticed


class ChangeSignal:
    """Notes that something happened in this process; an event hook."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.count = 0

    def __call__(self, _event: Event | None = None) -> None:
        self.count += 1
        self.woken.set()


@dataclass(eq=False)
class ChangeFeed:
    """The version of what all pages show. One task looks at the store while any stream is open."""

    signal: ChangeSignal
    read_marker: Callable[[], Awaitable[str]]
    clock: Clock

    def __post_init__(self) -> None:
        self._version = ""
        self._changed = asyncio.Condition()
        self._listening = 0
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    async def version(self) -> str:
        count = self.signal.count
        return f"{await self.read_marker()}-{count}"

    async def versions(self, known: str) -> AsyncGenerator[str]:
        """Each version after *known* as soon as it is there; after HEARTBEAT the known one again."""
        self._listening += 1
        # A new stream learns at once what it missed.
        self.signal.woken.set()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            while not self._closed:
                yield (known := await self._newer(known))
        finally:
            self._listening -= 1

    async def _newer(self, known: str) -> str:
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT.total_seconds()):
                    await self._changed.wait_for(lambda: self._closed or self._version not in ("", known))
            return self._version or known

    async def _look(self) -> None:
        try:
            while self._listening and not self._closed:
                self.signal.woken.clear()
                with contextlib.suppress(Unavailable):
                    version = await self.version()
                    async with self._changed:
                        self._version = version
                        self._changed.notify_all()
                await self.clock.sleep(PAUSE.total_seconds())
                await until_woken(self.signal.woken, LOOK - PAUSE, self.clock)
        finally:
            self._looking = None
            self._version = ""

    async def close(self) -> None:
        self._closed = True
        self.signal.woken.set()
        async with self._changed:
            self._changed.notify_all()
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
