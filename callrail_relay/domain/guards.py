"""Rules that hold a message and say why: each returns a reason or None, and its mode decides about it."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from callrail_relay.domain import read_table
from callrail_relay.domain.message import Reason, instant
from callrail_relay.domain.opt_outs import PossibleOptOut
from callrail_relay.domain.printable import printable_line, shortened
from callrail_relay.domain.quiet_hours import quiet_until

SHARED_WORDS = 0.6  # the share of the shorter text's words that two similar texts have in common
FEWEST_WORDS = 7  # a shorter text is never judged: "Sounds good, talk tomorrow" goes to many people
LENGTH_RATIO = 3  # a text with so many times the other's words contains them by accident
_LONGEST_TEXT = 4096
_TABLES = read_table(__package__, "guards")
# Every part is bounded or possessive, so that no text takes more than milliseconds.
_ADDRESS = re.compile(
    rf"\b\d\w*+(?:[\s.,#-]{{1,3}}+[^\W\d_]++){{0,4}}?[\s.,#-]{{1,3}}+(?:{'|'.join(_TABLES['street_types'].split())})\b"
)
_LINK = re.compile(
    r"(?:https?://|www\.)\S++|[^\s@]{1,64}+@\S++|\b[\w-]{1,63}+\.(?:com|net|org|io|co|us|info|biz|ly|me|app)\b\S*+"
)
_WORD = re.compile(r"(?<!\w)[^\W\d_]++(?:'[^\W\d_]++)*+(?!\w)")
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u2032\u00b4`", "'"))


@lru_cache(maxsize=4096)
def similarity_words(text: str, name: str | None = None) -> frozenset[str] | None:
    """Return the words of *text* that count in a comparison, without *name*; None if too few to judge."""
    plain = _plain(text)
    words = frozenset(_WORD.findall(_ADDRESS.sub(" ", _LINK.sub(" ", plain))))
    if name:
        words -= frozenset(_WORD.findall(_plain(name)))
    return words if len(words) >= FEWEST_WORDS else None


def are_similar(one: frozenset[str], other: frozenset[str]) -> bool:
    """Return whether two texts, given by their words, look as if they came from one template."""
    fewer, more = len(one), len(other)
    if fewer > more:
        fewer, more = more, fewer
    return more <= LENGTH_RATIO * fewer and len(one & other) >= SHARED_WORDS * fewer


def _plain(text: str) -> str:
    """Return the beginning of *text* with one way to write a letter and an apostrophe."""
    text = text[:_LONGEST_TEXT]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES))
        text = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return text.casefold()


AFTER_SLEEP = timedelta(minutes=5)  # for this long after waking, the same text is a sender's retry
NOTICED_WITHIN = timedelta(minutes=1)  # how long the machine may be awake before its sleep is noticed
SLEPT = timedelta(seconds=30)  # if the clock gains more than this, it was a sleep; less is a correction
MASS_TEXT_WINDOW = timedelta(minutes=10)  # similar texts within this time are counted together
MASS_TEXT_RECIPIENTS = 5  # similar texts to so many people are a mass text, which CallRail forbids
RECENT_TEXTS = 200  # how many of an account's latest texts a new one is compared with


class Mode(StrEnum):
    HOLD = "hold"
    WARN = "warn"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPolicy:
    duplicate: Mode
    duplicate_window: timedelta
    mass_text: Mode
    merge_tag: Mode
    opt_out: Mode
    too_old: Mode
    quiet_hours: Mode
    max_age: timedelta
    quiet_start: time
    quiet_end: time
    quiet_zone: str | None  # of all recipients, if known


@dataclass(frozen=True, slots=True)
class Verdict:
    holds: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()
    release_at: datetime | None = None  # None: it waits for a person

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return self.holds + self.warnings

    def joined(self, mode: Mode, reason: Reason | None) -> "Verdict":
        if reason is None or mode is Mode.OFF:
            return self
        if mode is Mode.WARN:
            return replace(self, warnings=(*self.warnings, reason))
        return replace(self, holds=(*self.holds, reason))


NOTHING_FOUND = Verdict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    now: datetime
    same_text: Reason | None = None
    people: int = 0  # how many people got a similar text lately, including this one
    opted_out: bool = False
    possible_opt_out: PossibleOptOut | None = None  # a reply that nobody has read yet
    waiting_since: datetime | None = None  # when it came in, or was last released
    recipient: str | None = None  # whose quiet hours count


def judge(
    policy: GuardPolicy,
    around: Circumstances,
    *,
    verdict: Verdict = NOTHING_FOUND,
    approved: Collection[str] = (),
) -> Verdict:
    age = too_old(around.waiting_since, around.now, policy.max_age)
    answers = [around.same_text, mass_text(around.people), age]
    for mode, reason in zip((policy.duplicate, policy.mass_text, policy.too_old), answers, strict=True):
        if reason is not None and reason.code not in (*approved, *(hold.code for hold in verdict.holds)):
            verdict = verdict.joined(mode, reason)
    if around.opted_out:  # no approval overrides it
        verdict = verdict.joined(policy.opt_out, Reason("opt_out"))
    elif around.possible_opt_out is not None:
        # Approving a text settles the reply that it showed, so one that is still there is another one.
        verdict = verdict.joined(policy.opt_out, maybe_opted_out(around.possible_opt_out))
    off = policy.quiet_hours is Mode.OFF or "quiet_hours" in approved
    # What is held for another reason isn't held for this one, too: an approval would override it unseen.
    if off or verdict.holds or around.recipient is None:
        return verdict
    start, end, zone = policy.quiet_start, policy.quiet_end, policy.quiet_zone
    until = quiet_until(around.recipient, around.now, start=start, end=end, zone=zone)
    if until is None:
        return verdict
    verdict = verdict.joined(policy.quiet_hours, Reason("quiet_hours", {"until": instant(until)}))
    return replace(verdict, release_at=until if verdict.holds else None)


def slept(passed: timedelta, awake: float) -> bool:
    """Whether the machine slept while *passed* by the clock: it was *awake* for so many seconds of that."""
    return passed - timedelta(seconds=awake) > SLEPT


def is_after_sleep(came: datetime, woke: datetime | None) -> bool:
    return woke is not None and woke <= came <= woke + AFTER_SLEEP


def duplicates_since(came: datetime, window: timedelta, woke: datetime | None) -> datetime:
    """Return since when equal texts are duplicates: senders repeat what a sleeping machine didn't answer."""
    since = came - window
    return min(since, woke) if woke is not None and is_after_sleep(came, woke) else since


def duplicate(earlier_id: str | None, window: timedelta, *, after_sleep: bool = False) -> Reason | None:
    """*earlier_id* is the same text to the same person, if any, within *window* or *after_sleep*."""
    if earlier_id is None:
        return None
    why = {"problem": "after_sleep"} if after_sleep else {"window_seconds": window.total_seconds()}
    return Reason("duplicate", {"message_id": earlier_id, **why})


def repeated(other_id: str | None) -> Reason | None:
    """*other_id* is the same text to the same person, which came in while this one couldn't be mapped."""
    if other_id is None:
        return None
    return Reason("duplicate", {"problem": "mapped_later", "message_id": other_id})


def merge_tag(text: str | None) -> Reason | None:
    found = None if text is None else find_placeholder(text)
    return None if found is None else Reason("merge_tag", {"placeholder": found})


class RecentText(NamedTuple):
    recipient: str
    words: frozenset[str]


def count_people(recipient: str, words: frozenset[str] | None, recent: Iterable[RecentText]) -> int:
    """Return how many people got a text with these *words* lately, counted up to a mass text."""
    people = {recipient}
    for other, theirs in recent:  # newest first: in a mass text, the first few decide
        if words and other not in people and are_similar(words, theirs):
            people.add(other)
            if len(people) >= MASS_TEXT_RECIPIENTS:
                break
    return len(people)


def mass_text(people: int) -> Reason | None:
    """*people* is how many got a similar text within MASS_TEXT_WINDOW, including this one."""
    limit = {"people": MASS_TEXT_RECIPIENTS, "window_seconds": MASS_TEXT_WINDOW.total_seconds()}
    return Reason("mass_text", limit) if people >= MASS_TEXT_RECIPIENTS else None


def maybe_opted_out(reply: PossibleOptOut) -> Reason:
    words = {"words": shortened(printable_line(reply.words))} if reply.words else {}
    return Reason("maybe_opted_out", {**words, "written_at": instant(reply.written_at)})


def too_old(waiting_since: datetime | None, now: datetime, max_age: timedelta) -> Reason | None:
    is_too_old = waiting_since is not None and now - waiting_since > max_age
    return Reason("too_old", {"max_age_seconds": max_age.total_seconds()}) if is_too_old else None


def too_long(needed: int, allowed: int) -> Reason:
    return Reason("too_long", {"needed": needed, "allowed": allowed})


_CORE = frozenset(_TABLES["field_words"].split())
_KNOWN = _CORE | frozenset(_TABLES["other_words"].split())


def _compiled(section: str) -> dict[str, re.Pattern[str]]:
    """Return the patterns of a section, with [names] replaced by the patterns they stand for."""
    named: dict[str, str] = _TABLES["named"]
    names = re.compile("|".join(map(re.escape, named)))
    patterns: dict[str, str] = _TABLES[section]
    return {key: re.compile(names.sub(lambda name: named[name[0]], one)) for key, one in patterns.items()}


_PATTERNS = _compiled("patterns")
_MARKED = _compiled("marked")


def find_placeholder(text: str) -> str | None:
    """Return the first placeholder in *text* that wasn't filled in, as it's written there."""
    firsts = [first for kind in _placeholders(text) if (first := next(kind, None))]
    found = min(firsts, key=lambda match: match.start(), default=None)
    return None if found is None else found[0].strip()[:60]


def _placeholders(text: str) -> Iterator[Iterator[re.Match[str]]]:
    """Yield those of each kind, in order; slow patterns are skipped if their mark is missing."""
    if _PATTERNS["marks_of_certain"].search(text):
        yield _PATTERNS["certain"].finditer(text)
    if _PATTERNS["words_of_nothing"].search(text):
        yield _PATTERNS["greeted_nothing"].finditer(text)
        yield _PATTERNS["named_nothing"].finditer(text)
        yield iter([only] if (only := _PATTERNS["only_nothing"].fullmatch(text)) else [])
    if "%" in text:
        begins = _PATTERNS["before_slash"].finditer(text)
        found = chain.from_iterable(_PATTERNS["percent"].finditer(text, *begin.span()) for begin in begins)
        yield (match for match in found if not _PATTERNS["escape"].match(match[1]))
    for mark, pattern in _MARKED.items():
        if mark in text:
            yield (match for match in pattern.finditer(text) if _names_a_field(match[1], match[0]))


def _names_a_field(inside: str, whole: str) -> bool:
    """Whether all words of it name fields; in braces, also what only a program writes as one word."""
    apart = _PATTERNS["within_name"].sub(" ", inside)
    words = _PATTERNS["between_words"].split(apart.strip().lower())
    known = len([word for word in words if word in _KNOWN])
    if known == len(words) and len(words) <= 5:
        # "[last]" may be a person's own; with a brace around it, it isn't.
        return any(word in _CORE for word in words) or whole[0] == "{"
    if whole[0] in "{[(<%#~$":
        return bool(_PATTERNS["joined"].fullmatch(inside)) and (whole[0] == "{" or known > 0)
    return False
