"""Numbers and words as CallRail shows them."""

import re

from callrail_relay.domain.inbound import ShownNumber
from callrail_relay.domain.phone import BadPhone, normalise

# PostgreSQL keeps no NUL, and no database keeps half a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(words: str) -> str:
    """*words* with a mark for each character that no database keeps."""
    return _UNSTORABLE.sub("\ufffd", words)


def read_number(value: str | None) -> ShownNumber:
    """A number as CallRail shows it: ``+12025550122``, ``202-555-0122``, or ``***0122``."""
    text = (value or "").strip()
    try:
        return ShownNumber(normalise(text))
    except BadPhone:
        pass
    if re.fullmatch(r"[0-9\s().+-]*", text):
        digits = re.sub("[^0-9]", "", text)
        if re.fullmatch("1?[0-9]{10}", digits):
            # An area code that is new, or that is none: CallRail knows better.
            return ShownNumber(f"+1{digits[-10:]}")
        return ShownNumber()
    shown = re.search(r"[0-9][0-9\s().-]*$", text)
    ending = re.sub("[^0-9]", "", shown[0]) if shown else ""
    # One digit alone would stand for a tenth of everybody.
    return ShownNumber(ending=ending if 2 <= len(ending) <= 10 else "")
