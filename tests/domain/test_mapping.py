"""Mapping: from a payload to a recipient, a text and a route, or to all that is wrong with it."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.mapper import MappedText, map_direct, map_entry
from callrail_relay.domain.message import Reason
from callrail_relay.domain.payload import Payload
from callrail_relay.domain.routing import Route, RouteRule, Routes
from callrail_relay.sentences import explain

MAIN = Route("ACC1", "COM1", "+12025550133")
OTHER = Route("ACC1", "COM2", "+12025550144")
ROUTES = Routes(rules=(RouteRule(OTHER, team_id="42"),), default=MAIN)


def make_payload(**changes: object) -> Payload:
    payload = Payload(
        message="Hi Dana",
        seller_phone="+12025550122",
        seller_phone_non_international="2025550122",
        opportunity_id="1",
        sender_id="2",
        seller_id="3",
        seller="Dana Example",
        team_id="4",
    )
    return replace(payload, **changes)  # type: ignore[arg-type]  # the tests name real fields


def codes(draft: MappedText) -> list[str]:
    return [fault.code for fault in draft.reasons]


def test_payload_becomes_a_draft() -> None:
    """Recipient, text and route, and IF3's ids beside them."""
    expected = MappedText(
        recipient="+12025550122",
        text="Hi Dana",
        route=MAIN,
        opportunity_id="1",
        sender_id="2",
        seller_id="3",
        seller="Dana Example",
        team_id="4",
    )

    assert expected == map_entry(make_payload(), ROUTES)


def test_contact_without_ids_is_sent() -> None:
    """Nothing depends on the ids."""
    payload = Payload(message="Hi", seller_phone="+12025550122")

    assert MappedText(recipient="+12025550122", text="Hi", route=MAIN) == map_entry(payload, ROUTES)


def test_team_chooses_the_route() -> None:
    """A rule of the settings that matches."""
    assert OTHER == map_entry(make_payload(team_id="42"), ROUTES).route


@pytest.mark.parametrize(
    ("local", "international"),
    [
        ("2025550122", "+1 202 555 0122"),
        ("2025550122", None),
        (None, "+12025550122"),
        ("2025550122", "n/a"),
        ("2025550122 x1", "+12025550122"),
        ("+18765550122", "+12025550122"),
    ],
)
def test_one_valid_phone_is_enough(local: str | None, international: str | None) -> None:
    """A missing or an invalid phone beside a valid one does no harm."""
    draft = map_entry(make_payload(seller_phone_non_international=local, seller_phone=international), ROUTES)

    assert ("+12025550122", ()) == (draft.recipient, draft.reasons)


def test_unusable_phone_field_beside_a_valid_one_does_no_harm() -> None:
    """Nor does one that reading already found wrong."""
    fault = Reason("bad_phone", {"detail": "seller_phone is a list, not a phone number."})
    draft = map_entry(make_payload(seller_phone=None, faults=(fault,)), ROUTES)

    assert ("+12025550122", ()) == (draft.recipient, draft.reasons)


def test_two_valid_phones_that_differ_are_held() -> None:
    """Only a person knows which is meant."""
    draft = map_entry(make_payload(seller_phone="2025550199"), ROUTES)

    assert (None, ["two_phones"]) == (draft.recipient, codes(draft))
    assert "+12025550122 and +12025550199" in explain(draft.reasons[0])


def test_phone_field_given_twice_is_held() -> None:
    """Even where the other field is valid."""
    twice = Reason("two_phones", {"detail": "seller_phone is given more than once, and differently."})
    draft = map_entry(make_payload(seller_phone=None, faults=(twice,)), ROUTES)

    assert (None, (twice,)) == (draft.recipient, draft.reasons)


def test_invalid_phones_are_all_named() -> None:
    """With their reasons, as they were written; the same one in both fields once."""
    same = map_entry(make_payload(seller_phone_non_international="12", seller_phone="12"), ROUTES)
    listed = Reason("bad_phone", {"detail": "seller_phone is a list, not a phone number."})
    one = map_entry(make_payload(seller_phone_non_international="202555012", seller_phone="n/a"), ROUTES)
    other = map_entry(
        make_payload(seller_phone_non_international="202555012", seller_phone=None, faults=(listed,)), ROUTES
    )

    assert ["bad_phone", "bad_phone"] == codes(one)
    assert ["bad_phone", "bad_phone"] == codes(other)
    assert (Reason("bad_phone", {"problem": "invalid", "typed": "12"}),) == same.reasons


@pytest.mark.parametrize("text", [" Hi ", "\nHi\n", "{{first_name}}", "0", "<b>", "\u200bHi"])
def test_words_are_never_changed(text: str) -> None:
    """White space around a text is part of it."""
    assert text == map_entry(make_payload(message=text), ROUTES).text


@pytest.mark.parametrize("text", [None, "", " ", "\r\n\t", "\u00a0\u2003", "\u200b", "\ufeff"])
def test_text_that_shows_nothing_is_held(text: str | None) -> None:
    """White space and invisible characters are no text."""
    draft = map_entry(make_payload(message=text), ROUTES)

    assert (None, ["no_text"]) == (draft.text, codes(draft))


def test_every_fault_is_listed() -> None:
    """A person who fixes one finds no other behind it."""
    bulk = Reason("bulk", {"detail": "It came with others."})

    assert ["no_phone", "no_text", "no_route", "bulk"] == codes(map_entry(Payload(faults=(bulk,)), Routes()))


def test_faults_of_reading_replace_those_of_missing_fields() -> None:
    """A message that is a list is not missing as well, nor is a route that could not be chosen."""
    faults = (
        Reason("bad_text", {"detail": "The message is a list, not a text."}),
        Reason("bad_phone", {"detail": "seller_phone is a list, not a phone number."}),
        Reason("bad_id", {"detail": "team_id is a list, so that no tracking number can be chosen by it."}),
    )

    draft = map_entry(Payload(faults=faults), ROUTES)

    assert ["bad_phone", "bad_text", "bad_id"] == codes(draft)
    assert MappedText(reasons=draft.reasons) == draft


def test_bulk_leaves_the_draft_complete() -> None:
    """A person can approve it as it is."""
    bulk = Reason("bulk", {"detail": "It came with others."})
    draft = map_entry(make_payload(faults=(bulk,)), ROUTES)

    assert map_entry(make_payload(), ROUTES) == replace(draft, reasons=())
    assert (bulk,) == draft.reasons


def test_unreadable_entry_keeps_its_faults() -> None:
    """And nothing else can be said of it."""
    entry = Reason("unreadable", {"problem": "no_form"})

    assert MappedText(reasons=(entry,)) == map_entry(entry, ROUTES)


payloads = st.builds(
    Payload,
    **{f.name: st.none() | st.text() for f in fields(Payload) if f.name != "faults"},
    faults=st.lists(
        st.builds(
            Reason, st.sampled_from(["bad_text", "bad_phone", "two_phones", "bad_id", "bulk"]), st.text()
        )
    ).map(tuple),
)


@given(payloads, st.sampled_from([ROUTES, Routes(), Routes(rules=ROUTES.rules)]))
def test_nothing_breaks_it_and_nothing_incomplete_is_without_fault(payload: Payload, routes: Routes) -> None:
    """A draft has all that a message needs, or says what is missing."""
    draft = map_entry(payload, routes)

    assert draft.reasons or None not in (draft.recipient, draft.text, draft.route)


# --- send ------------------------------------------------------------------------------------------------


def test_direct_text() -> None:
    """Given words and phone, from the default number."""
    expected = MappedText(recipient="+12025550122", text=" Hi ", route=MAIN)

    assert expected == map_direct(to="(202) 555-0122", text=" Hi ", routes=ROUTES, sender=None)


def test_direct_text_from_a_named_number() -> None:
    """Any of ours."""
    assert OTHER == map_direct(to="2025550122", text="Hi", routes=ROUTES, sender="+12025550144").route


def test_direct_text_from_the_only_number() -> None:
    """Without a default, the only number is the one."""
    routes = Routes(rules=ROUTES.rules)

    assert OTHER == map_direct(to="2025550122", text="Hi", routes=routes, sender=None).route


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"to": "+442071838750"}, "has the country code +44"),
        ({"to": ""}, "The phone number is empty."),
        ({"text": " "}, "The message is empty."),
        ({"text": "Hi \udcff"}, "broken character"),
        ({"text": "Hi \x00"}, "broken character"),
        ({"sender": "+12025550199"}, "not one of your tracking numbers"),
        ({"routes": Routes(rules=(RouteRule(MAIN, "1"), RouteRule(OTHER, "2")))}, "no default"),
        ({"routes": Routes()}, "callrail-relay configure"),
    ],
)
def test_direct_text_that_makes_no_sense_has_a_reason(changes: dict[str, str], words: str) -> None:
    """In a sentence."""
    given_words = {"to": "2025550122", "text": "Hi", "routes": ROUTES, "sender": None, **changes}

    [reason] = map_direct(**given_words).reasons  # type: ignore[arg-type]  # the cases name real arguments
    assert words in explain(reason)
