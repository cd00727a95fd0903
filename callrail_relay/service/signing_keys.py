"""The keys with which CallRail signs its webhooks."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from callrail_relay.clock import Clock
from callrail_relay.service.tokens import REREAD

ReadKeys = Callable[[], Awaitable[Sequence[str]]]
Verify = Callable[[Iterable[str], bytes, str | None], bool]
"""Whether a header is the signature of a body under one of the keys."""


class SigningKeys:
    """
    One key for each company, and two while one is replaced.

    They are read again when a signature fits none, so that a new one needs no restart.
    """

    def __init__(self, keys: Sequence[str], read: ReadKeys, verify: Verify, clock: Clock) -> None:
        self._keys = keys
        self._read = read
        self._verify = verify
        self._clock = clock
        self._lock = asyncio.Lock()
        self._read_at = clock.monotonic()

    async def refusal(self, body: bytes, signature: str | None) -> str | None:
        """Why *signature* is not CallRail's of the raw *body*; None where it is."""
        if not signature:
            return "no signature"
        if self._verify(self._keys, body, signature):
            return None
        async with self._lock:
            if self._clock.monotonic() - self._read_at >= REREAD.total_seconds():
                await self._reread()
        if self._verify(self._keys, body, signature):
            return None
        return "wrong signature" if self._keys else "no signing key is set"

    async def _reread(self) -> None:
        try:
            self._keys = await self._read() or self._keys
        finally:
            # Counted from the end, so that a slow keyring is not asked all the time.
            self._read_at = self._clock.monotonic()
