"""*Now*: whether all is well, what waits for a person, and how much of the budget is used."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from callrail_relay.clock import Clock
from callrail_relay.domain.account import DAY, HOUR, Window
from callrail_relay.domain.health import PublicUrl
from callrail_relay.domain.views import OldestUse
from callrail_relay.service.health import failed_checks
from callrail_relay.service.overview import History, NowReport
from callrail_relay.web.auth import Session
from callrail_relay.web.dashboard import plots, verdict
from callrail_relay.web.dashboard.actions import allowed
from callrail_relay.web.dashboard.examiner import Examiner
from callrail_relay.web.dashboard.frame import Frame

SeenUrl = Callable[[], PublicUrl | None]
"""Gives the public URL with the result of its last check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One window of the budget. ``frees_at`` is when the oldest use leaves it."""

    name: str
    used: int
    allowed: int
    free_at: datetime | None
    frees_at: datetime | None

    @property
    def left(self) -> int:
        return max(0, self.allowed - self.used)

    @property
    def percent(self) -> float:
        return min(100.0, 100 * self.used / self.allowed) if self.allowed else 100.0

    @property
    def level(self) -> str:
        """How near the end it is: full, nearly, fine."""
        if not self.left:
            return "full"
        return "nearly" if self.percent >= 80 else "fine"


class NowPage:
    def __init__(
        self, frame: Frame, history: History, examiner: Examiner, clock: Clock, public_url: SeenUrl
    ) -> None:
        self._frame = frame
        self._history = history
        self._examiner = examiner
        self._clock = clock
        self._public_url = public_url

    async def show(self, request: Request, session: Session) -> Response:
        report = await self._history.now(plots.begin(self._clock.now()))
        now = report.overview.now
        examined = self._examiner.latest()
        health = None if examined is None else examined.report
        facts = replace(
            report.facts,
            failed_checks=failed_checks(health),
            public_url=self._public_url(),
        )
        return await self._frame.draw(
            request,
            session,
            "now.html",
            now=now,
            waiting=report.overview.waiting,
            for_person=report.overview.waiting.for_person,
            verdict=verdict.render(facts),
            queue=verdict.queue_words(facts),
            running=verdict.running_words(facts),
            standings=facts.standings,
            gauges={one.account.id: _gauges(report, one.account.id) for one in facts.standings},
            plots=[
                plots.last_hours(report.overview.arrivals, now),
                plots.last_days(report.overview.arrivals, now),
            ],
            allowed=allowed,
        )


def _gauges(report: NowReport, account_id: str) -> tuple[Gauge, Gauge]:
    [standing] = [one for one in report.facts.standings if one.account.id == account_id]
    oldest = report.overview.oldest.get(account_id, OldestUse(hour=None, day=None))
    return (
        _gauge("hour", standing.hour, None if oldest.hour is None else oldest.hour + HOUR),
        _gauge("day", standing.day, None if oldest.day is None else oldest.day + DAY),
    )


def _gauge(name: str, window: Window, frees_at: datetime | None) -> Gauge:
    return Gauge(
        name=name, used=window.used, allowed=window.allowed, free_at=window.free_at, frees_at=frees_at
    )
