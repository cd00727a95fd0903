"""Settling unknown outcomes: when to look, how texts are matched, and what follows."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from callrail_relay.domain import read_table
from callrail_relay.domain.routing import Route

RETRY_SOON = timedelta(minutes=1)
RETRY_LATER = timedelta(minutes=15)
LONGEST = timedelta(days=1)  # after this, no more look-ups are tried, even if CallRail never answered one
AUDIT_AFTER = timedelta(minutes=2)  # when to look for the first attempt of a text that was sent again


class OnUnknown(StrEnum):
    ASK = "ask"
    RESEND_ONCE = "resend_once"


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupPolicy:
    accounts: frozenset[str]
    ladder: tuple[timedelta, ...]  # the spans from when an outcome became unknown to each look-up
    on_unknown: OnUnknown
    requests_per_hour: int  # of CallRail's 1,000 general requests an hour
    lease: timedelta

    def next_look(self, unknown_since: datetime, *, answered: bool, now: datetime) -> datetime | None:
        """Return when to look again after a look-up; one that CallRail didn't *answer* isn't a rung."""
        if answered:
            rungs = (unknown_since + rung for rung in self.ladder)
            return next((rung for rung in rungs if rung > now), None)
        if now - unknown_since > LONGEST:
            return None
        return now + (RETRY_SOON if now < self.blocks_until(unknown_since) else RETRY_LATER)

    def blocks_until(self, unknown_since: datetime) -> datetime:
        """Return how long later texts to the same person wait for it."""
        return unknown_since + self.ladder[-1] + RETRY_SOON


@dataclass(frozen=True, slots=True, kw_only=True)
class DueLookup:
    attempt_id: int
    message_id: str
    route: Route
    recipient: str
    started_at: datetime
    conversation_id: str | None
    lease_until: datetime  # until then, one node has it


BEFORE = timedelta(minutes=2)  # how far CallRail's clock may be behind ours
AFTER = timedelta(minutes=10)  # how late CallRail may record a text that it accepted
# Carriers' gateways put plain marks in place of these, and drop invisible ones.
_PLAIN = {
    **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033"), '"'),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-"),
    **dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufe0e\ufe0f\ufeff")),
    ord("\u2026"): "...",
}
_OPT_OUT_WORDING = re.compile(
    read_table(__package__, "reconcile")["opt_out_wording"], re.IGNORECASE | re.VERBOSE
)
_LONGEST_WORDING = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundText:
    content: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    texts: tuple[FoundText, ...] = ()
    requests: int
    fault: str | None = None  # why they couldn't be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    attempt_id: int
    content: str
    started_at: datetime
    certain: bool  # CallRail confirmed it; otherwise its outcome is the question
    until: datetime | None = None  # when it began at the latest, if that isn't known


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    matches: tuple[tuple[Sending, FoundText], ...] = ()
    unclear: Mapping[int, int] = field(default_factory=dict)  # by a sending's id, how many texts could be it


def reach(
    started_at: datetime, found: Iterable[FoundText], until: datetime | None = None
) -> tuple[datetime, datetime]:
    """Return from when to when sendings began that may compete for the texts of one of *started_at*."""
    first, last = started_at, until or started_at
    written = sorted(text.created_at for text in found)
    while True:
        near = [at for at in written if first - BEFORE <= at <= last + AFTER]
        earliest = min([first, *(at - AFTER for at in near)])
        latest = max([last, *(at + BEFORE for at in near)])
        if (earliest, latest) == (first, last):
            return first, last
        first, last = earliest, latest


def _rank(sending: Sending) -> tuple[bool, datetime, int]:
    return not sending.certain, sending.started_at, sending.attempt_id


def match(sendings: Iterable[Sending], found: Sequence[FoundText]) -> Matches:
    """Give as many sendings as possible a found text each: certain ones first, then older ones."""
    ordered = sorted(sendings, key=_rank)
    fitting = _fitting(ordered, found)
    owners: dict[int, int] = {}
    for number in range(len(ordered)):
        _give(number, fitting, owners, tried=set())
    matches: list[tuple[Sending, FoundText]] = []
    unclear: dict[int, int] = {}
    for text, number in owners.items():
        sending = ordered[number]
        left = sum(other not in owners for other in fitting[number])
        # Among several texts that came after a backup, one is the one that was in it.
        if left and not sending.certain and sending.until is None:
            unclear[sending.attempt_id] = left + 1
        elif not sending.certain:
            matches.append((sending, found[text]))
    return Matches(matches=tuple(sorted(matches, key=lambda one: _rank(one[0]))), unclear=unclear)


def owner(sendings: Iterable[Sending], found: FoundText) -> Sending | None:
    """Return whose text *found* is: that of a certain sending before that of a questionable one."""
    ordered = sorted(sendings, key=_rank)
    fitting = _fitting(ordered, [found])
    return next((sending for sending, texts in zip(ordered, fitting, strict=True) if texts), None)


def _give(number: int, fitting: Sequence[Sequence[int]], owners: dict[int, int], *, tried: set[int]) -> bool:
    """Give a sending a text, for which an earlier one may have to swap: Kuhn's augmenting path."""
    for text in fitting[number]:
        if text in tried:
            continue
        tried.add(text)
        if text not in owners or _give(owners[text], fitting, owners, tried=tried):
            owners[text] = number
            return True
    return False


def normalize(content: str) -> str:
    """Return a text without the differences that CallRail's history makes."""
    return " ".join(unicodedata.normalize("NFC", content.translate(_PLAIN)).split())


def _fitting(sendings: Sequence[Sending], found: Sequence[FoundText]) -> list[list[int]]:
    """Return for each sending the positions of the texts that can be it, exact matches first."""
    ours = [normalize(sending.content) for sending in sendings]
    theirs = [normalize(text.content) for text in found]
    fits: list[list[tuple[bool, datetime, int]]] = [[] for _ in sendings]
    for position, text in enumerate(found):
        in_time = [
            number
            for number, sending in enumerate(sendings)
            if sending.started_at - BEFORE <= text.created_at <= (sending.until or sending.started_at) + AFTER
        ]
        same = [number for number in in_time if ours[number] == theirs[position]]
        begins = [number for number in in_time if _with_wording(ours[number], theirs[position])]
        # A text with wording behind it belongs to the longest of ours that it begins with.
        longest = max((len(ours[number]) for number in begins), default=0)
        for number in same or [number for number in begins if len(ours[number]) == longest]:
            fits[number].append((not same, text.created_at, position))
    return [[position for _, _, position in sorted(one)] for one in fits]


def is_cut(ours: str, theirs: str) -> bool:
    """Whether *theirs* is only a beginning of *ours*, both normalized, with or without opt-out wording."""
    if ours.startswith(theirs):
        return bool(theirs) and ours != theirs
    return any(_with_wording(ours[:end], theirs) for end in range(1, len(ours)))


def is_shown(ours: str, theirs: str) -> bool:
    return ours == theirs or _with_wording(ours, theirs)


def _with_wording(ours: str, theirs: str) -> bool:
    """Whether *theirs* is *ours* with opt-out wording behind it, and not another text that begins alike."""
    rest = theirs.removeprefix(ours)
    if rest in ("", theirs) or len(rest) > _LONGEST_WORDING:
        return False
    # If the last word goes on, it's another word: "Yes" isn't the beginning of "Yesterday".
    within_word = ours[-1].isalnum() and rest[:1].isalnum()
    return not within_word and _OPT_OUT_WORDING.match(rest) is not None
