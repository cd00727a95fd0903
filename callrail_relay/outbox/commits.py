"""Sharing commits: what waits to be written at the same time is written together."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from callrail_relay.clock import others_turn
from callrail_relay.domain.mapper import NewSubmission
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import accept
from callrail_relay.outbox.accept import Stored

T = TypeVar("T")

Work = Callable[[sa.Connection, datetime], Any]
"""What is done inside a transaction."""

Transact = Callable[[Sequence[Work]], Awaitable[list[Any]]]
"""Does all works in one transaction, in their order, or none of them."""

BATCH = 500
"""Submissions that share one commit at most."""

JOINING = 4
"""
Turns of the event loop before a commit begins, some microseconds: what is ready to run now may join it. So
a text that comes in while nothing is to do is claimed in the very commit that stores it.
"""

_Waiting = tuple[Work, "asyncio.Future[Any]"]
_Arriving = tuple[NewSubmission, "asyncio.Future[Stored]"]


class SharedCommits:
    """
    One commit after the other, each with all that came while the one before it was made.

    A commit costs a forced write to the disk, whatever it holds. So submissions always share one; with
    *all_share* everything else does as well, which is right where there is one writer at a time anyway.
    Whoever waits is answered after the commit that holds what they wrote.
    """

    def __init__(self, transact: Transact, *, all_share: bool) -> None:
        self._transact = transact
        self._all_share = all_share
        self._arriving: list[_Arriving] = []
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None

    def store(self, submission: NewSubmission) -> "asyncio.Future[Stored]":
        """
        Store a submission, and say what became of it.

        Whoever ends the future before a commit began with it leaves nothing behind.
        """
        stored: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._arriving.append((submission, stored))
        self._begin()
        return stored

    async def write(self, work: Callable[[sa.Connection, datetime], T]) -> T:
        """Do something else that writes."""
        if not self._all_share:
            [result] = await self._transact([work])
            return result  # type: ignore[no-any-return]  # what the work answered with
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        self._begin()
        return await done

    async def finish(self) -> None:
        """Return when nothing waits any more."""
        while self._committing is not None:
            with contextlib.suppress(Exception):
                await self._committing

    def _begin(self) -> None:
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())

    async def _commit_all(self) -> None:
        try:
            while self._arriving or self._waiting:
                for _ in range(JOINING):
                    await others_turn()
                # Who does not wait any more was told that nothing is stored.
                self._arriving = [one for one in self._arriving if not one[1].done()]
                arriving, self._arriving = self._arriving[:BATCH], self._arriving[BATCH:]
                waiting, self._waiting = self._waiting, []
                await self._commit(arriving, waiting)
        finally:
            self._committing = None

    async def _commit(self, arriving: list[_Arriving], waiting: list[_Waiting]) -> None:
        """One commit with all of it; where it fails by something of its own, one for each."""
        works = [work for work, _ in waiting]
        if arriving:
            # First, so that a claim in the same commit sees what came in.
            works.insert(0, _storing([submission for submission, _ in arriving]))
        try:
            results = await self._transact(works)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for it
            if not isinstance(error, Unavailable) and len(arriving) + len(waiting) > 1:
                await self._commit_each(arriving, waiting)
                return
            for _, future in (*arriving, *waiting):
                if not future.done():
                    future.set_exception(error)
            return
        answers = [*results.pop(0), *results] if arriving else results
        for (_, future), answer in zip((*arriving, *waiting), answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _commit_each(self, arriving: list[_Arriving], waiting: list[_Waiting]) -> None:
        """One commit for each: what cannot be stored must not take the others with it."""
        for submitted in arriving:
            await self._commit([submitted], [])
        for one in waiting:
            await self._commit([], [one])


def _storing(batch: Sequence[NewSubmission]) -> Work:
    return lambda connection, now: accept.store(connection, now, batch)
