"""What became of the texts that came in shadow, by what CallRail's conversations show."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from callrail_relay.domain.inbound import Company
from callrail_relay.domain.message import instant
from callrail_relay.domain.printable import guarded, lines
from callrail_relay.domain.reconcile import BEFORE, is_cut, is_shown, normalise


class Finding(StrEnum):
    PENDING = "pending"  # not shown yet
    MISSING = "missing"
    LATE = "late"
    CUT = "cut"
    DOUBLED = "doubled"
    OUT_OF_ORDER = "out_of_order"  # shown before an earlier one to the same person
    TO_OPTED_OUT = "to_opted_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowText:
    """A text that came in shadow, in the order of ``seq``."""

    seq: int
    id: str
    received_at: datetime
    recipient: str | None
    text: str | None
    account_id: str | None
    company_id: str | None
    would_hold: tuple[str, ...]  # codes of reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A text that CallRail shows as sent."""

    company_id: str
    recipient: str
    content: str
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    text: ShadowText
    sent_at: datetime | None = None
    findings: tuple[Finding, ...] = ()

    def document(self) -> dict[str, Any]:
        return {
            "id": self.text.id,
            "recipient": self.text.recipient,
            "received_at": instant(self.text.received_at),
            "sent_at": instant(self.sent_at),
            "findings": [one.value for one in self.findings],
            "would_hold": bool(self.text.would_hold),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    since: datetime | None
    until: datetime
    requests: Mapping[str, int]
    texts: tuple[Compared, ...]
    fault: str | None = None  # why CallRail's conversations couldn't all be read

    @property
    def counts(self) -> dict[str, int]:
        found = [finding for one in self.texts for finding in one.findings]
        return {
            "texts": len(self.texts),
            "sent": sum(one.sent_at is not None for one in self.texts),
            **{finding.value: found.count(finding) for finding in Finding},
            "would_hold": sum(bool(one.text.would_hold) for one in self.texts),
        }

    def document(self) -> dict[str, Any]:
        return {
            "since": instant(self.since),
            "until": instant(self.until),
            "requests": dict(self.requests),
            "counts": self.counts,
            "texts": [one.document() for one in self.texts],
        }

    def csv(self) -> str:
        header = ("id", "recipient", "received_at", "sent_at", "findings", "would_hold", "text")
        rows = (
            (
                one.text.id,
                one.text.recipient or "",
                instant(one.text.received_at) or "",
                instant(one.sent_at) or "",
                " ".join(one.findings),
                " ".join(one.text.would_hold),
                guarded(one.text.text or ""),
            )
            for one in self.texts
        )
        return lines([header, *rows])


@dataclass(slots=True)
class _Match:
    text: ShadowText
    words: str
    is_read: bool
    sent_at: datetime | None = None
    cut: bool = False
    doubled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the texts are compared with what is shown."""

    now: datetime
    late_after: timedelta
    give_up_after: timedelta
    unread: frozenset[Company] = frozenset()  # whose conversations are not all known

    def compare(self, texts: Iterable[ShadowText], shown: Iterable[Shown]) -> tuple[Compared, ...]:
        """Each text with what became of it; one that can't be looked for has no findings."""
        ours: dict[tuple[str, str], list[_Match]] = defaultdict(list)
        theirs: dict[tuple[str, str], list[Shown]] = defaultdict(list)
        for one in shown:
            theirs[one.company_id, one.recipient].append(one)
        matches: list[tuple[ShadowText, _Match | None]] = []
        for text in texts:
            match = None
            company = (text.account_id or "", text.company_id or "")
            if text.recipient is not None and text.text is not None and all(company):
                match = _Match(text, normalise(text.text), is_read=company not in self.unread)
                ours[company[1], text.recipient].append(match)
            matches.append((text, match))
        for person, came in ours.items():
            self._match(came, sorted(theirs[person], key=lambda one: one.written_at))
        overtaking = {one.text.seq for came in ours.values() for one in _overtaking(came)}
        return tuple(
            Compared(text=text) if match is None else self._judge(match, overtaking)
            for text, match in matches
        )

    def _match(self, came: Sequence[_Match], shown: Sequence[Shown]) -> None:
        """Give each shown text, in order, to one that came: whole ones first, then cut ones."""
        left = self._give(came, shown, is_shown)
        for one in left:
            words = normalise(one.content)
            if same := [each for each in came if each.sent_at is not None and is_shown(each.words, words)]:
                # Shown more often than it came.
                before = [each for each in same if not each.doubled and self._can_be(each, one)]
                if before:
                    before[-1].doubled = True
        others = [
            one for one in left if not any(is_shown(each.words, normalise(one.content)) for each in came)
        ]
        self._give([one for one in came if one.sent_at is None], others, is_cut, cut=True)

    def _give(
        self,
        came: Collection[_Match],
        shown: Iterable[Shown],
        fits: Callable[[str, str], bool],
        *,
        cut: bool = False,
    ) -> list[Shown]:
        left = []
        for one in shown:
            words = normalise(one.content)
            fitting = [
                each
                for each in came
                if each.sent_at is None and self._can_be(each, one) and fits(each.words, words)
            ]
            # The same words may have come days before, and got lost.
            fresh = [each for each in fitting if one.written_at - each.text.received_at <= self.give_up_after]
            if not fitting:
                left.append(one)
                continue
            chosen = (fresh or fitting)[0]
            chosen.sent_at, chosen.cut = one.written_at, cut
        return left

    def _can_be(self, came: _Match, shown: Shown) -> bool:
        return shown.written_at >= came.text.received_at - BEFORE

    def _judge(self, match: _Match, overtaking: Collection[int]) -> Compared:
        text, sent_at = match.text, match.sent_at
        if sent_at is None:
            if not match.is_read:
                return Compared(text=text)
            is_young = self.now - text.received_at < self.give_up_after
            return Compared(text=text, findings=(Finding.PENDING if is_young else Finding.MISSING,))
        found = {
            Finding.LATE: sent_at - text.received_at > self.late_after,
            Finding.CUT: match.cut,
            Finding.DOUBLED: match.doubled,
            Finding.OUT_OF_ORDER: text.seq in overtaking,
            Finding.TO_OPTED_OUT: "opt_out" in text.would_hold,
        }
        findings = tuple(finding for finding, holds in found.items() if holds)
        return Compared(text=text, sent_at=sent_at, findings=findings)


def _overtaking(came: Iterable[_Match]) -> Iterable[_Match]:
    """Those that are shown before an earlier one."""
    latest: datetime | None = None
    for one in came:
        if one.sent_at is not None:
            if latest is not None and one.sent_at < latest:
                yield one
            latest = one.sent_at if latest is None else max(latest, one.sent_at)
