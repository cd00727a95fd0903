"""Running beside another system: what is passed on to it, what its answer means, and how it did."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from callrail_relay.domain.inbound import CallRailText, Company
from callrail_relay.domain.mapper import RawSubmission
from callrail_relay.domain.message import Message, Reason, as_json
from callrail_relay.domain.printable import guarded, lines, printable
from callrail_relay.domain.reconcile import AFTER, BEFORE, FoundText, is_cut, is_shown, normalize
from callrail_relay.domain.routing import is_loopback
from callrail_relay.errors import UsageError

ANSWER_WITHIN = timedelta(seconds=20)  # how long the old URL may take before IF3 gets our own answer
LEASE = ANSWER_WITHIN + timedelta(seconds=20)  # after it, a try counts as one that may have arrived
LARGEST_ANSWER = 65_536  # bytes


class Mode(StrEnum):
    SHADOW = "shadow"  # another system sends: requests are stored and passed on
    LIVE = "live"


class State(StrEnum):
    WAITING = "waiting"  # certainly not passed on yet
    PASSING = "passing"  # a try is in progress: it may have arrived
    FORWARDED = "forwarded"  # answered below 400
    REFUSED = "refused"  # answered with 4xx
    UNKNOWN = "unknown"  # may have arrived, and isn't passed on again
    HELD = "held"  # no longer passed on; its texts are on hold here


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    mode: Mode = Mode.LIVE
    since: datetime | None = None
    forward_to: str | None = None
    waiting: int = 0

    @property
    def is_on(self) -> bool:
        return self.mode is Mode.SHADOW

    @property
    def masked_url(self) -> str | None:
        """Return only the host of the old URL: the rest lets anyone post there."""
        parts = self.forward_to and urlsplit(self.forward_to)
        return f"{parts.scheme}://{parts.hostname}/…" if parts else None

    def document(self) -> dict[str, Any]:
        return {**as_json(self, "mode", "since", "waiting"), "forward_to": self.masked_url}


@dataclass(frozen=True, slots=True, kw_only=True)
class PassOn:
    """A request to pass on; *id* is None for one that couldn't be stored."""

    id: int | None
    tries: int = 1  # including this one
    url: str
    request: RawSubmission


@dataclass(frozen=True, slots=True)
class Passed:
    """The result of one try; WAITING again if certainly not a byte of it arrived."""

    state: State
    detail: str | None = None
    http_status: int | None = None
    body: bytes | None = None  # of a complete answer that isn't too large
    content_type: str | None = None


def answered(status: int, body: bytes | None = None, content_type: str | None = None) -> Passed:
    failed = State.REFUSED if status < 500 else State.UNKNOWN
    return Passed(State.FORWARDED if status < 400 else failed, None, status, body, content_type)


_OLD_URL = re.compile(
    r"(https?)://([\w.-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?(?:[/?][^\x00-\x20#\\\x7f-\U0010ffff]*)?",
    re.ASCII | re.IGNORECASE,
)


def read_old_url(text: str) -> str:
    """Return *text* as an address to pass requests on to. Raises UsageError, which shows only its host."""
    url = text.strip()
    parts = _OLD_URL.fullmatch(url)
    if parts is None or int(parts[3] or 1) > 65535:
        raise UsageError(
            "--forward-to isn't the web address of a webhook. Copy it from the old one, such as "
            "https://hooks.zapier.com/hooks/catch/…"
        )
    if "/hooks/if3/" in url.lower():
        raise UsageError("--forward-to is a relay's own webhook URL. Give the one that IF3 used before.")
    if parts[1].lower() == "http" and not is_loopback(parts[2].strip("[]")):
        raise UsageError(f"Without https anyone on the way to {parts[2]} can read the texts. Use https.")
    return url


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
_OF_SHADOW = ("not_passed_on", "restored")  # what holds a text although no rule would


@dataclass(frozen=True, slots=True)
class Compared:
    text: Message
    sent_at: datetime | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Return what would have held it here."""
        return tuple(one for one in self.text.reasons if one.code not in _OF_SHADOW)

    @property
    def late_by(self) -> timedelta | None:
        return (
            self.sent_at - self.text.received_at if self.sent_at and Finding.LATE in self.findings else None
        )

    def document(self) -> dict[str, Any]:
        document = as_json(self.text, "id", "recipient", "received_at") | as_json(self, "sent_at", "findings")
        return {**document, "would_hold": bool(self.reasons)}


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
            "would_hold": sum(bool(one.reasons) for one in self.texts),
        }

    def document(self) -> dict[str, Any]:
        texts = [one.document() for one in self.texts]
        return {**as_json(self, "since", "until", "requests", "counts"), "texts": texts}

    def csv(self) -> str:
        header = ("id", "recipient", "received_at", "sent_at", "findings", "would_hold", "text")
        rows = (
            one.document()
            | {"findings": " ".join(one.findings), "would_hold": " ".join(why.code for why in one.reasons)}
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
    """Return what became of each text; incomplete ones, and those of an *unread* company, have none."""
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
    """Return when each of a person's texts was shown, and what is wrong with that, by place."""
    left = sorted(shown, key=lambda one: one.created_at)
    ours = {place: (text.received_at, normalize(text.text or "")) for place, text in came.items()}
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
            theirs = normalize(found.content)
            for place, (came_at, words) in ours.items():
                in_time = -BEFORE <= found.created_at - came_at <= longest
                if place not in given and in_time and fits(words, theirs):
                    given[place] = found.created_at
                    left.remove(found)
                    break
    return given
