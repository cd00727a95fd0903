"""
Phone numbers: one way to write them inside, and one way to show them.
"""

import re
import unicodedata
from functools import lru_cache

from phonenumbers import PhoneNumber, PhoneNumberType, number_type, region_code_for_number

# CallRail texts numbers of the US and Canada only (https://apidocs.callrail.com/). The country code +1 is
# shared with some twenty other countries, so it is the area code that decides.
_REGIONS = frozenset({"US", "CA"})

# A toll-free number may be able to take texts, and CallRail says so when one is not. Premium-rate and
# personal numbers belong to no area, take no texts and can cost the sender money.
_TEXTABLE = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.TOLL_FREE,
    }
)

# Marks that come along unseen when a number is copied from a contact or a page: soft hyphen, zero-width
# characters, directions, byte order mark.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")

_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_SHAPE = re.compile(r"(?P<plus>\+?)[(\s]*[0-9][0-9()./\s-]*")
_LONGEST = 64

# Ten to fifteen digits, the length of E.164 numbers, with what is written between them.
_IN_WORDS = re.compile(r"(?<![0-9A-Za-z])(?:\+ ?)?\(?[0-9](?:[\s()./-]{0,3}[0-9]){9,14}(?![0-9A-Za-z])")


class BadPhone(ValueError):
    """
    A text that is not a phone number CallRail can text; the words say why, the number in them is masked.
    """


def normalise(raw: str) -> str:
    """
    *raw* as E.164, ``+1NXXNXXXXXX``: a number of the US or Canada that may take texts.

    Raises ``BadPhone`` for everything else, extensions and letters among it. Numbers in use nowhere, as
    555-01xx, pass: an area code can be checked here, a line cannot.
    """
    digits = _national_digits(_plain(raw))
    if not re.fullmatch("[2-9][0-9]{2}[2-9][0-9]{6}", digits):
        raise BadPhone(f"{mask(digits)} is not a North American number: no such area code or exchange")
    fault = _fault_of_exchange(digits[:6])
    if fault is not None:
        raise BadPhone(f"{mask(digits)} {fault}")
    return f"+1{digits}"


@lru_cache(maxsize=8192)
def _fault_of_exchange(prefix: str) -> str | None:
    """
    Why numbers of this area code and exchange take no texts; None where they do.

    To whom a North American number belongs, and for what it is, its first six digits say
    (https://www.nationalnanpa.com/area_codes/): no pattern of phonenumbers looks at the last four.
    """
    number = PhoneNumber(country_code=1, national_number=int(f"{prefix}0100"))
    if region_code_for_number(number) not in _REGIONS:
        return "does not belong to the US or Canada, the only ones CallRail texts"
    if number_type(number) not in _TEXTABLE:
        return "is a special-rate or personal number, which takes no texts"
    return None


def mask(phone: str) -> str:
    """
    *phone* for logs and sentences: the last two digits of a full number, nothing of anything shorter.
    """
    digits = re.sub("[^0-9]", "", phone)
    if len(digits) < 7:
        return "•••"
    if re.fullmatch("1?[0-9]{10}", digits):
        return f"+1••••••••{digits[-2:]}"
    return f"•••{digits[-2:]}"


def mask_all(words: str) -> str:
    """
    *words* with everything in them that may be a phone number masked.
    """
    return _IN_WORDS.sub(lambda match: mask(match[0]), words)


def _plain(raw: str) -> str:
    """
    *raw* without unseen marks, ``tel:`` and white space around it, its digits and dashes plain ASCII ones.
    """
    if len(raw) > _LONGEST:
        raise BadPhone(f"{len(raw)} characters are too many for a phone number")
    text = raw.strip()
    if not text.isascii():
        text = _DASHES.sub("-", _UNSEEN.sub("", text)).replace("\uff0b", "+").strip()
        text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    if text[:4].lower() == "tel:":
        text = text[4:].lstrip()
    if not text:
        raise BadPhone("it is empty")
    return text


def _national_digits(text: str) -> str:
    """
    The ten digits after the country code, however the country code is written.
    """
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        if any(c.isalpha() or c in "#,;*" for c in text):
            raise BadPhone(f"{mask(text)} has letters or an extension, which a text cannot reach")
        raise BadPhone(f"{mask(text)} is not written as a phone number")
    digits = re.sub("[^0-9]", "", text)
    if shape["plus"]:
        if not digits.startswith("1"):
            raise BadPhone(f"{mask(text)} does not belong to the US or Canada, the only ones CallRail texts")
        digits = digits[1:]
    else:
        # The international prefix as dialled from Europe (00) or from North America (011), or none.
        digits = re.sub("^(?:(?:00|011)?1)(?=[0-9]{10}$)", "", digits)
    if len(digits) != 10:
        raise BadPhone(f"{mask(text)} is not a North American number of ten digits")
    return digits
