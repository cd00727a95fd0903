"""What an account may still send: its pauses, its limits, and the windows of an hour and a day."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from callrail_relay.domain.message import Reason
from callrail_relay.domain.outcome import Usage

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """Texts that may leave in any hour and in any day."""

    per_hour: int
    per_day: int

    def lowered(self, *, hour_allowed: int | None, day_allowed: int | None) -> "Limits":
        """These limits, or CallRail's own where those are smaller."""
        return Limits(
            per_hour=self.per_hour if hour_allowed is None else min(self.per_hour, hour_allowed),
            per_day=self.per_day if day_allowed is None else min(self.per_day, day_allowed),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a budget; ``free_at`` is when the next text fits, None if one fits now."""

    used: int
    allowed: int
    free_at: datetime | None = None

    @property
    def room(self) -> int:
        """How many more fit now."""
        return max(0, self.allowed - self.used)

    def lacks(self, needed: int) -> int:
        """How many uses have to run out before *needed* more fit; 0 when they fit now."""
        return max(0, self.used + needed - self.allowed)


def drains_at(now: datetime, *, pending: int, counted: Sequence[datetime], limits: Limits) -> datetime | None:
    """
    Return when the last of *pending* segments can be sent, if each is sent as early as both windows allow.

    *counted* holds the instants that still count, oldest first. None if nothing is pending or allowed.
    """
    if pending <= 0 or min(limits.per_hour, limits.per_day) <= 0:
        return None
    at_once = min(pending, _room(now, counted, limits))
    departures = [*counted, *[now] * at_once]
    left, alike, rounds = pending - at_once, 0, 0
    allowed, length = max(_windows(limits), key=lambda window: window[1] / window[0])
    while left:
        departure = _next_departure(now, departures, limits)
        repeats = len(departures) >= allowed and departure == departures[-allowed] + length
        alike = alike + 1 if repeats else 0
        departures.append(departure)
        left -= 1
        if alike == max(limits.per_hour, limits.per_day):
            # Each departure follows from as many before it, so from here on all of them repeat.
            rounds, left = divmod(left, allowed)
    return departures[-1] + rounds * length


def _windows(limits: Limits) -> tuple[tuple[int, timedelta], ...]:
    return (limits.per_hour, HOUR), (limits.per_day, DAY)


def _room(now: datetime, counted: Sequence[datetime], limits: Limits) -> int:
    """How many more fit into both windows at *now*."""
    used = [sum(instant > now - length for instant in counted) for _, length in _windows(limits)]
    return max(0, min(limits.per_hour - used[0], limits.per_day - used[1]))


def _next_departure(now: datetime, departures: list[datetime], limits: Limits) -> datetime:
    earliest = now
    for allowed, length in _windows(limits):
        if len(departures) >= allowed:
            earliest = max(earliest, departures[-allowed] + length)
    return earliest


FIREWALLED_MESSAGES = 3
"""So many different messages that a firewall refuses in a row are no accident of their words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    What is known of one account.

    ``paused_since``    nothing leaves until a person, or a successful set-up, resumes it
    ``wait_until``      nothing leaves before this instant; afterwards one probe goes alone
    ``strikes``         answers in a row that made it wait; 0 when all is well
    ``hour_allowed``    CallRail's own limits, where an answer named them
    ``hour_excess``     uses that CallRail counts and this relay did not make, as of ``excess_at``
    ``max_characters``  the length this account turned out to take, where it is less than the setting
    ``firewalled``      the ids of the messages that a firewall refused since CallRail itself last answered
    """

    id: str
    paused_since: datetime | None = None
    paused_reason: Reason | None = None
    wait_until: datetime | None = None
    wait_reason: Reason | None = None
    strikes: int = 0
    hour_allowed: int | None = None
    day_allowed: int | None = None
    hour_excess: int = 0
    day_excess: int = 0
    excess_at: datetime | None = None
    max_characters: int | None = None
    firewalled: tuple[str, ...] = ()

    def waits(self, now: datetime) -> bool:
        return self.wait_until is not None and self.wait_until > now

    def healthy(self) -> "Account":
        """The same account in good standing, waiting for nothing."""
        return replace(self, strikes=0, wait_until=None, wait_reason=None)

    def answered(self, now: datetime) -> "Account":
        """
        The same account after an answer that shows that it can send.

        A wait goes on: the request left before it began.
        """
        reached = replace(self, firewalled=())
        return reached if self.waits(now) else reached.healthy()

    def refused_by_firewall(self, message_id: str) -> "Account":
        """The same account after a firewall in front of CallRail refused one of its messages."""
        return replace(self, firewalled=tuple(dict.fromkeys((*self.firewalled, message_id))))

    @property
    def is_firewalled(self) -> bool:
        """Whether it is the office's own address that the firewall refuses, and not single texts."""
        return len(self.firewalled) >= FIREWALLED_MESSAGES

    def paused(self, now: datetime, reason: Reason) -> "Account":
        return replace(self, paused_since=self.paused_since or now, paused_reason=reason)

    def resumed(self) -> "Account":
        return replace(self.healthy(), paused_since=None, paused_reason=None, firewalled=())

    def waiting(self, now: datetime, until: datetime, reason: Reason) -> "Account":
        """
        The same account, one strike later, sending nothing before *until*.

        Several requests may have been under way when the first was refused: they are one strike, and the
        longest wait holds.
        """
        if not self.waits(now):
            return replace(self, wait_until=until, wait_reason=reason, strikes=self.strikes + 1)
        if self.wait_until is not None and until <= self.wait_until:
            return self
        return replace(self, wait_until=until, wait_reason=reason)

    def strikes_before(self, now: datetime) -> int:
        """The strikes before the wait that is going on, if one is."""
        return self.strikes - 1 if self.waits(now) else self.strikes

    def used_by_others(self) -> list[datetime]:
        """
        An instant for each use by others: those of the hour when they were told, others of the day an hour
        before.
        """
        if self.excess_at is None:
            return []
        earlier = max(0, self.day_excess - self.hour_excess)
        return [self.excess_at - HOUR] * earlier + [self.excess_at] * self.hour_excess

    def corrected(self, usage: Usage, *, hour_used: int, day_used: int, now: datetime) -> "Account":
        """
        The same account after CallRail told its own count, beside what this relay counted.

        Another program that shares the account shows up as excess; a smaller count than ours is not believed,
        since CallRail's window may have begun later.
        """
        account = replace(
            self,
            hour_allowed=self.hour_allowed if usage.hour_allowed is None else usage.hour_allowed,
            day_allowed=self.day_allowed if usage.day_allowed is None else usage.day_allowed,
        )
        if usage.hour_used is None and usage.day_used is None:
            return account
        # What CallRail does not tell of one window stays as it was told last.
        return replace(
            account,
            hour_excess=account.hour_excess
            if usage.hour_used is None
            else max(0, usage.hour_used - hour_used),
            day_excess=account.day_excess if usage.day_used is None else max(0, usage.day_used - day_used),
            excess_at=now,
        )

    def explained(self, written_at: datetime) -> "Account":
        """
        The same account after a use by others turned up that counts by itself from now on.

        If CallRail's last count had it already, it is no excess any more.
        """
        if self.excess_at is None or written_at > self.excess_at:
            return self
        age = self.excess_at - written_at
        return replace(
            self,
            hour_excess=max(0, self.hour_excess - (age < HOUR)),
            day_excess=max(0, self.day_excess - (age < DAY)),
        )
