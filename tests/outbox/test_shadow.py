"""Every request belongs to the old URL or to the relay, whatever comes, breaks and switches in between."""

import asyncio
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callrail_relay.domain.message import Actor, Message, MessageFilter, Source, Status, Verb
from callrail_relay.domain.shadow import LEASE, Mode, Passed, PassOn, Shadow, State, answered
from callrail_relay.errors import NotAllowed
from callrail_relay.outbox import decisions, queries, retention, shadow
from callrail_relay.outbox.accept import Receipt, accept
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import forwards
from callrail_relay.outbox.transaction import Transaction
from tests.outbox.database import connected
from tests.outbox.requests import make_mapper, make_raw
from tests.outbox.worker import SENT, Worker
from tests.support.clock import ManualClock
from tests.support.factories import make_message, make_submission, recipient
from tests.support.policies import guard_policy
from tests.support.stores import new_sqlite_store

OLD = "https://hooks.example.com/old"
MAX_AGE = timedelta(hours=4)
RESULTS: dict[str, Passed] = {
    "answers": answered(200, b"{}"),
    "refuses": answered(410, b""),
    "fails": answered(500, b""),
    "breaks": Passed(State.UNKNOWN, "The connection broke."),
    "is down": Passed(State.WAITING, "No connection."),
}
MAPPER = make_mapper()


async def come(store: Store, words: str = "Hello", *, to: str = recipient(1)) -> Receipt:
    stored = await store.accept(MAPPER(make_raw(words, to=to)))
    assert stored.accepted
    return stored


async def listed(store: Store) -> list[Message]:
    return await store.read(queries.list_messages, MessageFilter(limit=0))


@dataclass
class Story:
    """What happened to each text, by its words: who had it when it came, and how often it got to whom."""

    store: Store
    clock: ManualClock
    in_shadow: dict[str, bool] = field(default_factory=dict)
    at_old: Counter[str] = field(default_factory=Counter)
    at_callrail: Counter[str] = field(default_factory=Counter)
    under_way: list[PassOn] = field(default_factory=list)
    cut_off: set[str] = field(default_factory=set)

    async def comes(self, person: int) -> None:
        words = f"Text {len(self.in_shadow)}"
        stored = await come(self.store, words, to=recipient(person))
        self.in_shadow[words] = stored.in_shadow
        if stored.pass_on is not None:
            self.under_way.append(stored.pass_on)

    async def ends(self, which: int, result: str) -> None:
        if self.under_way:
            await self._end(self.under_way.pop(which % len(self.under_way)), RESULTS[result])

    async def _end(self, tried: PassOn, passed: Passed) -> None:
        if passed.state is not State.WAITING:
            self.at_old[_words(tried)] += 1
        assert tried.id is not None
        await self.store.write(shadow.record, tried.id, tried.tries, passed)

    async def crashes(self, arrived: list[bool]) -> None:
        """Tries that are under way end without a record, with the request there or not."""
        for number, tried in enumerate(self.under_way):
            words = _words(tried)
            self.cut_off.add(words)
            self.at_old[words] += arrived[number % len(arrived)]
        self.under_way.clear()

    async def takes(self) -> None:
        tried = await self.store.write(shadow.take_next, MAX_AGE)
        if tried is not None:
            self.under_way.append(tried)

    async def waits(self, seconds: int) -> None:
        self.clock.advance(seconds)

    async def switches(self, way: str) -> None:
        if way == "start":
            await self.store.write(shadow.start, OLD)
        else:
            await self.store.write(shadow.switch, Mode.LIVE if way == "end" else Mode.SHADOW)

    async def sends(self) -> None:
        worker = Worker(self.store)
        while (claim := await worker.take_if_any()) is not None:
            self.at_callrail[claim.content] += 1
            await worker.record(claim, SENT)

    async def finish(self) -> None:
        """What is under way ends, what waits is passed on or held, and the relay sends what it has."""
        while self.under_way:
            await self.ends(0, "answers")
        self.clock.advance(LEASE.total_seconds() + 1)
        await self.takes()
        while self.under_way:
            await self.ends(0, "answers")
            await self.takes()
        await self.store.write(shadow.switch, Mode.LIVE)
        for _ in self.in_shadow:
            self.clock.advance(2)
            await self.sends()


def _words(tried: PassOn) -> str:
    return MAPPER(tried.request).messages[0].draft.text or ""


STEP = st.one_of(
    st.tuples(st.just("comes"), st.integers(1, 3)),
    st.tuples(st.just("ends"), st.integers(0, 5), st.sampled_from(sorted(RESULTS))),
    st.tuples(st.just("crashes"), st.lists(st.booleans(), min_size=1, max_size=3)),
    st.tuples(st.just("takes")),
    st.tuples(st.just("waits"), st.sampled_from([1, 60, 5 * 3600])),
    st.tuples(st.just("switches"), st.sampled_from(["end", "resume", "start"])),
    st.tuples(st.just("sends")),
)


@given(steps=st.lists(STEP, max_size=40))
@settings(deadline=None, max_examples=80)
def test_each_request_belongs_to_one_of_both(steps: list[tuple[str, object]]) -> None:
    """
    None is passed on twice or sent by both, and what neither had is on hold for a person.

    A try that a crash cut off may have arrived: it alone may be with neither, and is known as such.
    """

    async def tell() -> None:
        clock = ManualClock()
        with tempfile.TemporaryDirectory() as folder:
            url = new_sqlite_store(Path(folder) / "relay.db")
            store = await Store.open(url, clock, database_time=False)
            try:
                story = Story(store, clock)
                await store.write(shadow.start, OLD)
                for name, *arguments in steps:
                    await getattr(story, name)(*arguments)
                await story.finish()
                for message in await listed(store):
                    _check(story, message)
                assert len(story.in_shadow) == len(await listed(store))
            finally:
                await store.close()

    asyncio.run(tell())


def _check(story: Story, message: Message) -> None:
    words = message.text or ""
    at_old, at_callrail = story.at_old[words], story.at_callrail[words]
    codes = {reason.code for reason in message.reasons}
    if not story.in_shadow[words]:
        # Too old by now, or sent: it is the relay's in any case.
        assert at_old == 0
        assert (message.status, at_callrail) in ((Status.SENT, 1), (Status.HELD, 0))
        assert "not_passed_on" not in codes
        return
    assert at_callrail == 0
    assert at_old <= 1
    if message.status is Status.HELD:
        assert at_old == 0
        assert "not_passed_on" in codes
    else:
        assert message.status is Status.SHADOW
        assert at_old == 1 or words in story.cut_off


pytestmark = pytest.mark.anyio


async def test_two_nodes_switch_at_one_instant(outbox: Store, second_outbox: Store) -> None:
    """What came before the end began is the old URL's, what came after it is the relay's, on each node."""
    await outbox.write(shadow.start, OLD)
    enough, began, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    before: list[Receipt] = []
    after: list[Receipt] = []

    async def post(store: Store, node: int) -> None:
        for number in range(60):
            was_begun, was_ended = began.is_set(), ended.is_set()
            stored = await come(store, f"Text {node} {number}", to=recipient(node * 100 + number))
            if not began.is_set():
                before.append(stored)
                if len(before) == 20:
                    enough.set()
            elif was_ended:
                after.append(stored)
            assert was_begun or not was_ended

    async def end(store: Store) -> int | None:
        await enough.wait()
        began.set()
        held = await store.write(shadow.switch, Mode.LIVE)
        ended.set()
        return held

    _, _, first, second = await asyncio.gather(
        post(outbox, 1), post(second_outbox, 2), end(outbox), end(second_outbox)
    )

    assert {None, 0} == {first, second}
    assert before
    assert all(one.in_shadow for one in before)
    assert after
    assert not any(one.in_shadow for one in after)


@pytest.mark.parametrize("seen", ["before", "between"])
async def test_only_one_node_takes_what_waits(
    seen: str, outbox: Store, second_outbox: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request once, in order for each person, however many look at once, and however late it is seen."""
    if seen == "between":  # they were stored after a look had locked what waited before
        monkeypatch.setattr(shadow, "_waiting", lambda _: [])
    await outbox.write(shadow.start, OLD)
    first = await come(outbox)
    assert first.in_shadow
    assert first.pass_on is not None
    await outbox.write(shadow.record, first.pass_on.id or 0, 1, RESULTS["is down"])
    for number in range(2, 8):
        await come(outbox, f"Text {number}", to=recipient(number))

    looks = [store.write(shadow.take_next, MAX_AGE) for store in (outbox, second_outbox) for _ in range(8)]
    taken = [one for one in await asyncio.gather(*looks) if one is not None]
    while (one := await outbox.write(shadow.take_next, MAX_AGE)) is not None:
        taken.append(one)  # a look that had to wait for another one's finds nothing

    assert 7 == len({one.id for one in taken}) == len(taken)
    with connected(store_url) as connection:
        states = [row.state for row in connection.execute(forwards.select())]
    assert [State.PASSING] * 7 == states


async def test_a_result_of_a_try_that_is_over_changes_nothing(outbox: Store, clock: ManualClock) -> None:
    """A second try is under way: that the first did not arrive must not let a third one begin."""
    await outbox.write(shadow.start, OLD)
    stored = await come(outbox)
    assert stored.in_shadow
    assert stored.pass_on is not None
    id_ = stored.pass_on.id or 0
    await outbox.write(shadow.record, id_, 1, RESULTS["is down"])
    assert await outbox.write(shadow.take_next, MAX_AGE) is not None

    await outbox.write(shadow.record, id_, 1, RESULTS["is down"])

    assert await outbox.write(shadow.take_next, MAX_AGE) is None


async def test_texts_to_one_person_are_passed_on_one_after_the_other(outbox: Store) -> None:
    """The second waits until the first has its answer; others go at once."""
    await outbox.write(shadow.start, OLD)
    first, second, other = [await come(outbox, f"Text {n}", to=recipient(n // 2)) for n in range(3)]

    assert first.in_shadow
    assert first.pass_on is not None
    assert second.in_shadow
    assert second.pass_on is None
    assert other.in_shadow
    assert other.pass_on is not None
    assert await outbox.write(shadow.take_next, MAX_AGE) is None
    await outbox.write(shadow.record, first.pass_on.id or 0, 1, RESULTS["answers"])
    assert await outbox.write(shadow.take_next, MAX_AGE) is not None


async def test_who_gave_up_before_the_mode_was_known_is_not_stored(
    outbox: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender heard that it isn't; the mode may have changed since, and it may be sent by another way."""
    asked, go_on, locks = threading.Event(), threading.Event(), shadow.lock_shadow

    def late(tx: Transaction) -> Shadow:
        asked.set()
        go_on.wait(60)
        return locks(tx)

    monkeypatch.setattr(shadow, "lock_shadow", late)
    gone = asyncio.create_task(come(outbox, "Gone"))
    await asyncio.to_thread(asked.wait, 60)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    there = asyncio.create_task(come(outbox, "There"))
    go_on.set()
    await there

    assert ["There"] == [message.text for message in await listed(outbox)]


@pytest.mark.parametrize("result", ["answers", "is down"])
async def test_what_was_stored_late_has_what_came_of_its_senders_own_try(
    result: str, outbox: Store, clock: ManualClock
) -> None:
    """Also if it waits behind another one; what was taken again is left to that try."""
    await outbox.write(shadow.start, OLD)
    raws = [make_raw("At once"), make_raw("Behind"), make_raw("Taken again", to=recipient(2))]
    stored = [await outbox.accept(MAPPER(raw)) for raw in raws]
    again = stored[2]
    assert again.in_shadow
    assert again.pass_on is not None
    await outbox.write(shadow.record, again.pass_on.id or 0, 1, RESULTS["is down"])
    clock.advance(1)
    taken = await outbox.write(shadow.take_next, MAX_AGE)
    assert taken is not None
    assert raws[2].id == taken.request.id

    await outbox.write_in_turn(shadow.record_unstored, {raw.id: RESULTS[result] for raw in raws})

    _, counts = await outbox.read(shadow.count_requests, None)
    ended = "forwarded" if result == "answers" else "waiting"
    assert {ended: 2, "unknown": 1} == {state: count for state, count in counts.items() if count}


async def test_what_waited_too_long_is_held(outbox: Store, clock: ManualClock) -> None:
    """After max_age, still in shadow: `not_passed_on`, for a person."""
    await outbox.write(shadow.start, OLD)
    stored = await come(outbox)
    assert stored.in_shadow
    assert stored.pass_on is not None
    await outbox.write(shadow.record, stored.pass_on.id or 0, 1, RESULTS["is down"])
    clock.advance(MAX_AGE.total_seconds())

    assert await outbox.write(shadow.take_next, MAX_AGE) is None

    [message] = await listed(outbox)
    assert (Status.HELD, ["not_passed_on"]) == (message.status, [one.code for one in message.reasons])


async def test_nothing_is_queued_in_shadow(outbox: Store) -> None:
    """Not by `send`, nor by a decision on a text that was held before; a forced replay is a person's word."""
    [held] = (await come(outbox, "Hi {{first_name}}")).accepted
    [queued] = (await come(outbox, "Hello", to=recipient(2))).accepted
    await outbox.write(shadow.start, OLD)

    with pytest.raises(NotAllowed, match="shadow end"):
        await outbox.write(accept, [make_submission(source=Source.SEND)])
    with pytest.raises(NotAllowed, match="shadow end"):
        await outbox.write(decisions.approve, held.message_id)
    edited = make_message(id_=held.message_id)
    with pytest.raises(NotAllowed, match="shadow end"):
        await outbox.write(decisions.rewrite, edited, guard_policy(), Verb.EDIT)
    click = Actor(name="Sam", batch="a click")
    assert await outbox.write(decisions.cancel, held.message_id, [Status.HELD], click)
    assert await outbox.write(decisions.undo, held.message_id, "a click")
    assert await outbox.write(decisions.cancel, queued.message_id, [Status.QUEUED], click)
    with pytest.raises(NotAllowed, match="shadow end"):
        await outbox.write(decisions.undo, queued.message_id, "a click")
    forced = make_submission(make_message(approved=("duplicate",)), source=Source.REPLAY)
    [[accepted]] = await outbox.write(accept, [forced])
    assert Status.QUEUED == accepted.status


async def test_retention_takes_nothing_that_waits(outbox: Store, clock: ManualClock) -> None:
    """A request is removed once it was passed on, like one that ended."""
    await outbox.write(shadow.start, OLD)
    stored = await come(outbox)
    assert stored.in_shadow
    assert stored.pass_on is not None
    clock.advance(60)
    now = clock.now()

    assert 0 == await outbox.write(retention.retire, now, 10)
    await outbox.write(shadow.record, stored.pass_on.id or 0, 1, RESULTS["answers"])
    assert 1 == await outbox.write(retention.retire, now, 10)
