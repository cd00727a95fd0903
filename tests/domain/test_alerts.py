"""What is wrong, what is reported, and when it is over."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.account import Account, Window
from callrail_relay.domain.alerts import (
    AlertFacts,
    Change,
    Code,
    Incident,
    Level,
    Undecided,
    decide,
    due_since,
)
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.health import LITTLE_SPACE, Contact, Facts, Node, PublicUrl, Running
from callrail_relay.domain.message import Reason
from callrail_relay.domain.views import Waiting
from tests.support.clock import START
from tests.support.factories import ACCOUNT
from tests.support.policies import alert_policy

POLICY = alert_policy()
MINUTE = timedelta(minutes=1)
GIGABYTE = 1024**3
HEALTH = Facts(now=START, running=Running((Node(name="office"),)), accounts=(), waiting=Waiting())
WELL = AlertFacts(health=HEALTH, machine="office", free_bytes=GIGABYTE)


def status(
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


def accounts(*statuses: AccountStatus, now: datetime = START) -> AlertFacts:
    """All is well but for these accounts."""
    return replace(WELL, health=replace(HEALTH, now=now, accounts=statuses))


def test_a_node_whose_day_begins_later_sends_no_second_summary() -> None:
    """By its clock the week ends up to a day after another node had told it."""
    policy = replace(POLICY, weekly_summary="monday")
    monday = datetime(2026, 12, 7, 8).astimezone()
    for told, due in ((monday - timedelta(hours=26), False), (monday - timedelta(days=2), True)):
        parameters = {"until": told.isoformat(), "decision": 7}
        last = Incident(
            key=Code.WEEKLY, level=Level.INFO, parameters=parameters, opened_at=told, told_at=told
        )
        assert due_since([last], policy, monday) == ((told, 7) if due else None)


class Owner:
    """What a person gets while one set of facts follows another; *deaf* while no channel takes anything."""

    def __init__(self) -> None:
        self.known: dict[str, Incident] = {}
        self.heard: list[Incident] = []
        self.deaf = False

    def see(self, facts: AlertFacts) -> list[Incident]:
        """Return what is reported for these facts."""
        self.apply(decide(facts, list(self.known.values()), POLICY))
        due = [one for one in self.known.values() if one.told_at is None]
        if self.deaf:
            self.known |= {one.key: replace(one, in_hand=True) for one in due}
            return []
        for one in due:
            if one.is_open:
                self.known[one.key] = replace(one, told_at=facts.health.now, in_hand=False)
            else:
                del self.known[one.key]
        self.heard += due
        return due

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            assert change.before is None or change.before == self.known[change.before.key]
            if change.after is not None:
                self.known[change.after.key] = change.after
            elif change.before is not None:
                del self.known[change.before.key]


def test_nothing_is_told_while_all_is_well() -> None:
    facts = replace(accounts(status(hour=74, day=499)), failures=4)

    assert not decide(facts, [], POLICY)
    assert not decide(WELL, [], POLICY)


def test_a_pause_is_told_once_and_its_end_too() -> None:
    owner = Owner()
    paused = accounts(status(paused="Lunch."))

    [told] = owner.see(paused)
    assert Code.PAUSED is told.code
    assert Reason("by_hand", {"note": "Lunch."}).document() == told.parameters["reason"]
    assert [] == owner.see(paused)
    [over] = owner.see(accounts(status()))
    assert not over.is_open
    assert [] == owner.see(accounts(status()))
    assert 1 == len(owner.see(paused))


def test_callrail_out_of_reach_is_told_when_it_lasts() -> None:
    """For a moment it often is."""
    owner = Owner()
    lost = Contact(answered_at=START - 9 * MINUTE, is_lost=True)

    def facts(contact: Contact, now: datetime = START) -> AlertFacts:
        at = accounts(status(), now=now)
        return replace(at, health=replace(at.health, contacts={ACCOUNT: contact}))

    assert [] == owner.see(facts(lost))
    [told] = owner.see(facts(lost, START + MINUTE))
    assert Code.UNREACHABLE is told.code
    assert 1 == len(owner.see(facts(Contact(answered_at=START + 2 * MINUTE), START + 2 * MINUTE)))


def test_a_public_url_that_does_not_answer_is_told() -> None:
    """One that could not be checked changes nothing."""
    owner = Owner()
    told = [
        len(
            owner.see(
                replace(WELL, health=replace(HEALTH, public_url=PublicUrl(url="https://a", answered=one)))
            )
        )
        for one in (None, True, False, None, False, True, None)
    ]

    assert [0, 0, 1, 0, 0, 1, 0] == told


def test_a_limit_tells_each_threshold_that_it_passes() -> None:
    """Of several at once the highest, and at the very end that all is well."""
    owner = Owner()
    told = [
        owner.see(accounts(status(hour=used)))
        for used in (74, 75, 104, 110, 149, 150, 150, 140, 100, 70, 61, 59)
    ]

    assert [0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1] == [len(one) for one in told]
    assert [50, 70, 90, 100] == [one[0].parameters["threshold"] for one in told[:-1] if one]
    assert not told[-1][0].is_open
    assert 1 == len(owner.see(accounts(status(hour=150))))
    assert {} != owner.known


def test_a_threshold_that_is_passed_anew_is_told_anew() -> None:
    """When it had fallen far enough in between; going up and down by a few is one thing."""
    owner = Owner()
    told = [owner.see(accounts(status(hour=used))) for used in (150, 149, 150, 134, 150)]

    assert [1, 0, 0, 0, 1] == [len(one) for one in told]


def test_hour_and_day_and_accounts_are_apart() -> None:
    facts = accounts(status(hour=80, day=600), status(hour=80, account_id="ACC2"))

    assert 3 == len(Owner().see(facts))


def held(*minutes_ago: int, now: datetime = START, unknown: int = 0) -> AlertFacts:
    instants = [now - minutes * MINUTE for minutes in minutes_ago]
    undecided = Undecided(held=tuple(instants[unknown:]), unknown=tuple(instants[:unknown]))
    return replace(WELL, health=replace(HEALTH, now=now), undecided=undecided)


def test_texts_that_wait_are_told_together() -> None:
    owner = Owner()

    [told] = owner.see(held(16, 20, 30, unknown=1))

    assert (2, 1) == (told.parameters["held"], told.parameters["unknown"])
    assert [] == owner.see(held(16, 30))
    [over] = owner.see(WELL)
    assert not over.is_open


def test_one_that_is_never_decided_on_hides_no_other() -> None:
    """The next ones are told too, not more often than every quarter of an hour."""
    owner = Owner()
    forgotten = START - 16 * MINUTE
    assert 1 == len(owner.see(held(16)))

    for minutes, told in ((5, 0), (14, 0), (15, 1), (16, 0), (31, 1)):
        waiting = Undecided(held=(forgotten, *(forgotten + n * MINUTE for n in range(1, minutes + 1))))
        facts = replace(held(now=START + minutes * MINUTE), undecided=waiting)
        assert told == len(owner.see(facts)), minutes

    only = replace(held(now=START + 60 * MINUTE), undecided=Undecided(held=(forgotten,)))
    assert [] == owner.see(only)
    assert 1 == len(owner.see(held(now=START + 61 * MINUTE)))
    assert {} == owner.known


def test_new_texts_are_told_at_once_when_the_others_are_decided_on() -> None:
    owner = Owner()
    owner.see(held(16))

    assert 1 == len(owner.see(held(15, now=START + MINUTE)))


def test_a_burst_of_failures_is_over_when_none_is_left() -> None:
    owner = Owner()
    told = [owner.see(replace(WELL, failures=count)) for count in (4, 5, 9, 3, 6, 1, 0, 5)]

    assert [0, 1, 0, 0, 0, 0, 1, 1] == [len(one) for one in told]
    assert {"count": 5} == told[1][0].parameters


def test_each_machine_speaks_for_its_own_disk() -> None:
    owner = Owner()
    full = replace(WELL, free_bytes=100 * 1024**2)

    [told] = owner.see(full)
    assert "office" == told.parameters["machine"]
    assert [] == owner.see(replace(WELL, machine="other"))
    assert [] == owner.see(replace(WELL, free_bytes=None))
    assert [] == owner.see(replace(WELL, free_bytes=LITTLE_SPACE * 6 // 5))
    assert 1 == len(owner.see(WELL))


def test_what_was_told_to_no_one_is_dropped_when_it_is_over() -> None:
    owner = Owner()
    owner.apply(decide(accounts(status(paused="Lunch.")), [], POLICY))

    owner.apply(decide(accounts(status()), list(owner.known.values()), POLICY))

    assert {} == owner.known


def test_what_may_have_been_told_is_told_to_be_over() -> None:
    """It may have arrived; and that something was wrong is worth knowing."""
    owner = Owner()
    owner.deaf = True
    owner.see(accounts(status(paused="Lunch.")))
    owner.deaf = False

    [told] = owner.see(accounts(status()))

    assert not told.is_open


def test_what_begins_again_before_its_end_was_told_goes_on() -> None:
    owner = Owner()
    paused = accounts(status(paused="Lunch."))
    owner.see(paused)
    owner.deaf = True
    owner.see(accounts(status()))
    owner.deaf = False

    assert [] == owner.see(paused)
    assert 1 == len(owner.see(accounts(status())))


def test_an_account_that_left_the_settings_is_forgotten() -> None:
    owner = Owner()
    owner.see(accounts(status(paused="Lunch.", hour=150)))

    assert [] == owner.see(WELL)
    assert {} == owner.known


facts_of_any_kind = st.builds(
    lambda hour, paused, failures, free, ages, minutes: replace(
        held(*(age for age in ages), now=START + minutes * MINUTE),
        health=accounts(
            status(hour=hour, day=hour, paused="Lunch." if paused else None), now=START + minutes * MINUTE
        ).health,
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
def test_every_alarm_has_its_end(sequence: list[AlertFacts], data: st.DataObject) -> None:
    """
    Whatever happens in between, and whether or not the channels work: at the end nothing is open, no alert
    repeats facts that did not change, and a person who got an alarm learns of its end.
    """
    owner = Owner()
    for facts in sorted(sequence, key=lambda one: one.health.now):
        owner.deaf = data.draw(st.booleans())
        owner.see(facts)
        owner.deaf = False
        owner.see(facts)
        assert [] == owner.see(facts)
    heard = {one.key for one in owner.heard if one.is_open}

    owner.see(accounts(status(), now=START + 1000 * MINUTE))

    assert {} == owner.known
    last = {one.key: one.is_open for one in owner.heard}
    assert not any(last[key] for key in heard)
