"""Similar texts to many people: the first four go, and the others wait for a person's word on all of them."""

from datetime import timedelta

import pytest

from callrail_relay.domain.guards import MASS_TEXT_WINDOW, GuardPolicy, Mode
from callrail_relay.domain.mapper import Accepted, NewMessage
from callrail_relay.domain.message import Actor, Status
from callrail_relay.outbox import decisions
from callrail_relay.outbox.store import Store
from tests.outbox.worker import accept_one, codes_of, find, status_of
from tests.support.clock import ManualClock
from tests.support.factories import make_draft, make_message, make_route, make_submission, recipient
from tests.support.policies import guard_policy

pytestmark = pytest.mark.anyio

OURS = "Hi {}, are you still thinking of selling your house this year?"
OTHER = "{}, the inspector comes on Friday morning, please leave the gate open"
SHORT = "Sounds good {}, talk tomorrow"
HELD, QUEUED = Status.HELD, Status.QUEUED


def text_to(number: int, template: str = OURS, *, account_id: str | None = None) -> NewMessage:
    """A text of a template; each has a different name."""
    route = make_route(account_id=account_id) if account_id else make_route()
    name = f"Name{chr(97 + number)}"
    draft = make_draft(recipient=recipient(number), text=template.format(name), seller=name, route=route)
    return make_message(draft=draft)


async def accept(outbox: Store, *new: NewMessage, guards: GuardPolicy | None = None) -> list[Accepted]:
    return await accept_one(outbox, make_submission(*new, guards=guards))


async def accept_each(outbox: Store, *new: NewMessage) -> list[Status]:
    return [(await accept(outbox, one))[0].status for one in new]


async def test_the_first_four_go(outbox: Store) -> None:
    """The fifth and all after it are held, in requests of their own."""
    statuses = await accept_each(outbox, *(text_to(number) for number in range(7)))

    assert [QUEUED] * 4 + [HELD] * 3 == statuses


async def test_those_of_one_request_are_counted_too(outbox: Store) -> None:
    """Also together with those that came before it."""
    await accept(outbox, text_to(0), text_to(1))
    accepted = await accept(outbox, *(text_to(number) for number in range(2, 6)))

    assert [QUEUED, QUEUED, HELD, HELD] == [one.status for one in accepted]


async def test_people_are_counted_and_not_texts(outbox: Store, clock: ManualClock) -> None:
    """Four people may be texted the same again and again."""
    for _ in range(3):
        assert [QUEUED] * 4 == await accept_each(outbox, *(text_to(number) for number in range(4)))
        clock.advance(timedelta(seconds=6))

    assert [HELD] == await accept_each(outbox, text_to(4))


async def test_other_texts_and_other_accounts_are_counted_apart(outbox: Store) -> None:
    """And a text that is too short to judge is not counted at all."""
    await accept_each(outbox, *(text_to(number) for number in range(4)))
    others = [
        text_to(4, OTHER),
        text_to(5, account_id="ACC-2"),
        *(text_to(number, SHORT) for number in range(6, 14)),
    ]

    assert {QUEUED} == {*await accept_each(outbox, *others)}


async def test_ten_minutes_later_it_may_be_sent_again(outbox: Store, clock: ManualClock) -> None:
    """The window moves with each text."""
    await accept_each(outbox, *(text_to(number) for number in range(4)))
    clock.advance(MASS_TEXT_WINDOW - timedelta(microseconds=1))
    assert [HELD] == await accept_each(outbox, text_to(4))
    clock.advance(timedelta(microseconds=1))

    assert [QUEUED] * 3 == await accept_each(outbox, *(text_to(number) for number in range(5, 8)))
    assert [HELD] == await accept_each(outbox, text_to(8))


@pytest.mark.parametrize("mode", [Mode.WARN, Mode.OFF])
async def test_the_guard_may_warn_or_be_off(outbox: Store, mode: Mode) -> None:
    """A warning is kept with the text, which goes."""
    policy = guard_policy(mass_text=mode)
    accepted = await accept(outbox, *(text_to(number) for number in range(6)), guards=policy)

    assert {QUEUED} == {one.status for one in accepted}
    expected = ["mass_text"] if mode is Mode.WARN else []
    assert expected == await codes_of(outbox, accepted[-1].message_id)


async def test_approving_one_approves_nothing_else(outbox: Store) -> None:
    """All that are held with it are approved together where a person asks for that, and only those."""
    accepted = await accept(outbox, *(text_to(number) for number in range(7)))
    other = await accept(outbox, *(text_to(number, OTHER) for number in range(5)))
    held = [one.message_id for one in accepted if one.status is HELD]

    assert await outbox.write(decisions.approve, held[1], Actor(name="pat", note="An answer to each."))

    assert [HELD, QUEUED, HELD] == [await status_of(outbox, id_) for id_ in held]
    assert [held[0], held[2]] == await outbox.read(decisions.held_alike, held[0])
    assert HELD is await status_of(outbox, other[-1].message_id)
    (decision,) = (await find(outbox, held[1])).decisions
    assert ("pat", "An answer to each.") == (decision.actor.name, decision.actor.note)
    assert ("mass_text",) == decision.overridden
