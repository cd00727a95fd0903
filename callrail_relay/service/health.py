"""Whether all is well: the checks that ``doctor`` and ``/readyz`` walk."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from callrail_relay.clock import Clock
from callrail_relay.domain.health import FailedCheck
from callrail_relay.errors import RelayError
from callrail_relay.outbox.store import Outbox

PROBE_INTERVAL = timedelta(seconds=1)
"""How old an answer about the store may be: whoever may ask for it must not keep the disk busy."""


class Condition(StrEnum):
    """How a check came out; a warning is nothing that keeps texts from leaving."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found: a sentence, which names the remedy unless all is well."""

    name: str
    condition: Condition
    detail: str
    exit_code: int = 0

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "status": self.condition, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """What all checks found."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """That of the first check that failed, or 0."""
        return next((one.exit_code for one in self.findings if one.condition is Condition.FAILED), 0)

    def document(self) -> dict[str, Any]:
        return {"ok": self.exit_code == 0, "checks": [finding.document() for finding in self.findings]}


RELAY = "relay"
"""The check of whether a ``serve`` works on the store now."""

PUBLIC_ADDRESS = "public address"

_SEEN_OTHERWISE = (RELAY, PUBLIC_ADDRESS, "accounts", "texts")
"""Checks of what the verdict knows by itself, and newer."""


def failed_checks(report: HealthReport | None) -> tuple[FailedCheck, ...]:
    """What failed, for the verdict."""
    return tuple(
        FailedCheck(name=finding.name, detail=finding.detail)
        for finding in (() if report is None else report.findings)
        if finding.condition is Condition.FAILED and finding.name not in _SEEN_OTHERWISE
    )


class Worry(RelayError):
    """What a check raises for something to know that keeps no text from leaving."""


Check = Callable[[], Awaitable[str]]
"""Answers with a sentence when all is well; raises Worry, or another RelayError, when not."""


async def examine(checks: Sequence[tuple[str, Check]]) -> HealthReport:
    """Run every check, whatever the ones before it found."""
    return HealthReport(findings=tuple([await _examine(name, check) for name, check in checks]))


async def _examine(name: str, check: Check) -> Finding:
    try:
        return Finding(name=name, condition=Condition.OK, detail=await check())
    except Worry as worry:
        return Finding(name=name, condition=Condition.WARNING, detail=str(worry))
    except RelayError as error:
        return Finding(name=name, condition=Condition.FAILED, detail=str(error), exit_code=error.exit_code)


class StoreProbe:
    """
    Whether the store can be written now: it is written, at most once in PROBE_INTERVAL.

    Where any other write failed since, it cannot.
    """

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked_at: float | None = None
        self._writable = False

    async def writable(self) -> bool:
        async with self._lock:
            now = self._clock.monotonic()
            if self._asked_at is None or now - self._asked_at >= PROBE_INTERVAL.total_seconds():
                self._writable = await self._write()
                self._asked_at = now
            return self._writable and not self._outbox.write_failed

    async def _write(self) -> bool:
        try:
            await self._outbox.write_probe()
        except Exception:  # noqa: BLE001 - whatever it is, the relay goes on and says that it cannot write
            return False
        return True
