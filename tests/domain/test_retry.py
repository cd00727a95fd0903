"""What follows from an outcome: every row of the table of outcomes, and the law of the waits."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.account import Account
from callrail_relay.domain.message import Reason, Status
from callrail_relay.domain.outcome import NotSent, Outcome, RateLimited, Refusal, Rejected, Sent, Unknown
from callrail_relay.domain.retry import (
    NO_ANSWER,
    RATE_LIMIT_FIRST,
    RATE_LIMIT_LONGEST,
    UNREACHABLE_FIRST,
    UNREACHABLE_LONGEST,
    Consequence,
    decide,
)
from callrail_relay.domain.segmentation import DOCUMENTED_LENGTH
from callrail_relay.sentences import explain

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
WELL = Account(id="ACC1")
STRUCK = Account(id="ACC1", strikes=3, wait_until=NOW, wait_reason=Reason("rate_limited"))
LONG = "x" * (DOCUMENTED_LENGTH + 1)


def consequence_of(
    outcome: Outcome,
    *,
    message_id: str = "one",
    content: str = "Hello",
    account: Account = WELL,
    seed: int = 1,
) -> Consequence:
    return decide(
        outcome, message_id=message_id, content=content, account=account, now=NOW, random=Random(seed)
    )


def wait_after(outcome: Outcome, account: Account = WELL, seed: int = 1) -> timedelta:
    """How long the account waits from now on."""
    wait_until = consequence_of(outcome, account=account, seed=seed).account.wait_until
    assert wait_until is not None
    return wait_until - NOW


@pytest.mark.parametrize(
    ("outcome", "segment", "costs_budget"),
    [
        (Sent(200, "CON1"), Status.SENT, True),
        (Sent(201, "CON1"), Status.SENT, True),
        (NotSent("no such host."), Status.QUEUED, False),
        (Rejected(400, "invalid content", Refusal.CONTENT), Status.FAILED, True),
        (Rejected(422, "invalid content", Refusal.CONTENT), Status.FAILED, True),
        (Rejected(400, "not a mobile number", Refusal.OTHER), Status.FAILED, True),
        (Rejected(400, "recipient has opted out", Refusal.OPTED_OUT), Status.FAILED, True),
        (Rejected(401, "bad key", Refusal.AUTHORIZATION), Status.QUEUED, False),
        (Rejected(403, "read-only key", Refusal.AUTHORIZATION), Status.QUEUED, False),
        (Rejected(403, "Attention Required!", Refusal.FIREWALL), Status.FAILED, False),
        (Rejected(404, "no such account", Refusal.OTHER), Status.FAILED, True),
        (Rejected(405, "not allowed", Refusal.OTHER), Status.FAILED, True),
        (Rejected(406, "not acceptable", Refusal.OTHER), Status.FAILED, True),
        (Rejected(None, "no phone number.", Refusal.UNSENDABLE), Status.FAILED, False),
        (RateLimited(429, "too many requests"), Status.QUEUED, False),
        (Unknown("the answer did not come."), Status.UNKNOWN, True),
        (Unknown("a strange answer.", 302), Status.UNKNOWN, True),
        (Unknown("a strange answer.", 500), Status.UNKNOWN, True),
    ],
    ids=lambda value: f"{value.kind} {value.http_status}" if hasattr(value, "kind") else None,
)
def test_what_becomes_of_the_segment(outcome: Outcome, segment: Status, costs_budget: bool) -> None:  # noqa: FBT001 - a column of the table
    """Each outcome has one status that follows, and keeps or frees its place in the budget."""
    consequence = consequence_of(outcome)

    assert (segment, costs_budget) == (consequence.segment, consequence.costs_budget)
    assert consequence.cut_to is None


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_is_told_in_callrails_own_words(status: int) -> None:
    """They are all that a person can act on."""
    (reason,) = consequence_of(Rejected(status, "Content is spam.", Refusal.CONTENT)).reasons

    assert ("refused", f"CallRail rejected it ({status}): Content is spam.") == (reason.code, explain(reason))


@pytest.mark.parametrize("refusal", list(Refusal))
def test_only_an_opt_out_puts_the_person_on_the_list(refusal: Refusal) -> None:
    """Any other refusal opts no one out."""
    assert (refusal is Refusal.OPTED_OUT) == consequence_of(Rejected(400, "no", refusal)).opts_out


def test_an_unknown_outcome_is_left_to_whoever_looks_it_up() -> None:
    """The reason says what happened and what not to do; a fault of our own says nothing of the account."""
    consequence = consequence_of(Unknown("the relay stopped.", own_fault=True), account=STRUCK)

    assert ["unknown"] == [reason.code for reason in consequence.reasons]
    assert "the relay stopped." in explain(consequence.reasons[0])
    assert STRUCK == consequence.account


def test_a_lost_answer_makes_the_account_wait() -> None:
    """While CallRail does not answer, one text tries at a time, and not the whole queue."""
    after = consequence_of(Unknown("the answer did not come within 60 s."), account=STRUCK).account

    assert STRUCK.strikes + 1 == after.strikes
    assert after.wait_until is not None
    assert NO_ANSWER == after.wait_reason


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ["401", "callrail-relay configure", "callrail-relay resume"]),
        (403, ["(403): No.", "read-only", "company", "10DLC", "isn't enabled", "callrail-relay resume"]),
    ],
)
def test_a_refused_key_pauses_the_account(status: int, words: list[str]) -> None:
    """CallRail's own words, then the usual causes in order, and the command; the text is not blamed."""
    consequence = consequence_of(Rejected(status, "No", Refusal.AUTHORIZATION))

    assert (NOW, ()) == (consequence.account.paused_since, consequence.reasons)
    assert consequence.account.paused_reason is not None
    reason = explain(consequence.account.paused_reason)
    places = [reason.find(word) for word in words]
    assert sorted(places) == places
    assert -1 not in places


def after_firewall(*message_ids: str, account: Account = WELL) -> Account:
    """The account after a firewall refused these messages."""
    for message_id in message_ids:
        refused = Rejected(403, "Attention Required!", Refusal.FIREWALL)
        account = consequence_of(refused, message_id=message_id, account=account).account
    return account


def test_a_firewall_refuses_one_text_and_the_account_goes_on() -> None:
    """It fails with its true reason, and the key is not blamed."""
    consequence = consequence_of(Rejected(403, "Attention Required!", Refusal.FIREWALL), content=LONG)

    assert ["firewall"] == [reason.code for reason in consequence.reasons]
    assert "firewall in front of CallRail rejected it (403, “Attention" in explain(consequence.reasons[0])
    assert (None, None) == (consequence.account.paused_since, consequence.cut_to)


def test_three_texts_that_a_firewall_refuses_in_a_row_pause_the_account() -> None:
    """Then the office's own address is blocked."""
    assert after_firewall("one", "two").paused_since is None

    account = after_firewall("one", "two", "three")
    assert NOW == account.paused_since
    assert Reason("firewalled", {"answer": "Attention Required!"}) == account.paused_reason


def test_a_text_that_was_under_way_when_the_third_was_refused_stays_queued() -> None:
    """By then it is known that its words are not the reason."""
    blocked = after_firewall("one", "two", "three")
    refused = Rejected(403, "Attention Required!", Refusal.FIREWALL)
    consequence = consequence_of(refused, message_id="four", account=blocked)

    assert (Status.QUEUED, False, ()) == (
        consequence.segment,
        consequence.costs_budget,
        consequence.reasons,
    )
    assert blocked == consequence.account


def test_the_same_text_again_is_no_other_text() -> None:
    """A person who sends it again and again learns nothing new of the address."""
    assert after_firewall("one", "two", "one", "two", "one").paused_since is None


@pytest.mark.parametrize(
    "outcome",
    [Sent(200, "c0nv1"), Rejected(400, "no", Refusal.CONTENT), Rejected(404, "no", Refusal.OTHER)],
)
def test_an_answer_of_callrails_own_shows_that_the_address_is_not_blocked(outcome: Outcome) -> None:
    """The row begins again, also while the account waits for something else."""
    waiting = after_firewall("one", "two").waiting(NOW, NOW + timedelta(minutes=1), Reason("rate_limited"))
    account = consequence_of(outcome, account=waiting).account

    assert after_firewall("three", "four", account=account).paused_since is None


@pytest.mark.parametrize(
    "outcome", [NotSent("no route."), RateLimited(429, "no"), Unknown("the answer did not come.")]
)
def test_other_ends_between_say_nothing_of_the_firewall(outcome: Outcome) -> None:
    """Nothing was sent between."""
    account = consequence_of(outcome, account=after_firewall("one", "two")).account

    assert NOW == after_firewall("three", account=account).paused_since


def test_a_resumed_account_may_be_refused_three_times_again() -> None:
    """A person asked CallRail, and the first text after that decides nothing."""
    account = after_firewall("one", "two", "three").resumed()

    assert after_firewall("four", "five", account=account).paused_since is None
    assert NOW == after_firewall("four", "five", "six", account=account).paused_since


@pytest.mark.parametrize("status", [400, 422])
def test_a_long_segment_that_is_refused_is_cut(status: int) -> None:
    """Above the documented length, the length is the likeliest reason."""
    consequence = consequence_of(Rejected(status, "no", Refusal.CONTENT), content=LONG)

    assert (Status.QUEUED, DOCUMENTED_LENGTH, True) == (
        consequence.segment,
        consequence.cut_to,
        consequence.costs_budget,
    )
    assert () == consequence.reasons


def test_the_documented_length_itself_is_not_too_long() -> None:
    """140 characters are what CallRail documents."""
    consequence = consequence_of(Rejected(400, "no", Refusal.CONTENT), content=LONG[1:])

    assert (Status.FAILED, None) == (consequence.segment, consequence.cut_to)


def test_length_is_counted_as_callrail_may_count_it() -> None:
    """An emoji counts as two units."""
    refused = Rejected(400, "no", Refusal.CONTENT)

    assert consequence_of(refused, content="🙏" * 70).cut_to is None
    assert DOCUMENTED_LENGTH == consequence_of(refused, content="🙏" * 71).cut_to


@pytest.mark.parametrize("refusal", [Refusal.OTHER, Refusal.OPTED_OUT])
def test_a_long_segment_is_not_cut_for_another_reason(refusal: Refusal) -> None:
    """Shorter words do not help where the words are not the reason."""
    assert Status.FAILED == consequence_of(Rejected(400, "no", refusal), content=LONG).segment


@pytest.mark.parametrize(
    "outcome",
    [
        Sent(200, "CON1"),
        Rejected(400, "no", Refusal.CONTENT),
        Rejected(404, "no", Refusal.OTHER),
    ],
)
@pytest.mark.parametrize("content", ["Hello", LONG])
def test_an_answer_shows_that_the_account_can_send(outcome: Outcome, content: str) -> None:
    """Strikes and waits that are over are forgotten."""
    account = consequence_of(outcome, content=content, account=STRUCK).account

    assert (0, None, None) == (account.strikes, account.wait_until, account.wait_reason)


def test_callrail_says_how_long_to_wait() -> None:
    """Its own span holds, however often it was asked for patience."""
    asked = RateLimited(429, "too many requests", retry_after=7.5)

    assert timedelta(seconds=7.5) == wait_after(asked) == wait_after(asked, STRUCK)


@pytest.mark.parametrize(
    ("strikes", "minutes"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 15), (5, 15), (999, 15)]
)
def test_without_its_word_the_wait_doubles(strikes: int, minutes: int) -> None:
    """From a minute to a quarter of an hour, which no number of strikes exceeds."""
    account = Account(id="ACC1", strikes=strikes)
    consequence = consequence_of(RateLimited(429, "too many requests"), account=account)

    assert NOW + timedelta(minutes=minutes) == consequence.account.wait_until
    assert strikes + 1 == consequence.account.strikes
    assert Reason("rate_limited") == consequence.account.wait_reason


@given(strikes=st.integers(0, 10_000), seed=st.integers())
def test_the_backoff_never_passes_the_longest_and_is_never_negative(strikes: int, seed: int) -> None:
    """Full jitter: anything from nothing to the doubled span, up to five minutes."""
    wait = wait_after(NotSent("no route."), Account(id="ACC1", strikes=strikes), seed)

    assert timedelta() <= wait <= UNREACHABLE_LONGEST
    if strikes < 8:
        assert wait <= UNREACHABLE_FIRST * 2**strikes


@given(strikes=st.integers(0, 10_000))
def test_the_wait_of_a_rate_limit_never_passes_the_longest(strikes: int) -> None:
    """And is never shorter than the first."""
    wait = wait_after(RateLimited(429, "too many requests"), Account(id="ACC1", strikes=strikes))

    assert RATE_LIMIT_FIRST <= wait <= RATE_LIMIT_LONGEST


def test_the_jitter_is_spread_over_the_whole_span() -> None:
    """Many relays that lost CallRail together do not come back together."""
    waits = [wait_after(NotSent("no route."), seed=seed) for seed in range(200)]

    tenths = {int(wait / UNREACHABLE_FIRST * 10) for wait in waits}
    assert set(range(10)) == tenths


def test_the_same_luck_gives_the_same_wait() -> None:
    """Chance comes from what is passed in, and from nowhere else."""
    assert wait_after(NotSent("no route."), seed=5) == wait_after(NotSent("no route."), seed=5)
