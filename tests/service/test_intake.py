"""
Taking texts in without the web around it: direct texts, saved files, and what the guards say of a draft.
"""

from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from callrail_relay.clock import AdjustedClock
from callrail_relay.domain import mapper
from callrail_relay.domain.account import Limits
from callrail_relay.domain.events import MessageAccepted, PingReceived, RepeatReceived
from callrail_relay.domain.guards import GuardPolicy, Mode
from callrail_relay.domain.mapper import (
    MappedText,
    MappingPolicy,
    map_direct,
    map_saved,
    new_message,
    planned_segments,
)
from callrail_relay.domain.message import Source, Status
from callrail_relay.domain.routing import RouteRule, Routes
from callrail_relay.errors import Unavailable
from callrail_relay.outbox.store import Store
from callrail_relay.sentences import explain, explain_all
from callrail_relay.service.intake import Intake
from tests.service.rig import Rig, open_rig
from tests.support.clock import START, ManualClock
from tests.support.factories import RECIPIENT, TEXT, make_draft, make_route
from tests.support.policies import guard_policy
from tests.web.posting import DATA, WORDS, encoded, payload

pytestmark = pytest.mark.anyio

SECOND_NUMBER = "+12025550134"


def make_mapping(
    *,
    routes: Routes | None = None,
    guards: GuardPolicy | None = None,
    max_characters: int = 140,
    limits: Limits | None = None,
) -> MappingPolicy:
    return MappingPolicy(
        routes=routes or Routes(default=make_route()),
        guards=guards or guard_policy(),
        max_characters=max_characters,
        limits=limits or Limits(150, 1000),
    )


def codes(draft: MappedText, policy: MappingPolicy) -> list[str]:
    return [reason.code for reason in new_message("id", draft, policy).verdict.reasons]


# --- requests --------------------------------------------------------------------------------------------


async def test_request_is_on_disk_before_it_is_answered(tmp_path: Path) -> None:
    """The raw body, its type and its query, with one message for each text."""
    async with open_rig(tmp_path) as rig:
        body = encoded(payload())
        receipt = await rig.intake.accept_request(body, content_type="text/x", query="a=b")

        assert [(receipt.submission_id, "webhook", "text/x", "a=b", body)] == rig.stored(
            "id, source, content_type, query, body", "submissions"
        )
        [event] = rig.events.of(MessageAccepted)
        assert (receipt.submission_id, receipt.accepted[0].message_id, Status.QUEUED, ()) == (
            event.submission_id,
            event.message_id,
            event.status,
            event.reasons,
        )
        message = await rig.message(event.message_id)
        assert Source.WEBHOOK == message.source
        assert rig.clock.now() == message.received_at


async def test_ping_is_told_and_not_stored(tmp_path: Path) -> None:
    """It has its own id anyway."""
    async with open_rig(tmp_path) as rig:
        first = await rig.intake.accept_request(b"", content_type=None)
        second = await rig.intake.accept_request(b"{}", content_type=None)
        third = await rig.intake.accept_request(b"[ ]", content_type=None, query="a=1")

        assert () == first.accepted
        assert first.submission_id != second.submission_id != third.submission_id
        assert [PingReceived()] * 3 == list(rig.events)
        assert [] == rig.stored("id", "submissions")


async def test_a_repeat_is_answered_with_the_id_of_the_first(tmp_path: Path) -> None:
    """Case 33: under the same key the same request is not stored again; another one is."""
    async with open_rig(tmp_path) as rig:
        body = encoded(payload())
        first = await rig.intake.accept_request(body, content_type=None, idempotency_key="one")
        rig.clock.advance(6)
        again = await rig.intake.accept_request(body, content_type=None, idempotency_key="one")
        other = await rig.intake.accept_request(body, content_type=None, idempotency_key="two")

        assert (first.submission_id, ()) == (again.submission_id, again.accepted)
        assert first.submission_id != other.submission_id
        assert [RepeatReceived(submission_id=first.submission_id)] == rig.events.of(RepeatReceived)
        assert [(first.submission_id,), (other.submission_id,)] == rig.stored("id", "submissions ORDER BY id")


async def test_a_database_whose_clock_jumps_is_no_sleep(tmp_path: Path) -> None:
    """The same words to the same person 20 seconds later are meant."""
    clock = ManualClock()
    theirs = AdjustedClock(clock)
    store = await Store.open(f"sqlite:///{tmp_path / 'relay.db'}", theirs)
    intake = Intake(store, make_mapping(), random=Random(1), clock=clock)
    body = encoded(payload(message="Yes"))
    await intake.accept_request(encoded(payload(message="Hello")), content_type=None)
    theirs.adjust(clock.advance(20) + timedelta(minutes=5))
    await intake.accept_request(body, content_type=None)
    clock.advance(20)
    again = await intake.accept_request(body, content_type=None)
    await store.close()

    assert Status.QUEUED == again.accepted[0].status


async def test_a_late_bunch_after_sleep_is_sent_once(tmp_path: Path) -> None:
    """
    The machine wakes, and the sender repeats what it did not answer, every 20 seconds; a day later the same
    words are meant.
    """
    async with open_rig(tmp_path) as rig:
        body = encoded(payload(message="Yes"))

        async def status() -> Status:
            receipt = await rig.intake.accept_request(body, content_type=None)
            return receipt.accepted[0].status

        assert Status.QUEUED == await status()
        await rig.work(rig.delivery())
        rig.clock.suspend(timedelta(hours=8))
        came = [await status()]
        for _ in range(3):
            await rig.work(rig.delivery())
            rig.clock.advance(20)
            came.append(await status())
        rig.clock.advance(timedelta(days=1))

        assert [Status.QUEUED, *[Status.HELD] * 3, Status.QUEUED] == [*came, await status()]


async def test_held_text_is_told_with_its_reasons(tmp_path: Path) -> None:
    """The codes, and no words of the text."""
    async with open_rig(tmp_path) as rig:
        await rig.intake.accept_request(encoded(payload(message="Hi {{you}}")), content_type=None)

        [event] = rig.events.of(MessageAccepted)
        assert (Status.HELD, ("merge_tag",)) == (event.status, event.reasons)
        assert "you" not in str(event)


async def test_routes_choose_by_team_and_sender(tmp_path: Path) -> None:
    """The first match decides the number; without any the text is held until there is one."""
    other = make_route(tracking_number=SECOND_NUMBER)
    routes = Routes((RouteRule(other, team_id="42"),))
    async with open_rig(tmp_path) as rig:
        intake = Intake(rig.outbox, make_mapping(routes=routes), random=rig.random)
        body = encoded([payload(message="One"), payload(message="Two", team_id=7)])
        receipt = await intake.accept_request(body, content_type=None)

        routed, homeless = await rig.operations.find(receipt.submission_id)
        assert other == routed.route
        assert ["no_route"] == [reason.code for reason in homeless.reasons]


@pytest.mark.parametrize("step", ["read_request", "map_entry", "split_text"])
async def test_fault_of_our_own_keeps_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A request with the right secret is never lost because the program cannot read it."""
    working = getattr(mapper, step)
    failures = iter([True])

    def broken(*args: object, **kwargs: object) -> object:
        if next(failures, False):
            raise KeyError("secret words")
        return working(*args, **kwargs)

    monkeypatch.setattr(mapper, step, broken)
    async with open_rig(tmp_path) as rig:
        receipt = await rig.intake.accept_request(encoded(payload()), content_type=None)

        [message] = await rig.operations.find(receipt.submission_id)
        assert Status.HELD == message.status
        assert ["internal"] == [reason.code for reason in message.reasons]
        assert "KeyError" in (explain_all(message.reasons) or "")
        assert "secret" not in (explain_all(message.reasons) or "")
        assert [(encoded(payload()),)] == rig.stored("body", "submissions")


async def test_failing_store_is_raised_and_nothing_is_told(tmp_path: Path) -> None:
    """The sender learns that it was not kept."""
    async with open_rig(tmp_path, patience=0) as rig:
        with rig.failing_store(), pytest.raises(Unavailable):
            await rig.intake.accept_request(encoded(payload()), content_type=None)

        assert [] == list(rig.events)
        assert [] == rig.stored("id", "submissions")


@pytest.mark.parametrize(
    ("mode", "status", "reasons"),
    [(Mode.HOLD, Status.HELD, 1), (Mode.WARN, Status.QUEUED, 1), (Mode.OFF, Status.QUEUED, 0)],
)
async def test_guards_hold_warn_or_are_off(tmp_path: Path, mode: Mode, status: Status, reasons: int) -> None:
    """A warning is shown and stops nothing."""
    async with open_rig(tmp_path, guards=guard_policy(duplicate=mode, merge_tag=mode)) as rig:
        for words in ("Hello", "Hello", "{{x}}"):
            last = await rig.accept(words)
            before = await rig.message(last)
            if words != "Hello" or len(rig.events.of(MessageAccepted)) == 2:
                assert (status, reasons) == (before.status, len(before.reasons))


# --- the command line ------------------------------------------------------------------------------------


async def test_direct_text_is_a_submission(tmp_path: Path) -> None:
    """``send`` goes the same way, its words as the body."""
    async with open_rig(tmp_path) as rig:
        message = await rig.message(await rig.accept("Grüße"))

        assert (Source.SEND, Status.QUEUED) == (message.source, message.status)
        assert [("send", "Grüße".encode())] == rig.stored("source, body", "submissions")


def test_direct_text_is_mapped() -> None:
    """Any way to write the number; the sender by number, else the default."""
    other = make_route(tracking_number=SECOND_NUMBER)
    routes = Routes((RouteRule(other, team_id="42"),), default=make_route())
    policy = make_mapping(routes=routes)

    draft = map_direct(to="(202) 555-0122", text=TEXT, sender=None, routes=policy.routes)
    assert (RECIPIENT, TEXT, make_route()) == (draft.recipient, draft.text, draft.route)
    assert other == map_direct(to=RECIPIENT, text=TEXT, sender="+12025550134", routes=policy.routes).route


@pytest.mark.parametrize(
    ("to", "text", "sender"),
    [("555", TEXT, None), (RECIPIENT, " ", None), (RECIPIENT, TEXT, "+12025550199")],
)
def test_direct_text_that_makes_no_sense_is_refused(to: str, text: str, sender: str | None) -> None:
    """A person at a terminal sees it at once, and nothing is stored."""
    assert map_direct(to=to, text=text, sender=sender, routes=make_mapping().routes).reasons


def test_direct_text_needs_a_number_to_send_from() -> None:
    """Without any route the set-up comes first."""
    [reason] = map_direct(to=RECIPIENT, text=TEXT, sender=None, routes=Routes()).reasons
    assert ("no_sender", True) == (reason.code, "configure" in explain(reason))


# --- saved files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.iterdir()))
def test_every_saved_shape_is_read(name: str) -> None:
    """V1, V2, V12, V13 and V15 as saved files on disk."""
    drafts, skipped = map_saved((DATA / name).read_bytes(), make_mapping(), START)

    assert [] == skipped
    assert [(RECIPIENT, WORDS, ())] == [(draft.recipient, draft.text, draft.reasons) for draft in drafts]


def test_raw_hook_is_read() -> None:
    """V14: the body as a string."""
    document = encoded({"raw_body": encoded(payload()).decode(), "headers": {}})
    drafts, _ = map_saved(document, make_mapping(), START)

    assert [WORDS] == [draft.text for draft in drafts]


def test_what_holds_no_text_is_reported() -> None:
    """The payloads of a file go on without it."""
    document = encoded(payload()) + b"\n" + encoded({"status": "success"}) + b"\n" + encoded(payload())
    drafts, skipped = map_saved(document, make_mapping(), START)

    assert 2 == len(drafts)
    assert ["not_a_payload"] == [reason.code for reason in skipped]


async def replayed(rig: Rig, *texts: str, force: bool = False) -> list[str | None]:
    """What each text of a saved file is a duplicate of; None for those that were stored."""
    drafts = [map_direct(to=RECIPIENT, text=text, sender=None, routes=rig.mapping.routes) for text in texts]
    accepted = await rig.intake.accept(rig.intake.saved([(b"saved", drafts)], force=force))
    return [one.duplicate_of for one in accepted]


async def test_replayed_text_that_is_known_is_left_out(tmp_path: Path) -> None:
    """However long ago it came, and however it ended; what was left out is not told as accepted."""
    async with open_rig(tmp_path) as rig:
        known = await rig.accept("Known")
        await rig.work(rig.delivery(), step=86_400)
        rig.events.clear()

        assert [known, None] == await replayed(rig, "Known", "New")
        assert 1 == len(rig.events.of(MessageAccepted))
        assert [("send",), ("replay",)] == rig.stored("source", "messages")


async def test_replay_of_nothing_new_leaves_nothing_behind(tmp_path: Path) -> None:
    """The second time the whole file is known."""
    async with open_rig(tmp_path) as rig:
        assert [None, None] == await replayed(rig, "One", "Two")
        assert None not in await replayed(rig, "One", "Two")
        assert [(b"saved",)] == rig.stored("body", "submissions")


async def test_same_text_twice_in_one_file_is_sent_once(tmp_path: Path) -> None:
    """Texts of one file see each other."""
    async with open_rig(tmp_path) as rig:
        [first, second] = await replayed(rig, "Same", "Same")

        assert first is None
        assert second is not None


async def test_force_passes_what_is_known_and_the_double_click_alone(tmp_path: Path) -> None:
    """Every other guard still has its say."""
    async with open_rig(tmp_path) as rig:
        await rig.accept("Same")
        assert [None, None] == await replayed(rig, "Same", "Hi {{x}}", force=True)

        assert [Status.QUEUED, Status.QUEUED, Status.HELD] == [
            Status(str(status)) for (status,) in rig.stored("status", "messages ORDER BY seq")
        ]


# --- judging ---------------------------------------------------------------------------------------------


def test_text_that_no_budget_ever_takes_is_held() -> None:
    """More segments than an hour or a day allows would wait for ever."""
    long = make_draft(text="word " * 100)

    assert [] == codes(long, make_mapping(limits=Limits(4, 4)))
    assert ["too_long"] == codes(long, make_mapping(limits=Limits(3, 1000)))
    assert ["too_long"] == codes(long, make_mapping(limits=Limits(1000, 3)))
    assert [] == codes(long, make_mapping(limits=Limits(1, 1), max_characters=1530))


def test_faults_of_a_draft_hold_it() -> None:
    """With everything else that is wrong with it."""
    [held], _ = map_saved(encoded(payload(message="{{x}}", team_id={})), make_mapping(), START)

    assert "merge_tag" in codes(held, make_mapping())
    assert len(codes(held, make_mapping())) >= 2


def test_segments_are_planned_as_they_will_be_cut() -> None:
    """Numbered from 1; no text has none."""
    planned = planned_segments("word " * 40, 140)

    assert [1, 2] == [segment.position for segment in planned]
    assert () == planned_segments(None, 140)
