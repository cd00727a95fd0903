"""Background tasks: work that is repeated beside delivery."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from callrail_relay.clock import Clock, until_woken
from callrail_relay.domain import events, guards
from callrail_relay.domain.health import CONTACT_AGE, Facts, Slept, is_well
from callrail_relay.domain.public_url import Answer, NoAnswer
from callrail_relay.domain.routing import Discovery
from callrail_relay.errors import RefusedByCallRail, Unavailable
from callrail_relay.outbox import presence, retention
from callrail_relay.outbox.claim import Due, newest_due
from callrail_relay.outbox.presence import BEAT
from callrail_relay.outbox.store import Store

FAULT_RETRY = timedelta(seconds=10)
STORE_RETRY = timedelta(seconds=1)


@dataclass(eq=False)
class PeriodicTask(ABC):
    """Takes turns, which must be safe to interrupt and repeat; an error ends only its turn."""

    store: Store
    hook: events.EventHook

    look = timedelta(seconds=60)  # how often to look, at least: another process may have left something
    rest = timedelta(seconds=1)  # between two turns, at least, unless something wakes it
    finishes = False  # whether a turn in progress is finished when the relay stops
    reports_store = False  # one task reports a failing store: all others would say the same

    def __post_init__(self) -> None:
        self._clock = self.store.clock
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._stopping = False

    @abstractmethod
    async def turn(self) -> datetime | None:
        """Do what is due, and return when more is; None if only ``wake`` can tell."""

    async def run(self) -> None:
        if self._stopping:
            return
        self._task = asyncio.create_task(self._run())
        try:
            await self._task
        except asyncio.CancelledError:
            if not self._stopping:
                raise

    def stop(self) -> None:
        self._stopping = True
        self.wake()
        if self._task is not None and not self.finishes:
            self._task.cancel()

    def wake(self) -> None:
        self._woken.set()

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            await until_woken(self._woken, await self._turn_or_wait(), self._clock)

    async def _turn_or_wait(self) -> timedelta:
        try:
            due_at = await self.turn()
        except Unavailable as error:
            if self.reports_store:
                self.hook(events.StoreFailed(reason=str(error), retry_in=STORE_RETRY))
            return STORE_RETRY
        except Exception as error:  # noqa: BLE001 - the webhook stays open, and a person gets an alert
            self.hook(events.ProgramFailed(reason=type(error).__name__, retry_in=FAULT_RETRY))
            return FAULT_RETRY
        if due_at is None:
            return self.look
        return min(self.look, max(self.rest, due_at - self._clock.now()))


class OneTask:
    """Work that no one waits for, one at a time; *done* is called when it's done without an error."""

    def __init__(self, done: Callable[[], None] = lambda: None) -> None:
        self._done = done
        self._task: asyncio.Task[object] | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    def begin(self, work: Callable[[], Coroutine[Any, Any, object]]) -> asyncio.Task[object]:
        """Begin *work*, unless some is in progress; return the task."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(work())
            self._task.add_done_callback(self._ended)
        return self._task

    def _ended(self, task: asyncio.Task[object]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._done()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


@dataclass(eq=False)
class Wakeup(PeriodicTask):
    """Asks the store once a second what has become due, and wakes *tasks* if there's something new."""

    tasks: Sequence[PeriodicTask]
    _known: Due = field(default=(None, None), init=False)

    look = timedelta(seconds=1)

    async def turn(self) -> None:
        newest = await self.store.read(newest_due)
        if newest != self._known:
            self._known = newest
            for task in self.tasks:
                task.wake()


@dataclass(eq=False)
class Connection(PeriodicTask):
    """Asks CallRail for its accounts when it hasn't answered for CONTACT_AGE."""

    callrail: Discovery
    account_ids: Sequence[str]

    async def turn(self) -> datetime | None:
        now = await self.store.now()
        known = (await self.store.read(presence.read_contacts, self.account_ids)).values()
        if all(one.is_recent(now) and not one.is_lost for one in known):
            return min((one.answered_at for one in known if one.answered_at), default=now) + CONTACT_AGE
        try:
            accounts = await self.callrail.accounts()
        except (RefusedByCallRail, Unavailable):
            accounts = []
        visible = {id_ for one in accounts for id_ in (one.id, one.numeric_id)}
        with contextlib.suppress(Unavailable):  # the next look asks again, and no sooner
            for answered in (True, False):
                if ids := [id_ for id_ in self.account_ids if (id_ in visible) is answered]:
                    await self.store.write(presence.note_contacts, ids, answered=answered)
        return None


class Heartbeat(PeriodicTask):
    """Notes regularly that this ``serve`` is running, on a store that several may serve."""

    async def turn(self) -> datetime:
        await self.store.beat()
        return self._clock.now() + BEAT


@dataclass(eq=False)
class OutsideHeartbeat(PeriodicTask):
    """Tells an outside service regularly that all is well; it alerts someone when that stops."""

    facts: Callable[[], Awaitable[Facts]]
    request: Callable[[], Awaitable[Answer]]  # raises NoAnswer
    _failed: bool = field(default=False, init=False)

    async def turn(self) -> None:
        if not is_well(await self.facts()):
            return
        try:
            status = (await self.request()).status
            reason = "" if 200 <= status < 300 else f"It answered {status}."
        except NoAnswer as error:
            reason = str(error)  # without its address, which contains a secret
        if reason and not self._failed:
            self.hook(events.HeartbeatFailed(reason=reason))
        self._failed = bool(reason)


STEP = 100  # submissions that one transaction examines: some milliseconds, which a webhook can wait


@dataclass(eq=False)
class Retention(PeriodicTask):
    """Removes personal data from texts that ended, once they came in longer ago than *after*."""

    after: timedelta

    look = timedelta(hours=1)

    async def turn(self) -> datetime | None:
        """Remove at most STEP; if there may be more, the next turn is due at once."""
        now = await self.store.now()
        if await self.store.write(retention.retire, now - self.after, STEP) >= STEP:
            return now
        await self.store.empty_log()
        return None


Refused = Callable[[str], None]  # takes one of a few reasons, and nothing from the request itself


@dataclass(eq=False)
class Refusals:
    """Counts refused requests by reason: logs the first at once, and those that follow once a minute."""

    clock: Clock
    hook: events.EventHook
    _counts: Counter[str] = field(default_factory=Counter, init=False)
    _logging: OneTask = field(default_factory=OneTask, init=False)

    def count(self, reason: str) -> None:
        self._counts[reason] += 1
        self._logging.begin(self._log_every_minute)

    async def close(self) -> None:
        await self._logging.close()
        self._log()

    async def _log_every_minute(self) -> None:
        while self._counts:
            self._log()
            await self.clock.sleep(60)

    def _log(self) -> None:
        counts, self._counts = self._counts, Counter()
        for reason, count in counts.items():
            self.hook(events.RequestsRefused(reason=reason, count=count))


HOLD_AGAIN = timedelta(minutes=5)  # Linux lets a computer be kept awake while its user is signed in


class SleepDetector:
    """Checked before a text is accepted or sent; all of *woken* are called after a sleep."""

    every = float("inf")  # seconds between two checks at most, unless something stopped this process

    def __init__(self, clock: Clock, *woken: Callable[[], None]) -> None:
        self._clock = clock
        self._last = clock.now(), clock.awake()
        self.woken = list(woken)
        self.unreported: Slept | None = None  # until SleepWatch reports it

    def look(self) -> None:
        (last, awake), self._last = self._last, (self._clock.now(), self._clock.awake())
        now, still_awake = self._last
        passed, awake = now - last, min(still_awake - awake, self.every)
        if guards.slept(passed, awake):
            self.unreported = Slept(round(passed.total_seconds() - awake), now)
            for on_wake in self.woken:
                on_wake()


@dataclass(eq=False)
class SleepWatch(PeriodicTask):
    """Checks while nothing comes in, reports each sleep, and lets *hold* keep the computer awake."""

    detector: SleepDetector  # its *woken* must wake this task
    hold: Callable[[], None] | None  # raises Unavailable
    _fault: str | None = field(default=None, init=False)
    _hold_at: datetime | None = field(default=None, init=False)

    look = timedelta(seconds=10)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.detector.every = self.look.total_seconds()

    async def turn(self) -> None:
        self.detector.look()
        slept, self.detector.unreported = self.detector.unreported, None
        if slept is not None:
            self.hook(events.ComputerSlept(seconds=slept.seconds))
            await self.store.note(slept=slept)
        now = self._clock.now()
        if self.hold is None or (self._hold_at is not None and now < self._hold_at):
            return
        try:
            self.hold()
        except Unavailable as error:
            if str(error) != self._fault:
                self.hook(events.KeepAwakeFailed(reason=str(error)))
            self._fault, self._hold_at = str(error), now + HOLD_AGAIN
