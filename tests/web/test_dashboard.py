"""The pages and actions of the dashboard, spoken to without a browser."""

import asyncio
import csv
import io
import json
import os
import re
import sqlite3
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from callrail_relay.bootstrap.context import load_context
from callrail_relay.bootstrap.credentials import FILE, ask_for_link, open_desk
from callrail_relay.callrail.simulator import Fault, Kind
from callrail_relay.domain.health import Condition
from callrail_relay.domain.message import Actor, MessageFilter, Status, Verb
from callrail_relay.domain.views import MessageSummary, Page
from callrail_relay.errors import Unavailable
from callrail_relay.outbox.inbound import ingest
from callrail_relay.outbox.transaction import Transaction
from callrail_relay.sentences import clock_time
from callrail_relay.service import operations
from callrail_relay.service.health import Remembered
from callrail_relay.web.dashboard.frame import AGAIN, FRESH, Examiner
from callrail_relay.web.server import Listener
from tests.outbox.told import POLICY, ingest_one, make_told
from tests.service.rig import Rig
from tests.support.clock import ManualClock
from tests.support.factories import RECIPIENT, recipient
from tests.support.policies import guard_policy
from tests.support.simulator import spend
from tests.web.private import HOOK_URL, private_rig, visiting

pytestmark = pytest.mark.anyio


# --- pages -----------------------------------------------------------------------------------------------


async def test_texts_are_shown_as_words(tmp_path: Path) -> None:
    """A text that is a program stays a text, on every page."""
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("<script>alert('x')</script> & \"quotes\" {{x}}")
        await rig.operations.pause(None, "<b>Holidays</b>")
        number = rig.simulator.tracking_number
        for path in (
            "/",
            "/texts",
            f"/texts/{id_}",
            f"/texts/{id_}/request",
            f"/people/{RECIPIENT}/{number}",
        ):
            page = await visitor.page(path)
            assert "<script>alert" not in page
            assert "&lt;script&gt;" in page
            assert "<b>" not in page


async def test_a_reply_without_words_is_no_empty_message(tmp_path: Path) -> None:
    """It was a picture or the like."""
    async with visiting(tmp_path) as (rig, visitor):
        await rig.accept("Do you have a photo?")
        number = rig.simulator.tracking_number
        await rig.outbox.write(ingest, [make_told("", ours=number)], rig.inbound)
        page = await visitor.page(f"/people/{RECIPIENT}/{number}")

    assert "No words: a picture, or another file" in page
    assert "Empty message" not in page


async def test_first_sentence_follows_what_happens(tmp_path: Path) -> None:
    """In turn: nothing to do, a queue, texts that wait for a person, a wait, a pause."""
    async with visiting(tmp_path) as (rig, visitor):
        empty = await visitor.page()
        await rig.accept("Queued", to=recipient(1))
        queued = await visitor.page()
        await rig.accept("Held {{name}}", to=recipient(2))
        held = await visitor.page()
        rig.simulator.fault(Fault(Kind.STATUS, status=429, retry_after=600, position=1))
        await rig.work(rig.delivery())
        waits = await visitor.page()
        await rig.operations.pause(None, "Holidays.")
        paused = await visitor.page()

    assert "Almost there: connect IF3 to start" in empty
    assert "of 5 done" in empty
    assert "1 message is in the queue" in queued
    assert "1 message needs your review" in held
    assert "unfilled placeholder" in held
    assert "Sending waits until" in waits
    assert "Sending is paused." in paused
    assert "Holidays." in paused


async def test_gauge_says_when_there_is_room_again(tmp_path: Path) -> None:
    async with visiting(tmp_path) as (rig, visitor):
        spend(rig.simulator, 149)
        await rig.accept()
        await rig.work(rig.delivery())
        page = await visitor.page()

        assert "150 of 150" in page
        assert "none left" in page
        assert "Available again at" in page


async def test_first_page_shows_the_accounts_that_matter(tmp_path: Path) -> None:
    """Those that are paused, however many there are, and how many more there are; the sums are of all."""
    async with visiting(tmp_path) as (rig, visitor):
        rig.operations.mapping = rig.operations_of(*(f"ACC{number}" for number in range(500))).mapping
        await rig.operations.pause("ACC432", "Holidays.")
        page = await visitor.page()

    assert (20, 1) == (page.count('class="card limits"'), page.count("<h3>Account ACC432</h3>"))
    assert "And 480 more accounts; <code>callrail-relay status --json</code> lists every account." in page


async def test_failed_check_is_on_the_first_page(tmp_path: Path) -> None:
    """As soon as it is known; no page waits for it."""
    async with visiting(tmp_path) as (rig, visitor):
        visitor.private.examination.condition = Condition.FAILED
        assert "Almost there: connect IF3 to start" in await visitor.page()
        await asyncio.sleep(0)
        assert "Problem: store" in await visitor.page()
        await visitor.page()
        assert 1 == visitor.private.examination.made
        rig.clock.advance(FRESH)
        await visitor.page()
        await asyncio.sleep(0)
        assert 2 == visitor.private.examination.made


async def test_change_while_a_page_is_made_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page asks for what came after the version that it shows at least."""
    async with visiting(tmp_path) as (_, visitor):
        dashboard = visitor.private.dashboard
        read = dashboard.history.page

        async def read_and_change(wanted: MessageFilter) -> Page[MessageSummary]:
            page = await read(wanted)
            dashboard.signal()
            return page

        monkeypatch.setattr(dashboard.history, "page", read_and_change)
        before = await dashboard.feed.version()
        assert f"/events?since={before}" in await visitor.page("/texts")
        assert before != await dashboard.feed.version()


async def test_submission_of_several_leads_to_each(tmp_path: Path) -> None:
    """The id that the webhook answers with may be the id of several texts."""
    async with visiting(tmp_path) as (rig, visitor):
        body = json.dumps(
            [{"message": f"Text {number}", "seller_phone": recipient(number)} for number in range(2)]
        )
        receipt = await rig.intake.accept_request(body.encode(), content_type="application/json")
        page = await visitor.page(f"/texts/{receipt.submission_id}")
        assert "2 messages from one request" in page
        for accepted in receipt.accepted:
            assert f"/texts/{accepted.message_id}" in page


@pytest.mark.parametrize(
    "path",
    [
        "/texts/none",
        "/texts/none/request",
        "/texts/none/resend",
        "/people/1/2",
        f"/people/{RECIPIENT}/{RECIPIENT}",
    ],
)
async def test_what_is_not_there_is_said_so(tmp_path: Path, path: str) -> None:
    async with visiting(tmp_path) as (_, visitor):
        answer = await visitor.client.get(path)
        assert 404 == answer.status_code
        assert "<h1>Not found</h1>" in answer.text


async def test_store_that_is_away_is_said_so(tmp_path: Path) -> None:
    """In words, and not as a fault of the program."""
    async with visiting(tmp_path) as (rig, visitor):
        with sqlite3.connect(rig.path) as connection:
            connection.execute("ALTER TABLE messages RENAME TO elsewhere")
        connection.close()
        answer = await visitor.client.get("/texts")
        assert 503 == answer.status_code
        assert "The database can&#39;t be reached." in answer.text


# --- actions ---------------------------------------------------------------------------------------------


async def test_actions_do_what_they_say(tmp_path: Path) -> None:
    """Each wakes the delivery, tells other pages, and leads back to where it was asked."""
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Held {{name}}")
        # By the second page the checks that the first one began are done, and told of.
        for _ in range(2):
            await visitor.page()
        before = visitor.private.signal.count
        approved = await visitor.post(f"/texts/{id_}/approve", back="/texts?status=held")
        assert "/texts?status=held&said=" in str(approved.url)
        assert "Queued to send" in approved.text
        assert "queued" == (await rig.message(id_)).status
        assert (1, before + 1) == (visitor.private.woken, visitor.private.signal.count)

        assert "Canceled" in (await visitor.post(f"/texts/{id_}/cancel")).text
        assert "cancelled" == (await rig.message(id_)).status
        assert "Queued to send again" in (await visitor.post(f"/texts/{id_}/resend")).text
        assert "queued" == (await rig.message(id_)).status


async def hold_alike(rig: Rig, count: int) -> list[str]:
    """That many texts that are held as one mass text, after those that went through before."""
    ids = [
        await rig.accept(f"Hi Pat, are you still thinking of selling {n} Oak St?", to=recipient(n))
        for n in range(1, count + 5)
    ]
    held = [id_ for id_ in ids if (await rig.message(id_)).status == "held"]
    assert count == len(held)
    return held


async def test_texts_of_one_wording_are_decided_together(tmp_path: Path) -> None:
    """After a question that says how many there are; a text that is held for itself has no such button."""
    async with visiting(tmp_path, guards=guard_policy()) as (rig, visitor):
        held = await hold_alike(rig, 3)
        assert "Send all similar…" in await visitor.page(f"/texts/{held[0]}")
        question = await visitor.post("/review", verb="approve", like=held[0])
        assert "Send 3 messages?" in question.text
        assert {"held"} == {(await rig.message(id_)).status for id_ in held}
        sent = await visitor.post("/review", verb="approve", like=held[0], sure="yes")
        assert "3 messages queued to send" in sent.text
        assert {"queued"} == {(await rig.message(id_)).status for id_ in held}

        alone = await rig.accept("Held {{name}}", to=recipient(90))
        assert "all similar" not in await visitor.page(f"/texts/{alone}")
        refused = await visitor.post("/review", verb="cancel", like=alone, sure="yes")
        assert "isn&#39;t on hold as a bulk message" in refused.text
        assert "held" == (await rig.message(alone)).status


async def test_more_than_ten_texts_want_their_number_typed(tmp_path: Path) -> None:
    """The number as it is then: one that was typed for fewer decides nothing."""
    async with visiting(tmp_path, guards=guard_policy()) as (rig, visitor):
        held = await hold_alike(rig, 11)
        for typed in ({}, {"count": ""}, {"count": "10"}, {"count": "yes"}):
            refused = await visitor.post("/review", verb="approve", like=held[0], sure="yes", **typed)
            assert 422 == refused.status_code
            assert "Type 11 to" in refused.text
            assert {"held"} == {(await rig.message(id_)).status for id_ in held}
        await visitor.post("/review", verb="approve", like=held[0], sure="yes", count="11")
        assert {"queued"} == {(await rig.message(id_)).status for id_ in held}


async def test_nothing_is_sent_for_eight_seconds_after_a_click(tmp_path: Path) -> None:
    """And undone in that time, it is never sent; a moment later it is too late."""
    async with visiting(tmp_path) as (rig, visitor):
        kept = await rig.accept("Kept {{name}}", to=recipient(1))
        undone = await rig.accept("Undone {{name}}", to=recipient(2))
        batches = []
        for id_ in (kept, undone):
            page = (await visitor.post(f"/texts/{id_}/approve")).text
            batches.append(re.findall('name="batch" value="([^"]+)"', page)[0])
        delivery = rig.delivery()
        await rig.work(delivery, turns=7)
        assert [] == rig.simulator.texts
        assert "Undone: nothing was sent" in (await visitor.post("/undo", batch=batches[1])).text
        await rig.work(delivery, turns=3)
        assert ["Kept {{name}}"] == [text.content for text in rig.simulator.texts]
        assert "too late" in (await visitor.post("/undo", batch=batches[0])).text
        await rig.work(delivery, turns=60)
        assert 1 == len(rig.simulator.texts)
        assert "held" == (await rig.message(undone)).status
        assert "A person on the dashboard undid that" in await visitor.page(f"/texts/{undone}")


async def test_many_are_undone_with_one_click(tmp_path: Path) -> None:
    async with visiting(tmp_path, guards=guard_policy()) as (rig, visitor):
        held = await hold_alike(rig, 3)
        ids = {"id": " ".join(held)}
        sent = await visitor.post("/review", verb="approve", sure="yes", **ids)
        [batch] = re.findall('name="batch" value="([^"]+)"', sent.text)
        assert "Undone for 3 messages" in (await visitor.post("/undo", batch=batch)).text
        assert {"held"} == {(await rig.message(id_)).status for id_ in held}


async def test_what_was_decided_before_a_failure_is_sent_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time for undo, as ever, and not after the time that writing all of them might take."""
    async with visiting(tmp_path, guards=guard_policy()) as (rig, visitor):
        held = await hold_alike(rig, 3)
        monkeypatch.setattr(operations, "PORTION", 2)
        approve, decided = operations.DECISIONS[Verb.APPROVE], list[str]()

        def fail_at_last(tx: Transaction, id_: str, actor: Actor) -> bool:
            if len(decided) == 2:
                raise Unavailable("The disk is full.")
            decided.append(id_)
            return approve(tx, id_, actor)

        monkeypatch.setitem(operations.DECISIONS, Verb.APPROVE, fail_at_last)
        await visitor.post("/review", verb="approve", sure="yes", id=" ".join(held))
        rig.clock.advance(8)

        await rig.work(rig.delivery(), turns=60)

        sent = {id_ for id_ in held if (await rig.message(id_)).status is Status.SENT}
        assert 2 == len(sent)
        assert set(decided) == sent


async def test_nothing_is_sent_by_looking(tmp_path: Path) -> None:
    """No address that a browser may fetch by itself decides anything."""
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Held {{name}}")
        for path in (
            f"/review?verb=approve&id={id_}&sure=yes",
            f"/texts/{id_}/edit?message=Hi&to=2025550122",
            f"/texts/{id_}/approve?sure=yes",
        ):
            assert 200 == (await visitor.client.get(path)).status_code
            assert ("held", "Held {{name}}") == ((message := await rig.message(id_)).status, message.text)
        assert 405 == (await visitor.client.get("/undo?batch=x")).status_code


async def test_bulk_leaves_out_whoever_opted_out(tmp_path: Path) -> None:
    """Also one who may have: each of those is decided on alone. Nothing can be chosen by mistake."""
    async with visiting(tmp_path) as (rig, visitor):
        sent = [await rig.accept("Held {{name}}", to=recipient(number)) for number in (1, 2)]
        out = await rig.accept("Held {{name}}", to=recipient(3))
        await rig.operations.opt_out(recipient(3), None, "Asked by phone.")
        told = make_told("leave me alone", ours=rig.simulator.tracking_number)
        await ingest_one(rig.outbox, told, POLICY)
        doubtful = await rig.accept()
        chosen = " ".join([*sent, out, doubtful])

        question = (await visitor.post("/review", verb="approve", id=chosen)).text
        assert "Send 2 messages?" in question
        assert "2 messages are left out: the people opted out, or may have." in question
        await visitor.post("/review", verb="approve", id=chosen, sure="yes")
        assert ["queued", "queued", "held", "held"] == [
            (await rig.message(id_)).status for id_ in (*sent, out, doubtful)
        ]
        nobody = await visitor.post("/review", verb="approve", id=out, sure="yes")
        assert "these people opted out, or may have" in nobody.text
        for fields in ({"verb": "approve"}, {"verb": "explode", "id": out}, {"verb": "resend", "id": out}):
            assert 'class="notice bad"' in (await visitor.post("/review", sure="yes", **fields)).text


async def test_alike_texts_that_wait_for_one_reason_are_one_card(tmp_path: Path) -> None:
    """Of which each can be opened; texts of other words, or for another reason, have their own line."""
    async with visiting(tmp_path, guards=guard_policy()) as (rig, visitor):
        held = await hold_alike(rig, 3)
        await rig.accept("Held {{name}}", to=recipient(91))
        page = await visitor.page("/review")
        assert "3 similar" in page
        assert 1 == page.count('class="group held"')
        for id_ in held:
            assert f'href="/texts/{id_}"' in page
        card = page.partition('class="group held"')[2]
        assert "button main" not in card.partition("</li>")[0]


async def test_text_on_hold_is_edited_and_sent(tmp_path: Path) -> None:
    """With its new words alone; what it said before stays to be read, and a mistake keeps what was typed."""
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Hi {{name}}")
        form = await visitor.page(f"/texts/{id_}/edit")
        assert "Hi {{name}}</textarea>" in form
        assert 'value="(202) 555-0122"' in form
        wrong = await visitor.post(f"/texts/{id_}/edit", message="Hi Dana & Co", to="12")
        assert 422 == wrong.status_code
        assert "Hi Dana &amp; Co</textarea>" in wrong.text
        assert "valid US/Canada phone number" in wrong.text
        still = await visitor.post(f"/texts/{id_}/edit", message="Hi {{first}}", to="(202) 555-0122")
        assert "still on hold" in still.text

        await rig.operations.decide(Verb.CANCEL, other := await rig.accept("Hi {{name}}"))
        late = await visitor.post(f"/texts/{other}/edit", message="Typed meanwhile", to="(202) 555-0122")
        assert 409 == late.status_code
        assert "Typed meanwhile</textarea>" in late.text

        saved = await visitor.post(f"/texts/{id_}/edit", message="Hi Dana", to="(202) 555-0199")
        assert "queued to send. You have 8 seconds" in saved.text
        assert "Before: “Hi {{name}}” to (202) 555-0122" in saved.text
        delivery = rig.delivery()
        await rig.work(delivery, turns=7)
        assert [] == rig.simulator.texts
        await rig.work(delivery, turns=3)
        assert ["Hi Dana"] == [text.content for text in rig.simulator.texts]
        assert 409 == (await visitor.client.get(f"/texts/{id_}/edit")).status_code
        late = await visitor.post(f"/texts/{id_}/edit", message="Once more", to="(202) 555-0199")
        assert "can&#39;t be edited" in late.text


async def test_text_without_a_valid_number_gets_one(tmp_path: Path) -> None:
    async with visiting(tmp_path) as (rig, visitor):
        body = json.dumps({"message": "Hello", "seller_phone": "12"}).encode()
        receipt = await rig.intake.accept_request(body, content_type="application/json")
        id_ = receipt.accepted[0].message_id
        await visitor.post(f"/texts/{id_}/edit", message="Hello", to="(202) 555-0122")
        assert ("queued", RECIPIENT) == ((message := await rig.message(id_)).status, message.recipient)


async def test_list_is_saved_as_it_is_shown(tmp_path: Path) -> None:
    """All of its pages; other people's words are no formulas."""
    async with visiting(tmp_path) as (rig, visitor):
        for number in range(60):
            await rig.accept(f"Number {number}", to=recipient(number))
        await rig.accept("=1+1 {{name}}", to=recipient(61))
        answer = await visitor.client.get("/texts.csv")
        assert "attachment" in answer.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
        assert 61 == len(rows)
        assert ("'=1+1 {{name}}", "On hold") == (rows[0]["Message"], rows[0]["Status"])
        narrow = (await visitor.client.get("/texts.csv?status=held")).text
        assert 2 == len(narrow.splitlines())
        assert 401 == (await visitor.private.client().get("/texts.csv")).status_code


async def test_icon_shows_how_many_need_review(tmp_path: Path) -> None:
    async with visiting(tmp_path) as (rig, visitor):
        await rig.accept("Held {{name}}")
        assert 'href="/icon.svg?n=1"' in await visitor.page()
        for query, shown in (("n=1", ">1<"), ("n=5000", ">99<"), ("n=<b>", "</svg>"), ("", "</svg>")):
            icon = await visitor.client.get(f"/icon.svg?{query}")
            assert "image/svg+xml" in icon.headers["content-type"]
            assert shown in icon.text
            assert "<b>" not in icon.text


async def test_figures_come_from_the_store(tmp_path: Path) -> None:
    """What was sent, how soon, and that nothing was lost or doubled; in the first run, what to do next."""
    async with visiting(tmp_path) as (rig, visitor):
        empty = await visitor.page()
        assert "First run" in empty
        assert "<code>callrail-relay expose</code>" in empty
        assert "Sent today" not in empty
        await rig.accept()
        await rig.work(rig.delivery(), turns=2)
        page = " ".join(re.sub("<[^>]*>", " ", await visitor.page()).split())
        assert "Done: Test text" in page
        assert "Sent today 1 since midnight" in page
        assert "Lost 0 0 duplicates in 30 days" in page
        old = await rig.accept("Held {{name}}")
        await rig.operations.decide(Verb.CANCEL, old)
        rig.clock.advance(timedelta(days=3))
        await visitor.private.enter(visitor.client, visitor.private.login.new_token())
        await rig.operations.decide(Verb.RESEND, old)
        await rig.work(rig.delivery(), turns=2)
        page = " ".join(re.sub("<[^>]*>", " ", await visitor.page()).split())
        assert "Sent today 1 since midnight" in page  # however long it waited


async def test_text_of_an_opted_out_person_has_no_approve_button(tmp_path: Path) -> None:
    """Neither on its page nor on the first one, until the person is taken off the list."""
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Held {{name}}")
        await rig.operations.opt_out(RECIPIENT, None, "Asked by phone.")
        for path in ("/", f"/texts/{id_}"):
            page = await visitor.page(path)
            assert f"/texts/{id_}/approve" not in page
            assert f"/texts/{id_}/cancel" in page

        await rig.operations.remove_opt_out(RECIPIENT, None)
        assert f"/texts/{id_}/approve" in await visitor.page(f"/texts/{id_}")


async def test_approving_all_alike_passes_over_those_who_opted_out(tmp_path: Path) -> None:
    """The question counts the others alone, and they go."""
    async with visiting(tmp_path, guards=guard_policy()) as (rig, visitor):
        held = await hold_alike(rig, 3)
        opted_out = str((await rig.message(held[0])).recipient)
        await rig.operations.opt_out(opted_out, None, "Asked by phone.")

        others = held[1:]
        question = await visitor.post("/review", verb="approve", like=others[0])
        assert f"Send {len(others)} messages?" in question.text
        await visitor.post("/review", verb="approve", like=others[0], sure="yes")
        assert {"queued"} == {(await rig.message(id_)).status for id_ in others}
        assert "held" == (await rig.message(held[0])).status


async def test_doubtful_reply_is_decided_with_one_button(tmp_path: Path) -> None:
    """The text shows the reply; “Opt out” puts the person on the list and cancels the text."""
    async with visiting(tmp_path) as (rig, visitor):
        await ingest_one(rig.outbox, make_told("leave me alone", ours=rig.simulator.tracking_number), POLICY)
        id_ = await rig.accept()
        page = await visitor.page(f"/texts/{id_}")
        assert "“leave me alone”" in page
        assert "press “Opt out”" in page

        await visitor.post(f"/texts/{id_}/opt-out")
        assert "cancelled" == (await rig.message(id_)).status
        assert [RECIPIENT] == [one.recipient for one in await rig.operations.opt_outs()]


async def test_checks_show_when_they_ran_and_run_again_when_old(tmp_path: Path) -> None:
    """After a minute by either clock, and after sending is resumed; “Check now” asks CallRail anew."""
    async with visiting(tmp_path) as (rig, visitor):
        await visitor.page("/setup")
        await asyncio.sleep(0)
        ran_at = clock_time(rig.clock.now())
        assert f"Checked at {ran_at}" in await visitor.page("/setup")
        assert (1, 0) == (visitor.private.examination.made, visitor.private.examination.made_anew)

        rig.clock.advance(timedelta(hours=1))
        page = await visitor.page("/setup")
        assert f"Checked at {ran_at}" in page
        assert "Checking again" in page
        await asyncio.sleep(0)
        assert f"Checked at {clock_time(rig.clock.now())}" in await visitor.page("/setup")

        await visitor.post("/resume", back="/setup")
        await asyncio.sleep(0)
        assert (3, 1) == (visitor.private.examination.made, visitor.private.examination.made_anew)
        for _ in range(3):
            await visitor.post("/setup/check")  # however often it is pressed
        assert (4, 2) == (visitor.private.examination.made, visitor.private.examination.made_anew)
        rig.clock.advance(AGAIN)
        await visitor.post("/setup/check")
        assert (5, 3) == (visitor.private.examination.made, visitor.private.examination.made_anew)


async def test_checks_that_several_people_ask_for_at_once_are_made_once() -> None:
    """CallRail is asked once; but checks that began before what a person changed are made again."""
    clock, may_end, made = ManualClock(), asyncio.Event(), list[bool]()

    class Check(Remembered):
        anew = False

        async def __call__(self) -> str:
            made.append(self.anew)
            self.anew = False
            await may_end.wait()
            return "Words."

        def expire(self) -> None:
            self.anew = True

    async def words() -> str:
        return "Words."

    examiner = Examiner([("CallRail", Check(words, clock))], clock, lambda: None)
    examiner.latest()
    await asyncio.sleep(0)
    pressed = [asyncio.create_task(examiner.anew.get()) for _ in range(3)]
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.gather(*pressed)
    assert [False, True] == made


async def test_decision_is_kept_as_one_of_the_dashboard(tmp_path: Path) -> None:
    """A link is for a browser: who sits before it is not known."""
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Held {{name}}")
        await visitor.post(f"/texts/{id_}/approve")
        [decision] = (await rig.message(id_)).decisions
        assert "a person on the dashboard" == decision.actor.name
        assert "A person on the dashboard approved it" in await visitor.page(f"/texts/{id_}")


async def test_notice_is_told_once(tmp_path: Path) -> None:
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Held {{name}}")
        told = await visitor.post(f"/texts/{id_}/cancel")
        assert 'class="notice well"' in told.text
        assert 'class="notice well"' not in (await visitor.client.get(told.url)).text


async def test_refused_action_says_why(tmp_path: Path) -> None:
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Queued")
        refused = await visitor.post(f"/texts/{id_}/approve")
        assert 'class="notice bad"' in refused.text
        assert "can&#39;t be approved" in refused.text
        assert 0 == visitor.private.woken
        assert 404 == (await visitor.post(f"/texts/{id_}/explode")).status_code


async def test_text_that_lacks_something_is_mapped_again(tmp_path: Path) -> None:
    """It has no other button than that and “Cancel”; what it still lacks is said."""
    async with visiting(tmp_path) as (rig, visitor):
        receipt = await rig.intake.accept_request(
            b'{"message": "To nobody"}', content_type="application/json"
        )
        id_ = receipt.accepted[0].message_id
        page = await visitor.page(f"/texts/{id_}")
        assert f"/texts/{id_}/remap" in page
        assert f"/texts/{id_}/cancel" in page
        assert f"/texts/{id_}/approve" not in page
        again = await visitor.post(f"/texts/{id_}/remap")
        assert "be sent yet: see the reason" in again.text
        assert "no phone number to send to" in again.text


@pytest.mark.parametrize(
    "back",
    [
        "//evil.example.com",
        "///evil.example.com",
        "////evil.example.com",
        "/\\evil.example.com",
        "\\\\evil.example.com",
        "/\t/evil.example.com",
        "//[",
        "https://evil.example.com/",
        "http:evil.example.com",
        "texts",
        "/\x00",
        "",
    ],
)
async def test_no_form_leads_elsewhere(tmp_path: Path, back: str) -> None:
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Held {{name}}")
        done = await visitor.post(f"/texts/{id_}/cancel", back=back)
        assert "/" == done.url.path
        assert "127.0.0.1" == done.url.host


async def test_name_that_turns_the_writing_around_stays_by_itself(tmp_path: Path) -> None:
    """In the page it has its own element, and in the title the mark is written out."""
    async with visiting(tmp_path) as (rig, visitor):
        body = json.dumps({"message": "To nobody", "seller": "Dana \u202egpj"}).encode()
        receipt = await rig.intake.accept_request(body, content_type="application/json")
        id_ = receipt.accepted[0].message_id
        page = await visitor.page(f"/texts/{id_}")

    assert "<bdi>Dana \u202egpj</bdi>" in page
    assert r"<title>Message to Dana \u202egpj" in page


async def test_what_changed_before_many_were_confirmed_is_told(tmp_path: Path) -> None:
    async with visiting(tmp_path) as (rig, visitor):
        ids = [await rig.accept(f"Held {{{{name}}}} {number}") for number in range(3)]
        await rig.operations.decide(Verb.CANCEL, ids[0])
        done = await visitor.post("/review", verb="cancel", id=" ".join(ids), sure="yes")
        assert "2 messages canceled. 1 other changed in the meantime." in done.text


async def test_form_that_is_too_large_is_named(tmp_path: Path) -> None:
    """Nothing of it is read."""
    async with visiting(tmp_path) as (_, visitor):
        answer = await visitor.post("/setup/opt-outs/import", list="2025550122\n" * 200_000)
        assert 413 == answer.status_code
        assert "too large" in answer.text
        assert "No opt-outs yet" in await visitor.page("/setup/opt-outs")


async def test_only_what_a_person_saw_is_sent(tmp_path: Path) -> None:
    """A page may be old: another person changed the words, or the rules found more."""
    async with visiting(tmp_path) as (rig, visitor):
        id_ = await rig.accept("Held {{name}}")
        [seen] = re.findall(
            r'name="seen" value="([^"]+)"[^>]*>\s*<button[^>]*>Send anyway', await visitor.page("/review")
        )
        await visitor.post(f"/texts/{id_}/edit", message="Held {{first}}", to="(202) 555-0122")
        late = await visitor.post(f"/texts/{id_}/approve", seen=seen)
        assert "was changed after your page showed it" in late.text
        assert "held" == (await rig.message(id_)).status
        [seen] = re.findall(
            r'name="seen" value="([^"]+)"[^>]*>\s*<button[^>]*>Send anyway', await visitor.page("/review")
        )
        for done in ("Queued to send", "is queued and can&#39;t be approved"):
            assert done in (await visitor.post(f"/texts/{id_}/approve", seen=seen)).text


async def test_parts_of_a_text_on_hold_are_not_queued(tmp_path: Path) -> None:
    async with visiting(tmp_path) as (rig, visitor):
        page = await visitor.page(f"/texts/{await rig.accept('Held {{name}}' + 20 * ' and more')}")
        assert "<h3>2 parts</h3>" in page
        assert 'class="badge queued"' not in page


async def test_url_for_if3_is_shown_to_whoever_asks_by_a_form(tmp_path: Path) -> None:
    async with visiting(tmp_path) as (_, visitor):
        assert HOOK_URL not in await visitor.page("/setup/webhook")
        assert 405 == (await visitor.client.get("/setup/url")).status_code
        assert HOOK_URL in (await visitor.post("/setup/url")).text
        assert HOOK_URL not in await visitor.page("/setup/webhook")


@pytest.mark.parametrize(
    ("to", "text", "said"),
    [("12", "Hello", "valid US/Canada phone number"), (RECIPIENT, " ", "The message is empty")],
)
async def test_wrong_test_text_is_refused_in_words(tmp_path: Path, to: str, text: str, said: str) -> None:
    async with visiting(tmp_path) as (_, visitor):
        refused = await visitor.post("/setup/test", to=to, message=text)
        assert said in refused.text
        assert "--" not in refused.text.partition('id="notice"')[2].partition("</div>")[0]


async def test_test_text_goes_the_way_of_every_other(tmp_path: Path) -> None:
    """The guards hold it as they would any other, and a line's end is one character."""
    async with visiting(tmp_path) as (rig, visitor):
        sent = await visitor.post("/setup/test", to="(202) 555-0122", message="One\r\ntwo")
        assert "The message is in the queue." in sent.text
        assert "One\ntwo" == (await rig.message(sent.url.path.rpartition("/")[2])).text
        held = await visitor.post("/setup/test", to="(202) 555-0122", message="Hi {{name}}")
        assert "The message is on hold" in held.text


# --- live ------------------------------------------------------------------------------------------------


async def test_stream_tells_of_a_change(tmp_path: Path) -> None:
    """By the version that the page has then seen; and of one that it missed, at once."""
    async with (
        private_rig(tmp_path) as (rig, private),
        Listener(private.app, host="127.0.0.1", port=0, setting="dashboard.port") as listener,
        httpx2.AsyncClient(base_url=listener.url, timeout=20) as client,
    ):
        await private.enter(client)
        async with client.stream("GET", "/events", headers={"Last-Event-ID": "old"}) as stream:
            assert "text/event-stream; charset=utf-8" == stream.headers["content-type"]
            assert "no" == stream.headers["x-accel-buffering"]  # nginx would keep the events for itself
            assert "no-store" == stream.headers["cache-control"]
            lines = stream.aiter_lines()
            assert [": connected", ""] == [await anext(lines) for _ in range(2)]
            first = [await anext(lines) for _ in range(4)]
            assert "event: changed" == first[1]
            await rig.accept("Hello")
            private.signal()
            rig.clock.advance(timedelta(seconds=1))
            second = [await anext(lines) for _ in range(4)]
            assert "event: changed" == second[1]
            assert first[0] != second[0]


# --- a new link ------------------------------------------------------------------------------------------


async def test_program_of_the_same_user_has_a_new_link(tmp_path: Path) -> None:
    """With the secret of this run, and without it not."""
    async with private_rig(tmp_path) as (_, private), private.client() as client:
        secret = private.login.link_secret
        for given in ("", "Bearer", "Bearer x", secret):
            refused = await client.post("/login/links", headers={"Authorization": given})
            assert 403 == refused.status_code
        answer = await client.post("/login/links", headers={"Authorization": f"Bearer {secret}"})
        link = httpx2.URL(answer.json()["url"])
        assert ("127.0.0.1", "/login") == (link.host, link.path)
        assert 303 == (await private.enter(client, link.params["token"])).status_code


async def test_link_is_asked_for_where_the_relay_left_word(tmp_path: Path) -> None:
    """In a file that no other user can read; it goes with the relay. The command says if there is none."""
    context = load_context(None, must_exist=False)
    with pytest.raises(Unavailable, match="No relay with a dashboard uses"):
        await ask_for_link(context)
    with open_desk(context.data, "http://127.0.0.1:9", "secret"):
        file = context.data / FILE
        if os.name == "posix":
            assert 0o600 == file.stat().st_mode & 0o777
        with pytest.raises(Unavailable, match="No relay with a dashboard uses"):
            await ask_for_link(context)
    assert not file.exists()
    with open_desk(context.data, "http://127.0.0.1:9", "secret"):
        file.write_text("of another relay", encoding="utf-8")
    assert file.exists()
    with pytest.raises(Unavailable, match="No relay with a dashboard uses"):
        await ask_for_link(context)
