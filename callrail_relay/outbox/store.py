"""The store as services use it: each statement of this folder runs in one transaction, in a thread."""

import asyncio
import contextlib
import os
import platform
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import uuid4

import sqlalchemy as sa

from callrail_relay import __version__
from callrail_relay.clock import AdjustedClock, Clock, others_turn
from callrail_relay.domain.health import Node, Running
from callrail_relay.domain.mapper import NewSubmission
from callrail_relay.errors import AlreadyRunning, Unavailable
from callrail_relay.outbox import accept, presence, sentence, times
from callrail_relay.outbox.accept import Receipt
from callrail_relay.outbox.engine import (
    close_to_others,
    describe,
    empty_log,
    file_identity,
    is_sqlite,
    open_engine,
    require_same_file,
    store_files,
    translated,
)
from callrail_relay.outbox.schema import migrate
from callrail_relay.outbox.tables import probe
from callrail_relay.outbox.transaction import Transaction

P = ParamSpec("P")
T = TypeVar("T")
Statement = Callable[Concatenate[Transaction, P], T]

# Seconds until a sender, or a health check, is told that the database is silent. The system notices a cut
# connection later than that, and a sender that waits doesn't try another node.
ANSWER_IN = 10.0
READERS = 2
WRITERS_POSTGRESQL = 4
BATCH = 500  # submissions per commit, at most
# Turns of the event loop before a commit starts, some microseconds, so that work that is ready joins it: a
# text that comes in alone is claimed in the commit that stores it.
JOINING = 4


class Store:
    """
    The store of one relay, on SQLite or PostgreSQL.

    The drivers block, so each transaction runs in a thread. SQLite has one writer at a time, and gets one
    thread for it. Every method raises Unavailable if the database can't do its part now; then nothing of that
    transaction is stored.
    """

    def __init__(self, engine: sa.Engine, time: Callable[[sa.Connection], datetime], clock: Clock) -> None:
        self._engine = engine
        self._time = time
        self.clock = clock  # the store's time, to wait until an instant that it named
        self._file = file_identity(engine)
        self._latest: datetime | None = None
        writers = 1 if is_sqlite(engine) else WRITERS_POSTGRESQL
        self._writers = ThreadPoolExecutor(writers, "outbox-writer")
        self._readers = ThreadPoolExecutor(READERS, "outbox-reader")
        self.write_failed = False  # a write failed, and no `write_probe` has succeeded since
        self._commits = _SharedCommits(self._transact, share_all=is_sqlite(engine))
        self._lock = presence.StoreLock(Path(engine.url.database or "")) if is_sqlite(engine) else None
        self._node_id = str(uuid4())
        self._node = Node(name=f"{platform.node()}:{os.getpid()}", version=__version__)

    @classmethod
    async def open(
        cls, url: str, clock: Clock, *, database_time: bool = True, serves: bool = False
    ) -> "Store":
        """
        Open the store at *url*, and migrate its tables if that's due.

        On PostgreSQL the database tells the time, so that nodes whose clocks differ agree; with
        *database_time* False, *clock* does. With *serves*, others see it running until ``close``, and on
        SQLite no other process may serve or copy the store. Raises AlreadyRunning, Unavailable.
        """
        engine = open_engine(url)
        if database_time and not is_sqlite(engine):
            theirs = AdjustedClock(clock)
            store = cls(engine, lambda connection: times.database_now(connection, theirs), theirs)
        else:
            store = cls(engine, lambda _: clock.now(), clock)
        try:
            # Before the tables are touched: a relay of another version may be running on them.
            if serves and store._lock is not None:
                await asyncio.to_thread(store._lock.take, presence.SERVE, clock.now())
            await store._in_thread(
                store._writers, migrate, engine, lambda c: store._require_none_older(c, serves=serves)
            )
            await store._in_thread(store._writers, close_to_others, engine)
            if serves:
                await store.beat()
        except BaseException:
            await store.close()
            raise
        return store

    def _require_none_older(self, connection: sa.Connection, *, serves: bool) -> None:
        """Raise Unavailable if a relay is running on tables that are to be migrated."""
        if self._lock is None:
            served = presence.is_served(Transaction(connection, self._time(connection)))
        else:
            served = not serves and self._lock.server() is not None
        if served:
            raise Unavailable(sentence("older_runs", database=self.name))

    async def close(self) -> None:
        """Finish what is being stored, and close the database."""
        await self._commits.finish()
        if self._node.since is not None:
            # If this fails, the others forget this node a little later.
            with contextlib.suppress(Unavailable):
                await self.write(presence.leave, self._node_id)
        await asyncio.to_thread(self._writers.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    @property
    def shares_commits(self) -> bool:
        """Whether everything written at one time shares a commit, in the order in which it came."""
        return self._commits.share_all

    @property
    def name(self) -> str:
        """The file, or the address without the password."""
        return describe(self._engine)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of this store, whether or not they exist; none for PostgreSQL."""
        return store_files(Path(self.name)) if is_sqlite(self._engine) else ()

    async def read(self, statement: Statement[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a statement that changes nothing."""

        def work() -> T:
            with self._engine.connect().execution_options(writes=False) as connection, connection.begin():
                return statement(Transaction(connection, self._time(connection)), *args, **kwargs)

        return await self._in_thread(self._readers, work)

    async def write(self, statement: Statement[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a statement, and return its result once the commit is on disk."""
        return await self._commits.write(lambda tx: statement(tx, *args, **kwargs))

    async def write_in_turn(self, statement: Statement[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, once every submission that came before is stored, or has failed."""
        return await self._commits.write(lambda tx: statement(tx, *args, **kwargs), in_turn=True)

    async def rehearse(self, statement: Statement[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``write`` would return now: run the statement, and roll it back."""
        works = [lambda tx: statement(tx, *args, **kwargs)]
        [result] = await self._in_thread(self._writers, self._writing, works, keep=False)
        return result  # type: ignore[no-any-return]  # the statement's result

    async def accept(self, submission: NewSubmission) -> Receipt:
        """
        Store a submission; when this returns, it's on disk. One that came before under its key isn't stored.

        Submissions that arrive during a commit share the next one. Raises Unavailable if the database doesn't
        answer within ANSWER_IN seconds; then it may be stored all the same.
        """
        stored = self._commits.store(submission)
        # A plain timer: asyncio.timeout costs more than the text's share of the commit.
        timer = stored.get_loop().call_later(ANSWER_IN, self._give_up, stored)
        try:
            return await stored
        finally:
            timer.cancel()

    def _give_up(self, stored: "asyncio.Future[Receipt]") -> None:
        if not stored.done():
            stored.set_exception(self._silent())

    async def write_probe(self) -> None:
        """Write one small row, to check that the store can be written. Raises Unavailable."""
        try:
            async with asyncio.timeout(ANSWER_IN):
                await self.write(lambda tx: tx.upsert(probe, {"id": 1}, {"written_at": tx.now}))
        except TimeoutError as error:
            raise self._silent() from error
        self.write_failed = False

    def _silent(self) -> Unavailable:
        self.write_failed = True
        return Unavailable(sentence("silent", database=self.name))

    async def now(self) -> datetime:
        return await self.read(lambda tx: tx.now)

    async def empty_log(self) -> None:
        """Empty SQLite's log, which still holds deleted data."""
        await self._in_thread(self._writers, empty_log, self._engine)

    @property
    def beats(self) -> bool:
        """Whether a ``serve`` has to report again and again, by ``beat``, that it's running."""
        return self._lock is None

    async def beat(self) -> None:
        """Report that this ``serve`` is running; on SQLite, its lock does."""
        if self.beats:
            since = await self.write(presence.beat, self._node_id, self._node)
            self._node = replace(self._node, since=since)

    async def note(self, **facts: object) -> None:
        """Publish facts about this ``serve`` (fields of Node); on PostgreSQL with the next ``beat``."""
        if self._lock is not None:
            await asyncio.to_thread(self._lock.note, **facts)
        else:
            self._node = replace(self._node, **facts)  # type: ignore[arg-type]  # fields of Node

    async def running(self) -> Running:
        """Return every ``serve`` that is running on this store."""
        if self._lock is None:
            return Running(await self.read(presence.read_nodes))
        server = await asyncio.to_thread(self._lock.server)
        return Running(() if server is None else (server,))

    async def require_not_copied(self) -> None:
        """
        Raise AlreadyRunning while the store is being copied: what waits would be sent from the copy, too.

        Ask once others can see that this process uses the store: a copy that can be seen looks for users.
        """
        if self._lock is not None:
            holder = await asyncio.to_thread(self._lock.holder)
            copied = holder is not None and holder.by == presence.COPY
        else:
            copied = await self.read(presence.others_connected, presence.COPYING)
        if copied:
            raise AlreadyRunning(self.name, by=presence.COPY, pid=None, since=None, has_dashboard=False)

    async def _transact(self, works: "Sequence[_Work]") -> list[Any]:
        try:
            return await self._in_thread(self._writers, self._writing, works)
        except Unavailable:
            self.write_failed = True
            raise

    def _writing(self, works: "Sequence[_Work]", *, keep: bool = True) -> list[Any]:
        with (
            self._engine.connect().execution_options(writes=True) as connection,
            connection.begin() as transaction,
        ):
            # Read before the time, so that it's earlier, whatever other threads write meanwhile.
            latest = self._latest
            now = self._time(connection)
            if latest is None:
                latest = times.latest_instant(Transaction(connection, now))
            if now < latest:
                times.bring_back(Transaction(connection, now), latest)
            results = [work(Transaction(connection, self._time(connection))) for work in works]
            require_same_file(self._engine, self._file)
            if not keep:
                transaction.rollback()
                return results
        self._latest = now
        return results

    async def _in_thread(
        self, threads: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def call() -> T:
            with translated(self._engine):
                return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(threads, call)


# Work that is done inside a transaction, and what does all works in one, in order, or none of them.
_Work = Callable[[Transaction], Any]
_Transact = Callable[[Sequence[_Work]], Awaitable[list[Any]]]
_Waiting = tuple[_Work, "asyncio.Future[Any]"]
_Arriving = tuple[NewSubmission, "asyncio.Future[Receipt]"]


class _SharedCommits:
    """
    Makes one commit after another, each with everything that came during the one before.

    A commit costs one forced write to disk, whatever it holds. So submissions always share one; with
    *share_all*, so does everything else, which is right if there's only one writer at a time. If submissions
    and other work came during a commit, the submissions get the next one to themselves: a sender that waits
    for its answer doesn't wait for a claim. Each caller is answered after the commit with its work.
    """

    def __init__(self, transact: _Transact, *, share_all: bool) -> None:
        self._transact = transact
        self.share_all = share_all
        self._arriving: list[_Arriving] = []
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None

    def store(self, submission: NewSubmission) -> "asyncio.Future[Receipt]":
        """Store a submission; nothing is stored if the caller ends the future before its commit begins."""
        stored: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._arriving.append((submission, stored))
        self._begin()
        return stored

    async def write(self, work: Callable[[Transaction], T], *, in_turn: bool = False) -> T:
        if not (self.share_all or in_turn):
            [result] = await self._transact([work])
            return result  # type: ignore[no-any-return]  # the statement's result
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        self._begin()
        return await done

    async def finish(self) -> None:
        """Return once nothing waits."""
        while self._committing is not None:
            with contextlib.suppress(Exception):
                await self._committing

    def _begin(self) -> None:
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())

    async def _commit_all(self) -> None:
        try:
            is_busy = False
            while self._arriving or self._waiting:
                for _ in range(JOINING):
                    await others_turn()
                arriving, self._arriving = self._arriving[:BATCH], self._arriving[BATCH:]
                waiting, self._waiting = self._waiting, []
                if is_busy and arriving and waiting:
                    await self._commit(arriving, [])
                    arriving = []
                await self._commit(arriving, waiting)
                is_busy = True
        finally:
            self._committing = None

    async def _commit(self, arriving: list[_Arriving], waiting: list[_Waiting]) -> None:
        """Make one commit with all of it."""
        awaited: list[_Arriving] = []

        def look() -> list[NewSubmission]:
            # A sender that stopped waiting was told that nothing is stored.
            awaited[:] = [one for one in arriving if not one[1].done()]
            return [submission for submission, _ in awaited]

        works = [work for work, _ in waiting]
        if arriving:  # first, so that a claim in the same commit sees it
            works.insert(0, lambda tx: accept.store(tx, look))
        try:
            results = await self._transact(works)
        except Exception as error:  # noqa: BLE001 - passed to each that waits for it
            await self._failed(error, arriving, waiting)
            return
        stored = results.pop(0) if arriving else []
        for (_, future), answer in zip((*awaited, *waiting), (*stored, *results), strict=True):
            if not future.done():
                future.set_result(answer)

    async def _failed(self, error: Exception, arriving: list[_Arriving], waiting: list[_Waiting]) -> None:
        """Make one commit for each, if one piece of work may have made the shared one fail."""
        if not isinstance(error, Unavailable) and len(arriving) + len(waiting) > 1:
            for submitted in arriving:
                await self._commit([submitted], [])
            for one in waiting:
                await self._commit([], [one])
            return
        for _, future in (*arriving, *waiting):
            if not future.done():
                future.set_exception(error)
