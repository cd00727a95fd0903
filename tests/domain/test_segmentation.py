"""Segments: nothing lost, nothing too long, nothing cut in two that belongs together."""

import itertools
import sys
import time
import unicodedata
from collections.abc import Iterator

import pytest
import regex  # type: ignore[import-untyped]  # the library ships no types
from hypothesis import example, given
from hypothesis import strategies as st

from callrail_relay.domain.segmentation import length, split_text

GSM_SAMPLE = "Hello Dana, 12 Oak St? @£$¥ÄÖÑÜ§à\n"
GSM_DOUBLE = "\f^{}\\[~]|€"
NO_BREAK = "\u00a0\u2007\u202f\u2060"

pieces_of_text = st.sampled_from(
    [
        *"ab. \n\t\u00a0\u2007\u202f\u2060\u2003\u3000\u2028é漢€^\u200b\u200d\u0301\u0600\x1c\x85",
        "\r\n",
        "e\u0301",
        " \u0301",
        "\u0600 ",
        "🙏",
        "👍🏽",
        "👨\u200d👩\u200d👧",
        "🇺🇸",
        "🇨",
        "क्षि",
        "각",
        "word ",
        "    ",
        "https://example.com/a",
        "e" + "\u0301" * 20,
    ]
)
texts = st.lists(pieces_of_text, max_size=60).map("".join) | st.text(max_size=200)
long_texts = st.tuples(texts, st.integers(1, 30), texts).map(lambda parts: parts[0] * parts[1] + parts[2])
limits = st.integers(1, 30) | st.sampled_from([70, 140, 160])
long_limits = st.integers(600, 1530)


def located(text: str, pieces: list[str]) -> Iterator[tuple[int, int]]:
    """Where each piece is in *text*, with nothing but white space between them."""
    position = 0
    for piece in pieces:
        while not text.startswith(piece, position):
            assert text[position].isspace(), f"lost {text[position]!r}"
            position += 1
        yield position, position + len(piece)
        position += len(piece)
    assert not text[position:].strip()


def boundaries(text: str) -> set[int]:
    return {0, *(match.end() for match in regex.finditer(r"\X", text))}


def fits(piece: str, limit: int) -> bool:
    """The rules of CallRail's limit, written once more and slowly."""
    units = len(piece.encode("utf-16-le", "surrogatepass")) // 2
    if max(units, len(piece)) > limit:
        return False
    if limit <= 670 or units <= 670:
        return True
    doubles = sum(c in GSM_DOUBLE for c in piece)
    return is_gsm(piece) and len(piece) + doubles <= 1530


def is_gsm(text: str) -> bool:
    default = (
        "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
        "¿abcdefghijklmnopqrstuvwxyzäöñüà"
    )
    return all(c in default or c in GSM_DOUBLE for c in text)


def assert_lawful(text: str, limit: int) -> None:
    pieces = split_text(text, max_characters=limit)
    spans = list(located(text, pieces))
    ends_of_clusters = boundaries(text)
    clusters = sorted(ends_of_clusters)
    too_long = [
        (a, b) for a, b in itertools.pairwise(clusters) if not fits(text[a:b], limit) and text[a:b].strip()
    ]

    for piece in pieces:
        assert piece.strip()
        assert fits(piece, limit) or len(piece) == 1
    for place in itertools.chain.from_iterable(spans):
        assert place in ends_of_clusters or any(a < place < b for a, b in too_long)
    for (_, end), (start, _) in itertools.pairwise(spans):
        if text[end] in NO_BREAK and start > end:
            next_end = min(boundary for boundary in clusters if boundary > start)
            assert not fits(text[end:next_end], limit)
    if text.strip() and fits(text, limit):
        assert [text] == pieces
    assert bool(text.strip()) == bool(pieces)


@given(texts, limits)
@example(" \u0301", 1)
@example("\r\n\u0301", 1)
@example("\u0600 ", 1)
@example("a" + "\u00a0" * 30 + "b", 10)
@example("\u00a0" * 30 + " b", 10)
@example("e" + "\u0301" * 60, 7)
@example("🇺🇸🇨🇦a", 3)
def test_segments_obey_the_laws(text: str, limit: int) -> None:
    """
    Slices in order, white space alone between them, none blank, none too long, no cluster cut needlessly.
    """
    assert_lawful(text, limit)


@given(long_texts, long_limits)
@example("^" * 1000, 1000)
@example("a" * 1400 + "🙏", 1530)
@example("🙏" * 600, 1530)
def test_long_segments_obey_the_laws_and_fit_the_carrier(text: str, limit: int) -> None:
    """Above 670 a segment also fits ten carrier segments."""
    assert_lawful(text, limit)


@given(texts)
def test_length_is_the_larger_count(text: str) -> None:
    """Code points or UTF-16 units, whichever are more."""
    assert max(len(text), len(text.encode("utf-16-le", "surrogatepass")) // 2) == length(text)


@given(st.text(" \n\t", max_size=5), st.text(" \n\t", max_size=5), st.text("ab c", min_size=1), limits)
def test_white_space_around_a_text_stays_where_it_fits(
    before: str, after: str, core: str, limit: int
) -> None:
    """White space around a text is part of it."""
    core = f"x{core}y"

    pieces = split_text(before + core + after, max_characters=limit)

    if len(before) < limit:
        assert pieces[0].startswith(before + "x")
    if len(after) < limit:
        assert pieces[-1].endswith("y" + after)


@pytest.mark.parametrize("text", ["Hi", " Hi ", "\n\nHi", "🙏", "a" * 140, "🙏" * 70])
def test_text_that_fits_is_one_segment(text: str) -> None:
    """Nothing is done to a text that fits."""
    assert [text] == split_text(text, max_characters=140)


@pytest.mark.parametrize("text", ["", " ", "\u00a0", " " * 500, "\r\n"])
def test_blank_text_has_no_segments(text: str) -> None:
    """There is nothing to send in it."""
    assert [] == split_text(text, max_characters=10)


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 8, ["one two", "three"]),
        ("one two three", 6, ["one", "two", "three"]),
        ("one  \r\n two", 5, ["one", "two"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("a bcdefgh", 4, ["a", "bcde", "fgh"]),
        ("10\u00a0km away", 7, ["10\u00a0km", "away"]),
        ("it is 10\u00a0km", 8, ["it is", "10\u00a0km"]),
        ("10\u00a0\u202f\u2007km", 4, ["10\u00a0\u202f", "\u2007km"]),
        ("ab\u2060cd ef", 6, ["ab\u2060cd", "ef"]),
        ("a \u0301b cd", 4, ["a \u0301b", "cd"]),
        ("a \u0301b", 2, ["a", " \u0301", "b"]),
        ("cafe\u0301", 4, ["caf", "e\u0301"]),
        ("👨\u200d👩\u200d👧👨\u200d👩\u200d👧", 8, ["👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"]),
        ("🇺🇸🇨🇦", 7, ["🇺🇸", "🇨🇦"]),
        ("e" + "\u0301" * 5, 4, ["e" + "\u0301" * 3, "\u0301" * 2]),
        ("🙏🙏", 1, ["🙏", "🙏"]),
        ("  one two", 5, ["  one", "two"]),
        ("       one two", 5, ["one", "two"]),
        ("one two  ", 7, ["one", "two  "]),
        ("onetwo  ", 7, ["onetw", "o  "]),
        ("one two       ", 7, ["one two"]),
        ("  o  ", 3, ["  o"]),
    ],
)
def test_where_a_text_is_cut(text: str, limit: int, pieces: list[str]) -> None:
    """Between words, else between clusters, and inside a cluster only when there is no other way."""
    assert pieces == split_text(text, max_characters=limit)


def test_carrier_limit_counts_extension_characters_twice() -> None:
    """1,530 septets: 765 of the characters that GSM-7 escapes."""
    assert [765, 235] == [len(piece) for piece in split_text("^" * 1000, max_characters=1530)]


def test_carrier_limit_of_other_alphabets_is_670_units() -> None:
    """One emoji makes the whole segment UCS-2, so the longest GSM-7 piece before it is taken first."""
    assert [1400, 2] == [len(piece) for piece in split_text("a" * 1400 + "🙏!", max_characters=1530)]
    assert [335, 65] == [len(piece) for piece in split_text("🙏" * 400, max_characters=1530)]
    assert [1530] == [
        len(piece)
        for piece in split_text((GSM_SAMPLE * 60)[:1530].strip().ljust(1530, "."), max_characters=1530)
    ]


def test_limit_outside_callrails_range_is_a_mistake() -> None:
    """The settings check it; a caller that does not is wrong."""
    for limit in (0, 1531, -1):
        with pytest.raises(ValueError, match="between 1 and 1530"):
            split_text("Hi", max_characters=limit)


@pytest.mark.parametrize("limit", [140, 1530])
@pytest.mark.parametrize(
    "unit",
    [
        "word and ",
        "a",
        "a ",
        " ",
        "\u00a0",
        "🇺🇸",
        "e\u0301",
        " \u0301",
        "\u0600 ",
        "\u0600",
        "漢",
        "क्षि",
        "👍🏽",
        "\u200d",
    ],
)
def test_time_grows_with_the_length_and_no_faster(unit: str, limit: int) -> None:
    """A text four times as long takes about four times as long; a square would make it sixteen."""
    short, whole = (f"x{unit * (size // len(unit))}x" for size in (16384, 65536))

    quicker = min(taken(short, limit) for _ in range(3))
    slower = min(taken(whole, limit) for _ in range(3))

    assert slower < 9 * quicker + 0.01


AT_LEAST = 0.1 if sys.platform == "win32" else 0.0
"""Seconds to measure: Windows counts a process' time in steps of a 64th."""


def taken(text: str, limit: int) -> float:
    began, passed, times = time.process_time(), 0.0, 0
    while not times or passed < AT_LEAST:
        split_text(text, max_characters=limit)
        times += 1
        passed = time.process_time() - began
    return passed / times


def test_white_space_is_what_python_takes_for_it() -> None:
    """The patterns know all white space there is: each separates two words, or holds them together."""
    spaces = [c for c in map(chr, range(0x110000)) if c.isspace()]

    for space in spaces:
        expected = ["aaa" + space, "b"] if space in NO_BREAK else ["aaa", "b"]
        assert expected == split_text(f"aaa{space}b", max_characters=4), unicodedata.name(
            space, hex(ord(space))
        )
