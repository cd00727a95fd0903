"""The verdict: what matters most, and that all is well only when everything it takes was seen."""

from dataclasses import replace
from datetime import timedelta

import pytest

from callrail_relay.domain.account import Window
from callrail_relay.domain.delivery import AccountStatus
from callrail_relay.domain.health import (
    CONTACT_AGE,
    CheckResult,
    Code,
    Condition,
    Contact,
    Facts,
    Level,
    Node,
    PublicUrl,
    Running,
    is_well,
    judge,
)
from callrail_relay.domain.message import Reason
from callrail_relay.domain.retry import UNREACHABLE
from callrail_relay.domain.views import Bucket, Waiting
from tests.support.clock import START
from tests.support.factories import ACCOUNT, make_account

SOON = START + timedelta(minutes=5)
STANDING = AccountStatus(
    account=make_account(), hour=Window(0, 150), day=Window(0, 1000), pending=0, drains_at=None
)
PAUSED = replace(
    STANDING, account=make_account().paused(START, Reason("by_hand", {"note": "Lunch."})), pending=3
)
FOREIGN = replace(
    STANDING, account=make_account("ACC-OLD"), pending=3, foreign=True, hour=Window(150, 150, SOON)
)
QUEUED = replace(STANDING, pending=3, drains_at=SOON)
ANSWERED = Contact(answered_at=START)
URL = PublicUrl(url="https://texts.example.com")


def facts(status: AccountStatus = STANDING, contact: Contact = ANSWERED, **others: object) -> Facts:
    """A relay in good status, with what differs."""
    usual = Facts(
        now=START,
        running=Running((Node(name="office", since=START - timedelta(hours=1)),)),
        accounts=(status,),
        waiting=Waiting(),
        contacts={ACCOUNT: contact},
        public_url=replace(URL, answered=True),
        any_sent=True,
    )
    return replace(usual, **others)  # type: ignore[arg-type]  # names are checked there


def waiting(kind: str) -> Waiting:
    return replace(Waiting(), **{kind: Bucket(count=1)})  # type: ignore[arg-type]  # names are checked there


def codes(found: Facts) -> list[Code]:
    return [point.code for point in judge(found)]


@pytest.mark.parametrize(
    "found",
    [
        facts(),
        facts(QUEUED, waiting=Waiting(queued=3)),
        facts(any_sent=False, last_from_if3=START),
        facts(contact=Contact(answered_at=START - CONTACT_AGE)),
    ],
)
def test_all_is_well_when_everything_was_seen(found: Facts) -> None:
    assert [Code.WELL] == codes(found)


def test_all_is_well_only_as_far_as_is_known() -> None:
    """Before the first text, and without a public URL, no one has seen that IF3's texts arrive."""
    assert [Code.NO_TEXT_YET] == codes(facts(any_sent=False))
    assert [Code.NO_PUBLIC_URL] == codes(facts(public_url=None))
    assert is_well(facts(any_sent=False))
    assert is_well(facts(public_url=None))


def test_a_relay_that_needs_a_restart_works_on() -> None:
    """An outside service isn't to take it for one that stopped."""
    assert is_well(facts(unused_settings=("callrail.tracking_number",)))


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (facts(accounts=()), Code.NOT_SET_UP),
        (facts(running=Running()), Code.NOT_RUNNING),
        (
            facts(failed_checks=[CheckResult(name="disk", condition=Condition.FAILED, detail="Full.")]),
            Code.CHECK_FAILED,
        ),
        (facts(PAUSED), Code.PAUSED),
        (
            facts(replace(STANDING, account=make_account().waiting(START, SOON, Reason("rate_limited")))),
            Code.WAITS,
        ),
        (
            facts(replace(STANDING, account=make_account().waiting(START, SOON, UNREACHABLE))),
            Code.UNREACHABLE,
        ),
        (facts(contact=Contact(answered_at=START, is_lost=True)), Code.UNREACHABLE),
        (facts(contact=Contact()), Code.NOT_CONNECTED),
        (facts(contact=Contact(answered_at=START - 2 * CONTACT_AGE)), Code.NOT_CONNECTED),
        (facts(replace(STANDING, hour=Window(150, 150, SOON))), Code.HOUR_FULL),
        (facts(replace(STANDING, day=Window(1000, 1000, SOON))), Code.DAY_FULL),
        (facts(waiting=waiting("held")), Code.NEEDS_REVIEW),
        (facts(waiting=waiting("unknown")), Code.NEEDS_REVIEW),
        (facts(waiting=waiting("failed")), Code.NEEDS_REVIEW),
        (facts(accounts=(STANDING, FOREIGN)), Code.FOREIGN_ACCOUNT),
        (facts(unused_settings=("callrail.tracking_number",)), Code.NEEDS_RESTART),
        (facts(waiting=waiting("looked_up")), Code.LOOKED_UP),
        (facts(public_url=URL), Code.PUBLIC_URL_UNCHECKED),
        (facts(public_url=replace(URL, answered=False)), Code.NOT_REACHABLE_FROM_OUTSIDE),
    ],
)
def test_one_thing_amiss_is_enough(found: Facts, code: Code) -> None:
    """It alone is said, and never that all is well."""
    assert [code] == codes(found)


def test_an_account_that_is_not_in_the_settings_is_no_set_up() -> None:
    """Its texts wait for a person, so nothing tells when the queue will be empty."""
    assert [Code.NOT_SET_UP, Code.FOREIGN_ACCOUNT] == codes(facts(FOREIGN))
    assert SOON == facts(QUEUED).drains_at
    assert facts(accounts=(QUEUED, FOREIGN)).drains_at is None


def test_the_worst_comes_first() -> None:
    """What keeps messages from being sent or received, what needs a person, what ends by itself."""
    found = facts(
        replace(PAUSED, hour=Window(150, 150, SOON)),
        waiting=Waiting(
            held=Bucket(count=2), looked_up=Bucket(count=1), released_later=Bucket(count=1), queued=4
        ),
        failed_checks=[CheckResult(name="disk", condition=Condition.FAILED, detail="Full.")],
        public_url=replace(URL, answered=False),
    )
    points = judge(found)

    assert [
        Code.CHECK_FAILED,
        Code.PAUSED,
        Code.NOT_REACHABLE_FROM_OUTSIDE,
        Code.NEEDS_REVIEW,
        Code.LOOKED_UP,
        Code.SCHEDULED,
    ] == [point.code for point in points]
    assert [Level.BAD, Level.BAD, Level.BAD, Level.ASK, Level.NOTE, Level.NOTE] == [
        point.code.level for point in points
    ]


def test_nothing_is_promised_while_no_relay_is_running() -> None:
    """
    No limit that ends, no look-up, no morning: nothing happens by itself. What needs a person still does.
    """
    found = facts(
        replace(STANDING, hour=Window(150, 150, SOON)),
        Contact(is_lost=True),
        running=Running(),
        waiting=Waiting(held=Bucket(count=2), looked_up=Bucket(count=1), released_later=Bucket(count=1)),
        public_url=URL,
    )

    assert [Code.NOT_RUNNING, Code.NEEDS_REVIEW] == codes(found)


def test_quiet_hours_are_no_trouble() -> None:
    """A message that is sent in the morning is as it should be."""
    assert [Code.WELL, Code.SCHEDULED] == codes(facts(waiting=waiting("released_later")))


@pytest.mark.parametrize(
    ("found", "named"),
    [
        (facts(QUEUED), True),
        (facts(QUEUED, running=Running()), False),
        (facts(PAUSED), False),
        (facts(QUEUED, Contact(is_lost=True)), False),
        (facts(replace(QUEUED, account=make_account().waiting(START, SOON, UNREACHABLE))), False),
        (facts(replace(QUEUED, account=make_account().waiting(START, SOON, Reason("rate_limited")))), True),
    ],
)
def test_the_end_of_the_queue_is_named_only_while_something_sends(found: Facts, *, named: bool) -> None:
    assert (SOON if named else None) == found.drains_at


def test_several_nodes_run_since_the_first_of_them() -> None:
    later = Node(name="second", since=START)
    running = Running((Node(name="first", since=START - timedelta(days=1)), later, Node(name="new")))

    assert "2026-03-01T15:00:00.000Z" == running.document()["since"]
    assert [
        {"name": "first", "since": "2026-03-01T15:00:00.000Z", "slept": None},
        {"name": "second", "since": "2026-03-02T15:00:00.000Z", "slept": None},
        {"name": "new", "since": None, "slept": None},
    ] == running.document()["nodes"]
