"""Lists of people who opted out, as files."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.opt_outs import IMPORTED, BadLine, ImportedList, OptOut, read_list, write_list
from callrail_relay.errors import UsageError
from tests.support.clock import START
from tests.support.factories import RECIPIENT, TRACKING_NUMBER, recipient

HEADER = "tracking_number,recipient,reason,created_at\n"


def read(text: str, encoding: str = "utf-8") -> ImportedList:
    return read_list(text.encode(encoding), now=START)


reasons = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60).filter(
    lambda words: words.strip() == words
)
instants = st.integers(0, 10**12).map(lambda ms: START - timedelta(milliseconds=ms))


@given(st.lists(st.tuples(st.integers(0, 500), reasons, instants), max_size=8))
def test_what_is_written_is_read(entries: list[tuple[int, str, datetime]]) -> None:
    """Every entry comes back: line breaks, quotes and formulas in its reason as well."""
    stored = [
        OptOut(tracking_number=TRACKING_NUMBER, recipient=recipient(who), reason=why, created_at=when)
        for who, why, when in entries
    ]

    listed = read_list(write_list(stored).encode(), now=START)

    assert ((), ()) == (listed.bad_lines, listed.ignored_columns)
    assert stored == [
        OptOut(
            tracking_number=one.tracking_number or "",
            recipient=one.recipient,
            reason=one.reason,
            created_at=one.created_at or START,
        )
        for one in listed.people
    ]


def test_one_bad_line_keeps_nobody_else_off_the_list() -> None:
    """Each is named with its number in the file, where a reason may take several lines."""
    listed = read(
        f'{HEADER},2025550101,"asked\nby phone",\n'
        "\n"
        ",call me,,\n"
        "abc,2025550102,,\n"
        ",2025550103,,last week\n"
        ",2025550104,,2999-01-01\n"
        ",2025550105,a, b,c\n"
        ",2025550106,,2026-01-31\n"
    )

    assert [recipient_of("0101"), recipient_of("0106")] == [one.recipient for one in listed.people]
    assert "asked\nby phone" == listed.people[0].reason
    assert datetime(2026, 1, 31, tzinfo=UTC) == listed.people[1].created_at
    assert [5, 6, 7, 8, 9] == [one.number for one in listed.bad_lines]
    words = ["recipient", "tracking_number", "created_at isn't a date", "in the future", "more cells"]
    assert all(word in one.reason for word, one in zip(words, listed.bad_lines, strict=True))
    assert not any("2025550102" in one.reason for one in listed.bad_lines)


def recipient_of(line: str) -> str:
    return f"+1202555{line}"


@pytest.mark.parametrize(
    "text",
    [
        f"recipient\n{RECIPIENT}\n",
        f"Recipient;Note\r\n{RECIPIENT};x\r\n",
        "note\tRECIPIENT\n\t(202) 555-0122\n",
        f"{RECIPIENT}\n",
        "\ufeffrecipient,\n2025550122,\n",
        "tracking number,recipient\n,tel:2025550122\n",
        "recipient\n'+12025550122\n",
    ],
)
def test_a_recipient_alone_is_enough(text: str) -> None:
    """Whatever stands between the columns, in any order, or without a header where it is all there is."""
    one = OptOut(tracking_number="", recipient=RECIPIENT, reason=IMPORTED, created_at=START)
    assert (one,) == read(text).people


def test_excel_does_not_write_utf_8() -> None:
    """Unless it is asked to."""
    assert "Zoë's … wish" == read("recipient,reason\n2025550122,Zoë's … wish\n", "cp1252").people[0].reason
    assert "Zoë" == read("recipient,reason\n2025550122,Zoë\n", "utf-16").people[0].reason


def test_a_column_that_nobody_knows_is_passed_over_and_named() -> None:
    listed = read("name,recipient,E mail\nDana,2025550122,d@example.com\n")

    assert ("name", "e_mail") == listed.ignored_columns


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "empty"),
        (b"phone,reason\n2025550122,x\n", "no column recipient"),
        (b"hello\n", "no column recipient"),
        (b"recipient,recipient\n2025550122,2025550122\n", "twice"),
        (b"\xff\xfe\x00\xd8", "not text"),
        (b"recipient\n" + b"2" * 200_000, "Line 2 of the file is not CSV"),
    ],
)
def test_a_file_of_something_else_is_refused(document: bytes, words: str) -> None:
    """As a whole, since nothing says which of its columns is the person."""
    with pytest.raises(UsageError, match=words):
        read_list(document, now=START)


@pytest.mark.parametrize(("cell", "words"), [("x" * 1001, "longer than"), ("a\0b", "isn't text")])
def test_a_reason_that_cannot_be_kept_is_named(cell: str, words: str) -> None:
    [bad] = read(f"recipient,reason\n2025550122,{cell}\n").bad_lines

    assert isinstance(bad, BadLine)
    assert words in bad.reason
