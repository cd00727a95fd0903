"""Webhook bodies of one length, none like another: every one has its number, its person and its own words."""

import json
from collections.abc import Sequence

from callrail_relay.domain.phone import BadPhone, normalise

# All of one length, so that every body is as long as the next.
_WORDS = """
about after again along began being black board bring build carry cause check clear close color could cover
cross doubt drive early earth eight every field final first force found front given glass great green group
heard heart horse hours house large learn leave light might money month music never night north
""".split()  # noqa: SIM905 - a row of words reads better than a list of strings

NUMBER = rb"#(\d{7})"


def people() -> list[str]:
    """Ten digits of everybody who can be texted: the fictional lines 555-01xx of every area code."""
    areas = [f"{area}5550100" for area in range(201, 990) if _is_textable(f"{area}5550100")]
    return [f"{first[:8]}{line:02}" for line in range(100) for first in areas]


def _is_textable(digits: str) -> bool:
    try:
        return normalise(digits) != ""
    except BadPhone:
        return False


def words(number: int) -> str:
    """
    Eight words that no other number has in the same order: enough that the guard for mass texts,
    which leaves out numerals, names and streets, tells them apart.
    """
    count = len(_WORDS)
    # The golden section of all rows there are, coprime to them: neighbours look different, none is alike.
    mixed = number * 33_038_986_345_291 % count**8
    return " ".join(_WORDS[mixed // count**place % count] for place in range(8))


def body(number: int, persons: Sequence[str], *, team: int = 42) -> bytes:
    """The webhook's body of text *number*, about 300 bytes in IF3's form."""
    phone = persons[number % len(persons)]
    payload = {
        "opportunity_id": 123456,
        "message": f"Hi Dana, {words(number)} #{number:07}: are you still thinking of selling?",
        "sender_id": 789,
        "seller_id": 4567,
        "seller": "Dana Example",
        "seller_phone": f"+1{phone}",
        "seller_phone_non_international": phone,
        "team_id": team,
    }
    return json.dumps(payload).encode()
