import asyncio
import json
from collections.abc import Callable

import httpx2
import pytest
from starlette.types import Message

from callrail_relay.callrail.simulator import Fault, Kind, Simulator, create_app, load_faults
from callrail_relay.callrail.simulator.faults import OTHER_CUSTOMER
from callrail_relay.errors import UsageError
from tests.callrail.simulated import (
    KEY,
    RECIPIENT,
    StandingClock,
    asked,
    full_path,
    make_client,
    make_simulator,
    over_socket,
    send,
    text_form,
)


@pytest.fixture
def simulator() -> Simulator:
    return make_simulator()


def clock_of(simulator: Simulator) -> StandingClock:
    assert isinstance(simulator.clock, StandingClock)
    return simulator.clock


def outcomes(simulator: Simulator, count: int, **changes: object) -> list[int]:
    return [send(simulator, **changes).status_code for _ in range(count)]


def test_status_is_answered_and_nothing_taken(simulator: Simulator) -> None:
    simulator.fault(Fault(Kind.STATUS, status=503, times=1), Fault(Kind.STATUS, times=1))

    assert [503, 500, 200] == outcomes(simulator, 3)
    assert 1 == len(simulator.texts)


def test_status_after_is_answered_and_the_text_taken(simulator: Simulator) -> None:
    simulator.fault(Fault(Kind.STATUS_AFTER, times=1), Fault(Kind.STATUS_AFTER, status=502, body="", times=1))

    assert [500, 502, 200] == outcomes(simulator, 3)
    assert 3 == len(simulator.texts)


def test_status_after_leaves_a_refusal_as_it_is(simulator: Simulator) -> None:
    simulator.fault(Fault(Kind.STATUS_AFTER))

    assert 400 == send(simulator, content="").status_code


def test_other_2xx_keeps_the_answer(simulator: Simulator) -> None:
    """201 is what CallRail documents; 204 has no body in HTTP."""
    for status, body in ((201, None), (202, "later"), (204, None)):
        simulator.fault(Fault(Kind.STATUS_AFTER, status=status, body=body, times=1))
    created, accepted, empty = [send(simulator) for _ in range(3)]

    assert (201, simulator.texts[0].conversation_id) == (created.status_code, created.json()["id"])
    assert (202, "later") == (accepted.status_code, accepted.text)
    assert (204, b"") == (empty.status_code, empty.content)
    assert "1" == created.headers["x-rate-limit-hourly-used"]


def test_too_many_requests_with_and_without_a_time(simulator: Simulator) -> None:
    for retry_after in (None, 30, "soon"):
        simulator.fault(Fault(Kind.STATUS, status=429, retry_after=retry_after, times=1))
    answers = [send(simulator) for _ in range(3)]

    assert {429} == {answer.status_code for answer in answers}
    assert [None, "30", "soon"] == [answer.headers.get("retry-after") for answer in answers]


def test_redirect_leads_back(simulator: Simulator) -> None:
    simulator.fault(Fault(Kind.STATUS, on="any", status=302))

    assert "/v3/a.json" == asked(simulator, "GET", "/v3/a.json").headers["location"]
    assert 302 == send(simulator).status_code
    assert [] == simulator.texts


def test_answers_that_cannot_be_understood(simulator: Simulator) -> None:
    """Garbage, no id and another customer: the text is taken each time."""
    for fault in (
        Fault(Kind.GARBAGE, times=1),
        Fault(Kind.GARBAGE, body='{"id":', times=1),
        Fault(Kind.NO_ID, times=1),
        Fault(Kind.OTHER_CUSTOMER, times=1),
    ):
        simulator.fault(fault)
    html, half_json, no_id, other = [send(simulator) for _ in range(4)]

    assert {200} == {answer.status_code for answer in (html, half_json, no_id, other)}
    assert html.text.startswith("<!DOCTYPE")
    assert '{"id":' == half_json.text
    assert "id" not in no_id.json()
    assert OTHER_CUSTOMER == other.json()["customer_phone_number"]
    assert 4 == len(simulator.texts)


def test_changed_bodies_leave_a_refusal_as_it_is(simulator: Simulator) -> None:
    simulator.fault(Fault(Kind.NO_ID))

    assert "content" in send(simulator, content="").json()["error"]


@pytest.mark.parametrize(
    ("kind", "error", "taken"),
    [
        (Kind.REFUSE, httpx2.ConnectError, 0),
        (Kind.DROP, httpx2.RemoteProtocolError, 0),
        (Kind.DROP_ANSWER, httpx2.RemoteProtocolError, 1),
        (Kind.HALF_BODY, httpx2.RemoteProtocolError, 1),
    ],
)
def test_connection_breaks_in_process(
    simulator: Simulator, kind: Kind, error: type[httpx2.TransportError], taken: int
) -> None:
    simulator.fault(Fault(kind))

    with pytest.raises(error):
        send(simulator)
    assert taken == len(simulator.texts)


@pytest.mark.anyio
async def test_plain_asgi_client_meets_an_exception(simulator: Simulator) -> None:
    """Without a transport to close, the app raises; a response is never made up."""
    simulator.fault(Fault(Kind.DROP_ANSWER))
    async with make_client(httpx2.ASGITransport(create_app(simulator))) as client:
        with pytest.raises(ConnectionResetError):
            await client.post(full_path(simulator, "text-messages.json"), json=text_form(simulator))
    assert 1 == len(simulator.texts)


@pytest.mark.parametrize(
    ("kind", "taken", "words"),
    [
        (Kind.REFUSE, 0, ""),
        (Kind.DROP, 0, ""),
        (Kind.DROP_ANSWER, 1, ""),
        (Kind.HALF_BODY, 1, "complete message body"),
    ],
)
@pytest.mark.anyio
async def test_connection_breaks_over_a_socket(
    simulator: Simulator, kind: Kind, taken: int, words: str
) -> None:
    """The client sees the connection end, not an answer; the next request on a new one is fine."""
    simulator.fault(Fault(kind, times=1))

    async def use(client: httpx2.AsyncClient) -> None:
        path, form = full_path(simulator, "text-messages.json"), text_form(simulator)
        with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)) as caught:
            await client.post(path, json=form)
        assert words in str(caught.value)
        assert taken == len(simulator.texts)
        assert 200 == (await client.post(path, json=form)).status_code

    await over_socket(simulator, use)


@pytest.mark.anyio
async def test_large_upload_can_be_dropped_unread(simulator: Simulator) -> None:
    """The connection ends although the body is still on its way."""
    simulator.fault(Fault(Kind.DROP))

    async def use(client: httpx2.AsyncClient) -> None:
        form = text_form(simulator, content="x" * 4_000_000)
        with pytest.raises(httpx2.TransportError):
            await client.post(full_path(simulator, "text-messages.json"), json=form)

    await over_socket(simulator, use)
    assert [] == simulator.texts


@pytest.mark.anyio
async def test_other_faults_over_a_socket(simulator: Simulator) -> None:
    """Each answer is a proper one to the server as well, so one connection serves them all."""
    for status in (204, 302, 304, 429, 599):
        simulator.fault(Fault(Kind.STATUS, status=status, times=1))
    simulator.fault(Fault(Kind.SLOW_BODY, delay=1, times=1), Fault(Kind.NO_ID, times=1))

    async def use(client: httpx2.AsyncClient) -> list[int]:
        path, form = full_path(simulator, "text-messages.json"), text_form(simulator)
        return [(await client.post(path, json=form)).status_code for _ in range(8)]

    assert [204, 302, 304, 429, 599, 200, 200, 200] == await over_socket(simulator, use)
    assert 3 == len(simulator.texts)


@pytest.mark.anyio
async def test_client_that_gave_up_has_sent_its_text() -> None:
    """A text behind a delay is taken after the client has stopped waiting for it."""
    taken = asyncio.Event()

    class GateClock(StandingClock):
        """Lets a sleeper go when the test says so."""

        gate = asyncio.Event()

        async def sleep(self, seconds: float) -> None:
            await self.gate.wait()
            await super().sleep(seconds)
            taken.set()

    clock = GateClock()
    simulator = make_simulator(clock=clock)
    simulator.fault(Fault(Kind.DELAY, delay=90))

    async def use(client: httpx2.AsyncClient) -> None:
        with pytest.raises(httpx2.ReadTimeout):
            await client.post(full_path(simulator, "text-messages.json"), json=text_form(simulator))
        assert [] == simulator.texts
        clock.gate.set()
        await taken.wait()

    await over_socket(simulator, use, patience=0.2)
    assert 1 == len(simulator.texts)


@pytest.mark.anyio
async def test_removing_the_faults_ends_their_delays() -> None:
    asleep = asyncio.Event()

    class WatchedClock(StandingClock):
        async def sleep(self, seconds: float) -> None:
            asleep.set()
            await asyncio.sleep(seconds)

    simulator = make_simulator(clock=WatchedClock())
    simulator.fault(Fault(Kind.DELAY, delay=3_600))

    async def use(client: httpx2.AsyncClient) -> int:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(
                client.post(full_path(simulator, "text-messages.json"), json=text_form(simulator))
            )
            await asleep.wait()
            assert [] == simulator.texts
            await client.delete("/sandbox/faults")
        return sending.result().status_code

    assert 200 == await over_socket(simulator, use)
    assert 1 == len(simulator.texts)


def test_delay_passes_on_the_clock(simulator: Simulator) -> None:
    """A delay is before the text is taken, a late answer after it."""
    start = simulator.clock.now()
    simulator.fault(Fault(Kind.DELAY, delay=2.5, times=1), Fault(Kind.LATE_ANSWER, delay=2, times=1))

    assert [200, 200] == outcomes(simulator, 2)
    assert [2.5, 2.5] == [(text.created_at - start).total_seconds() for text in simulator.texts]
    assert [2.5, 2] == clock_of(simulator).slept


def test_delay_goes_with_any_other_kind(simulator: Simulator) -> None:
    simulator.fault(Fault(Kind.STATUS, delay=3))

    assert 500 == send(simulator).status_code
    assert [3] == clock_of(simulator).slept


@pytest.mark.parametrize(
    ("kind", "slept"), [(Kind.DELAY, 5), (Kind.LATE_ANSWER, 5), (Kind.DROP_ANSWER, 5), (Kind.HALF_BODY, 5)]
)
def test_answer_after_the_time_out_is_one_in_process(simulator: Simulator, kind: Kind, slept: float) -> None:
    """The client's default time-out of 5 seconds ends the wait; the text is taken all the same."""
    simulator.fault(Fault(kind, delay=60))

    with pytest.raises(httpx2.ReadTimeout):
        send(simulator)
    assert [slept] == clock_of(simulator).slept
    assert 1 == len(simulator.texts)


def test_slow_body_comes_in_pieces(simulator: Simulator) -> None:
    """Each piece is within the time-out, all of them are not; one beyond it ends the wait."""
    simulator.fault(Fault(Kind.SLOW_BODY, delay=4, times=1), Fault(Kind.SLOW_BODY, delay=5, times=1))

    assert simulator.company_id == send(simulator).json()["company_id"]
    assert [4.0] * 16 == clock_of(simulator).slept
    with pytest.raises(httpx2.ReadTimeout):
        send(simulator)
    assert 2 == len(simulator.texts)


def test_fault_for_one_person(simulator: Simulator) -> None:
    """Others are spared, and so are bodies that name no person."""
    simulator.fault(Fault(Kind.STATUS, number="2025550122"))

    assert [500, 500] == outcomes(simulator, 2)
    assert [200] == outcomes(simulator, 1, customer_phone_number="+12025550123")
    for body in (b"[]", b"{", b"{}"):
        headers = {"Content-Type": "application/json"}
        answer = asked(simulator, "POST", "text-messages.json", content=body, headers=headers)
        assert 400 == answer.status_code
    assert 200 == asked(simulator, "GET", "companies.json").status_code


def test_fault_for_a_share(simulator: Simulator) -> None:
    """About a third of the requests, and none or all at the ends."""
    simulator.fault(Fault(Kind.STATUS, share=1 / 3))
    assert 20 < outcomes(simulator, 100).count(500) < 47
    simulator.faults.clear()
    simulator.fault(Fault(Kind.STATUS, share=0))
    assert [200] == outcomes(simulator, 1)
    simulator.fault(Fault(Kind.STATUS, share=1))
    assert [500] == outcomes(simulator, 1)


def test_faults_by_script(simulator: Simulator) -> None:
    """
    A position means that request alone, with times so many from there; the first fault that is due happens.
    """
    simulator.fault(
        Fault(Kind.STATUS, position=2, status=501),
        Fault(Kind.STATUS, position=2, times=2, status=502),
        Fault(Kind.STATUS, position=6, status=503),
    )

    assert [200, 501, 502, 502, 200, 503, 200] == outcomes(simulator, 7)


def test_fault_on_reads_spares_sends(simulator: Simulator) -> None:
    simulator.fault(Fault(Kind.STATUS, on="read"))

    assert 200 == send(simulator).status_code
    assert 500 == asked(simulator, "GET", "text-messages.json").status_code
    simulator.faults.clear()
    simulator.fault(Fault(Kind.HALF_BODY, on="any"))
    with pytest.raises(httpx2.RemoteProtocolError):
        asked(simulator, "GET", "text-messages.json")


def test_faults_are_read_from_json() -> None:
    assert [
        Fault(Kind.STATUS, status=429, retry_after=30),
        Fault(Kind.DROP_ANSWER, number=RECIPIENT, position=2),
    ] == load_faults(
        '[{"kind": "status", "status": 429, "retry_after": 30},'
        ' {"kind": "drop_answer", "number": "+12025550122", "position": 2}]'
    )
    assert [Fault(Kind.DROP)] == load_faults('{"kind": "drop"}')


@pytest.mark.parametrize(
    "value",
    [
        1,
        {},
        {"kind": "shoe"},
        {"kind": ["drop"]},
        {"kind": "drop", "shoe": 1},
        {"kind": "drop", "on": "shoe"},
        {"kind": "drop", "number": "shoe"},
        {"kind": "drop", "number": 1},
        {"kind": "drop", "number": RECIPIENT, "on": "any"},
        {"kind": "drop", "share": 1.5},
        {"kind": "drop", "share": True},
        {"kind": "drop", "position": 0},
        {"kind": "drop", "times": "1"},
        {"kind": "drop", "times": True},
        {"kind": "drop", "delay": -1},
        {"kind": "drop", "delay": "1"},
        {"kind": "delay"},
        {"kind": "slow_body", "delay": 0},
        {"kind": "drop", "status": 500},
        {"kind": "status", "status": 600},
        {"kind": "status", "status": 101},
        {"kind": "status", "body": 1},
        {"kind": "drop", "body": "shoe"},
        {"kind": "drop", "retry_after": 1},
        {"kind": "status", "retry_after": 1.5},
        {"kind": "status", "retry_after": "a\nb"},
    ],
)
def test_bad_faults_are_told_in_a_sentence(simulator: Simulator, value: object) -> None:
    """The file and the control route say the same, and nothing is armed."""
    with pytest.raises(UsageError, match=r"fault.*\.$") as caught:
        load_faults(json.dumps([{"kind": "drop"}, value]))
    response = asked(simulator, "POST", "/sandbox/faults", json=[{"kind": "drop"}, value])

    assert (400, str(caught.value)) == (response.status_code, response.json()["error"])
    assert [] == asked(simulator, "GET", "/sandbox/faults").json()


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000])
def test_faults_that_are_no_json_are_told_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="not JSON"):
        load_faults(text)


def test_every_kind_can_happen() -> None:
    """No kind is without its deed."""

    def happens(kind: Kind) -> Callable[[], object]:
        simulator = make_simulator()
        delay = 1.0 if kind in {Kind.DELAY, Kind.LATE_ANSWER, Kind.SLOW_BODY} else 0.0
        simulator.fault(Fault(kind, delay=delay))
        return lambda: send(simulator)

    for kind in Kind:
        try:
            happens(kind)()
        except httpx2.TransportError:
            continue


@pytest.mark.anyio
async def test_a_client_that_goes_away_leaves_nothing(simulator: Simulator) -> None:
    """Neither a text nor a fault of the program: its request had not come to its end."""
    came: list[Message] = [
        {"type": "http.request", "body": json.dumps(text_form(simulator)).encode()[:-9], "more_body": True},
        {"type": "http.disconnect"},
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": full_path(simulator, "text-messages.json"),
        "query_string": b"",
        "headers": [
            (b"authorization", f'Token token="{KEY}"'.encode()),
            (b"content-type", b"application/json"),
        ],
    }
    answered: list[Message] = []

    async def receive() -> Message:
        return came.pop(0)

    async def send_on(message: Message) -> None:
        answered.append(message)

    await create_app(simulator)(scope, receive, send_on)

    assert [] == simulator.texts
    assert 400 == answered[0]["status"]
