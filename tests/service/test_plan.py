"""Dry runs: what `replay --dry-run` tells is what the run then does."""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callrail_relay.domain.guards import Mode
from callrail_relay.domain.mapper import Accepted, MappedText, map_direct
from callrail_relay.domain.message import Message, Status
from callrail_relay.outbox import opt_outs
from tests.service.rig import Rig, open_rig
from tests.support.clock import START, ManualClock
from tests.support.factories import RECIPIENT, TEXT, recipient
from tests.support.policies import guard_policy

pytestmark = pytest.mark.anyio

PEOPLE = [recipient(number) for number in (7, 8, 9, 10, 11, 12, 1700, 1701)]
"""Of two area codes, in two time zones."""

BULK = "Hello, we buy houses for cash in your area and close within one week. Would you like an offer?"
TEXTS = [TEXT, "Thank you!", BULK, "Dear {{seller_first_name}}", "word " * 60]

a_text = st.tuples(st.sampled_from(PEOPLE), st.sampled_from(TEXTS))
texts = st.lists(a_text, max_size=8)


def drafts(rig: Rig, wanted: Sequence[tuple[str, str]]) -> list[MappedText]:
    return [map_direct(to=to, text=text, sender=None, routes=rig.mapping.routes) for to, text in wanted]


def told(planned: Accepted, new: Mapping[str, Message]) -> tuple[object, ...]:
    if planned.duplicate_of is not None:
        return ("duplicate",)
    message = new[planned.message_id]
    return (
        message.status,
        message.recipient,
        message.text,
        message.reasons,
        message.release_at,
        len(message.segments),
    )


async def done(rig: Rig, accepted: Accepted) -> tuple[object, ...]:
    if accepted.duplicate_of is not None:
        return ("duplicate",)
    message = await rig.message(accepted.message_id)
    return (
        message.status,
        message.recipient,
        message.text,
        message.reasons,
        message.release_at,
        len(message.segments),
    )


@settings(max_examples=30, deadline=None)
@given(
    before=texts,
    files=st.lists(texts, min_size=1, max_size=3),
    opted_out=st.sets(st.sampled_from(PEOPLE), max_size=2),
    force=st.booleans(),
    later=st.sampled_from([0.0, 4.0, 6.0, 700.0]),
    hour=st.integers(0, 23),
)
def test_a_dry_run_tells_what_the_run_then_does(
    before: list[tuple[str, str]],
    files: list[list[tuple[str, str]]],
    opted_out: set[str],
    force: bool,  # noqa: FBT001 - drawn
    later: float,
    hour: int,
) -> None:
    """
    Duplicates, mass texts, opt-outs, placeholders and quiet hours are judged over the store and the files;
    and after the dry run the store is as it was.
    """

    async def story(folder: Path) -> None:
        clock = ManualClock(START + timedelta(hours=hour))
        guards = guard_policy(quiet_hours=Mode.HOLD)
        async with open_rig(folder, clock=clock, guards=guards) as rig:
            for to, text in before:
                await rig.accept(text, to=to)
            for person in opted_out:
                await rig.outbox.write(opt_outs.add_opt_out, rig.simulator.tracking_number, person, "STOP")
            clock.advance(later)
            found = [(b"saved", drafts(rig, wanted)) for wanted in files]
            kept = [rig.stored("*", table) for table in ("messages", "submissions", "accounts", "decisions")]

            planned, new = await rig.intake.plan(rig.intake.saved(found, force=force))

            assert kept == [
                rig.stored("*", table) for table in ("messages", "submissions", "accounts", "decisions")
            ]
            accepted = await rig.intake.accept(rig.intake.saved(found, force=force))
            assert len(planned) == len(accepted) == sum(map(len, files))
            stored = {one.message_id for one in accepted}
            for one, became in zip(planned, accepted, strict=True):
                assert told(one, new) == await done(rig, became)
                assert (one.duplicate_of in new) == (became.duplicate_of in stored)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))


async def test_a_dry_run_of_one_text_knows_a_double_click(tmp_path: Path) -> None:
    """`send --dry-run` asks the store as well, and what it plans has no id."""
    async with open_rig(tmp_path) as rig:
        await rig.accept(TEXT)

        [draft] = drafts(rig, [(RECIPIENT, TEXT)])
        _, planned = await rig.intake.plan(rig.intake.direct(draft))

        [new] = planned.values()
        assert (Status.HELD, ["duplicate"]) == (new.status, [reason.code for reason in new.reasons])
        assert ("", "") == (new.id, new.submission_id)
        assert 1 == len(rig.stored("id", "messages"))
