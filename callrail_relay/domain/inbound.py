"""What CallRail tells of one text: that it came from a person, or went out to one."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from callrail_relay.domain.opt_keywords import OptKeyword
from callrail_relay.domain.reconcile import Settled

SAME_TEXT = timedelta(minutes=2)
"""How far apart CallRail's webhook and its conversation may date the same text."""


class Direction(StrEnum):
    """Which way a text went."""

    IN = "in"
    """From the person to one of our numbers."""

    OUT = "out"
    """From one of our numbers to the person, whoever sent it."""


@dataclass(frozen=True, slots=True)
class ShownNumber:
    """A phone number as far as CallRail shows it: in full as E.164, or its last digits, or nothing."""

    full: str | None = None
    ending: str = ""

    def fits(self, number: str) -> bool:
        """Whether it can be *number*; one of which nothing is shown can be none in particular."""
        if self.full is not None:
            return number == self.full
        return bool(self.ending) and number.endswith(self.ending)

    def excludes(self, number: str) -> bool:
        """Whether it cannot be *number*; one of which nothing is shown excludes none."""
        return self != ShownNumber() and not self.fits(number)


Pair = tuple[str, str]
"""A tracking number and a recipient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The two numbers of a text: one of ours, and the person's."""

    ours: ShownNumber
    person: ShownNumber

    @property
    def pair(self) -> Pair | None:
        """Both numbers, where both are shown in full."""
        if self.ours.full is None or self.person.full is None:
            return None
        return self.ours.full, self.person.full

    def allow(self, pair: Pair) -> bool:
        """Whether the text can be between these two."""
        return not self.ours.excludes(pair[0]) and not self.person.excludes(pair[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRailText:
    """
    One text as CallRail tells of it.

    ``key``         CallRail's id of the text, or a digest of what tells it from others
    ``direction``   None where CallRail does not say
    ``source``      who sent it: the person, or one of our numbers
    ``seen``        whether it was read in a conversation, where texts have no ids
    """

    key: str
    content: str
    source: ShownNumber
    destination: ShownNumber
    written_at: datetime | None = None
    direction: Direction | None = None
    conversation_id: str | None = None
    thread_id: str | None = None
    company_id: str | None = None
    seen: bool = False

    def ends(self, direction: Direction) -> "Ends":
        """Its two numbers, by which way it went."""
        if direction is Direction.IN:
            return Ends(ours=self.destination, person=self.source)
        return Ends(ours=self.source, person=self.destination)

    def going(self, hint: Direction | None, tracking_numbers: Collection[str]) -> Direction:
        """
        Which way it went: as CallRail says, else as our *tracking_numbers* show, else as *hint* has it.

        A text of which nothing tells it is taken for one from a person: so no STOP is overlooked.
        """
        if self.direction is not None:
            return self.direction
        from_us = any(self.source.fits(number) for number in tracking_numbers)
        to_us = any(self.destination.fits(number) for number in tracking_numbers)
        if from_us != to_us:
            return Direction.OUT if from_us else Direction.IN
        return hint or Direction.IN


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessPolicy:
    """
    Whose texts are ours: the account of each company, and the tracking numbers.

    ``recipient_interval`` is what the next segment waits after one that turns out to have arrived.
    ``forwards`` is whether replies are passed on.
    """

    accounts: dict[str, str] = field(default_factory=dict)
    tracking_numbers: frozenset[str] = frozenset()
    recipient_interval: timedelta = timedelta(seconds=1)
    forwards: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """
    What became of a text that CallRail told of.

    ``is_new``      False for one that was told before
    ``keyword``     what it says about being texted
    ``people``      how many pairs of number and person it may be of: 1, unless CallRail masks the numbers
    ``suppressed``  how many of them are on the list of opt-outs now, and ``lifted`` how many left it
    ``doubted``     how many of them may have opted out, so that a person is asked before their next text
    ``settled``     the text of ours that it shows to have arrived
    ``by_others``   it went out, and not from here
    """

    key: str
    direction: Direction
    is_new: bool
    account_id: str | None = None
    keyword: OptKeyword | None = None
    people: int = 0
    suppressed: int = 0
    lifted: int = 0
    doubted: int = 0
    settled: Settled | None = None
    by_others: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenReplies:
    """
    Replies that CallRail's conversations show, those of one conversation together, oldest first.

    ``fault`` is why not all of them could be read, and ``requests`` how many requests it took.
    """

    conversations: tuple[tuple[CallRailText, ...], ...] = ()
    requests: int = 0
    fault: str | None = None


ReadText = Callable[[bytes, str | None], CallRailText | None]
"""Reads a webhook's body of a content type; None where it tells of no text."""
