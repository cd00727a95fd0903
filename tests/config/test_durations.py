from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.config.types import duration_text, parse_duration

DURATIONS = st.timedeltas(timedelta(0), timedelta(days=3650))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("15s", 15),
        ("5m", 300),
        ("4h", 14400),
        ("30d", 2592000),
        ("1.5h", 5400),
        (" 90 s ", 90),
        ("60", 60),
        (60, 60),
        (0.25, 0.25),
        (0, 0),
        (timedelta(minutes=1), 60),
    ],
)
def test_times_are_read(written: object, seconds: float) -> None:
    """A number is seconds, a letter is a unit."""
    assert timedelta(seconds=seconds) == parse_duration(written)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "h",
        "4 hours",
        "1h30m",
        "-5s",
        "+5",
        "٤h",
        "1e3",
        "inf",
        -1,
        True,
        None,
        [],
        float("nan"),
        float("inf"),
    ],
)
def test_other_words_are_refused(written: object) -> None:
    """What could be misread is not read."""
    with pytest.raises(ValueError, match=r"^must be a number of seconds"):
        parse_duration(written)


@pytest.mark.parametrize("written", ["3651d", "999999999999999d", 1e9, timedelta(seconds=-1)])
def test_endless_times_are_refused(written: object) -> None:
    """Ten years are enough for everybody."""
    with pytest.raises(ValueError, match=r"^must be between"):
        parse_duration(written)


@given(DURATIONS)
def test_writing_then_reading_is_identity(duration: timedelta) -> None:
    """No microsecond is lost."""
    assert duration == parse_duration(duration_text(duration))


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(hours=4), "4h"),
        (timedelta(days=30), "30d"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=1.5), "1.5s"),
        (timedelta(seconds=100), "100s"),
        (timedelta(0), "0s"),
        (None, "off"),
    ],
)
def test_times_are_written_short(duration: timedelta | None, text: str) -> None:
    assert text == duration_text(duration)
