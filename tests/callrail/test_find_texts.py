"""Reading CallRail's conversations: which are asked for, and what of them counts."""

import json
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest

from callrail_relay.callrail.answers import read_ahead
from callrail_relay.callrail.simulator import Fault, Kind, Simulator
from callrail_relay.domain.message import read_instant
from callrail_relay.domain.reconcile import Lookup
from callrail_relay.domain.routing import Route
from callrail_relay.errors import RefusedByCallRail
from tests.callrail.simulated import NOON, StandingClock, make_simulator
from tests.service.rig import KEY, open_callrail
from tests.support.factories import RECIPIENT, recipient
from tests.support.simulator import InProcessTransport, add_tracker

pytestmark = pytest.mark.anyio

HELLO = "Hello. Reply STOP to end."
Change = Callable[[dict[str, Any]], object]


class Changed(httpx2.AsyncBaseTransport):
    """The simulator, with its lists of conversations changed as a test wants; it keeps what was asked."""

    def __init__(self, simulator: Simulator, change: Change = lambda _: None) -> None:
        self._inner = InProcessTransport(simulator)
        self._change = change
        self.asked: list[httpx2.URL] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url)
        response = await self._inner.handle_async_request(request)
        body = json.loads(await response.aread())
        if "conversations" in body or "messages" in body:
            body["asked"] = dict(request.url.params)
            self._change(body)
        return httpx2.Response(response.status_code, json=body)

    @property
    def searches(self) -> list[str | None]:
        return [url.params.get("search") for url in self.asked if url.path.endswith("/text-messages.json")]


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def simulator(clock: StandingClock) -> Simulator:
    return make_simulator(clock=clock)


async def find(
    simulator: Simulator,
    transport: httpx2.AsyncBaseTransport | None = None,
    *,
    conversation_id: str | None = None,
    tracking_number: str | None = None,
    age: timedelta = timedelta(minutes=1),
) -> Lookup:
    """What a look-up of a text to RECIPIENT brings, sent so long ago."""
    route = Route(simulator.account_id, simulator.company_id, tracking_number or simulator.tracking_number)
    transport = transport or InProcessTransport(simulator)
    async with open_callrail(transport=transport, api_key=KEY) as callrail:
        lookup = await callrail.find_texts(
            route, RECIPIENT, since=simulator.clock.now() - age, conversation_id=conversation_id
        )
    assert lookup.fault is None
    return lookup


async def fail_to_find(simulator: Simulator, *, conversation_id: str | None = None) -> Lookup:
    """The same where CallRail does not answer."""
    route = Route(simulator.account_id, simulator.company_id, simulator.tracking_number)
    transport = InProcessTransport(simulator)
    async with open_callrail(transport=transport, api_key=KEY) as callrail:
        lookup = await callrail.find_texts(
            route, RECIPIENT, since=simulator.clock.now(), conversation_id=conversation_id
        )
    assert lookup.fault is not None
    return lookup


def contents(lookup: Lookup) -> list[str]:
    return [text.content for text in lookup.texts]


def conversation_id(simulator: Simulator) -> str:
    """The id of the first conversation."""
    return next(iter(simulator.conversations))


# --- finding the conversation ------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [RECIPIENT, RECIPIENT[-10:], None])
async def test_whatever_form_of_a_number_callrail_searches_by(
    simulator: Simulator, known: str | None
) -> None:
    """E.164, then ten digits, then everybody of the company: which of them finds is not documented."""

    def change(body: dict[str, Any]) -> None:
        if "conversations" in body and body["asked"].get("search") != known:
            body["conversations"] = []

    simulator.write(RECIPIENT, HELLO)
    transport = Changed(simulator, change)

    lookup = await find(simulator, transport)

    forms = [RECIPIENT, RECIPIENT[-10:], None]
    assert forms[: forms.index(known) + 1] == transport.searches
    assert ([HELLO], len(transport.asked)) == (contents(lookup), lookup.requests)


@pytest.mark.parametrize(
    "form", ["+12025550122", "2025550122", "202-555-0122", "(202) 555-0122", 12025550122]
)
async def test_whatever_form_of_a_number_callrail_shows(simulator: Simulator, form: object) -> None:
    """The last ten digits count, of the person and of our number."""

    def change(body: dict[str, Any]) -> None:
        for conversation in body.get("conversations", ()):
            conversation["customer_phone_number"] = form
            conversation["current_tracking_number"] = simulator.tracking_number[-10:]
            del conversation["initial_tracking_number"]

    simulator.write(RECIPIENT, HELLO)

    assert [HELLO] == contents(await find(simulator, Changed(simulator, change)))


async def test_a_conversation_that_went_on_from_another_number_is_found(simulator: Simulator) -> None:
    """Ours may be the number with which it began."""
    other = add_tracker(simulator).tracking_numbers[0]
    simulator.write(RECIPIENT, HELLO)
    simulator.write(RECIPIENT, "From the other number.", tracking_number=other)

    for number in (simulator.tracking_number, other):
        assert {HELLO, "From the other number."} == set(
            contents(await find(simulator, tracking_number=number))
        )


async def test_a_conversation_of_another_number_alone_is_not_ours(simulator: Simulator) -> None:
    """Nothing left from ours."""
    other = add_tracker(simulator).tracking_numbers[0]
    simulator.write(RECIPIENT, HELLO, tracking_number=other)

    assert [] == contents(await find(simulator))


async def test_it_is_found_among_many_people(simulator: Simulator, clock: StandingClock) -> None:
    """Where no search helps, every page of the company's conversations is read."""

    def change(body: dict[str, Any]) -> None:
        if "conversations" in body and "search" in body["asked"]:
            body["conversations"] = []

    simulator.write(RECIPIENT, HELLO)
    for number in range(1, 520):
        clock.pass_time(1)
        simulator.write(recipient(number + 600), "Another's.")
    transport = Changed(simulator, change)

    lookup = await find(simulator, transport)

    assert [HELLO] == contents(lookup)
    # Two searches in vain, three pages of all, and the conversation.
    assert 6 == lookup.requests == len(transport.asked)


async def test_the_list_begins_a_day_before_the_text(simulator: Simulator, clock: StandingClock) -> None:
    """The account's day is not ours, and an older conversation cannot hold it."""
    simulator.write(RECIPIENT, HELLO)
    transport = Changed(simulator)
    await find(simulator, transport, age=timedelta(hours=5))

    expected = (clock.now() - timedelta(hours=5, days=1)).date().isoformat()
    assert {expected} == {url.params["start_date"] for url in transport.asked if "start_date" in url.params}
    assert all(url.params["company_id"] == simulator.company_id for url in transport.asked[:1])


async def test_a_known_conversation_is_asked_for_at_once(simulator: Simulator) -> None:
    """One request, and no search."""
    simulator.write(RECIPIENT, HELLO)
    transport = Changed(simulator)

    lookup = await find(simulator, transport, conversation_id=conversation_id(simulator))

    assert ([HELLO], 1, []) == (contents(lookup), lookup.requests, transport.searches)


async def test_a_known_conversation_without_news_is_not_all_there_may_be(
    simulator: Simulator, clock: StandingClock
) -> None:
    """CallRail may have begun another one; what both show counts once."""
    simulator.write(RECIPIENT, HELLO)
    clock.pass_time(3600)

    lookup = await find(simulator, conversation_id=conversation_id(simulator))

    assert [HELLO] == contents(lookup)
    assert lookup.requests > 1


async def test_a_conversation_that_is_gone_is_searched_for(simulator: Simulator) -> None:
    """And the request that told so counts."""
    simulator.write(RECIPIENT, HELLO)

    lookup = await find(simulator, conversation_id="gone")

    assert ([HELLO], 3) == (contents(lookup), lookup.requests)


@pytest.mark.parametrize("by_id", [True, False])
async def test_a_redirect_to_the_same_server_is_followed(simulator: Simulator, *, by_id: bool) -> None:
    """As one conversation is redirected from an account's number to its id; the request counts."""
    simulator.write(RECIPIENT, HELLO)
    id_, numeric = conversation_id(simulator), str(simulator.accounts[simulator.account_id].numeric_id)
    inner = Changed(simulator)

    async def moved(request: httpx2.Request) -> httpx2.Response:
        if numeric in request.url.path and id_ in request.url.path:
            location = str(request.url).replace(numeric, simulator.account_id)
            return httpx2.Response(302, headers={"Location": location})
        return await inner.handle_async_request(request)

    route = Route(numeric, simulator.company_id, simulator.tracking_number)
    async with open_callrail(transport=httpx2.MockTransport(moved), api_key=KEY) as callrail:
        known = id_ if by_id else None
        lookup = await callrail.find_texts(
            route, RECIPIENT, since=simulator.clock.now() - timedelta(minutes=1), conversation_id=known
        )

    assert ([HELLO], 2 if by_id else 3, None) == (contents(lookup), lookup.requests, lookup.fault)


async def test_a_redirect_to_another_server_is_not_followed(simulator: Simulator) -> None:
    """What it answers isn't CallRail's, and the key stays here."""
    asked = []

    def moved(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        return httpx2.Response(302, headers={"Location": "https://callrail.example/v3/a.json"})

    async with open_callrail(transport=httpx2.MockTransport(moved), api_key=KEY) as callrail:
        with pytest.raises(RefusedByCallRail, match=r"\(302\)"):
            await callrail.accounts()

    assert ["127.0.0.1"] == asked


# --- its clock, and ours -----------------------------------------------------------------------------------


class Dated(InProcessTransport):
    """The simulator with the date of its clock in each answer, as any server has it, or with another one."""

    def __init__(self, simulator: Simulator, date: str | None = None) -> None:
        super().__init__(simulator)
        self._clock = simulator.clock
        self._date = date

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        response.headers["Date"] = self._date or format_datetime(self._clock.now(), usegmt=True)
        return response


@pytest.mark.parametrize("minutes", [-12 * 60, -60, -11, -3, 0, 3, 11, 60, 12 * 60])
async def test_a_clock_of_ours_that_is_wrong_hides_nothing(
    simulator: Simulator, clock: StandingClock, minutes: int
) -> None:
    """Texts are dated by ours, replies never later; both are asked for as far back as if it were right."""
    ahead = timedelta(minutes=minutes)
    ours = StandingClock(clock.now() - ahead)
    simulator.receive(recipient(9), "Long ago")
    for each in (clock, ours):
        each.pass_time(20 * 60)
    since = ours.now() - timedelta(minutes=1)
    simulator.write(RECIPIENT, HELLO)
    clock.pass_time(1)
    simulator.receive(RECIPIENT, "Yes")
    route = Route(simulator.account_id, simulator.company_id, simulator.tracking_number)

    async with open_callrail(transport=Dated(simulator), api_key=KEY, clock=ours) as callrail:
        lookup = await callrail.find_texts(route, RECIPIENT, since=since, conversation_id=None)
        seen = await callrail.find_replies(simulator.account_id, simulator.company_id, since=since)

    assert abs(seen.ahead - ahead) < timedelta(seconds=2)
    [text] = lookup.texts
    assert abs(text.created_at - ours.now()) < timedelta(seconds=2)
    [(_, reply)] = seen.conversations
    assert reply.written_at is not None
    assert ("Yes", True) == (reply.content, reply.written_at < ours.now() + timedelta(seconds=2))


@pytest.mark.parametrize(
    "date",
    [
        "soon",
        "Wed, 08 Apr 2026 02:05:04",
        "Wed, 08 Apr 2026 02:05:04 -0000",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 08 Apr 99999999999 02:25:04 GMT",
    ],
)
async def test_a_date_that_cannot_be_right_moves_nothing(
    simulator: Simulator, clock: StandingClock, date: str
) -> None:
    async with open_callrail(transport=Dated(simulator, date), api_key=KEY, clock=clock) as callrail:
        seen = await callrail.find_replies(simulator.account_id, simulator.company_id, since=clock.now())
    assert (timedelta(), None) == (seen.ahead, seen.fault)


def test_an_answer_that_a_cache_kept_is_as_old_as_it_says() -> None:
    told = {"date": "Wed, 08 Apr 2026 02:25:04 GMT"}
    answered = read_instant("2026-04-08T02:36:04+00:00")
    assert answered is not None
    assert timedelta(minutes=-10) > read_ahead(told, answered, answered) > timedelta(minutes=-12)
    for age, ahead in (("660", 0), ("1e400", 0), ("nan", 0), ("soon", 0), ("780", 120)):
        assert timedelta(seconds=ahead) == read_ahead(told | {"age": age}, answered, answered)


def test_what_passes_while_callrail_answers_is_no_difference() -> None:
    """The request took long, or this program was stopped meanwhile."""
    told = {"date": "Wed, 08 Apr 2026 02:25:04 GMT"}
    asked = NOON - timedelta(minutes=5)
    assert timedelta() == read_ahead(told, asked, NOON + timedelta(hours=1))
    assert timedelta(minutes=4) > read_ahead(told, asked, asked + timedelta(minutes=1)) > timedelta(minutes=3)


# --- reading it --------------------------------------------------------------------------------------------


async def test_all_pages_of_a_conversation_are_read(simulator: Simulator, clock: StandingClock) -> None:
    """250 texts to a page, the newest first."""
    for number in range(501):
        simulator.write(RECIPIENT, f"Text {number}")
        clock.pass_time(1)

    lookup = await find(simulator, conversation_id=conversation_id(simulator), age=timedelta(hours=1))

    assert {f"Text {number}" for number in range(501)} == set(contents(lookup))
    assert 3 == lookup.requests


async def test_only_what_went_out_counts_with_its_time_in_utc(
    simulator: Simulator, clock: StandingClock
) -> None:
    """The person may have sent back the very words."""
    simulator.write(RECIPIENT, HELLO)
    written_at = clock.now()
    clock.pass_time(5)
    simulator.receive(RECIPIENT, HELLO)

    [text] = (await find(simulator)).texts

    assert abs(text.created_at - written_at) < timedelta(milliseconds=1)
    assert timedelta() == text.created_at.utcoffset()


@pytest.mark.parametrize("time", [None, "", "yesterday", "2026-04-07T22:25:04", 1_700_000_000])
async def test_a_text_without_a_time_that_can_be_read_is_passed_over(
    simulator: Simulator, time: object
) -> None:
    """It cannot be told whether it is ours; the others are read all the same."""

    def change(body: dict[str, Any]) -> None:
        if "messages" in body:
            body["messages"].append({"direction": "outgoing", "content": "When?", "created_at": time})
            body["messages"].append("no object")

    simulator.write(RECIPIENT, HELLO)

    assert [HELLO] == contents(await find(simulator, Changed(simulator, change)))


async def test_pages_without_a_count_are_read_to_the_last_full_one(
    simulator: Simulator, clock: StandingClock
) -> None:
    """``total_pages`` is missing on some of CallRail's lists."""
    for number in range(251):
        simulator.write(RECIPIENT, f"Text {number}")
        clock.pass_time(1)
    transport = Changed(simulator, lambda body: body.pop("total_pages", None))

    lookup = await find(
        simulator, transport, conversation_id=conversation_id(simulator), age=timedelta(hours=1)
    )

    assert 251 == len(lookup.texts)


# --- when CallRail does not answer -------------------------------------------------------------------------


@pytest.mark.parametrize("position", [1, 2])
@pytest.mark.parametrize("fault", [Kind.REFUSE, Kind.DROP_ANSWER, Kind.HALF_BODY, Kind.GARBAGE, Kind.STATUS])
async def test_half_an_answer_is_none(simulator: Simulator, fault: Kind, position: int) -> None:
    """
    Neither a list nor a conversation that could not be read means that the text is not there; what was
    asked counts all the same.
    """
    simulator.write(RECIPIENT, HELLO)
    simulator.fault(Fault(fault, on="read", position=position))

    failed = await fail_to_find(simulator)

    assert failed.fault
    assert position == failed.requests


async def test_a_limit_that_is_reached_is_no_answer(simulator: Simulator) -> None:
    """429: later there is one."""
    simulator.write(RECIPIENT, HELLO)
    simulator.fault(Fault(Kind.STATUS, on="read", status=429, times=1))

    assert "limit" in str((await fail_to_find(simulator)).fault)
    assert [HELLO] == contents(await find(simulator))


async def test_a_key_without_the_right_to_see_is_told(simulator: Simulator) -> None:
    """403 is not taken for a conversation that is gone."""
    simulator.write(RECIPIENT, HELLO)
    simulator.fault(Fault(Kind.STATUS, on="read", status=403, times=1))

    failed = await fail_to_find(simulator, conversation_id=conversation_id(simulator))
    assert "403" in str(failed.fault)
