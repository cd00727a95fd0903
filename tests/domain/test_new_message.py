"""Submissions: when two texts are the same."""

from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.mapper import MappedText
from callrail_relay.domain.routing import Route
from tests.support.factories import make_draft, make_message, make_route

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def fingerprint(draft: MappedText) -> bytes | None:
    return make_message(draft=draft).fingerprint


def test_the_same_words_to_the_same_person_have_one_fingerprint() -> None:
    """From any sender, company and account: the tracking number is what the person sees."""
    other = make_draft(
        sender_id="other",
        team_id=None,
        seller="Other",
        opportunity_id=None,
        route=make_route(account_id="ACC-OTHER", company_id="COM-OTHER"),
    )

    assert fingerprint(make_draft()) == fingerprint(other)


@given(one=st.tuples(texts, texts, texts), other=st.tuples(texts, texts, texts))
def test_different_texts_have_different_fingerprints(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    """Words, person and tracking number count, each in its place; 16 bytes are enough."""

    def made_from(parts: tuple[str, str, str]) -> bytes | None:
        number, recipient, text = (part.replace("\0", "") for part in parts)
        return fingerprint(MappedText(recipient=recipient, text=text, route=Route("A", "C", number)))

    same = [part.replace("\0", "") for part in one] == [part.replace("\0", "") for part in other]
    assert same == (made_from(one) == made_from(other))
    assert 16 == len(made_from(one) or b"")


def test_what_is_not_complete_has_no_fingerprint() -> None:
    """Nothing can be said to be the same as a text that could not be mapped."""
    assert fingerprint(MappedText(recipient="+12025550122", text="Hello")) is None
    assert fingerprint(make_draft(recipient=None)) is None
    assert fingerprint(make_draft(text=None)) is None
