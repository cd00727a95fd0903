"""What an account may still send: pauses, limits, and the windows of an hour and a day."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from callrail_relay.domain.events import AccountPaused, AccountWaits, Event
from callrail_relay.domain.message import Reason
from callrail_relay.domain.outcome import Usage

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Limits:
    per_hour: int
    per_day: int

    def lowered(self, *, hour_allowed: int | None, day_allowed: int | None) -> "Limits":
        return Limits(
            per_hour=self.per_hour if hour_allowed is None else min(self.per_hour, hour_allowed),
            per_day=self.per_day if day_allowed is None else min(self.per_day, day_allowed),
        )


@dataclass(frozen=True, slots=True)
class Window:
    used: int
    allowed: int
    free_at: datetime | None = None  # when the next text fits; None if one fits now

    @property
    def room(self) -> int:
        return max(0, self.allowed - self.used)

    @property
    def share(self) -> float:
        return min(1.0, self.used / self.allowed)

    def lacks(self, needed: int) -> int:
        """Return how many uses have to expire before *needed* more fit; 0 if they fit now."""
        return max(0, self.used + needed - self.allowed)


def drains_at(now: datetime, *, pending: int, counted: Sequence[datetime], limits: Limits) -> datetime:
    """Return when the last of *pending* segments can be sent; *counted* are the uses so far, oldest first."""
    windows = (limits.per_hour, HOUR), (limits.per_day, DAY)
    allowed, length = max(windows, key=lambda window: window[1] / window[0])
    # From then on the uses so far don't matter: each segment follows *length* after the one that was sent
    # *allowed* before it.
    settled = 2 * (limits.per_hour + limits.per_day)
    rounds, rest = divmod(max(0, pending - settled), allowed)
    departures = [*counted]
    for _ in range(min(pending, settled) + rest):
        full = [departures[-most] + span for most, span in windows if len(departures) >= most]
        departures.append(max([now, *full]))
    return departures[-1] + rounds * length


FIREWALLED_MESSAGES = 3  # if so many messages in a row are refused, their words aren't the cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    id: str
    paused_since: datetime | None = None  # nothing is sent until a person resumes it
    paused_reason: Reason | None = None
    wait_until: datetime | None = None  # nothing is sent before; after it, one probe goes alone
    wait_reason: Reason | None = None
    strikes: int = 0  # consecutive answers that made it wait
    hour_allowed: int | None = None  # CallRail's own limits, if an answer named them
    day_allowed: int | None = None
    hour_excess: int = 0  # uses that CallRail counts and this relay didn't make, as of excess_at
    day_excess: int = 0
    excess_at: datetime | None = None
    max_characters: int | None = None  # the length this account turned out to accept, if below the setting
    firewalled: tuple[str, ...] = ()  # messages that a firewall refused since CallRail itself last answered

    def waits(self, now: datetime) -> bool:
        return self.wait_until is not None and self.wait_until > now

    def current(self, now: datetime) -> "Account":
        """Return the account without a wait that is over."""
        return self if self.waits(now) else replace(self, wait_until=None, wait_reason=None)

    def healthy(self) -> "Account":
        return replace(self, strikes=0, wait_until=None, wait_reason=None)

    def answered(self, now: datetime) -> "Account":
        """Return the account after an answer shows it can send; a wait goes on, since it began later."""
        reached = replace(self, firewalled=())
        return reached if self.waits(now) else reached.healthy()

    def refused_by_firewall(self, message_id: str) -> "Account":
        return replace(self, firewalled=tuple(dict.fromkeys((*self.firewalled, message_id))))

    @property
    def is_firewalled(self) -> bool:
        """Whether the firewall refuses the office's own address, and not single texts."""
        return len(self.firewalled) >= FIREWALLED_MESSAGES

    def paused(self, now: datetime, reason: Reason) -> "Account":
        return replace(self, paused_since=self.paused_since or now, paused_reason=reason)

    def resumed(self) -> "Account":
        return replace(self.healthy(), paused_since=None, paused_reason=None, firewalled=())

    def waiting(self, now: datetime, until: datetime, reason: Reason) -> "Account":
        """Return the account with one more strike, waiting until *until*; simultaneous refusals are one."""
        if not self.waits(now):
            return replace(self, wait_until=until, wait_reason=reason, strikes=self.strikes + 1)
        if self.wait_until is not None and until <= self.wait_until:
            return self
        return replace(self, wait_until=until, wait_reason=reason)

    def news(self, before: "Account") -> list[Event]:
        """Return the events of the account since it was like *before*."""
        found: list[Event] = []
        if self.paused_since is not None and before.paused_since is None:
            reason = self.paused_reason.code if self.paused_reason else ""
            found.append(AccountPaused(account_id=self.id, reason=reason))
        if self.wait_until is not None and self.wait_until != before.wait_until:
            reason = self.wait_reason.code if self.wait_reason else ""
            found.append(AccountWaits(account_id=self.id, until=self.wait_until, reason=reason))
        return found

    def strikes_before(self, now: datetime) -> int:
        """Return the strikes before the current wait, if there is one."""
        return self.strikes - 1 if self.waits(now) else self.strikes

    def used_by_others(self) -> list[datetime]:
        """Return an instant per use by others: when the hour's were seen; an hour earlier for the day's."""
        if self.excess_at is None:
            return []
        earlier = max(0, self.day_excess - self.hour_excess)
        return [self.excess_at - HOUR] * earlier + [self.excess_at] * self.hour_excess

    def corrected(self, usage: Usage, *, hour_used: int, day_used: int, now: datetime) -> "Account":
        """Return the account by CallRail's own count; one below ours may be of a newer window."""
        account = replace(
            self,
            hour_allowed=self.hour_allowed if usage.hour_allowed is None else usage.hour_allowed,
            day_allowed=self.day_allowed if usage.day_allowed is None else usage.day_allowed,
        )
        if usage.hour_used is None and usage.day_used is None:
            return account
        hour = self.hour_excess if usage.hour_used is None else max(0, usage.hour_used - hour_used)
        day = self.day_excess if usage.day_used is None else max(0, usage.day_used - day_used)
        return replace(account, hour_excess=hour, day_excess=day, excess_at=now)

    def explained(self, written_at: datetime) -> "Account":
        """Return the account once a use by others is known; it's no excess if CallRail's count had it."""
        if self.excess_at is None or written_at > self.excess_at:
            return self
        age = self.excess_at - written_at
        hour, day = max(0, self.hour_excess - (age < HOUR)), max(0, self.day_excess - (age < DAY))
        return replace(self, hour_excess=hour, day_excess=day)
