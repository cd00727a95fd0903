"""
The checks of ``doctor``, made now and then: each time asks CallRail, which counts these requests.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from callrail_relay.clock import Clock
from callrail_relay.service.health import HealthReport

REPORT_AGE = timedelta(minutes=1)
"""How old the answer of /readyz may be."""

SHOWN_AGE = timedelta(minutes=5)
"""How old a result may be for a page that does not wait for a new one."""

Examine = Callable[[], Awaitable[HealthReport]]


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
        self._report: tuple[float, HealthReport] | None = None
        self._task: asyncio.Task[HealthReport] | None = None

    async def recent(self, oldest: timedelta = REPORT_AGE) -> HealthReport:
        """
        A result that is younger than *oldest*.
        """
        async with self._lock:
            if self._report is None or self._age(self._report[0]) >= oldest.total_seconds():
                report = await self._examine()
                self._report = self._clock.monotonic(), report
            return self._report[1]

    def latest(self) -> HealthReport | None:
        """
        The result there is, None where there is none; an old one is renewed meanwhile.
        """
        if self._task is None and (
            self._report is None or self._age(self._report[0]) >= SHOWN_AGE.total_seconds()
        ):
            self._task = asyncio.create_task(self.recent(SHOWN_AGE))
            self._task.add_done_callback(self._renewed)
        return None if self._report is None else self._report[1]

    def _renewed(self, task: asyncio.Task[HealthReport]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is None:
            self._made()

    def _age(self, made_at: float) -> float:
        return self._clock.monotonic() - made_at

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
