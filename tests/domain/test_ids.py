"""Ids grow with time, and no two are the same."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.message import uuid7

instants = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is given beside it


@given(now=instants, seed=st.integers())
def test_an_id_is_a_uuid_of_version_7(now: datetime, seed: int) -> None:
    """As RFC 9562 describes it: version, variant, and milliseconds in front."""
    id_ = UUID(uuid7(now, Random(seed)))

    assert (7, "specified in RFC 4122") == (id_.version, id_.variant)
    assert int(now.timestamp() * 1_000_000) // 1000 == id_.int >> 80


@given(now=instants, seed=st.integers(), later=st.integers(2, 10**15))
def test_later_ids_sort_later(now: datetime, seed: int, later: int) -> None:
    """As texts, whatever the luck; a few microseconds apart are enough."""
    random = Random(seed)

    assert uuid7(now, random) < uuid7(now + timedelta(microseconds=later), random)


def test_ids_of_one_instant_differ() -> None:
    """62 random bits keep them apart."""
    random = Random(1)
    now = datetime(2026, 3, 2, tzinfo=UTC)

    assert 1000 == len({uuid7(now, random) for _ in range(1000)})
