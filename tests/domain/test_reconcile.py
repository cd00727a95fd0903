"""When to look up an unknown outcome, and how long other texts wait for it."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.reconcile import LONGEST, RETRY_LATER, RETRY_SOON
from tests.support.clock import START
from tests.support.factories import ACCOUNT
from tests.support.policies import LADDER, lookup_policy

POLICY = lookup_policy(accounts=frozenset({ACCOUNT}))
TICK = timedelta(microseconds=1)


def after(**span: float) -> datetime:
    return START + timedelta(**span)


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (after(seconds=15), after(minutes=1)),
        (after(seconds=59), after(minutes=1)),
        (after(minutes=1), after(minutes=5)),
        (after(minutes=5), after(minutes=15)),
        (after(minutes=15) - TICK, after(minutes=15)),
        (after(minutes=15), None),
        (after(hours=9), None),
    ],
)
def test_the_next_look_is_the_next_rung(now: datetime, then: datetime | None) -> None:
    """15 seconds, 1, 5 and 15 minutes after the outcome became unknown, and nothing after the last."""
    assert then == POLICY.next_look(START, answered=True, now=now)


def test_a_late_look_stands_for_the_rungs_before_it() -> None:
    """After an hour without CallRail one answer is enough; four at one time would tell no more."""
    assert POLICY.next_look(START, answered=True, now=after(hours=1)) is None
    assert after(minutes=5) == POLICY.next_look(START, answered=True, now=after(minutes=2))


@pytest.mark.parametrize(
    ("now", "wait"),
    [
        (after(seconds=15), RETRY_SOON),
        (after(minutes=16) - TICK, RETRY_SOON),
        (after(minutes=16), RETRY_LATER),
        (START + LONGEST, RETRY_LATER),
        (START + LONGEST + TICK, None),
    ],
)
def test_a_look_that_was_not_answered_is_tried_again(now: datetime, wait: timedelta | None) -> None:
    """Soon while others wait for it, then now and then, and for a day at most."""
    expected = None if wait is None else now + wait

    assert expected == POLICY.next_look(START, answered=False, now=now)


def test_others_wait_until_the_last_look_can_be_over() -> None:
    """The ladder, and a minute for the last rung to be tried once more."""
    assert START + LADDER[-1] + RETRY_SOON == POLICY.blocks_until(START)
    short = lookup_policy(accounts=frozenset({ACCOUNT}), ladder=(timedelta(seconds=2),))
    assert after(seconds=62) == short.blocks_until(START)


@given(
    rungs=st.lists(st.integers(1, 5000), min_size=1, max_size=6, unique=True).map(sorted),
    age=st.integers(0, 5000),
    answered=st.booleans(),
)
def test_the_next_look_is_always_ahead(rungs: list[int], age: int, *, answered: bool) -> None:
    """Nothing is looked up over and over in one instant, and every ladder has an end."""
    policy = lookup_policy(
        accounts=frozenset({ACCOUNT}), ladder=tuple(timedelta(seconds=rung) for rung in rungs)
    )
    then = policy.next_look(START, answered=answered, now=after(seconds=age))

    assert then is None or then > after(seconds=age)
    assert (then is None) == (answered and age >= rungs[-1])
