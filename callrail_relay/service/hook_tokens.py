"""
The secret in the webhook's path.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from callrail_relay.clock import Clock

GRACE = timedelta(hours=24)
"""How long the former token stays valid after a rotation."""

REREAD = timedelta(seconds=10)
"""How often, at most, an unknown token makes us look whether there is a new one."""


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
        self._read_at = clock.now()

    async def opens(self, candidate: str) -> bool:
        """
        Whether *candidate* opens the webhook.
        """
        if self._known(candidate):
            return True
        now = self._clock.now()
        if now - self._read_at < REREAD:
            return False
        self._read_at = now
        self._tokens = await self._read() or self._tokens
        return self._known(candidate)

    def _known(self, candidate: str) -> bool:
        now = self._clock.now()
        # Every token is compared, so that the time does not tell which of them it was.
        return sum(token.matches(candidate, now) for token in self._tokens) > 0
