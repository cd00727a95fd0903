"""Phone numbers: what is taken for one, and how little of it is shown."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    PhoneMetadata,
    PhoneNumber,
    number_type,
    region_code_for_number,
)

from callrail_relay.domain.phone import BadPhone, mask_all, normalize
from callrail_relay.sentences import explain

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
    """Whatever IF3 and people write, E.164 comes out."""
    assert "+12025550122" == normalize(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "p:+12025550122",
        "'+12025550122",
        '="2025550122"',
        "=+12025550122",
        "(202) 555-0122 (cell)",
        "Mobile: 202-555-0122",
        "+1-202-555-0122 (mobile, work)",
        "\U0001f4f1 202-555-0122",
        "US +1 202 555 0122",
        "callto:+12025550122",
        "tel://2025550122",
        "2025550122.0",
        "+12025550122.0",
        "2.025550122E+09",
        "1.2025550122e+10",
        "2,025,550,122",
        "+1 +1 202-555-0122",
        "+1 (+1) 2025550122",
        "++12025550122",
        "+112025550122",
        "%2B12025550122",
        "+1%20202%20555%200122",
        "%28202%29%20555%2D0122",
        "Phone #: 202-555-0122",
        "#2025550122",
        "No. 2025550122",
        "\U0001f1fa\U0001f1f8 +1 202-555-0122",
        "202-555-0122 \u2706",
        "1.202.555.0122",
        "20 25 55 01 22",
        "[202] 555-0122",
        "202\u00b7555\u00b70122",
        "202\u2022555\u20220122",
        "202_555_0122",
        "202\u202f555\u202f0122",
        "+1 202-555-0122 / 202-555-0122",
    ],
)
def test_what_sheets_and_forms_make_of_a_number_is_undone(raw: str) -> None:
    """Labels, apostrophes, floats and doubled country codes don't change whose number it is."""
    assert "+12025550122" == normalize(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("", "is empty"),
        (" \t", "is empty"),
        ("12", "“12” isn't a valid US/Canada phone number"),
        ("tel:", "valid"),
        ("555-0122", "“555-0122” has no area code"),
        ("5550122", "has no area code"),
        ("911-555-012", "valid"),
        ("202555012", "valid"),
        ("22025550122", "valid"),
        ("202-555-O122", "valid"),
        ("1-800-FLOWERS", "valid"),
        ("n/a", "valid"),
        ("-2025550122", "valid"),
        ("1025550122", "valid"),
        ("2021550122", "valid"),
        ("9115550122", "valid"),
        ("442071838750", "valid"),
        ("00442071838750", "valid"),
        ("\ud800", "valid"),
        ("1" * 65, "too long"),
        ("2025550122 / 2025550133", "“2025550122 / 2025550133” is more than one phone number"),
        ("2025550122,2025550133", "more than one phone number"),
        ("2025550122 or 2025550133", "more than one phone number"),
        ("202-555-0122 do not text", "more than a phone number"),
        ("Fax: 202-555-0122", "more than a phone number"),
        ("2025550122 2", "more than a phone number"),
        ("No text 2025550122", "more than a phone number"),
        ("#5 2025550122", "more than a phone number"),
        ("\U0001f1ef\U0001f1f2 2025550122", "more than a phone number"),
        ("2025550122,,12", "more than a phone number"),
        ("202\x005550122", "more than a phone number"),
        ("+1 202-555-0122 x12", "“.*” has an extension"),
        ("202-555-0122 ext. 5", "extension"),
        ("2025550122#12", "extension"),
        ("tel:+12025550122;ext=12", "extension"),
        ("2.02555E+09", r"“2.02555E\+09” was rounded by a spreadsheet"),
        ("2E+09", "rounded by a spreadsheet"),
        ("+442071838750", r"country code \+44"),
        ("+2025550122", r"country code \+20"),
        ("+18765550122", "“\\+18765550122” is a number in Jamaica"),
        ("+12425550122", "the Bahamas"),
        ("809-555-0122", "the Dominican Republic"),
        ("+19005550122", "premium-rate"),
        ("+12029760122", "premium-rate"),
        ("+15005550122", "personal"),
        ("+16005550122", "satellite"),
    ],
)
def test_anything_else_is_refused_with_a_true_reason(raw: str, words: str) -> None:
    """The reason shows what was written, since a person has to find it in the contact."""
    with pytest.raises(BadPhone) as caught:
        normalize(raw)

    assert re.search(words, explain(caught.value.reason))


@pytest.mark.parametrize(
    "area", ["621", "679", "942", "457", "235", "999", "370", "787", "939", "671", "340"]
)
def test_an_area_code_that_is_not_known_to_be_elsewhere_is_texted(area: str) -> None:
    """New area codes come every year, and CallRail decides on those of US territories."""
    assert f"+1{area}5550122" == normalize(f"{area}-555-0122")


def test_the_countries_are_those_of_phonenumbers() -> None:
    """Every area code that the library gives to another country is refused, and none of the US or Canada."""
    for region in COUNTRY_CODE_TO_REGION_CODE[1]:
        metadata = PhoneMetadata.metadata_for_region(region)
        leading = metadata.leading_digits if metadata else None
        codes = [str(area) for area in range(200, 1000) if leading and re.match(leading, f"{area}2")]
        of_us = region in {"US", "CA", "PR", "GU", "VI", "AS", "MP"}
        assert codes or region in {"US", "CA"}
        for area in codes:
            assert of_us == is_normal(f"{area}2550122"), (region, area)


def test_toll_free_number_is_left_to_callrail() -> None:
    """Some toll-free numbers take texts, and only CallRail knows which."""
    assert "+18005550122" == normalize("800-555-0122")


@given(numbers, layouts)
def test_every_layout_gives_the_same_number(digits: str, layout: str) -> None:
    """Normalising finds the ten digits in every usual layout, and once is enough."""
    once = normalize(layout.format(digits[:3], digits[3:6], digits[6:]))

    assert f"+1{digits}" == once
    assert once == normalize(once)


@given(st.text())
def test_no_text_breaks_it(raw: str) -> None:
    """A text is a number or a ``BadPhone``, and nothing else."""
    with contextlib.suppress(BadPhone):
        assert normalize(raw) == normalize(normalize(raw))


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("+12025550122", "+1••••••••22"),
        ("202-555-0122", "+1••••••••22"),
        ("+442071838750", "•••50"),
    ],
)
def test_mask_shows_two_digits(phone: str, masked: str) -> None:
    """Two digits tell numbers apart in a log, and identify no one."""
    assert masked == mask_all(phone)


@pytest.mark.parametrize(
    "phone", ["+12025550122", "202-555-0122", "(202) 555-0122", "+1 202.555.0122", "2025550122"]
)
def test_numbers_inside_words_are_masked(phone: str) -> None:
    """What CallRail or a library says can be logged."""
    assert "Number +1••••••••22, see line 404." == mask_all(f"Number {phone}, see line 404.")


def test_words_without_numbers_stay() -> None:
    """Statuses, short numbers and ids are no phones."""
    words = "422 on 2026-04-07: id COM00000000000000000000000000000001, 1000 of 1000 used"

    assert words == mask_all(words)


def test_every_area_code_of_the_us_and_canada_is_texted() -> None:
    """Unless phonenumbers calls it a premium-rate, personal or satellite number."""
    for area in range(201, 990):
        number = PhoneNumber(country_code=1, national_number=int(f"{area}5550122"))
        if region_code_for_number(number) in ("US", "CA"):
            assert (number_type(number) in {0, 1, 2, 3}) == is_normal(f"{area}5550122"), area


def is_normal(digits: str) -> bool:
    try:
        return normalize(digits) == f"+1{digits}"
    except BadPhone:
        return False
