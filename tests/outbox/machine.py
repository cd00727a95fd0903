"""
Everything that can happen to texts in any order, on the real store, beside what CallRail really has.

The machine plays all that is outside the store: people who write and decide, nodes that work and
die, CallRail that takes a text or does not and answers or does not, and time. After each step it
compares what the store says with what happened.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache, cached_property
from operator import attrgetter
from random import Random
from typing import Any, ParamSpec, TypeVar
from unittest.mock import patch

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from callrail_relay.domain.account import DAY, HOUR, Limits
from callrail_relay.domain.delivery import Claim, ClaimPolicy, ClaimResult
from callrail_relay.domain.events import AttemptFinished
from callrail_relay.domain.guards import Mode
from callrail_relay.domain.mapper import MappingPolicy, RawSubmission
from callrail_relay.domain.message import CANCELLABLE, Actor, Status
from callrail_relay.domain.outcome import (
    NotSent,
    Outcome,
    OutcomeKind,
    RateLimited,
    Refusal,
    Rejected,
    Sent,
    Unknown,
)
from callrail_relay.domain.reconcile import DueLookup, FoundText, Lookup, OnUnknown, normalize
from callrail_relay.domain.routing import RouteRule, Routes
from callrail_relay.outbox import claim as store_claim
from callrail_relay.outbox import decisions, lookups, opt_outs, record
from callrail_relay.outbox.accept import Receipt
from callrail_relay.outbox.columns import EPOCH
from callrail_relay.outbox.rows import soonest
from callrail_relay.outbox.store import Store
from callrail_relay.outbox.tables import accounts, attempts, messages, metadata, segments
from callrail_relay.outbox.tables import opt_outs as opt_out_table
from callrail_relay.outbox.transaction import Transaction
from callrail_relay.service.delivery import LOOK_BEHIND
from tests.outbox.requests import make_mapper
from tests.outbox.worker import accept_one, words
from tests.support.clock import START, ManualClock
from tests.support.factories import (
    ACCOUNT,
    make_draft,
    make_id,
    make_message,
    make_policy,
    make_route,
    make_submission,
)
from tests.support.policies import LADDER, guard_policy, lookup_policy
from tests.support.stores import USES_OF_FILES

P = ParamSpec("P")
T = TypeVar("T")
Row = sa.Row[Any]
Key = tuple[str, str]
"""A tracking number and a recipient."""

PAT, KIM = "+12025550122", "+12025550123"
KEYS: tuple[Key, ...] = (("+12025550133", PAT), ("+12025550133", KIM), ("+12025550134", PAT))
# One begins like the other, and one is of two segments that a shorter limit makes three.
TEXTS = ("Yes", "Yes, Tuesday works", words(260))
WORDING = " Reply STOP to unsubscribe."
NODES = ("node-1", "node-2")

LIMITS = Limits(5, 12)
POLICY = make_policy(limits=LIMITS, max_characters=150)
MAPPER = make_mapper(
    MappingPolicy(
        # The team of a webhook says which number it is sent from.
        routes=Routes(
            tuple(RouteRule(make_route(tracking_number=number), team_id=number) for number, _ in KEYS)
        ),
        guards=guard_policy(duplicate=Mode.OFF, mass_text=Mode.OFF),
        max_characters=POLICY.max_characters,
        limits=LIMITS,
    )
)
FAILED = Lookup(requests=1, fault="CallRail answered 500.")
AGAIN = (Status.UNKNOWN, Status.FAILED, Status.CANCELLED)
CLICK = Actor(name="Sam", batch="batch")

LOST = Unknown("the answer did not come.")
ANSWERS: dict[str, Outcome] = {
    "sent": Sent(200, "c0nv1", "SMT1"),
    "taken, and the answer lost": LOST,
    "lost on the way": LOST,
    "not sent": NotSent("no route to CallRail."),
    "refused": Rejected(400, "content is invalid", Refusal.CONTENT),
    "opted out": Rejected(400, "recipient has opted out", Refusal.OPTED_OUT),
    "forbidden": Rejected(403, "no permission", Refusal.AUTHORIZATION),
    "firewall": Rejected(403, "Attention Required!", Refusal.FIREWALL),
    "too many": RateLimited(429, "too many requests"),
}
TAKEN = ("sent", "taken, and the answer lost")
# What happens often is here often.
OFTEN = (*("sent",) * 5, *("taken, and the answer lost",) * 3, *("lost on the way",) * 3)
SPANS = tuple(
    timedelta(**span)
    for span in (
        {"seconds": 1},
        {"seconds": 1},
        {"seconds": 5},
        {"seconds": 15},
        {"seconds": 75},
        {"minutes": 5},
        {"minutes": 10},
        {"minutes": 17},
        {"hours": 1},
        {"hours": 5},
        {"days": 1},
    )
)
# What the machine reads after each step, by a word of every statement that may change it.
READ = {table.name: sa.select(table) for table in (messages, segments, attempts, opt_out_table)}
READ["paused_since"] = sa.select(accounts.c.paused_since)

INDEX = st.integers(0, 30)
WRITTEN = st.tuples(st.sampled_from([*KEYS, KEYS[0]]), st.sampled_from(TEXTS))


def make_raw(key: Key, text: str) -> RawSubmission:
    body = json.dumps({"message": text, "seller_phone": key[1], "team_id": key[0]}).encode()
    return RawSubmission(id=make_id(), body=body)


class OneThread(Store):
    """The store without its threads, which only cost time where one thing happens after the other."""

    @property
    def engine(self) -> sa.Engine:
        return self._engine

    async def _in_thread(
        self, threads: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return function(*args, **kwargs)


@cache
def written_by(statement: str) -> frozenset[str]:
    """The tables, and the words of READ, that *statement* names; none if it only reads."""
    if statement.startswith(("SELECT ", "BEGIN")):
        return frozenset()
    return frozenset(word for word in {*metadata.tables, *READ} if word in statement)


@dataclass
class Bench:
    """A store that is emptied for each example, the loop it runs in, and how many examples there were."""

    runner: asyncio.Runner
    outbox: Store
    engine: sa.Engine
    clock: ManualClock
    examples: int = 0
    _stored: "Stored | None" = None
    _read: dict[str, Sequence[Row]] = field(default_factory=dict)
    _written: set[str] = field(default_factory=lambda: {*metadata.tables})

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.get_loop().run_until_complete(work)

    def clear(self) -> None:
        """Delete every row, and begin at START."""
        self.examples += 1
        self.clock.set(START)
        self._read.clear()
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql" and self.examples % USES_OF_FILES == 1:
                # Deleted rows fill the files; but to make them anew takes many times as long.
                names = ", ".join(metadata.tables)
                connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
            else:
                for table in reversed(metadata.sorted_tables):
                    if table.name in self._written:
                        connection.execute(sa.delete(table))
        self._written.clear()

    def read(self, *, anew: bool = False) -> "Stored":
        """
        All that the store holds, read past the program.

        Unless *anew*, what no statement may have changed since it was last read isn't read again.
        """
        if anew:
            self._read.clear()
        missing = READ.keys() - self._read.keys()
        if missing:
            with self.engine.connect() as connection:
                for name in missing:
                    self._read[name] = connection.execute(READ[name]).all()
            self._stored = Stored.of(self._read)
        assert self._stored is not None
        return self._stored

    def note(self, *event: object) -> None:
        """Forget what a statement may change, and where ``clear`` has something to delete."""
        for word in written_by(str(event[2])):
            self._read.pop(word, None)
            self._written.add(word)


@contextmanager
def open_bench(url: str) -> Iterator[Bench]:
    clock = ManualClock()
    with asyncio.Runner() as runner:
        outbox = runner.run(OneThread.open(url, clock, database_time=False))
        assert isinstance(outbox, OneThread)
        bench = Bench(runner, outbox, outbox.engine, clock)
        sa.event.listen(bench.engine, "before_cursor_execute", bench.note)
        try:
            yield bench
        finally:
            runner.run(outbox.close())


@dataclass(frozen=True)
class Stored:
    """All that the store holds."""

    messages: dict[str, Row]
    segments: dict[int, Row]
    attempts: dict[int, Row]
    paused: bool
    opted_out: set[Key]

    @classmethod
    def of(cls, read: Mapping[str, Sequence[Row]]) -> "Stored":
        return cls(
            messages={row.id: row for row in read["messages"]},
            segments={row.id: row for row in read["segments"]},
            attempts={row.id: row for row in read["attempts"]},
            opted_out={key_of(row) for row in read[opt_out_table.name]},
            paused=any(row.paused_since is not None for row in read["paused_since"]),
        )

    @cached_property
    def _segments_of(self) -> dict[int, list[Row]]:
        return grouped(self.segments.values(), attrgetter("message_seq"))

    @cached_property
    def _attempts_of(self) -> dict[int, list[Row]]:
        return grouped(self.attempts.values(), attrgetter("message_seq"))

    @cached_property
    def _attempts_at(self) -> dict[int, list[Row]]:
        return grouped(self.attempts.values(), attrgetter("segment_id"))

    def segments_of(self, message: Row) -> list[Row]:
        return self._segments_of.get(message.seq, [])

    def attempts_at(self, segment_id: int) -> list[Row]:
        return self._attempts_at.get(segment_id, [])

    def attempts_of(self, message: Row) -> list[Row]:
        return self._attempts_of.get(message.seq, [])

    def to_same_person(self, message: Row) -> list[Row]:
        """The other texts between the same two numbers."""
        return [
            other
            for other in self.messages.values()
            if key_of(other) == key_of(message) and other.seq != message.seq
        ]


def key_of(row: Row) -> Key:
    return row.tracking_number, row.recipient


def grouped(rows: Iterable[Row], by: Callable[[Row], int]) -> dict[int, list[Row]]:
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return groups


@dataclass
class Flight:
    """A request on its way, of a node that lives."""

    claim: Claim
    node: str
    ends_at: datetime
    taken: bool = False


@dataclass(frozen=True)
class Taking:
    """CallRail took a text."""

    attempt_id: int
    segment_id: int
    message_id: str
    key: Key
    content: str
    at: datetime


@dataclass
class CallRail:
    """What CallRail really has: texts it took from here, and all outgoing ones it shows for a person."""

    takings: list[Taking] = field(default_factory=list)
    shown: dict[str, list[FoundText]] = field(default_factory=lambda: {PAT: [], KIM: []})
    written: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, taking: Taking, skew: timedelta) -> None:
        self.takings.append(taking)
        self._show(taking.key[1], taking.content, taking.at + skew)

    def write(self, recipient: str, content: str, at: datetime) -> None:
        """A person sends a text from CallRail's own page."""
        self.written[recipient, content] += 1
        self._show(recipient, content, at)

    def _show(self, recipient: str, content: str, at: datetime) -> None:
        conversation = self.shown[recipient]
        wording = "" if conversation else WORDING
        conversation.append(FoundText(content=content + wording, created_at=at))


class RelayMachine(RuleBasedStateMachine):
    """One story, told on an empty store."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.outbox = bench.outbox
        self.clock = bench.clock
        bench.clear()
        self.callrail = CallRail()
        self.accepted: list[str] = []
        # Requests to the webhook in the order in which they came, and those of them that are not mapped yet.
        self.arrived: list[str] = []
        self.flights: list[Flight] = []
        self.looking: list[tuple[DueLookup, Lookup]] = []
        self.dead: set[str] = set()
        # How often a person, or the settings, had what is not known sent again.
        self.resends: Counter[str] = Counter()
        self.automatic: Counter[int] = Counter()
        # What a person decided last on a text, and may undo.
        self.clicked: dict[str, str] = {}
        self.worded: Counter[int] = Counter()
        # Attempts whose ladder ended without finding them.
        self.climbed: set[int] = set()
        # Pairs of texts to one person: the first was no longer waited for when the second one left.
        self.passed: set[tuple[str, str]] = set()
        self.skew = timedelta()
        # By how much our clock was set back in all.
        self.set_back = timedelta()
        # When, in true time, each attempt's outcome turned out not to be known.
        self.unknown_at: dict[int, datetime] = {}
        self.lookups = lookup_policy(accounts=POLICY.accounts)
        self.stored = bench.read()

    # --- what the world is like ---

    @initialize(
        skew=st.sampled_from([0, -60, 60]),
        on_unknown=st.sampled_from([*OnUnknown]),
        drains=st.integers(0, 5),
        texts=st.lists(WRITTEN, min_size=2, max_size=6),
    )
    def begin(self, skew: int, on_unknown: OnUnknown, drains: int, texts: list[tuple[Key, str]]) -> None:
        self.skew = timedelta(seconds=skew)
        self.lookups = replace(self.lookups, on_unknown=on_unknown)
        self.drains = drains == 0
        self.people_write(texts, Mode.OFF)

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        self.clock.advance(span)

    # --- people ---

    @rule(
        texts=st.lists(WRITTEN, min_size=1, max_size=3),
        duplicates=st.sampled_from([Mode.OFF, Mode.OFF, Mode.HOLD]),
    )
    def people_write(self, texts: list[tuple[Key, str]], duplicates: Mode) -> None:
        for key, text in texts:
            draft = make_draft(recipient=key[1], text=text, route=make_route(tracking_number=key[0]))
            message = make_message(draft=draft, max_characters=POLICY.max_characters)
            self.bench.run(accept_one(self.outbox, make_submission(message, duplicates=duplicates)))
            self.accepted.append(message.id)

    @rule(texts=st.lists(WRITTEN, min_size=1, max_size=8))
    def webhooks_come(self, texts: list[tuple[Key, str]]) -> None:
        """All at the same time."""
        raws = [make_raw(key, text) for key, text in texts]

        async def take_all() -> list[Receipt]:
            return await asyncio.gather(*(self.outbox.accept(MAPPER(raw)) for raw in raws))

        for raw, receipt in zip(raws, self.bench.run(take_all()), strict=True):
            self.arrived.append(raw.id)
            self.accepted += [one.message_id for one in receipt.accepted]

    @rule(index=INDEX, word=st.sampled_from(["cancel", "approve", *("resend", "mark sent") * 2]))
    def somebody_decides(self, index: int, word: str) -> None:
        """On one of the texts for which this word is allowed."""
        statuses, say = {
            "approve": ((Status.HELD,), self._approve),
            "cancel": (CANCELLABLE, self._cancel),
            "resend": (AGAIN, self._resend),
            "mark sent": ((Status.UNKNOWN,), self._mark_sent),
        }[word]
        if ids := self.ids_of(*statuses):
            say(pick(ids, index))

    def _approve(self, id_: str) -> None:
        assert self.bench.run(self.outbox.write(decisions.approve, id_, actor=CLICK))
        self.clicked[id_] = "approve"

    def _cancel(self, id_: str) -> None:
        assert self.bench.run(self.outbox.write(decisions.cancel, id_, CANCELLABLE, actor=CLICK))
        self.clicked[id_] = "cancel"

    def _resend(self, id_: str) -> None:
        assert self.bench.run(self.outbox.write(decisions.resend, id_, actor=CLICK))
        self.resends[id_] += 1
        self.clicked[id_] = "resend"

    @rule(index=INDEX)
    def somebody_undoes(self, index: int) -> None:
        """What was decided last on a text, however much happened since: then it may be too late."""
        if self.clicked:
            id_ = pick(list(self.clicked), index)
            undone = self.bench.run(self.outbox.write(decisions.undo, id_, "batch"))
            if self.clicked.pop(id_) == "resend" and undone:
                self.resends[id_] -= 1

    def _mark_sent(self, id_: str) -> None:
        assert self.bench.run(self.outbox.write(decisions.mark_sent, id_))
        for attempt in self.bench.read().attempts.values():
            before = self.stored.attempts[attempt.id]
            if before.outcome == OutcomeKind.UNKNOWN and attempt.outcome == OutcomeKind.SENT:
                self.worded[attempt.segment_id] += 1

    @rule(
        index=INDEX,
        event=st.sampled_from(
            [
                "pause",
                "resume",
                "resume",
                "lift",
                "opt out",
                "not allowed",
                "CallRail's page",
                "clock set back",
            ]
        ),
    )
    def something_rare_happens(self, index: int, event: str) -> None:
        happen: dict[str, Callable[[], None]] = {
            "pause": self._pause,
            "resume": self._resume,
            "lift": self._lift,
            "opt out": lambda: self._opt_out(KEYS[index % len(KEYS)]),
            "not allowed": lambda: self._try_what_is_not_allowed(index),
            "CallRail's page": lambda: self._write_in_callrail(index),
            "clock set back": lambda: self._set_clock_back(SPANS[index % len(SPANS)]),
        }
        happen[event]()

    def _pause(self) -> None:
        self.bench.run(self.outbox.write(decisions.pause, ACCOUNT, "A person said so."))

    def _resume(self) -> None:
        self.bench.run(self.outbox.write(decisions.resume, ACCOUNT))

    def _lift(self) -> None:
        """Everybody may be texted again."""
        for number, recipient in KEYS:
            self.bench.run(self.outbox.write(opt_outs.remove_opt_out, recipient, number))

    def _opt_out(self, key: Key) -> None:
        self.bench.run(self.outbox.write(opt_outs.add_opt_out, *key, "They said STOP."))

    def _write_in_callrail(self, index: int) -> None:
        self.callrail.write(
            pick([PAT, KIM], index), pick(TEXTS[:2], index // 2), self.clock.now() + self.skew
        )

    def _set_clock_back(self, span: timedelta) -> None:
        """What was written in its future is as far from now as it was before."""
        self.set_back += span
        self.clock.set(self.clock.now() - span)
        self.bench.run(self.outbox.write_probe())

    def true_time(self) -> datetime:
        return self.clock.now() + self.set_back

    def _try_what_is_not_allowed(self, index: int) -> None:
        """Nothing changes."""
        id_ = pick(self.accepted, index)
        status = self.stored.messages[id_].status
        if status != Status.HELD:
            assert not self.bench.run(self.outbox.write(decisions.approve, id_))
        if status not in CANCELLABLE:
            assert not self.bench.run(self.outbox.write(decisions.cancel, id_, CANCELLABLE))
        if status not in AGAIN:
            assert not self.bench.run(self.outbox.write(decisions.resend, id_))
        if status != Status.UNKNOWN:
            assert not self.bench.run(self.outbox.write(decisions.mark_sent, id_))
        assert self.stored == self.bench.read()

    # --- nodes ---

    @rule(
        node=st.sampled_from(NODES),
        answer=st.sampled_from([*OFTEN, *ANSWERS, *["none yet"] * 6]),
        most=st.integers(1, 4),
    )
    def work(self, node: str, answer: str, most: int) -> None:
        """A worker's turn, as delivery does it: take up unfinished attempts, then claim and send."""
        self._turn(node, answer, most)

    @rule(
        node=st.sampled_from(NODES),
        answers=st.lists(st.sampled_from([*OFTEN, *OFTEN, *ANSWERS]), min_size=2, max_size=5),
        texts=st.lists(WRITTEN, min_size=1, max_size=3),
        most=st.integers(1, 4),
    )
    def work_for_a_while(
        self, node: str, answers: list[str], texts: list[tuple[Key, str]], most: int
    ) -> None:
        """Several turns, each when it can bring something, but none after long."""
        if not self.ids_of(Status.QUEUED, Status.SENDING):
            self.people_write(texts, Mode.OFF)
        for answer in answers:
            wake_at = self._turn(node, answer, most)
            self.refresh()
            soon = self.clock.now() + timedelta(seconds=1)
            if wake_at is not None and wake_at < soon + timedelta(minutes=20):
                soon = max(soon, wake_at)
            self.clock.set(soon)

    def _turn(self, node: str, answer: str, most: int) -> datetime | None:
        """What a node does now, after its start where it was dead; when to look again."""
        self._settle(node if node in self.dead else None)
        self.dead.discard(node)
        result = self._claim(node, most)
        if answer != "none yet":
            self._answer([one for one in self.flights if one.claim in result.claims], answer)
        return result.wake_at

    @rule(node=st.sampled_from(NODES), reached=st.booleans())
    def die(self, node: str, *, reached: bool) -> None:
        """At any point: what the node had under way may have reached CallRail."""
        for flight in [flight for flight in self.flights if flight.node == node]:
            if reached:
                self._reach(flight)
            self.flights.remove(flight)
        self.dead.add(node)

    def _settle(self, node: str | None) -> None:
        settled = self.bench.run(
            self.outbox.write(
                record.settle_abandoned,
                node=node,
                random=Random(1),
                lookups=self.lookups,
            )
        )
        finished = [one for one in settled if isinstance(one, AttemptFinished)]
        assert all(one.outcome is OutcomeKind.UNKNOWN for one in finished)
        self.stored = self.bench.read()

    def _claim(self, node: str, most: int) -> ClaimResult:
        result = self.bench.run(self.outbox.write(store_claim.claim, node, POLICY, most=most))
        self._check_claims(node, most, result)
        return result

    def _check_claims(self, node: str, most: int, result: ClaimResult) -> None:
        before = self.stored
        self.stored = self.bench.read()
        assert len(result.claims) <= most
        for claim in result.claims:
            assert not before.paused
            self._check_claim(before, claim)
            self.flights.append(Flight(claim, node, self.true_time() + POLICY.lease))
        if len(result.claims) < most:
            self._check_nothing_is_overlooked(node, result)

    def _check_nothing_is_overlooked(self, node: str, result: ClaimResult) -> None:
        """
        A look at all accounts, and not only at those that are due, finds nothing either, and nothing earlier.

        Where the budget is used up, a text that came since brings no look before there is room again, though
        by itself it might be sent sooner.
        """
        with self.bench.engine.begin() as connection:
            closed_until = connection.scalar(sa.select(sa.func.max(accounts.c.closed_until)))
            connection.execute(sa.update(accounts).values(due_at=EPOCH, closed_until=None))
        thorough = self.bench.run(self.outbox.write(store_claim.claim, node, POLICY))
        assert not thorough.claims
        # That a text is too old by now is asked when there is room for it.
        assert {"too_old"} >= {code for held in thorough.held for code in held.reasons}
        # As delivery does, while texts are in flight.
        wake_at = soonest(result.wake_at, self.clock.now() + LOOK_BEHIND if result.claims else None)
        if thorough.wake_at is not None:
            assert wake_at is not None
            behind = self.clock.now() + LOOK_BEHIND if result.claims else thorough.wake_at
            assert wake_at <= max(thorough.wake_at, closed_until or thorough.wake_at, behind)

    # --- CallRail ---

    @precondition(lambda self: self.flights)
    @rule(
        index=INDEX,
        answers=st.lists(st.sampled_from([*OFTEN, *ANSWERS, "none yet"]), min_size=1, max_size=4),
        node=st.sampled_from(NODES),
        most=st.integers(0, 4),
    )
    def answers_come(self, index: int, answers: list[str], node: str, most: int) -> None:
        """
        In time, or when the attempt was given up long ago; or only the request arrives. What they let go is
        claimed with them.
        """
        flights = self.flights[index % len(self.flights) :]
        outcomes = {}
        for flight, answer in zip(flights, answers, strict=False):
            if answer == "none yet":
                self._reach(flight)
            else:
                outcomes[flight.claim.attempt_id] = self._outcome(flight, answer)
        self._record(outcomes, node, 0 if node in self.dead else most)

    def _answer(self, flights: Sequence[Flight], answer: str) -> None:
        """The same of all, recorded together."""
        self._record({flight.claim.attempt_id: self._outcome(flight, answer) for flight in flights})

    def _outcome(self, flight: Flight, answer: str) -> Outcome:
        """What the node gets to know."""
        if answer in TAKEN:
            self._reach(flight)
        if not flight.taken and answer in TAKEN:
            answer = "lost on the way"
        if flight.taken and answer not in TAKEN:
            answer = "taken, and the answer lost"
        return ANSWERS[answer]

    def _record(self, outcomes: dict[int, Outcome], node: str = NODES[0], most: int = 0) -> None:
        """Record outcomes, and claim what they let go, in one transaction."""
        self.flights = [one for one in self.flights if one.claim.attempt_id not in outcomes]
        open_before = [self.stored.attempts[id_].finished_at is None for id_ in outcomes]
        claim = store_claim.claim

        def claim_after(
            tx: Transaction, node: str, policy: ClaimPolicy, *, most: int, may_wait: bool
        ) -> ClaimResult:
            self._see(Stored.of({name: tx.execute(query).all() for name, query in READ.items()}))
            return claim(tx, node, policy, most=most, may_wait=may_wait)

        with patch.object(store_claim, "claim", claim_after):
            news, result = self.bench.run(
                self.outbox.write(
                    store_claim.advance,
                    outcomes,
                    node,
                    POLICY,
                    most=most,
                    look=False,
                    random=Random(1),
                    lookups=self.lookups,
                )
            )
        assert sum(open_before) == sum(isinstance(one, AttemptFinished) for one in news)
        if result is None:
            assert not self._due_among(outcomes)
        elif most:
            self._check_claims(node, most, result)

    def _due_among(self, attempt_ids: Iterable[int]) -> Sequence[str]:
        """The accounts of these attempts that are due."""
        of_attempts = sa.select(attempts.c.account_id).where(attempts.c.id.in_(attempt_ids))
        due = accounts.c.id.in_(of_attempts), accounts.c.due_at <= self.clock.now()
        with self.bench.engine.connect() as connection:
            return connection.scalars(sa.select(accounts.c.id).where(*due)).all()

    def _reach(self, flight: Flight) -> None:
        """CallRail takes the text, unless its client has given up by now."""
        if flight.taken or self.true_time() >= flight.ends_at:
            return
        flight.taken = True
        claim = flight.claim
        taking = Taking(
            attempt_id=claim.attempt_id,
            segment_id=self.stored.attempts[claim.attempt_id].segment_id,
            message_id=claim.message_id,
            key=(claim.route.tracking_number, claim.recipient),
            content=claim.content,
            at=self.true_time(),
        )
        self.callrail.take(taking, self.skew - self.set_back)

    @rule(ending=st.sampled_from(["answer", "answer", "answer", "fault", "none yet"]))
    def look_up(self, ending: str) -> None:
        """When the next one is due; what it reads is what CallRail shows then."""
        due_at = self.bench.run(self.outbox.read(lookups.next_lookup, self.lookups))
        if due_at is not None:
            self.clock.set(max(self.clock.now(), due_at))
            self._begin_lookup()
            self.look_up_ends(-1, ending)

    def _begin_lookup(self) -> None:
        due = self.bench.run(self.outbox.write(lookups.claim_lookup, self.lookups))
        if due is not None:
            texts = tuple(self.callrail.shown[due.recipient])
            self.looking.append((due, Lookup(texts=texts, requests=2)))

    @precondition(lambda self: self.looking)
    @rule(index=INDEX, ending=st.sampled_from(["answer", "answer", "fault", "death"]))
    def look_up_ends(self, index: int, ending: str) -> None:
        if not self.looking or ending == "none yet":
            return
        due, lookup = self.looking.pop(index % len(self.looking))
        if ending == "answer":
            self._record_lookup(due, lookup)
        elif ending == "fault":
            self.bench.run(self.outbox.write(lookups.record_lookup, due, FAILED, self.lookups))

    def _record_lookup(self, due: DueLookup, lookup: Lookup) -> None:
        before = self.stored = self.bench.read()
        attempt = before.attempts[due.attempt_id]
        found = {
            one.message_id
            for one in self.bench.run(self.outbox.write(lookups.record_lookup, due, lookup, self.lookups))
        }
        after = self.bench.read()
        if after.attempts[due.attempt_id].outcome != OutcomeKind.UNKNOWN:
            return
        if self.true_time() >= self.unknown_at[attempt.id] + LADDER[-1]:
            self.climbed.add(attempt.id)
        was, is_ = before.segments[attempt.segment_id].status, after.segments[attempt.segment_id].status
        if (was, is_) == (Status.UNKNOWN, Status.QUEUED):
            assert self.lookups.on_unknown is OnUnknown.RESEND_ONCE
            assert due.message_id in found
            self.automatic[attempt.segment_id] += 1
            assert 1 == self.automatic[attempt.segment_id]

    # --- what must hold at a claim ---

    def _check_claim(self, before: Stored, claim: Claim) -> None:
        message = before.messages[claim.message_id]
        assert key_of(message) not in self.stored.opted_out
        segment_id = self.stored.attempts[claim.attempt_id].segment_id
        self._check_once(before, claim.message_id, segment_id)
        if message.status == Status.QUEUED:
            self._check_order(before, message)
        else:
            self._check_together(before, message)

    def _check_once(self, before: Stored, message_id: str, segment_id: int) -> None:
        """What arrived is not sent again, and what may have arrived only if a person says so."""
        outcomes = Counter(attempt.outcome for attempt in before.attempts_at(segment_id))
        assert 0 == outcomes[OutcomeKind.SENT]
        assert outcomes[OutcomeKind.UNKNOWN] <= self.resends[message_id] + self.automatic[segment_id]

    def _check_order(self, before: Stored, message: Row) -> None:
        """
        Every earlier text to the same person has come to its end, or is not waited for.

        Not waited for is what is held, failed or cancelled, and what is unknown and was looked
        up to the end of the ladder, or could not be until the time for that was over.
        """
        for other in self.stored.to_same_person(message):
            # As it is after the claim: what came first may have been held by it.
            assert other.status != Status.SENDING
            if other.seq > message.seq or other.status == Status.SENT:
                continue
            assert other.status in (Status.HELD, Status.FAILED, Status.CANCELLED, Status.UNKNOWN)
            if other.status == Status.UNKNOWN:
                assert self._looked_up_to_the_end(before, other)
            self.passed.add((other.id, message.id))

    def _looked_up_to_the_end(self, before: Stored, message: Row) -> bool:
        unknown = [one for one in before.attempts_of(message) if one.outcome == OutcomeKind.UNKNOWN]
        segments_ = {one.segment_id for one in unknown}
        return all(
            last.id in self.climbed or self.true_time() >= self.lookups.blocks_until(self.unknown_at[last.id])
            for segment_id in segments_
            for last in [
                max((one for one in unknown if one.segment_id == segment_id), key=lambda one: one.id)
            ]
        )

    def _check_together(self, before: Stored, message: Row) -> None:
        """Of two texts under way to one person, the one that left last goes on."""
        mine = max(attempt.id for attempt in before.attempts_of(message))
        for other in before.to_same_person(message):
            if other.status == Status.SENDING:
                assert mine > max(attempt.id for attempt in before.attempts_of(other))

    # --- what must hold always ---

    @invariant()
    def refresh(self) -> None:
        """Comes first by its name's place here: the others look at what was read."""
        self._see(self.bench.read())
        self.check_nothing_disappears()
        self.check_once()
        self.check_order()
        self.check_budget()
        self.check_one_in_flight()
        self.check_statuses()
        self.check_sent_is_true()

    def _see(self, stored: Stored) -> None:
        self.stored = stored
        for attempt in stored.attempts.values():
            if attempt.outcome == OutcomeKind.UNKNOWN:
                self.unknown_at.setdefault(attempt.id, self.true_time())

    def check_nothing_disappears(self) -> None:
        """Every accepted text is there, with exactly one status."""
        assert set(self.accepted) == set(self.stored.messages)
        assert all(row.status in [*Status] for row in self.stored.messages.values())

    def check_once(self) -> None:
        """CallRail takes no segment a second time unless a person says so."""
        taken = Counter((one.message_id, one.segment_id) for one in self.callrail.takings)
        for (message_id, segment_id), times in taken.items():
            assert times <= 1 + self.resends[message_id] + self.automatic[segment_id]

    def check_order(self) -> None:
        """Per person, CallRail took the texts in the order in which they came; but see ``_check_order``."""
        seqs = {id_: row.seq for id_, row in self.stored.messages.items()}
        by_seq = sorted(self.stored.messages.values(), key=lambda row: row.seq)
        mapped = [row.submission_id for row in by_seq if row.submission_id in self.arrived]
        assert mapped == self.arrived
        for key in KEYS:
            takings = [one for one in self.callrail.takings if one.key == key]
            ids = [one.attempt_id for one in takings]
            assert ids == sorted(ids)
            for number, later in enumerate(takings):
                for earlier in takings[:number]:
                    if seqs[earlier.message_id] > seqs[later.message_id]:
                        assert (later.message_id, earlier.message_id) in self.passed

    def check_budget(self) -> None:
        """In no hour and on no day, wherever it begins: neither in the ledger nor at CallRail."""
        counted = [one.counted_at for one in self.stored.attempts.values() if one.counted_at is not None]
        if self.set_back:
            # Where the clock went back, true time has other distances than the ledger.
            counted = []
        for instants in (counted, [one.at for one in self.callrail.takings]):
            for length, allowed in ((HOUR, LIMITS.per_hour), (DAY, LIMITS.per_day)):
                for end in instants:
                    assert sum(end - length < one <= end for one in instants) <= allowed

    def check_one_in_flight(self) -> None:
        """One text at a time to one person from one number."""
        in_flight = Counter(key_of(one) for one in self.stored.attempts.values() if one.finished_at is None)
        assert all(count == 1 for count in in_flight.values())

    def check_statuses(self) -> None:
        """Messages agree with their segments, and segments with their attempts."""
        for message in self.stored.messages.values():
            of_message = self.stored.segments_of(message)
            present = {segment.status for segment in of_message} - {Status.CANCELLED}
            assert message.status in allowed_statuses(present), (message.status, present)
            codes = [reason.code for reason in message.reasons]
            if message.status in (Status.HELD, Status.FAILED, Status.UNKNOWN):
                assert codes
            assert (Status.UNKNOWN != message.status) or "unknown" in codes
            for segment in of_message:
                self._check_segment(segment, codes)

    def _check_segment(self, segment: Row, codes: list[str]) -> None:
        outcomes = Counter(attempt.outcome for attempt in self.stored.attempts_at(segment.id))
        assert (segment.status == Status.SENDING) == (outcomes[None] == 1)
        assert outcomes[None] <= 1
        if segment.status != Status.SENDING:
            assert (segment.status == Status.SENT) == (outcomes[OutcomeKind.SENT] > 0)
        if outcomes[OutcomeKind.SENT] > 1:
            assert "sent_twice" in codes

    def check_sent_is_true(self) -> None:
        """Not more is said to be sent than CallRail shows, a person's word aside."""
        said = Counter(
            (attempt.recipient, normalize(self.stored.segments[attempt.segment_id].content))
            for attempt in self.stored.attempts.values()
            if attempt.outcome == OutcomeKind.SENT
        )
        for segment_id, times in self.worded.items():
            segment = self.stored.segments[segment_id]
            message = next(one for one in self.stored.messages.values() if one.seq == segment.message_seq)
            said[message.recipient, normalize(segment.content)] -= times
        true = Counter((one.key[1], normalize(one.content)) for one in self.callrail.takings)
        for what, times in said.items():
            assert times <= true[what] + self.callrail.written[what]

    # --- the end ---

    def teardown(self) -> None:
        """Some stories are told to their end: nothing waits forever unless a person must decide."""
        if getattr(self, "drains", False):
            self._drain()
        assert self.bench.read() == self.bench.read(anew=True)

    def _drain(self) -> None:
        self._resume()
        for node in sorted(self.dead):
            self._settle(node)
        self.dead.clear()
        self.looking.clear()
        self._record(
            {one.claim.attempt_id: LOST if one.taken else ANSWERS["not sent"] for one in self.flights}
        )
        for _ in range(300):
            self.refresh()
            if not self.ids_of(Status.QUEUED, Status.SENDING):
                return
            self._settle(None)
            result = self._claim(NODES[0], 3)
            for flight in self.flights:
                self._reach(flight)
            self._record({one.claim.attempt_id: ANSWERS["sent"] for one in self.flights})
            if not result.claims:
                self._wait_for(result.wake_at)
        raise AssertionError("Texts wait for ever.")

    def _wait_for(self, wake_at: datetime | None) -> None:
        """Until something may be sent, or is to be looked up."""
        next_lookup_at = self.bench.run(self.outbox.read(lookups.next_lookup, self.lookups))
        instants = [instant for instant in (wake_at, next_lookup_at) if instant is not None]
        if not instants:
            assert not self.ids_of(Status.QUEUED, Status.SENDING)
            return
        self.clock.set(max(self.clock.now(), min(instants)))
        if next_lookup_at is not None and next_lookup_at <= self.clock.now():
            self.look_up("answer")

    def ids_of(self, *statuses: Status) -> list[str]:
        return [id_ for id_ in self.accepted if self.stored.messages[id_].status in statuses]


def allowed_statuses(present: set[str]) -> Sequence[Status]:
    """What a message may be whose segments, replaced ones aside, have these statuses."""
    # No one cancels or holds what is in flight.
    if Status.SENDING in present and not present & {Status.FAILED, Status.UNKNOWN}:
        return (Status.SENDING,)
    for worst in (Status.FAILED, Status.UNKNOWN):
        if worst in present:
            return (worst, Status.CANCELLED)
    if present == {Status.SENT}:
        return (Status.SENT, Status.CANCELLED)
    begun = Status.SENDING if Status.SENT in present else Status.QUEUED
    return (begun, Status.HELD, Status.CANCELLED)


def pick(values: Sequence[T], index: int) -> T:
    return values[index % len(values)]
