"""The checks of ``doctor``, made now and then: each time asks CallRail, which counts these requests."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from callrail_relay.clock import Clock
from callrail_relay.service.health import HealthReport

REPORT_AGE = timedelta(minutes=1)
"""How old the answer of /readyz may be."""

SHOWN_AGE = timedelta(minutes=1)
"""How old a result may be on a page: an older one is shown with its time, and made again meanwhile."""


class Examine(Protocol):
    """Makes the checks; *anew* also those whose good answers are kept for a while, which ask CallRail."""

    async def __call__(self, *, anew: bool) -> HealthReport: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A result of the checks, and when it was made."""

    report: HealthReport
    at: datetime
    made: float
    """The same by the clock that nobody sets."""


class Examiner:
    """
    The latest result of the checks; nobody makes them twice at one time.

    *made* is called when a page need not wait for a new result, and it has come.
    """

    def __init__(self, examine: Examine, clock: Clock, made: Callable[[], None] = lambda: None) -> None:
        self._examine = examine
        self._clock = clock
        self._made = made
        self._lock = asyncio.Lock()
        self._examined: Examined | None = None
        self._task: asyncio.Task[HealthReport] | None = None
        self._outdated = False

    @property
    def is_examining(self) -> bool:
        return self._task is not None

    async def recent(self, oldest: timedelta = REPORT_AGE, *, anew: bool = False) -> HealthReport:
        """A result that is younger than *oldest*."""
        async with self._lock:
            examined = self._examined
            if examined is None or self._outdated or self._is_older(examined, oldest):
                anew, self._outdated = anew or self._outdated, False
                report = await self._examine(anew=anew)
                examined = Examined(report=report, at=self._clock.now(), made=self._clock.monotonic())
                self._examined = examined
            return examined.report

    def latest(self) -> Examined | None:
        """The result there is, None where there is none; an old one is renewed meanwhile."""
        examined = self._examined
        if self._task is None and (examined is None or self._outdated or self._is_older(examined, SHOWN_AGE)):
            self._task = asyncio.create_task(self.recent(SHOWN_AGE))
            self._task.add_done_callback(self._renewed)
        return examined

    def outdate(self) -> None:
        """Have the checks made again before they are relied on: a person changed what they are about."""
        self._outdated = True

    def _renewed(self, task: asyncio.Task[HealthReport]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is None:
            self._made()

    def _is_older(self, examined: Examined, span: timedelta) -> bool:
        """By both clocks: one stands still while the computer sleeps, and the other may be set."""
        ages = self._clock.monotonic() - examined.made, (self._clock.now() - examined.at).total_seconds()
        return max(map(abs, ages)) >= span.total_seconds()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
