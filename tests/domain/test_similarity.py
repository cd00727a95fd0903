"""Which texts are taken for one mass text, which are told apart, and which are too short to judge."""

import random
from collections.abc import Callable
from itertools import product
from timeit import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.guards import are_similar, similarity_words
from tests.domain.mass_texts import LONG, PARTS, Merge, measure, microseconds

OFFER = "Hi {}, are you still thinking of selling {} in {}? I can pay {} in cash by {}."


def similar(one: str, other: str, *, name: str | None = None) -> bool:
    ours, theirs = similarity_words(one, name), similarity_words(other, name)
    assert ours is not None
    assert theirs is not None
    return are_similar(ours, theirs)


@pytest.mark.no_cover
@pytest.mark.slow
@pytest.mark.parametrize(("part", "names"), list(product(PARTS, (True, False))))
def test_figures(part: str, names: bool, record_property: Callable[[str, object], None]) -> None:  # noqa: FBT001 - a column of the table
    """At least 99 % of templates are held by the eighth text, and at most 0.2 % of ordinary texts."""
    figures = measure(part, names=names, runs=5, streams=100)
    record_property("figures", f"{part}, names {'known' if names else 'unknown'}: {figures}")

    assert figures.by_eighth >= 0.99 * figures.runs, figures
    assert figures.false_holds <= 0.002 * figures.ordinary, figures


@pytest.mark.parametrize("part", PARTS)
def test_short_texts_are_hardly_ever_judged(part: str) -> None:
    """
    "Yes" and "Sounds good, talk tomorrow" go to any number of people.
    """
    for material in PARTS[part]:
        merge = Merge(material, random.Random(7))
        texts = [merge.text(template).text for template in material.short for _ in range(20)]
        judged = [text for text in texts if similarity_words(text) is not None]

        assert len(judged) <= 0.1 * len(texts), judged


@pytest.mark.parametrize(
    "values",
    [
        ("John", "123 Main St", "Fort Worth", "$120,000", "Friday"),
        ("john", "123 main street", "fort worth", "120k", "6/12"),
        ("JOHN SMITH", "9 N. OAK AVE APT 4B", "ST. LOUIS, MO 63101", "120 thousand", "June 3rd, 2026"),
        ("Mary-Ann O\u2019Brien", "4500 County Road 12", "Coeur d'Alene, ID", "$1.2 million", "the 3rd"),
        ("José de la Cruz", "12 Lake View Dr. #4", "Winston-Salem", "95K", "March 3"),
        (
            "The Smith Family Trust",
            "1 Martin Luther King Jr Blvd",
            "Niagara-on-the-Lake, ON",
            "$95,000.00",
            "Wed",
        ),
        ("", "", "", "$", "Dec 24"),
    ],
)
def test_values_make_no_difference(values: tuple[str, ...]) -> None:
    """Names, streets, towns, prices and days, as people type them, or missing."""
    assert similar(OFFER.format("Dana", "5 Elm Ct", "Reno", "$5", "Monday"), OFFER.format(*values))


def test_another_language() -> None:
    """Nothing depends on a list of English words."""
    text = (
        "Hallo {}, möchten Sie Ihre Wohnung in der {} noch verkaufen? Wir zahlen sofort und ohne Provision."
    )

    assert similar(text.format("Jörg", "Hauptstraße 7"), text.format("Ute", "Bahnhofstr. 12"))
    assert not similar(
        text.format("Jörg", "Ostgasse"), OFFER.format("Dana", "5 Elm Ct", "Reno", "$5", "Monday")
    )


def test_a_short_text_is_not_similar_to_a_very_long_one() -> None:
    """A page of words shares the words of any short text by accident."""
    page = " ".join(f"word{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(200))

    assert not similar(
        "Would you please call me about the house today", f"would you please call me about the {page}"
    )


@pytest.mark.parametrize(
    "other",
    [
        "DON\u2019T SIGN THE LISTING AGREEMENT UNTIL YOUR BUYER\u2019S CAF\u00c9 IS SOLD!",
        "don\u02bct sign the listing agreement \u2014 until your buyer\u00b4s cafe\u0301 is sold \U0001f600",
    ],
)
def test_marks_make_no_difference(other: str) -> None:
    """Capitals, quotation marks, dashes, accents in one mark or two, and emoji."""
    text = "Don't sign the listing agreement until your buyer's caf\u00e9 is sold"

    assert similarity_words(text) == similarity_words(other)


def test_the_name_of_the_recipient_does_not_count() -> None:
    """Neither do words with digits, links and streets."""
    words = similarity_words(
        "Hi Dana, please sign the contract for 12 North Oak St today: https://example.com/x1 or call"
        " 2025550122",
        "Dana Smith",
    )

    assert frozenset(["hi", "please", "sign", "the", "contract", "for", "today", "or", "call"]) == words


def test_it_is_fast(record_property: Callable[[str, object], None]) -> None:
    """Every text that comes in pays for it; the bound allows for a busy machine."""
    time = microseconds(LONG, "Dana Smith")
    record_property("figures", f"{len(LONG)} characters: {time:.0f} µs")

    assert time < 500


@pytest.mark.parametrize(
    "piece",
    ["a", "a.", "a'", "1.", "a@", "a-", "1 a b c d ", "\u0301\u0327", " ", "www.", "x1 ", "http://", "1 a "],
)
def test_a_text_of_64_kib_costs_no_more(piece: str) -> None:
    """No text keeps the relay busy."""
    text = (piece * 65536)[:65536]

    assert timeit(lambda: similarity_words(text, text[:200]), number=1) < 1


@given(st.text(), st.text(max_size=20), st.text())
def test_similarity_is_symmetric(one: str, name: str, other: str) -> None:
    """And a text that can be judged is similar to itself."""
    ours, theirs = similarity_words(one, name), similarity_words(other, name)

    assert ours is None or are_similar(ours, ours)
    assert ours is None or theirs is None or are_similar(ours, theirs) == are_similar(theirs, ours)
