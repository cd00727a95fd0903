"""The webhook secrets, which may change while they're in use."""

import asyncio
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from callrail_relay.clock import Cached, Clock
from callrail_relay.errors import SecretError, Unavailable

T = TypeVar("T")
GRACE = timedelta(hours=24)  # how long the former token stays valid after a rotation
MOST_FORMER = 10  # former tokens that are kept while valid: the Windows keyring holds no long text
REREAD = timedelta(seconds=2)  # how often an unknown token is looked up; an ended one may open for so long
ANSWER_IN = 2.0  # seconds for the store to say which tokens ended; without an answer it stores no text either


def new_token() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookToken:
    value: str
    valid_until: datetime | None = None  # None is forever

    def matches(self, candidate: str, now: datetime) -> bool:
        """Whether *candidate* is this token, in a time that doesn't reveal how much of it is right."""
        equal = hmac.compare_digest(self.value.encode(), candidate.encode("utf-8", "surrogateescape"))
        return equal and (self.valid_until is None or now < self.valid_until)


ReadTokens = Callable[[], Awaitable[Sequence[HookToken]]]
ReadEnded = Callable[[], Awaitable[Collection[str]]]  # digests of the tokens that were ended for every node


def digest(token: str) -> str:
    """Return a stand-in for *token*, for places that must not keep the token itself."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def read_former(kept: str) -> list[HookToken]:
    pairs = [entry.partition("|") for entry in kept.split(",") if entry]
    return [HookToken(value=value, valid_until=datetime.fromisoformat(until)) for until, _, value in pairs]


def write_former(tokens: Iterable[HookToken], now: datetime) -> str:
    """Return those of *tokens*, newest first, that are still valid, as one text."""
    valid = [
        f"{token.valid_until.isoformat()}|{token.value}"
        for token in tokens
        if token.valid_until is not None and now < token.valid_until
    ]
    return ",".join(valid[:MOST_FORMER])


def reread(values: T, read: Callable[[], Awaitable[T]], clock: Clock) -> Cached[T]:
    """Reread *values*, so that a change needs no restart; if that fails, they stay."""

    async def read_again() -> T:
        known = cached.value or values
        with contextlib.suppress(SecretError, Unavailable, TimeoutError):
            return await read() or known
        return known

    cached = Cached(read_again, REREAD, clock, values)
    return cached


class HookTokens:
    """The tokens that open the webhook: the current one, and for a while the former ones."""

    def __init__(
        self, tokens: Sequence[HookToken], read: ReadTokens, clock: Clock, read_ended: ReadEnded
    ) -> None:
        async def ended() -> Collection[str]:
            # Without an answer the text can't be stored either, and is refused with 503.
            async with asyncio.timeout(ANSWER_IN):
                return await read_ended()

        self._tokens = reread(tokens, read, clock)
        self._ended: Cached[Collection[str]] = reread((), ended, clock)
        self._clock = clock

    async def opens(self, candidate: str) -> bool:
        # Ask the store which ones ended: nothing else tells a node that a token is no longer valid.
        ended, known = await self._ended.get(), self._tokens.value or ()
        if not (self._is_one(candidate, known) or self._is_one(candidate, await self._tokens.get())):
            return False
        return not ended or digest(candidate) not in ended

    def _is_one(self, candidate: str, tokens: Sequence[HookToken]) -> bool:
        now = self._clock.now()
        # Every token is compared, so that the time doesn't reveal which one it was.
        return True in [token.matches(candidate, now) for token in tokens]
