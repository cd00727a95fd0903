"""What is wrong, what is told, and when it is over."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.account import Account, Window
from callrail_relay.domain.alerts import (
    Changes,
    Facts,
    Incident,
    Level,
    Undecided,
    decide,
    told_together,
)
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.message import Reason
from tests.support.clock import START
from tests.support.factories import ACCOUNT
from tests.support.policies import alert_policy

POLICY = alert_policy()
MINUTE = timedelta(minutes=1)
GIGABYTE = 1024**3
WELL = Facts(now=START, machine="office", free_bytes=GIGABYTE)


def standing(
    *, hour: int = 0, day: int = 0, paused: str | None = None, account_id: str = ACCOUNT
) -> AccountStatus:
    account = Account(id=account_id)
    return AccountStatus(
        account=account if paused is None else account.paused(START, Reason("by_hand", {"note": paused})),
        hour=Window(hour, 150, START + MINUTE if hour >= 150 else None),
        day=Window(day, 1000),
        pending=0,
        drains_at=None,
    )


class Owner:
    """What somebody hears while one set of facts follows another; *deaf* while no channel takes anything."""

    def __init__(self) -> None:
        self.known: dict[str, Incident] = {}
        self.heard: list[str] = []
        self.deaf = False

    def see(self, facts: Facts) -> list[str]:
        """Returns what is told of these facts."""
        self.apply(decide(facts, list(self.known.values()), POLICY))
        due = [one for one in self.known.values() if one.told_at is None]
        if self.deaf:
            self.known |= {one.key: replace(one, in_hand=True) for one in due}
            return []
        for one in due:
            if one.level is Level.OVER:
                del self.known[one.key]
            else:
                self.known[one.key] = replace(one, told_at=facts.now)
        told = [one.detail for one in due]
        self.heard += told
        return told

    def apply(self, changes: Changes) -> None:
        for one in changes.opened:
            self.known[one.key] = one
        for key, words in changes.over.items():
            self.known[key] = replace(
                self.known[key], level=Level.OVER, detail=words, told_at=None, in_hand=False
            )
        for key in changes.dropped:
            del self.known[key]


def test_nothing_is_told_while_all_is_well() -> None:
    facts = replace(WELL, standings=(standing(hour=74, day=499),), failures=4)

    assert not decide(facts, [], POLICY)
    assert not decide(WELL, [], POLICY)


WHY = "CallRail rejected the key of +12025550122 (403). Then run `callrail-relay resume`."


def test_a_pause_is_told_once_and_its_end_too() -> None:
    owner = Owner()
    paused = replace(WELL, standings=(standing(paused="Lunch."),), pauses={ACCOUNT: WHY})

    [told] = owner.see(paused)
    assert "paused since" in told
    assert "resume" in told
    assert "2025550122" not in told
    assert [] == owner.see(paused)
    [over] = owner.see(replace(WELL, standings=(standing(),)))
    assert over.startswith("Well again: ")
    assert [] == owner.see(replace(WELL, standings=(standing(),)))
    assert 1 == len(owner.see(paused))


def test_a_budget_tells_each_threshold_that_it_passes() -> None:
    """Of several at once the highest, and at the very end that all is well."""
    owner = Owner()
    told = [
        owner.see(replace(WELL, standings=(standing(hour=used),)))
        for used in (74, 75, 104, 110, 149, 150, 150, 140, 100, 70, 61, 59)
    ]

    assert [0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1] == [len(one) for one in told]
    assert "75 of the 150 texts of the hour (50 %)" in told[1][0]
    assert "leaves at" in told[5][0]
    assert told[-1][0].startswith("Well again: account")
    assert 1 == len(owner.see(replace(WELL, standings=(standing(hour=150),))))
    assert {} != owner.known


def test_a_threshold_that_is_passed_anew_is_told_anew() -> None:
    """When it had fallen far enough in between; going up and down by a few is one thing."""
    owner = Owner()
    told = [owner.see(replace(WELL, standings=(standing(hour=used),))) for used in (150, 149, 150, 134, 150)]

    assert [1, 0, 0, 0, 1] == [len(one) for one in told]


def test_hour_and_day_and_accounts_are_apart() -> None:
    facts = replace(
        WELL, standings=(standing(hour=80, day=600), standing(hour=80, account_id="ACC2"), standing(day=0))
    )

    assert 3 == len(Owner().see(replace(facts, standings=facts.standings[:2])))


def test_a_budget_of_nothing_is_no_alarm() -> None:
    none = replace(standing(), hour=Window(0, 0), day=Window(0, 0))

    assert not decide(replace(WELL, standings=(none,)), [], POLICY)


def held(*minutes_ago: int, now: datetime = START, unknown: int = 0) -> Facts:
    instants = [now - minutes * MINUTE for minutes in minutes_ago]
    return replace(
        WELL, now=now, waiting=Undecided(held=tuple(instants[unknown:]), unknown=tuple(instants[:unknown]))
    )


def test_texts_that_wait_are_told_together() -> None:
    owner = Owner()

    [told] = owner.see(held(16, 20, 30, unknown=1))

    assert "2 held and 1 unknown texts wait for your word" in told
    assert [] == owner.see(held(16, 30))
    [over] = owner.see(WELL)
    assert over.startswith("Well again")


def test_one_that_nobody_decides_on_hides_no_other() -> None:
    """The next ones are told as a batch of their own, not more often than every quarter of an hour."""
    owner = Owner()
    forgotten = START - 16 * MINUTE
    assert 1 == len(owner.see(held(16)))

    for minutes, told in ((5, 0), (14, 0), (15, 1), (16, 0), (31, 1)):
        now = START + minutes * MINUTE
        waiting = Undecided(held=(forgotten, *(forgotten + n * MINUTE for n in range(1, minutes + 1))))
        assert told == len(owner.see(replace(WELL, now=now, waiting=waiting))), minutes

    only = replace(WELL, now=START + 60 * MINUTE, waiting=Undecided(held=(forgotten,)))
    assert [] == owner.see(only)
    assert 1 == len(owner.see(replace(WELL, now=START + 61 * MINUTE)))
    assert {} == owner.known


def test_a_burst_of_failures_is_over_when_none_is_left() -> None:
    owner = Owner()
    told = [owner.see(replace(WELL, failures=count)) for count in (4, 5, 9, 3, 6, 1, 0, 5)]

    assert [0, 1, 0, 0, 0, 0, 1, 1] == [len(one) for one in told]
    assert "5 texts were refused" in told[1][0]


def test_each_machine_speaks_for_its_own_disk() -> None:
    owner = Owner()
    full = replace(WELL, free_bytes=100 * 1024**2)

    [told] = owner.see(full)
    assert "on office has 100 MB left" in told
    assert [] == owner.see(replace(WELL, machine="other"))
    assert [] == owner.see(replace(WELL, free_bytes=None))
    assert [] == owner.see(replace(WELL, free_bytes=POLICY.little_space * 6 // 5))
    assert 1 == len(owner.see(WELL))


def test_what_nobody_heard_of_is_dropped_when_it_is_over() -> None:
    owner = Owner()
    paused = replace(WELL, standings=(standing(paused="Lunch."),))
    owner.apply(decide(paused, [], POLICY))

    owner.apply(decide(replace(WELL, standings=(standing(),)), list(owner.known.values()), POLICY))

    assert {} == owner.known


def test_what_somebody_tried_to_tell_is_told_to_be_over() -> None:
    """It may have arrived; and that something was wrong is worth knowing."""
    owner = Owner()
    owner.deaf = True
    owner.see(replace(WELL, standings=(standing(paused="Lunch."),)))
    owner.deaf = False

    [told] = owner.see(replace(WELL, standings=(standing(),)))

    assert told.startswith("Well again")


def test_what_begins_again_before_its_end_was_told_goes_on() -> None:
    owner = Owner()
    paused = replace(WELL, standings=(standing(paused="Lunch."),))
    owner.see(paused)
    owner.deaf = True
    owner.see(replace(WELL, standings=(standing(),)))
    owner.deaf = False

    assert [] == owner.see(paused)
    assert 1 == len(owner.see(replace(WELL, standings=(standing(),))))


def test_an_account_that_left_the_settings_is_forgotten() -> None:
    owner = Owner()
    owner.see(replace(WELL, standings=(standing(paused="Lunch.", hour=150),)))

    assert [] == owner.see(WELL)
    assert {} == owner.known


facts_of_any_kind = st.builds(
    lambda hour, paused, failures, free, ages, minutes: replace(
        held(*(age for age in ages), now=START + minutes * MINUTE),
        standings=(standing(hour=hour, day=hour, paused="Lunch." if paused else None),),
        failures=failures,
        free_bytes=free * 10 * 1024**2,
    ),
    st.integers(0, 160),
    st.booleans(),
    st.integers(0, 8),
    st.integers(0, 40),
    st.lists(st.integers(15, 90), max_size=4),
    st.integers(0, 500),
)


@given(st.lists(facts_of_any_kind, max_size=12), st.data())
def test_every_alarm_has_its_end(sequence: list[Facts], data: st.DataObject) -> None:
    """
    Whatever happens in between, and whether or not the channels work: at the end nothing is open, nothing
    is told of facts that did not change, and who heard of an alarm hears of its end.
    """
    owner = Owner()
    for facts in sorted(sequence, key=lambda one: one.now):
        owner.deaf = data.draw(st.booleans())
        owner.see(facts)
        owner.deaf = False
        owner.see(facts)
        assert [] == owner.see(facts)
    heard = [words for words in owner.heard if not words.startswith("Well again")]

    owner.see(replace(WELL, now=START + 1000 * MINUTE, standings=(standing(),)))

    assert {} == owner.known
    assert not heard or owner.heard[-1].startswith("Well again")


def test_ends_come_last() -> None:
    ended = Incident(key="a", level=Level.OVER, detail="Well again.", opened_at=START)
    begun = Incident(key="b", level=Level.ERROR, detail="Something is wrong.", opened_at=START + MINUTE)

    assert "Something is wrong.\n\nWell again." == told_together([ended, begun])


@pytest.mark.parametrize(("count", "words"), [(1, "1 held text waits"), (2, "2 held texts wait")])
def test_one_text_is_one(count: int, words: str) -> None:
    [told] = Owner().see(held(*range(16, 16 + count)))

    assert words in told
