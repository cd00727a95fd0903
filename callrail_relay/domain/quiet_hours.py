"""Quiet hours, in whole minutes: a text waits until none of the zones its number may belong to has night."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

_LINES = files(__package__).joinpath("zones.txt").read_text(encoding="utf-8").splitlines()
AREA_CODES = {zone: areas for zone, *areas in map(str.split, _LINES) if zone != "#"}

_MINUTE = timedelta(minutes=1)
_DAY = 24 * 60

# Only these islands' own area codes belong to them, so a number of an unknown area isn't from there.
_FAR_ISLANDS = frozenset({"Pacific/Guam", "Pacific/Pago_Pago", "Pacific/Saipan"})


def quiet_until(
    recipient: str, now: datetime, *, start: time, end: time, zone: str | None = None
) -> datetime | None:
    """The minute, in UTC, at which a text can be sent to all zones of *recipient*; None if that is now."""
    zones = (ZoneInfo(zone),) if zone else zones_of(recipient)
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    release = _release(minute, zones, start.hour * 60 + start.minute, end.hour * 60 + end.minute)
    return None if release == minute else release


@lru_cache(maxsize=1024)
def zones_of(recipient: str) -> tuple[tzinfo, ...]:
    """The time zones that a number may belong to: those its area code touches; else nearly all."""
    area = recipient.removeprefix("+1")[:3]
    names = {zone for zone, areas in AREA_CODES.items() if area in areas}
    return tuple(map(ZoneInfo, sorted(names or AREA_CODES.keys() - _FAR_ISLANDS)))


def _release(minute: datetime, zones: Sequence[tzinfo], start: int, end: int) -> datetime:
    """The first minute from *minute* on that isn't quiet; a day's pattern holds until a clock changes."""
    while True:
        offsets = _offsets(minute, zones)
        wait = _wait(minute.hour * 60 + minute.minute, frozenset(offsets), start, end)
        release = minute + wait * _MINUTE
        if not wait or _offsets(release, zones) == offsets:
            return release
        minute = _change(minute, release, zones)


def _offsets(minute: datetime, zones: Sequence[tzinfo]) -> tuple[int, ...]:
    """How far the clocks of *zones* are from UTC, in minutes."""
    return tuple((minute.astimezone(zone).utcoffset() or timedelta()) // _MINUTE for zone in zones)


def _change(before: datetime, after: datetime, zones: Sequence[tzinfo]) -> datetime:
    """The first minute behind *before* at which a clock of *zones* is another one; at *after* one is."""
    offsets = _offsets(before, zones)
    while after - before > _MINUTE:
        middle = before + (after - before) // _MINUTE // 2 * _MINUTE
        if _offsets(middle, zones) == offsets:
            before = middle
        else:
            after = middle
    return after


def _wait(at: int, offsets: frozenset[int], start: int, end: int) -> int:
    """How many minutes are left, at a minute of a day in UTC, until it is quiet in as few zones as can be."""

    def quiet_zones(wait: int) -> int:
        clocks = [(at + wait + offset) % _DAY for offset in offsets]
        return sum(start <= one < end if start <= end else not end <= one < start for one in clocks)

    ends = ((end - offset - at) % _DAY for offset in offsets)
    return min({0, *ends}, key=lambda wait: (quiet_zones(wait), wait))
