"""Guards: what they find, and what their mode makes of it."""

from datetime import UTC, datetime, timedelta

import pytest

from callrail_relay.domain import guards
from callrail_relay.domain.guards import Circumstances, Mode, Verdict
from callrail_relay.domain.message import Reason
from callrail_relay.sentences import explain
from tests.support.policies import guard_policy

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
WINDOW = timedelta(seconds=5)
FOUND = Reason("found", {"detail": "Something was found."})
BEFORE = Reason("before", {"detail": "Something was found before."})


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [
        (Mode.HOLD, Verdict((BEFORE, FOUND), (BEFORE,))),
        (Mode.WARN, Verdict((BEFORE,), (BEFORE, FOUND))),
        (Mode.OFF, Verdict((BEFORE,), (BEFORE,))),
    ],
)
def test_the_mode_decides(mode: Mode, verdict: Verdict) -> None:
    """Hold, mention, or nothing; what was found before stays."""
    assert verdict == Verdict((BEFORE,), (BEFORE,)).joined(mode, FOUND)


@pytest.mark.parametrize("mode", list(Mode))
def test_nothing_found_is_nothing_said(mode: Mode) -> None:
    """Whatever the mode."""
    assert Verdict() == Verdict().joined(mode, None)


def test_what_holds_is_told_before_what_is_mentioned() -> None:
    """The reasons of a verdict, in the order in which a person needs them."""
    assert (FOUND, BEFORE) == Verdict(holds=(FOUND,), warnings=(BEFORE,)).reasons


def test_a_placeholder_that_was_not_filled_in_is_shown() -> None:
    """A person sees at once what is wrong with which text."""
    reason = guards.merge_tag("Hi {first_name}, are you still selling?")

    assert reason is not None
    assert ("merge_tag", True) == (
        reason.code,
        explain(reason).startswith("This message has an unfilled placeholder: {first_name}. "),
    )


@pytest.mark.parametrize("text", ["Hi Pat, 5% down?", "", None])
def test_a_text_without_placeholders(text: str | None) -> None:
    """It is nothing to speak of."""
    assert guards.merge_tag(text) is None


def test_a_duplicate_names_the_earlier_text() -> None:
    """A person can look at both."""
    assert guards.duplicate(None, WINDOW) is None
    reason = guards.duplicate("the-earlier-id", WINDOW)

    assert reason is not None
    assert ("duplicate", True, True) == (
        reason.code,
        "the-earlier-id" in explain(reason),
        "within 5 seconds" in explain(reason),
    )


@pytest.mark.parametrize(
    ("window", "words"),
    [(0.5, "0.5 seconds"), (60, "1 minute"), (90, "90 seconds"), (600, "10 minutes"), (14_400, "4 hours")],
)
def test_a_duplicate_names_the_window(window: float, words: str) -> None:
    """The one that is set."""
    reason = guards.duplicate("id", timedelta(seconds=window))

    assert reason is not None
    assert f"within {words} " in explain(reason)


def test_a_duplicate_after_sleep_says_so() -> None:
    """The window would not explain it."""
    reason = guards.duplicate("id", WINDOW, after_sleep=True)

    assert reason is not None
    assert "This computer was asleep" in explain(reason)


@pytest.mark.parametrize(
    ("came", "since"),
    [
        (timedelta(seconds=-1), timedelta(seconds=-6)),
        (timedelta(0), timedelta(seconds=-5)),
        (timedelta(minutes=1), timedelta(0)),
        (guards.AFTER_SLEEP, timedelta(0)),
        (guards.AFTER_SLEEP + timedelta(seconds=1), guards.AFTER_SLEEP - timedelta(seconds=4)),
    ],
)
def test_what_came_since_the_machine_woke_counts_for_a_while(came: timedelta, since: timedelta) -> None:
    """For five minutes; before and after that, and without a sleep, the window alone does."""
    assert NOW + since == guards.duplicates_since(NOW + came, WINDOW, NOW)
    assert NOW + came - WINDOW == guards.duplicates_since(NOW + came, WINDOW, None)


@pytest.mark.parametrize(
    ("passed", "awake", "slept"), [(60, 60, False), (60, 31, False), (60, 29, True), (5, 60, False)]
)
def test_a_machine_slept_if_the_clock_went_on_without_it(passed: float, awake: float, slept: bool) -> None:  # noqa: FBT001 - cases
    """By more than a clock is put right by."""
    assert slept is guards.slept(timedelta(seconds=passed), awake)


def test_an_opt_out_says_that_nothing_leaves() -> None:
    """A person on the list is not texted."""
    assert Verdict() == guards.judge(guard_policy(), Circumstances(now=NOW))
    assert Verdict((Reason("opt_out"),)) == guards.judge(
        guard_policy(), Circumstances(now=NOW, opted_out=True)
    )


@pytest.mark.parametrize(
    ("age", "found"),
    [(timedelta(), False), (timedelta(hours=4), False), (timedelta(hours=4, microseconds=1), True)],
)
def test_a_text_is_too_old_when_it_waited_longer(age: timedelta, found: bool) -> None:  # noqa: FBT001 - a column of the table
    """Longer than the setting, not as long."""
    reason = guards.too_old(NOW - age, NOW, timedelta(hours=4))

    assert found == (reason is not None)


@pytest.mark.parametrize(
    ("max_age", "words"),
    [
        (timedelta(hours=4), "more than 4 hours."),
        (timedelta(hours=1), "more than 1 hour."),
        (timedelta(minutes=90), "more than 90 minutes."),
        (timedelta(minutes=5), "more than 5 minutes."),
        (timedelta(days=2), "more than 48 hours."),
    ],
)
def test_the_longest_wait_is_told_as_people_say_it(max_age: timedelta, words: str) -> None:
    """Hours where they are whole, else minutes."""
    reason = guards.too_old(NOW - timedelta(days=9), NOW, max_age)

    assert reason is not None
    assert "too_old" == reason.code
    assert words in explain(reason)


def test_a_text_that_is_too_long_names_both_numbers() -> None:
    """What it needs, what there is, and the setting that helps."""
    reason = guards.too_long(200, 150)

    assert "too_long" == reason.code
    for word in ("200 parts", "allow 150", "limits.max_characters"):
        assert word in explain(reason)


@pytest.mark.parametrize(
    ("recipients", "held"), [(0, False), (1, False), (4, False), (5, True), (6, True), (500, True)]
)
def test_a_mass_text_begins_with_the_fifth_person(recipients: int, held: bool) -> None:  # noqa: FBT001 - a column of the table
    """The first four go."""
    assert held == (guards.mass_text(recipients) is not None)


def test_a_mass_text_names_the_way_out() -> None:
    """Within what time, and the command that sends all of them."""
    reason = guards.mass_text(7)

    assert reason is not None
    assert "mass_text" == reason.code
    for words in (
        "5 or more people",
        "10 minutes",
        "callrail-relay messages approve ID --same-wording",
        "cancel",
    ):
        assert words in explain(reason)


def test_quiet_hours_name_the_minute_of_release() -> None:
    """No one has to do anything."""
    night = Circumstances(now=NOW.replace(hour=7), recipient="+12025550122")

    verdict = guards.judge(guard_policy(quiet_hours=Mode.HOLD), night)

    [reason] = verdict.holds
    assert "quiet_hours" == reason.code
    assert {"until": "2026-03-02T13:00:00.000Z"} == reason.parameters
    assert datetime(2026, 3, 2, 13, 0, tzinfo=UTC) == verdict.release_at
    assert "Quiet hours" in explain(reason)
