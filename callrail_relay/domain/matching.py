"""
Finding our texts among those of a conversation in CallRail.

CallRail gives a text no id of ours, shows its history with changes of its own
(white space, quotation marks, opt-out wording at the end), and its clock is not
ours. So texts are matched as a multiset: each text found stands for one sending
at most, and sendings that are known to have arrived take theirs away first.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

BEFORE = timedelta(minutes=2)
"""How far CallRail's clock may be behind ours."""

AFTER = timedelta(minutes=10)
"""How late CallRail may write down a text that it took."""

_QUOTES = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u2026": "...",
    }
)
# What CallRail appends to a first text: instructions for leaving, in a wording that is not documented.
_OPT_OUT_WORDING = re.compile(
    r"\b(?:reply|text|txt|send|say)\W+(?:stop|end|cancel|quit)\b|\bunsubscribe\b|\bopt[ -]?out\b",
    re.IGNORECASE,
)
_LONGEST_WORDING = 160

Same = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundText:
    """
    An outgoing text of a conversation, as CallRail shows it.
    """

    content: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """
    What reading CallRail's conversation brought, and how many requests it took.
    """

    texts: tuple[FoundText, ...]
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """
    One attempt of ours: *certain* where CallRail confirmed it, else its outcome is the question.
    """

    attempt_id: int
    content: str
    started_at: datetime
    certain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """
    A sending whose outcome was the question, and the text that shows that it arrived.
    """

    sending: Sending
    found: FoundText


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """
    What a conversation proves: *matches*, and how many texts like ours nobody here knows of.
    """

    matches: tuple[Match, ...]
    surplus: int = 0


def match(sendings: Iterable[Sending], found: Sequence[FoundText]) -> Matches:
    """
    Give each sending the found text that is its own, certain ones first, older ones first.
    """
    ordered = sorted(
        sendings, key=lambda sending: (not sending.certain, sending.started_at, sending.attempt_id)
    )
    left = sorted(found, key=lambda text: text.created_at)
    matches: list[Match] = []
    # A text that is exactly ours is taken before one that only begins like ours.
    for same in (_equal, _with_wording):
        missing: list[Sending] = []
        for sending in ordered:
            text = _own(sending, left, same)
            if text is None:
                missing.append(sending)
                continue
            left.remove(text)
            if not sending.certain:
                matches.append(Match(sending=sending, found=text))
        ordered = missing
    questions = [one.sending for one in matches] + [one for one in ordered if not one.certain]
    surplus = sum(any(_fits(question, text, _equal) for question in questions) for text in left)
    return Matches(matches=tuple(matches), surplus=surplus)


def normalise(content: str) -> str:
    """
    A text without the differences that CallRail's history makes.
    """
    plain = unicodedata.normalize("NFC", content).translate(_QUOTES)
    return " ".join(plain.split())


def _own(sending: Sending, left: Sequence[FoundText], same: Same) -> FoundText | None:
    fitting = [text for text in left if _fits(sending, text, same)]
    return min(fitting, key=lambda text: abs(text.created_at - sending.started_at), default=None)


def _fits(sending: Sending, text: FoundText, same: Same) -> bool:
    in_time = sending.started_at - BEFORE <= text.created_at <= sending.started_at + AFTER
    return in_time and same(normalise(sending.content), normalise(text.content))


def _equal(ours: str, theirs: str) -> bool:
    return ours == theirs


def _with_wording(ours: str, theirs: str) -> bool:
    """
    Whether *theirs* is *ours* with opt-out wording behind it, and not another text that begins alike.
    """
    rest = theirs.removeprefix(ours)
    if rest == theirs or not ours or len(rest) > _LONGEST_WORDING:
        return False
    return _OPT_OUT_WORDING.search(rest) is not None
