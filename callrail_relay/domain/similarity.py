"""Mass texts: whether two texts look as if they were merged from one template."""

import re
import unicodedata
from functools import lru_cache

SHARED_WORDS = 0.6
"""The part of the shorter text's words that two similar texts share."""

FEWEST_WORDS = 7
"""A shorter text is never judged: "Sounds good, talk tomorrow" goes to any number of people."""

LENGTH_RATIO = 3
"""A text with so many times the other's words shares its common words by accident."""

_LONGEST_TEXT = 4096
_STREET_TYPES = """
    alley aly apartment apt av ave avenue bend blvd boulevard bridge cir circle court cove creek crossing
    ct cv dr drive expy fwy grove highway hollow hwy lane ln loop lp parkway pass path pike pkwy pl place
    plaza plz point pt rd road route row rte run sq square st street suite ter terrace tpke trail trl
    turnpike unit way xing
"""
# Every part is bounded or possessive, so that no text of any kind takes more than milliseconds.
_ADDRESS = re.compile(
    rf"\b\d\w*+(?:[\s.,#-]{{1,3}}+[^\W\d_]++){{0,4}}?[\s.,#-]{{1,3}}+(?:{'|'.join(_STREET_TYPES.split())})\b"
)
_LINK = re.compile(
    r"(?:https?://|www\.)\S++|[^\s@]{1,64}+@\S++|\b[\w-]{1,63}+\.(?:com|net|org|io|co|us|info|biz|ly|me|app)\b\S*+"
)
_WORD = re.compile(r"(?<!\w)[^\W\d_]++(?:'[^\W\d_]++)*+(?!\w)")
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u2032\u00b4`", "'"))


@lru_cache(maxsize=4096)
def similarity_words(text: str, name: str | None = None) -> frozenset[str] | None:
    """
    Return the words of *text* that count in a comparison; None if there are too few to judge.

    Words with digits, links, street addresses, and the parts of the recipient's *name* don't count.
    """
    plain = _plain(text)
    words = frozenset(_WORD.findall(_ADDRESS.sub(" ", _LINK.sub(" ", plain))))
    if name:
        words -= frozenset(_WORD.findall(_plain(name)))
    return words if len(words) >= FEWEST_WORDS else None


def are_similar(one: frozenset[str], other: frozenset[str]) -> bool:
    """Return whether two texts, given by their words, look as if they came from one template."""
    fewer, more = sorted((len(one), len(other)))
    return more <= LENGTH_RATIO * fewer and len(one & other) >= SHARED_WORDS * fewer


def _plain(text: str) -> str:
    """Return the beginning of *text* with one way to write a letter and an apostrophe."""
    text = text[:_LONGEST_TEXT]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES))
        text = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return text.casefold()
