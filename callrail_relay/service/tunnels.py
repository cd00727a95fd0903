"""Keeping the tunnel of the settings up while a relay runs."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from callrail_relay.domain.events import TunnelEnded, TunnelStarted
from callrail_relay.domain.tunnels import LOST, WAYS, Tunnel, TunnelState, explain, find_address
from callrail_relay.errors import RelayError
from callrail_relay.service.background import PeriodicTask
from callrail_relay.service.public_address import PublicAddress

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(seconds=30)
STEADY = timedelta(minutes=1)  # what ran for so long was up, and is started again soon


class Program(Protocol):
    """A tunnel program that was started; it ends with this process at the latest."""

    @property
    def lines(self) -> Sequence[str]: ...  # what it printed last

    @property
    def code(self) -> int | None: ...  # None while it runs

    async def stop(self) -> None: ...


@dataclass(eq=False)
class TunnelKeeper(PeriodicTask):
    """Starts the program of the tunnel, watches it, and starts it again when it ends."""

    wanted: Callable[[], Tunnel | None]  # by the settings as they are now
    start: Callable[[Tunnel], Awaitable[Program]]  # raises RelayError
    note: Callable[[TunnelState | None], None]  # for other commands
    forget_url: Callable[[], None]  # takes the public URL out of the settings
    address: PublicAddress

    look = timedelta(seconds=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._tunnel: Tunnel | None = None
        self._state: TunnelState | None = None
        self._is_noted = False
        self._program: Program | None = None
        self._began, self._due, self._pause = 0.0, float("-inf"), FIRST_PAUSE
        self._is_confirming = False  # whether `expose` may just be about to write the public URL

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            await self._stop()
            self._show(None)

    def try_again(self) -> None:
        """Start at once what waits: the settings were written, perhaps after a person fixed something."""
        self._due, self._pause, self._is_confirming = float("-inf"), FIRST_PAUSE, True
        self._is_noted = False

    async def turn(self) -> None:
        wanted, now = self.wanted(), self._clock.monotonic()
        if wanted != self._tunnel:
            await self._stop()
            self._tunnel, self._due = wanted, float("-inf")
        if wanted is None:
            self._show(None)
        elif WAYS[wanted.kind].arguments is None:
            self._show(TunnelState(tunnel=wanted, running=True, address=wanted.address))
        elif self._program is None:
            if now >= self._due:
                await self._begin(wanted, now)
        elif self._program.code is None:
            # One that can't work mostly ends at once.
            if now - self._began >= FIRST_PAUSE.total_seconds():
                self._watch(wanted, find_address(wanted.kind, self._program.lines))
        else:
            lines = self._program.lines
            await self._stop()
            if now - self._began >= STEADY.total_seconds():
                self._pause = FIRST_PAUSE
            self._fail(wanted, explain(wanted, lines))

    async def _begin(self, tunnel: Tunnel, now: float) -> None:
        self._began = now
        try:
            self._program = await self.start(tunnel)
        except RelayError as error:
            self._fail(tunnel, str(error))
        else:
            self.hook(TunnelStarted(kind=tunnel.kind))

    def _watch(self, tunnel: Tunnel, found: str | None) -> None:
        if tunnel.address is None and found and self.address.url not in (None, found):
            self.address.move(None)
            self.forget_url()
            self._is_confirming = False
        is_lost = tunnel.address is None and self.address.url is None and not self._is_confirming
        address, detail = tunnel.address or found, LOST if is_lost else ""
        self._show(TunnelState(tunnel=tunnel, running=True, address=address, detail=detail))

    def _fail(self, tunnel: Tunnel, why: str) -> None:
        self._due = self._clock.monotonic() + self._pause.total_seconds()
        self._show(TunnelState(tunnel=tunnel, detail=why))
        self.hook(TunnelEnded(kind=tunnel.kind, reason=why, retry_in=self._pause))
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _stop(self) -> None:
        program, self._program = self._program, None
        if program is not None:
            await program.stop()

    def _show(self, state: TunnelState | None) -> None:
        if state != self._state or not self._is_noted:
            self._state, self._is_noted = state, True
            self.note(state)
