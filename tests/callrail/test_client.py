"""
Every end that a send can come to, through the real client and the real outbox.

For each end whose outcome is unknown: CallRail got the text at most once, and it is never sent again.
"""

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import httpcore2._async.http11
import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callrail_relay.callrail.client import IDLE_CONNECTION, LARGEST_ANSWER, CallRail
from callrail_relay.callrail.simulator import Fault, Kind, Simulator, create_app
from callrail_relay.domain.events import AttemptFinished, AttemptStarted
from callrail_relay.domain.message import Message as Text
from callrail_relay.domain.message import Status
from callrail_relay.domain.outcome import NotSent, Outcome, OutcomeKind, Sent, Unknown
from callrail_relay.domain.routing import NamedEntry, NumberEntry, Route
from callrail_relay.errors import RefusedByCallRail, RelayError, Unavailable
from callrail_relay.sentences import explain_all
from callrail_relay.service.delivery import LEASE_CHECK, Delivery
from callrail_relay.web.server import Listener
from tests.service.rig import KEY, LoopTime, Rig, make_simulator, open_callrail, open_rig, outcomes
from tests.support.clock import ManualClock
from tests.support.factories import RECIPIENT, TEXT, make_route, recipient
from tests.support.simulator import (
    InProcessTransport,
    add_company,
    add_tracker,
    change_tracker,
    refuse,
    spend,
)

pytestmark = pytest.mark.anyio

SENT, NOT_SENT, REJECTED, RATE_LIMITED, UNKNOWN = OutcomeKind
STEPS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 7200.0, 90_000.0)
"""Seconds between the turns of workers that might send a text again: some seconds to more than a day."""


class Watched(httpx2.AsyncBaseTransport):
    """Another transport, with every request that went through it."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner
        self.requests: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return await self._inner.handle_async_request(request)


class Failing(httpx2.AsyncBaseTransport):
    """A connection whose first request ends in *error*, before or after CallRail has got it."""

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, error: type[httpx2.RequestError], *, taken: bool
    ) -> None:
        self._inner = inner
        self._error: type[httpx2.RequestError] | None = error
        self._taken = taken

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        error, self._error = self._error, None
        if error is None or self._taken:
            response = await self._inner.handle_async_request(request)
        if error is not None:
            raise error(
                f"failed: {request.headers['authorization']}" if error is httpx2.LocalProtocolError else ""
            )
        return response


@asynccontextmanager
async def watched_rig(
    folder: Path, *faults: Fault, simulator: Simulator | None = None, max_characters: int = 140
) -> AsyncIterator[tuple[Rig, Watched]]:
    clock = ManualClock() if simulator is None else simulator.clock
    assert isinstance(clock, ManualClock)
    simulator = simulator or make_simulator(clock)
    simulator.fault(*faults)
    transport = Watched(InProcessTransport(simulator))
    async with open_rig(
        folder, clock=clock, simulator=simulator, transport=transport, max_characters=max_characters
    ) as rig:
        yield rig, transport


@asynccontextmanager
async def listening_rig(folder: Path, *faults: Fault, connections: int = 4) -> AsyncIterator[Rig]:
    """A rig that reaches the simulator over a socket."""
    clock = ManualClock()
    simulator = make_simulator(clock)
    simulator.fault(*faults)
    async with (
        Listener(create_app(simulator), host="127.0.0.1", port=0, setting="--port") as listener,
        open_rig(
            folder, clock=clock, simulator=simulator, url=listener.url, network=True, connections=connections
        ) as rig,
    ):
        yield rig


async def send_once(rig: Rig, text: str = TEXT) -> str:
    """Accept one text and give it one turn; returns its id."""
    id_ = await rig.accept(text)
    await rig.work(rig.delivery())
    return id_


async def never_again(rig: Rig) -> None:
    """
    Let workers of this process and of others try for more than a day, and look up what they do not know.
    """
    for number, step in enumerate(STEPS):
        await rig.work(rig.delivery(node=f"node-{1 + number % 3}"), turns=2, step=step)
        await rig.reconciliation().turn()


async def assert_unknown(rig: Rig, id_: str, *, taken: int, status: int | None = None) -> Text:
    """
    The text is unknown, and never sent again: CallRail got it *taken* times, whatever the workers try.

    One that it took is found in its conversation, and one that it did not take is left to a person.
    """
    text = await rig.message(id_)
    assert Status.UNKNOWN == text.status
    assert [UNKNOWN] == outcomes(text)
    [attempt] = text.segments[0].attempts
    assert status == attempt.http_status
    assert taken == len(rig.simulator.texts)
    assert ["unknown"] == [reason.code for reason in text.reasons]
    await never_again(rig)
    assert taken == len(rig.simulator.texts)
    settled = await rig.message(id_)
    assert (Status.SENT if taken else Status.UNKNOWN) == settled.status
    assert [SENT if taken else UNKNOWN] == outcomes(settled)
    if not taken:
        assert "its conversation doesn't show it. Check" in (explain_all(settled.reasons) or "")
    return text


async def used(rig: Rig) -> int:
    [status] = await rig.operations.account_statuses()
    return status.hour.used


# --- CallRail took it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201])
async def test_text_that_was_taken_is_sent(tmp_path: Path, status: int) -> None:
    """200 and 201 with an id and the right number are Sent, once, with the conversation's id kept."""
    async with watched_rig(tmp_path, Fault(Kind.STATUS_AFTER, status=status, times=1)) as (rig, transport):
        id_ = await send_once(rig)
        await never_again(rig)

        text = await rig.message(id_)
        assert Status.SENT == text.status
        assert [SENT] == outcomes(text)
        assert text.conversation_id in rig.simulator.conversations
        assert [TEXT] == [taken.content for taken in rig.simulator.texts]
        assert 1 == len(transport.requests)


# --- nothing left ----------------------------------------------------------------------------------------


async def test_refused_connection_is_tried_again(tmp_path: Path) -> None:
    """Without a connection nothing was sent: it is tried again, in order, and costs no budget."""
    async with watched_rig(tmp_path, Fault(Kind.REFUSE, times=3)) as (rig, _):
        first, second = await rig.accept("First"), await rig.accept("Second")
        await rig.work(rig.delivery())
        assert Status.QUEUED == (await rig.message(first)).status
        assert 0 == await used(rig)

        await rig.work(rig.delivery(), turns=20)

        assert [NOT_SENT, NOT_SENT, NOT_SENT, SENT] == outcomes(await rig.message(first))
        assert [SENT] == outcomes(await rig.message(second))
        assert ["First", "Second"] == [taken.content for taken in rig.simulator.texts]
        assert 2 == await used(rig)


@pytest.mark.parametrize(
    "error", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError]
)
async def test_failure_to_connect_is_not_sent(tmp_path: Path, error: type[httpx2.RequestError]) -> None:
    """Every way not to get a connection is proof that nothing left."""
    clock = ManualClock()
    simulator = make_simulator(clock)
    transport = Failing(InProcessTransport(simulator), error, taken=False)
    async with open_rig(tmp_path, clock=clock, simulator=simulator, transport=transport) as rig:
        id_ = await send_once(rig)
        [attempt] = (await rig.message(id_)).segments[0].attempts
        assert f"No connection to CallRail ({error.__name__})." == attempt.detail

        await rig.work(rig.delivery(), turns=5)

        assert [NOT_SENT, SENT] == outcomes(await rig.message(id_))
        assert 1 == len(simulator.texts)


async def test_wait_after_failed_connections_grows(tmp_path: Path) -> None:
    """The backoff is a random part of a span that doubles from 1 s, and never beyond 5 minutes."""
    async with watched_rig(tmp_path, Fault(Kind.REFUSE)) as (rig, transport):
        await rig.accept()
        longest = []
        for strikes in range(14):
            await rig.work(rig.delivery(), step=0)
            [status] = await rig.operations.account_statuses()
            assert status.account.wait_until is not None
            longest.append(min(300, 2**strikes))
            wait = status.account.wait_until - rig.clock.now()
            assert timedelta() <= wait <= timedelta(seconds=longest[-1])
            rig.clock.set(status.account.wait_until)

        assert 300 == longest[-1]
        assert 14 == len(transport.requests)


async def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


async def unknown_name() -> str:
    return "https://callrail.invalid"


@pytest.mark.parametrize("address", [closed_port, unknown_name])
async def test_unreachable_callrail_gets_nothing(
    tmp_path: Path, address: Callable[[], Awaitable[str]]
) -> None:
    """An unknown name, and a port that no server listens on, over the real network."""
    async with open_rig(tmp_path, url=await address(), network=True) as rig:
        id_ = await send_once(rig)

        text = await rig.message(id_)
        assert Status.QUEUED == text.status
        assert [NOT_SENT] == outcomes(text)
        assert 0 == await used(rig)


async def test_tls_failure_is_not_sent(tmp_path: Path) -> None:
    """A server that speaks no TLS has got no text."""
    clock = ManualClock()
    simulator = make_simulator(clock)
    async with Listener(create_app(simulator), host="127.0.0.1", port=0, setting="--port") as listener:
        url = listener.url.replace("http://", "https://")
        async with open_rig(tmp_path, clock=clock, simulator=simulator, url=url, network=True) as rig:
            id_ = await send_once(rig)

            assert [NOT_SENT] == outcomes(await rig.message(id_))
            assert [] == simulator.texts


async def test_send_that_finds_no_free_connection_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When every connection is busy for longer than the connect time-out, the text has not left."""
    loop_time = LoopTime(monkeypatch)
    fault = Fault(Kind.LATE_ANSWER, position=1, delay=30)
    async with listening_rig(tmp_path, fault, connections=1) as rig:
        first = await rig.accept("First", to=recipient(1))
        second = await rig.accept("Second", to=recipient(2))
        delivery = rig.delivery()
        await delivery.turn()
        settling = asyncio.create_task(delivery.settle())
        await rig.clock.until_asleep()
        await rig.events.until(AttemptStarted, 2)
        # Time runs out for the connect time-out, not for the read time-out of the one that has a connection.
        for _ in range(5):
            loop_time.jump(6)
            for _ in range(20):
                await asyncio.sleep(0)  # a turn of the loop
        await rig.events.until(AttemptFinished)
        rig.clock.advance(30)
        await settling

        assert [SENT] == outcomes(await rig.message(first))
        assert [NOT_SENT] == outcomes(await rig.message(second))
        assert ["First"] == [taken.content for taken in rig.simulator.texts]


# --- CallRail said no ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 405, 406, 422])
async def test_refused_text_fails_with_callrails_words(tmp_path: Path, status: int) -> None:
    """It is not tried again, keeps its place in the budget, and shows what CallRail said."""
    fault = Fault(Kind.STATUS, status=status, body='{"error": "Color is not included"}')
    async with watched_rig(tmp_path, fault) as (rig, transport):
        id_ = await send_once(rig)
        text = await rig.message(id_)
        await never_again(rig)

        assert Status.FAILED == text.status
        assert [REJECTED] == outcomes(text)
        assert f"CallRail rejected it ({status}): Color is not included." == explain_all(text.reasons)
        assert text == await rig.message(id_)
        assert 1 == len(transport.requests)
        assert [] == rig.simulator.texts


async def test_text_that_is_refused_for_its_person_leaves_the_others_alone(tmp_path: Path) -> None:
    """A land line is that text's fault alone."""
    async with watched_rig(tmp_path) as (rig, _):
        refuse(rig.simulator, recipient(1), "landline")
        failed, fine = await rig.accept(to=recipient(1)), await rig.accept(to=recipient(2))
        await rig.work(rig.delivery(), turns=3)

        assert Status.FAILED == (await rig.message(failed)).status
        assert Status.SENT == (await rig.message(fine)).status


async def test_opted_out_person_gets_no_further_request(tmp_path: Path) -> None:
    """
    "Opted out" fails the text and opts the pair out: the next text is held and never asked for.
    """
    async with watched_rig(tmp_path) as (rig, transport):
        rig.simulator.opt_out(recipient(1))
        first = await rig.accept("First", to=recipient(1))
        await rig.work(rig.delivery())
        second = await rig.accept("Second", to=recipient(1))
        other = await rig.accept("Other", to=recipient(2))
        await rig.work(rig.delivery(), turns=3)

        assert Status.FAILED == (await rig.message(first)).status
        held = await rig.message(second)
        assert Status.HELD == held.status
        assert ["opt_out"] == [reason.code for reason in held.reasons]
        assert Status.SENT == (await rig.message(other)).status
        assert 2 == len(transport.requests)
        assert [(rig.simulator.tracking_number, recipient(1))] == rig.stored(
            "tracking_number, recipient", "suppressions"
        )


@pytest.mark.parametrize(("status", "words"), [(401, "doesn't recognize the API key"), (403, "read-only")])
async def test_refused_key_pauses_the_account_and_keeps_the_queue(
    tmp_path: Path, status: int, words: str
) -> None:
    """One request is enough to learn it; every text stays queued, and is sent in order once it is resumed."""
    async with watched_rig(tmp_path, Fault(Kind.STATUS, status=status, times=1)) as (rig, transport):
        ids = [await rig.accept(f"Text {number}") for number in range(3)]
        await rig.work(rig.delivery(), turns=10)

        assert 1 == len(transport.requests)
        assert [Status.QUEUED] * 3 == [(await rig.message(id_)).status for id_ in ids]
        assert words in (await rig.paused_reason() or "")
        assert 0 == await used(rig)

        await rig.operations.resume(None)
        await rig.work(rig.delivery(), turns=10)

        assert ["Text 0", "Text 1", "Text 2"] == [taken.content for taken in rig.simulator.texts]
        assert [REJECTED, SENT] == outcomes(await rig.message(ids[0]))


async def test_firewall_fails_one_text_and_three_in_a_row_pause_the_account(tmp_path: Path) -> None:
    """A page that is not CallRail's says nothing of the key, until nothing passes any more."""
    page = "<html><title>Attention Required! | Cloudflare</title></html>"
    async with watched_rig(tmp_path, Fault(Kind.STATUS, status=403, body=page, times=2)) as (rig, transport):
        first = [await rig.accept(f"Text {number}", to=recipient(number)) for number in range(3)]
        await rig.work(rig.delivery(), turns=10)

        assert [Status.FAILED, Status.FAILED, Status.SENT] == [
            (await rig.message(id_)).status for id_ in first
        ]
        assert "Attention Required! | Cloudflare" in (
            explain_all((await rig.message(first[0])).reasons) or ""
        )
        assert await rig.paused_reason() is None
        assert 1 == await used(rig)

        rig.simulator.fault(Fault(Kind.STATUS, status=403, body=page))
        later = [await rig.accept(f"Text {number}", to=recipient(number)) for number in range(3, 8)]
        await rig.work(rig.delivery(), turns=10)

        # Four are sent together: the fourth goes back to the queue when the third is refused.
        assert 7 == len(transport.requests)
        expected = [*(Status.FAILED,) * 3, *(Status.QUEUED,) * 2]
        assert expected == [(await rig.message(id_)).status for id_ in later]
        assert "firewall" in (await rig.paused_reason() or "")


@pytest.mark.parametrize(
    "body",
    ['{"errors":{"customer_phone_number":["has opted_out"]}}', '{"detail":"recipient has opted out"}'],
)
async def test_opt_out_in_other_words_puts_the_person_on_the_list(tmp_path: Path, body: str) -> None:
    """The next text to them is not sent, and CallRail's words are shown."""
    async with watched_rig(tmp_path, Fault(Kind.STATUS, status=400, body=body, times=1)) as (rig, transport):
        refused = await rig.accept("Hello")
        await rig.work(rig.delivery(), turns=5)
        held = await rig.accept("Hello again")
        await rig.work(rig.delivery(), turns=5)

        assert 1 == len(transport.requests)
        assert [Status.FAILED, Status.HELD] == [(await rig.message(id_)).status for id_ in (refused, held)]
        assert "opted" in (explain_all((await rig.message(refused)).reasons) or "")


async def test_read_only_key_pauses_the_account(tmp_path: Path) -> None:
    """What CallRail really answers to a key without write access."""
    async with watched_rig(tmp_path) as (rig, _):
        rig.simulator.read_only = True
        id_ = await send_once(rig)

        assert Status.QUEUED == (await rig.message(id_)).status
        assert "read-only" in (await rig.paused_reason() or "")


async def test_long_text_that_is_refused_is_cut_to_the_documented_length(tmp_path: Path) -> None:
    """
    Where the owner raised the limit and CallRail refuses it, 140 characters pass, and the account remembers.
    """
    simulator = make_simulator(ManualClock())
    simulator.max_characters = 140
    words = "word " * 50
    async with watched_rig(tmp_path, simulator=simulator, max_characters=1000) as (rig, transport):
        first = await rig.accept(words)
        await rig.work(rig.delivery(), turns=5)
        assert Status.SENT == (await rig.message(first)).status
        assert [REJECTED, SENT, SENT] == outcomes(await rig.message(first))
        asked = len(transport.requests)

        await rig.accept(words + "again")
        await rig.work(rig.delivery(), turns=5)

        assert asked + 2 == len(transport.requests)
        assert 4 == len(simulator.texts)
        assert all(len(taken.content) <= 140 for taken in simulator.texts)


# --- CallRail's limit ------------------------------------------------------------------------------------


async def waits(rig: Rig, delivery: Delivery, transport: Watched) -> float:
    """After how many seconds the next request is sent, if the worker looks as often as it wants to."""
    asked, began = len(transport.requests), rig.clock.now()
    while True:
        wake_at = await delivery.turn()
        await delivery.settle()
        if len(transport.requests) > asked:
            return (rig.clock.now() - began).total_seconds()
        rig.clock.set(wake_at or rig.clock.now() + LEASE_CHECK)


async def test_rate_limit_is_waited_for_as_long_as_callrail_says(tmp_path: Path) -> None:
    """The account waits, sends one probe, keeps the order, and nothing of it costs budget or is doubled."""
    fault = Fault(Kind.STATUS, status=429, retry_after=30, times=1)
    async with watched_rig(tmp_path, fault) as (rig, transport):
        ids = [await rig.accept(f"Text {number}") for number in range(3)]
        delivery = rig.delivery()
        await rig.work(delivery, step=0)
        assert 0 == await used(rig)

        assert 30 == await waits(rig, delivery, transport)
        await rig.work(delivery, turns=5)

        assert ["Text 0", "Text 1", "Text 2"] == [taken.content for taken in rig.simulator.texts]
        assert [RATE_LIMITED, SENT] == outcomes(await rig.message(ids[0]))
        assert 3 == await used(rig)


@pytest.mark.parametrize("retry_after", [None, 0, -1, 99_999, "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_without_a_sane_wait_it_doubles(tmp_path: Path, retry_after: int | str | None) -> None:
    """60 seconds, doubled up to 15 minutes, and from the beginning again after a success."""
    fault = Fault(Kind.STATUS, status=429, retry_after=retry_after, times=6)
    again = Fault(Kind.STATUS, status=429, position=8)
    async with watched_rig(tmp_path, fault, again) as (rig, transport):
        await rig.accept("First")
        await rig.accept("Second")
        delivery = rig.delivery()
        await rig.work(delivery, step=0)

        assert [60, 120, 240, 480, 900, 900] == [await waits(rig, delivery, transport) for _ in range(6)]
        assert 1 == await waits(rig, delivery, transport)
        assert 60 == await waits(rig, delivery, transport)
        assert ["First", "Second"] == [taken.content for taken in rig.simulator.texts]


async def test_waiting_account_sends_one_probe(tmp_path: Path) -> None:
    """After a wait one text goes alone; only when it passed do the others follow."""
    fault = Fault(Kind.STATUS, status=429, retry_after=30, times=1)
    async with watched_rig(tmp_path, fault) as (rig, transport):
        await rig.accept("Probe", to=recipient(1))
        await rig.work(rig.delivery(), step=30)
        for number in range(2, 5):
            await rig.accept(f"Text {number}", to=recipient(number))
        rig.simulator.fault(Fault(Kind.LATE_ANSWER, delay=10, position=1))
        delivery = rig.delivery()

        await delivery.turn()
        await rig.clock.until_asleep()
        await delivery.turn()
        assert 2 == len(transport.requests)

        rig.clock.advance(10)
        await delivery.settle()
        await rig.work(delivery)
        assert 5 == len(transport.requests)
        assert 4 == len(rig.simulator.texts)


async def test_exhausted_account_is_left_alone_until_its_hour_is_over(tmp_path: Path) -> None:
    """CallRail's own count of another program's texts keeps ours back without a single 429."""
    async with watched_rig(tmp_path) as (rig, transport):
        spend(rig.simulator, 149)
        first, second = await rig.accept("First"), await rig.accept("Second")
        await rig.work(rig.delivery(), turns=10)

        assert [Status.SENT, Status.QUEUED] == [(await rig.message(id_)).status for id_ in (first, second)]
        assert 1 == len(transport.requests)

        rig.clock.advance(3600)
        await rig.work(rig.delivery())
        assert Status.SENT == (await rig.message(second)).status


# --- unknown outcomes ------------------------------------------------------------------------------------

STATUSES_WITHOUT_AN_ANSWER = (301, 302, 303, 307, 308, 408, 500, 502, 503, 504)

UNKNOWN_ENDS = [
    *((Fault(Kind.STATUS, status=status, position=1), status, 0) for status in STATUSES_WITHOUT_AN_ANSWER),
    *(
        (Fault(Kind.STATUS_AFTER, status=status, position=1), status, 1)
        for status in (202, 204, *STATUSES_WITHOUT_AN_ANSWER)
    ),
    (Fault(Kind.DROP, position=1), None, 0),
    (Fault(Kind.DROP_ANSWER, position=1), None, 1),
    (Fault(Kind.HALF_BODY, position=1), None, 1),
    (Fault(Kind.DELAY, position=1, delay=70), None, 1),
    (Fault(Kind.LATE_ANSWER, position=1, delay=70), None, 1),
    (Fault(Kind.NO_ID, position=1), 200, 1),
    (Fault(Kind.OTHER_CUSTOMER, position=1), 200, 1),
    (Fault(Kind.GARBAGE, position=1), 200, 1),
    (Fault(Kind.GARBAGE, position=1, body=""), 200, 1),
    (Fault(Kind.GARBAGE, position=1, body='{"id": "c0nv1"'), 200, 1),
    (Fault(Kind.GARBAGE, position=1, body="[]"), 200, 1),
    (Fault(Kind.GARBAGE, position=1, body=" " * (LARGEST_ANSWER + 1)), None, 1),
]


@pytest.mark.parametrize(
    ("fault", "status", "taken"),
    UNKNOWN_ENDS,
    ids=[f"{fault.kind}-{status}-{number}" for number, (fault, status, _) in enumerate(UNKNOWN_ENDS)],
)
async def test_unclear_end_is_unknown_for_good(
    tmp_path: Path, fault: Fault, status: int | None, taken: int
) -> None:
    """One request, never followed and never repeated; it keeps its place in the budget, and others go on."""
    async with watched_rig(tmp_path, fault) as (rig, transport):
        id_ = await send_once(rig)
        assert 1 == await used(rig)
        await assert_unknown(rig, id_, taken=taken, status=status)
        assert 1 == sum(request.method == "POST" for request in transport.requests)

        later = await rig.accept("And another thing")
        await rig.work(rig.delivery(), turns=3)
        assert Status.SENT == (await rig.message(later)).status


BROKEN_AFTER_CONNECTING = (
    httpx2.WriteError,
    httpx2.WriteTimeout,
    httpx2.ReadError,
    httpx2.ReadTimeout,
    httpx2.CloseError,
    httpx2.RemoteProtocolError,
    httpx2.LocalProtocolError,
    httpx2.DecodingError,
    httpx2.TooManyRedirects,
    httpx2.UnsupportedProtocol,
)


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("error", BROKEN_AFTER_CONNECTING)
async def test_connection_that_breaks_leaves_the_text_unknown(
    tmp_path: Path, error: type[httpx2.RequestError], *, taken: bool
) -> None:
    """Once there was a connection nothing is proven, whatever broke; the key is in no word of it."""
    clock = ManualClock()
    simulator = make_simulator(clock)
    transport = Failing(InProcessTransport(simulator), error, taken=taken)
    async with open_rig(tmp_path, clock=clock, simulator=simulator, transport=transport) as rig:
        id_ = await send_once(rig)

        text = await assert_unknown(rig, id_, taken=int(taken))
        assert KEY not in str(text)
        assert error.__name__ in (explain_all(text.reasons) or "")


def with_broken_gzip(app: ASGIApp, *, cut: bool) -> ASGIApp:
    """*app* with answers that say they are gzip, and are not, or break off."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_broken(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message["headers"] if name != b"content-length"]
                message = {**message, "headers": [*kept, (b"content-encoding", b"gzip")]}
            elif cut:
                message = {**message, "body": gzip.compress(message["body"])[:-12]}
            await send(message)

        await app(scope, receive, send_broken)

    return broken


@pytest.mark.parametrize("cut", [False, True])
async def test_answer_that_cannot_be_decompressed_is_unknown(tmp_path: Path, *, cut: bool) -> None:
    """The text was taken; what CallRail said of it is lost."""
    clock = ManualClock()
    simulator = make_simulator(clock)
    transport = InProcessTransport(simulator, with_broken_gzip(create_app(simulator), cut=cut))
    async with open_rig(tmp_path, clock=clock, simulator=simulator, transport=transport) as rig:
        id_ = await send_once(rig)

        text = await rig.message(id_)
        assert Status.UNKNOWN == text.status
        await never_again(rig)
        assert 1 == len(simulator.texts)


@pytest.mark.parametrize("taken", [False, True])
async def test_fault_of_our_own_while_sending_is_unknown(tmp_path: Path, *, taken: bool) -> None:
    """A sender that raises has proven nothing either."""

    class Broken:
        def __init__(self, rig: Rig) -> None:
            self._rig = rig

        async def send_text(self, route: Route, recipient: str, content: str) -> Outcome:
            if taken:
                await self._rig.callrail.send_text(route, recipient, content)
            raise RuntimeError(f"lost {content} for {recipient}")

    async with watched_rig(tmp_path) as (rig, _):
        id_ = await rig.accept()
        await rig.work(rig.delivery(sender=Broken(rig)))

        text = await assert_unknown(rig, id_, taken=int(taken))
        assert "RuntimeError" in (explain_all(text.reasons) or "")
        assert TEXT not in (explain_all(text.reasons) or "")


async def crashed(rig: Rig) -> str:
    """A text whose process dies while CallRail has it: the id of its message."""
    rig.simulator.fault(Fault(Kind.LATE_ANSWER, position=1, delay=30))
    id_ = await rig.accept()
    before = asyncio.all_tasks()
    await rig.delivery().turn()
    await rig.clock.until_asleep()
    for task in asyncio.all_tasks() - before:
        task.cancel()
        await asyncio.wait([task])
    assert 1 == len(rig.simulator.texts)
    assert [None] == outcomes(await rig.message(id_))
    return id_


async def test_crashed_send_is_unknown_when_the_node_starts_again(tmp_path: Path) -> None:
    """The attempt was written before the request left, so a crash reads as unknown, never as untried."""
    async with watched_rig(tmp_path) as (rig, transport):
        id_ = await crashed(rig)
        await rig.work(rig.delivery())

        await assert_unknown(rig, id_, taken=1)
        assert 1 == sum(request.method == "POST" for request in transport.requests)


async def test_crashed_send_is_unknown_for_another_node_when_its_lease_is_over(tmp_path: Path) -> None:
    """Another machine cannot know that the first one died before the lease has run out."""
    async with watched_rig(tmp_path) as (rig, _):
        id_ = await crashed(rig)
        other = rig.delivery(node="node-2")
        await rig.work(other, turns=5, step=14.9)
        assert Status.SENDING == (await rig.message(id_)).status

        await rig.work(other, turns=2, step=16)
        await assert_unknown(rig, id_, taken=1)


# --- over a real socket ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "taken"),
    [
        (Fault(Kind.REFUSE, position=1), None, 0),
        (Fault(Kind.DROP, position=1), None, 0),
        (Fault(Kind.DROP_ANSWER, position=1), None, 1),
        (Fault(Kind.HALF_BODY, position=1), None, 1),
        (Fault(Kind.STATUS_AFTER, position=1, status=302), 302, 1),
        (Fault(Kind.STATUS_AFTER, position=1, status=503), 503, 1),
        (Fault(Kind.GARBAGE, position=1, body=" " * (LARGEST_ANSWER + 1)), None, 1),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Fault) else None,
)
async def test_unclear_end_of_a_real_connection_is_unknown(
    tmp_path: Path, fault: Fault, status: int | None, taken: int
) -> None:
    """A server that closes the connection, at whatever point, has perhaps taken the text."""
    async with listening_rig(tmp_path, fault) as rig:
        await assert_unknown(rig, await send_once(rig), taken=taken, status=status)


async def test_answer_that_does_not_come_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The read time-out runs out on a real connection."""
    loop_time = LoopTime(monkeypatch)
    async with listening_rig(tmp_path, Fault(Kind.LATE_ANSWER, position=1, delay=70)) as rig:
        id_ = await rig.accept()
        delivery = rig.delivery()
        await delivery.turn()
        await rig.clock.until_asleep()
        loop_time.jump(60)
        await delivery.settle()

        rig.clock.advance(70)
        text = await assert_unknown(rig, id_, taken=1)
        assert "ReadTimeout" in (explain_all(text.reasons) or "")


async def test_answer_that_trickles_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that keep coming do not keep an attempt open beyond both time-outs and a margin."""
    loop_time = LoopTime(monkeypatch)
    async with listening_rig(tmp_path, Fault(Kind.SLOW_BODY, position=1, delay=10)) as rig:
        id_ = await rig.accept()
        delivery = rig.delivery()
        await delivery.turn()
        settled = asyncio.ensure_future(delivery.settle())
        while not settled.done():
            asleep = asyncio.ensure_future(rig.clock.until_asleep())
            await asyncio.wait((asleep, settled), return_when=asyncio.FIRST_COMPLETED)
            asleep.cancel()
            loop_time.jump(10)
            rig.clock.advance(10)
            await asyncio.sleep(0)

        while rig.clock.wake_ats:
            rig.clock.advance(10)
            await asyncio.sleep(0)
        text = await assert_unknown(rig, id_, taken=1)
        assert "didn't finish its answer in time" in (explain_all(text.reasons) or "")


async def test_connection_that_is_reset_while_writing_is_unknown() -> None:
    """A server that hangs up in the middle of the request may have read all that matters."""

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with raw_server(hang_up) as url, open_callrail(url) as callrail:
        outcome = await callrail.send_text(make_route(), RECIPIENT, "x" * 20_000_000)

        assert isinstance(outcome, Unknown)


@asynccontextmanager
async def raw_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Recorder:
    """A server that keeps the bytes of each request, and says that it took the text."""

    ANSWER = json.dumps({"id": "c0nv1", "customer_phone_number": RECIPIENT}).encode()

    def __init__(self, status: str = "200 OK", headers: str = "") -> None:
        self.connections: list[list[bytes]] = []
        self._head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(self.ANSWER)}\r\n\r\n".encode()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests: list[bytes] = []
        self.connections.append(requests)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                [length] = [
                    int(line[15:])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ]
                requests.append(head + await reader.readexactly(length))
                writer.write(self._head + self.ANSWER)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


async def test_request_on_the_wire_is_callrails() -> None:
    """Path, quoted key, and JSON with exactly CallRail's names, as its documentation shows."""
    recorder = Recorder()
    route = make_route()
    async with raw_server(recorder) as url, open_callrail(url) as callrail:
        assert Sent(200, "c0nv1") == await callrail.send_text(route, RECIPIENT, "Hé \N{GRINNING FACE}\n“yes”")

    [[request]] = recorder.connections
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines[1:]}
    assert f"POST /v3/a/{route.account_id}/text-messages.json HTTP/1.1" == lines[0]
    assert f'Token token="{KEY}"' == headers["authorization"]
    assert "application/json" == headers["content-type"]
    assert {
        "company_id": route.company_id,
        "tracking_number": route.tracking_number,
        "customer_phone_number": RECIPIENT,
        "content": "Hé \N{GRINNING FACE}\n“yes”",
    } == json.loads(body)


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
async def test_redirect_is_not_followed(status: str) -> None:
    """A redirected POST would become a GET whose 200 looks like success, or take the key elsewhere."""
    elsewhere = Recorder()
    async with raw_server(elsewhere) as other:
        recorder = Recorder(status, f"Location: {other}/v3/a/ACC1/text-messages.json\r\n")
        async with raw_server(recorder) as url, open_callrail(url) as callrail:
            outcome = await callrail.send_text(make_route(), RECIPIENT, TEXT)

    assert isinstance(outcome, Unknown)
    assert 1 == sum(len(requests) for requests in recorder.connections)
    assert [] == elsewhere.connections


async def test_idle_connection_is_not_used_again_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text sent into a connection that the other side is about to close would be unknown."""
    now = 100.0
    monkeypatch.setattr(httpcore2._async.http11, "time", SimpleNamespace(monotonic=lambda: now))  # noqa: SLF001 - the only place that tells the age of a connection
    recorder = Recorder()
    async with raw_server(recorder) as url, open_callrail(url) as callrail:
        for age in (0.0, IDLE_CONNECTION - 0.1, IDLE_CONNECTION + 0.1):
            now += age
            await callrail.send_text(make_route(), RECIPIENT, TEXT)

    assert [2, 1] == [len(requests) for requests in recorder.connections]


async def test_server_that_closed_an_idle_connection_loses_no_text() -> None:
    """A connection that the other side has closed meanwhile is not written to."""

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = Recorder.ANSWER
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async with raw_server(answer_once) as url, open_callrail(url) as callrail:
        for _ in range(3):
            assert isinstance(await callrail.send_text(make_route(), RECIPIENT, TEXT), Sent)


async def test_deadline_holds_whatever_the_time_outs_are() -> None:
    """The deadline of a whole answer is the client's own."""
    simulator = make_simulator(ManualClock())
    simulator.fault(Fault(Kind.LATE_ANSWER, delay=1))
    transport = InProcessTransport(simulator)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://127.0.0.1", headers={"Authorization": f'Token token="{KEY}"'}
    ) as http:
        outcome = await CallRail(http, deadline=0).send_text(make_route(), RECIPIENT, TEXT)

    assert Unknown("CallRail didn't finish its answer in time.") == outcome


# --- the key ---------------------------------------------------------------------------------------------


async def test_key_is_in_no_word_and_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, and however much is logged, the key never shows."""
    caplog.set_level("DEBUG")
    said: list[object] = []
    ends = [
        Fault(Kind.STATUS, status=status, on="any", position=position)
        for position, status in enumerate((401, 403, 404, 429, 500), start=1)
    ]
    async with listening_rig(tmp_path, *ends, Fault(Kind.DROP, on="any", position=6)) as rig:
        route = make_route()
        said += [await rig.callrail.send_text(route, RECIPIENT, TEXT) for _ in range(6)]
    async with open_callrail(await closed_port()) as callrail:
        said.append(await callrail.send_text(make_route(), RECIPIENT, TEXT))
        with pytest.raises(Unavailable) as caught:
            await callrail.accounts()
        said += [caught.value, caught.value.__cause__, callrail]

    for one in said:
        assert KEY not in f"{one} {one!r}"
    assert KEY not in caplog.text


@pytest.mark.parametrize("key", ["line\nbreak-test-key", "nul\0-test-key", "é-test-key"])
async def test_a_key_that_no_header_can_hold_is_refused(key: str) -> None:
    """Nothing is sent, and it isn't quoted; else its failure would look like a text that may have arrived."""
    with pytest.raises(ValueError, match="api_key must be printable ASCII") as caught:
        async with CallRail.open(key):
            pytest.fail("it was opened")
    assert "test-key" not in str(caught.value)


# --- lists -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def asking(simulator: Simulator, api_key: str = KEY) -> AsyncIterator[CallRail]:
    async with open_callrail(transport=InProcessTransport(simulator), api_key=api_key) as callrail:
        yield callrail


@pytest.fixture
def simulator() -> Simulator:
    return make_simulator(ManualClock())


async def test_discovery_finds_what_can_text(simulator: Simulator) -> None:
    """The account, its active companies, and the numbers of one company, source trackers first."""
    add_company(simulator, name="Gone", disabled=True)
    pool = add_tracker(simulator, name="Pool", pool=2)
    mute = add_tracker(simulator, name="Mute")
    change_tracker(simulator, mute.id, sms_enabled=False)
    other = add_company(simulator, name="Other")
    add_tracker(simulator, company_id=other.id, name="Theirs")
    second = add_tracker(simulator, name="Second")
    async with asking(simulator) as callrail:
        assert [
            NamedEntry(
                simulator.account_id,
                "Example Account",
                str(simulator.accounts[simulator.account_id].numeric_id),
            )
        ] == (await callrail.accounts())
        assert [
            NamedEntry(simulator.company_id, "Example Co"),
            NamedEntry(other.id, "Other"),
        ] == await callrail.companies(simulator.account_id)
        numbers = await callrail.numbers(simulator.account_id, simulator.company_id)

    assert [
        NumberEntry(simulator.tracking_number, "Main line", simulator.company_id, pooled=False),
        NumberEntry(second.tracking_numbers[0], "Second", simulator.company_id, pooled=False),
        *(NumberEntry(number, "Pool", simulator.company_id, pooled=True) for number in pool.tracking_numbers),
    ] == numbers


async def test_every_page_is_read(simulator: Simulator) -> None:
    """A list ends at an empty page, and not before."""
    for number in range(105):
        add_company(simulator, name=f"Company {number}")
    async with asking(simulator) as callrail:
        assert 106 == len({entry.id for entry in await callrail.companies(simulator.account_id)})


async def test_list_without_an_end_is_left(simulator: Simulator) -> None:
    """A server that ignores the page number does not keep us for ever."""
    page = json.dumps({"accounts": [{"id": "ACC1"}]})
    simulator.fault(Fault(Kind.STATUS, on="read", status=200, body=page))
    async with asking(simulator) as callrail:
        assert 200 == len(await callrail.accounts())


async def looked_up(simulator: Simulator, *, conversation_id: str | None = None) -> tuple[list[str], int]:
    """The outgoing texts of the last hour with RECIPIENT, and how many requests it took to find them."""
    route = Route(simulator.account_id, simulator.company_id, simulator.tracking_number)
    since = simulator.clock.now() - timedelta(hours=1)
    async with asking(simulator) as callrail:
        lookup = await callrail.find_texts(route, RECIPIENT, since=since, conversation_id=conversation_id)
    assert lookup.fault is None
    return [text.content for text in lookup.texts], lookup.requests


async def test_texts_are_found_by_their_conversation(simulator: Simulator) -> None:
    """One request where its id is known; only what went out, with its time."""
    simulator.write(RECIPIENT, "Ours. STOP")
    simulator.receive(RECIPIENT, "Theirs")
    [id_] = simulator.conversations

    assert (["Ours. STOP"], 1) == await looked_up(simulator, conversation_id=id_)


async def test_texts_are_found_by_searching(simulator: Simulator) -> None:
    """Without an id, and where the conversation under the id is gone; other people's are passed over."""
    simulator.write(RECIPIENT, "Ours. STOP")
    simulator.write(recipient(1), "Another's. STOP")

    assert (["Ours. STOP"], 2) == await looked_up(simulator)
    assert (["Ours. STOP"], 3) == await looked_up(simulator, conversation_id="gone")


async def test_texts_of_another_number_are_not_ours(simulator: Simulator) -> None:
    """The same person on another company's line."""
    other = add_company(simulator, name="Other")
    tracker = add_tracker(simulator, company_id=other.id)
    simulator.write(RECIPIENT, "Theirs. STOP", tracking_number=tracker.tracking_numbers[0])

    assert [] == (await looked_up(simulator))[0]


async def test_nobody_known_is_nothing_found(simulator: Simulator) -> None:
    """Three ways to search, and no text."""
    assert ([], 3) == await looked_up(simulator)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.STATUS, on="read", status=500),
        Fault(Kind.STATUS, on="read", status=403),
        Fault(Kind.DROP, on="read"),
        Fault(Kind.GARBAGE, on="read"),
        Fault(Kind.STATUS, on="read", status=200, body='{"messages": 1, "conversations": 1}'),
    ],
    ids=["500", "403", "dropped", "garbage", "another shape"],
)
@pytest.mark.parametrize("conversation_id", [None, "c0nv1"])
async def test_search_that_fails_finds_nothing_out(
    simulator: Simulator, fault: Fault, conversation_id: str | None
) -> None:
    """No answer is never taken for "not there"; what was asked counts."""
    simulator.fault(fault)
    route = Route(simulator.account_id, simulator.company_id, simulator.tracking_number)
    async with asking(simulator) as callrail:
        lookup = await callrail.find_texts(
            route, RECIPIENT, since=simulator.clock.now(), conversation_id=conversation_id
        )

    assert lookup.fault is not None
    assert 1 == lookup.requests


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, RefusedByCallRail, "doesn't recognize this API key"),
        (403, RefusedByCallRail, "doesn't let this API key see that"),
        (404, RefusedByCallRail, "no such account"),
        (400, RefusedByCallRail, r"rejected the request \(400\)"),
        (302, RefusedByCallRail, r"rejected the request \(302\)"),
        (429, Unavailable, "request limit"),
        (500, Unavailable, r"is having problems \(500\)"),
        (503, Unavailable, r"is having problems \(503\)"),
    ],
)
async def test_refused_question_says_what_to_do(
    simulator: Simulator, status: int, error: type[RelayError], words: str
) -> None:
    """A list that CallRail does not give is a fault in words."""
    simulator.fault(Fault(Kind.STATUS, on="read", status=status))
    async with asking(simulator) as callrail:
        with pytest.raises(error, match=words):
            await callrail.accounts()


async def test_wrong_key_is_told(simulator: Simulator) -> None:
    """What CallRail really answers to a key it does not know."""
    async with asking(simulator, "another-key") as callrail:
        with pytest.raises(RefusedByCallRail, match="401"):
            await callrail.accounts()


@pytest.mark.parametrize("body", ["<html>", "[]", '{"companies": []}', ""])
async def test_other_server_is_told(simulator: Simulator, body: str) -> None:
    """A page of something else than CallRail names the setting to look at."""
    simulator.fault(Fault(Kind.STATUS, on="read", status=200, body=body))
    async with asking(simulator) as callrail:
        with pytest.raises(Unavailable, match=r"callrail\.api_url"):
            await callrail.accounts()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.REFUSE, on="read"),
        Fault(Kind.DROP, on="read"),
        Fault(Kind.STATUS, on="read", status=200, body=" " * (LARGEST_ANSWER + 1)),
    ],
    ids=["refused", "dropped", "too large"],
)
async def test_unreachable_callrail_is_told(simulator: Simulator, fault: Fault) -> None:
    """What is no answer is Unavailable, with the host's name."""
    simulator.fault(fault)
    async with asking(simulator) as callrail:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1 can't be reached"):
            await callrail.accounts()


async def test_not_sent_says_why() -> None:
    """The cause of a failed connection is in its words."""
    async with open_callrail(await unknown_name()) as callrail:
        outcome = await callrail.send_text(make_route(), RECIPIENT, TEXT)

    assert isinstance(outcome, NotSent)
    assert "not known" in outcome.detail
