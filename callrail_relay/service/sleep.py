"""Noticing that this computer slept, and what follows: replies are read before anything is sent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from callrail_relay.clock import Clock
from callrail_relay.domain import guards
from callrail_relay.domain.events import ComputerSlept, KeepAwakeFailed
from callrail_relay.domain.health import Slept
from callrail_relay.errors import Unavailable
from callrail_relay.service.background import PeriodicTask

HOLD_AGAIN = timedelta(minutes=5)  # Linux lets a computer be kept awake while its user is signed in


class SleepDetector:
    """Looked at before a text is taken or sent; all of *woken* are called after a sleep."""

    def __init__(self, clock: Clock, *woken: Callable[[Slept], None]) -> None:
        self._clock = clock
        self._last = clock.now(), clock.awake()
        self.woken = list(woken)

    def look(self) -> None:
        (last, awake), self._last = self._last, (self._clock.now(), self._clock.awake())
        now, still_awake = self._last
        passed, awake = now - last, still_awake - awake
        if guards.slept(passed, awake):
            slept = Slept(round(passed.total_seconds() - awake), now)
            for tell in self.woken:
                tell(slept)


@dataclass(eq=False)
class SleepWatch(PeriodicTask):
    """Looks while nothing comes in, tells of each sleep, and lets *hold* keep the computer awake."""

    detector: SleepDetector
    woken: Callable[[], None]
    hold: Callable[[], None] | None  # raises Unavailable
    _untold: Slept | None = field(default=None, init=False)
    _fault: str | None = field(default=None, init=False)
    _hold_at: datetime | None = field(default=None, init=False)

    look = timedelta(seconds=10)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.detector.woken.append(self._woke)

    async def turn(self) -> None:
        self.detector.look()
        if (slept := self._untold) is not None:
            self._untold = None
            await self.store.note(slept=slept)
        now = self._clock.now()
        if self.hold is None or (self._hold_at is not None and now < self._hold_at):
            return
        try:
            self.hold()
        except Unavailable as error:
            if str(error) != self._fault:
                self.hook(KeepAwakeFailed(reason=str(error)))
            self._fault, self._hold_at = str(error), now + HOLD_AGAIN

    def _woke(self, slept: Slept) -> None:
        self._untold = slept
        self.hook(ComputerSlept(seconds=slept.seconds))
        self.woken()
