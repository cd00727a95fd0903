"""
The date parameters of a list.

``date_range``, or ``start_date`` and ``end_date`` as a day, a minute or an instant with its offset,
read in ``time_zone``. Source: https://apidocs.callrail.com/#filtering
"""

from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from callrail_relay.callrail.simulator.records import Refusal

RETENTION_MONTHS = 25
_DAY = timedelta(days=1)
_DAY_LENGTH = len("2026-04-07")


@dataclass(frozen=True, slots=True)
class Period:
    """From *start* up to, but not with, *end*."""

    start: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end


def asked_period(params: Mapping[str, str], *, now: datetime, zone: tzinfo, oldest: datetime) -> Period:
    """
    The period a request asks for; *oldest* is the account's first record, where ``all_time`` begins.

    What a request without dates gets is not documented; here it is the last 30 days. Records
    live 25 months, and a period that begins before that is refused, ``all_time`` too.
    """
    zone = _asked_zone(params, zone)
    local = now.astimezone(zone)
    if "start_date" in params or "end_date" in params:
        period = _between(params, local)
    elif (name := params.get("date_range", "last_30_days")) == "all_time":
        period = Period(oldest, _after(now))
    elif name in _RANGES:
        period = _RANGES[name](local.replace(hour=0, minute=0, second=0, microsecond=0))
    else:
        raise Refusal(400, "date_range is not included in the list")
    if period.start < _months_before(local, RETENTION_MONTHS):
        raise Refusal(400, f"start_date cannot be more than {RETENTION_MONTHS} months ago")
    return period


def _asked_zone(params: Mapping[str, str], default: tzinfo) -> tzinfo:
    if "time_zone" not in params:
        return default
    try:
        return ZoneInfo(params["time_zone"])
    except (KeyError, ValueError, OSError) as exc:
        # A missing zone is a KeyError, a path a ValueError, a directory an OSError.
        raise Refusal(400, "time_zone is invalid") from exc


def _between(params: Mapping[str, str], local: datetime) -> Period:
    end = params.get("end_date")
    until = _after(local) if end is None else _instant(end, local, "end_date")
    if end is not None and len(end) == _DAY_LENGTH:
        until += _DAY
    start = params.get("start_date")
    since = until - 30 * _DAY if start is None else _instant(start, local, "start_date")
    if end is not None and until < since:
        raise Refusal(400, "end_date must be after start_date")
    return Period(since, until)


def _instant(text: str, local: datetime, name: str) -> datetime:
    try:
        # A plus sign that was not escaped in the URL arrives as a space.
        instant = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as exc:
        raise Refusal(400, f"{name} is invalid") from exc
    return instant if instant.tzinfo else instant.replace(tzinfo=local.tzinfo)


def _after(now: datetime) -> datetime:
    """An end that leaves out nothing that has happened by *now*."""
    return now + timedelta(microseconds=1)


def _months_before(instant: datetime, months: int) -> datetime:
    """The beginning of the day *months* before; the 31st becomes the last day of a shorter month."""
    year, month = divmod(instant.year * 12 + instant.month - 1 - months, 12)
    day = min(instant.day, monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day, hour=0, minute=0, second=0, microsecond=0)


def _month(today: datetime) -> Period:
    return Period(today.replace(day=1), today + _DAY)


def _last_month(today: datetime) -> Period:
    first = today.replace(day=1)
    return Period(_months_before(first, 1), first)


def _this_year(today: datetime) -> Period:
    return Period(today.replace(month=1, day=1), today + _DAY)


def _last_year(today: datetime) -> Period:
    new_year = today.replace(month=1, day=1)
    return Period(new_year.replace(year=today.year - 1), new_year)


def _last(days: int) -> Callable[[datetime], Period]:
    return lambda today: Period(today - days * _DAY, today + _DAY)


_RANGES: dict[str, Callable[[datetime], Period]] = {
    "recent": _last(30),
    "today": _last(0),
    "yesterday": lambda today: Period(today - _DAY, today),
    "last_7_days": _last(7),
    "last_30_days": _last(30),
    "this_month": _month,
    "last_month": _last_month,
    "this_year": _this_year,
    "last_year": _last_year,
}
