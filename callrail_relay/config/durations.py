"""
Lengths of time as people write them: ``15s``, ``5m``, ``4h``, ``30d``, or a number of seconds.
"""

import re
from datetime import timedelta
from decimal import Decimal

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_WRITTEN = re.compile(r"(?P<amount>[0-9]{1,15}(?:\.[0-9]{1,20})?)\s*(?P<unit>[smhd]?)", re.ASCII)
_LONGEST = timedelta(days=3650)
_RULE = "must be a number of seconds, or a time such as 15s, 5m, 4h or 30d"


def parse_duration(raw: object) -> timedelta:
    """
    The length of time that *raw* says: a timedelta, a number of seconds, or text with a unit.

    Raises ValueError for anything else, for a negative time and for one longer
    than ten years.
    """
    if isinstance(raw, timedelta):
        duration = raw
    elif isinstance(raw, int | float | str) and not isinstance(raw, bool):
        duration = _read(str(raw))
    else:
        raise ValueError(_RULE)  # noqa: TRY004  # whoever reads a table gathers ValueErrors
    if not timedelta(0) <= duration <= _LONGEST:
        raise ValueError("must be between 0 seconds and 3650 days")
    return duration


def _read(text: str) -> timedelta:
    written = _WRITTEN.fullmatch(text.strip())
    if written is None:
        raise ValueError(_RULE)
    seconds = Decimal(written["amount"]) * _SECONDS[written["unit"]]
    # Whole microseconds: the path through float would lose some of them.
    try:
        return timedelta(microseconds=int(seconds * 1_000_000))
    except OverflowError:
        return timedelta.max


def duration_text(duration: timedelta) -> str:
    """
    The shortest text that ``parse_duration`` reads as *duration*, for example ``4h``.
    """
    microseconds = duration // timedelta(microseconds=1)
    for unit in ("d", "h", "m"):
        whole, rest = divmod(microseconds, _SECONDS[unit] * 1_000_000)
        if whole and not rest:
            return f"{whole}{unit}"
    return f"{Decimal(microseconds).scaleb(-6).normalize():f}s"
