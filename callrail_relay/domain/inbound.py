"""Texts that CallRail reports, by webhook and by poll, and replies that are forwarded."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from callrail_relay.domain.retry import doubled

SAME_TEXT = timedelta(minutes=2)  # how far apart CallRail's webhook and conversation may date the same text
SAME_MOMENT = timedelta(seconds=3)  # nobody writes STOP, START and STOP again so soon


class Direction(StrEnum):
    IN = "in"  # from the person to one of our numbers
    OUT = "out"  # from any sender


@dataclass(frozen=True, slots=True)
class ShownNumber:
    full: str | None = None  # as E.164
    ending: str = ""  # its last digits

    def fits(self, number: str) -> bool:
        """Whether it can be *number*; a completely masked number fits none."""
        return number == self.full if self.full else bool(self.ending) and number.endswith(self.ending)

    def excludes(self, number: str) -> bool:
        """Whether it can't be *number*; a completely masked number excludes none."""
        return self != ShownNumber() and not self.fits(number)


Pair = tuple[str, str]  # a tracking number and a recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    ours: ShownNumber
    person: ShownNumber

    @property
    def pair(self) -> Pair | None:
        return (self.ours.full, self.person.full) if self.ours.full and self.person.full else None

    def allow(self, pair: Pair) -> bool:
        return not self.ours.excludes(pair[0]) and not self.person.excludes(pair[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRailText:
    key: str  # CallRail's id of the text, or a digest of what distinguishes it
    content: str
    source: ShownNumber  # who sent it: the person, or one of our numbers
    destination: ShownNumber
    written_at: datetime | None = None
    direction: Direction | None = None  # None if CallRail doesn't say
    conversation_id: str | None = None
    thread_id: str | None = None
    company_id: str | None = None
    seen: bool = False  # read in a conversation, where texts have no ids

    def ends(self, direction: Direction) -> Ends:
        ours, person = self.source, self.destination
        return Ends(ours=person, person=ours) if direction is Direction.IN else Ends(ours=ours, person=person)

    def going(self, hint: Direction | None, tracking_numbers: Collection[str]) -> Direction:
        """Return its direction: as CallRail says, else as our *tracking_numbers* show, else *hint*."""
        if self.direction is not None:
            return self.direction
        from_us, to_us = (any(map(end.fits, tracking_numbers)) for end in (self.source, self.destination))
        if from_us != to_us:
            return Direction.OUT if from_us else Direction.IN
        return hint or Direction.IN  # so that no STOP is missed


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundPolicy:
    accounts: dict[str, str]  # by company
    tracking_numbers: frozenset[str]
    forwards: bool


@dataclass(frozen=True, slots=True)
class SeenReplies:
    conversations: tuple[tuple[CallRailText, ...], ...] = ()  # each oldest first, with what was sent
    requests: int = 0
    fault: str | None = None  # why not everything could be read
    is_last: bool = True  # whether no page follows
    ahead: timedelta = timedelta()  # how far CallRail's clock is ahead of ours


FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
GIVE_UP = timedelta(days=1)  # after this, a reply isn't retried; it stays in the conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    resource_id: str
    text: str
    received_at: datetime
    tries: int  # including this one
    tracking_number: str | None = None
    recipient: str | None = None
    seller: str | None = None
    seller_id: str | None = None
    opportunity_id: str | None = None
    sender_id: str | None = None

    @property
    def title(self) -> str:
        return f"Text from {self.seller or self.recipient or 'an unknown number'}"

    @property
    def words(self) -> str:
        ids = {"opportunity": self.opportunity_id, "seller": self.seller_id, "sender": self.sender_id}
        told = {"From": self.recipient, "To": self.tracking_number, **{f"IF3 {k}": v for k, v in ids.items()}}
        lines = [f"{name}: {value}" for name, value in told.items() if value]
        return "\n".join([self.text or "(no words: a picture, or another file)", "", *lines])

    def retry_at(self, now: datetime) -> datetime | None:
        """Return when to try again after this try failed; None if it's given up."""
        wait = doubled(self.tries - 1, FIRST_RETRY, LONGEST_RETRY)
        return now + wait if now - self.received_at < GIVE_UP else None


OVERLAP = timedelta(minutes=10)  # how far polls overlap: CallRail may show a text late
FIRST = timedelta(days=1)  # how far the very first poll reaches back
LONGEST = timedelta(days=7)  # how far a poll reaches back at most, after the relay was off
Company = tuple[str, str]  # an account and one of its companies


@dataclass(frozen=True, slots=True, kw_only=True)
class PollPolicy:
    companies: tuple[Company, ...]
    every: timedelta
    requests_per_hour: int  # shared with look-ups
    lease: timedelta
    not_before: datetime | None = None  # earlier polls don't count
    retry: timedelta | None = None  # after a failed poll; otherwise *every*

    @property
    def accounts(self) -> frozenset[str]:
        return frozenset(account_id for account_id, _ in self.companies)

    def since(self, now: datetime, polled_at: datetime | None) -> datetime:
        """Return how far back to read, if the last successful poll began at *polled_at*."""
        return now - FIRST if polled_at is None else max(polled_at - OVERLAP, now - LONGEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePoll:
    id: int
    account_id: str
    company_id: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookIntegration:
    id: str | None = None  # None if the company never had one
    config: Mapping[str, Any] = field(default_factory=dict)  # CallRail's own, not examined here
    signing_key: str | None = None
    active: bool = True  # False if it's switched off


class Change(StrEnum):
    CREATED = "created"
    ADDED = "added"  # to those that the company had before
    UNCHANGED = "unchanged"
