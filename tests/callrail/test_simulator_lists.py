from datetime import datetime
from typing import Any

import httpx2
import pytest

from callrail_relay.callrail.simulator import Simulator, create_app
from callrail_relay.errors import NotFound
from tests.callrail.simulated import (
    RECIPIENT,
    StandingClock,
    asked,
    full_path,
    got,
    make_client,
    make_simulator,
    send,
    text_form,
)
from tests.support.simulator import add_account, add_company, add_tracker, change_tracker


@pytest.fixture
def simulator() -> Simulator:
    return make_simulator()


def test_accounts_have_the_recorded_shape(simulator: Simulator) -> None:
    assert {
        "page": 1,
        "per_page": 100,
        "total_pages": 1,
        "total_records": 1,
        "accounts": [
            {
                "id": "ACC00000000000000000000000000000001",
                "name": "Example Account",
                "numeric_id": 123456789,
                "inbound_recording_enabled": False,
                "outbound_recording_enabled": False,
                "hipaa_account": False,
                "created_at": "2026-02-06 21:25:04 -0500",
            }
        ],
    } == got(simulator, "/v3/a.json", fields="numeric_id")


def test_numeric_id_is_an_extra_field(simulator: Simulator) -> None:
    """Without being asked for, the nine-digit number does not come."""
    assert "numeric_id" not in got(simulator, "/v3/a.json")["accounts"][0]
    [account] = got(simulator, "/v3/a.json", fields="name, numeric_id")["accounts"]
    assert simulator.accounts[simulator.account_id].numeric_id == account["numeric_id"]


def test_companies_have_the_recorded_shape(simulator: Simulator) -> None:
    company = {
        "id": "COM00000000000000000000000000000001",
        "name": "Example Co",
        "status": "active",
        "time_zone": "America/Chicago",
        "created_at": "2026-02-07T02:25:04.953Z",
        "callscore_enabled": False,
        "lead_scoring_enabled": True,
        "callscribe_enabled": True,
        "disabled_at": None,
    }
    answer = got(simulator, "companies.json")

    assert [company] == answer["companies"]
    assert ["page", "per_page", "total_pages", "total_records", "companies"] == list(answer)


def test_trackers_have_the_recorded_shape(simulator: Simulator) -> None:
    """The list of trackers does not say how many pages there are."""
    tracker = {
        "id": "TRK00000000000000000000000000000001",
        "name": "Main line",
        "type": "source",
        "status": "active",
        "destination_number": "+12025550144",
        "tracking_numbers": ["+12025550133"],
        "sms_supported": True,
        "sms_enabled": True,
        "company": {"id": "COM00000000000000000000000000000001", "name": "Example Co"},
        "source": {"type": "google_my_business"},
        "call_flow": {"type": "basic", "recording_enabled": True, "destination_number": "+12025550144"},
    }

    assert {"page": 1, "per_page": 100, "total_records": 1, "trackers": [tracker]} == got(
        simulator, "trackers.json"
    )


def test_conversations_have_the_recorded_shape(simulator: Simulator) -> None:
    """The list has the shape of the answer to a send, the single one has all messages in UTC."""
    answer = send(simulator).json()
    listed = got(simulator, "text-messages.json")
    single = got(simulator, f"text-messages/{answer['id']}.json")

    assert answer == listed["conversations"][0]
    assert ["page", "per_page", "total_pages", "total_records", "conversations"] == list(listed)
    assert {
        "id": answer["id"],
        "company_id": simulator.company_id,
        "customer_phone_number": RECIPIENT,
        "current_tracking_number": simulator.tracking_number,
        "state": "active",
        "page": 1,
        "per_page": 100,
        "total_pages": 1,
        "total_records": 1,
        "messages": [
            {
                "id": 11111,
                "direction": "outgoing",
                "content": simulator.texts[0].content,
                "created_at": "2026-04-08T02:25:04.953Z",
                "type": "sms",
                "media_urls": [],
            }
        ],
    } == single


def test_conversation_remembers_its_first_and_last_number(simulator: Simulator) -> None:
    second = add_tracker(simulator, name="Second").tracking_numbers[0]
    first = send(simulator).json()
    answer = send(simulator, tracking_number=second).json()

    assert first["id"] == answer["id"]
    assert simulator.tracking_number == answer["initial_tracking_number"]
    assert second == answer["current_tracking_number"]
    assert "Second" == answer["tracker_name"]


def test_numeric_id_works_in_every_path(simulator: Simulator) -> None:
    conversation_id = send(simulator).json()["id"]
    root = f"/v3/a/{simulator.accounts[simulator.account_id].numeric_id}"

    assert conversation_id == got(simulator, f"{root}/text-messages.json")["conversations"][0]["id"]
    assert conversation_id == got(simulator, f"{root}/text-messages/{conversation_id}.json")["id"]
    sent = asked(simulator, "POST", f"{root}/text-messages.json", json=text_form(simulator))
    assert 200 == sent.status_code
    assert simulator.account_id == simulator.texts[1].account_id


def test_pages_divide_a_list(simulator: Simulator) -> None:
    """Every record is on one page, the last page says so, and the one after it is empty."""
    for number in range(6):
        add_company(simulator, name=f"Company {number}")
    pages = [got(simulator, "companies.json", per_page=3, page=page) for page in (1, 2, 3, 4)]

    assert [3, 3, 1, 0] == [len(page["companies"]) for page in pages]
    assert {(3, 7)} == {(page["total_pages"], page["total_records"]) for page in pages}
    assert 7 == len({company["id"] for page in pages for company in page["companies"]})


@pytest.mark.parametrize("params", ["page=0", "page=x", "per_page=251", "per_page=-1"])
def test_bad_paging_is_refused(simulator: Simulator, params: str) -> None:
    response = asked(simulator, "GET", f"companies.json?{params}")

    assert 400 == response.status_code
    assert params.partition("=")[0] in response.json()["error"]


def test_lists_can_be_narrowed(simulator: Simulator) -> None:
    company = add_company(simulator, name="Other", disabled=True)
    pool = add_tracker(simulator, company_id=company.id, pool=3)
    change_tracker(simulator, pool.id, status="disabled")

    def ids(path: str, **params: str) -> list[str]:
        return [item["id"] for item in got(simulator, path, **params)[path.removesuffix(".json")]]

    assert [simulator.company_id] == ids("companies.json", status="active")
    assert got(simulator, "companies.json", status="disabled")["companies"][0]["disabled_at"]
    assert 2 == len(ids("trackers.json"))
    assert [pool.id] == ids("trackers.json", company_id=company.id)
    assert [pool.id] != ids("trackers.json", status="active")
    assert "all" == got(simulator, "trackers.json", company_id=company.id)["trackers"][0]["source"]["type"]
    assert 404 == asked(simulator, "GET", "trackers.json?company_id=COM0").status_code


@pytest.mark.parametrize(
    "path",
    [
        "text-messages/zzzzz.json",
        "integrations.json?company_id=COM0",
        "/v3/a/ACC0/companies.json",
        "/v3/a/987654321/companies.json",
    ],
)
def test_what_is_not_there_is_not_found(simulator: Simulator, path: str) -> None:
    response = asked(simulator, "GET", path)

    assert (404, {"error": "Not found"}) == (response.status_code, response.json())


@pytest.mark.parametrize("path", ["companies", "shoes.json", "/v4/a.json", "/"])
def test_another_address_is_not_found(simulator: Simulator, path: str) -> None:
    response = asked(simulator, "GET", path)

    assert (404, {"error": "Not Found"}) == (response.status_code, response.json())


def test_accounts_do_not_see_each_other(simulator: Simulator) -> None:
    conversation = send(simulator).json()
    other = add_account(simulator, name="Other")

    for path in (
        f"trackers.json?company_id={simulator.company_id}",
        f"text-messages/{conversation['id']}.json",
    ):
        assert 404 == asked(simulator, "GET", f"/v3/a/{other.id}/{path}").status_code
    for name in ("companies", "trackers"):
        assert [] == got(simulator, f"/v3/a/{other.id}/{name}.json")[name]
    assert [] == got(simulator, f"/v3/a/{other.numeric_id}/text-messages.json")["conversations"]


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (b'Token token="test-key"', 200),
        (b"Token token=test-key", 200),
        (b"Bearer test-key", 401),
        (b"Token test-key", 401),
        (b'Token token="other"', 401),
        ('Token token="schön"'.encode(), 401),
        (b"", 401),
    ],
)
def test_only_the_token_lets_in(simulator: Simulator, authorization: bytes, status: int) -> None:
    headers = {b"Authorization": authorization}
    response = asked(simulator, "GET", "companies.json", headers=headers)

    assert status == response.status_code
    assert (status == 401) == (response.text == '{"error":"HTTP Token: Access denied."}')


def test_body_of_a_get_is_not_acceptable(simulator: Simulator) -> None:
    assert 406 == asked(simulator, "GET", "companies.json", json={"status": "active"}).status_code


def test_wrong_method_is_not_allowed(simulator: Simulator) -> None:
    response = asked(simulator, "DELETE", "companies.json")

    assert (405, {"error": "Method Not Allowed"}) == (response.status_code, response.json())
    assert "GET" in response.headers["allow"]


def test_general_requests_are_limited(simulator: Simulator) -> None:
    """The thousand and first request of an hour is refused; sends and other accounts are not counted."""
    clock = simulator.clock
    assert isinstance(clock, StandingClock)
    simulator.accounts[simulator.account_id].requests.spend(clock.now(), 999)

    assert 200 == send(simulator).status_code
    assert 200 == asked(simulator, "GET", "companies.json").status_code
    assert 429 == asked(simulator, "GET", "companies.json").status_code
    assert 200 == asked(simulator, "GET", f"/v3/a/{add_account(simulator).id}/companies.json").status_code
    clock.pass_time(3600)
    assert 200 == asked(simulator, "GET", "companies.json").status_code


def texted_on(simulator: Simulator, *days: str) -> None:
    clock = simulator.clock
    assert isinstance(clock, StandingClock)
    now = clock.now()
    for position, day in enumerate(days):
        clock.instant = datetime.fromisoformat(day)
        assert 200 == send(simulator, customer_phone_number=f"+1202555010{position}").status_code
    clock.instant = now


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({}, [2, 1]),
        ({"start_date": "2026-04-07"}, [2]),
        ({"start_date": "2026-03-25"}, [2, 1]),
        ({"start_date": "2026-03-26"}, [2]),
        ({"search": "+12025550101"}, [1]),
        ({"search": "2025550101"}, [1]),
        ({"search": "(202) 555-0102"}, [2]),
        ({"search": "nobody"}, []),
    ],
)
def test_conversations_by_date_and_search(params: dict[str, str], found: list[int]) -> None:
    """Dates are read in the account's zone."""
    simulator = make_simulator(clock=StandingClock(datetime.fromisoformat("2026-04-07T22:25:05+00:00")))
    texted_on(
        simulator, "2025-12-31T12:00:00-05:00", "2026-03-25T12:00:00-04:00", "2026-04-07T18:25:04-04:00"
    )

    conversations = got(simulator, "text-messages.json", **params)["conversations"]

    assert [f"+1202555010{position}" for position in found] == [
        conversation["customer_phone_number"] for conversation in conversations
    ]


@pytest.mark.parametrize(
    "params",
    [
        {"start_date": "2024-03-06"},
        {"start_date": "yesterday"},
        {"start_date": "2026-04-31"},
    ],
)
def test_bad_dates_are_refused(simulator: Simulator, params: dict[str, str]) -> None:
    assert 400 == asked(simulator, "GET", "text-messages.json", params=params).status_code


def test_records_older_than_25_months_are_out_of_reach(simulator: Simulator) -> None:
    """The first day within 25 times 30 days can be asked for, and the day before it is refused."""
    clock = simulator.clock
    assert isinstance(clock, StandingClock)
    clock.instant = datetime.fromisoformat("2026-03-31T12:00:00-04:00")

    assert [] == got(simulator, "text-messages.json", start_date="2024-03-12")["conversations"]
    assert 400 == asked(simulator, "GET", "text-messages.json?start_date=2024-03-11").status_code


def test_webhooks_integration(simulator: Simulator) -> None:
    """
    One integration per company; its key comes when asked for, and a PUT replaces the whole configuration.
    """
    config = {"sms_received_webhook": ["https://example.invalid/received"]}
    form: dict[str, Any] = {"type": "Webhooks", "company_id": simulator.company_id, "config": config}
    created = asked(simulator, "POST", "integrations.json", json=form)
    path = f"integrations/{created.json()['id']}.json"
    new = {"sms_sent_webhook": ["https://example.invalid/sent"]}

    assert 201 == created.status_code
    assert config == created.json()["config"]
    assert 400 == asked(simulator, "POST", "integrations.json", json=form).status_code
    listed = got(simulator, "integrations.json", company_id=simulator.company_id, fields="signing_key")
    assert {**created.json(), "signing_key": "example-signing-key-1"} == listed["integrations"][0]
    assert new == asked(simulator, "PUT", path, json={"config": new}).json()["config"]
    assert 400 == asked(simulator, "PUT", path, json={}).status_code
    assert 400 == asked(simulator, "GET", "integrations.json").status_code
    other = add_account(simulator)
    assert 404 == asked(simulator, "PUT", f"/v3/a/{other.id}/{path}", json={"config": new}).status_code


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "Slack"},
        {"config": None},
        {"config": {}},
        {"config": {"sms_received_webhook": "https://example.invalid"}},
        {"config": {"sms_received_webhook": [1]}},
        {"config": {"sms_received_webhook": ["shoe"]}},
        {"config": {"sms_received_webhook": ["http://[::1"]}},
        {"config": {"shoe": ["https://example.invalid"]}},
    ],
)
def test_bad_integrations_are_refused(simulator: Simulator, changes: dict[str, Any]) -> None:
    form = {"type": "Webhooks", "company_id": simulator.company_id, "config": None} | changes

    assert 400 == asked(simulator, "POST", "integrations.json", json=form).status_code


def test_a_text_to_an_unknown_number_is_an_error(simulator: Simulator) -> None:
    with pytest.raises(NotFound):
        simulator.receive(RECIPIENT, "Hello", tracking_number="+12025550100")


@pytest.mark.anyio
async def test_plain_asgi_transport_works_too(simulator: Simulator) -> None:
    """The app needs nothing of the transport made for it."""
    async with make_client(httpx2.ASGITransport(create_app(simulator))) as client:
        response = await client.post(full_path(simulator, "text-messages.json"), json=text_form(simulator))

    assert 200 == response.status_code
