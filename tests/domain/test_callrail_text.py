"""
What a reply says, and which way a text went.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.callrail_text import CallRailText, Direction, ShownNumber, Wish, wish_of

OURS, PERSON = "+12025550133", "+12025550122"
STOPS = ("STOP", "STOPALL", "END", "CANCEL", "UNSUBSCRIBE", "QUIT", "REVOKE", "OPTOUT", "OPT OUT", "OPT-OUT")


def make_text(source: ShownNumber, destination: ShownNumber, said: Direction | None = None) -> CallRailText:
    return CallRailText(key="SCI1", content="Hi", source=source, destination=destination, direction=said)


@pytest.mark.parametrize("word", STOPS)
@pytest.mark.parametrize(
    "shape", ["{}", "{}.", " {}!! \n", "“{}”", "({})", "\u200b{}\u200f", "{} 🙏", "__{}__"]
)
def test_stop_words_alone_are_a_wish_to_stop(word: str, shape: str) -> None:
    """
    In any case, whatever punctuation, white space or unseen marks are around them.
    """
    for cased in (word, word.lower(), word.capitalize()):
        assert Wish.STOP is wish_of(shape.format(cased))


@pytest.mark.parametrize(
    ("content", "wish"),
    [
        ("\uff33\uff34\uff2f\uff30", Wish.STOP),
        ("opt   out", Wish.STOP),
        ("Start", Wish.START),
        ("unstop.", Wish.START),
        ("yes!", Wish.YES),
        ("Yes, Tuesday works", None),
        ("Please stop", None),
        ("stop by at noon", None),
        ("S T O P", None),
        ("no", None),
        ("", None),
        (None, None),
        ("." * 100_000, None),
        (" " * 100_000 + "stop", Wish.STOP),
    ],
)
def test_only_the_word_alone_counts(content: str | None, wish: Wish | None) -> None:
    """
    A word within a sentence is an ordinary answer.
    """
    assert wish is wish_of(content)


@given(st.text())
def test_any_reply_can_be_read(content: str) -> None:
    """
    Nothing that a person may write is an error.
    """
    wish_of(content)


@pytest.mark.parametrize(
    ("source", "destination", "said", "hint", "going"),
    [
        (ShownNumber(PERSON), ShownNumber(OURS), None, None, Direction.IN),
        (ShownNumber(OURS), ShownNumber(PERSON), None, None, Direction.OUT),
        (ShownNumber(ending="0133"), ShownNumber(ending="0122"), None, Direction.IN, Direction.OUT),
        (ShownNumber(PERSON), ShownNumber(OURS), Direction.OUT, Direction.IN, Direction.OUT),
        (ShownNumber(), ShownNumber(), None, Direction.OUT, Direction.OUT),
        (ShownNumber(), ShownNumber(), None, None, Direction.IN),
        (ShownNumber(ending="33"), ShownNumber(ending="33"), None, Direction.OUT, Direction.OUT),
    ],
)
def test_which_way_a_text_went_is_told_by_its_numbers(
    source: ShownNumber,
    destination: ShownNumber,
    said: Direction | None,
    hint: Direction | None,
    going: Direction,
) -> None:
    """
    What CallRail says comes first, the address it was posted to last; in doubt it is from a person.
    """
    assert going is make_text(source, destination, said).going(hint, [OURS])


def test_a_number_of_which_nothing_is_shown_neither_fits_nor_excludes() -> None:
    """
    It tells nothing, while the last digits tell something.
    """
    assert not ShownNumber().fits(PERSON)
    assert not ShownNumber().excludes(PERSON)
    assert ShownNumber(ending="0122").fits(PERSON)
    assert ShownNumber(ending="0122").excludes(OURS)
    assert ShownNumber(PERSON).excludes(OURS)
