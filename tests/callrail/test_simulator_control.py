import httpx2
import pytest

from callrail_relay.callrail.simulator import Fault, Kind, Simulator, create_app
from tests.callrail.simulated import RECIPIENT, asked, got, make_client, make_simulator, send


@pytest.fixture
def simulator() -> Simulator:
    return make_simulator()


def test_texts_are_listed_and_cleared(simulator: Simulator) -> None:
    """The names are those of the relay's own contract."""
    send(simulator, content="Hello")

    assert [
        {
            "recipient": RECIPIENT,
            "tracking_number": simulator.tracking_number,
            "company_id": simulator.company_id,
            "account_id": simulator.account_id,
            "content": "Hello",
            "delivered_content": "Hello Reply STOP to unsubscribe.",
            "created_at": "2026-04-08T02:25:04.953Z",
            "conversation_id": simulator.texts[0].conversation_id,
        }
    ] == asked(simulator, "GET", "/sandbox/texts").json()
    assert 204 == asked(simulator, "DELETE", "/sandbox/texts").status_code
    assert [] == asked(simulator, "GET", "/sandbox/texts").json()
    assert 1 == got(simulator, "text-messages.json")["total_records"]


def test_faults_are_added_listed_and_cleared(simulator: Simulator) -> None:
    added = asked(simulator, "POST", "/sandbox/faults", json={"kind": "status", "status": 503, "times": 1})
    asked(simulator, "POST", "/sandbox/faults", json=[{"kind": "drop", "number": RECIPIENT}])
    send(simulator)

    assert (201, 1) == (added.status_code, len(added.json()))
    assert [
        {"kind": "status", "on": "send", "times": 1, "delay": 0.0, "status": 503, "seen": 1, "fired": 1},
        {"kind": "drop", "on": "send", "number": RECIPIENT, "delay": 0.0, "seen": 1, "fired": 0},
    ] == asked(simulator, "GET", "/sandbox/faults").json()
    assert 204 == asked(simulator, "DELETE", "/sandbox/faults").status_code
    assert 200 == send(simulator).status_code


def test_person_opts_out_and_in_again(simulator: Simulator) -> None:
    opted = asked(simulator, "POST", "/sandbox/opt-outs", json={"recipient": RECIPIENT})
    assert (204, b"") == (opted.status_code, opted.content)
    assert 400 == send(simulator).status_code
    reply = {"recipient": RECIPIENT, "content": "START", "tracking_number": simulator.tracking_number}
    answer = asked(simulator, "POST", "/sandbox/replies", json=reply)
    assert (201, "incoming") == (answer.status_code, answer.json()["direction"])
    assert 200 == send(simulator).status_code
    del reply["tracking_number"]
    asked(simulator, "POST", "/sandbox/replies", json=reply | {"content": "STOP"})
    assert 400 == send(simulator).status_code


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("opt-outs", {}),
        ("opt-outs", []),
        ("opt-outs", [RECIPIENT]),
        ("opt-outs", {"recipient": "shoe"}),
        ("opt-outs", {"recipient": ["shoe"]}),
        ("opt-outs", {"recipient": RECIPIENT, "tracking_number": "+12025550100"}),
        ("opt-outs", {"recipient": RECIPIENT, "shoe": 1}),
        ("replies", [RECIPIENT, "Hi"]),
        ("replies", {"recipient": RECIPIENT}),
        ("replies", {"recipient": RECIPIENT, "content": 1}),
        ("replies", {"recipient": RECIPIENT, "content": "a", "tracking_number": "shoe"}),
    ],
)
def test_bad_requests_are_told_in_a_sentence(simulator: Simulator, path: str, body: object) -> None:
    response = asked(simulator, "POST", f"/sandbox/{path}", json=body)

    assert 400 == response.status_code
    assert response.json()["error"].endswith(".")


def test_body_that_is_no_json_is_told_in_a_sentence(simulator: Simulator) -> None:
    response = asked(simulator, "POST", "/sandbox/faults", content=b"{")

    assert 400 == response.status_code
    assert response.json()["error"].startswith("The body can't be used: Invalid JSON")


def test_control_needs_no_key_and_meets_no_fault(simulator: Simulator) -> None:
    simulator.fault(Fault(Kind.DROP, on="any"))
    response = asked(simulator, "GET", "/sandbox/texts", headers={"Authorization": ""})

    assert 200 == response.status_code


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8787"}, 200),
        ({"Host": "[::1]:8787"}, 200),
        ({"Host": "sandbox.example"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "[::1"}, 403),
        ({"Origin": "http://127.0.0.1:8788"}, 200),
        ({"Origin": "https://example.com"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_control_is_for_this_machine_only(simulator: Simulator, headers: dict[str, str], status: int) -> None:
    """Neither a name that points here nor a web page elsewhere reaches it."""
    assert status == asked(simulator, "GET", "/sandbox/texts", headers=headers).status_code


@pytest.mark.parametrize("address", [("192.0.2.1", 4711), ("testclient", 4711), None])
@pytest.mark.anyio
async def test_control_is_for_loopback_clients_only(
    simulator: Simulator, address: tuple[str, int] | None
) -> None:
    transport = httpx2.ASGITransport(create_app(simulator), client=address or ("", 0))
    async with make_client(transport) as client:
        assert 403 == (await client.get("/sandbox/texts")).status_code
        assert 200 == (await client.get("/v3/a.json")).status_code
