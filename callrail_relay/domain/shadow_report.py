"""What became of the texts that came in shadow, by what CallRail's conversations show."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from callrail_relay.domain.inbound import CallRailText, Company
from callrail_relay.domain.message import Message, Reason, instant
from callrail_relay.domain.printable import guarded, lines, printable
from callrail_relay.domain.reconcile import AFTER, BEFORE, FoundText, is_cut, is_shown, normalise


class Finding(StrEnum):
    PENDING = "pending"  # not shown yet
    MISSING = "missing"
    LATE = "late"
    CUT = "cut"
    DOUBLED = "doubled"
    OUT_OF_ORDER = "out_of_order"  # shown before an earlier one to the same person
    TO_OPTED_OUT = "to_opted_out"


LATE_AFTER = timedelta(seconds=60)
GIVE_UP_AFTER = timedelta(minutes=15)
_OF_SHADOW = ("not_passed_on", "restored")  # what holds a text though the rules would not


@dataclass(frozen=True, slots=True)
class Compared:
    text: Message
    sent_at: datetime | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """What would have held it here."""
        return tuple(one for one in self.text.reasons if one.code not in _OF_SHADOW)

    @property
    def would_hold(self) -> tuple[str, ...]:
        return tuple(one.code for one in self.reasons)

    @property
    def late_by(self) -> timedelta | None:
        return (
            self.sent_at - self.text.received_at if self.sent_at and Finding.LATE in self.findings else None
        )

    def document(self) -> dict[str, Any]:
        return {
            "id": self.text.id,
            "recipient": self.text.recipient,
            "received_at": instant(self.text.received_at),
            "sent_at": instant(self.sent_at),
            "findings": [one.value for one in self.findings],
            "would_hold": bool(self.would_hold),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    since: datetime | None
    until: datetime
    requests: Mapping[str, int]
    texts: Sequence[Compared]
    fault: str | None = None  # why CallRail's conversations couldn't all be read

    @property
    def counts(self) -> dict[str, int]:
        found = [finding for one in self.texts for finding in one.findings]
        return {
            "texts": len(self.texts),
            "sent": sum(one.sent_at is not None for one in self.texts),
            **{finding.value: found.count(finding) for finding in Finding},
            "would_hold": sum(bool(one.would_hold) for one in self.texts),
        }

    def document(self) -> dict[str, Any]:
        span = {"since": instant(self.since), "until": instant(self.until)}
        texts = [one.document() for one in self.texts]
        return {**span, "requests": dict(self.requests), "counts": self.counts, "texts": texts}

    def csv(self) -> str:
        header = ("id", "recipient", "received_at", "sent_at", "findings", "would_hold", "text")
        rows = (
            one.document()
            | {"findings": " ".join(one.findings), "would_hold": " ".join(one.would_hold)}
            | {"text": guarded(printable(one.text.text or ""))}
            for one in self.texts
        )
        return lines([header, *([row[name] or "" for name in header] for row in rows)])


def compare(
    texts: Sequence[Message],
    shown: Iterable[CallRailText],
    *,
    now: datetime,
    late_after: timedelta,
    give_up_after: timedelta,
    unread: Collection[Company] = (),
) -> list[Compared]:
    """Each text with what became of it; one that isn't whole, or of an *unread* company, has no findings."""
    theirs: dict[Company, list[FoundText]] = defaultdict(list)
    for one in shown:
        if one.company_id and one.destination.full and one.written_at:
            found = FoundText(content=one.content, created_at=one.written_at)
            theirs[one.company_id, one.destination.full].append(found)
    ours: dict[Company, dict[int, Message]] = defaultdict(dict)
    for place, text in enumerate(texts):
        if text.route is not None and text.recipient is not None and text.text is not None:
            ours[text.route.company_id, text.recipient][place] = text
    compared: dict[int, Compared] = {}
    for person, came in ours.items():
        sent, findings = _match(came, theirs[person])
        for place, text in came.items():
            found_here, at, route = findings[place], sent.get(place), text.route
            if at is not None:
                found_here |= {Finding.LATE} if at - text.received_at > late_after else set()
                opted_out = any(reason.code == "opt_out" for reason in text.reasons)
                found_here |= {Finding.TO_OPTED_OUT} if opted_out else set()
            elif route is not None and (route.account_id, route.company_id) not in unread:
                is_young = now - text.received_at < give_up_after
                found_here = {Finding.PENDING if is_young else Finding.MISSING}
            compared[place] = Compared(text, at, tuple(one for one in Finding if one in found_here))
    return [compared.get(place, Compared(text)) for place, text in enumerate(texts)]


def _match(
    came: Mapping[int, Message], shown: Iterable[FoundText]
) -> tuple[dict[int, datetime], dict[int, set[Finding]]]:
    """When each of a person's texts was shown, and what is wrong with how, each by its place."""
    left = sorted(shown, key=lambda one: one.created_at)
    ours = {place: (text.received_at, normalise(text.text or "")) for place, text in came.items()}
    findings: dict[int, set[Finding]] = defaultdict(set)
    sent = _give(ours, left, is_shown)
    while again := _give({place: ours[place] for place in sent}, left, is_shown):
        for place in again:
            findings[place].add(Finding.DOUBLED)
    cut = _give({place: one for place, one in ours.items() if place not in sent}, left, is_cut)
    for place in cut:
        findings[place].add(Finding.CUT)
    sent |= cut
    for place, at in sent.items():
        if any(earlier < place and at < their_at for earlier, their_at in sent.items()):
            findings[place].add(Finding.OUT_OF_ORDER)
    return sent, findings


def _give(
    ours: Mapping[int, tuple[datetime, str]], left: list[FoundText], fits: Callable[[str, str], bool]
) -> dict[int, datetime]:
    """Give each text, in order, one of what is *left*, first those sent soon: older ones may be lost."""
    given: dict[int, datetime] = {}
    for longest in (AFTER, timedelta.max):
        for found in [*left]:
            theirs = normalise(found.content)
            for place, (came_at, words) in ours.items():
                in_time = -BEFORE <= found.created_at - came_at <= longest
                if place not in given and in_time and fits(words, theirs):
                    given[place] = found.created_at
                    left.remove(found)
                    break
    return given
