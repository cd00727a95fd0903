"""
Phone numbers: what is taken for one, and how little of it is shown.
"""

import contextlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumber, number_type, region_code_for_number

from callrail_relay.domain.phone import BadPhone, mask, mask_all, normalise

area_codes = st.sampled_from(["202", "212", "310", "416", "604", "867", "983"])
numbers = st.builds("{}55501{:02d}".format, area_codes, st.integers(0, 99))
layouts = st.sampled_from(
    [
        "{0}{1}{2}",
        "+1{0}{1}{2}",
        "1{0}{1}{2}",
        "001{0}{1}{2}",
        "({0}) {1}-{2}",
        "+1 ({0}) {1}-{2}",
        "1-{0}-{1}-{2}",
        "{0}.{1}.{2}",
        " tel:+1-{0}-{1}-{2} ",
    ]
)


@pytest.mark.parametrize(
    "raw",
    [
        "+12025550122",
        "2025550122",
        "12025550122",
        " 12025550122",
        "+1 (202) 555-0122",
        "1-202-555-0122",
        "202.555.0122",
        "202/555-0122",
        "(202)555-0122",
        "tel:+12025550122",
        "TEL: +1-202-555-0122",
        "0012025550122",
        "01112025550122",
        "\u202a+1\u00a0202\u2011555\u20110122\u202c",
        "\uff0b\uff11\uff12\uff10\uff12\uff15\uff15\uff15\uff10\uff11\uff12\uff12",
        "202-555-0122\r\n",
    ],
)
def test_one_number_is_written_in_one_way(raw: str) -> None:
    """
    Whatever IF3 and people write, E.164 comes out.
    """
    assert "+12025550122" == normalise(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("", "empty"),
        (" \t", "empty"),
        ("tel:", "empty"),
        ("555-0122", "ten digits"),
        ("202555012", "ten digits"),
        ("2025550122 / 2025550133", "ten digits"),
        ("1" * 65, "too many"),
        ("+1 202-555-0122 x12", "extension"),
        ("202-555-0122 ext. 5", "extension"),
        ("2025550122,,12", "extension"),
        ("2025550122#12", "extension"),
        ("tel:+12025550122;ext=12", "extension"),
        ("1-800-FLOWERS", "letters"),
        ("n/a", "letters"),
        ("-2025550122", "not written"),
        ("2025550122+", "not written"),
        ("++12025550122", "not written"),
        ("1025550122", "no such area code"),
        ("2021550122", "no such area code"),
        ("+442071838750", "US or Canada"),
        ("442071838750", "ten digits"),
        ("+18765550122", "US or Canada"),
        ("+12425550122", "US or Canada"),
        ("+18095550122", "US or Canada"),
        ("+19995550122", "US or Canada"),
        ("+19005550122", "special-rate"),
        ("+15005550122", "personal"),
        ("\ud800", "not written"),
        ("202\x005550122", "not written"),
    ],
)
def test_anything_else_is_refused_with_a_reason(raw: str, words: str) -> None:
    """
    Other countries, extensions and letters are refused, and the reason shows two digits at most.
    """
    with pytest.raises(BadPhone, match=words) as refused:
        normalise(raw)

    assert "5550122" not in str(refused.value)


def test_toll_free_number_is_left_to_callrail() -> None:
    """
    Some toll-free numbers take texts, and only CallRail knows which.
    """
    assert "+18005550122" == normalise("800-555-0122")


@given(numbers, layouts)
def test_every_layout_gives_the_same_number(digits: str, layout: str) -> None:
    """
    Normalising finds the ten digits in every usual layout, and once is enough.
    """
    once = normalise(layout.format(digits[:3], digits[3:6], digits[6:]))

    assert f"+1{digits}" == once
    assert once == normalise(once)


@given(st.text())
def test_no_text_breaks_it(raw: str) -> None:
    """
    A text is a number or a ``BadPhone``, and nothing else.
    """
    with contextlib.suppress(BadPhone):
        assert normalise(raw) == normalise(normalise(raw))


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("+12025550122", "+1••••••••22"),
        ("202-555-0122", "+1••••••••22"),
        ("+442071838750", "•••50"),
        ("555-0122", "•••22"),
        ("0122", "•••"),
        ("", "•••"),
    ],
)
def test_mask_shows_two_digits(phone: str, masked: str) -> None:
    """
    Two digits tell numbers apart in a log, and identify nobody.
    """
    assert masked == mask(phone)


@pytest.mark.parametrize(
    "phone", ["+12025550122", "202-555-0122", "(202) 555-0122", "+1 202.555.0122", "2025550122"]
)
def test_numbers_inside_words_are_masked(phone: str) -> None:
    """
    What CallRail or a library says can be logged.
    """
    assert "Number +1••••••••22, see line 404." == mask_all(f"Number {phone}, see line 404.")


def test_words_without_numbers_stay() -> None:
    """
    Statuses, short numbers and ids are no phones.
    """
    words = "422 on 2026-04-07: id COM00000000000000000000000000000001, 1000 of 1000 used"

    assert words == mask_all(words)


def test_the_last_four_digits_decide_nothing() -> None:
    """
    Where a number belongs and what it is for, phonenumbers tells from the first six digits alone.
    """
    random = Random(7)
    prefixes = {f"{area}{random.randrange(200, 1000)}" for area in range(201, 990) for _ in range(6)}
    # Area codes of which the metadata splits the exchanges.
    prefixes |= {
        f"{area}{exchange}" for area in (274, 305, 472, 505, 983) for exchange in range(200, 1000, 7)
    }

    def says(prefix: str, line: int) -> tuple[str | None, int]:
        number = PhoneNumber(country_code=1, national_number=int(f"{prefix}{line:04}"))
        return region_code_for_number(number), number_type(number)

    different = {
        prefix
        for prefix in prefixes
        if len({says(prefix, line) for line in (100, random.randrange(10_000), random.randrange(10_000))}) > 1
    }
    assert set() == different


def test_every_area_code_is_judged_as_phonenumbers_does() -> None:
    """
    A number passes where its region is the US or Canada and its kind takes texts, in every area code.
    """
    random = Random(8)
    for area in range(201, 990):
        digits = f"{area}{random.randrange(200, 1000)}{random.randrange(10_000):04}"
        number = PhoneNumber(country_code=1, national_number=int(digits))
        takes_texts = number_type(number) in {0, 1, 2, 3}
        assert (region_code_for_number(number) in ("US", "CA") and takes_texts) == is_normal(digits), digits


def is_normal(digits: str) -> bool:
    try:
        return normalise(digits) == f"+1{digits}"
    except BadPhone:
        return False
