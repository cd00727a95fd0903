"""What a person sees and decides."""

import platform
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from callrail_relay import __version__
from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.cli.messages import message_document
from callrail_relay.domain.account import Limits
from callrail_relay.domain.events import SentTwice
from callrail_relay.domain.message import MessageFilter, Reason, Source, Status, Verb
from callrail_relay.errors import NotAllowed, NotFound
from callrail_relay.outbox import history
from callrail_relay.sentences import explain_all
from tests.service.rig import Rig, open_rig
from tests.support.factories import RECIPIENT, TEXT, recipient
from tests.support.policies import guard_policy

pytestmark = pytest.mark.anyio


async def held(rig: Rig) -> str:
    return await rig.accept("Hello {{name}}")


async def statuses(rig: Rig, *ids: str) -> list[Status]:
    return [(await rig.message(id_)).status for id_ in ids]


async def unmapped(rig: Rig) -> str:
    """The id of a text that came without a phone."""
    [accepted] = (await rig.intake.accept_request(b'{"message": "Hi"}', content_type=None)).accepted
    return accepted.message_id


async def test_status_tells_budget_counts_and_when_the_queue_is_empty(tmp_path: Path) -> None:
    """The document that programs read, before and after some texts."""
    async with open_rig(tmp_path, limits=Limits(2, 3), serves=True) as rig:
        empty = (await rig.operations.status()).document()
        since = "2026-03-02T15:00:00.000Z"
        assert {
            "version": __version__,
            "relay": {
                "running": True,
                "since": since,
                "nodes": [{"name": platform.node(), "since": since, "slept": None}],
            },
            "last_from_if3": None,
            "accounts": [
                {
                    "account_id": rig.account_id,
                    "paused": None,
                    "waits": None,
                    "hour": {"used": 0, "allowed": 2, "free_at": None},
                    "day": {"used": 0, "allowed": 3, "free_at": None},
                }
            ],
            "messages": {status.value: 0 for status in Status},
            "drains_at": None,
            "shadow": {"mode": "live", "since": None, "forward_to": None, "waiting": 0},
        } == empty

        for number in range(4):
            await rig.accept(to=recipient(number))
        await rig.work(rig.delivery(), step=60)
        report = (await rig.operations.status()).document()

        [account] = report["accounts"]
        assert {"used": 2, "allowed": 2, "free_at": "2026-03-02T16:00:00.000Z"} == account["hour"]
        assert {"used": 2, "allowed": 3, "free_at": None} == account["day"]
        assert (2, 2) == (report["messages"]["sent"], report["messages"]["queued"])
        # The third is sent when the hour frees, the fourth when the day does.
        assert "2026-03-03T15:00:00.000Z" == report["drains_at"]


async def test_pause_shows_since_when_and_why(tmp_path: Path) -> None:
    """A paused account has no time at which its queue will be empty."""
    async with open_rig(tmp_path, serves=True) as rig:
        await rig.accept()
        assert (await rig.operations.status()).facts.drains_at is not None
        assert [rig.account_id] == await rig.operations.pause(None, "Holidays.")
        report = await rig.operations.status()

        assert report.facts.drains_at is None
        assert {"since": "2026-03-02T15:00:00.000Z", "reason": "Holidays."} == (
            report.document()["accounts"][0]["paused"]
        )

        assert [rig.account_id] == await rig.operations.resume(rig.account_id)
        assert (await rig.operations.status()).document()["accounts"][0]["paused"] is None


async def test_queue_has_no_end_while_no_relay_is_running(tmp_path: Path) -> None:
    """Nothing sends what waits, so no time is named."""
    async with open_rig(tmp_path) as rig:
        await rig.accept()
        report = (await rig.operations.status()).document()

        assert {"running": False, "since": None, "nodes": []} == report["relay"]
        assert report["drains_at"] is None


async def test_wait_is_shown_until_it_is_over(tmp_path: Path) -> None:
    """A wait that has passed is no news."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.STATUS, status=429, retry_after=30, position=1))
        id_ = await rig.accept()
        await rig.work(rig.delivery())

        [account] = (await rig.operations.status()).document()["accounts"]
        assert {
            "until": "2026-03-02T15:00:30.000Z",
            "reason": "CallRail's rate limit is reached (429).",
        } == account["waits"]
        assert "CallRail's rate limit is reached (429). Sending waits until" in (
            explain_all((await rig.message(id_)).reasons) or ""
        )

        rig.clock.advance(30)
        [account] = (await rig.operations.status()).document()["accounts"]
        assert account["waits"] is None


async def test_paused_account_keeps_its_texts(tmp_path: Path) -> None:
    """Texts are accepted and none is sent, until a person resumes; each says what it waits for."""
    async with open_rig(tmp_path) as rig:
        await rig.operations.pause(rig.account_id, "Holidays.")
        id_ = await rig.accept()
        await rig.work(rig.delivery(), turns=3)
        assert [] == rig.simulator.texts
        assert "Sending is paused. Holidays. Run `callrail-relay resume` to continue." == explain_all(
            (await rig.message(id_)).reasons
        )

        await rig.operations.resume(None)
        await rig.work(rig.delivery())
        assert [Status.SENT] == await statuses(rig, id_)


async def test_pause_by_a_person_outlives_the_answer_under_way(tmp_path: Path) -> None:
    """A success that was under way when a person paused does not resume the account."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.LATE_ANSWER, delay=10, position=1))
        await rig.accept()
        delivery = rig.delivery()
        await delivery.turn()
        await rig.clock.until_asleep()
        await rig.operations.pause(None, "Holidays.")
        rig.clock.advance(10)
        await delivery.settle()

        assert [True] == [
            one.account.paused_since is not None for one in await rig.operations.account_statuses()
        ]


async def test_unknown_account_cannot_be_paused_or_resumed(tmp_path: Path) -> None:
    """A typing error pauses nothing."""
    async with open_rig(tmp_path) as rig:
        with pytest.raises(NotFound, match="no account ACC9"):
            await rig.operations.pause("ACC9", "x")
        with pytest.raises(NotFound, match="no account ACC9"):
            await rig.operations.resume("ACC9")


async def test_account_of_old_texts_is_still_known(tmp_path: Path) -> None:
    """An account that left the settings can still be paused, and its texts say what they wait for."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        changed = rig.operations_of("ACC2")

        assert ["ACC2", rig.account_id] == await changed.pause(None, "x")
        [message] = await changed.find(id_)
        assert "isn't in the settings" in (explain_all(message.reasons) or "")
        assert ["ACC2", rig.account_id] == [status.account.id for status in await changed.account_statuses()]


async def test_part_of_an_id_stands_for_it(tmp_path: Path) -> None:
    """Its beginning, or six characters of its end, if only one message has them; else all are named."""
    async with open_rig(tmp_path) as rig:
        one, other = await rig.accept(to=recipient(1)), await rig.accept(to=recipient(2))
        full_ids = rig.operations.full_ids
        # Ids begin with the time, and these two came at the same one.
        length = next(place for place, (mine, its) in enumerate(zip(one, other, strict=True)) if mine != its)
        shared = one[:length]
        assert [one, other] == await full_ids([one[-6:], other[-8:].upper(), one[: length + 1]])
        untouched = [one, one[-5:], "nothing", "%", "______", ""]
        assert untouched == await full_ids(untouched)
        request = (await rig.message(other)).submission_id
        assert [other] == await full_ids([request[-8:]])

        with pytest.raises(NotFound, match="More than one text") as told:
            await full_ids([shared])
        assert one in str(told.value)
        assert other in str(told.value)


async def test_approved_text_leaves(tmp_path: Path) -> None:
    """A person's word overrides exactly the reasons shown."""
    async with open_rig(tmp_path) as rig:
        id_ = await held(rig)
        [message] = await rig.operations.decide(Verb.APPROVE, id_)
        assert (Status.QUEUED, ()) == (message.status, message.reasons)

        await rig.work(rig.delivery())
        assert [Status.SENT] == await statuses(rig, id_)


async def test_approval_overrides_nothing_else(tmp_path: Path) -> None:
    """What was approved for its words can still be too old, and then be approved for that."""
    async with open_rig(tmp_path) as rig:
        id_ = await held(rig)
        await rig.operations.decide(Verb.APPROVE, id_)
        rig.clock.advance(timedelta(hours=5))
        await rig.work(rig.delivery())
        assert ["too_old"] == [reason.code for reason in (await rig.message(id_)).reasons]

        await rig.operations.decide(Verb.APPROVE, id_)
        await rig.work(rig.delivery())
        assert [Status.SENT] == await statuses(rig, id_)


async def test_text_without_a_person_cannot_be_approved(tmp_path: Path) -> None:
    """It has no recipient; it says what to do instead."""
    async with open_rig(tmp_path) as rig:
        id_ = await unmapped(rig)
        with pytest.raises(NotAllowed, match="Cancel it, and send it again from IF3"):
            await rig.operations.decide(Verb.APPROVE, id_)
        assert [Status.HELD] == await statuses(rig, id_)


async def test_only_held_texts_can_be_approved(tmp_path: Path) -> None:
    """Every other status is named."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        with pytest.raises(NotAllowed, match="is queued and can't be approved; only texts on hold"):
            await rig.operations.decide(Verb.APPROVE, id_)
        await rig.work(rig.delivery())
        with pytest.raises(NotAllowed, match="is sent"):
            await rig.operations.decide(Verb.APPROVE, id_)


async def test_cancelled_text_does_not_leave(tmp_path: Path) -> None:
    """Held and queued ones can be cancelled; the next to the same person flows."""
    async with open_rig(tmp_path) as rig:
        first, second, third = await held(rig), await rig.accept("Second"), await rig.accept("Third")
        await rig.operations.decide(Verb.CANCEL, first)
        await rig.operations.decide(Verb.CANCEL, second)
        await rig.work(rig.delivery(), turns=3)

        assert [Status.CANCELLED, Status.CANCELLED, Status.SENT] == await statuses(rig, first, second, third)
        assert ["Third"] == [text.content for text in rig.simulator.texts]


async def test_failed_text_is_let_rest(tmp_path: Path) -> None:
    """It waits for no other text any more, and can be brought back anyway."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.STATUS, status=422, position=1))
        failed = await rig.accept("Failed")
        await rig.work(rig.delivery())
        assert 1 == await rig.outbox.read(history.count_for_person)

        await rig.operations.decide(Verb.CANCEL, failed)
        assert [Status.CANCELLED] == await statuses(rig, failed)
        assert 0 == await rig.outbox.read(history.count_for_person)
        await rig.operations.decide(Verb.RESEND, failed)
        await rig.work(rig.delivery())
        assert [Status.SENT] == await statuses(rig, failed)


async def test_what_left_cannot_be_cancelled(tmp_path: Path) -> None:
    """Nothing takes a text back, nor one that is on its way."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.LATE_ANSWER, position=2, delay=10))
        sent, under_way = [await rig.accept(to=recipient(number)) for number in range(2)]
        delivery = rig.delivery(concurrency=1)
        await rig.work(delivery)
        await delivery.turn()
        await rig.clock.until_asleep()
        for id_, status in ((sent, "sent"), (under_way, "sending")):
            with pytest.raises(NotAllowed, match=f"is {status} and can't be canceled"):
                await rig.operations.decide(Verb.CANCEL, id_)
        rig.clock.advance(10)
        await delivery.settle()


async def unknown(rig: Rig, text: str = TEXT, *, taken: bool) -> str:
    """A text that CallRail may have taken or not."""
    kind = Kind.DROP_ANSWER if taken else Kind.DROP
    rig.simulator.fault(Fault(kind, position=1))
    id_ = await rig.accept(text)
    await rig.work(rig.delivery())
    assert [Status.UNKNOWN] == await statuses(rig, id_)
    return id_


async def test_unknown_text_can_be_given_up(tmp_path: Path) -> None:
    """Then the next one to that person waits no longer, and a look-up that finds it changes nothing."""
    async with open_rig(tmp_path) as rig:
        id_ = await unknown(rig, taken=True)
        later = await rig.accept("Later")
        await rig.work(rig.delivery(), turns=3)
        assert [Status.UNKNOWN, Status.QUEUED] == await statuses(rig, id_, later)

        await rig.operations.decide(Verb.CANCEL, id_)
        await rig.work(rig.delivery(), turns=3, step=60)
        await rig.reconciliation().turn()
        assert [Status.CANCELLED, Status.SENT] == await statuses(rig, id_, later)


async def test_unknown_text_is_sent_again_on_a_persons_word(tmp_path: Path) -> None:
    """Once, and before what waits behind it."""
    async with open_rig(tmp_path) as rig:
        id_ = await unknown(rig, "First", taken=False)
        later = await rig.accept("Later")
        [message] = await rig.operations.decide(Verb.RESEND, id_)
        assert Status.QUEUED == message.status
        await rig.work(rig.delivery(), turns=4)

        assert [Status.SENT, Status.SENT] == await statuses(rig, id_, later)
        assert ["First", "Later"] == [text.content for text in rig.simulator.texts]


async def test_text_that_arrives_twice_is_told(tmp_path: Path) -> None:
    """A person had it sent again, and the first one had arrived after all: that is looked up, and shown."""
    async with open_rig(tmp_path) as rig:
        id_ = await unknown(rig, taken=True)
        await rig.operations.decide(Verb.RESEND, id_)
        await rig.work(rig.delivery(), turns=3, step=60)
        await rig.reconciliation().turn()

        message = await rig.message(id_)
        assert Status.SENT == message.status
        assert ["sent_twice"] == [reason.code for reason in message.reasons]
        assert [id_] == [event.message_id for event in rig.events.of(SentTwice)]
        assert 2 == len(rig.simulator.texts)


async def test_failed_and_cancelled_texts_can_be_sent_again(tmp_path: Path) -> None:
    """When the reason is gone; a text that was never cut is cut then."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.STATUS, status=422, position=1))
        failed = await rig.accept("Failed", to=recipient(1))
        await rig.work(rig.delivery())
        cancelled = await rig.accept("Cancelled", to=recipient(2))
        await rig.operations.decide(Verb.CANCEL, cancelled)
        for id_ in (failed, cancelled):
            await rig.operations.decide(Verb.RESEND, id_)
        await rig.work(rig.delivery(), turns=2)

        assert [Status.SENT, Status.SENT] == await statuses(rig, failed, cancelled)
        assert ["Failed", "Cancelled"] == [text.content for text in rig.simulator.texts]


async def test_opt_out_needs_a_recipient(tmp_path: Path) -> None:
    """And it says so, since the text's status isn't what keeps it from being answered."""
    async with open_rig(tmp_path) as rig:
        with pytest.raises(NotAllowed, match="because it has no recipient or no number to send from"):
            await rig.operations.opt_out_recipient(await unmapped(rig), "Asked by phone.")


async def test_sent_text_cannot_be_sent_again(tmp_path: Path) -> None:
    """Neither one that is queued or held: there are other words for those."""
    async with open_rig(tmp_path) as rig:
        sent = await rig.accept("Sent", to=recipient(1))
        await rig.work(rig.delivery())
        queued, kept = await rig.accept("Queued", to=recipient(2)), await held(rig)
        for id_ in (sent, queued, kept):
            with pytest.raises(NotAllowed, match="can't be sent again; only texts that are"):
                await rig.operations.decide(Verb.RESEND, id_)
        with pytest.raises(NotAllowed, match="can't be sent"):
            await rig.operations.decide(Verb.RESEND, await unmapped(rig))


async def test_unknown_text_is_sent_on_a_persons_word(tmp_path: Path) -> None:
    """``mark-sent`` settles it, and what waits behind it flows."""
    async with open_rig(tmp_path) as rig:
        id_ = await unknown(rig, taken=False)
        later = await rig.accept("Later")
        [message] = await rig.operations.decide(Verb.MARK_SENT, id_)
        assert (Status.SENT, ()) == (message.status, message.reasons)
        await rig.work(rig.delivery(), turns=3)

        assert [Status.SENT] == await statuses(rig, later)
        assert ["A person marked it as sent."] == [
            one.detail for one in (await rig.message(id_)).segments[0].attempts[0].evidence
        ]


async def test_rest_of_a_text_that_was_marked_as_sent_follows(tmp_path: Path) -> None:
    """Of three segments the second was unknown; the third is sent after a person's decision."""
    async with open_rig(tmp_path) as rig:
        rig.simulator.fault(Fault(Kind.DROP_ANSWER, position=2))
        id_ = await rig.accept("word " * 60)
        await rig.work(rig.delivery(), turns=5)
        assert 2 == len(rig.simulator.texts)
        await rig.operations.decide(Verb.MARK_SENT, id_)
        await rig.work(rig.delivery(), turns=3)

        assert [Status.SENT] == await statuses(rig, id_)
        assert 3 == len(rig.simulator.texts)


async def test_opted_out_people_are_listed_and_taken_off(tmp_path: Path) -> None:
    """For all of our numbers unless one is named; their texts are held, and no approval sends them."""
    async with open_rig(tmp_path) as rig:
        number = rig.simulator.tracking_number
        [entry] = await rig.operations.opt_out(recipient(1), None, "They called.")
        assert (recipient(1), number, "They called.") == (
            entry.recipient,
            entry.tracking_number,
            entry.reason,
        )
        await rig.operations.opt_out(recipient(2), number, "x")
        assert {recipient(1), recipient(2)} == {one.recipient for one in await rig.operations.opt_outs()}

        id_ = await rig.accept(to=recipient(1))
        await rig.work(rig.delivery())
        with pytest.raises(NotAllowed, match="opted out"):
            await rig.operations.decide(Verb.APPROVE, id_)

        assert 1 == await rig.operations.remove_opt_out(recipient(1), None)
        await rig.operations.decide(Verb.APPROVE, id_)
        await rig.work(rig.delivery())
        assert [Status.SENT] == await statuses(rig, id_)
        with pytest.raises(NotFound, match="not on the list"):
            await rig.operations.remove_opt_out(recipient(1), number)


async def test_only_unknown_texts_can_be_marked_as_sent(tmp_path: Path) -> None:
    """Everything else is known."""
    async with open_rig(tmp_path) as rig:
        with pytest.raises(NotAllowed, match="is on hold and can't be marked as sent"):
            await rig.operations.decide(Verb.MARK_SENT, await held(rig))


async def test_texts_are_found_by_their_own_id_and_by_that_of_their_submission(tmp_path: Path) -> None:
    """The id in the webhook's answer finds all that came with it."""
    async with open_rig(tmp_path) as rig:
        body = b'[{"message": "One", "seller_phone": "2025550122"}, {"message": "Two"}]'
        receipt = await rig.intake.accept_request(body, content_type=None)
        found = await rig.operations.find(receipt.submission_id)

        assert ["One", "Two"] == [message.text for message in found]
        assert [found[1]] == await rig.operations.find(receipt.accepted[1].message_id)
        with pytest.raises(NotFound, match="messages list"):
            await rig.operations.find(str(uuid4()))


async def test_word_on_a_submission_is_a_word_on_all_its_texts(tmp_path: Path) -> None:
    """Cancelling the id of the webhook's answer cancels every text of it."""
    async with open_rig(tmp_path) as rig:
        body = b'[{"message": "One", "seller_phone": "2025550122"}, {"message": "Two"}]'
        receipt = await rig.intake.accept_request(body, content_type=None)
        cancelled = await rig.operations.decide(Verb.CANCEL, receipt.submission_id)

        assert [Status.CANCELLED, Status.CANCELLED] == [message.status for message in cancelled]


async def test_texts_are_listed(tmp_path: Path) -> None:
    """Newest first; a queued one with the segments it will have."""
    async with open_rig(tmp_path) as rig:
        first, second = await rig.accept("word " * 40), await held(rig)

        assert [second, first] == [one.id for one in await rig.operations.list_messages(MessageFilter())]
        [queued] = await rig.operations.list_messages(MessageFilter(statuses=(Status.QUEUED,)))
        assert [1, 2] == [segment.position for segment in queued.segments]


async def test_any_number_of_texts_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first and in portions; what comes in meanwhile isn't among them."""
    monkeypatch.setattr("callrail_relay.service.operations.PORTION", 2)
    async with open_rig(tmp_path) as rig:
        ids = [await rig.accept(f"Text {number}", to=recipient(number)) for number in range(5)]
        portions = []
        async for portion in rig.operations.export(MessageFilter(words=("text",))):
            portions.append([one.id for one in portion])
            await rig.accept("Text that comes later", to=recipient(9))

        assert [ids[4:2:-1], ids[2:0:-1], ids[:1]] == portions


async def test_text_is_shown_as_programs_read_it(tmp_path: Path) -> None:
    """Every key of the contract, with instants in UTC."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept()
        await rig.work(rig.delivery())
        document = message_document(await rig.message(id_))

        [taken] = rig.simulator.texts
        assert {
            "id": id_,
            "status": "sent",
            "reason": None,
            "reasons": [],
            "source": Source.SEND,
            "recipient": RECIPIENT,
            "tracking_number": rig.simulator.tracking_number,
            "company_id": rig.simulator.company_id,
            "account_id": rig.account_id,
            "text": TEXT,
            "segments": [
                {
                    "position": 1,
                    "content": TEXT,
                    "status": "sent",
                    "attempts": [
                        {
                            "started_at": "2026-03-02T15:00:00.000Z",
                            "finished_at": "2026-03-02T15:00:00.000Z",
                            "outcome": "Sent",
                            "http_status": 200,
                            "detail": "CallRail accepted the text.",
                            "next_lookup_at": None,
                            "evidence": [],
                        }
                    ],
                }
            ],
            "opportunity_id": None,
            "sender_id": None,
            "seller_id": None,
            "seller": None,
            "team_id": None,
            "received_at": "2026-03-02T15:00:00.000Z",
            "sent_at": "2026-03-02T15:00:00.000Z",
            "conversation_id": taken.conversation_id,
        } == document


async def test_text_that_waits_for_the_budget_says_so(tmp_path: Path) -> None:
    """Which window is used up, and until when."""
    async with open_rig(tmp_path, limits=Limits(5, 1)) as rig:
        await rig.accept("First", to=recipient(1))
        await rig.work(rig.delivery())
        id_ = await rig.accept("Second", to=recipient(2))

        assert (
            Reason("budget", {"window": "day", "used": 1, "allowed": 1, "until": "2026-03-03T15:00:00.000Z"}),
        ) == (await rig.message(id_)).reasons


async def test_texts_of_one_wording_say_who_opted_out(tmp_path: Path) -> None:
    """Bulk approval passes over them."""
    async with open_rig(tmp_path, guards=guard_policy()) as rig:
        ids = [
            await rig.accept(f"Hi Pat, are you still thinking of selling {n} Oak St?", to=recipient(n))
            for n in range(1, 8)
        ]
        held = [id_ for id_ in ids if (await rig.message(id_)).status is Status.HELD]
        await rig.operations.opt_out(str((await rig.message(held[0])).recipient), None, "By phone.")

        alike = await rig.operations.held_alike(held[0])
        assert held[::-1] == [one.id for one in alike]
        assert held[:1] == [one.id for one in alike if one.opted_out]
        with pytest.raises(NotAllowed, match="isn't on hold as a bulk message"):
            await rig.operations.held_alike(await rig.accept("Hello {{name}}"))


async def test_opting_out_the_person_of_a_text_cancels_it(tmp_path: Path) -> None:
    """One answer to a doubtful reply, for its number alone."""
    async with open_rig(tmp_path) as rig:
        id_ = await rig.accept("Hello")

        [message] = await rig.operations.opt_out_recipient(id_, "Asked by text.")

        assert Status.CANCELLED is message.status
        [entry] = await rig.operations.opt_outs()
        assert (RECIPIENT, "Asked by text.") == (entry.recipient, entry.reason)
