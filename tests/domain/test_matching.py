"""Which of CallRail's texts are ours."""

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.reconcile import AFTER, BEFORE, FoundText, Sending, match, normalize
from tests.support.clock import START

TICK = timedelta(microseconds=1)
WORDING = " Reply STOP to unsubscribe."


def sending(
    id_: int, content: str = "Hello", *, after: timedelta | float = 0.0, certain: bool = False
) -> Sending:
    return Sending(attempt_id=id_, content=content, started_at=START + span(after), certain=certain)


def found(content: str = "Hello", *, after: timedelta | float = 0.0) -> FoundText:
    return FoundText(content=content, created_at=START + span(after))


def span(seconds: timedelta | float) -> timedelta:
    return seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)


def matched(sendings: list[Sending], *texts: FoundText) -> list[int]:
    """The ids of the sendings that turn out to have arrived."""
    return [sending.attempt_id for sending, _ in match(sendings, texts).matches]


# --- the words ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "shown"),
    [
        ("Hello", "Hello"),
        ('It\'s the "old" house', "It\u2019s the \u201cold\u201d house"),
        ("It\u2018s here \u2013 or there \u2014 or gone\u2026", "It's here - or there - or gone..."),
        ("Cafe\u0301", "Caf\u00e9"),
        ("two  blanks", "two blanks"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("line\n\n\nline", "line line"),
        (" around \t", "around"),
        ("no\u00a0break", "no break"),
        ("Thanks \U0001f64f\U0001f3fd", "Thanks \U0001f64f\U0001f3fd"),
        ("\u2764\ufe0f non\u2011stop, 5\u20326\u2033", "\u2764 non-stop, 5'6\""),
        ("soft\u00ad \u200bhidden\ufeff e\u200b\u0301", "soft hidden \u00e9"),
    ],
)
def test_a_text_is_known_again_as_callrail_shows_it(ours: str, shown: str) -> None:
    """Quotation marks, composed letters, line ends and runs of white space differ; the words do not."""
    assert [1] == matched([sending(1, ours)], found(shown))


@pytest.mark.parametrize(
    "wording",
    [
        WORDING,
        "\n\nReply STOP to opt out",
        " - Text STOP to end.",
        " Msg & data rates may apply. Txt STOP 2 quit.",
        " To unsubscribe, reply STOP",
        "\nYou can opt-out at any time.",
        " (reply “STOP” to cancel)",
    ],
)
def test_opt_out_wording_behind_a_text_is_callrails(wording: str) -> None:
    """It is put behind a first text, in words that are not documented."""
    assert [1] == matched([sending(1)], found("Hello" + wording))


@pytest.mark.parametrize(
    "shown",
    [
        "Yes please stop by",
        "Yes, at the end of the street",
        "Yes, we can quit the lease early",
        "Yesterday you asked. Reply STOP to opt out",
        "Yes, Tuesday works" + WORDING,
        "Yes" + " word" * 40 + WORDING,
        "Oh Yes" + WORDING,
        "yes",
        "",
    ],
)
def test_another_text_that_begins_alike_is_not_ours(shown: str) -> None:
    """Our own longer texts, and those of other people."""
    assert [] == matched([sending(1, "Yes")], found(shown))


@pytest.mark.parametrize("certain", [True, False])
def test_wording_belongs_to_the_longest_of_ours_that_it_stands_behind(*, certain: bool) -> None:
    """
    "Yes" is not what CallRail shows of "Yes, Tuesday works", though both were sent.
    """
    sendings = [sending(1, "Yes"), sending(2, "Yes, Tuesday works", after=5, certain=certain)]
    expected = [] if certain else [2]

    for order in permutations(sendings):
        assert expected == matched(list(order), found("Yes, Tuesday works" + WORDING, after=6))


def test_a_text_of_ours_that_ends_like_wording_is_itself() -> None:
    """Where one of ours is exactly what is shown, it is not the other one with something behind it."""
    longer = "Hello" + WORDING
    sendings = [sending(1, "Hello"), sending(2, longer, after=5, certain=True)]

    assert [] == matched(sendings, found(longer, after=5))
    assert [1] == matched(sendings, found(longer, after=5), found("Hello", after=1))


def test_no_text_is_nothing_found() -> None:
    """Nor does anything found settle what was not sent."""
    assert [] == matched([sending(1)])
    assert [] == matched([], found())
    assert {} == match([], [found()]).unclear


@given(st.text())
def test_normalizing_twice_changes_nothing_more(content: str) -> None:
    """What CallRail has normalized already is still the same text."""
    once = normalize(content)

    assert once == normalize(once)


# --- how often ---------------------------------------------------------------------------------------------


def test_one_text_proves_one_sending() -> None:
    """Of two identical ones the first; with two texts found, both."""
    sendings = [sending(1), sending(2, after=30)]

    assert [1] == matched(sendings, found(after=1))
    assert [1, 2] == matched(sendings, found(after=1), found(after=31))


def test_what_is_known_to_have_arrived_takes_its_text_first() -> None:
    """Whether it was sent before or after, and also while it is under way."""
    for after in (-60.0, 60.0):
        sendings = [sending(1), sending(2, after=after, certain=True)]
        assert [] == matched(sendings, found(after=after + 1))
        assert [1] == matched(sendings, found(after=1), found(after=after + 1))


def test_a_certain_one_without_its_text_takes_nothing_of_other_words() -> None:
    """Each text matches its own words only."""
    sendings = [sending(1), sending(2, "Other", certain=True)]

    assert [1] == matched(sendings, found())


def test_certain_ones_are_never_short_of_a_text_that_there_is() -> None:
    """
    CallRail's clock is two minutes behind: the first could be either text, the second only the later one.
    """
    behind = -BEFORE.total_seconds()
    sendings = [
        sending(1, after=0, certain=True),
        sending(2, after=200, certain=True),
        sending(3, after=10),
    ]

    assert [] == matched(sendings, found(after=behind), found(after=200 + behind))


@given(st.data())
def test_as_many_are_matched_as_can_be(data: st.DataObject) -> None:
    """
    Identical texts, whatever the times: no certain one lacks a text that an unknown one has,
    and no one could be given one more.
    """
    times = st.integers(-8, 8).map(lambda minutes: minutes * 120.0)
    sendings = [
        sending(id_, after=after, certain=certain)
        for id_, (after, certain) in enumerate(
            data.draw(st.lists(st.tuples(times, st.booleans()), max_size=5)), start=1
        )
    ]
    texts = [found(after=after) for after in data.draw(st.lists(times, max_size=5))]
    result = match(sendings, texts)

    certain = [one for one in sendings if one.certain]
    most = largest(sendings, texts) - largest(certain, texts)
    assert most == len(result.matches) + len(result.unclear)
    used = [id(text) for _, text in result.matches]
    assert len(used) == len(set(used))
    assert all(fits(sending, text) and not sending.certain for sending, text in result.matches)


def largest(sendings: list[Sending], texts: list[FoundText]) -> int:
    """The most sendings that can have a text of their own, by trying all ways."""
    if not sendings:
        return 0
    first, rest = sendings[0], sendings[1:]
    without = largest(rest, texts)
    return max(
        [without]
        + [
            1 + largest(rest, texts[:position] + texts[position + 1 :])
            for position, text in enumerate(texts)
            if fits(first, text)
        ]
    )


def fits(one: Sending, text: FoundText) -> bool:
    return one.started_at - BEFORE <= text.created_at <= one.started_at + AFTER


# --- when --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "ours"),
    [(-BEFORE - TICK, False), (-BEFORE, True), (AFTER, True), (AFTER + TICK, False)],
)
def test_a_text_is_ours_only_near_the_time_of_sending(after: timedelta, *, ours: bool) -> None:
    """From two minutes before to ten minutes after."""
    assert ([1] if ours else []) == matched([sending(1)], found(after=after))


# --- what stays open ---------------------------------------------------------------------------------------


def test_more_texts_than_sendings_leave_it_unclear() -> None:
    """A person wrote the same words in CallRail: a person decides which of the two is ours."""
    result = match([sending(1)], [found(after=1), found(after=90)])

    assert ((), {1: 2}) == (result.matches, result.unclear)


def test_unclear_is_also_what_could_be_ours_with_wording() -> None:
    """The first text to a person shows up with it, a later one without."""
    result = match([sending(1)], [found("Hello" + WORDING), found(after=90)])

    assert ((), {1: 2}) == (result.matches, result.unclear)


def test_two_unknown_ones_and_three_texts_are_both_unclear() -> None:
    """Neither is worse known than the other."""
    result = match([sending(1), sending(2, after=30)], [found(after=after) for after in (1, 31, 60)])

    assert ((), {1: 2, 2: 2}) == (result.matches, result.unclear)


def test_a_text_too_many_of_other_words_is_no_matter() -> None:
    """Other people text this person as well."""
    result = match([sending(1)], [found(), found("Other"), found("Other")])

    assert ([1], {}) == ([sending.attempt_id for sending, _ in result.matches], result.unclear)


def test_a_certain_one_is_never_unclear() -> None:
    """CallRail itself said that it took it."""
    result = match([sending(1, certain=True)], [found(), found()])

    assert ((), {}) == (result.matches, result.unclear)
