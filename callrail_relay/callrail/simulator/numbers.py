"""Phone numbers as CallRail reads and writes them."""

import re

import phonenumbers

_E164 = re.compile(r"\+1([2-9]\d{2}[2-9]\d{6})", re.ASCII)
_TEN_DIGITS = re.compile(r"[2-9]\d{2}[2-9]\d{6}", re.ASCII)
_TOLL_FREE = frozenset({"800", "833", "844", "855", "866", "877", "888"})


def normalize(number: object) -> str | None:
    """
    The E.164 form of a string CallRail is known to understand, else None.

    That is E.164 itself and ten digits; punctuation, eleven digits and JSON numbers are untested,
    and refused here.
    """
    if not isinstance(number, str):
        return None
    if _E164.fullmatch(number):
        return number
    return f"+1{number}" if _TEN_DIGITS.fullmatch(number) else None


def is_north_american(number: str) -> bool:
    """
    Whether the area code of an E.164 number is of the United States, its territories or Canada, or of nobody.

    An unassigned area code passes, because the numbers set aside for fiction have some.
    """
    region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    return region in {"US", "PR", "VI", "GU", "MP", "AS", "CA", None}


def is_toll_free(number: str) -> bool:
    return number[2:5] in _TOLL_FREE


def formatted(number: str) -> str:
    """The ``formatted_*`` form of an E.164 number: 202-555-0122."""
    return f"{number[2:5]}-{number[5:8]}-{number[8:]}"


def found_in(number: str, search: str) -> bool:
    """Whether *search*, written with digits and punctuation only, is part of *number*."""
    digits = re.sub(r"[\s().+-]", "", search)
    return digits.isdecimal() and digits in number
