"""Tells the owner when something is wrong, once, and when it's over."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from callrail_relay.domain.alerts import AlertFacts, AlertPolicy, Code, Incident, Level, decide, due_since
from callrail_relay.domain.events import AlertFailed, AlertTold
from callrail_relay.domain.health import Facts
from callrail_relay.domain.retry import doubled
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import alerts
from callrail_relay.service.background import PeriodicTask

LEASE = timedelta(minutes=2)  # how long one node may take to report; longer than any channel takes to give up

FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=30), timedelta(minutes=15)
STORE_PATIENCE = timedelta(minutes=1)  # another process may lock the store for a moment

# Reports incidents, perhaps twice; returns the names of failed channels. Raises Unavailable if all failed.
SendAlerts = Callable[[Sequence[Incident]], Awaitable[Sequence[str]]]


@dataclass(eq=False)
class Alerts(PeriodicTask):
    """Checks whether something is wrong. Whatever fails here keeps no text from being sent."""

    facts: Callable[[], Awaitable[Facts]]
    send: SendAlerts | None  # None without a channel: then nothing is checked
    policy: AlertPolicy
    machine: str
    free_bytes: Callable[[], int | None]  # of the disk of *machine*; None if unknown
    _failures: int = field(default=0, init=False)
    _silent_since: datetime | None = field(default=None, init=False)
    _silence_sent: bool = field(default=False, init=False)

    look = timedelta(seconds=15)

    async def turn(self) -> None:
        if self.send is None:
            return
        try:
            if await self._change():
                claimed = await self.store.write(alerts.claim_alerts, LEASE)
                if claimed and await self._sent(claimed):
                    await self.store.write(alerts.mark_reported, claimed)
                elif claimed:
                    again_at = await self.store.now() + self._retry_in()
                    await self.store.write(alerts.put_off, claimed, again_at)
        except Unavailable as error:
            # Reported without the store, which can't hold this incident.
            now = self._clock.now()
            self._silent_since = self._silent_since or now
            if not self._silence_sent and now - self._silent_since >= STORE_PATIENCE:
                self._silence_sent = await self._sent([self._silence(Level.ERROR, str(error))])
        else:
            if self._silence_sent:
                self._silence_sent = not await self._sent([self._silence(Level.OVER)])
            self._silent_since = None

    async def _change(self) -> bool:
        """Open what is wrong, end what is over; return whether there's anything to report."""
        known = await self.store.read(alerts.read_incidents)
        health = await self.facts()
        account_ids = [one.account.id for one in health.accounts]
        due = due_since(known, self.policy, health.now)
        facts = AlertFacts(
            health=health,
            week=None if due is None else await self.store.read(alerts.read_week, *due),
            undecided=await self.store.read(alerts.read_undecided, self.policy.waiting),
            failures=await self.store.read(alerts.count_failures, account_ids),
            machine=self.machine,
            free_bytes=self.free_bytes(),
        )
        changes = decide(facts, known, self.policy)
        if changes:
            await self.store.write(alerts.change_incidents, changes)
        return bool(changes) or any(one.told_at is None for one in known)

    async def _sent(self, incidents: Sequence[Incident]) -> bool:
        try:
            failed = await self.send(incidents) if self.send else ()
        except Unavailable as error:
            self._failures += 1
            self.hook(AlertFailed(reason=str(error), retry_in=self._retry_in()))
            return False
        self._failures = 0
        names = ", ".join(one.key if one.is_open else f"{one.key} is over" for one in incidents)
        self.hook(AlertTold(alert=names, failed_channels=tuple(failed)))
        return True

    def _retry_in(self) -> timedelta:
        return doubled(self._failures - 1, FIRST_RETRY, LONGEST_RETRY)

    def _silence(self, level: Level, detail: str = "") -> Incident:
        since = self._silent_since or self._clock.now()
        parameters = {"since": since.isoformat(), "detail": detail}
        return Incident(key=Code.DATABASE, level=level, parameters=parameters, opened_at=since)
