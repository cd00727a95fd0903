"""The outbox as the services use it: every method is one transaction."""

import asyncio
import contextlib
import os
import platform
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import uuid4

import sqlalchemy as sa

from callrail_relay.clock import AdjustedClock, Clock
from callrail_relay.domain.account import Limits
from callrail_relay.domain.alerts import Change, Incident, Undecided
from callrail_relay.domain.delivery import ClaimPolicy, ClaimResult, Counts, Recorded, Standing
from callrail_relay.domain.guards import GuardPolicy
from callrail_relay.domain.health import Contact, Running
from callrail_relay.domain.inbound import (
    CallRailText,
    Direction,
    DuePoll,
    Forward,
    Noted,
    PollPolicy,
    WitnessPolicy,
)
from callrail_relay.domain.mapping import (
    Accepted,
    NewMessage,
    NewSubmission,
    StoredSubmission,
)
from callrail_relay.domain.message import UNSIGNED, Export, Message, MessageFilter, Status, Word
from callrail_relay.domain.opt_outs import Suppression
from callrail_relay.domain.outcome import NotSent, Outcome
from callrail_relay.domain.reconcile import DueLookup, FailedLookup, Lookup, LookupPolicy, Settled
from callrail_relay.domain.routing import Route
from callrail_relay.domain.views import (
    Arrivals,
    Conversation,
    Overview,
    TextFilter,
    TextHistory,
    TextPage,
    Waiting,
)
from callrail_relay.errors import AlreadyRunning, Unavailable
from callrail_relay.outbox import (
    accept,
    alerts,
    claim,
    contacts,
    decisions,
    history,
    inbound,
    numbers,
    opt_outs,
    polling,
    presence,
    queries,
    record,
    relay_secrets,
    retention,
    setback,
)
from callrail_relay.outbox import lookups as looking
from callrail_relay.outbox.accept import Stored
from callrail_relay.outbox.commits import SharedCommits, Work
from callrail_relay.outbox.engine import (
    close_to_others,
    describe,
    file_identity,
    is_sqlite,
    open_engine,
    require_same_file,
    store_files,
    translated,
)
from callrail_relay.outbox.schema import migrate
from callrail_relay.outbox.tables import EPOCH, MICROSECOND
from callrail_relay.outbox.wakeup import Due, newest_due

P = ParamSpec("P")
T = TypeVar("T")
Statement = Callable[Concatenate[sa.Connection, datetime, P], T]
Time = Callable[[sa.Connection], datetime]

ANSWER_IN = 10.0
"""
Seconds until whoever brings a text, or asks whether the store can be written, learns that it does not answer.
The system needs longer to notice that a database is cut off, and a sender that waits does not try elsewhere.
"""

READERS = 2
WRITERS_POSTGRESQL = 4


class Outbox:
    """
    The store of one relay, on SQLite or PostgreSQL.

    The drivers block, so each transaction runs in a thread. SQLite has one writer at
    a time by nature, and gets one thread for it. Every method raises Unavailable when
    the database cannot do its part now; then nothing of that transaction is stored.
    """

    def __init__(self, engine: sa.Engine, time: Time, clock: Clock) -> None:
        self._engine = engine
        self._time = time
        self.clock = clock
        """The time by which this store counts, for whoever waits until an instant that it named."""
        self._file = file_identity(engine)
        self._latest: datetime | None = None
        writers = 1 if is_sqlite(engine) else WRITERS_POSTGRESQL
        self._writers = ThreadPoolExecutor(writers, "outbox-writer")
        self._readers = ThreadPoolExecutor(READERS, "outbox-reader")
        self.write_failed = False
        """Whether a write failed, and none was tried since by ``write_probe`` that did not."""
        self._commits = SharedCommits(self._transact, all_share=is_sqlite(engine))
        self._lock = presence.StoreLock(Path(engine.url.database or "")) if is_sqlite(engine) else None
        self._node_id = str(uuid4())
        self._serves_since: datetime | None = None

    @classmethod
    async def open(
        cls, url: str, clock: Clock, *, database_time: bool = True, serves: bool = False
    ) -> "Outbox":
        """
        Open the store at *url* and bring its tables up to date.

        On PostgreSQL the database tells the time, so that nodes whose clocks differ agree;
        *database_time* False leaves it to *clock*. With *serves* it is known to run until ``close``, and on
        SQLite no other process may serve or copy the store. Raises AlreadyRunning, Unavailable.
        """
        engine = open_engine(url)
        if database_time and not is_sqlite(engine):
            theirs = AdjustedClock(clock)
            outbox = cls(engine, lambda connection: database_now(connection, theirs), theirs)
        else:
            outbox = cls(engine, lambda _: clock.now(), clock)
        try:
            # Before the tables are touched: another release may be at work on them.
            if serves and outbox._lock is not None:
                await asyncio.to_thread(outbox._lock.take, presence.SERVE, clock.now())
            await outbox._in_thread(
                outbox._writers, migrate, engine, lambda c: outbox._require_none_older(c, serves=serves)
            )
            await outbox._in_thread(outbox._writers, close_to_others, engine)
            if serves:
                await outbox.beat()
        except BaseException:
            await outbox.close()
            raise
        return outbox

    def _require_none_older(self, connection: sa.Connection, *, serves: bool) -> None:
        """Raise Unavailable where a relay works on the tables as they are before a step."""
        if self._lock is None:
            served = presence.is_served(connection, self._time(connection))
        else:
            served = not serves and self._lock.server() is not None
        if served and serves:
            raise Unavailable(
                f"Another relay that is running on {self.name} is an older version. Stop every `serve` on it "
                "first, then run this again. One that was killed is forgotten after 30 seconds."
            )
        if served:
            raise Unavailable(
                f"The relay that is running on {self.name} is an older version. Restart it first "
                "(`callrail-relay serve`), then run this again."
            )

    async def close(self) -> None:
        """Finish what is being stored, and let go of the database."""
        await self._commits.finish()
        if self._serves_since is not None:
            # Where that fails the others forget this node a little later.
            with contextlib.suppress(Unavailable):
                await self._write(presence.leave, self._node_id)
        await asyncio.to_thread(self._writers.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    @property
    def name(self) -> str:
        """What to call this store in front of people: its file, or its address without the password."""
        return describe(self._engine)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of this store, those that are not there now among them; none for PostgreSQL."""
        return store_files(self._engine)

    @property
    def beats(self) -> bool:
        """Whether a ``serve`` has to say again and again that it is there, by ``beat``."""
        return self._lock is None

    async def require_not_copied(self) -> None:
        """
        Raise AlreadyRunning while the store is copied: what waits in it would be sent from the copy as well.

        Asked after this process can be seen to work on the store, as a copy looks after it can be seen.
        """
        if self._lock is not None:
            copied = await asyncio.to_thread(self._lock.is_copied)
        else:
            copied = await self._read(lambda c, _now: presence.others_connected(c, presence.COPYING))
        if copied:
            raise AlreadyRunning(self.name, by=presence.COPY, pid=None, since=None, has_dashboard=False)

    async def beat(self) -> None:
        """Say that this ``serve`` is there; a lock says it by itself."""
        if self.beats:
            self._serves_since = await self._write(
                presence.beat,
                id_=self._node_id,
                name=f"{platform.node()}:{os.getpid()}",
                since=self._serves_since,
            )

    async def note_dashboard(self, private_url: str) -> None:
        """Let others know that this ``serve`` has a dashboard."""
        if self._lock is not None:
            await asyncio.to_thread(self._lock.note_dashboard, private_url)

    async def running(self) -> Running:
        """Every ``serve`` that works on this store now."""
        if self._lock is None:
            return Running(await self._read(presence.read_nodes))
        server = await asyncio.to_thread(self._lock.server)
        return Running(() if server is None else (server,))

    async def read_contacts(self, account_ids: Iterable[str]) -> dict[str, Contact]:
        """When CallRail last answered for each of these accounts."""
        return await self._read(contacts.read_contacts, tuple(account_ids))

    async def note_contacts(self, account_ids: Iterable[str], *, answered: bool) -> None:
        await self._write(contacts.note_contacts, account_ids, answered=answered)

    async def accept(self, submission: NewSubmission) -> list[Accepted]:
        """Store a submission that no sender repeats, as ``accept_once`` does."""
        accepted = await self.accept_once(submission)
        assert isinstance(accepted, list)  # noqa: S101 - without a key nothing is repeated
        return accepted

    async def accept_once(self, submission: NewSubmission) -> Stored:
        """
        Store a submission; when this returns it is on disk. One that came before under its key is Repeated.

        Submissions that arrive while others are being stored share the next commit. Raises Unavailable after
        ANSWER_IN seconds without an answer of the database; then it may be stored all the same.
        """
        stored = self._commits.store(submission)
        # A timer alone: asyncio.timeout costs more than the text's share of its commit.
        timer = stored.get_loop().call_later(ANSWER_IN, self._give_up, stored)
        try:
            return await stored
        finally:
            timer.cancel()

    async def accept_all(self, batch: Sequence[NewSubmission]) -> list[list[Accepted]]:
        """Store all submissions of *batch* in one transaction, or none of them."""
        return await self._write(accept.accept, batch)

    async def plan(self, batch: Sequence[NewSubmission]) -> list[list[Accepted]]:
        """
        Return what ``accept_all`` would make of *batch* now: it is done, and rolled back.

        A second set of rules for dry runs would sooner or later say something else than the run does.
        """

        def work(connection: sa.Connection, now: datetime) -> list[list[Accepted]]:
            return accept.accept(connection, now, batch)

        [accepted] = await self._in_thread(self._writers, self._writing, [work], keep=False)
        return accepted  # type: ignore[no-any-return]  # what the work answered with

    async def newest_due(self) -> Due:
        return await self._read(newest_due)

    async def claim(self, node: str, policy: ClaimPolicy) -> ClaimResult:
        return await self._write(claim.claim, node, policy)

    async def take_up_forgotten(self) -> None:
        await self._write(claim.take_up_forgotten)

    async def next_lease_end(self) -> datetime | None:
        return await self._read(record.next_lease_end)

    async def record(
        self,
        attempt_id: int,
        outcome: Outcome,
        *,
        interval: timedelta,
        random: Random,
        lookups: LookupPolicy | None = None,
    ) -> Recorded | Settled | None:
        return await self._write(
            record.record, attempt_id, outcome, interval=interval, random=random, lookups=lookups
        )

    async def settle_abandoned(
        self,
        *,
        node: str | None = None,
        interval: timedelta,
        random: Random,
        lookups: LookupPolicy | None = None,
    ) -> list[Recorded]:
        return await self._write(
            record.settle_abandoned, node=node, interval=interval, random=random, lookups=lookups
        )

    async def settle_unsent(
        self,
        node: str,
        known: frozenset[int],
        outcome: NotSent,
        *,
        interval: timedelta,
        random: Random,
    ) -> list[Recorded]:
        return await self._write(record.settle_unsent, node, known, outcome, interval=interval, random=random)

    async def claim_lookup(self, policy: LookupPolicy, begun: DueLookup | None = None) -> DueLookup | None:
        return await self._write(looking.claim_lookup, policy, begun)

    async def next_lookup(self, policy: LookupPolicy) -> datetime | None:
        return await self._read(looking.next_lookup, policy)

    async def record_lookup(self, due: DueLookup, lookup: Lookup, policy: LookupPolicy) -> list[Settled]:
        return await self._write(looking.record_lookup, due, lookup, policy)

    async def record_failed_lookup(self, due: DueLookup, lookup: FailedLookup, policy: LookupPolicy) -> None:
        await self._write(looking.record_failed_lookup, due, lookup, policy)

    async def approve(self, message_id: str, word: Word = UNSIGNED) -> bool:
        return await self._write(decisions.approve, message_id, word)

    async def held_alike(self, message_id: str, *, approvable: bool = False) -> list[str]:
        return await self._read(decisions.held_alike, message_id, approvable=approvable)

    async def cancel(self, message_id: str, statuses: Iterable[Status], word: Word = UNSIGNED) -> bool:
        return await self._write(decisions.cancel, message_id, statuses, word)

    async def resend(self, message_id: str, word: Word = UNSIGNED) -> bool:
        return await self._write(decisions.resend, message_id, word)

    async def mark_sent(self, message_id: str, word: Word = UNSIGNED) -> bool:
        return await self._write(decisions.mark_sent, message_id, word)

    async def read_submission(self, submission_id: str) -> StoredSubmission:
        return await self._read(decisions.read_submission, submission_id)

    async def remap(self, remapped: NewMessage, policy: GuardPolicy, word: Word = UNSIGNED) -> Status | None:
        return await self._write(decisions.remap, remapped, policy, word)

    async def retire(self, before: datetime, most: int) -> int:
        retired = await self._write(retention.retire, before, most)
        if retired < most:
            await self._in_thread(self._writers, retention.empty_log, self._engine)
        return retired

    async def suppress(self, tracking_number: str, recipient: str, reason: str) -> None:
        await self._write(opt_outs.suppress, tracking_number, recipient, reason)

    async def suppress_all(self, entries: Sequence[Suppression]) -> int:
        return await self._write(opt_outs.suppress_all, entries)

    async def lift_suppression(self, recipient: str, tracking_number: str | None) -> int:
        return await self._write(opt_outs.lift, recipient, tracking_number)

    async def is_suppressed(self, tracking_number: str, recipient: str) -> bool:
        return await self._read(opt_outs.is_suppressed, tracking_number, recipient)

    async def list_suppressions(self) -> list[Suppression]:
        return await self._read(opt_outs.list_suppressions)

    async def remember_number(self, route: Route, known: Collection[str] = ()) -> None:
        await self._write(numbers.remember_number, route, known)

    async def known_numbers(self, account_ids: Collection[str]) -> list[Route]:
        return await self._read(numbers.known_numbers, account_ids)

    async def note_text(
        self, text: CallRailText, policy: WitnessPolicy, hint: Direction | None = None
    ) -> Noted:
        return await self._write(inbound.note, text, policy, hint)

    async def next_forward(self) -> datetime | None:
        return await self._read(polling.next_forward)

    async def claim_forward(self, lease: timedelta) -> Forward | None:
        return await self._write(polling.claim_forward, lease)

    async def end_forward(self, resource_id: str, retry_at: datetime | None) -> None:
        await self._write(polling.end_forward, resource_id, retry_at)

    async def note_seen(self, texts: Sequence[CallRailText], policy: WitnessPolicy) -> list[Noted]:
        return await self._write(inbound.note_seen, texts, policy)

    async def claim_poll(self, policy: PollPolicy) -> DuePoll | None:
        return await self._write(polling.claim_poll, policy)

    async def next_poll(self, policy: PollPolicy) -> datetime:
        return await self._read(polling.next_poll, policy)

    async def last_poll(self, policy: PollPolicy) -> datetime | None:
        return await self._read(polling.last_poll, policy)

    async def end_poll(self, poll_id: int, requests: int, *, well: bool) -> None:
        await self._write(polling.end_poll, poll_id, requests, well=well)

    async def pause(self, account_id: str, reason: str) -> None:
        await self._write(decisions.pause, account_id, reason)

    async def resume(self, account_id: str) -> None:
        await self._write(decisions.resume, account_id)

    async def write_probe(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_IN):
                await self._write(decisions.write_probe)
        except TimeoutError as error:
            raise self._silent() from error
        self.write_failed = False

    async def end_tokens(self, digests: Iterable[str], at: datetime | None = None) -> None:
        await self._write(relay_secrets.end_tokens, digests, at)

    async def read_ended_tokens(self) -> frozenset[str]:
        return await self._read(relay_secrets.read_ended_tokens)

    async def token_ends_at(self, digest: str) -> datetime | None:
        return await self._read(relay_secrets.token_ends_at, digest)

    async def read_relay_secret(self, proposed: str) -> str:
        return await self._write(relay_secrets.read_relay_secret, proposed)

    async def known_accounts(self) -> list[str]:
        return await self._read(lambda connection, _now: decisions.known_accounts(connection))

    async def list_messages(self, wanted: MessageFilter) -> list[Message]:
        return await self._read(queries.list_messages, wanted)

    async def plan_export(self, wanted: MessageFilter) -> Export:
        return await self._read(queries.plan_export, wanted)

    async def read_portion(self, export: Export, *, after: int, size: int) -> tuple[list[Message], int]:
        return await self._read(queries.read_portion, export, after=after, size=size)

    async def find_messages(self, id_: str) -> list[Message]:
        return await self._read(queries.find_messages, id_)

    async def count_by_status(self) -> dict[Status, int]:
        return await self._read(queries.count_by_status)

    async def read_undecided(self, longer_than: timedelta) -> Undecided:
        return await self._read(alerts.read_undecided, longer_than)

    async def count_failures(self, account_ids: Iterable[str]) -> int:
        return await self._read(alerts.count_failures, account_ids)

    async def read_incidents(self) -> list[Incident]:
        return await self._read(alerts.read_incidents)

    async def change_incidents(self, changes: Iterable[Change]) -> None:
        await self._write(alerts.change_incidents, changes)

    async def claim_alerts(self, lease: timedelta) -> list[Incident]:
        return await self._write(alerts.claim_alerts, lease)

    async def put_off_alerts(self, claimed: Iterable[Incident], until: datetime) -> None:
        await self._write(alerts.put_off, claimed, until)

    async def mark_told(self, claimed: Sequence[Incident]) -> None:
        await self._write(alerts.mark_told, claimed)

    async def read_counts(self) -> Counts:
        return await self._read(queries.read_counts)

    async def count_suppressions(self) -> int:
        return await self._read(queries.count_suppressions)

    async def read_standings(self, account_ids: Sequence[str], limits: Limits) -> list[Standing]:
        return await self._read(queries.read_standings, account_ids, limits)

    async def read_overview(
        self, account_ids: Sequence[str], arrivals_since: datetime, failed_since: datetime
    ) -> Overview:
        return await self._read(history.read_overview, account_ids, arrivals_since, failed_since)

    async def read_arrivals(self, since: datetime, until: datetime) -> tuple[Arrivals, ...]:
        return await self._read(history.read_arrivals, since, until)

    async def read_waiting(self, failed_since: datetime) -> Waiting:
        return await self._read(history.read_waiting, failed_since)

    async def count_for_person(self, failed_since: datetime) -> int:
        return await self._read(history.count_for_person, failed_since)

    async def read_page(self, wanted: TextFilter) -> TextPage:
        return await self._read(history.read_page, wanted)

    async def read_history(self, message_id: str) -> TextHistory:
        return await self._read(history.read_history, message_id)

    async def read_conversation(
        self, tracking_number: str, recipient: str, before: datetime | None, limit: int
    ) -> Conversation:
        return await self._read(history.read_conversation, tracking_number, recipient, before, limit)

    async def read_suppressions(self, limit: int) -> list[Suppression]:
        return await self._read(history.read_suppressions, limit)

    async def read_marker(self) -> str:
        return await self._read(history.read_marker)

    async def now(self) -> datetime:
        """The time by which this store counts."""
        return await self._read(lambda _connection, now: now)

    def _give_up(self, stored: "asyncio.Future[Stored]") -> None:
        if not stored.done():
            stored.set_exception(self._silent())

    def _silent(self) -> Unavailable:
        self.write_failed = True
        return Unavailable(f"The store {self.name} does not answer; check that it runs and can be reached.")

    async def _write(self, statement: Statement[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._commits.write(lambda connection, now: statement(connection, now, *args, **kwargs))

    async def _read(self, statement: Statement[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._in_thread(
            self._readers, self._reading, lambda c, now: statement(c, now, *args, **kwargs)
        )

    async def _transact(self, works: Sequence[Work]) -> list[Any]:
        try:
            return await self._in_thread(self._writers, self._writing, works)
        except Unavailable:
            self.write_failed = True
            raise

    def _writing(self, works: Sequence[Work], *, keep: bool = True) -> list[Any]:
        with (
            self._engine.connect().execution_options(writes=True) as connection,
            connection.begin() as transaction,
        ):
            # Read before the time, so that it is earlier whatever other threads write meanwhile.
            latest = self._latest
            now = self._time(connection)
            if latest is None:
                latest = setback.latest_instant(connection, now)
            if now < latest:
                setback.bring_back(connection, now, latest)
            results = [work(connection, self._time(connection)) for work in works]
            require_same_file(self._engine, self._file)
            if not keep:
                transaction.rollback()
                return results
        self._latest = now
        return results

    def _reading(self, work: Callable[[sa.Connection, datetime], T]) -> T:
        with self._engine.connect().execution_options(writes=False) as connection, connection.begin():
            return work(connection, self._time(connection))

    async def _in_thread(
        self, threads: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def call() -> T:
            with translated(self._engine):
                return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(threads, call)


def database_now(connection: sa.Connection, clock: AdjustedClock) -> datetime:
    """PostgreSQL's own time, by which *clock* is set."""
    query = sa.select(sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger))
    microseconds: int = connection.execute(query).scalar_one()
    now = EPOCH + microseconds * MICROSECOND
    clock.adjust(now)
    return now
