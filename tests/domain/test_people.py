"""Names that can be told apart, and how long wrong passwords have to wait."""

import pytest

from callrail_relay.domain.people import (
    LONGEST_WAIT,
    MOST_REMEMBERED,
    TooManyTries,
    Tries,
    name_key,
    read_name,
    read_password,
)
from callrail_relay.errors import UsageError

SAM = {"name sam": 5, "from 192.0.2.7": 20}


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Sam", "Sam"),
        ("  Sam \t Hill\n", "Sam Hill"),
        ("\uff33\uff41\uff4d", "Sam"),
        ("Jose\u0301", "José"),
        ("Sam; Pat", "Sam; Pat"),
        ("<b>Sam</b>", "<b>Sam</b>"),
        ("李", "李"),
        ("x" * 60, "x" * 60),
    ],
)
def test_a_name_is_written_in_one_way(typed: str, name: str) -> None:
    """Words that a page has to escape are a name like any other."""
    assert name == read_name(typed)
    assert name_key(name) == name_key(typed) == name_key(name.upper()) == name_key(name_key(name))


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        ";",
        "x" * 61,
        "x" * 1_000_000,
        "a\u0301" * 500_000,
        "\ufdfa" * 50,
        "Sam\x00",
        "Sam\x1b[2J",
        "Sam\u202egro",
        "Sam\u200b",
        "\udcffSam",
    ],
)
def test_what_hides_or_has_no_end_is_no_name(typed: str) -> None:
    """And it is the same as no one else's name."""
    with pytest.raises(UsageError, match="Use a name of 1 to 60"):
        read_name(typed)
    assert name_key(typed) in ("", ";", "x" * 61) or "\ufdfa" in typed


@pytest.mark.parametrize("length", [0, 9, 1001, 1_000_000])
def test_a_password_has_a_length_and_no_other_rule(length: int) -> None:
    with pytest.raises(UsageError, match="10 to 1,000 characters"):
        read_password("x" * length)
    assert read_password("          ") == " " * 10


def wait_of(tries: Tries, limits: dict[str, int], now: float) -> str:
    with pytest.raises(TooManyTries) as caught:
        tries.begin(limits, now)
    return str(caught.value)


def test_each_wrong_password_waits_longer_than_the_one_before() -> None:
    """From the fifth on: half a minute, then twice as long each time, and a quarter of an hour at most."""
    tries, now = Tries(), 1000.0
    for _ in range(5):
        tries.begin(SAM, now)
    assert "Too many wrong passwords. Try again in 30 seconds." == wait_of(tries, SAM, now)
    waits = []
    for wait in (30, 60, 120, 240, 480, 900, 900):
        waits.append(wait_of(tries, SAM, now).partition(" in ")[2])
        wait_of(tries, SAM, now + wait - 0.01)
        now += wait
        tries.begin(SAM, now)
    assert "30 seconds. 60 seconds. 120 seconds. 4 minutes. 8 minutes. 15 minutes. 15 minutes." == " ".join(
        waits
    )


def test_a_right_password_is_the_end_of_it() -> None:
    tries = Tries()
    for _ in range(50):
        tries.begin(SAM, 0.0)
        tries.forgive(SAM, 0.0)


def test_one_address_cannot_try_one_name_after_the_other() -> None:
    """Other addresses go on meanwhile."""
    tries = Tries()
    for number in range(20):
        tries.begin({f"name {number}": 5, "from 192.0.2.7": 20}, 0.0)
    assert "30 seconds" in wait_of(tries, {"name sam": 5, "from 192.0.2.7": 20}, 0.0)
    tries.begin({"name sam": 5, "from 192.0.2.8": 20}, 0.0)


def test_ones_own_sign_in_forgives_no_guess_at_others() -> None:
    """A right password between two wrong ones would else let one go on for ever."""
    tries, me = Tries(), {"name pat": 5, "from 192.0.2.7": 20}
    for number in range(20):
        tries.begin(me, 0.0)
        tries.forgive(me, 0.0)
        tries.begin({f"name {number}": 5, "from 192.0.2.7": 20}, 0.0)
    assert "30 seconds" in wait_of(tries, {"name sam": 5, "from 192.0.2.7": 20}, 0.0)


def test_mistakes_of_months_do_not_add_up() -> None:
    """A typing mistake of an office each day keeps no one out."""
    tries = Tries()
    for day in range(300):
        for _ in range(2):
            tries.begin(SAM, day * 86400.0)
        tries.forgive(SAM, day * 86400.0)


def test_a_flood_is_bounded_and_does_not_wash_away_a_wait() -> None:
    """What is forgotten first is what may go on soonest."""
    tries = Tries()
    for _ in range(5):
        tries.begin(SAM, 0.0)
    for number in range(10 * MOST_REMEMBERED):
        tries.begin({f"name {number}": 5, f"from {number}": 20}, 1.0)
    assert MOST_REMEMBERED == len(tries._wrong)  # noqa: SLF001 - what it remembers
    assert "29 seconds" in wait_of(tries, SAM, 1.0)
    tries.begin(SAM, 1.0 + LONGEST_WAIT)
