"""
Quiet hours: when it is night where the recipient may be.

A number says where its owner may live, and not where they do. So a text may leave only when it is allowed
in every time zone that the number may belong to. All is reckoned in whole minutes: no zone of our time
changes its clock by less.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from phonenumbers import PhoneNumber, PhoneNumberType, number_type

from callrail_relay.domain.zones import PREFIXES

_MINUTE = timedelta(minutes=1)
_DAY = 24 * 60

_OF_AN_AREA = frozenset(
    {PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
)

# Where no zone is known: the ones of the contiguous United States, and the clock of Arizona.
_CONTIGUOUS = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Phoenix",
    "America/Los_Angeles",
)


def quiet_until(
    recipient: str, now: datetime, *, start: time, end: time, zone: str | None = None
) -> datetime | None:
    """
    The minute, in UTC, at which a text to *recipient* (E.164) may leave; None when it may leave now.

    It is quiet from *start* until *end* (hours and minutes) by the recipient's own clock, across midnight
    where *start* is the later one. The zones are all that the number may belong to, or *zone* (an IANA
    name) where it is known. What comes back is the first minute that is not quiet in any of them, exact
    also where a clock is put forward or back. Where the hours are such that it is always quiet in one of
    them, it is the first minute that is not quiet by as many of their clocks as can be.
    """
    zones = (_zone(zone),) if zone else zones_of(recipient)
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    release = _release(minute, zones, start.hour * 60 + start.minute, end.hour * 60 + end.minute)
    return None if release == minute else release


def zones_of(recipient: str) -> tuple[tzinfo, ...]:
    """
    The time zones that a number (E.164, +1 …) may belong to.

    Those of its area code and exchange. A number of no area, such as a toll-free one, may belong to any zone
    of the US and Canada, one that is not known to the contiguous United States.
    """
    return _zones_of_exchange(recipient.removeprefix("+1")[:6])


def _release(minute: datetime, zones: Sequence[tzinfo], start: int, end: int) -> datetime:
    """
    The first minute from *minute* on that is not quiet.

    Between two changes of a clock the day of all zones is one pattern, which repeats. Where a clock changes
    before the pattern says that it is over, the pattern that begins then counts.
    """
    offsets = _offsets(minute, zones)
    release = minute + _wait(minute, offsets, start, end)
    while release > minute and _offsets(release, zones) != offsets:
        minute = _change(minute, release, zones)
        offsets = _offsets(minute, zones)
        release = minute + _wait(minute, offsets, start, end)
    return release


def _wait(minute: datetime, offsets: tuple[int, ...], start: int, end: int) -> timedelta:
    return _MINUTE * _waits(frozenset(offsets), start, end)[minute.hour * 60 + minute.minute]


def _offsets(minute: datetime, zones: Sequence[tzinfo]) -> tuple[int, ...]:
    """
    How far the clocks of *zones* are from UTC, in minutes.
    """
    return tuple((minute.astimezone(zone).utcoffset() or timedelta()) // _MINUTE for zone in zones)


def _change(before: datetime, after: datetime, zones: Sequence[tzinfo]) -> datetime:
    """
    The first minute behind *before* at which a clock of *zones* is another one; at *after* one is.
    """
    offsets = _offsets(before, zones)
    while after - before > _MINUTE:
        middle = before + (after - before) // _MINUTE // 2 * _MINUTE
        if _offsets(middle, zones) == offsets:
            before = middle
        else:
            after = middle
    return after


@lru_cache(maxsize=64)
def _waits(offsets: frozenset[int], start: int, end: int) -> tuple[int, ...]:
    """
    For each minute of a day in UTC, how many minutes are left until it is not quiet.
    """
    loud = [
        sum(not _is_quiet((minute + one) % _DAY, start, end) for one in offsets) for minute in range(_DAY)
    ]
    most = max(loud)
    waits = [0] * _DAY
    # Twice backwards through the day, so that the evening knows of the next morning.
    for minute in reversed(range(2 * _DAY)):
        at = minute % _DAY
        waits[at] = 0 if loud[at] == most else waits[(at + 1) % _DAY] + 1
    return tuple(waits)


def _is_quiet(minute: int, start: int, end: int) -> bool:
    if start <= end:
        return start <= minute < end
    return minute >= start or minute < end


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=4096)
def _zones_of_exchange(digits: str) -> tuple[tzinfo, ...]:
    """
    The zones of the numbers that begin with *digits*: area code and exchange, on which they depend.
    """
    kind = number_type(PhoneNumber(country_code=1, national_number=int(digits.ljust(6, "0") + "0122")))
    names: tuple[str, ...] = _CONTIGUOUS
    if kind in _OF_AN_AREA:
        known = _zones_of_prefixes()
        names = next((known[digits[:size]] for size in (6, 5, 4, 3) if digits[:size] in known), _CONTIGUOUS)
    elif kind != PhoneNumberType.UNKNOWN:
        names = tuple(sorted({name for zones in PREFIXES for name in zones.split()}))
    return tuple(map(_zone, names))


@cache
def _zones_of_prefixes() -> dict[str, tuple[str, ...]]:
    return {prefix: tuple(zones.split()) for zones, begin in PREFIXES.items() for prefix in begin.split()}
