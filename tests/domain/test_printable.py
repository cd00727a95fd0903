"""Nothing from outside steers a terminal, and words stay words."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.printable import printable, printable_json, printable_line

DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("\x1b[31mred\x1b]8;;http://x\x07", r"\x1b[31mred\x1b]8;;http://x\x07"),
        ("\x9b31m\x7f\x00", r"\x9b31m\x7f\x00"),
        ("txt.\u202egpj", r"txt.\u202egpj"),
        ("a\u200bb\ufeffc\u2060d\u00ade", r"a\u200bb\ufeffc\u2060d\xade"),
        ("one\u2028two", r"one\u2028two"),
        ("pay\u200dpal", r"pay\u200dpal"),
        ("a\U000e0041b", r"a\U000e0041b"),
        ("half \ud83c", r"half \ud83c"),
        ("a\r\nb\rc", "a\nb\\x0dc"),
    ],
)
def test_what_steers_or_hides_is_written_out(words: str, shown: str) -> None:
    assert shown == printable(words)
    assert shown == printable(shown)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "Hi Dana,\n\n\tis 5 PM fine? [red] {x}",
        "José, naïve, Ünal Öz",
        "👩‍👩‍👧 👍🏽 ❤️ 1️⃣ 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 🇺🇸",
        "می‌خواهم שלום 中文 नमस्ते क्‍ष",
        r"C:\x1b",
    ],
)
def test_words_stay(words: str) -> None:
    """Emoji with all their parts, accents, and languages that need joiners."""
    assert words == printable(words)


@given(st.text())
def test_nothing_raw_is_left(words: str) -> None:
    left = {one for one in printable(words) if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")}

    assert left <= {"\n", "\t"}
    assert not set(DIRECTIONS) & set(printable(words))
    assert not {"\n", "\t"} & set(printable_line(words))


@given(st.text(st.characters()) | st.text(DIRECTIONS + "\x9b\x7f\U000e0041a\u200d"))
def test_json_reads_as_before(words: str) -> None:
    document = printable_json(json.dumps({"words": words}, ensure_ascii=False))

    assert {"words": words} == json.loads(document)
    assert document == printable(document)
