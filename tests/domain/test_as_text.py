"""
Values as text, and back.
"""

from dataclasses import dataclass, replace
from datetime import time, timedelta
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.as_text import from_text, to_text


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Inner:
    word: str
    flag: bool = False
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    inner: Inner
    others: tuple[Inner, ...] = ()
    some: Inner | None = None
    colour: Colour = Colour.RED
    span: timedelta = timedelta(hours=4)
    at: time = time(21)
    words: tuple[str, ...] = ()


@given(st.from_type(Value))
def test_a_value_comes_back_from_its_text(value: Value) -> None:
    """
    Whatever is in it, to the microsecond and to the last character.
    """
    assert value == from_text(Value, to_text(value))


def test_text_of_another_release_is_read() -> None:
    """
    A key that came later has its default, one that went is passed over.
    """
    text = '{"inner": {"word": "é", "gone": 1}, "colour": "blue", "shape": "round"}'

    assert Value(inner=Inner("é"), colour=Colour.BLUE) == from_text(Value, text)


def test_what_has_no_form_is_told() -> None:
    with pytest.raises(TypeError, match="bytes has no form"):
        to_text(replace(Value(inner=Inner("x")), words=(b"x",)))  # type: ignore[arg-type]  # on purpose
