"""Webhook bodies of one length, none like another: every one has its number, its person and its own words."""

import json
from collections.abc import Sequence
from random import Random

from callrail_relay.domain.phone import BadPhone, normalize

# All of one length, so that every body is as long as the next.
_WORDS = """
about above actor admit adult after again agent agree ahead alarm album alert alike alive allow alone along
among anger angle apart apple apply arena argue arise array aside asset avoid award aware began being black
blame blank blind block blood board boost bound brain brand bread break brick brief bring broad brown build
burst cabin cable carry catch cause chain chair chart chase cheap check chest chief child civil claim class
clean clear climb clock close cloud coach coast color could count court cover craft crash cream crime cross
crowd curve cycle daily dance dealt depth doubt draft drama dream dress drink drive early earth eight enjoy
enter entry equal error event every exact extra faith fault fiber field final first flash fleet floor fluid
focus force forth found frame fresh front fruit given glass globe grace grade grain grand grant grass great
green group guard guess guest guide happy heard heart heavy horse hotel hours house human ideal image index
inner input issue joint judge known label large laser later laugh layer learn leave legal level light limit
""".split()  # noqa: SIM905 - a row of words reads better than a list of strings

NUMBER = rb"#(\d{7})"


def people() -> list[str]:
    """Ten digits of everybody who can be texted: the fictional lines 555-01xx of every area code."""
    areas = [f"{area}5550100" for area in range(201, 990) if _is_textable(f"{area}5550100")]
    return [f"{first[:8]}{line:02}" for line in range(100) for first in areas]


def _is_textable(digits: str) -> bool:
    try:
        return normalize(digits) != ""
    except BadPhone:
        return False


def text(number: int) -> str:
    """What text *number* says: its number, and words of which few are in another one, so no mass text."""
    words = Random(number).sample(_WORDS, 12)
    return f"Hi Dana, {' '.join(words)} #{number:07}"


def body(number: int, persons: Sequence[str], *, team: int = 42) -> bytes:
    """The webhook's body of text *number*, about 300 bytes in IF3's form."""
    phone = persons[number % len(persons)]
    payload = {
        "opportunity_id": 123456,
        "message": text(number),
        "sender_id": 789,
        "seller_id": 4567,
        "seller": "Dana Example",
        "seller_phone": f"+1{phone}",
        "seller_phone_non_international": phone,
        "team_id": team,
    }
    return json.dumps(payload).encode()
