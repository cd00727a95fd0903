"""What the dashboard and metrics show of the store."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from callrail_relay.clock import Clock
from callrail_relay.domain.health import Facts, StoreStats
from callrail_relay.domain.message import Message
from callrail_relay.domain.opt_outs import OptOut
from callrail_relay.domain.views import (
    QUARTER,
    Arrivals,
    Conversation,
    Overview,
    TextFilter,
    TextHistory,
    TextPage,
)
from callrail_relay.outbox import history as store_history
from callrail_relay.outbox import opt_outs, presence, queries
from callrail_relay.outbox.store import Store
from callrail_relay.service.operations import FAILED_LATELY, Operations

OPT_OUTS = 200
"""Opt-outs that a page shows at most."""

BUBBLES = 60
RECENT = timedelta(hours=26)
PAST_LASTS = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastArrivals:
    """What came in from *since* to *until*, as it was counted at *counted_at*."""

    since: datetime
    until: datetime
    counted_at: datetime
    arrivals: tuple[Arrivals, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NowReport:
    facts: Facts
    overview: Overview


@dataclass(frozen=True, slots=True, kw_only=True)
class OneText:
    message: Message
    history: TextHistory


class History:
    """Reading for pages: nothing here changes anything, and nothing costs more in a larger store."""

    def __init__(self, store: Store, operations: Operations) -> None:
        self._store = store
        self._operations = operations
        self._past: PastArrivals | None = None

    async def now(self, arrivals_since: datetime) -> NowReport:
        """The facts of the verdict, and what came in since *arrivals_since*."""
        standings = tuple(await self._operations.standings())
        now = await self._store.now()
        past = await self._past_arrivals(now, arrivals_since)
        overview = await self._store.read(
            store_history.read_overview,
            [standing.account.id for standing in standings],
            max(past.until, arrivals_since),
            now - FAILED_LATELY,
        )
        overview = replace(overview, arrivals=(*past.arrivals, *overview.arrivals))
        facts = Facts(
            now=now,
            running=await self._store.running(),
            standings=standings,
            waiting=overview.waiting,
            contacts=await self._store.read(presence.read_contacts, self._operations.account_ids),
            any_texts=overview.any_texts,
        )
        return NowReport(facts=facts, overview=overview)

    async def _past_arrivals(self, now: datetime, since: datetime) -> PastArrivals:
        """What came in more than RECENT ago, of which little changes: it is counted once in PAST_LASTS."""
        past = self._past
        if past is None or past.since != since or not timedelta() <= now - past.counted_at < PAST_LASTS:
            # At a whole quarter, so that no quarter is counted in two parts.
            until = now - RECENT - (now - since) % QUARTER
            past = PastArrivals(
                since=since,
                until=until,
                counted_at=now,
                arrivals=await self._store.read(store_history.read_arrivals, since, until),
            )
            self._past = past
        return past

    async def for_person(self) -> int:
        """Return how many texts wait for a person."""
        return await self._store.read(store_history.count_for_person, self._store.clock.now() - FAILED_LATELY)

    async def page(self, wanted: TextFilter) -> TextPage:
        return await self._store.read(store_history.read_page, wanted)

    async def text(self, id_: str) -> list[OneText]:
        """The text with this id, or those of the submission with this id. Raises NotFound."""
        return [
            OneText(message=message, history=await self._store.read(store_history.read_history, message.id))
            for message in await self._operations.find(id_)
        ]

    async def conversation(
        self, tracking_number: str, recipient: str, before: datetime | None = None
    ) -> Conversation:
        return await self._store.read(
            store_history.read_conversation, tracking_number, recipient, before, BUBBLES
        )

    async def opt_outs(self) -> list[OptOut]:
        return await self._store.read(opt_outs.list_opt_outs, OPT_OUTS)

    async def marker(self) -> str:
        """Return a text that differs after every change."""
        return await self._store.read(store_history.read_marker)


OPT_OUTS_AGE = timedelta(minutes=5)
"""How old the number of opt-outs may be: counting reads the whole list."""


class StatsReader:
    """Reads what metrics show of the store."""

    def __init__(self, store: Store, facts: Callable[[], Awaitable[Facts]], clock: Clock) -> None:
        self._store = store
        self._facts = facts
        self._clock = clock
        self._opt_outs: tuple[float, int] | None = None

    async def read(self) -> StoreStats:
        """Raises Unavailable."""
        facts, counts = await self._facts(), await self._store.read(queries.read_counts)
        now = self._clock.monotonic()
        if self._opt_outs is None or now - self._opt_outs[0] >= OPT_OUTS_AGE.total_seconds():
            self._opt_outs = now, await self._store.read(queries.count_opt_outs)
        return StoreStats(facts=facts, counts=counts, opt_outs=self._opt_outs[1])
