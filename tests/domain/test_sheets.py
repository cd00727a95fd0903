"""
Cells that a spreadsheet takes for words.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.sheets import guarded, unguarded

MARKS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - full width is the point


@given(st.text() | st.text(alphabet="'=+-@ \t1"))
def test_words_come_back(words: str) -> None:
    """
    Whatever is guarded reads as it was.
    """
    assert words == unguarded(guarded(words))


@given(st.sampled_from(MARKS), st.text(alphabet=" \u00a0"), st.text("1a"))
def test_no_cell_begins_as_a_formula(mark: str, space: str, words: str) -> None:
    """
    Not even behind white space.
    """
    assert guarded(f"{space}{mark}{words}").startswith("'") or mark.isspace()
    assert guarded(f"{mark}{words}").startswith("'")


@pytest.mark.parametrize("words", ["", "Is Tuesday fine?", "12 Oak St", "'twas", "''", "5 - 3", "a=b"])
def test_ordinary_words_stay(words: str) -> None:
    assert words == guarded(words)
    assert words == unguarded(words)
