"""Splits a text into segments that fit CallRail's limit, and loses only white space at a cut."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter

import regex  # type: ignore[import-untyped]  # the library ships no types

DOCUMENTED_LENGTH = 140  # https://apidocs.callrail.com/#sending-a-text-message
LONGEST_LIMIT = 1530

# 10 carrier segments of 67 UTF-16 units, or of 153 septets if the text is GSM-7 (3GPP TS 23.038). Every text
# of up to 670 units fits, so there is nothing more to count below that.
_UCS2_ROOM = 670
_GSM_ROOM = 1530
_NOT_GSM = re.compile(
    "[^@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,\\-./0-9:;<=>?¡A-ZÄÖÑÜ§¿a-zäöñüà\f^{}\\\\\\[~\\]|€]"
)
_GSM_DOUBLE = re.compile(r"[\f^{}\\\[~\]|€]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")

# White space as in str.isspace(). A grapheme cluster always ends after a break; the others can carry a
# combining mark or follow a prefix, and are letters then.
_BREAKS = r"\t-\r\x1c-\x1f\x85\u2028\u2029"
_SPACES = r" \u1680\u2000-\u2006\u2008-\u200a\u205f\u3000"
_NO_BREAK_SPACES = r"\u00a0\u2007\u202f"
_ALONE = r"(?![\p{GCB=Extend}\p{GCB=SpacingMark}\p{GCB=ZWJ}])"
_UNPREFIXED = r"(?<!\p{GCB=Prepend})"

# Where a text may be split: between words, but not at a no-break space (or U+2060, no white space).
_GAP = regex.compile(rf"(?:[{_BREAKS}]|{_UNPREFIXED}[{_SPACES}]{_ALONE})+")
_WHITE = regex.compile(rf"(?:[{_BREAKS}]|[{_SPACES}{_NO_BREAK_SPACES}]{_ALONE})*+")
_TRAILING_WHITE = regex.compile(
    rf"(?:[{_BREAKS}]|{_UNPREFIXED}[{_SPACES}{_NO_BREAK_SPACES}])[{_BREAKS}{_SPACES}{_NO_BREAK_SPACES}]*\Z"
)
_WHOLE_CLUSTERS = regex.compile(r"\X*(?=.)", regex.DOTALL)


def length(text: str) -> int:
    """Return the UTF-16 units, of which a code point has one or two: CallRail counts either."""
    return len(text) if text.isascii() else len(text) + len(_ASTRAL.findall(text))


def split_text(text: str, *, max_characters: int = DOCUMENTED_LENGTH) -> list[str]:
    """
    Return the segments of *text*, as the relay sends them; ValueError for another limit than 1 to 1,530.

    Every piece is a slice of the text, not blank, and at most *max_characters* by ``length``; only white
    space is left out between them. A cut is made between words, else between grapheme clusters, and inside a
    cluster only if it alone is too long. Above a limit of 670 a piece also fits ten carrier segments.
    """
    limit = max_characters
    if not 1 <= limit <= LONGEST_LIMIT:
        raise ValueError(f"max_characters is {limit}, and must be between 1 and {LONGEST_LIMIT}")
    if not text or text.isspace():
        return []
    if _reach(text, 0, limit) == len(text):
        return [text]
    return [piece for piece in _Cutter(text, limit).pieces() if piece.strip()]


class _Cutter:
    """Walks once through one text; no step looks at more of it than one segment can hold."""

    def __init__(self, text: str, limit: int) -> None:
        self._text = text
        self._limit = limit
        trailing = _TRAILING_WHITE.search(text.rstrip()[-1:] + text[len(text.rstrip()) :])
        self._end = len(text)
        self._visible_end = self._end - (len(trailing[0]) if trailing else 0)
        self._gaps = [match.span() for match in _GAP.finditer(text)]

    def pieces(self) -> Iterator[str]:
        start = 0
        while start < self._end:
            start, first, reach = self._begin(start)
            if reach >= self._end:
                cut = start_of_next = self._end
            elif reach < self._visible_end:
                cut, start_of_next = next(self._cuts(start, first, reach), (reach, reach))
            else:
                # White space behind a text stays with its last word, or else its last cluster.
                cuts = self._cuts(start, first, self._visible_end - 1)
                whole = (one for one in cuts if _reach(self._text, one[1], self._limit) == self._end)
                cut, start_of_next = next(whole, (self._visible_end, self._end))
            yield self._text[start:cut]
            start = start_of_next

    def _begin(self, start: int) -> tuple[int, int, int]:
        """Return where a piece begins, where its first visible cluster does, and how far it can reach."""
        reach = _reach(self._text, start, self._limit)
        if not self._text[start].isspace():
            return start, start, reach
        first = int(_WHITE.match(self._text, start).end())
        if reach >= self._end or (reach > first and self._last_boundary(first, reach) > first):
            return start, first, reach
        return first, first, _reach(self._text, first, self._limit)

    def _cuts(self, start: int, first: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield where a piece can end, up to *end*, and the next one begin: between words, then clusters."""
        last = bisect_right(self._gaps, end, key=itemgetter(0)) - 1
        if last >= 0 and self._gaps[last][0] > first:
            yield self._gaps[last]
        boundary = self._last_boundary(start, end)
        if boundary > first:
            yield boundary, boundary

    def _last_boundary(self, start: int, end: int) -> int:
        """Return the last place between two clusters from *start* up to *end*; *start* if there is none."""
        return start + int(_WHOLE_CLUSTERS.match(self._text[start : end + 1]).end())


def _reach(text: str, start: int, limit: int) -> int:
    """Return the end of the longest slice from *start* that fits; at least one code point."""
    window = text[start : start + limit]
    count = _count(window, limit, _ASTRAL)
    if limit > _UCS2_ROOM:
        foreign = _NOT_GSM.search(window)
        gsm = window[: foreign.start()] if foreign else window
        room = max(_count(gsm, _GSM_ROOM, _GSM_DOUBLE), _count(window, _UCS2_ROOM, _ASTRAL))
        count = min(count, room)
    return start + max(count, 1)


def _count(window: str, room: int, double: re.Pattern[str]) -> int:
    """Return how many code points of *window* fit into *room*, where those of *double* take two."""
    taken = 0
    for taken, match in enumerate(double.finditer(window)):
        if match.start() + taken + 2 > room:
            return min(match.start(), room - taken)
    doubles = len(double.findall(window))
    return min(len(window), room - doubles)
