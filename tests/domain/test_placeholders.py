"""Placeholders: what is held, what is sent, and how often either is wrong."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.guards import find_placeholder
from tests.domain.placeholder_texts import ordinary_texts, placeholder_texts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hi {first_name}, still selling %contact_street%?", "{first_name}"),
        ("Still selling %contact_street%?", "%contact_street%"),
        ("Hi {{first_name}}!", "{{first_name}}"),
        ("Hi [[First Name]]!", "[[First Name]]"),
        ("Hi {{{name}}}", "{{{name}}}"),
        ("Price:{{x}}", "{{x}}"),
        ("{{", "{{"),
        ("half a tag [[", "[["),
        ("}}", "}}"),
        ("Hi [First Name],", "[First Name]"),
        ("Hi <<first name>>,", "<<first name>>"),
        ("Hi *|FNAME|*,", "*|FNAME|*"),
        ("Hi ${contact.firstName},", "${contact.firstName}"),
        ("Hi #{name},", "#{name}"),
        ("Hi <%= name %>,", "<%= name %>"),
        ("Hi {$name},", "{$name}"),
        ("Hi @@name@@,", "@@name@@"),
        ("Hi ~Contact.FirstName~,", "~Contact.FirstName~"),
        ("Hi %FIRSTNAME%,", "%FIRSTNAME%"),
        ("Hi FIRST_NAME,", "FIRST_NAME"),
        ("Hi {0}, ok", "Hi {0}"),
        ("Hi [first]", "Hi [first]"),
        ("Hi |FIRST|,", "Hi |FIRST|"),
        ("Hi ^first^", "Hi ^first^"),
        ("Hi &lt;first name&gt;", "&lt;first name&gt;"),
        ("Hi \u2039name\u203a", "\u2039name\u203a"),
        ("Hi «First_Name»", "«First_Name»"),
        ("Hi {First Name:default=there}", "{First Name:default=there}"),
        ("{Hi|Hello} Dana", "{Hi|Hello}"),
        ("https://oak.example/%first_name%", "%first_name%"),
        ("Hi null, any news?", "Hi null"),
        ("Are you the owner of undefined?", "of undefined"),
        ("Hi, this is null in Austin. Still selling?", "this is null"),
        ("I'm undefined is 12 Oak St yours", "I'm undefined"),
        ("null", "null"),
        (" Undefined ", "Undefined"),
        ("undefined undefined", "undefined undefined"),
        ("[object Object]", "[object Object]"),
        ("Hi [object Object]", "[object Object]"),
        ("[undefined]", "[undefined]"),
        ("{undefined}", "{undefined}"),
        ("false", "false"),
        ("[]", "[]"),
        ("None", "None"),
        ("NaN", "NaN"),
        ("We can pay $NaN", "NaN"),
        ("#REF! is our offer", "#REF!"),
    ],
)
def test_an_unfilled_placeholder_is_found(text: str, found: str) -> None:
    """As it is written in the text."""
    assert found == find_placeholder(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hi Pat!",
        "{one} [two]",
        "a[0] = {1}",
        "} {",
        "] [",
        "It's 5% down and 10% off, or 50%/50%",
        "20%off%",
        ":{ :-[ :{{ :]]",
        "[smile] I <3 it",
        "~$300k~ or $150k",
        "None of them",
        "None.",
        "none",
        "n/a",
        "Hi Nan, are you home?",
        "It is null and void, and the lot line is undefined here.",
        "https://x.example/a%20b?c=caf%C3%A9s%20ok",
        "first.last@example.com, dana_smith@example.com",
        "Hi, name your price!",
        "[x] yes [ ] no",
        "call me {after 5}",
        "<<call me back>>",
        "« Oui »",
        "5 &lt; 6 &gt; 4",
        "[first] we close, then we pay",
        "send {name, phone}",
        "That's false.",
        "My name is undefined in the doc",
        "This is null in law",
        "Hi <3",
        "0",
        "N/A",
    ],
)
def test_ordinary_marks_are_words_like_any_other(text: str) -> None:
    """Percent signs, prices, faces, links and lists."""
    assert find_placeholder(text) is None


def test_how_often_it_is_wrong() -> None:
    """Of 1,000 texts with a placeholder and 4,000 ordinary ones, half of these with such marks in them."""
    unfilled, ordinary = placeholder_texts(), ordinary_texts()

    assert (1_000, 4_000) == (len(set(unfilled)), len(set(ordinary)))
    assert sum(find_placeholder(text) is not None for text in unfilled) >= 0.99 * len(unfilled)
    assert sum(find_placeholder(text) is not None for text in ordinary) <= 0.002 * len(ordinary)


@given(st.text() | st.text(alphabet="{}[]<>%$#@~|*_ anme"))
def test_what_is_found_is_in_the_text(text: str) -> None:
    """Whatever the text is."""
    found = find_placeholder(text)

    assert found is None or found in text


@pytest.mark.parametrize(
    "piece",
    [
        "{",
        "[",
        "}",
        "%a",
        "<a ",
        "{a|",
        "a_",
        "~a",
        "[a ",
        "null ",
        "hi ",
        "$a",
        "|a ",
        "a.",
        "((a",
        "<%",
        "&lt;a ",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    """A request may have 64 KiB, and be made for it."""
    began = process_time()
    find_placeholder(piece * (65_536 // len(piece)))

    assert process_time() - began < 2
