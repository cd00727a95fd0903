"""
The wording of a text: what texts that were merged from one template have in common.

A CRM merges names, streets, towns, prices and dates into a template, and people typed these in every way
there is: in small letters, in capitals, not at all. So it is not names that are looked for. The words are
kept that are known not to be names (``vocabulary``), in their order, and everything else is left out. Being a
digest, a wording can be looked up; nothing is compared with what was sent before. It is made for minutes, not
for years: another version may keep other words.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from callrail_relay.domain.vocabulary import (
    AMBIGUOUS,
    COMMON,
    GREETINGS,
    NAME_ENDS,
    NAME_JOINTS,
    OPENERS,
    SHORTENED,
    SILENT,
    SMALL,
    SPANISH,
    STAND_INS,
    STATES,
    STREET_TYPES,
    TITLES,
    TRADE,
    UNITS,
)

# CallRail takes some 1,600 characters; what is behind these bounds does not matter, but has to cost nothing.
_LONGEST_TEXT = 4096
_LONGEST_WORD = 24
_MOST_WORDS = 400

# What is left of a mass text: so many words, and among them so much that tells something. "Sounds good, I'll
# call you tomorrow" has five and nothing, "Do you still own 12 Oak St?" four and three.
_ENOUGH = ((4, 2), (8, 1))

# Next to no word of so many is known in a text in another language.
_FEWEST_FOREIGN = 8
_KNOWN_SHARE = 0.2
_LONGEST_PARTICLE = 3

_LONGEST_STREET = 6

_ONE_WAY = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u02bc\u2032\u00b4", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        # Marks that are not seen: soft hyphen, zero-width characters, variation selectors.
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff\ufe0e\ufe0f"),
    }
)
# Nothing here is tried twice over the same characters: a text of 64 KiB of any kind takes milliseconds.
_TOKEN = re.compile(
    r"(?P<link>(?:https?://|www\.)\S++|[\w.+-]{1,64}+@[\w.-]++"
    r"|(?:[A-Za-z0-9-]{1,63}+\.){1,4}+(?:com|net|org|io|co|us|info|biz|ly|me|app|homes|link|ca)\b(?:/\S*+)?)"
    r"|(?P<number>[0-9]\w*+(?:[.,:/%-]++\w++)*+)"
    r"|(?P<word>[^\W\d_]++(?:'[^\W\d_]++)*+)"
)
_INSIDE = re.compile(r"[\s,&/]*|-")


class _Meaning(NamedTuple):
    """
    What a word is kept as, what it counts for, whether it is a word at all, and whether it is never a name.
    """

    form: str = ""
    weight: int = 0
    is_word: bool = False
    is_sure: bool = False


class _Word(NamedTuple):
    """
    A word as it is *written* and in small letters, or a number, which is *plain* nothing.

    *inside* where a sentence goes on before it; *is_capitalised* is ``Home``, not ``HOME``, ``I`` or ``I'm``.
    """

    written: str
    plain: str
    meaning: _Meaning
    inside: bool = False
    after_comma: bool = False
    is_capitalised: bool = False


_UNKNOWN = _Meaning()
_NOTHING = _Word("", "", _UNKNOWN)


def wording(text: str, *, names: Collection[str] = ()) -> bytes | None:
    """
    The digest of the words of *text*, 16 bytes; None where too little is left to be judged a mass text.

    *names* is what is known of the recipient's name: it decides about names that are words as well, and
    it is needed where the language is neither English nor Spanish.
    """
    words = _without_streets(_words(_plain(text)))
    known = frozenset(part for name in names for part in _parts(name)) - NAME_JOINTS
    kept = _kept(words, known)
    if _is_foreign(words):
        forms = _foreign(words, known)
    elif _says_something(kept):
        forms = [word.meaning.form for word in kept]
    else:
        return None
    return blake2b(" ".join(forms[:_MOST_WORDS]).encode(), digest_size=16).digest()


def _plain(text: str) -> str:
    """
    The beginning of *text* with one way to write an accent, an apostrophe and a dash.
    """
    text = text[:_LONGEST_TEXT]
    return text if text.isascii() else unicodedata.normalize("NFC", text).translate(_ONE_WAY)


def _words(text: str) -> list[_Word]:
    words: list[_Word] = []
    end, initials = 0, False
    for found in _TOKEN.finditer(text):
        begin, here = found.span()
        gap, end = text[end:begin], here
        inside, after_comma = _gap(gap) if len(gap) < _LONGEST_WORD else (False, False)
        inside = inside and bool(words)
        kind = found.lastgroup
        if kind == "number":
            words.append(_Word(found[0], "", _UNKNOWN, inside))
        elif kind == "word":
            written = found[0]
            if here - begin <= _LONGEST_WORD:
                plain, meaning, capital = _reading(written)
            else:
                plain, meaning, capital = written.casefold(), _UNKNOWN, False
            # The rest of "H.B.I. Homes" and of "Niagara-on-the-Lake".
            if gap == "." and len(plain) == 1:
                meaning, initials = _UNKNOWN, True
            elif initials:
                inside, initials = inside or gap == ". ", False
            elif gap == "-" and words and not words[-1].meaning.is_word:
                meaning = _UNKNOWN
            words.append(_Word(written, plain, meaning, inside, after_comma, capital))
    return words


@lru_cache(maxsize=1024)
def _gap(gap: str) -> tuple[bool, bool]:
    """
    Whether a sentence goes on behind what stands between two words, and whether there is a comma in it.
    """
    return _INSIDE.fullmatch(gap) is not None, "," in gap


@lru_cache(maxsize=8192)
def _reading(written: str) -> tuple[str, _Meaning, bool]:
    """
    A word in small letters, what it means, and whether it is written as a name is.
    """
    plain = written.casefold()
    capital = written[0].isupper() and not written.isupper() and not written.startswith("I'")
    return plain, _meaning(plain), capital


def _meaning(plain: str) -> _Meaning:
    if "'" in plain:
        whole, before = plain.replace("'", ""), plain.partition("'")[0]
        if whole in SMALL or whole in SHORTENED:
            return _Meaning(whole, 0, is_word=True, is_sure=True)
        return _meaning(before) if plain == f"{before}'s" else _UNKNOWN
    for form, roots in ((plain, (plain,)), *_roots(plain)):
        for root in roots:
            if root in COMMON or root in SPANISH or root in TRADE:
                return _Meaning(form, 2 if root in TRADE else 1, is_word=True, is_sure=True)
            if root in AMBIGUOUS:
                return _Meaning(form, 1, is_word=True)
        if form == plain and plain in SMALL:
            return _Meaning(plain, 0, is_word=True, is_sure=True)
    return _Meaning(is_word=plain in SILENT)


def _roots(plain: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """
    What *plain* may be a form of, and what it is kept as: many of a thing are kept as one.
    """
    if plain.endswith("ies"):
        yield f"{plain[:-3]}y", (f"{plain[:-3]}y",)
    elif plain.endswith("s"):
        yield plain[:-1], (plain[:-1],)
        yield plain[:-2], (plain[:-2],) if plain.endswith("es") else ()
    elif plain.endswith("ied"):
        yield plain, (f"{plain[:-3]}y",)
    elif plain.endswith("ed"):
        yield plain, (plain[:-2], plain[:-1], *_undoubled(plain[:-2]))
    elif plain.endswith("ing"):
        yield plain, (plain[:-3], f"{plain[:-3]}e", *_undoubled(plain[:-3]))
    elif plain.endswith("ly"):
        yield plain, (plain[:-2], f"{plain[:-1]}e", f"{plain[:-3]}y" if plain.endswith("ily") else "")


def _undoubled(stem: str) -> tuple[str, ...]:
    return (stem[:-1],) if stem[-1:] == stem[-2:-1] else ()


def _without_streets(words: list[_Word]) -> list[_Word]:
    """
    *words* with a street address, from its number to the kind of street, as one number.
    """
    left: list[_Word] = []
    position = 0
    while position < len(words):
        word = words[position]
        left.append(word)
        position = position + 1 if word.plain else _street_end(words, position)
    return left


def _street_end(words: list[_Word], number: int) -> int:
    """
    The position behind the street address that begins with a number, or behind the number alone.
    """
    end = number + 1
    for position in range(number + 1, min(number + 1 + _LONGEST_STREET, len(words))):
        word = words[position]
        if word.plain in STREET_TYPES and position > number + 1:
            end = position + 1
        elif end > number + 1 or not word.inside or word.plain in SMALL:
            break
    return end


def _kept(words: list[_Word], known: frozenset[str]) -> list[_Word]:
    """
    The words that have a meaning where they stand.
    """
    capitals_tell = _capitals_tell(words)
    kept = []
    before, before_is_kept = _NOTHING, False
    for position, word in enumerate(words):
        after = words[position + 1] if position + 1 < len(words) else _NOTHING
        is_kept = (
            word.meaning.form != ""
            and not (capitals_tell and word.inside and word.is_capitalised)
            and (word.meaning.is_sure or _is_introduced(before, word, before_is_kept=before_is_kept))
            and not _is_name(before, word, after, known)
            and not _is_abbreviation(before, word)
        )
        if is_kept:
            kept.append(word)
        before, before_is_kept = word, is_kept
    return kept


def _capitals_tell(words: list[_Word]) -> bool:
    """
    Whether capitals tell names from words: not so where most words have them.
    """
    inside = [word.is_capitalised for word in words if word.inside and word.meaning.is_word]
    return 2 * sum(inside) <= len(inside)


def _is_introduced(before: _Word, word: _Word, *, before_is_kept: bool) -> bool:
    """
    Whether what may be a part of a name is a word here: ``the front door``, and not ``in long beach``.
    """
    return (
        word.inside
        and not word.after_comma
        and word.written.islower()
        and (before.plain in OPENERS or (before_is_kept and not before.meaning.is_sure))
    )


def _is_name(before: _Word, word: _Word, after: _Word, known: frozenset[str]) -> bool:
    """
    Whether a word stands where the recipient is named.
    """
    if before is _NOTHING:
        return after.after_comma or word.plain in known or word.plain in GREETINGS
    if before.plain in GREETINGS and (word.plain in STAND_INS or word.plain in known):
        return True
    if before.plain in TITLES and word.meaning.weight:
        return True
    if word.plain not in known or (before.plain in OPENERS and after.plain not in NAME_ENDS):
        return False
    return (
        word.after_comma
        or after.after_comma
        or not after.inside
        or before.plain in known
        or after.plain in known
        or after.plain in NAME_ENDS
    )


def _is_abbreviation(before: _Word, word: _Word) -> bool:
    """
    The "am" of a time, and codes of states that are words: behind a comma, or in capitals of their own.
    """
    if word.plain == "am":
        return before is not _NOTHING and not before.plain
    return word.plain in STATES and (
        word.after_comma or (word.written.isupper() and not before.written.isupper())
    )


def _says_something(kept: list[_Word]) -> bool:
    """
    Whether so much is left that it is no accident when several people get the same.
    """
    weight = sum(word.meaning.weight for word in kept)
    return any(len(kept) >= words and weight >= least for words, least in _ENOUGH)


def _is_foreign(words: list[_Word]) -> bool:
    """
    Whether the text is in a language that is not known here.
    """
    small = sum(word.written[0].islower() for word in words)
    known = sum(word.meaning.is_word and word.written[0].islower() for word in words)
    return small >= _FEWEST_FOREIGN and known < _KNOWN_SHARE * small


def _foreign(words: list[_Word], known: frozenset[str]) -> list[str]:
    """
    All words in small letters but those of the name, of addresses, and those that may be a part of either.
    """
    return [
        word.plain
        for word in words
        if len(word.plain) > _LONGEST_PARTICLE
        and not word.written[0].isupper()
        and word.plain not in known
        and word.plain not in STREET_TYPES
        and word.plain not in UNITS
    ]


def _parts(name: str) -> Iterator[str]:
    """
    The words of a name, in small letters.
    """
    return (found[0].casefold() for found in _TOKEN.finditer(_plain(name)) if found.lastgroup == "word")
