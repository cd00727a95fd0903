"""
Ids in the order of time.
"""

from datetime import datetime
from random import Random
from uuid import UUID

_MILLISECOND = 1000


def uuid7(now: datetime, random: Random) -> str:
    """
    A UUID of version 7 (RFC 9562): sorts by *now*, to a quarter of a microsecond, with 62 random bits.

    Ids that grow with time keep the indexes of the outbox small and quick.
    """
    microseconds = int(now.timestamp() * 1_000_000)
    milliseconds, rest = divmod(microseconds, _MILLISECOND)
    fraction = rest * 4096 // _MILLISECOND
    value = (milliseconds << 80) | (0x7 << 76) | (fraction << 64) | (0b10 << 62) | random.getrandbits(62)
    return str(UUID(int=value))
