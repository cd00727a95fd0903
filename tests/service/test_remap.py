"""Mapping held texts again, after the settings changed."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from callrail_relay.domain.mapper import MappingPolicy, map_saved
from callrail_relay.domain.message import Message, Status, Verb, instant
from callrail_relay.domain.routing import RouteRule, Routes
from callrail_relay.errors import NotAllowed, NotFound
from callrail_relay.service.intake import Intake
from callrail_relay.service.operations import Operations
from tests.service.rig import Rig, open_rig
from tests.support.clock import START
from tests.support.factories import recipient
from tests.support.policies import guard_policy
from tests.web.posting import payload

pytestmark = pytest.mark.anyio


def codes(message: Message) -> list[str]:
    return [reason.code for reason in message.reasons]


def teams(rig: Rig, *team_ids: str) -> MappingPolicy:
    """Settings with a route for these teams and no other."""
    [route] = rig.mapping.routes
    return MappingPolicy(
        routes=Routes(tuple(RouteRule(route, team_id=team_id) for team_id in team_ids)),
        guards=guard_policy(),
        max_characters=140,
        limits=rig.mapping.limits,
    )


def operations(rig: Rig, mapping: MappingPolicy) -> Operations:
    return Operations(rig.outbox, mapping)


async def accept(rig: Rig, body: object, mapping: MappingPolicy) -> list[str]:
    """The ids of the messages of a request that is mapped by *mapping*."""
    intake = Intake(rig.outbox, mapping, random=rig.random, hook=rig.events)
    receipt = await intake.accept_request(json.dumps(body).encode(), content_type="application/json")
    return [one.message_id for one in receipt.accepted]


async def test_a_text_leaves_once_there_is_a_route(tmp_path: Path) -> None:
    """Before a later one to the same person."""
    async with open_rig(tmp_path) as rig:
        [id_] = await accept(rig, payload(message="First"), teams(rig))
        [later] = await accept(rig, payload(message="Second"), teams(rig, "42"))
        assert ["no_route"] == codes(await rig.message(id_))

        [mapped] = await operations(rig, teams(rig, "42")).decide(Verb.REMAP, id_)
        await rig.work(rig.delivery(), turns=2)

        assert (Status.QUEUED, []) == (mapped.status, codes(mapped))
        assert ["First", "Second"] == [text.content for text in rig.simulator.texts]
        assert later != id_


async def test_one_of_several_is_mapped_alone(tmp_path: Path) -> None:
    """By the id of the submission, all those that lack something are."""
    async with open_rig(tmp_path) as rig:
        body = [
            payload(message=f"Text {team}", seller_phone=recipient(team), team_id=team) for team in (1, 2, 3)
        ]
        for one in body:
            del one["seller_phone_non_international"]
        first, second, third = await accept(rig, body, teams(rig, "2"))
        now = operations(rig, teams(rig, "1", "2", "3"))

        [mapped] = await now.decide(Verb.REMAP, third)
        assert (third, "Text 3", recipient(3)) == (mapped.id, mapped.text, mapped.recipient)
        assert None is (await rig.message(first)).route
        [mapped] = await now.decide(Verb.REMAP, mapped.submission_id)
        assert (first, "Text 1") == (mapped.id, mapped.text)
        with pytest.raises(NotAllowed, match="can't be retried"):
            await now.decide(Verb.REMAP, second)
        with pytest.raises(NotAllowed, match="on hold for a reason that a retry can't fix"):
            await now.decide(Verb.REMAP, await rig.accept("Hello {{name}}"))


async def test_what_still_lacks_something_says_what(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        [id_] = await accept(rig, payload(seller_phone_non_international="123", seller_phone=...), teams(rig))
        assert {"bad_phone", "no_route"} == set(codes(await rig.message(id_)))

        [held] = await operations(rig, teams(rig, "42")).decide(Verb.REMAP, id_)

        assert (Status.HELD, ["bad_phone"]) == (held.status, codes(held))


async def test_the_guards_are_asked_again(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        [id_] = await accept(rig, payload(message="Hi {{name}}"), teams(rig))

        [held] = await operations(rig, teams(rig, "42")).decide(Verb.REMAP, id_)

        assert (Status.HELD, ["merge_tag"]) == (held.status, codes(held))
        [approved] = await rig.operations.decide(Verb.APPROVE, id_)
        assert Status.QUEUED is approved.status


async def test_an_unreadable_request_stays_what_it_is(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        receipt = await rig.intake.accept_request(b"\xff\xfe\x00", content_type=None)

        [held] = await rig.operations.decide(Verb.REMAP, receipt.submission_id)

        assert (Status.HELD, ["unreadable"]) == (held.status, codes(held))


@pytest.mark.parametrize("later", [timedelta(), timedelta(days=1)])
async def test_an_old_text_of_a_history_is_still_old(tmp_path: Path, later: timedelta) -> None:
    """It came to the Zap last week, and to the relay just now or too long ago as well."""
    async with open_rig(tmp_path) as rig:
        run = {"status": "held", "date": instant(START - timedelta(days=7)), **payload()}
        document, none, one = json.dumps(run).encode(), teams(rig), teams(rig, "42")
        drafts, _ = map_saved(document, none, START)
        intake = Intake(rig.outbox, none, random=rig.random)
        [accepted] = await intake.accept(intake.saved([(document, drafts)], force=False))
        rig.clock.advance(later)

        [held] = await operations(rig, one).decide(Verb.REMAP, accepted.message_id)

        assert (Status.HELD, ["too_old"]) == (held.status, codes(held))


async def test_a_saved_file_is_mapped_again_only_as_a_whole(tmp_path: Path) -> None:
    """Where a text of it was left out, nothing says which of the others is which."""
    async with open_rig(tmp_path) as rig:
        document = json.dumps([payload(message="A"), payload(message="B", team_id=7)]).encode()
        intake = Intake(rig.outbox, teams(rig, "42"), random=rig.random)
        drafts, _ = map_saved(document, teams(rig, "42"), START)
        [_, whole] = await intake.accept(intake.saved([(document, drafts)], force=False))
        [_, partly] = await intake.accept(intake.saved([(document, drafts)], force=False))

        [mapped] = await operations(rig, teams(rig, "7", "42")).decide(Verb.REMAP, whole.message_id)

        assert (Status.QUEUED, "B") == (mapped.status, mapped.text)
        with pytest.raises(NotAllowed, match="the same number of texts"):
            await operations(rig, teams(rig, "7", "42")).decide(Verb.REMAP, partly.message_id)


async def test_only_held_texts_are_mapped_again(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        queued = await rig.accept()
        [id_] = await accept(rig, payload(), teams(rig))
        await rig.operations.decide(Verb.CANCEL, id_)

        for other in (queued, id_):
            with pytest.raises(NotAllowed, match="can't be retried"):
                await rig.operations.decide(Verb.REMAP, other)
        with pytest.raises(NotFound):
            await rig.operations.decide(Verb.REMAP, "nothing")


async def test_without_routes_the_text_stays_as_it_is(tmp_path: Path) -> None:
    """Settings without a route map nothing, and say so."""
    async with open_rig(tmp_path) as rig:
        [id_] = await accept(rig, payload(), teams(rig))
        bare = operations(rig, teams(rig))

        [held] = await bare.decide(Verb.REMAP, id_)

        assert ["no_route"] == codes(held)
