"""Whether the public URL leads to this relay, and keeping up the tunnel that provides it."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from callrail_relay.domain import public_url
from callrail_relay.domain.events import PublicAddressChecked, TunnelEnded, TunnelStarted
from callrail_relay.domain.health import PublicUrl
from callrail_relay.domain.tunnels import LOST, WAYS, Tunnel, TunnelState, explain, find_address, is_connected
from callrail_relay.errors import RelayError, Unavailable
from callrail_relay.outbox import relay_secrets
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import PeriodicTask
from callrail_relay.service.health import CheckWarning, says
from callrail_relay.service.tokens import new_token

EVERY = timedelta(minutes=5)
AGAIN = timedelta(seconds=30)  # how long a good result, and a bad one, counts as recent


class FromInside(CheckWarning):
    """Raised when this relay answered through the public URL, but only inside its own network."""


@dataclass(eq=False)
class PublicAddress:
    """The public URL. *listener* is where a proxy or tunnel on this computer finds the ``serve``."""

    url: str | None
    store: Store
    fetch: public_url.Fetch
    listener: str
    tunnel: Callable[[], TunnelState | None] = lambda: None  # of the running relay
    for_now: bool = False  # http on loopback counts, too: a person is trying things out
    last: tuple[float, str | RelayError] | None = None  # when it was checked; a sentence, or what was wrong
    not_before: float = 0.0  # by the monotonic clock: a tunnel that starts needs a moment

    def move(self, url: str | None) -> None:
        """Check another URL from now on."""
        if url != self.url:
            self.url, self.last = url, None

    async def check(self) -> str | RelayError:
        """Ask through the public URL; return a sentence, or an error: CheckWarning if it can't be tried."""
        try:
            result: str | RelayError = await self._check()
        except Unavailable as error:
            # The tunnel's own words say more.
            state = self.tunnel()
            result = Unavailable(state.detail) if state and state.detail else error
        except RelayError as error:
            result = error
        self.last = self.store.clock.monotonic(), result
        return result

    async def recent(self) -> str:
        """Return or raise the last result while it's recent, else check again."""
        at, result = self.last or (float("-inf"), "")
        lasts = AGAIN if isinstance(result, RelayError) else EVERY
        if self.store.clock.monotonic() - at >= lasts.total_seconds():
            result = await self.check()
        if isinstance(result, RelayError):
            raise result
        return result

    @property
    def seen(self) -> PublicUrl | None:
        """Return the last result, for the verdict; None if no public URL is set, and none was lost."""
        if self.url is None:
            lost = self._lost
            return PublicUrl(url=lost.address or "", answered=False, detail=LOST) if lost else None
        if self.last is None:
            return PublicUrl(url=self.url)
        _, result = self.last
        if isinstance(result, str | FromInside):
            return PublicUrl(url=self.url, answered=True)
        # A warning is about what couldn't be tried from here.
        answered = None if isinstance(result, CheckWarning) else False
        return PublicUrl(url=self.url, answered=answered, detail=str(result))

    @property
    def _lost(self) -> TunnelState | None:
        """Return the tunnel whose temporary address has changed."""
        state = self.tunnel() if self.url is None else None
        return state if state is not None and state.detail == LOST else None

    async def _check(self) -> str:  # noqa: C901 - what may be found at the address, in order
        if self._lost:
            raise Unavailable(LOST)
        if self.url is None:
            raise CheckWarning(says("no_public_url"))
        url = public_url.read_public_url(self.url, for_now=self.for_now)
        secret = await self.store.write(relay_secrets.read_relay_secret, new_token())
        nonce = secrets.token_urlsafe(24)
        try:
            answer: public_url.Answer | public_url.NoAnswer = await self.fetch(f"{url}/healthz?probe={nonce}")
        except public_url.NoAnswer as error:
            answer = error
        reached = isinstance(answer, public_url.Answer) and public_url.is_proven(answer, secret, nonce)
        # Without a relay, the URL can't lead to it.
        if not reached and not await self.store.running():
            raise CheckWarning(says("nothing_runs", url=self.url))
        if reached and url.startswith("http:"):
            raise FromInside(says("from_here_only", url=url))
        if url.startswith("https:") and (why := public_url.proves_nothing(answer.addresses)) is not None:
            raise (FromInside if reached else CheckWarning)(says("unproven", url=url, why=why))
        if isinstance(answer, public_url.NoAnswer):
            if answer.trouble is public_url.Trouble.PROXY:
                raise CheckWarning(says("proxy", url=url, why=public_url.no_answer(answer, url)))
            raise Unavailable(public_url.no_answer(answer, url))
        if not reached:
            raise Unavailable(public_url.wrong_answer(answer, url, self.listener))
        if answer.status != 200:
            raise Unavailable(says("cannot_store", url=url, status=answer.status))
        return says("reached", url=url)


@dataclass(eq=False)
class PublicAddressWatch(PeriodicTask):
    """Checks the public URL while a relay runs, and reports when the result changes."""

    address: PublicAddress
    _reached: bool | None = field(default=None, init=False)

    look = EVERY

    async def turn(self) -> datetime | None:
        if self.address.url is None:
            return None
        if (early := self.address.not_before - self._clock.monotonic()) > 0:
            return self._clock.now() + timedelta(seconds=early)
        result = await self.address.check()
        reached = isinstance(result, str)
        if reached is not self._reached:
            self._reached = reached
            self.hook(PublicAddressChecked(reached=reached, detail=str(result)))
        return None if reached else self._clock.now() + AGAIN * 2


FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(seconds=30)
STEADY = timedelta(minutes=1)  # what ran for so long was up, and is restarted soon
SILENT = timedelta(seconds=20)  # what ran for so long without a word is up: ssh gives up after 15


class Program(Protocol):
    """A tunnel program that was started; it ends with this process at the latest."""

    @property
    def lines(self) -> Sequence[str]: ...  # what it printed last

    @property
    def code(self) -> int | None: ...  # None while it runs

    async def stop(self) -> None: ...


@dataclass(eq=False)
class TunnelKeeper(PeriodicTask):
    """Starts the tunnel's program, watches it, and restarts it when it ends."""

    wanted: Callable[[], Tunnel | None]  # by the current settings
    start: Callable[[Tunnel], Awaitable[Program]]  # raises RelayError
    note: Callable[[TunnelState | None], None]  # for other commands
    forget_url: Callable[[], None]  # removes the public URL from the settings
    address: PublicAddress

    look = timedelta(seconds=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._tunnel: Tunnel | None = None
        self._state: TunnelState | None = None
        self._is_noted = False
        self._program: Program | None = None
        self._began, self._due, self._pause = 0.0, float("-inf"), FIRST_PAUSE
        self._has_failed = False  # then the reason stays visible until it's up
        self._is_confirming = False  # whether `expose` may be about to write the public URL

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            await self._stop()
            self._show(None)

    def try_again(self) -> None:
        """Start at once what waits: the settings were written, perhaps after a person fixed something."""
        self._due, self._pause, self._is_confirming = float("-inf"), FIRST_PAUSE, True
        self._is_noted = self._has_failed = False

    async def turn(self) -> None:
        wanted, now = self.wanted(), self._clock.monotonic()
        if wanted != self._tunnel:
            await self._stop()
            self._tunnel, self._due, self._has_failed = wanted, float("-inf"), False
        if wanted is None:
            self._show(None)
        elif WAYS[wanted.kind].named is None:
            self._show(TunnelState(tunnel=wanted, running=True, address=wanted.address))
        elif self._program is None:
            if now >= self._due:
                await self._begin(wanted, now)
        elif self._program.code is None:
            if self._is_up(wanted, self._program.lines, now - self._began):
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
            if not self._has_failed:
                self._show(TunnelState(tunnel=tunnel, detail=self._lost(tunnel)))

    def _is_up(self, tunnel: Tunnel, lines: Sequence[str], seconds: float) -> bool:
        """A slow computer may take seconds to start a program that then can't work, so running isn't up."""
        connected = is_connected(tunnel.kind, lines)
        if connected or seconds >= SILENT.total_seconds():
            return True
        return connected is None and not self._has_failed and seconds >= FIRST_PAUSE.total_seconds()

    def _watch(self, tunnel: Tunnel, found: str | None) -> None:
        self._has_failed = False
        if tunnel.address is None and found and self.address.url not in (None, found):
            self.address.move(None)
            self.forget_url()
            self._is_confirming = False
        address = tunnel.address or found
        self._show(TunnelState(tunnel=tunnel, running=True, address=address, detail=self._lost(tunnel)))

    def _lost(self, tunnel: Tunnel) -> str:
        """Return what to say about a tunnel whose temporary address isn't the public URL now; else empty."""
        is_lost = tunnel.address is None and self.address.url is None and not self._is_confirming
        return LOST if is_lost else ""

    def _fail(self, tunnel: Tunnel, why: str) -> None:
        self._has_failed = True
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
