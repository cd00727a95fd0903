from random import Random

import pytest

from callrail_relay.callrail.simulator import Simulator
from callrail_relay.errors import UsageError
from tests.callrail.simulated import RECIPIENT, StandingClock, asked, got, make_simulator, send, text_form
from tests.support.simulator import add_account, add_company, add_tracker, change_tracker, spend

OPT_OUT = " Reply STOP to unsubscribe."


@pytest.fixture
def simulator() -> Simulator:
    return make_simulator()


def test_answer_to_a_send_has_the_recorded_shape(simulator: Simulator) -> None:
    """The answer is the whole conversation, with the offset of the account's zone."""
    response = send(simulator)
    text = simulator.texts[0]

    assert 200 == response.status_code
    assert {
        "id": text.conversation_id,
        "initial_tracker_id": "TRK00000000000000000000000000000001",
        "current_tracker_id": "TRK00000000000000000000000000000001",
        "customer_name": "WIRELESS CALLER",
        "customer_phone_number": "+12025550122",
        "initial_tracking_number": "+12025550133",
        "current_tracking_number": "+12025550133",
        "last_message_at": "2026-04-07T22:25:04.953-04:00",
        "state": "active",
        "formatted_customer_phone_number": "202-555-0122",
        "formatted_initial_tracking_number": "202-555-0133",
        "formatted_current_tracking_number": "202-555-0133",
        "formatted_customer_name": "Wireless Caller",
        "company_time_zone": "America/Chicago",
        "tracker_name": "Main line",
        "company_name": "Example Co",
        "company_id": "COM00000000000000000000000000000001",
        "recent_messages": [
            {
                "direction": "outgoing",
                "content": "Example Co: your appointment is tomorrow at 9. Reply STOP to opt out.",
                "created_at": "2026-04-07T22:25:04.953-04:00",
                "sms_thread": {
                    "id": "SMT00000000000000000000000000000001",
                    "notes": None,
                    "tags": [],
                    "value": None,
                    "lead_qualification": None,
                },
                "type": "sms",
                "media_urls": [],
            }
        ],
    } == response.json()
    assert 5 == len(text.conversation_id)
    assert text.content == text.delivered_content
    assert simulator.clock.now() == text.created_at


def test_ids_of_conversations_are_never_the_same() -> None:
    """A short id that is taken is drawn again."""

    class Stuck(Random):
        draws = iter([0.0] * 10 + [0.999] * 5)

        def random(self) -> float:
            return next(self.draws)

    simulator = make_simulator(random=Stuck())

    assert "aaaaa" == send(simulator).json()["id"]
    assert "99999" == send(simulator, customer_phone_number="+12025550123").json()["id"]


def test_wording_is_appended_to_a_first_text_without_a_stop_word(simulator: Simulator) -> None:
    """Once per person and number; "end" in a sentence is no stop word."""
    second = add_tracker(simulator).tracking_numbers[0]
    simulator.receive(RECIPIENT, "Hello")
    for number in (simulator.tracking_number, simulator.tracking_number, second):
        send(simulator, content="This is the end.", tracking_number=number)

    assert ["This is the end." + OPT_OUT, "This is the end.", "This is the end." + OPT_OUT] == [
        text.delivered_content for text in simulator.texts
    ]
    assert {"This is the end."} == {text.content for text in simulator.texts}
    messages = got(simulator, f"text-messages/{simulator.texts[0].conversation_id}.json")["messages"]
    assert [text.delivered_content for text in reversed(simulator.texts)] == [
        message["content"] for message in messages[:3]
    ]


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"company_id": None}, 400, "company_id"),
        ({"company_id": 1}, 400, "company_id"),
        ({"company_id": "COM0"}, 404, "Not found"),
        ({"customer_phone_number": None}, 400, "required"),
        ({"customer_phone_number": "12025550122"}, 400, "phone number is invalid"),
        ({"customer_phone_number": "202-555-0122"}, 400, "phone number is invalid"),
        ({"customer_phone_number": "+442071838750"}, 400, "phone number is invalid"),
        ({"customer_phone_number": "+18765550122"}, 400, "phone number is invalid"),
        ({"customer_phone_number": 2025550122}, 400, "phone number is invalid"),
        ({"tracking_number": None}, 400, "tracking_number is invalid"),
        ({"tracking_number": "shoe"}, 400, "tracking_number is invalid"),
        ({"tracking_number": "+12025550100"}, 400, "no such number"),
        ({"content": None}, 400, "blank"),
        ({"content": " \n"}, 400, "blank"),
        ({"content": 1}, 400, "blank"),
        ({"content": "x" * 1592}, 400, "too long"),
    ],
)
def test_bad_parameters_are_refused(
    simulator: Simulator, changes: dict[str, object], status: int, words: str
) -> None:
    """A refused text is not taken and does not count."""
    response = send(simulator, **changes)

    assert status == response.status_code
    assert words in response.json()["error"]
    assert [] == simulator.texts
    assert "0" == response.headers["x-rate-limit-hourly-used"]


def test_both_forms_of_numbers_are_taken(simulator: Simulator) -> None:
    """Ten digits are as good as E.164."""
    assert 200 == send(simulator).status_code
    assert (
        200 == send(simulator, customer_phone_number="2025550122", tracking_number="2025550133").status_code
    )
    assert {(RECIPIENT, simulator.tracking_number)} == {
        (text.recipient, text.tracking_number) for text in simulator.texts
    }


def test_longest_text_is_a_setting() -> None:
    simulator = make_simulator()
    simulator.max_characters = 140

    assert 200 == send(simulator, content="x" * 140).status_code
    assert 400 == send(simulator, content="x" * 141).status_code


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"{}", "text/plain"),
        (b"\xff", "application/json"),
    ],
)
def test_bodies_that_are_no_form_are_refused(simulator: Simulator, body: bytes, content_type: str) -> None:
    response = asked(
        simulator, "POST", "text-messages.json", content=body, headers={"Content-Type": content_type}
    )

    assert 400 == response.status_code
    assert isinstance(response.json()["error"], str)


def test_numbers_that_cannot_text_are_refused(simulator: Simulator) -> None:
    """Disabled, unsupported, switched off, toll-free, of another company."""
    trackers = [add_tracker(simulator) for _ in range(3)]
    change_tracker(simulator, trackers[0].id, status="disabled")
    change_tracker(simulator, trackers[1].id, sms_supported=False)
    change_tracker(simulator, trackers[2].id, sms_enabled=False)
    trackers.append(add_tracker(simulator, number="+18005550133"))
    trackers.append(add_tracker(simulator, company_id=add_company(simulator).id))

    for tracker in trackers:
        assert 400 == send(simulator, tracking_number=tracker.tracking_numbers[0]).status_code
    change_tracker(simulator, trackers[0].id, status="active")
    assert 200 == send(simulator, tracking_number=trackers[0].tracking_numbers[0]).status_code


def test_numbers_of_a_pool_can_text(simulator: Simulator) -> None:
    pool = add_tracker(simulator, pool=2)

    assert 200 == send(simulator, tracking_number=pool.tracking_numbers[1]).status_code


def test_disabled_company_and_foreign_company_are_refused(simulator: Simulator) -> None:
    other = add_company(simulator, account_id=add_account(simulator).id)

    assert 400 == send(simulator, company_id=add_company(simulator, disabled=True).id).status_code
    assert 404 == send(simulator, company_id=other.id).status_code


def test_read_only_key_lists_and_does_not_send() -> None:
    simulator = make_simulator()
    simulator.read_only = True
    response = send(simulator)

    assert (403, {"error": "You do not have permission"}) == (response.status_code, response.json())
    assert 403 == asked(simulator, "PUT", "integrations/1.json", json={}).status_code
    assert 1 == got(simulator, "companies.json")["total_records"]
    simulator.read_only = False
    assert 200 == send(simulator).status_code


def test_send_to_an_unknown_account_is_not_found(simulator: Simulator) -> None:
    response = asked(simulator, "POST", "/v3/a/ACC0/text-messages.json", json=text_form(simulator))

    assert 404 == response.status_code
    assert "x-rate-limit-hourly-used" not in response.headers


def test_send_without_the_key_learns_nothing(simulator: Simulator) -> None:
    headers = {"Authorization": "Token token=shoe"}
    response = asked(simulator, "POST", "text-messages.json", json=text_form(simulator), headers=headers)

    assert 401 == response.status_code
    assert "x-rate-limit-hourly-used" not in response.headers
    assert [] == simulator.texts


def test_opted_out_person_is_refused_until_they_opt_in(simulator: Simulator) -> None:
    """One stop word alone opts out of one number, in any case; START lifts it."""
    second = add_tracker(simulator).tracking_numbers[0]
    simulator.receive(RECIPIENT, "Please do not stop")
    assert 200 == send(simulator).status_code
    simulator.receive(RECIPIENT, " stop ")
    response = send(simulator)
    assert 400 == response.status_code
    assert "recipient has opted out" in response.json()["error"]
    assert 200 == send(simulator, tracking_number=second).status_code
    simulator.receive(RECIPIENT, "Start")
    assert 200 == send(simulator).status_code


def test_opt_out_without_a_number_is_for_all(simulator: Simulator) -> None:
    second = add_tracker(simulator).tracking_numbers[0]
    simulator.opt_out("2025550122")
    assert [400, 400] == [
        send(simulator, tracking_number=number).status_code for number in (second, simulator.tracking_number)
    ]
    simulator.receive(RECIPIENT, "START", tracking_number=second)
    assert 200 == send(simulator, tracking_number=second).status_code
    with pytest.raises(UsageError):
        simulator.opt_out("shoe")


def test_texts_are_limited_by_the_hour_and_the_day() -> None:
    """The windows roll; the four headers come with the answer and with the refusal."""
    clock = StandingClock()
    simulator = make_simulator(clock)
    limit = simulator.accounts[simulator.account_id].texts
    limit.per_hour, limit.per_day = 2, 3

    def figures() -> tuple[int, list[str]]:
        response = send(simulator)
        names = ("hourly-allowed", "hourly-used", "daily-allowed", "daily-used")
        return response.status_code, [response.headers[f"x-rate-limit-{name}"] for name in names]

    assert (200, ["2", "1", "3", "1"]) == figures()
    clock.pass_time(1800)
    assert (200, ["2", "2", "3", "2"]) == figures()
    assert (429, ["2", "2", "3", "2"]) == figures()
    clock.pass_time(1800)
    assert (200, ["2", "2", "3", "3"]) == figures()
    clock.pass_time(7200)
    assert (429, ["2", "0", "3", "3"]) == figures()
    clock.pass_time(86400)
    assert (200, ["2", "1", "3", "1"]) == figures()


def test_others_use_the_same_limits(simulator: Simulator) -> None:
    """A text from CallRail's own page counts and is in the conversation, but the relay did not send it."""
    simulator.write(RECIPIENT, "Hello from the page")
    spend(simulator, 10)
    response = send(simulator)

    assert "12" == response.headers["x-rate-limit-hourly-used"]
    assert ["outgoing", "outgoing"] == [each["direction"] for each in response.json()["recent_messages"]]
    assert 1 == len(simulator.texts)


def test_accounts_have_limits_of_their_own(simulator: Simulator) -> None:
    account = add_account(simulator, per_hour=300, per_day=2000)
    company = add_company(simulator, account_id=account.id)
    number = add_tracker(simulator, company_id=company.id).tracking_numbers[0]
    form = text_form(simulator, company_id=company.id, tracking_number=number)
    response = asked(simulator, "POST", f"/v3/a/{account.id}/text-messages.json", json=form)

    assert 200 == response.status_code
    assert "300" == response.headers["x-rate-limit-hourly-allowed"]
    assert "0" == send(simulator, content=None).headers["x-rate-limit-hourly-used"]
