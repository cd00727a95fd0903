"""Counting wrong secrets by address."""

import ipaddress
from collections import OrderedDict
from datetime import timedelta

MOST_FAILURES = 20
WINDOW = timedelta(minutes=1)
MOST_ADDRESSES = 10_000


class FailedSecrets:
    """
    How many wrong secrets each address tried in its present minute.

    At most MOST_ADDRESSES are remembered, so that no flood can fill the memory. What is no address counts
    as one, whatever it says: a proxy passes on what anybody wrote.
    """

    def __init__(self) -> None:
        self._minutes: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def too_many(self, address: str, now: float) -> bool:
        """
        Note one more wrong secret, and say whether that is more than an address may try in a minute.

        *now* is in seconds of a clock that nobody sets.
        """
        key = _network(address)
        began, count = self._minutes.pop(key, (now, 0))
        if now - began >= WINDOW.total_seconds():
            began, count = now, 0
        self._minutes[key] = (began, count + 1)
        while len(self._minutes) > MOST_ADDRESSES:
            self._minutes.popitem(last=False)
        return count >= MOST_FAILURES


def _network(address: str) -> str:
    """What one party can choose freely counts as one: a whole /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    # A listener on both sees IPv4 as a part of one /64.
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
