"""Quiet hours, in whole minutes: a text waits until it's night in none of its number's possible zones."""

from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

_LINES = files(__package__).joinpath("zones.txt").read_text(encoding="utf-8").splitlines()
AREA_CODES = {zone: areas for zone, *areas in map(str.split, _LINES) if zone != "#"}

_MINUTE = timedelta(minutes=1)
_LONGEST_DAY = 26 * 60  # minutes, when a clock is set back

# These islands have their own area codes, so a number of an unknown area isn't from there.
_FAR_ISLANDS = frozenset({"Pacific/Guam", "Pacific/Pago_Pago", "Pacific/Saipan"})


def quiet_until(
    recipient: str, now: datetime, *, start: time, end: time, zone: str | None = None
) -> datetime | None:
    """Return the minute, in UTC, when a text can be sent to all zones of *recipient*; None if now."""
    zones = (ZoneInfo(zone),) if zone else zones_of(recipient)
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    release = _release(minute, zones, start, end)
    return None if release == minute else release


@lru_cache(maxsize=1024)
def zones_of(recipient: str) -> tuple[tzinfo, ...]:
    """Return the time zones a number may be in: those its area code touches, or nearly all."""
    area = recipient.removeprefix("+1")[:3]
    names = {zone for zone, areas in AREA_CODES.items() if area in areas}
    return tuple(map(ZoneInfo, sorted(names or AREA_CODES.keys() - _FAR_ISLANDS)))


@lru_cache(maxsize=256)  # texts of one minute share it
def _release(minute: datetime, zones: tuple[tzinfo, ...], start: time, end: time) -> datetime:
    """Return the first minute from *minute* on that isn't quiet, or in the fewest zones within a day."""

    def quiet_zones(at: datetime) -> int:
        clocks = (at.astimezone(zone).time() for zone in zones)
        return sum(start <= one < end if start <= end else not end <= one < start for one in clocks)

    release, fewest = minute, quiet_zones(minute)
    for later in (minute + wait * _MINUTE for wait in range(1, _LONGEST_DAY)):
        if not fewest:
            break
        # Only then can it end: clocks differ, and change, by quarters of an hour.
        if later.minute % 15 in (0, end.minute % 15) and (count := quiet_zones(later)) < fewest:
            release, fewest = later, count
    return release
