"""Quiet hours: over every area code, and exact where clocks change."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import chain
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumber

from callrail_relay.domain.quiet_hours import AREA_CODES, quiet_until, zones_of
from tests.domain import zones
from tests.support.parts import missing

START, END = time(21), time(8)
MINUTE = timedelta(minutes=1)
WASHINGTON, DENVER, TOLL_FREE = "+12025550122", "+13035550122", "+18005550122"
NEWFOUNDLAND, BOISE_OR_THE_COAST = "+17095550122", "+12085550122"

# The Sundays on which the clocks of the US and Canada change.
CHANGES = (date(2026, 3, 8), date(2026, 11, 1), date(2027, 3, 14), date(2027, 11, 7))


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def release(
    now: datetime, phone: str = WASHINGTON, *, start: time = START, end: time = END, zone: str | None = None
) -> datetime:
    """When a text that comes *now* is sent."""
    return quiet_until(phone, now, start=start, end=end, zone=zone) or now


def is_quiet(now: datetime, phone: str, start: time = START, end: time = END) -> bool:
    """What quiet hours are, by the letter: in some zone of the number the clock shows them."""
    return any(shows_quiet(now.astimezone(zone).time(), start, end) for zone in zones_of(phone))


def shows_quiet(clock: time, start: time, end: time) -> bool:
    return start <= clock < end if start <= end else clock >= start or clock < end


@cache
def area_codes() -> tuple[str, ...]:
    """
    The area codes of the US and Canada that phonenumbers knows, by its data: of its numbers and of its zones.
    """
    known = set(chain.from_iterable(AREA_CODES.values()))
    return tuple(sorted(known | {str(area) for area in range(200, 1000) if zones.is_us_or_canada(str(area))}))


@cache
def one_of_each_clock() -> tuple[str, ...]:
    """A number for every set of zones that an area code may have."""
    return tuple({zones_of(f"+1{area}5550122"): f"+1{area}5550122" for area in area_codes()}.values())


@pytest.mark.slow
def test_the_zones_are_those_of_phonenumbers() -> None:
    """The table is what the library's data makes, and no exchange has a zone that its area code has not."""
    if not zones.FOLDER.exists():
        missing(f"phonenumbers is not there; `{zones.COMMAND} --fetch` gets it")
    assert zones.TABLE.read_text(encoding="utf-8") == zones.table()
    assert zones.TOWNS.read_text(encoding="utf-8") == zones.towns()

    library = zones.part("timezone")
    chance = Random(9)
    for area in area_codes():
        found = {str(zone) for zone in zones_of(f"+1{area}5550122")}
        for exchange in chance.sample(range(200, 1000), 40):
            number = PhoneNumber(country_code=1, national_number=int(f"{area}{exchange}0122"))
            named = set(library.time_zones_for_number(number))
            # Of a toll-free number the library names the islands as well.
            if named != {library.UNKNOWN_TIMEZONE} and len(named) < 20 and area not in zones.RIGHT:
                assert named <= found, (area, exchange)


def test_there_are_area_codes_to_try() -> None:
    """The list is not empty by mistake: Washington, Toronto, a toll-free one, Guam; not Jamaica."""
    assert {"202", "416", "800", "907", "709", "671"} <= set(area_codes())
    assert "876" not in area_codes()
    assert len(area_codes()) > 400


@pytest.mark.parametrize(
    ("phone", "now", "leaves"),
    [
        # Chattanooga is on Eastern time, where it is 21:30; most of 423's data is Central.
        ("+14235550123", "2027-07-01T01:30:00", "2027-07-01T13:00:00"),
        # Pensacola is on Central time, where it is 07:30.
        ("+18505550123", "2027-07-01T12:30:00", "2027-07-01T13:00:00"),
        # 448 and 458 share the areas of 850 and 541.
        ("+14485550123", "2027-07-01T12:30:00", "2027-07-01T13:00:00"),
        ("+14585550123", "2027-07-01T03:30:00", "2027-07-01T15:00:00"),
        # Orlando
        ("+16895550123", "2027-07-01T01:30:00", "2027-07-01T12:00:00"),
        ("+17875550123", "2027-07-01T01:30:00", "2027-07-01T12:00:00"),
        ("+16715550123", "2027-07-01T11:30:00", "2027-07-01T22:00:00"),
    ],
)
def test_an_area_code_counts_with_every_zone_it_touches(phone: str, now: str, leaves: str) -> None:
    """Whatever the exchange: it says nothing about a mobile."""
    assert at(leaves) == release(at(now), phone)
    assert at(leaves) == release(at(now), f"{phone[:5]}212{phone[8:]}")


@pytest.mark.parametrize("day", [*CHANGES, date(2026, 1, 15), date(2026, 7, 4)], ids=str)
def test_every_area_code_on_every_change_of_the_clocks(day: date) -> None:
    """
    The minute of release is allowed in all zones, the minute before is not, and what is allowed goes at once.
    """
    begin = datetime.combine(day, time(1, 30), UTC)
    for area in area_codes():
        phone = f"+1{area}5550122"
        for hours in range(0, 36, 3):
            now = begin + timedelta(hours=hours)
            leaves = release(now, phone)

            assert (leaves == now) == (not is_quiet(now, phone)), (area, now)
            assert not is_quiet(leaves, phone), (area, now)
            assert leaves == now or is_quiet(leaves - MINUTE, phone), (area, now)


@pytest.mark.parametrize("day", CHANGES, ids=str)
@pytest.mark.parametrize(
    ("start", "end"),
    [(START, END), (time(1, 30), time(2, 30)), (time(23), time(1, 15)), (time(2, 15), time(14))],
)
def test_it_is_the_first_minute_for_every_set_of_zones(day: date, start: time, end: time) -> None:
    """Minute by minute through the days of a change, also with hours that begin or end within the change."""
    first = datetime.combine(day - timedelta(days=1), time(12), UTC)
    minutes = [first + number * MINUTE for number in range(60 * 48 + 1)]
    quiet = {
        zone: [shows_quiet(minute.astimezone(zone).time(), start, end) for minute in minutes]
        for zone in set(chain.from_iterable(map(zones_of, one_of_each_clock())))
    }
    for phone in one_of_each_clock():
        anywhere = [any(zones) for zones in zip(*(quiet[zone] for zone in zones_of(phone)), strict=True)]
        following = None
        for number in reversed(range(len(minutes))):
            if not anywhere[number]:
                following = minutes[number]
            if following and number % 97 == 0:
                now = minutes[number]
                assert following == release(now, phone, start=start, end=end), (phone, now)


@pytest.mark.parametrize(
    ("now", "leaves"),
    [
        ("2026-06-10T20:59:59", "2026-06-10T20:59:59"),
        ("2026-06-10T21:00:00", "2026-06-11T08:00:00"),
        ("2026-06-11T00:00:00", "2026-06-11T08:00:00"),
        ("2026-06-11T07:59:59.999999", "2026-06-11T08:00:00"),
        ("2026-06-11T08:00:00", "2026-06-11T08:00:00"),
        ("2026-03-07T22:00:00", "2026-03-08T08:00:00"),
        ("2026-10-31T22:00:00", "2026-11-01T08:00:00"),
    ],
)
def test_a_night_in_washington(now: str, leaves: str) -> None:
    """From 21:00 until 08:00 on the clock of that place, however long the night is."""
    assert at(leaves, "America/New_York") == release(at(now, "America/New_York"))


def test_an_hour_that_does_not_exist() -> None:
    """Quiet until 02:30 on the morning without one: it is sent as the clock goes from 02:00 to 03:00."""
    now = at("2026-03-08T01:00:00", "America/New_York")

    assert at("2026-03-08T07:00:00") == release(now, start=time(21), end=time(2, 30))


def test_an_hour_that_comes_twice() -> None:
    """Quiet until 01:30: it may be sent when the clock first shows that, not from 01:00 the second time."""
    assert at("2026-11-01T05:30:00") == release(at("2026-11-01T04:00:00"), end=time(1, 30))
    assert at("2026-11-01T05:59:00") == release(at("2026-11-01T05:59:00"), end=time(1, 30))
    assert at("2026-11-01T06:30:00") == release(at("2026-11-01T06:00:00"), end=time(1, 30))


def test_quiet_hours_that_end_as_the_clock_is_put_back() -> None:
    """Quiet from 01:30 until 03:00: the clock shows 01:00 again before, and it may be sent then."""
    now = at("2026-11-01T05:45:00")

    assert at("2026-11-01T06:00:00") == release(now, start=time(1, 30), end=time(3))


def test_quiet_hours_at_noon() -> None:
    """Hours that do not cross midnight."""
    assert at("2026-06-10T13:00:00", "America/New_York") == release(
        at("2026-06-10T12:20:00", "America/New_York"), start=time(12), end=time(13)
    )
    assert at("2026-06-10T22:00:00", "America/New_York") == release(
        at("2026-06-10T22:00:00", "America/New_York"), start=time(12), end=time(13)
    )


@pytest.mark.parametrize(
    ("phone", "evening", "morning"),
    [
        (BOISE_OR_THE_COAST, "2026-06-11T03:00:00", "2026-06-11T15:00:00"),
        (NEWFOUNDLAND, "2026-06-10T23:30:00", "2026-06-11T11:00:00"),
        (TOLL_FREE, "2026-06-10T23:30:00", "2026-06-11T18:00:00"),
        ("+16215550122", "2026-06-10T23:30:00", "2026-06-11T18:00:00"),
    ],
)
def test_the_strictest_zone_wins(phone: str, evening: str, morning: str) -> None:
    """
    Quiet begins in the east and ends in the west; a toll-free or new one may be in Newfoundland or in Hawaii.
    """
    assert at(evening) - MINUTE == release(at(evening) - MINUTE, phone)
    assert at(morning) == release(at(evening), phone)


def test_a_known_zone_is_the_only_one() -> None:
    """Whatever the number says."""
    now = at("2026-06-10T20:00:00", "America/Los_Angeles")

    assert now == release(now, TOLL_FREE, zone="America/Los_Angeles")
    assert at("2026-06-11T08:00:00", "America/Los_Angeles") == release(
        now + timedelta(hours=1), zone="America/Los_Angeles"
    )


def test_zones_without_a_common_minute() -> None:
    """Allowed for one hour a day, in twenty zones: then it is sent when most of their clocks allow it."""
    leaves = release(at("2026-01-10T00:00:00"), TOLL_FREE, start=time(13), end=time(12))

    assert at("2026-01-10T16:00:00") <= leaves < at("2026-01-10T23:00:00")
    assert leaves == release(leaves, TOLL_FREE, start=time(13), end=time(12))


def test_the_same_start_and_end_is_no_quiet_hour() -> None:
    """The settings refuse it; here it holds nothing."""
    assert quiet_until(WASHINGTON, at("2026-06-10T03:00:00"), start=time(8), end=time(8)) is None


def test_islands_count_for_their_own_numbers_only() -> None:
    """Toll-free numbers of the islands with +1 are no reason to wait for the morning in Guam."""
    names = {str(zone) for zone in zones_of(TOLL_FREE)}

    assert {"America/St_Johns", "Pacific/Honolulu", "America/New_York", "America/Vancouver"} <= names
    assert not {"Pacific/Guam", "Pacific/Pago_Pago", "America/Jamaica"} & names


instants = st.timedeltas(timedelta(), timedelta(days=730)).map(lambda after: at("2026-01-01") + after)
numbers = st.sampled_from(area_codes()).map("+1{}5550122".format)
clocks = st.times().map(lambda one: one.replace(second=0, microsecond=0))


@given(instants, numbers)
def test_the_release_is_allowed_and_the_minute_before_is_not(now: datetime, phone: str) -> None:
    """For any number at any time."""
    leaves = release(now, phone)

    assert now <= leaves < now + timedelta(hours=24)
    assert not is_quiet(leaves, phone)
    assert leaves == now or is_quiet(leaves - MINUTE, phone)
    assert UTC == leaves.tzinfo


@given(instants, st.timedeltas(timedelta(), timedelta(days=2)), numbers, clocks, clocks)
def test_who_comes_later_does_not_leave_earlier(
    now: datetime, wait: timedelta, phone: str, start: time, end: time
) -> None:
    """Whatever the hours, also those with no common minute; and what was released stays released."""
    leaves = release(now, phone, start=start, end=end)

    assert leaves <= release(now + wait, phone, start=start, end=end)
    assert leaves == release(leaves, phone, start=start, end=end)
