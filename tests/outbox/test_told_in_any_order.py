"""Whatever order CallRail's webhooks, people and answers come in: laws that hold."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callrail_relay.domain.inbound import CallRailText, Direction, Pair, ShownNumber
from callrail_relay.domain.message import MessageFilter, Status
from callrail_relay.domain.opt_keywords import OptKeyword, read_opt_keyword
from callrail_relay.domain.outcome import NotSent, Outcome, Sent, Unknown
from callrail_relay.outbox import budget, decisions, opt_outs, queries, record
from callrail_relay.outbox import claim as store_claim
from tests.outbox.machine import Bench, open_bench
from tests.outbox.told import POLICY, ingest_one, make_told, masked
from tests.outbox.worker import accept_one, told
from tests.support.factories import (
    ACCOUNT,
    LIMITS,
    TRACKING_NUMBER,
    make_draft,
    make_message,
    make_policy,
    make_submission,
)
from tests.support.policies import lookup_policy

PAT, KIM = "+12025550122", "+13035550122"
"""Whose last four digits are the same."""

PEOPLE = (PAT, KIM)
CLAIMS = make_policy(recipient_interval=timedelta())
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    path: Path = tmp_path_factory.mktemp("told") / "relay.db"
    with open_bench(f"sqlite:///{path.as_posix()}") as one:
        yield one


def pair_of(person: str) -> Pair:
    return TRACKING_NUMBER, person


# --- opt-outs ---


@dataclass
class Wishes:
    """What people wanted, beside what the store makes of it."""

    stops: dict[str, list[datetime]] = field(default_factory=lambda: {PAT: [], KIM: []})
    starts: dict[str, list[datetime]] = field(default_factory=lambda: {PAT: [], KIM: []})
    by_hand: set[str] = field(default_factory=set)

    def heard(self, people: tuple[str, ...], wish: OptKeyword | None, written_at: datetime) -> None:
        for person in people:
            if wish is OptKeyword.STOP:
                self.stops[person].append(written_at)
            elif wish is not None and len(people) == 1:
                self.starts[person].append(written_at)
                if wish is OptKeyword.START:
                    self.by_hand.discard(person)

    def forbids(self, person: str) -> bool:
        """Whether nothing may be sent: the last word was STOP, or the office said so."""
        last = max(self.stops[person], default=None)
        undone = any(last is not None and start > last for start in self.starts[person])
        return person in self.by_hand or (last is not None and not undone)

    def lifted(self, person: str) -> None:
        self.stops[person].clear()
        self.by_hand.discard(person)


REPLIES = st.tuples(
    st.just("reply"),
    st.sampled_from(["STOP", "stop.", "START", "YES", "Hello"]),
    st.sampled_from(PEOPLE),
    st.sampled_from(["full", "full", "by conversation", "by ending"]),
    st.integers(0, 90),
)
EVENTS = st.one_of(
    REPLIES,
    REPLIES,
    st.tuples(st.just("repeat"), st.integers(0, 20)),
    st.tuples(st.sampled_from(["write", "write", "opt_out", "lift", "approve"]), st.sampled_from(PEOPLE)),
    st.tuples(st.sampled_from(["deliver", "deliver", "time"])),
)


@pytest.mark.no_cover
@settings(max_examples=40)
@given(st.lists(EVENTS, min_size=5, max_size=40))
def test_no_order_of_events_lets_a_text_to_a_suppressed_pair_leave(
    bench: Bench, events: list[tuple[object, ...]]
) -> None:
    """
    Replies late, twice, masked and out of order; people who add, lift and approve; texts before and after.
    """
    story = _OptOuts(bench)
    for name, *what in events:
        getattr(story, str(name))(*what)
        story.deliver()


class _OptOuts:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        bench.clear()
        self.wishes = Wishes()
        self.told: list[CallRailText] = []
        self.ids: list[str] = []
        self.texts = 0
        for person in PEOPLE:
            # Each has been texted, so that CallRail's conversation is known.
            self.write(person)
            self.deliver()

    def reply(self, content: str, person: str, shown: str, age: int) -> None:
        written_at = self.bench.clock.now() - age * SECOND
        text = make_told(
            content,
            person=person if shown == "full" else masked(person),
            ours=TRACKING_NUMBER if shown == "full" else masked(TRACKING_NUMBER),
            conversation_id=None if shown == "by ending" else f"of {person}",
            written_at=written_at,
        )
        self.told.append(text)
        people = PEOPLE if shown == "by ending" else (person,)
        self.wishes.heard(people, read_opt_keyword(content), written_at)
        self.bench.run(ingest_one(self.bench.outbox, text, POLICY))

    def repeat(self, index: int) -> None:
        if self.told:
            again = self.told[index % len(self.told)]
            assert self.bench.run(ingest_one(self.bench.outbox, again, POLICY)) is None

    def write(self, person: str) -> None:
        self.texts += 1
        message = make_message(draft=make_draft(recipient=person, text=f"Text {self.texts}"))
        self.bench.run(accept_one(self.bench.outbox, make_submission(message)))
        self.ids.append(message.id)

    def opt_out(self, person: str) -> None:
        self.bench.run(self.bench.outbox.write(opt_outs.add_opt_out, *pair_of(person), "Asked by phone."))
        # Who is on the list already stays there by his own word.
        if not self.wishes.forbids(person):
            self.wishes.by_hand.add(person)

    def lift(self, person: str) -> None:
        self.bench.run(self.bench.outbox.write(opt_outs.remove_opt_out, person, None))
        self.wishes.lifted(person)

    def approve(self, person: str) -> None:
        """Past the service, which refuses that while the person is on the list."""
        for id_ in self.ids:
            self.bench.run(self.bench.outbox.write(decisions.approve, id_))

    def time(self) -> None:
        self.bench.clock.advance(100 * SECOND)

    def deliver(self) -> None:
        while claims := self.bench.run(self.bench.outbox.write(store_claim.claim, "node-1", CLAIMS)).claims:
            [claim] = claims
            assert not self.wishes.forbids(claim.recipient)
            sent = Sent(200, f"of {claim.recipient}", f"thread of {claim.recipient}")
            self.bench.run(self.bench.outbox.write(record.record, {claim.attempt_id: sent}, random=Random(1)))


# --- texts that went out ---

LOST = Unknown("the relay stopped.", own_fault=True)
WORDS = ("Hello", "Hello there")
STEPS = st.one_of(
    st.tuples(
        st.just("send"),
        st.sampled_from(PEOPLE),
        st.sampled_from(WORDS),
        st.sampled_from(["sent", "lost, taken", "lost, taken", "lost on the way", "not sent"]),
    ),
    st.tuples(st.just("others"), st.sampled_from(PEOPLE), st.sampled_from([*WORDS, "Something else"])),
    st.tuples(st.just("tell"), st.integers(0, 20), st.sampled_from([False, False, True])),
    st.tuples(st.just("answer"), st.integers(0, 20)),
)


@pytest.mark.no_cover
@settings(max_examples=40)
@given(steps=st.lists(STEPS, min_size=4, max_size=30), masks=st.booleans())
def test_the_budget_never_counts_less_than_callrail_took(
    bench: Bench, steps: list[tuple[object, ...]], *, masks: bool
) -> None:
    """Nor more than what may have left: in whatever order webhooks and answers come, once or again."""
    story = _Sendings(bench, masks=masks)
    for name, *what in steps:
        getattr(story, str(name))(*what)
        story.check()
    story.finish()


class _Sendings:
    def __init__(self, bench: Bench, *, masks: bool) -> None:
        self.bench = bench
        self.masks = masks
        bench.clear()
        self.waiting: list[tuple[int, Outcome]] = []
        self.untold: list[CallRailText] = []
        self.told: list[CallRailText] = []
        self.taken: Counter[tuple[str | None, str | None]] = Counter()
        self.written: Counter[tuple[str | None, str | None]] = Counter()
        # Lost on the way, which the relay cannot know.
        self.lost: Counter[tuple[str | None, str | None]] = Counter()
        self.theirs = 0
        # As the relay sees it: where the masked number may be that of two people, ours may be among them.
        self.by_others = 0

    def send(self, person: str, content: str, fate: str) -> None:
        """One text; its answer comes later."""
        self.bench.clock.advance(6 * SECOND)
        message = make_message(draft=make_draft(recipient=person, text=content))
        self.bench.run(accept_one(self.bench.outbox, make_submission(message)))
        claims = self.bench.run(self.bench.outbox.write(store_claim.claim, "node-1", CLAIMS)).claims
        if not claims:
            return
        [claim] = claims
        answers: dict[str, Outcome] = {
            "sent": Sent(200, f"of {claim.recipient}"),
            "not sent": NotSent("no route to CallRail."),
        }
        outcome = answers.get(fate, LOST)
        self.waiting.append((claim.attempt_id, outcome))
        if fate in ("sent", "lost, taken"):
            self.taken[claim.recipient, claim.content] += 1
            self.untold.append(self._text(claim.recipient, claim.content))
        elif fate == "lost on the way":
            self.lost[claim.recipient, claim.content] += 1

    def others(self, person: str, content: str) -> None:
        self.theirs += 1
        self.written[person, content] += 1
        self.untold.append(self._text(person, content))

    def tell(self, index: int, again: bool) -> None:  # noqa: FBT001 - drawn
        texts = self.told if again else self.untold
        if texts:
            text = texts[index % len(texts)]
            news = self.bench.run(ingest_one(self.bench.outbox, text, POLICY))
            assert (news is None) is again
            self.by_others += "sent_by_others" in told(news)
            if not again:
                self.untold.remove(text)
                self.told.append(text)

    def answer(self, index: int) -> None:
        if self.waiting:
            attempt_id, outcome = self.waiting.pop(index % len(self.waiting))
            self.bench.run(
                self.bench.outbox.write(
                    record.record,
                    {attempt_id: outcome},
                    random=Random(1),
                    lookups=lookup_policy(accounts=frozenset({ACCOUNT}), ladder=(SECOND,)),
                )
            )
            self.bench.run(self.bench.outbox.write(decisions.resume, ACCOUNT))

    def _text(self, person: str, content: str) -> CallRailText:
        return make_told(
            content,
            direction=Direction.OUT,
            person=masked(person) if self.masks else person,
            ours=ShownNumber() if self.masks else TRACKING_NUMBER,
            conversation_id=f"of {person}",
            written_at=self.bench.clock.now(),
        )

    @property
    def used(self) -> int:
        [status] = self.bench.run(self.bench.outbox.read(budget.read_account_statuses, [ACCOUNT], LIMITS))
        return status.day.used

    def check(self) -> None:
        """What was reported and what was taken is counted: only what others sent may be unknown yet."""
        unheard_of_others = sum(self.taken.values()) + self.theirs - len(self.untold)
        assert self.used >= unheard_of_others

    def finish(self) -> None:
        """When all answers and all webhooks have come."""
        while self.waiting:
            self.answer(0)
        while self.untold:
            self.tell(0, again=False)
        real = sum(self.taken.values()) + self.theirs
        assert real <= self.used <= real + self.lost.total() + max(0, self.by_others - self.theirs)
        wanted = MessageFilter(statuses=(Status.UNKNOWN,), limit=0)
        unknown = self.bench.run(self.bench.outbox.read(queries.list_messages, wanted))
        sent = self.bench.run(
            self.bench.outbox.read(queries.list_messages, MessageFilter(statuses=(Status.SENT,), limit=0))
        )
        # Nothing is taken for sent that is not there, though another may have written it.
        assert Counter((one.recipient, one.text) for one in sent) <= self.taken + self.written
        if not self.masks:
            # What CallRail took is known to be sent; what is still a question was lost on the way.
            assert Counter((one.recipient, one.text) for one in unknown) <= self.lost
