"""Phone numbers. Those known to be abroad or to take no texts are refused; unknown area codes are texted."""

import re

from phonenumbers import Leniency, PhoneNumberMatcher

from callrail_relay.domain import read_table
from callrail_relay.domain.message import Reason
from callrail_relay.domain.printable import plain_digits, whole_number

_TABLES = read_table(__package__, "phone")
_COUNTRIES: dict[str, str] = _TABLES["countries"]  # by area code
_LABELS = frozenset(_TABLES["labels"].split())

# A text to a premium-rate number can cost the sender money. Area code 900, and 976 after any area code.
_PREMIUM = re.compile("900|[0-9]{3}976")
# Personal and satellite numbers belong to no area, and take no texts.
_PERSONAL = re.compile("5(?:00|2[1-9]|3[23]|44|66|77|88)|6(?:00|22|33)")

_PLAIN = re.compile(r"(?:\+?1)?([2-9][0-9]{9})")
_NATIONAL = re.compile("[2-9](?!11)[0-9]{2}[2-9][0-9]{6}")
_LOCAL = re.compile("[2-9][0-9]{6}")

# Invisible marks that come with a copied number: soft hyphen, zero-width characters, directions, BOM.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_DOTS = re.compile("(?<=[0-9])[\u00b7\u2022\u2027\u2219_](?=[0-9])")
_ESCAPED = re.compile("%(20|2[89BDE])", re.IGNORECASE)  # white space and ()+-. as in a link
_NUMBER_SIGN = re.compile(r"^n[or]\. ?(?=[+(0-9])", re.IGNORECASE)
# The prefix for calls abroad as dialed from Europe; the library knows the North American one, 011.
_DIALED_PLUS = re.compile(r"^00(?=[\s.-]*1[\s(.-]*[2-9])")
_DOUBLED_ONE = re.compile(r"\+1[\s(.-]*(?=\+1)")

_AROUND = re.compile(
    "[\\s'\"`\u2018\u2019\u201c\u201d()\\[\\]<>.,:;=/|+#\u260e\u260f\u2706\U0001f4de\U0001f4f1\U0001f4f2\ufe0f-]+"
    "|\U0001f1fa\U0001f1f8|\U0001f1e8\U0001f1e6"  # the flags of the US and Canada
)

_LONGEST = 64
_LONGEST_SHOWN = 40

# Ten to fifteen digits, the length of E.164 numbers, with what is written between them.
_IN_WORDS = re.compile(r"(?<![0-9A-Za-z])(?:\+ ?)?\(?[0-9](?:[\s()./-]{0,3}[0-9]){9,14}(?![0-9A-Za-z])")


class BadPhone(ValueError):
    """Raised for text that isn't a phone number CallRail can text; ``reason`` is ``bad_phone``."""

    def __init__(self, problem: str, raw: str = "", **more: str | int) -> None:
        self.reason = Reason("bad_phone", {"problem": problem, "typed": _shown(raw), **more})
        why = problem.replace("_", " ")
        super().__init__(f"“{_shown(raw)}” is not a phone number that CallRail can text ({why})")


def normalize(raw: str) -> str:
    """Return the one number in *raw* as E.164, however people and spreadsheets write it. Raises BadPhone."""
    plain = _PLAIN.fullmatch(raw)
    national = plain[1] if plain else _national_number(raw)
    if not _NATIONAL.fullmatch(national):
        raise BadPhone("no_area_code" if _LOCAL.fullmatch(national) else "invalid", raw)
    country = _COUNTRIES.get(national[:3])
    if country is not None:
        raise BadPhone("country", raw, country=country)
    if _PREMIUM.match(national):
        raise BadPhone("premium", raw)
    if _PERSONAL.match(national):
        raise BadPhone("personal", raw, area_code=national[:3])
    return f"+1{national}"


def mask_all(words: str) -> str:
    """Return *words* with the last two digits alone of everything that may be a phone number."""
    return _IN_WORDS.sub(_masked, words)


def _masked(found: re.Match[str]) -> str:
    digits = re.sub("[^0-9]", "", found[0])
    return ("+1••••••••" if re.fullmatch("1?[0-9]{10}", digits) else "•••") + digits[-2:]


def _national_number(raw: str) -> str:
    """Return what follows +1 in the one North American number that *raw* contains."""
    text = _cleaned(raw)
    matches = list(PhoneNumberMatcher(text, "US", leniency=Leniency.POSSIBLE))
    numbers = {(match.number.country_code, match.number.national_number) for match in matches}
    if not numbers or text.startswith("-"):
        raise BadPhone("invalid", raw)
    if any(match.number.extension for match in matches):
        raise BadPhone("extension", raw)
    if len(numbers) > 1:
        raise BadPhone("several", raw)
    around = text
    for match in matches:
        around = around.replace(match.raw_string, " ", 1)
    if not set(_AROUND.split(around.lower())) <= {"", *_LABELS}:
        raise BadPhone("other_words", raw)
    [(country_code, national_number)] = numbers
    if country_code != 1:
        raise BadPhone("abroad", raw, country_code=country_code or 0)
    return str(national_number)


def _cleaned(raw: str) -> str:
    """Return *raw* without what sheets, forms and copying do to a number."""
    text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), _UNSEEN.sub("", raw))
    text = _NUMBER_SIGN.sub("", _DOTS.sub("-", " ".join(text.split())))
    text = plain_digits(text)
    if not text:
        raise BadPhone("empty")
    if len(text) > _LONGEST:
        raise BadPhone("too_long", raw)
    number = text.strip("'=\"").removeprefix("+")
    whole = whole_number(number)
    if whole is None:
        raise BadPhone("rounded", raw)
    if whole != number:
        return whole
    return _DOUBLED_ONE.sub("", _DIALED_PLUS.sub("+", text))


def _shown(raw: str) -> str:
    text = "".join(c if c.isprintable() else "\ufffd" for c in raw.strip())
    return f"{text[:_LONGEST_SHOWN]}…" if len(text) > _LONGEST_SHOWN else text
