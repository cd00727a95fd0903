import json
from collections.abc import Iterable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.callrail import answers, wire
from callrail_relay.domain.mapper import send_parameters
from callrail_relay.domain.outcome import Outcome, RateLimited, Refusal, Rejected, Sent, Unknown, Usage
from callrail_relay.domain.routing import NamedEntry, NumberEntry
from tests.support.clock import START
from tests.support.factories import RECIPIENT, make_route

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
TRACKER_FIELDS = (
    "id",
    "name",
    "type",
    "status",
    "sms_supported",
    "sms_enabled",
    "company",
    "tracking_numbers",
)


def read(status: int, body: object = None, *, content: str = "Hello", **headers: str) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answers.read_send_answer(status, named, raw, recipient=RECIPIENT, content=content)


def conversation(**changes: object) -> dict[str, object]:
    return {"id": "c0nv1", "customer_phone_number": RECIPIENT} | changes


def tracker(**changes: object) -> dict[str, object]:
    return {
        "id": "TRK1",
        "name": "Main line",
        "type": "source",
        "status": "active",
        "sms_supported": True,
        "sms_enabled": True,
        "company": {"id": "COM1", "name": "Example Co"},
        "tracking_numbers": ["+12025550133"],
    } | changes


def numbers(*trackers: object) -> list[NumberEntry]:
    return wire.read_numbers(listed("trackers", trackers))


def listed(name: str, entries: Iterable[object]) -> list[dict[str, Any]]:
    """The entries of a list, as they are read from an answer."""
    found, _ = wire.read_page(json.dumps({name: [*entries]}).encode(), name, 1)
    return found


def test_request_is_in_callrails_words() -> None:
    """The key is in inner quotes, and the parameters have CallRail's names."""
    route = make_route()

    assert 'Token token="k3y"' == wire.authorization("k3y")["Authorization"]
    assert f"/v3/a/{route.account_id}/text-messages.json" == wire.send_path(route.account_id)
    assert {
        "company_id": route.company_id,
        "tracking_number": route.tracking_number,
        "customer_phone_number": RECIPIENT,
        "content": "Hello",
    } == send_parameters(route, RECIPIENT, "Hello")


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("phone", [RECIPIENT, "2025550122", "202-555-0122", 2025550122])
def test_conversation_with_that_person_is_sent(status: int, phone: object) -> None:
    """
    The id and the person's number, however written, make a success; the thread is kept where there is one.
    """
    messages = [{"sms_thread": None}, {"sms_thread": {"id": 7}}, {"sms_thread": {"id": "SMT1"}}]
    body = conversation(customer_phone_number=phone, recent_messages=messages)

    assert Sent(status, "c0nv1", "SMT1") == read(status, body)


@pytest.mark.parametrize("messages", [None, [], "x", [1], [{"sms_thread": {"id": None}}]])
def test_success_needs_no_thread(messages: object) -> None:
    """What is not needed to know that the text was taken may be missing."""
    assert Sent(200, "c0nv1", None) == read(200, conversation(recent_messages=messages))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b'{"id": "c0nv1"',
        b"\xff\xfe",
        [],
        None,
        conversation(id=None),
        conversation(id=""),
        conversation(id=7),
        {"id": "c0nv1"},
        conversation(customer_phone_number="+12025550199"),
        conversation(customer_phone_number=None),
        b"[" * 100_000,
    ],
)
def test_success_that_cannot_be_understood_is_unknown(body: object) -> None:
    """A 2xx alone proves nothing."""
    outcome = read(200, body)

    assert isinstance(outcome, Unknown)
    assert 200 == outcome.http_status


@pytest.mark.parametrize(
    "status", [202, 204, 206, 301, 302, 303, 307, 308, 304, 402, 408, 409, 425, 500, 503, 599]
)
def test_every_other_status_is_unknown(status: int) -> None:
    """What does not say whether the text was taken is looked up, never repeated."""
    assert Unknown(
        f"CallRail answered {status}, which doesn't say whether it accepted the text.", status
    ) == read(status, {"error": "x"})


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (400, Refusal.CONTENT),
        (422, Refusal.CONTENT),
        (401, Refusal.AUTHORIZATION),
        (403, Refusal.AUTHORIZATION),
        (404, Refusal.OTHER),
        (405, Refusal.OTHER),
        (406, Refusal.OTHER),
    ],
)
def test_refusals_go_by_status(status: int, refusal: Refusal) -> None:
    """The status decides what was refused; CallRail's own words are kept."""
    assert Rejected(status, "Color is not included in the list", refusal) == read(
        status, {"error": "Color is not included in the list"}
    )


@pytest.mark.parametrize("status", [401, 403])
def test_words_do_not_change_what_the_status_says(status: int) -> None:
    """An authorization fault stays one whatever it talks about."""
    outcome = read(status, {"error": "the recipient has opted out"})

    assert isinstance(outcome, Rejected)
    assert Refusal.AUTHORIZATION == outcome.refusal


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<html><title>Attention Required! | Cloudflare</title></html>", "application/json; charset=utf-8"),
        (b"\xef\xbb\xbf \n<!DOCTYPE html><p>Attention Required! | Cloudflare", "text/plain"),
        (b"Attention Required! | Cloudflare", "Text/HTML; charset=utf-8"),
    ],
)
def test_a_page_with_403_is_a_firewalls(body: bytes, content_type: str) -> None:
    """It comes from before CallRail, and says nothing of the key; its title is what a person can act on."""
    expected = Rejected(403, "Attention Required! | Cloudflare", Refusal.FIREWALL)

    assert expected == read(403, body, content_type=content_type)


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (403, b'{"error":"You do not have permission"}', "text/html"),
        (403, b"You do not have permission", "text/plain"),
        (403, b"", ""),
        (401, b"<html>Access denied</html>", "text/html"),
    ],
)
def test_any_other_403_is_the_keys(status: int, body: bytes, content_type: str) -> None:
    """JSON is CallRail's own answer, whatever its label; and 401 is about the key always."""
    outcome = read(status, body, content_type=content_type)

    assert isinstance(outcome, Rejected)
    assert Refusal.AUTHORIZATION == outcome.refusal


@pytest.mark.parametrize(
    "body",
    [
        {"errors": {"customer_phone_number": ["has opted_out"]}},
        {"detail": "recipient has opted out"},
        {"title": "Recipient opted-out"},
        {"error_description": "The customer optedOut."},
        {"error": "Bad request", "meta": {"cause": [{"text": "person has opted out of texts"}]}},
        {"errors": [{"code": "opt_out"}]},
        {"code": "RECIPIENT_OPT_OUT"},
        {"opted_out": True, "error": "Not sent"},
        {"error": "Customer is on the opt-out list"},
        {"message": "Attempt to send to unsubscribed recipient"},
        {"error": "recipient is on the do not contact list"},
        {"code": 21610, "status": 400},
        {"code": "21610"},
        {"error": "Twilio error 21610"},
        {"more_info": "https://www.twilio.com/docs/errors/21610"},
        {"message": "The message From/To pair violates a blacklist rule."},
        {"error": "The customer replied 'STOP' to this number"},
        {"error": "Recipient revoked their consent"},
        {"error": "The recipient no longer wishes to receive messages"},
        {"error": "This contact is on the suppression list"},
        ["Recipient has opted out"],
        "Recipient has opted out",
        b"The recipient has opted out of texts",
        b"<html><body><h1>Error</h1><p>recipient has opted out</p></body></html>",
        {"error": "x" * 400 + " recipient has opted out"},
    ],
)
@pytest.mark.parametrize("status", [400, 404, 422])
def test_an_opt_out_is_understood_in_any_words_under_any_key(status: int, body: object) -> None:
    """CallRail's, and Twilio's behind it."""
    outcome = read(status, body)

    assert isinstance(outcome, Rejected)
    assert Refusal.OPTED_OUT == outcome.refusal


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ({"error": "content must include opt-out instructions"}, "Hello"),
        ({"errors": {"content": ["is missing opt out"]}}, "Hello"),
        ({"error": "The recipient has not opted out"}, "Hello"),
        ({"error": "The customer hasn't opted out, but is a landline"}, "Hello"),
        ({"error": "Recipient has not opted in"}, "Hello"),
        ({"error": "Recipient opted out of MMS media"}, "Hello"),
        ({"error": "Content must contain: Reply STOP to unsubscribe"}, "Hello"),
        ({"opted_out": False, "error": "Invalid content"}, "Hello"),
        ({"code": 21611}, "Hello"),
        (
            {"error": "is invalid", "params": {"content": "You opted out of our offer"}},
            "You opted out of our offer",
        ),
        (
            {"errors": {"content": ["'I heard you opted out, is th...' is spam"]}},
            "I heard you opted out, is that so?",
        ),
        ({"content": "Opted out?", "error": "is invalid"}, "Opted out?"),
        ({"error": "Spam: 'Code 21610 opens the lockbox'"}, "Code 21610 opens the lockbox"),
        ({"error": "Unverified number 21610 Oak St"}, "Hello"),
    ],
)
def test_what_only_mentions_an_opt_out_is_none(body: object, content: str) -> None:
    """What a text said, or wording that it lacks, opts no one out."""
    outcome = read(400, body, content=content)

    assert isinstance(outcome, Rejected)
    assert outcome.refusal in (Refusal.CONTENT, Refusal.OTHER)


def test_a_short_text_hides_no_opt_out() -> None:
    """Its words are in CallRail's by chance."""
    outcome = read(400, {"error": "Recipient has opted out"}, content="Out")

    assert isinstance(outcome, Rejected)
    assert Refusal.OPTED_OUT == outcome.refusal


def test_a_refusal_is_an_opt_out_though_the_text_speaks_of_one() -> None:
    """CallRail's own words are beside the quoted ones."""
    body = {"error": "Recipient has opted out", "params": {"content": "Sorry that you opted out"}}
    outcome = read(400, body, content="Sorry that you opted out")

    assert isinstance(outcome, Rejected)
    assert Refusal.OPTED_OUT == outcome.refusal


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("The recipient has opted out of texts", Refusal.OPTED_OUT),
        ("Recipient is OPTED-OUT", Refusal.OPTED_OUT),
        ("This number unsubscribed", Refusal.OPTED_OUT),
        ("The customer's phone number is a landline, not a mobile number", Refusal.OTHER),
        ("The customer's phone number is a blocked number", Refusal.OTHER),
        ("On the do not contact list", Refusal.OPTED_OUT),
        ("Customer phone number is invalid", Refusal.OTHER),
        ("content is too long", Refusal.CONTENT),
    ],
)
def test_words_tell_a_person_from_a_text(words: str, refusal: Refusal) -> None:
    """
    Of a 400 the words say whether the person cannot be texted, does not want it, or the text is at fault.
    """
    outcome = read(400, {"error": words})

    assert isinstance(outcome, Rejected)
    assert refusal == outcome.refusal


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "Not found"}, "Not found"),
        ({"errors": "No"}, "No"),
        ({"errors": ["One", "Two"]}, "One; Two"),
        ({"errors": {"content": ["can't be blank", "is bad"]}}, "content can't be blank; content is bad"),
        ({"message": "Sorry"}, "Sorry"),
        ({"error": "A", "message": "B"}, "A; B"),
        ({"error": 7}, "7"),
        ({"error": True}, "true"),
        ({"error": True, "message": "It is bad"}, "It is bad"),
        ({"detail": "recipient has opted out"}, "recipient has opted out"),
        ({"title": "Bad request", "detail": "No", "status": 400}, "Bad request; No"),
        ({"error": "invalid_request", "error_description": "It is bad"}, "invalid_request; It is bad"),
        ({"error": "No", "message": "No"}, "No"),
        ({"fault": {"code": "E7", "text": "Spam"}}, "fault code E7; fault text Spam"),
        ({"errors": [{"title": "Spam", "detail": "A link"}]}, "Spam; A link"),
        ({}, "CallRail gave no reason."),
        (["x"], "x"),
        (b"HTTP Token: Access denied.\n", "HTTP Token: Access denied."),
        (b"<h1>Oops</h1>", "Oops"),
        (b"<html><title> Blocked &amp; gone\n</title><style>p {}</style><p>x</p>", "Blocked & gone"),
        (b"<html><style>p {}</style><script>x</script><p>Access denied</p>", "Access denied"),
        (b"caf\xe9", "caf\ufffd"),
        (b"", "CallRail gave no reason."),
        (b" \n ", "CallRail gave no reason."),
        ({"error": "No texts to +12025550122."}, "No texts to +1••••••••22."),
        ({"error": "x" * 1000}, "x" * 300),
        (b"y" * 100_000, "y" * 300),
    ],
)
def test_words_of_every_known_shape_are_found(body: object, words: str) -> None:
    """One line, cut to a readable length, with phone numbers masked."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    assert words == answers.read_words(raw)


def test_words_nested_without_end_do_no_harm() -> None:
    """However deep a body is, reading it ends in words."""
    for depth in (*range(1, 1000, 50), 5_000, 20_000, 200_000):
        body = b'{"error":' + b"[" * depth + b'"x"' + b"]" * depth + b"}"

        assert answers.read_words(body)


@given(JSON)
def test_words_are_found_in_any_json(value: object) -> None:
    """No shape of an error body is an error here."""
    assert 0 < len(answers.read_words(json.dumps({"errors": value}).encode())) <= 330


@given(
    st.binary(), st.integers(100, 599), st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text())
)
def test_every_answer_is_an_outcome(body: bytes, status: int, headers: dict[str, str]) -> None:
    """Nothing that can come back raises."""
    assert answers.read_send_answer(status, headers, body, recipient=RECIPIENT, content="Hello").detail


def test_rate_limit_keeps_its_words_and_its_wait() -> None:
    """A 429 was refused, and says how long to wait where it is sane."""
    assert RateLimited(429, "Slow down", 30.0) == read(429, {"error": "Slow down"}, retry_after="30")
    assert RateLimited(429, "Slow down", None) == read(429, {"error": "Slow down"})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1", 1.0),
        ("3600", 3600.0),
        (" 60 ", 60.0),
        ("0", None),
        ("3601", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
        ("\u00b2", None),
    ],
)
def test_insane_waits_are_no_waits(value: str, seconds: float | None) -> None:
    """Nothing below a second or beyond an hour is believed."""
    assert seconds == answers.read_retry_after({"retry-after": value})


def test_wait_until_a_date_is_measured_on_the_servers_clock() -> None:
    """A ``Retry-After`` that is a date is compared with the answer's own date, and needs one."""
    now, then = (
        format_datetime(START, usegmt=True),
        format_datetime(START + timedelta(minutes=2), usegmt=True),
    )

    assert 120.0 == answers.read_retry_after({"retry-after": then, "date": now})
    assert answers.read_retry_after({"retry-after": then}) is None
    assert answers.read_retry_after({"retry-after": now, "date": then}) is None
    assert answers.read_retry_after({"retry-after": then, "date": "Mon, 02 Mar 2026 15:00:00"}) is None


def test_usage_is_read_from_the_headers() -> None:
    """CallRail's own limits and counts come with the answer to a send, whatever it is."""
    headers = {
        "x_rate_limit_hourly_allowed": "150",
        "x_rate_limit_hourly_used": "1",
        "x_rate_limit_daily_allowed": "1000",
        "x_rate_limit_daily_used": "0",
    }
    usage = Usage(hour_allowed=150, hour_used=1, day_allowed=1000, day_used=0)

    for status, body in ((200, conversation()), (400, {}), (403, {}), (404, {}), (429, {})):
        outcome = read(status, body, **headers)
        assert not isinstance(outcome, Unknown)
        assert usage == getattr(outcome, "usage", None)


@pytest.mark.parametrize("value", ["", "-1", "1.5", "many", "9999999999", "\u0663", " 5"])
def test_insane_counts_are_passed_over(value: str) -> None:
    """A header that is no plain number says nothing."""
    assert Usage() == answers.read_usage(
        {"x-rate-limit-hourly-used": value, "x-rate-limit-daily-allowed": value}
    )


def test_nobody_allows_nothing() -> None:
    """A limit of 0 is not believed: it would stop every text for good."""
    headers = {"x-rate-limit-hourly-allowed": "0", "x-rate-limit-hourly-used": "0"}

    assert Usage(hour_used=0) == answers.read_usage(headers)


def test_lists_are_read() -> None:
    """Accounts and companies by what the docs name; what has no id is passed over."""
    accounts = [
        {"id": "ACC1", "name": "A", "numeric_id": 123456789},
        {"id": "ACC2", "status": "trial"},
        {"name": "x"},
        7,
    ]
    companies = [
        {"id": "COM1", "name": "C", "status": "active", "time_zone": "America/Chicago"},
        {"id": "COM2", "name": "D", "status": "disabled"},
        {"id": "COM3"},
    ]

    assert [NamedEntry("ACC1", "A", "123456789"), NamedEntry("ACC2", "ACC2")] == wire.read_named(
        listed("accounts", accounts)
    )
    assert [NamedEntry("COM1", "C"), NamedEntry("COM3", "COM3")] == (
        wire.read_companies(listed("companies", companies))
    )


def test_numbers_are_those_that_can_text() -> None:
    """Only active trackers with texting supported and on, one entry for each number."""
    pool = tracker(id="TRK2", type="session", tracking_numbers=["+12025550134", "+12025550135"])
    useless = [
        tracker(status="disabled"),
        tracker(sms_supported=False),
        tracker(sms_enabled=False),
        tracker(sms_enabled=None),
        tracker(tracking_numbers=None),
        tracker(tracking_numbers=5),
        tracker(id=None),
    ]

    assert [
        NumberEntry("+12025550133", "Main line", "COM1", pooled=False),
        NumberEntry("+12025550134", "Main line", "COM1", pooled=True),
        NumberEntry("+12025550135", "Main line", "COM1", pooled=True),
    ] == numbers(tracker(), pool, *useless)


@pytest.mark.parametrize("company", [None, "COM1", {}, {"id": None}, []])
def test_number_of_an_unnamed_company_is_a_number(company: object) -> None:
    """A tracker may omit its company."""
    assert [""] == [entry.company_id for entry in numbers(tracker(company=company))]


@given(st.dictionaries(st.sampled_from(TRACKER_FIELDS), JSON))
def test_no_tracker_breaks_the_list(fields: dict[str, object]) -> None:
    """Whatever a tracker looks like, the others are read."""
    strange = {"sms_supported": True, "sms_enabled": True} | fields

    assert "+12025550133" in [entry.number for entry in numbers(strange, tracker())]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"trackers": {}}', b"<html>", b"null"])
def test_what_is_no_list_is_a_fault(body: bytes) -> None:
    """A page of something else is not an empty list."""
    with pytest.raises(ValueError, match="no list of trackers"):
        wire.read_page(body, "trackers", 1)


def page(count: int, **figures: object) -> bytes:
    return json.dumps({"messages": [{}] * count, **figures}).encode()


@pytest.mark.parametrize(
    ("body", "number", "last"),
    [
        (page(100, total_pages=2, per_page=100), 1, False),
        (page(100, total_pages=2, per_page=100), 2, True),
        (page(0, total_pages=0), 1, True),
        (page(100, per_page=100), 1, False),
        (page(99, per_page=100), 1, True),
        (page(0, per_page=100), 2, True),
        (page(7), 1, False),
        (page(0), 2, True),
        (page(7, total_pages="2"), 1, False),
    ],
)
def test_last_page_is_told_by_what_there_is(body: bytes, number: int, *, last: bool) -> None:
    """By the number of pages, else by a page that is not full, else by an empty one."""
    _, is_last = wire.read_page(body, "messages", number)

    assert last == is_last


def test_conversations_are_asked_for_by_company_and_day() -> None:
    """The beginning is always given, and a plus sign is escaped."""
    asked = {"company_id": "COM1", "start_date": START.date()}
    path = wire.page_path("conversations", 3, "ACC1", **asked, search=RECIPIENT)

    assert path == (
        "/v3/a/ACC1/text-messages.json?company_id=COM1&start_date=2026-03-02&search=%2B12025550122"
        "&per_page=250&page=3"
    )
    assert "search" not in wire.page_path("conversations", 3, "ACC1", **asked, search=None)
    path = wire.page_path("messages", 1, "ACC1", "a/b?")
    assert "/v3/a/ACC1/text-messages/a%2Fb%3F.json?per_page=250&page=1" == path


def test_conversations_are_those_with_that_person_on_that_number() -> None:
    """
    Company, person and number all fit, each in any spelling; the number may be the first or the present one.
    """
    route = make_route()
    fits: dict[str, object] = {
        "id": "c0nv1",
        "company_id": route.company_id,
        "customer_phone_number": "202-555-0122",
        "current_tracking_number": route.tracking_number,
        "initial_tracking_number": "+12025550177",
    }
    moved = fits | {
        "id": "c0nv2",
        "current_tracking_number": None,
        "initial_tracking_number": route.tracking_number,
    }
    others = [
        fits | {"id": None},
        fits | {"company_id": "COM9"},
        fits | {"customer_phone_number": "+12025550199"},
        fits | {"current_tracking_number": "+12025550177"},
    ]
    found = wire.read_conversation_ids([fits, moved, *others], route=route, recipient=RECIPIENT)

    assert ["c0nv1", "c0nv2"] == found


def test_texts_are_those_that_went_out_at_a_known_time() -> None:
    """In UTC, whatever the offset; what has no time proves nothing."""
    messages: list[dict[str, Any]] = [
        {"direction": "outgoing", "content": "One", "created_at": "2026-03-02T10:00:00.953-05:00"},
        {"direction": "incoming", "content": "Two", "created_at": "2026-03-02T10:00:00-05:00"},
        {"direction": "outgoing", "content": None, "created_at": "2026-03-02T15:00:00Z"},
        *(
            {"direction": "outgoing", "content": "x", "created_at": created_at}
            for created_at in (None, "", 7, "soon", "2026-03-02T15:00:00", "0001-01-01T00:00:00+23:00")
        ),
    ]
    found = wire.read_texts(messages)

    assert [("One", START + timedelta(milliseconds=953)), ("", START)] == [
        (text.content, text.created_at) for text in found
    ]


@given(JSON)
def test_any_json_is_a_conversation_or_none(value: object) -> None:
    """Other shapes are told as such, and strange messages are passed over."""
    for document in (value, {"messages": value}, {"messages": [value, {"direction": "outgoing"}]}):
        try:
            wire.read_texts(wire.read_page(json.dumps(document).encode(), "messages", 1)[0])
        except ValueError as error:
            assert "no list of messages" in str(error)  # noqa: PT017 - both ends are fine


def test_lists_are_asked_for_page_by_page() -> None:
    """Active things only, with the account's nine-digit number."""
    assert "/v3/a.json?fields=numeric_id&per_page=100&page=2" == wire.page_path("accounts", 2)
    companies = wire.page_path("companies", 1, "ACC1")
    assert "/v3/a/ACC1/companies.json?status=active&per_page=100&page=1" == companies
    trackers = wire.page_path("trackers", 1, "ACC1", company_id="COM1")
    assert "/v3/a/ACC1/trackers.json?company_id=COM1&status=active&per_page=250&page=1" == trackers


def test_what_no_database_keeps_is_marked() -> None:
    """An outcome that can't be recorded would be unknown, and an opt-out in it would be missed."""
    refused = answers.read_send_answer(
        422, {}, b'{"error": "number opted out \\ud800"}', recipient="+12025550122", content="Hi"
    )
    body = b'{"id": "a\\u0000b", "customer_phone_number": "+12025550122"}'
    sent = answers.read_send_answer(200, {}, body, recipient="+12025550122", content="Hi")

    assert isinstance(refused, Rejected)
    assert ("number opted out \ufffd", Refusal.OPTED_OUT) == (refused.detail, refused.refusal)
    assert isinstance(sent, Sent)
    assert "a\ufffdb" == sent.conversation_id
    message = {"direction": "incoming", "content": "Yes\ud800", "created_at": START.isoformat()}
    conversation = {"id": "a\x00b", "company_id": "C\x00", "customer_phone_number": RECIPIENT}
    [reply] = wire.replies_of(conversation, START, timedelta(), [message])
    assert ("a\ufffdb", "C\ufffd", "Yes\ufffd") == (reply.conversation_id, reply.company_id, reply.content)
