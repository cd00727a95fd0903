"""Cells that a spreadsheet takes for words."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.printable import guarded, lines, unguarded, whole_number

MARKS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - full width is the point


@given(st.text() | st.text(alphabet="'=+-@ \t1;\n\"\r"))
def test_words_come_back(words: str) -> None:
    """Whatever is guarded reads as it was."""
    assert words == unguarded(guarded(words))


@given(st.sampled_from(MARKS), st.text(alphabet=" \u00a0"), st.text("1a"))
def test_no_cell_begins_as_a_formula(mark: str, space: str, words: str) -> None:
    """Not even behind white space."""
    assert guarded(f"{space}{mark}{words}").startswith("'") or mark.isspace()
    assert guarded(f"{mark}{words}").startswith("'")


@given(st.text(alphabet="'=+-@ \t1;\n\"\r,"))
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_program_finds_a_formula_by_its_own_separator(separator: str, words: str) -> None:
    """Excel takes semicolons in half of Europe, and tabs when words are pasted."""
    line = lines([["id", guarded(words), "end"]])
    inside = line.removeprefix("id,").removesuffix(",end\n")
    cells = [cell for row in csv.reader(io.StringIO(inside, newline=""), delimiter=separator) for cell in row]

    assert not [cell for cell in cells if cell.lstrip(" ").startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize(
    ("words", "cell"),
    [
        ("hello;=1+1", "hello;'=1+1"),
        ("a\t@b\n-c", "a\t'@b\n'-c"),
        ('a; "=b"', 'a;\' "=b"'),
        ("+12025550122", "'+12025550122"),
        ("one\n\ntwo; three", "one\n\ntwo; three"),
    ],
)
def test_every_beginning_is_guarded(words: str, cell: str) -> None:
    """And nothing else is."""
    assert cell == guarded(words)
    assert words == unguarded(cell)


@pytest.mark.parametrize("words", ["", "Is Tuesday fine?", "12 Oak St", "'twas", "''", "5 - 3", "a=b"])
def test_ordinary_words_stay(words: str) -> None:
    assert words == guarded(words)
    assert words == unguarded(words)


@pytest.mark.parametrize(
    ("written", "digits"),
    [
        ("42", "42"),
        ("42.", "42"),
        ("42.00", "42"),
        ("0042.0", "0042"),
        ("1,234,567.0", "1234567"),
        ("4.2E+01", "42"),
        ("4.20e1", "42"),
        ("2.025550149E+09", "2025550149"),
        ("2.02555E+09", None),
        ("2E+09", None),
        ("4.25e1", "4.25e1"),
        ("5e3", "5e3"),
        ("12,34", "12,34"),
        ("42.5", "42.5"),
        ("-42.0", "-42.0"),
        ("", ""),
        ("Dana", "Dana"),
    ],
)
def test_a_whole_number_is_read_as_sheets_write_it(written: str, digits: str | None) -> None:
    """Nothing is made of what is no whole number, and nothing is guessed where digits were lost."""
    assert digits == whole_number(written)


@given(st.integers(10, 10**15))
def test_what_python_writes_in_full_is_read(number: int) -> None:
    """As a float, and with an exponent and all digits."""
    assert str(number) == whole_number(f"{number}.0") == whole_number(f"{number:,}")
    assert str(number) == whole_number(f"{number:.{len(str(number)) - 1}E}")
