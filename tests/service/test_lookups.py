"""From the lost answer to the settled text: delivery, CallRail and the look-ups together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.cli.messages import message_document
from callrail_relay.domain.events import LookupFailed, OutcomeFound, SentTwice
from callrail_relay.domain.mapper import MappingPolicy, map_direct
from callrail_relay.domain.message import Message, Status, Verb
from callrail_relay.domain.outcome import OutcomeKind
from callrail_relay.domain.reconcile import OnUnknown
from callrail_relay.domain.routing import Route, Routes
from callrail_relay.sentences import explain_all
from tests.service.rig import Rig, make_simulator, open_rig, outcomes
from tests.support.clock import ManualClock
from tests.support.factories import RECIPIENT, recipient
from tests.support.policies import LADDER
from tests.support.simulator import InProcessTransport, add_tracker

pytestmark = pytest.mark.anyio

TEXT = "It\u2019s the \u201cold\u201d house \u2013\r\nstill for sale? \U0001f3e0"
DAY = timedelta(days=1)
TAKEN = (
    Fault(Kind.DROP_ANSWER, position=1),
    Fault(Kind.LATE_ANSWER, position=1, delay=61),
    Fault(Kind.STATUS_AFTER, position=1),
    Fault(Kind.STATUS_AFTER, position=1, status=302),
    Fault(Kind.STATUS_AFTER, position=1, status=408),
    Fault(Kind.STATUS_AFTER, position=1, status=202),
    Fault(Kind.GARBAGE, position=1),
    Fault(Kind.HALF_BODY, position=1),
    Fault(Kind.NO_ID, position=1),
    Fault(Kind.OTHER_CUSTOMER, position=1),
)
LOST = (
    Fault(Kind.DROP, position=1),
    Fault(Kind.STATUS, position=1),
    Fault(Kind.STATUS, position=1, status=302),
    Fault(Kind.STATUS, position=1, status=408),
    Fault(Kind.STATUS, position=1, status=503),
)
WAYS = ("unknown conversation", "known conversation", "among many")


class Counted(httpx2.AsyncBaseTransport):
    """The simulator, with the number of texts it was asked to send."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner
        self.posts = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.posts += request.method == "POST"
        return await self._inner.handle_async_request(request)


@asynccontextmanager
async def counted_rig(
    folder: Path, *, on_unknown: OnUnknown = OnUnknown.ASK
) -> AsyncIterator[tuple[Rig, Counted]]:
    clock = ManualClock()
    simulator = make_simulator(clock)
    transport = Counted(InProcessTransport(simulator))
    async with open_rig(
        folder, clock=clock, simulator=simulator, transport=transport, on_unknown=on_unknown
    ) as rig:
        yield rig, transport


def name_of(fault: Fault) -> str:
    return fault.kind if fault.status is None else f"{fault.kind} {fault.status}"


async def send(rig: Rig, text: str = TEXT, *, to: str = RECIPIENT) -> str:
    """Accept a text and give it one turn."""
    id_ = await rig.accept(text, to=to)
    await rig.work(rig.delivery(), step=0)
    return id_


async def climb(rig: Rig, *, most: timedelta = DAY * 2) -> None:
    """Let time pass from one look-up to the next, until no more is to come."""
    end = rig.clock.now() + most
    reconciliation = rig.reconciliation()
    while (due_at := await reconciliation.turn()) is not None and due_at <= end:
        rig.clock.set(max(due_at, rig.clock.now() + timedelta(milliseconds=1)))


async def prepare(rig: Rig, way: str) -> None:
    """What CallRail has before the text: nothing, a conversation that is known here, or very many."""
    if way == "known conversation":
        await send(rig, "We talked before.")
        rig.clock.advance(3600)
    if way == "among many":
        for number in range(260):
            rig.simulator.write(recipient(600 + number), "Another's.")
            rig.clock.advance(30)


def evidence_of(message: Message) -> list[str]:
    return [
        one.detail for segment in message.segments for attempt in segment.attempts for one in attempt.evidence
    ]


# --- each fault --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", TAKEN, ids=name_of)
async def test_taken_text_whose_answer_was_lost_ends_sent(tmp_path: Path, fault: Fault, way: str) -> None:
    """At the first look, without a second request, however CallRail shows the words."""
    async with counted_rig(tmp_path) as (rig, transport):
        await prepare(rig, way)
        posts, began = transport.posts, len(rig.simulator.texts)
        rig.simulator.fault(fault)
        id_ = await send(rig)
        assert Status.UNKNOWN == (await rig.message(id_)).status
        unknown_since = rig.clock.now()
        await climb(rig)
        settled_at = rig.clock.now()
        await rig.work(rig.delivery(), turns=3, step=3600)

        message = await rig.message(id_)
        assert (Status.SENT, [OutcomeKind.SENT]) == (message.status, outcomes(message))
        assert settled_at - unknown_since == LADDER[0]
        assert (posts + 1, began + 1) == (transport.posts, len(rig.simulator.texts))
        assert "Found in CallRail's conversation" in evidence_of(message)[-1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", LOST, ids=name_of)
async def test_text_that_did_not_arrive_is_left_to_a_person(tmp_path: Path, fault: Fault, way: str) -> None:
    """After the whole ladder, without a second request."""
    async with counted_rig(tmp_path) as (rig, transport):
        await prepare(rig, way)
        posts = transport.posts
        rig.simulator.fault(fault)
        id_ = await send(rig)
        unknown_since = rig.clock.now()
        await climb(rig)
        ended_at = rig.clock.now()
        await rig.work(rig.delivery(), turns=3, step=3600)

        message = await rig.message(id_)
        assert (Status.UNKNOWN, [OutcomeKind.UNKNOWN]) == (message.status, outcomes(message))
        assert ended_at - unknown_since == LADDER[-1]
        assert "its conversation doesn't show it. Check" in (explain_all(message.reasons) or "")
        assert posts + 1 == transport.posts
        assert len(LADDER) == len(evidence_of(message))
        assert [] == rig.events.of(OutcomeFound)


# --- several ----------------------------------------------------------------------------------------------


async def test_every_part_of_a_long_text_may_be_lost_on_the_way_back(tmp_path: Path) -> None:
    """Three parts, three lost answers: found one after the other, sent once each and in order."""
    async with counted_rig(tmp_path) as (rig, transport):
        rig.simulator.fault(Fault(Kind.DROP_ANSWER, times=3))
        id_ = await send(rig, " ".join(f"word{number:05}" for number in range(40)))
        for _ in range(3):
            await climb(rig)
            rig.clock.advance(60)
            await rig.work(rig.delivery(), turns=2)

        message = await rig.message(id_)
        assert Status.SENT == message.status
        assert [segment.content for segment in message.segments] == [
            text.content for text in rig.simulator.texts
        ]
        assert 3 == transport.posts


async def test_of_two_equal_texts_the_lost_one_is_known(tmp_path: Path) -> None:
    """CallRail shows one; the one it confirmed is that one."""
    async with counted_rig(tmp_path) as (rig, _):
        await send(rig)
        rig.clock.advance(30)
        rig.simulator.fault(Fault(Kind.DROP, position=1))
        lost = await send(rig)
        await climb(rig)

        assert Status.UNKNOWN == (await rig.message(lost)).status


async def test_a_short_text_is_not_found_in_a_longer_one(tmp_path: Path) -> None:
    """The longer one was the first to this person, and shows up with wording behind it."""
    async with counted_rig(tmp_path) as (rig, _):
        await send(rig, "Yes, Tuesday works")
        assert "STOP" in rig.simulator.texts[0].delivered_content
        rig.clock.advance(30)
        rig.simulator.fault(Fault(Kind.DROP, position=1))
        lost = await send(rig, "Yes")
        await climb(rig)

        assert Status.UNKNOWN == (await rig.message(lost)).status


async def test_the_same_words_from_another_number_of_the_company_are_not_this_text(tmp_path: Path) -> None:
    """
    CallRail keeps both in one conversation with the person and does not say which number they left from.
    """
    async with counted_rig(tmp_path) as (rig, _):
        other = add_tracker(rig.simulator).tracking_numbers[0]
        route = Route(rig.simulator.account_id, rig.simulator.company_id, other)
        mapping = MappingPolicy(
            routes=Routes(default=route),
            guards=rig.mapping.guards,
            max_characters=rig.mapping.max_characters,
            limits=rig.mapping.limits,
        )
        await send(rig)
        rig.simulator.fault(Fault(Kind.DROP, position=1))
        draft = map_direct(to=RECIPIENT, text=TEXT, sender=None, routes=mapping.routes)
        [lost] = await rig.intake.accept(rig.intake.direct(draft))
        await rig.work(rig.delivery(), step=0)
        await climb(rig)

        assert 1 == len(rig.simulator.texts)
        assert Status.UNKNOWN == (await rig.message(lost.message_id)).status


async def test_many_unknown_ones_are_settled_each_by_its_own(tmp_path: Path) -> None:
    """Every second one was taken."""
    async with counted_rig(tmp_path) as (rig, transport):
        for position in range(8):
            kind = Kind.DROP if position % 2 else Kind.DROP_ANSWER
            rig.simulator.fault(Fault(kind, number=recipient(600 + position)))
        ids = [await rig.accept(to=recipient(600 + position)) for position in range(8)]
        await rig.work(rig.delivery(), turns=40, step=60)
        assert [Status.UNKNOWN] * 8 == [(await rig.message(id_)).status for id_ in ids]
        await climb(rig)

        assert [Status.SENT, Status.UNKNOWN] * 4 == [(await rig.message(id_)).status for id_ in ids]
        assert (8, 4) == (transport.posts, len(rig.simulator.texts))


# --- while CallRail has trouble ----------------------------------------------------------------------------


@pytest.mark.parametrize("down", [timedelta(minutes=3), timedelta(minutes=40), timedelta(hours=9)])
@pytest.mark.parametrize("kind", [Kind.REFUSE, Kind.DROP, Kind.STATUS])
async def test_look_ups_outlast_an_outage(tmp_path: Path, kind: Kind, down: timedelta) -> None:
    """What CallRail took before it is found after it."""
    async with counted_rig(tmp_path) as (rig, transport):
        rig.simulator.fault(Fault(Kind.DROP_ANSWER, position=1))
        id_ = await send(rig)
        rig.simulator.fault(Fault(kind, on="any"))
        await climb(rig, most=down)
        assert Status.UNKNOWN == (await rig.message(id_)).status
        assert rig.events.of(LookupFailed)
        rig.simulator.faults.clear()
        await climb(rig)

        assert Status.SENT == (await rig.message(id_)).status
        assert (1, 1) == (transport.posts, len(rig.simulator.texts))


async def test_after_an_outage_one_answer_is_enough(tmp_path: Path) -> None:
    """What is not there after an hour is looked for once, not once for each rung that was missed."""
    async with counted_rig(tmp_path) as (rig, _):
        rig.simulator.fault(Fault(Kind.DROP, position=1), Fault(Kind.DROP, on="read"))
        id_ = await send(rig)
        await climb(rig, most=timedelta(hours=1))
        rig.simulator.faults.clear()
        before = len(evidence_of(await rig.message(id_)))
        await climb(rig)

        message = await rig.message(id_)
        assert before + 1 == len(evidence_of(message))
        assert "conversation doesn't show it." in (explain_all(message.reasons) or "")


async def test_an_outage_of_a_day_is_told(tmp_path: Path) -> None:
    """The text is left to a person with the reason that there was no answer."""
    async with counted_rig(tmp_path) as (rig, _):
        rig.simulator.fault(Fault(Kind.DROP_ANSWER, position=1), Fault(Kind.DROP, on="read"))
        id_ = await send(rig)
        await climb(rig)

        message = await rig.message(id_)
        assert Status.UNKNOWN == message.status
        assert "the relay couldn't check. Check the conversation" in (explain_all(message.reasons) or "")


async def test_a_limit_for_requests_is_waited_for(tmp_path: Path) -> None:
    """429 while looking up: no rung of the ladder, and tried again until CallRail answers."""
    async with counted_rig(tmp_path) as (rig, transport):
        rig.simulator.fault(Fault(Kind.DROP_ANSWER, position=1))
        id_ = await send(rig)
        rig.simulator.accounts[rig.account_id].requests.spend(rig.clock.now(), 1000)
        await climb(rig)

        assert Status.SENT == (await rig.message(id_)).status
        assert rig.events.of(LookupFailed)
        assert 1 == transport.posts


# --- other people -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_unknown", OnUnknown)
async def test_same_words_written_in_callrail_too_are_left_to_a_person(
    tmp_path: Path, on_unknown: OnUnknown
) -> None:
    """CallRail shows two: which is ours is unclear, and nothing is sent once more by itself."""
    async with counted_rig(tmp_path, on_unknown=on_unknown) as (rig, transport):
        rig.simulator.fault(Fault(Kind.DROP_ANSWER, position=1))
        id_ = await send(rig)
        rig.clock.advance(5)
        rig.simulator.write(RECIPIENT, TEXT)
        await climb(rig)

        message = await rig.message(id_)
        assert Status.UNKNOWN == message.status
        assert "conversation shows 2 like it, which is more than the relay sent. Check" in (
            explain_all(message.reasons) or ""
        )
        assert 1 == transport.posts


async def test_same_words_written_in_callrail_long_ago_are_no_matter(tmp_path: Path) -> None:
    """They are not near the time of ours."""
    async with counted_rig(tmp_path) as (rig, _):
        rig.simulator.write(RECIPIENT, TEXT)
        rig.clock.advance(3600)
        rig.simulator.fault(Fault(Kind.DROP, position=1))
        id_ = await send(rig)
        await climb(rig)

        message = await rig.message(id_)
        assert "conversation doesn't show it." in (explain_all(message.reasons) or "")


async def test_same_words_from_the_person_are_no_matter(tmp_path: Path) -> None:
    """What came in is not what went out."""
    async with counted_rig(tmp_path) as (rig, _):
        rig.simulator.fault(Fault(Kind.DROP, position=1))
        id_ = await send(rig, "Hello?")
        rig.simulator.receive(RECIPIENT, "Hello?")
        await climb(rig)

        assert Status.UNKNOWN == (await rig.message(id_)).status


# --- a person's word --------------------------------------------------------------------------------------


async def test_a_text_sent_again_that_had_arrived_is_told_loudly(tmp_path: Path) -> None:
    """CallRail was down while it was looked up, a person did not want to wait, and both arrived."""
    async with counted_rig(tmp_path) as (rig, _):
        rig.simulator.fault(Fault(Kind.DROP_ANSWER, position=1), Fault(Kind.DROP, on="read"))
        id_ = await send(rig)
        await climb(rig, most=timedelta(minutes=20))
        await rig.operations.decide(Verb.RESEND, id_)
        await rig.work(rig.delivery(), turns=3, step=60)
        assert (Status.SENT, 2) == ((await rig.message(id_)).status, len(rig.simulator.texts))
        rig.simulator.faults.clear()
        await climb(rig)

        message = await rig.message(id_)
        assert [OutcomeKind.SENT, OutcomeKind.SENT] == outcomes(message)
        assert ["sent_twice"] == [reason.code for reason in message.reasons]
        assert [id_] == [event.message_id for event in rig.events.of(SentTwice)]


async def test_a_resend_is_withdrawn_when_the_first_is_found(tmp_path: Path) -> None:
    """The account is paused: the resend waits, and meanwhile the look-up shows that it isn't needed."""
    async with counted_rig(tmp_path) as (rig, transport):
        rig.simulator.fault(Fault(Kind.DROP_ANSWER, position=1))
        id_ = await send(rig)
        await rig.operations.pause(None, "Lunch.")
        await rig.operations.decide(Verb.RESEND, id_)
        await climb(rig)
        await rig.operations.resume(None)
        await rig.work(rig.delivery(), turns=5, step=60)

        assert Status.SENT == (await rig.message(id_)).status
        assert 1 == transport.posts
        assert [] == rig.events.of(SentTwice)


@pytest.mark.parametrize(("verb", "status"), [(Verb.MARK_SENT, Status.SENT), (Verb.CANCEL, Status.CANCELLED)])
async def test_a_persons_word_ends_the_waiting(tmp_path: Path, verb: Verb, status: Status) -> None:
    """The text is what they say, and the next one is sent at once."""
    async with counted_rig(tmp_path) as (rig, _):
        rig.simulator.fault(Fault(Kind.DROP, position=1))
        id_ = await send(rig)
        later = await rig.accept("Later")
        await rig.work(rig.delivery(), turns=3)
        assert Status.QUEUED == (await rig.message(later)).status
        await rig.operations.decide(verb, id_)
        await rig.work(rig.delivery(), turns=3)

        assert status == (await rig.message(id_)).status
        assert Status.SENT == (await rig.message(later)).status


async def test_what_was_learnt_is_in_the_document(tmp_path: Path) -> None:
    """Programs read what each look-up brought, and when the next one is."""
    async with counted_rig(tmp_path) as (rig, _):
        rig.simulator.fault(Fault(Kind.DROP, position=1))
        id_ = await send(rig)
        rig.clock.advance(LADDER[0])
        await rig.reconciliation().turn()

        [attempt] = message_document(await rig.message(id_))["segments"][0]["attempts"]
        assert [
            {
                "noted_at": "2026-03-02T15:00:15.000Z",
                "detail": "Checked with CallRail: outgoing texts there: 0, requests made: 3.",
            }
        ] == attempt["evidence"]
        assert "2026-03-02T15:01:00.000Z" == attempt["next_lookup_at"]
