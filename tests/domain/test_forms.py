"""URL-encoded forms: no text is cut at an "&" that the sender forgot to escape."""

from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.domain.message import Reason
from callrail_relay.domain.payload import Payload, read_request
from callrail_relay.sentences import explain

FORM = "application/x-www-form-urlencoded"
PHONE = "&seller_phone=%2B12025550142"
LINK = "See https://example.com/?a=1"


def posted(form: str, content_type: str = FORM) -> Payload:
    (entry,) = read_request(form.encode(), content_type=content_type)
    assert isinstance(entry, Payload)
    return entry


def codes(payload: Payload) -> list[str]:
    return [fault.code for fault in payload.faults]


@pytest.mark.parametrize("end", ["", PHONE, f"{PHONE}&team_id=42&sender_id=789"])
@pytest.mark.parametrize(
    "text",
    [
        "Offer from Smith & Sons for the lot",
        "Smith&Sons",
        "Tom & & Jerry",
        "50% off & more",
        "1+1 = 2 & 2+2 = 4",
        "Q&A; also R&D = fun",
        f"{LINK}&b=2",
        f"{LINK}&b=2&c for details & more",
        "example.com/x?id=7&ref=b is the house",
        "&c.",
        "“Smith & Sons”",
    ],
)
def test_a_loose_ampersand_is_part_of_the_text(text: str, end: str) -> None:
    """Case 07: where nothing behind the "&" can be a field of a form, or it goes on with a link's query."""
    payload = posted(f"message={text}{end}")

    assert (text, ()) == (payload.message, payload.faults)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hi there&source=if3", None),
        ("Hi&note=many plain words", None),
        ("Did you sell it?&b=2", None),
        ("AT&T=good & cheap", None),
        ("Tom &", None),
        ("Hi+there&debug", "Hi there&debug"),
        (f"{LINK}&seller_phone=%2B12025550142", LINK),
        (f"{LINK}&opportunity_id=5&c=2&opportunity_id=7", LINK),
        ("Tell me & team_id=5 soon", "Tell me "),
    ],
)
def test_what_may_be_cut_is_on_hold(text: str, shown: str | None) -> None:
    """A person sees all that may be the text, and decides."""
    payload = posted(f"message={text}{PHONE}")

    assert (shown or text, ["doubtful_text"]) == (payload.message, codes(payload))
    assert "didn't escape" in explain(payload.faults[0])


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("Beds:%203%20&%20baths%20=%202,%20offer%20is%2095k", "Beds: 3 & baths = 2, offer is 95k"),
        ("Tell%20me,%20R&D%20ok", "Tell me, R&D ok"),
        ("AT&T%20is%20fine", "AT&T is fine"),
        ("See%20https://example.com/?a=1&b=2%20ok", "See https://example.com/?a=1&b=2 ok"),
    ],
)
def test_what_encode_uri_made_of_a_text_is_whole(form: str, text: str) -> None:
    """It escapes no "&", and also none of the marks that every form's escape does."""
    payload = posted(f"message={form}{PHONE}")

    assert (text, ()) == (payload.message, payload.faults)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("Call%20Smith%20&seller%20financing=ok", "Call Smith &seller financing=ok"),
        ("Call+Smith+&seller+financing=ok", "Call Smith &seller financing=ok"),
        ("Beds%203%20&%20baths%20=%202", "Beds 3 & baths = 2"),
        ("Beds+3+&+baths=2", "Beds 3 & baths=2"),
        ("Smith%0A&%0ASons=2", "Smith\n&\nSons=2"),
        ("AT&T%20=%20good", "AT&T = good"),
        ("Tell%20me%20&%20team_id=5%20soon", "Tell me & team_id=5 soon"),
        ("Hi%20Dana,%20ok&b=2", "Hi Dana, ok&b=2"),
        ("See+https://example.com/?a=1&b=2+ok&c=3", "See https://example.com/?a=1&b=2 ok&c=3"),
        ("See%20https://example.com/?a=1&b=2%20ok&c=3", "See https://example.com/?a=1&b=2 ok&c=3"),
    ],
)
def test_an_escaped_text_that_may_be_cut_is_on_hold(form: str, text: str) -> None:
    """The white space around an "&" and a "=" is a person's, and no part of a field's name."""
    payload = posted(f"message={form}{PHONE}")

    assert (text, ["doubtful_text"], None) == (payload.message, codes(payload), payload.team_id)
    assert "didn't escape" in explain(payload.faults[0])


@pytest.mark.parametrize("space", ["+", "%20", "%0A", "%0D%0A"])
@pytest.mark.parametrize(
    "form",
    [
        "message=Hi{PHONE}&{space}team_id=42",
        "{space}team_id=42{PHONE}&{space}message=Hi",
        "seller_phone=2025550142{space}&{space}team_id=42&message=Hi",
        "{space}message=Hi&{space}team_id=42{PHONE}",
    ],
)
def test_white_space_before_the_name_of_a_field_is_no_part_of_it(form: str, space: str) -> None:
    """As a template has it that was written over several lines; the text goes out from the right number."""
    payload = posted(form.format(PHONE=PHONE, space=space))

    assert ("Hi", "42", ()) == (payload.message, payload.team_id, payload.faults)


@pytest.mark.parametrize(
    "name", ["source", "First+Name", "First%20Name", "Notes+", "answers[0]", "utm_source", "charset", "%5F"]
)
@pytest.mark.parametrize(
    "text", ["Hi", "Hi+there", "Hi,+Dana:+$5", "Hi%20there", "Q%26A", "Don%E2%80%99t+worry%2C+ok%3F"]
)
def test_other_fields_of_a_form_that_is_escaped_are_left_out(name: str, text: str) -> None:
    """A sender that escapes its values means a field by "&"; IF3's are the only ones that count."""
    payload = posted(f"message={text}&{name}=x&{name}={PHONE}&more=1")

    assert ((), "+12025550142") == (payload.faults, payload.seller_phone)
    assert "&" not in (payload.message or "").replace("Q&A", "")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("message=1%2B1&", "1+1"),
        ("message=call+me", "call me"),
        ("message=1+1 is 2", "1+1 is 2"),
        ("message=50%25+off", "50% off"),
        ("message=50%+off", "50% off"),
        ("message=50% off", "50% off"),
        ("message=a%3Db%26c%3Bd", "a=b&c;d"),
        ("message=a=b;c", "a=b;c"),
        ("message= Hi \r\n", " Hi "),
    ],
)
def test_plus_and_percent_are_what_the_sender_meant(form: str, message: str) -> None:
    """A value with a plain space in it was not escaped, so its "+" is a plus."""
    payload = posted(form)

    assert (message, ()) == (payload.message, payload.faults)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("See example.com/a%20b now", "See example.com/a b now"),
        ("1+1%20is%202", "1+1 is 2"),
        ("Don%u2019t%20worry", "Don%u2019t worry"),
    ],
)
def test_a_text_that_was_escaped_in_part_is_on_hold(form: str, text: str) -> None:
    """A %20 or a "+" in it may be an escape, or what a person wrote."""
    payload = posted(f"message={form}")

    assert (text, ["doubtful_text"]) == (payload.message, codes(payload))
    assert "mixed ways to escape" in explain(payload.faults[0])


def test_a_phone_is_read_as_a_person_writes_it() -> None:
    """Its plain spaces say nothing about the escapes in it."""
    assert posted("message=Hi&seller_phone=+1 (202) 555-0142").seller_phone == "+1 (202) 555-0142"
    assert posted("message=Hi&seller_phone=%2B1 202 5550142").seller_phone == "+1 202 5550142"
    assert posted("message=Hi&seller_phone=+1%20202%205550142").seller_phone == "+1 202 5550142"


def test_a_name_is_read_whole() -> None:
    """It is for display, so nothing waits for it."""
    payload = posted(f"seller=Smith & Sons&message=Hi{PHONE}")

    assert ("Smith & Sons", "Hi", ()) == (payload.seller, payload.message, payload.faults)


def test_a_message_given_twice_is_on_hold() -> None:
    """One of them would be lost."""
    assert ["bad_text"] == codes(posted(f"message=a&message=b{PHONE}"))
    assert "doubtful_text" in codes(posted(f"message=Tell me&message=Tell me{PHONE}"))


def test_a_multipart_form_says_what_to_send() -> None:
    """It is kept, and the reason is true."""
    (entry,) = read_request(b"--b\r\n\r\nmessage=Hi", content_type="multipart/form-data; boundary=b")

    assert isinstance(entry, Reason)
    assert "multipart form" in explain(entry)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(texts, st.dictionaries(st.text(min_size=1), texts, max_size=3))
def test_an_escaped_form_is_read_exactly(text: str, others: dict[str, str]) -> None:
    """Whatever is in it, and whatever fields are around it whose names are one word."""
    named = {"x" + "".join(name.split()): value for name, value in others.items()}
    form = urlencode({"a": "b", "message": text, **named})

    payload = posted(form)

    assert (text, ()) == (payload.message, payload.faults)


@given(st.lists(st.text("ab &=?/.+%2;#x\n", max_size=12), min_size=1, max_size=4))
def test_a_form_that_is_not_escaped_is_whole_or_on_hold(parts: list[str]) -> None:
    """No text with a plain space in it ever goes out shorter than it was written."""
    text = "Hi " + "&".join(parts)
    payload = posted(f"message={text}{PHONE}", FORM)

    if not payload.faults:
        assert text == payload.message


LEFT_BY_ENCODE_URI = ";,/?:@&=$-_.!~*'()#"


@given(st.lists(st.text("abé =?/.,+%2;#:_", max_size=12), min_size=2, max_size=4))
def test_an_ampersand_between_spaces_never_ends_a_text(parts: list[str]) -> None:
    """Whichever way a sender that leaves an "&" writes the spaces around it."""
    text = " & ".join(["Hi", *parts])

    for escaped in (quote(text, LEFT_BY_ENCODE_URI + "+"), quote_plus(text, LEFT_BY_ENCODE_URI)):
        payload = posted(f"message={escaped}{PHONE}")
        if not payload.faults:
            assert text == payload.message
