"""What the dashboard and metrics show of the store, and when it changed."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from callrail_relay.clock import Cached, Clock, until_woken
from callrail_relay.domain import views
from callrail_relay.domain.events import Event
from callrail_relay.domain.health import Facts, StoreStats
from callrail_relay.outbox import history, opt_outs, queries, shadow
from callrail_relay.outbox.store import P, Statement, Store, T
from callrail_relay.service.background import OneTask

PLOTTED = timedelta(days=31)  # more than the longest plot shows
RECENT = timedelta(hours=26)
PAST_LASTS = timedelta(minutes=1)
KEPT_SINCE = timedelta(days=30)
KEPT_LASTS = timedelta(minutes=10)
OPT_OUTS_LAST = timedelta(minutes=5)  # counting them reads the whole list


def _reader(store: Store, statement: Statement[P, T]) -> Callable[P, Awaitable[T]]:
    async def read(*args: P.args, **kwargs: P.kwargs) -> T:
        return await store.read(statement, *args, **kwargs)

    return read


class History:
    """What pages and metrics read: it changes nothing, and costs no more in a larger store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._past = Cached(self._read_past, PAST_LASTS, store.clock)
        self._opt_outs = Cached(partial(store.read, queries.count_opt_outs), OPT_OUTS_LAST, store.clock)
        self.conversation = _reader(store, history.read_conversation)
        self.counts = _reader(store, queries.count_by_status)
        self.for_person = _reader(store, history.count_for_person)
        self.frees_at = _reader(store, history.read_frees_at)
        self.kept = Cached(self._read_kept, KEPT_LASTS, store.clock)
        self.marker = _reader(store, history.read_marker)  # a text that differs after every change
        self.opt_outs = _reader(store, opt_outs.list_opt_outs)
        self.page = _reader(store, history.read_page)
        self.request = _reader(store, queries.read_submission)
        self.requests_in_shadow = _reader(store, shadow.count_requests)
        self.rows = _reader(store, history.read_rows)
        self.shadow = _reader(store, shadow.read_shadow)
        self.today = _reader(store, history.read_today)
        self.waiting = _reader(store, history.read_waiting)

    async def arrivals(self) -> tuple[views.Arrivals, ...]:
        """Return what came in. What is older than RECENT hardly changes: it's counted once in PAST_LASTS."""
        until, past = await self._past.get()
        return (*past, *await self._store.read(history.read_arrivals, until, None))

    async def _read_past(self) -> tuple[datetime, tuple[views.Arrivals, ...]]:
        now = self._store.clock.now()
        until = now - RECENT
        return until, await self._store.read(history.read_arrivals, now - PLOTTED, until)

    async def _read_kept(self) -> views.Kept:
        return await self._store.read(history.read_kept, self._store.clock.now() - KEPT_SINCE)

    async def stats(self, facts: Facts) -> StoreStats:
        """Return the figures for metrics."""
        counts = await self._store.read(queries.read_counts)
        return StoreStats(facts=facts, counts=counts, opt_outs=await self._opt_outs.get())


LOOK = timedelta(milliseconds=500)  # how often to look for what others changed in the store
PAUSE = timedelta(milliseconds=200)  # a burst of changes is reported once in this time
HEARTBEAT = timedelta(seconds=15)  # a stream is silent for no longer, so that a lost connection is noticed


class ChangeSignal:
    """Counts what happened in this process; an event hook."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _event: Event | None = None) -> None:
        self.count += 1


@dataclass(eq=False)
class ChangeFeed:
    """The version of what all pages show. All open streams share one look at the store."""

    signal: ChangeSignal
    read_marker: Callable[[], Awaitable[str]]
    clock: Clock

    def __post_init__(self) -> None:
        self._latest = Cached(self.version, LOOK, self.clock)
        self._looking = OneTask()
        self._count = 0
        self._closed = asyncio.Event()

    async def version(self) -> str:
        # And every minute: limits free up, and what was well may not be, without a change.
        count, minute = self.signal.count, int(self.clock.now().timestamp() // 60)
        return f"{await self.read_marker()}-{count}-{minute}"

    async def versions(self, known: str) -> AsyncGenerator[str]:
        """Yield each version after *known* once it's there; after HEARTBEAT the known one again."""
        sent_at = self.clock.monotonic()
        while not self._closed.is_set():
            if self._count != self.signal.count:
                self._count = self.signal.count
                self._latest.expire()
            if self._latest.is_old():
                # A store that doesn't answer keeps no stream silent or open.
                await asyncio.wait([self._looking.begin(self._latest.get)], timeout=PAUSE.total_seconds())
            version = known if self._latest.is_old() else self._latest.value or known
            if version != known or self.clock.monotonic() - sent_at >= HEARTBEAT.total_seconds():
                known, sent_at = version, self.clock.monotonic()
                yield known
            await until_woken(self._closed, PAUSE, self.clock)

    async def close(self) -> None:
        self._closed.set()
        await self._looking.close()
