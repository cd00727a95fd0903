"""
The secret in the webhook's path.
"""

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from callrail_relay.clock import Clock

GRACE = timedelta(hours=24)
"""How long the former token stays valid after a rotation."""

REREAD = timedelta(seconds=2)
"""
How often, at most, an unknown token makes us look whether there is a new one. Anybody can send unknown
tokens; a new one that comes within this time of such a look is not known yet, so the time is short.
"""


def new_token() -> str:
    """
    256 random bits, fit for a URL.
    """
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookToken:
    """
    A token, and until when it is valid; None stands for always.
    """

    value: str
    valid_until: datetime | None = None

    def matches(self, candidate: str, now: datetime) -> bool:
        """
        Whether *candidate* is this token, in a time that does not tell how much of it is right.
        """
        equal = hmac.compare_digest(self.value.encode(), candidate.encode("utf-8", "surrogateescape"))
        return equal and (self.valid_until is None or now < self.valid_until)


ReadTokens = Callable[[], Awaitable[Sequence[HookToken]]]


class HookTokens:
    """
    The tokens that open the webhook: the current one, and for a while the one before it.

    They are read again when an unknown one comes, so that a rotation needs no restart.
    """

    def __init__(self, tokens: Sequence[HookToken], read: ReadTokens, clock: Clock) -> None:
        self._tokens = tokens
        self._read = read
        self._clock = clock
        self._lock = asyncio.Lock()
        self._read_at = clock.monotonic()

    def knows(self, candidate: str) -> bool:
        """
        Whether *candidate* opens the webhook, as far as it is known without a look for new tokens.
        """
        now = self._clock.now()
        # Every token is compared, so that the time does not tell which of them it was.
        return True in [token.matches(candidate, now) for token in self._tokens]

    async def opens(self, candidate: str) -> bool:
        """
        Whether *candidate* opens the webhook.
        """
        if self.knows(candidate):
            return True
        async with self._lock:
            # Somebody else may have looked while this one waited.
            if not self.knows(candidate) and self._may_read():
                await self._reread()
            return self.knows(candidate)

    async def _reread(self) -> None:
        try:
            self._tokens = await self._read() or self._tokens
        finally:
            # Counted from the end, so that a slow keyring is not asked all the time.
            self._read_at = self._clock.monotonic()

    def _may_read(self) -> bool:
        return self._clock.monotonic() - self._read_at >= REREAD.total_seconds()
