"""Reading the bodies of CallRail's webhooks, in every shape in which they were seen."""

import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callrail_relay.callrail.wire import read_number, read_webhook
from callrail_relay.domain.inbound import CallRailText, Direction, ShownNumber

DATA = Path(__file__).parents[1] / "data" / "callrail"
DOCUMENTED = (DATA / "webhook-text-received.docs-sample.json").read_bytes()
LIVE = (DATA / "webhook-text-received.live-2026-04-08.json").read_bytes()
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def read(body: bytes | dict[str, object], content_type: str | None = JSON) -> CallRailText:
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    text = read_webhook(raw, content_type)
    assert text is not None
    return text


def changed(**changes: object) -> dict[str, object]:
    """The live body with changes; one to ... omits a field."""
    fields = json.loads(LIVE) | changes
    return {name: value for name, value in fields.items() if value is not ...}


def test_the_documented_body_is_read() -> None:
    """Numbers in full, and no thread."""
    assert CallRailText(
        key="SCI00000000000000000000000000000001",
        content="Yes, Tuesday works ",
        source=ShownNumber("+12025550122"),
        destination=ShownNumber("+12025550133"),
        written_at=datetime(2017, 10, 23, 19, 57, 18, 826000, tzinfo=UTC),
        conversation_id="c0nv1",
        company_id="COM00000000000000000000000000000001",
    ) == read(DOCUMENTED)


def test_the_live_body_is_read() -> None:
    """Masked numbers, and a numeric company_id that is not the company's id."""
    assert CallRailText(
        key="SCI00000000000000000000000000000001",
        content="Yes, Tuesday works",
        source=ShownNumber(ending="0122"),
        destination=ShownNumber(ending="0133"),
        written_at=datetime(2026, 4, 8, 22, 27, 51, 236000, tzinfo=UTC),
        conversation_id="c0nv1",
        thread_id="SMT00000000000000000000000000000001",
        company_id="COM00000000000000000000000000000001",
    ) == read(LIVE)


def test_a_form_says_the_same() -> None:
    """Whatever its content type says."""
    fields = {name: "" if value is None else value for name, value in json.loads(LIVE).items()}
    form = urlencode(fields, doseq=True).encode()

    assert read(LIVE) == read(form, FORM) == read(form, None) == read(form, JSON)


def test_an_agent_tells_a_text_that_went_out() -> None:
    """A field without a name in it tells nothing."""
    assert Direction.OUT is read(changed(agent="Pat Example")).direction
    assert read(changed(agent=None)).direction is None
    assert read(changed(agent="")).direction is None


def test_a_text_without_an_id_is_known_by_what_it_says() -> None:
    """The same body has the same key, another one has another; a field more or less does not matter."""
    without = changed(resource_id=...)

    assert read(without).key == read(without | {"lead_status": "good_lead"}).key
    assert read(without).key.startswith("body:")
    assert read(without).key != read(without | {"timestamp": "2026-04-08T18:27:52.236-04:00"}).key
    assert read(without).key != read(without | {"content": "No"}).key
    assert read(without).key == read(changed(resource_id=None)).key
    assert len(read(changed(resource_id="S" * 500)).key) <= 64


@pytest.mark.parametrize(
    ("shown", "number"),
    [
        ("+12025550122", ShownNumber("+12025550122")),
        ("202-555-0122", ShownNumber("+12025550122")),
        ("2025550122", ShownNumber("+12025550122")),
        ("12025550122", ShownNumber("+12025550122")),
        ("(202) 555-0122", ShownNumber("+12025550122")),
        ("+1 999 555 0122", ShownNumber("+19995550122")),
        ("***0122", ShownNumber(ending="0122")),
        ("(***) ***-0122", ShownNumber(ending="0122")),
        ("XXX-XXX-0122", ShownNumber(ending="0122")),
        ("202-***-0122", ShownNumber(ending="0122")),
        ("***2", ShownNumber()),
        ("*******", ShownNumber()),
        ("12345", ShownNumber()),
        ("Anonymous", ShownNumber()),
        ("", ShownNumber()),
        (None, ShownNumber()),
    ],
)
def test_numbers_are_read_as_far_as_they_are_shown(shown: str | None, number: ShownNumber) -> None:
    """A short code is not a person who can be texted."""
    assert number == read_number(shown)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"[1]", b"null", b"{", b"Hello", b'{"answered": true, "duration": 3}', b"a=1&b=2"],
)
def test_what_tells_of_no_text_is_none(body: bytes) -> None:
    """A ping, a call's webhook, and noise."""
    assert read_webhook(body, JSON) is None


@pytest.mark.parametrize("content", [None, ..., 12, ["a"], "\ud800", "a\x00b"])
def test_odd_words_can_be_stored(content: object) -> None:
    """A picture without words is a text as well."""
    stored = read(changed(content=content)).content

    assert "\x00" not in stored
    stored.encode()


def test_broken_bytes_do_not_hide_a_stop() -> None:
    """One byte that is no UTF-8, in a name that does not matter."""
    body = b'{"resource_id": "SCI1", "customer_name": "Jos\xe9", "content": "STOP"}'

    assert "STOP" == read(body).content


@pytest.mark.parametrize(
    "written", ["", "yesterday", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z", None]
)
def test_a_bad_timestamp_is_none(written: object) -> None:
    assert read(changed(timestamp=written)).written_at is None


def test_a_timestamp_without_an_offset_is_utc() -> None:
    assert datetime(2026, 4, 8, 18, tzinfo=UTC) == read(changed(timestamp="2026-04-08T18:00:00")).written_at


@given(st.binary(), st.sampled_from([JSON, FORM, "text/plain", None]))
def test_any_body_can_be_read(body: bytes, content_type: str | None) -> None:
    read_webhook(body, content_type)


@given(st.dictionaries(st.sampled_from([*json.loads(LIVE), "agent", "id"]), st.from_type(object) | st.text()))
def test_any_fields_can_be_read(fields: dict[str, object]) -> None:
    """Of whatever type their values are."""
    read_webhook(json.dumps(fields, default=str).encode(), JSON)
