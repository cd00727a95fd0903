"""
The wording of texts: what is recognised as one, what is told apart, what is too short to judge.
"""

import random
import unicodedata
from collections.abc import Callable
from itertools import product
from timeit import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain import vocabulary
from callrail_relay.domain.wording import wording
from tests.domain.wordings import LONG, PARTS, Merge, digest, measure, microseconds

ONE = "Hi {}, are you still thinking of selling {} in {}? I can pay {} in cash by {}."


@pytest.mark.parametrize(("part", "names"), list(product(PARTS, (True, False))))
def test_figures(part: str, names: bool, record_property: Callable[[str, object], None]) -> None:  # noqa: FBT001 - a column of the table
    """
    99 in 100 pairs of one template where the name is known, as it is from IF3; below 1 of different texts.
    """
    figures = measure(part, names=names, count=2000)
    record_property("figures", f"{part}, names {'known' if names else 'unknown'}: {figures}")

    assert figures.recall >= (0.99 if names else 0.97), figures
    assert figures.confusion < 0.01, figures
    assert figures.confused_near < 0.01 * figures.of_near, figures


@pytest.mark.parametrize("part", PARTS)
def test_ordinary_short_texts_are_never_judged(part: str) -> None:
    """
    "Yes" and "Sounds good, talk tomorrow" go to any number of people.
    """
    for material in PARTS[part]:
        merge = Merge(material, random.Random(7))
        texts = [merge.text(template) for template in material.short for _ in range(20)]

        assert [] == [one.text for one in texts if digest(one, names=True)]


def merged(*values: str) -> bytes | None:
    return wording(ONE.format(*values))


@pytest.mark.parametrize(
    "values",
    [
        ("John", "123 Main St", "Fort Worth", "$120,000", "Friday"),
        ("john", "123 main street", "fort worth", "120k", "6/12"),
        ("JOHN SMITH", "9 N. OAK AVE APT 4B", "ST. LOUIS, MO 63101", "120 thousand", "June 3rd, 2026"),
        ("Mary-Ann O'Brien", "4500 County Road 12", "Coeur d'Alene, ID", "$1.2 million", "the 3rd"),
        ("José de la Cruz", "12 Lake View Dr. #4", "Winston-Salem", "95K", "March 3"),
        (
            "The Smith Family Trust",
            "1 Martin Luther King Jr Blvd",
            "Niagara-on-the-Lake, ON",
            "$95,000.00",
            "Wed",
        ),
        ("Hope", "77 W 5th St, Unit 3", "Surprise", "80000 USD", "May 1"),
        ("Mr. Price", "2 Old Mill Rd", "Montréal", "", "noon tomorrow"[:4]),
        ("there", "", "", "", ""),
        ("", "", "", "$", "Dec 24"),
    ],
)
def test_values_do_not_count(values: tuple[str, ...]) -> None:
    """
    Names, streets, towns, prices and days, however they were typed, or not there at all.
    """
    assert merged("Dana", "5 Elm Ct", "Reno", "$5", "Monday") == merged(*values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I am interested in buying your house", "I am not interested in buying your house"),
        ("Can we come and look at the house today?", "Can we come and look at the house tomorrow?"),
        ("Are you still selling 12 Oak St?", "Are you still renting 12 Oak St?"),
        ("Please sign the agreement today", "Please don't sign the agreement today"),
        ("We'd like to buy your house", "We wed to buy your house"),
        ("I'll send the contract over", "I send the contract over"),
        ("The painter opened the front door", "The painter opened the back door"),
    ],
)
def test_words_count(one: str, other: str) -> None:
    """
    A word that matters makes another wording.
    """
    assert wording(one) is not None
    assert wording(other) is not None
    assert wording(one) != wording(other)


@pytest.mark.parametrize(
    "other",
    [
        "DON\u2019T SIGN THE LISTING AGREEMENT: YOUR BUYER\u2019S CAF\u00c9 IS SOLD!",
        "don\u02bct sign the listing agreement \u2014 your buyer\u00b4s cafe\u0301 is sold \U0001f600",
        "  Don't sign\u200b the listing\n\nagreement, your buyers CAFE\u0301 is sold...",
    ],
)
def test_marks_do_not_count(other: str) -> None:
    """
    Capitals, quotation marks, dashes, accents in one mark or two, emoji, white space, unseen marks.
    """
    assert wording("Don't sign the listing agreement - your buyer's caf\u00e9 is sold") == wording(other)


def test_a_recipient_whose_name_is_a_word() -> None:
    """
    It is no name where others write a word; known, it is taken out where a name stands.
    """
    text = "we would love to buy your house today, {}, and would pay all the fees"
    patience = text.format("patience")

    assert wording(text.format("dana")) != wording(patience)
    assert wording(text.format("dana"), names=["Dana"]) == wording(patience, names=["Patience Smith"])
    assert wording("Thank you for your patience, the lender needs one more document") == wording(
        "Thank you for your patience, the lender needs one more document", names=["Patience Smith"]
    )


def test_a_language_that_is_not_known() -> None:
    """
    Where next to no word is known, small letters and the name that was given have to do.
    """
    text = (
        "Hallo {}, möchten Sie Ihre Wohnung in der {} noch verkaufen? Wir zahlen sofort und ohne Provision."
    )

    assert wording(text.format("Jörg", "Hauptstraße 7")) == wording(text.format("Ute", "Bahnhofstr. 12"))
    assert wording(text.format("jörg", "Ostgasse"), names=["Jörg Weiß"]) == wording(
        text.format("Ute", "Ostgasse")
    )
    assert wording(text.format("Ute", "Ostgasse")) != wording(
        text.format("Ute", "Ostgasse").replace("noch", "nicht")
    )


def test_a_word_stands_in_one_list() -> None:
    """
    What a word counts for does not depend on which list is asked first.
    """
    lists = [vocabulary.SMALL, vocabulary.TRADE, vocabulary.COMMON, vocabulary.SPANISH, vocabulary.AMBIGUOUS]

    assert sum(map(len, lists)) == len(frozenset().union(*lists))


def test_a_wording_is_the_same_on_every_machine() -> None:
    """
    Nothing of it comes from the process, the version of Python or the system.
    """
    digested = wording("Hi Dana, are you still thinking of selling 12 Oak St?")

    assert digested is not None
    assert 16 == len(digested)
    assert "76d6a4482c70261e862856779b4fe6d6" == digested.hex()


def test_it_is_fast(record_property: Callable[[str, object], None]) -> None:
    """
    It is on the way of every text that comes in; the bound allows for a machine that is busy.
    """
    time = microseconds(LONG, "Dana Smith")
    record_property("figures", f"{len(LONG)} characters: {time:.0f} µs")

    assert time < 500


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a.",
        "a'",
        "1.",
        "a@",
        "a-",
        "1 a b c d ",
        "\u0301\u0327",
        "\U0001f44d",
        " ",
        "www.",
        ",",
        "x1 ",
        "http://",
        "I. ",
        "ßé ",
    ],
)
def test_a_text_of_64_kib_costs_no_more(piece: str) -> None:
    """
    Nobody keeps the relay busy with a text of some kind.
    """
    text = (piece * 65536)[:65536]

    assert timeit(lambda: wording(text, names=(text[:200],)), number=1) < 1


@given(st.text(), st.lists(st.text(max_size=20), max_size=3))
def test_any_text_has_an_answer(text: str, names: list[str]) -> None:
    """
    A digest or None, the same however the accents are written.
    """
    found = wording(text, names=names)

    assert found is None or 16 == len(found)
    assert found == wording(text, names=names)
    assert wording(unicodedata.normalize("NFC", text)) == wording(unicodedata.normalize("NFD", text))


@given(st.text(alphabet="0123456789$.,:/-# ", max_size=20), st.emails())
def test_numbers_and_links_do_not_count(number: str, link: str) -> None:
    """
    Whatever they are.
    """
    text = "Would you consider our offer of {} for your house? Please sign the contract here: {} thanks"

    assert wording(text.format("", "")) == wording(
        text.format(number.strip(".:"), f"https://example.com/{link}")
    )
