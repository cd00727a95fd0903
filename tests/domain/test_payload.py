"""Payloads: every variant IF3 may send, every envelope it may be saved in, and whatever else arrives."""

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callrail_relay.domain.message import Reason
from callrail_relay.domain.payload import (
    MOST_ENTRIES,
    MOST_PAYLOADS,
    Entry,
    Payload,
    is_storable,
    read_request,
)
from callrail_relay.domain.saved import read_saved
from callrail_relay.sentences import explain

SAMPLES = Path(__file__).parent.parent / "data" / "if3"
TEXT = "Hi Dana, are you still thinking of selling 12 Oak St?"
PAYLOAD = Payload(
    message=TEXT,
    seller_phone="+12025550122",
    seller_phone_non_international="2025550122",
    opportunity_id="123456",
    sender_id="789",
    seller_id="4567",
    seller="Dana Example",
    team_id="42",
)
JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"

ENVELOPE_NAMES = (
    "rawRequest cleanedRequest content headers method raw_body body webhookUrl querystring name Content-Type"
)
names = st.sampled_from([*(f.name for f in fields(Payload)), *ENVELOPE_NAMES.split()]) | st.text()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=12,
)


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


RAW = {"message": "Hi", "seller_phone": "2025550122"}


def body(**values: object) -> bytes:
    return json.dumps({"message": TEXT, "seller_phone": "2025550122", **values}).encode()


def one(entries: list[Entry]) -> Payload:
    (entry,) = entries
    assert isinstance(entry, Payload)
    return entry


def posted(data: bytes, content_type: str | None = JSON_TYPE) -> Payload:
    return one(read_request(data, content_type=content_type))


def codes(entry: Entry) -> list[str]:
    return [fault.code for fault in faults(entry)]


def faults(entry: Entry) -> Sequence[Reason]:
    return entry.faults if isinstance(entry, Payload) else (entry,)


def shapes(entries: list[Entry]) -> list[type]:
    return [type(entry) for entry in entries]


# --- the webhook, variant by variant ---------------------------------------------------------------------


def test_v1_json_object() -> None:
    """IF3's own fields, ids as text."""
    assert PAYLOAD == posted(sample("if3-payload.json"))


def test_v2_form() -> None:
    """The same fields as a form; a bare plus comes as a space and is trimmed."""
    assert PAYLOAD == posted(sample("if3-payload.form.txt"), FORM_TYPE)
    assert posted(b"message=Hi&seller_phone=+12025550122", FORM_TYPE).seller_phone == "12025550122"


@pytest.mark.parametrize(
    ("written", "read"),
    [("2025550122", "2025550122"), ("2025550122.0", "2025550122"), ("2.025550122e9", "2025550122")],
)
def test_v3_numbers_become_text(written: str, read: str) -> None:
    """A whole number is its digits, however JSON wrote it."""
    payload = posted(f'{{"message":"Hi","seller_phone":{written},"team_id":{written}}}'.encode())

    assert (read, read, ()) == (payload.seller_phone, payload.team_id, payload.faults)


def test_a_phone_that_a_spreadsheet_rounded_is_a_fault() -> None:
    """Its last digits are not zeros, but lost."""
    payload = posted(b'{"message":"Hi","seller_phone":2.02555E+09}')

    assert (None, ["bad_phone"]) == (payload.seller_phone, [fault.code for fault in payload.faults])
    assert "2.02555E+09" in explain(payload.faults[0])


@pytest.mark.parametrize(
    ("written", "team_id"),
    [
        ('"42.0"', "42"),
        ('" 42.00 "', "42"),
        ("42.0", "42"),
        ("4.2e1", "42"),
        ('"4.2E+01"', "42"),
        ('"1,042"', "1042"),
        ('"42,0"', "42"),
        ('"+42"', "42"),
        ('"#42"', "42"),
        ('"\'42"', "42"),
        ('"\\uff14\\uff12"', "42"),
        ('"0042"', "0042"),
        ('"-42"', "-42"),
        ('"team 42"', "team 42"),
        ('"#north"', "#north"),
        ('"1.2.3"', "1.2.3"),
        ('"5e3"', "5e3"),
        ('"team-42.0"', "team-42.0"),
    ],
)
def test_an_id_that_a_person_or_a_float_wrote_is_the_whole_number(written: str, team_id: str) -> None:
    """Any other text is a separate id, one with leading zeros too."""
    payload = posted(f'{{"message":"Hi","seller_phone":"2025550122","team_id":{written}}}'.encode())

    assert (team_id, ()) == (payload.team_id, payload.faults)


@pytest.mark.parametrize("written", ["1.2E+05", "42.5", "42,5", "1.042", "-42.5"])
def test_an_id_that_is_no_whole_number_chooses_no_route(written: str) -> None:
    """A wrong number to send from would be worse than a text that waits."""
    payload = posted(body(team_id=written))

    assert (None, ["bad_id"]) == (payload.team_id, [fault.code for fault in payload.faults])


@pytest.mark.parametrize("value", [None, "", "  "])
def test_v4_empty_phone_is_none(value: str | None) -> None:
    """Null, empty and missing are the same."""
    payload = posted(body(seller_phone=value, seller_phone_non_international="2025550122"))

    assert (None, "2025550122", ()) == (
        payload.seller_phone,
        payload.seller_phone_non_international,
        payload.faults,
    )


def test_v5_phone_is_left_as_written() -> None:
    """Normalising is the mapping's work."""
    assert (
        posted(body(seller_phone=" tel:+1 (202) 555-0122 x12 ")).seller_phone == "tel:+1 (202) 555-0122 x12"
    )


@pytest.mark.parametrize(("value", "read"), [("", ""), (" \n", " \n"), (None, None), (5, "5")])
def test_v6_message_is_left_as_written(value: object, read: str | None) -> None:
    """A blank message is blank, a missing one None, and a number its digits."""
    payload = posted(body(message=value))

    assert (read, ()) == (payload.message, payload.faults)


def test_v7_words_are_kept_exactly() -> None:
    """Emoji, quotes, line breaks and escapes come out as they were typed."""
    text = " “Hi”\r\nDana 🙏\té {not: json} \ufeff"

    assert text == posted(body(message=text)).message
    assert text == posted(json.dumps({"message": text}, ensure_ascii=False).encode()).message
    assert text == posted(urlencode({"message": text}).encode(), FORM_TYPE).message
    assert posted(b'{"message":"\\ud83d\\ude4f"}').message == "🙏"
    assert posted(b'{"message":"one\ntwo"}').message == "one\ntwo"


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b'{"message":"Hi \\ud83d","seller":"\\ud83d","seller_phone":"2025550122"}', JSON_TYPE),
        (b'{"message":"Hi \\u0000","seller":"\\u0000","seller_phone":"2025550122"}', JSON_TYPE),
        (b"message=Hi+%F0%9F&seller=%F0&seller_phone=2025550122", FORM_TYPE),
        (b"message=Hi%00&seller=%00&seller_phone=2025550122", FORM_TYPE),
    ],
)
def test_v7_words_that_no_database_keeps_are_a_fault(data: bytes, content_type: str) -> None:
    """Half an emoji or a NUL loses its own field, and no other."""
    payload = posted(data, content_type)

    assert (None, "\ufffd", "2025550122") == (payload.message, payload.seller, payload.seller_phone)
    assert ["bad_text"] == codes(payload)


def test_v8_ids_may_be_missing() -> None:
    """A contact without an opportunity is a payload like any other."""
    payload = posted(body(opportunity_id=None, seller_id=None))

    assert (None, None, ()) == (payload.opportunity_id, payload.seller_id, payload.faults)


def test_v9_each_request_is_read_alone() -> None:
    """Segments of one text are told apart by their words."""
    first, second = posted(body(message="one")), posted(body(message="two"))

    assert ("one", "two") == (first.message, second.message)


def test_v10_object_in_a_list() -> None:
    """Zapier can wrap a request in an array."""
    assert PAYLOAD == posted(b"[" + sample("if3-payload.json") + b"]")


def test_v11_list_of_objects() -> None:
    """Each is a separate payload, in order."""
    entries = read_request(
        b"[" + body(message="one") + b"," + body(message="two") + b"]", content_type=JSON_TYPE
    )

    assert ["one", "two"] == [entry.message for entry in entries if isinstance(entry, Payload)]


def test_v11_too_many_objects_are_bulk() -> None:
    """More than twenty are all held, none is lost."""
    allowed, bulk = (
        read_request(b"[" + b",".join([body()] * count) + b"]", content_type=JSON_TYPE)
        for count in (MOST_PAYLOADS, MOST_PAYLOADS + 1)
    )

    assert [[]] * MOST_PAYLOADS == [codes(entry) for entry in allowed]
    assert [["bulk"]] * (MOST_PAYLOADS + 1) == [codes(entry) for entry in bulk]


def test_v11_a_thousand_objects_are_one_entry() -> None:
    """The request is kept; a person couldn't decide on each."""
    for count, entries in ((MOST_ENTRIES, MOST_ENTRIES), (MOST_ENTRIES + 1, 1)):
        read = read_request(b"[" + b",".join([b'{"message":1}'] * count) + b"]", content_type=JSON_TYPE)
        assert entries == len(read)
        assert ["bulk"] == codes(read[-1])


def test_v11_other_elements_are_unreadable() -> None:
    """What is no payload is kept in its place, and does not count as a text."""
    data = b"[" + body() + b',7,null,{},[],"x",' + body() + b"]"

    entries = read_request(data, content_type=JSON_TYPE)

    assert [Payload, *[Reason] * 5, Payload] == shapes(entries)
    assert ["not_a_payload"] == codes(entries[1])


def test_v11_thousands_of_other_elements_are_summed_up() -> None:
    """A list of zeros gives one entry for all from the 21st on."""
    entries = read_request(b"[" + b"0," * 5000 + body() + b"]", content_type=JSON_TYPE)

    assert [*[Reason] * MOST_PAYLOADS, Payload, Reason] == shapes(entries)
    assert "4980 more" in explain(faults(entries[-1])[0])


@pytest.mark.parametrize(
    "name", ["if3-zapier-raw-request.json", "if3-zapier-cleaned-request.json", "if3-n8n.json"]
)
def test_v12_to_v15_envelopes_are_no_requests(name: str) -> None:
    """The webhook takes IF3's words only; an envelope is kept for a person to see."""
    (entry,) = read_request(sample(name), content_type=JSON_TYPE)

    assert isinstance(entry, Reason)


@pytest.mark.parametrize("data", [b"", b"{}", b" \r\n"])
def test_v16_fields_in_the_query(data: bytes) -> None:
    """An empty body with a text in the query is that text."""
    query = sample("if3-payload.form.txt").decode()

    assert [PAYLOAD] == read_request(data, content_type=None, query=query)


def test_v16_query_beside_a_body_is_ignored() -> None:
    """The body is what IF3 says."""
    assert [PAYLOAD] == read_request(sample("if3-payload.json"), content_type=None, query="message=Other")


@pytest.mark.parametrize("query", ["", "source=if3", "x", "<a=b>", "&" * 1001])
def test_v16_other_queries_leave_a_ping_a_ping(query: str) -> None:
    """A parameter of the sender's own is no text."""
    assert [] == read_request(b"", content_type=None, query=query)


def test_v16_query_of_too_many_fields_is_kept() -> None:
    """A text may be among them, so it is no ping."""
    query = "&".join(["message=Hi", "seller_phone=2025550122", *["a=b"] * 1000])

    [entry] = read_request(b"", content_type=None, query=query)
    assert [Reason] == shapes([entry])
    assert "more than 1000 fields" in explain(faults(entry)[0])


def test_v16_query_without_a_text_is_kept() -> None:
    """IF3's ids without words or phone are something to look at."""
    assert [Reason] == shapes(read_request(b"", content_type=None, query="team_id=42"))


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", FORM_TYPE, "application/json; charset=klingon"]
)
def test_v17_json_under_any_type(content_type: str | None) -> None:
    """The first character tells more than the type."""
    assert PAYLOAD == posted(sample("if3-payload.json"), content_type)


@pytest.mark.parametrize("content_type", [None, "", "text/plain", JSON_TYPE])
def test_v17_form_under_any_type(content_type: str | None) -> None:
    """And so it does for forms."""
    assert PAYLOAD == posted(sample("if3-payload.form.txt"), content_type)


def test_v17_form_that_begins_like_json() -> None:
    """What says it is a form and is no JSON is read as a form."""
    assert posted(b"{x=1&message=Hi", FORM_TYPE).message == "Hi"


def test_v18_other_names_and_extra_keys() -> None:
    """Case, doubled underscores and unknown keys do not matter."""
    payload = posted(b'{"Message":"Hi","SELLER__PHONE":"2025550122","extra":{"message":"no"},"Team_ID":42}')

    assert Payload(message="Hi", seller_phone="2025550122", team_id="42") == payload


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_v19_byte_order_mark(encoding: str) -> None:
    """A mark says how the bytes are to be read, whatever the type says."""
    data = sample("if3-payload.json").decode().encode(encoding)

    assert PAYLOAD == posted(data, "application/json; charset=iso-8859-1")


def test_v19_white_space_around() -> None:
    """Line ends behind a body are no part of it."""
    assert PAYLOAD == posted(b"\r\n" + sample("if3-payload.json") + b"\r\n")
    assert PAYLOAD == posted(sample("if3-payload.form.txt") + b"\r\n", FORM_TYPE)


@pytest.mark.parametrize("data", [b"", b"{}", b" { } \n", b"[]", b"\xef\xbb\xbf", b"\n"])
@pytest.mark.parametrize("content_type", [None, JSON_TYPE, FORM_TYPE])
def test_v20_ping(data: bytes, content_type: str | None) -> None:
    """Nothing in, nothing to do."""
    assert [] == read_request(data, content_type=content_type)


@pytest.mark.parametrize("data", [b"[{}]", b"[null]", b"=", b'"{}"'])
def test_something_that_holds_no_text_is_no_ping(data: bytes) -> None:
    """It is kept on hold, since the sender may have meant a text by it."""
    [entry] = read_request(data, content_type=None)

    assert isinstance(entry, Reason)
    assert PAYLOAD == read_request(data, content_type=None, query=sample("if3-payload.form.txt").decode())[0]


# --- what else can be in a request -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("application/json; charset=ISO-8859-1", "latin-1"),
        ('application/json;charset="windows-1252"', "cp1252"),
        ("application/json; Charset=UTF-16LE", "utf-16-le"),
        ("application/json; charset=us-ascii", "utf-8"),
    ],
)
def test_declared_character_set_is_honoured(content_type: str, encoding: str) -> None:
    """An é is an é however it came."""
    assert posted('{"message":"Café"}'.encode(encoding), content_type).message == "Café"
    assert posted("message=Café".encode(encoding), content_type).message == "Café"


def test_escapes_of_a_form_follow_its_character_set() -> None:
    """One byte per escape, in the character set of the form; wide ones escape as UTF-8."""
    assert posted(b"message=Caf%E9", FORM_TYPE + "; charset=windows-1252").message == "Café"
    assert posted("message=Caf%C3%A9".encode("utf-16-le"), FORM_TYPE + "; charset=utf-16").message == "Café"


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b'{"message":"Caf\xe9"}', JSON_TYPE),
        (b"message=Caf\xe9", FORM_TYPE),
        (b'{"message":"\x81"}', "application/json; charset=windows-1252"),
        (b"\xff\xfe{", JSON_TYPE),
        (b'{"message":"Hi"', JSON_TYPE),
        (b'{"message":"Hi"}{"message":"Ho"}', JSON_TYPE),
        (b'{"message":"Hi",}', JSON_TYPE),
        (b"[" * 100_000, JSON_TYPE),
        (b'{"a":' * 100_000, JSON_TYPE),
        (b"Hello there", "text/plain"),
        (b"null", JSON_TYPE),
        (b'"text"', JSON_TYPE),
        (b"&".join([b"message=Hi"] * 1001), FORM_TYPE),
        (b"<message>Hi</message>", "application/xml"),
        (b"<text>1+1=2&message=2</text>", None),
        (
            b'--b\r\nContent-Disposition: form-data; name="message"\r\n\r\nHi',
            "multipart/form-data; boundary=b",
        ),
    ],
)
def test_what_cannot_be_read_is_reported(data: bytes, content_type: str) -> None:
    """One entry, one fault, no exception."""
    (entry,) = read_request(data, content_type=content_type)

    assert isinstance(entry, Reason)
    assert ["unreadable"] == codes(entry)


def test_json_encoded_twice_is_unwrapped_once() -> None:
    """Case 30: a program took JSON for a text. What a person wrote is not JSON, whatever it looks like."""
    once = json.dumps({"message": json.dumps(RAW), "seller_phone": "2025550122"})

    assert json.dumps(RAW) == posted(json.dumps(once).encode()).message
    assert [HI, HI] == read_request(json.dumps(json.dumps([RAW, RAW])).encode(), content_type=None)
    (thrice,) = read_request(json.dumps(json.dumps(once)).encode(), content_type=JSON_TYPE)
    assert ["unreadable"] == codes(thrice)


@pytest.mark.parametrize(
    ("data", "place", "remedy"),
    [
        ("{“message”: 1}", "line 1, column 2", "curly quote “"),
        ('{"message":\n “Hi”}', "line 2, column 2", "curly quote “"),
        ('{"message": "Hi”, "team_id": 1}', "line 1, column 16", "curly quote ”"),
        ('{"message": "Hi”}', "line 1, column 16", "curly quote ”"),
        ("{'message': 1}", "line 1, column 2", "single quote '"),
        ('\n{"message": "Hi",}', "line 2, column 17", "remove the comma before }"),
        ('[{"message": "Hi"} ,\n]', "line 1, column 20", "remove the comma before ]"),
        ('{"message": "Hi"', "line 1, column 17", "ends too early"),
        ('{"message": "Hi', "line 1, column 13", "closing quote"),
        ('{"message": "say "Hi""}', "line 1, column 19", 'written as \\"'),
        ('{"message": "C:\\x"}', "line 1, column 16", "backslash"),
        ('{"message": None}', "line 1, column 13", "null"),
        ('{"message" "Hi"}', "line 1, column 12", "colon"),
        ("{message: 1}", "line 1, column 2", "field name"),
        ('{"message": "Hi"}\n{"message": "Ho"}', "line 2, column 1", "one JSON document"),
    ],
)
def test_a_mistake_in_json_is_shown_with_its_place_and_remedy(data: str, place: str, remedy: str) -> None:
    """What to change, and where."""
    (entry,) = read_request(data.encode(), content_type=JSON_TYPE)

    assert ["unreadable"] == codes(entry)
    assert place in explain(faults(entry)[0])
    assert remedy in explain(faults(entry)[0])


@pytest.mark.parametrize("data", [b'{"text":"Hi"}', b'{"team_id":42}', b"hello=there", b'[["Hi"]]', b"[7]"])
def test_what_is_no_text_from_if3_is_reported(data: bytes) -> None:
    """Neither message nor phone: not a request from IF3."""
    (entry,) = read_request(data, content_type=None)

    assert isinstance(entry, Reason)
    assert ["not_a_payload"] == codes(entry)


@pytest.mark.parametrize(
    "data",
    [
        json.dumps([json.dumps(RAW)]),
        json.dumps({"body": json.dumps(RAW)}),
        json.dumps({"data": RAW}),
        json.dumps({"data": [{"json": RAW}]}),
        urlencode({json.dumps(RAW): ""}),
    ],
)
def test_a_text_that_is_wrapped_is_said_to_be(data: str) -> None:
    """The reason is true, and says what the sender has to change."""
    (entry,) = read_request(data.encode(), content_type=None)

    assert (["not_a_payload"], "inside another") == (codes(entry), explain(faults(entry)[0])[17:31])


@pytest.mark.parametrize("value", ["[]", '["Hi"]', "{}", "true", "1.5", "NaN", "-Infinity", "1e400"])
def test_values_of_other_kinds_are_faults_of_their_field(value: str) -> None:
    """A message, a phone and an id that chooses the route must be text or whole numbers."""
    named = (
        '"message":{0},"seller_phone":{0},"seller_phone_non_international":{0},"team_id":{0},"sender_id":{0}'
    )
    payload = posted(("{" + named.format(value) + "}").encode())

    assert Payload(faults=payload.faults) == payload
    assert ["bad_text", "bad_phone", "bad_phone", "bad_id", "bad_id"] == codes(payload)


@pytest.mark.parametrize("value", ["[]", "{}", "true", "1.5", "NaN"])
def test_odd_ids_for_display_are_left_out(value: str) -> None:
    """Nothing depends on them."""
    payload = posted(
        f'{{"message":"Hi","seller_id":{value},"opportunity_id":{value},"seller":{value}}}'.encode()
    )

    assert Payload(message="Hi") == payload


def test_endless_numbers_are_digits() -> None:
    """No length of a number is a fault of the program; what is shown of it is short."""
    payload = posted(b'{"message":"Hi","seller_phone":' + b"2" * 5000 + b',"team_id":' + b"4" * 5000 + b"}")

    assert ["bad_phone"] == codes(payload)
    assert payload.team_id == "4" * 200


@pytest.mark.parametrize("value", ["2025550122\x00", "\ud800", "2" * 201])
def test_phone_that_cannot_be_one_is_a_fault(value: str) -> None:
    """It goes no further, not even shortened."""
    payload = posted(body(seller_phone=value))

    assert (None, ["bad_phone"]) == (payload.seller_phone, codes(payload))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b'{"message":"a","message":"b"}', ["bad_text"]),
        (b'{"message":"a","Message":["a"]}', ["bad_text"]),
        (b'{"message":"a","seller_phone":"1","seller__phone":"2"}', ["two_phones"]),
        (b'{"message":"a","team_id":1,"team_id":2}', ["bad_id"]),
        (b'{"message":"a","seller_id":1,"seller_id":2,"seller":"a","seller":"b"}', []),
        (b'{"message":"a","message":"a"}', []),
        (b'{"message":"a","message":null,"Message":""}', []),
        (b'{"message":"","team_id":1,"team_id":"1"}', []),
    ],
)
def test_field_given_twice_must_agree(data: bytes, fault: list[str]) -> None:
    """Two different values don't count; the same one twice, or one beside an empty one, does."""
    assert fault == codes(posted(data))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("I don&#39;t mind", "&#39;"),
        ("I don&#x27;t mind", "&#x27;"),
        ("Smith &amp; Sons", "&amp;"),
        ("Jos&eacute;, still selling?", "&eacute;"),
        ("Hi Dana,<br>still selling?", "<br>"),
        ("<p>Hi Dana</p>", "<p>"),
        ("<b>Hi</b> <a href='https://example.com'>here</a>", "</a>"),
    ],
)
def test_codes_for_web_pages_are_on_hold(text: str, code: str) -> None:
    """The person would get the code itself. What is in the text stays as it came."""
    [payload] = read_request(body(message=text), content_type=JSON_TYPE)

    assert isinstance(payload, Payload)
    assert text == payload.message
    assert (Reason("doubtful_text", {"problem": "web_code", "found": code}),) == payload.faults


@pytest.mark.parametrize(
    "text",
    [
        "AT&T; R&D; Q&A; S&P; P&L;",
        "https://example.com/?a=1&copy=2&reg=3&lt=4;",
        "I <3 it; a < b > c",
        "<p.s. call me>",
        "A & B; 2 &# 3; &",
    ],
)
def test_what_only_looks_like_a_code_is_sent(text: str) -> None:
    [payload] = read_request(body(message=text), content_type=JSON_TYPE)

    assert isinstance(payload, Payload)
    assert (text, ()) == (payload.message, payload.faults)


def test_form_field_given_twice_must_agree() -> None:
    """Forms repeat names as well."""
    assert ["bad_text"] == codes(posted(b"message=a&message=b", FORM_TYPE))


@pytest.mark.parametrize(
    ("seller", "name"),
    [
        ({"name": " Dana Example "}, "Dana Example"),
        ({"Full_Name": "Dana Example", "id": 1}, "Dana Example"),
        ({"first_name": "Dana", "last_name": "Example"}, "Dana Example"),
        ({"first_name": None, "last_name": "Example"}, "Example"),
        ({"name": ["Dana"]}, None),
        ({}, None),
        (["Dana"], None),
        (7, "7"),
        ("", None),
        ("D" * 300, "D" * 200),
    ],
)
def test_seller_may_be_the_entry_of_a_contact(seller: object, name: str | None) -> None:
    """The name is taken out of it, for display only."""
    payload = posted(body(seller=seller))

    assert (name, ()) == (payload.seller, payload.faults)


@given(st.binary(max_size=300), st.none() | st.text(max_size=40), st.text(max_size=40))
@example(b"\xff\xfe\x00\xd8", None, "")
@example(b'{"message":"\\ud800"}', "application/json; charset=\x00", "message=%FF")
def test_no_bytes_break_it(data: bytes, content_type: str | None, query: str) -> None:
    """Any bytes, any type, any query: entries come out, and a database can keep them."""
    for entry in [*read_request(data, content_type=content_type, query=query), *read_saved(data)]:
        assert_storable(entry)


@given(json_values, st.booleans())
def test_no_json_breaks_it(value: object, wrapped: bool) -> None:  # noqa: FBT001  # hypothesis draws it
    """Any values under any of the names that mean something."""
    data = json.dumps([value] if wrapped else value).encode()

    for entry in [*read_request(data, content_type=None), *read_saved(data)]:
        assert_storable(entry)


def assert_storable(entry: Entry) -> None:
    texts = [fault.code + explain(fault) for fault in faults(entry)]
    if isinstance(entry, Payload):
        texts += [value for f in fields(entry) if isinstance(value := getattr(entry, f.name), str)]
    assert all(is_storable(text) for text in texts)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_writing_and_reading_is_identity(text: str) -> None:
    """A person's words survive JSON and forms."""
    assert text == posted(json.dumps({"message": text}).encode()).message
    assert text == posted(urlencode({"message": text}).encode(), FORM_TYPE).message


# --- saved payloads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "if3-payload.json",
        "if3-payload.form.txt",
        "if3-zapier-raw-request.json",
        "if3-zapier-cleaned-request.json",
        "if3-n8n.json",
    ],
)
@pytest.mark.parametrize("wrap", ["{0}", " \n{0}\n\n"])
def test_saved_examples(name: str, wrap: str) -> None:
    """Whatever kept it, the same text comes out."""
    text = sample(name).decode()

    assert [PAYLOAD] == read_saved(wrap.format(text).encode())
    assert [PAYLOAD] == read_saved(text.replace("\n", "\r\n").encode("utf-16"))


def zapier(content: object, **more: object) -> dict[str, object]:
    return {
        "method": "POST",
        "querystring": "",
        "headers": {"Content-Type": JSON_TYPE},
        "content": content,
        **more,
    }


FORM = "message=Hi&seller_phone=2025550122"
HI = Payload(message="Hi", seller_phone="2025550122")


@pytest.mark.parametrize(
    "document",
    [
        RAW,
        [RAW],
        zapier(json.dumps(RAW)),
        zapier(json.dumps([RAW])),
        zapier(FORM, headers={"content-type": FORM_TYPE}),
        zapier(FORM),
        zapier(RAW),
        zapier([RAW]),
        zapier("", querystring=FORM),
        zapier({}, querystring=RAW),
        zapier(None, querystring=RAW, headers=None),
        {"headers": [], "content": RAW},
        {"rawRequest": zapier(json.dumps(RAW))},
        {"cleanedRequest": zapier(RAW)},
        {"rawRequest": zapier(json.dumps(RAW)), "cleanedRequest": zapier({"message": "Other"})},
        {"rawRequest": None, "cleanedRequest": zapier(RAW)},
        {"rawRequest": zapier(""), "cleanedRequest": zapier(RAW)},
        {"rawRequest": zapier("{"), "cleanedRequest": zapier(RAW)},
        {"raw_body": json.dumps(RAW), "headers": {}},
        {"raw_body": FORM, "headers": {"Content-Type": FORM_TYPE}},
        {"raw_body": FORM},
        {"body": RAW, "headers": {}},
        {"body": RAW, "webhookUrl": "https://n8n.example/webhook/if3"},
        {"body": [RAW], "headers": {}},
        [{"body": [RAW], "headers": {}}],
        {"body": json.dumps(RAW), "headers": {}},
        {"body": {}, "query": RAW, "headers": {}},
        {"body": "", "query": FORM, "headers": {}},
        [{"json": {"body": RAW, "headers": {}, "query": {}}}],
        [{"json": RAW, "pairedItem": {"item": 0}}],
        {"payload": RAW, "req": {"headers": {}}, "_msgid": "1"},
        {"payload": FORM, "req": {"headers": {}}},
        {"payload": {}, "req": {"headers": {}, "body": {}, "query": RAW}},
        [zapier(json.dumps(RAW), headers={"content-type": [JSON_TYPE]}, query=None)],
        [zapier("", query=RAW, headers={"content-type": []})],
        {"data": [zapier(FORM, headers={"content-type": [FORM_TYPE]})], "total": 1, "per_page": 50},
        json.dumps(RAW),
    ],
)
def test_saved_envelopes(document: object) -> None:
    """
    Every envelope of Zapier, n8n, Node-RED and webhook.site, alone and in lists, pretty-printed and not.
    """
    assert [HI] == read_saved(json.dumps(document).encode())
    assert [HI, HI] == read_saved(f"{json.dumps(document)}\n{json.dumps(document, indent=2)}\n".encode())


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ([[[[RAW]]]], "too_deep"),
        ([{"rawRequest": zapier([RAW])}], "too_deep"),
        ({"rawRequest": zapier({"data": RAW})}, "not_a_payload"),
        ({"data": RAW}, "not_a_payload"),
        ({"content": RAW}, "not_a_payload"),
        ({"body": RAW}, "not_a_payload"),
        ({"body": {}, "headers": {}}, "not_a_payload"),
        ({"rawRequest": None}, "not_a_payload"),
        ({"rawRequest": zapier("")}, "not_a_payload"),
        ({"raw_body": "{", "headers": {}}, "unreadable"),
        ({"raw_body": "Hello", "headers": {}}, "unreadable"),
        ({"raw_body": 7}, "unreadable"),
        ({"raw_body": None}, "not_a_payload"),
        ({}, "not_a_payload"),
        ([7], "not_a_payload"),
    ],
)
def test_saved_things_that_hold_no_text_are_reported(document: object, code: str) -> None:
    """Nothing is searched beyond the known envelopes."""
    (entry,) = read_saved(json.dumps(document).encode())

    assert isinstance(entry, Reason)
    assert [code] == codes(entry)


def test_saved_object_with_a_message_is_a_payload_first() -> None:
    """Its other keys do not make an envelope of it."""
    (entry,) = read_saved(json.dumps({**RAW, "body": {"message": "Other"}, "headers": {}}).encode())

    assert HI == entry


def test_saved_list_is_not_bulk() -> None:
    """A replay asks about its texts itself."""
    assert [HI] * 30 == read_saved(json.dumps([RAW] * 30).encode())


@pytest.mark.parametrize("document", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_empty_file_holds_nothing(document: bytes) -> None:
    """Nothing to report."""
    assert [] == read_saved(document)


@pytest.mark.parametrize("document", [b"[]", b"\n[]"])
def test_empty_list_holds_nothing(document: bytes) -> None:
    """As an empty file does."""
    assert [] == read_saved(document)


def test_saved_lines_are_read_one_by_one() -> None:
    """
    JSON and forms in one file; lines that are neither are named by their numbers, rows of them once, and JSON
    with a mistake by its place.
    """
    line = json.dumps(RAW)
    document = f"{line}\noops\n\n{{broken\n{line}\nnull\n{FORM}\n{line} trailing\na=b"

    entries = read_saved(document.encode())

    assert [Payload, *[Reason] * 2, Payload, Reason, Payload, Reason] == shapes(entries)
    details = " ".join(explain(fault) for entry in entries for fault in faults(entry))
    assert ["Line 2", "line 4", "Line 6", "Lines 8 to 9"] == re.findall(r"[Ll]ines? \d+(?: to \d+)?", details)


@pytest.mark.parametrize("head", ["message,seller_phone", '"message","seller_phone"'])
def test_a_file_of_plain_csv_is_neither_json_nor_a_form(head: str) -> None:
    """Also if a row begins with a quote, as a string of JSON does."""
    (entry,) = read_saved(f'{head}\n"Hi, ""you""",+12025550122\n"two\nlines",+12025550123\n'.encode())

    assert "Lines 1 to 4 are neither" in explain(faults(entry)[0])


def test_saved_document_with_a_mistake_is_not_read_in_part() -> None:
    """Its last text alone would overtake the others; the next document is read again."""
    document = json.dumps([RAW, RAW], indent=2)[:-2] + ",\n]\n" + json.dumps(RAW)

    broken, whole = read_saved(document.encode())

    assert (["unreadable"], HI) == (codes(broken), whole)
    assert "line 9, column 4: remove the comma before ]" in explain(faults(broken)[0])


@pytest.mark.parametrize("wrap", ["[\n{},\n]", "[{},\n]", '{{"results": [\n{},\n]}}', "[\n\n{}\n\n,]"])
def test_list_with_a_text_on_each_line_is_not_read_in_part(wrap: str) -> None:
    """As a person writes it; the mistake is before its end. A log line in brackets begins no list."""
    texts = ",\n".join([json.dumps(RAW)] * 3)
    broken, whole = read_saved(f"{wrap.format(texts)}\n{json.dumps(RAW)}".encode())
    assert (["unreadable"], HI) == (codes(broken), whole)

    indented = '{ "results": [\n    {0},\n    {0},\n  ]\n}\n{0}'.replace("{0}", json.dumps(RAW))
    assert [Reason, Payload] == shapes(read_saved(indented.encode()))

    log = "".join(f"[2026-11-23 10:00] took\n{json.dumps(RAW)}\n" for _ in range(2))
    assert [Reason, Payload] * 2 == shapes(read_saved(log.encode()))


@pytest.mark.parametrize("document", ["{0},\n{0},\n{0}", "[{0},\n{0},\n{0}\n];", "{0};\n{0}; \n\n{0},"])
def test_saved_texts_may_have_separators_behind_them(document: str) -> None:
    """The last one, which has none, would overtake the others."""
    assert [HI] * 3 == read_saved(document.format(json.dumps(RAW)).encode())


def test_saved_document_that_breaks_off_is_reported_once() -> None:
    """A pretty-printed export cut in the middle is one thing that cannot be read."""
    document = json.dumps(zapier({"team_id": 42, "message": "Hi"}), indent=2)[:-10]

    assert [Reason] == shapes(read_saved(document.encode()))


def test_saved_bytes_that_are_no_text_are_reported() -> None:
    """An image, say."""
    for document in (b"\x89PNG\xff", FORM.replace("Hi", "José").encode("cp1252")):
        (entry,) = read_saved(document)
        assert "Save it as UTF-8" in explain(faults(entry)[0])
