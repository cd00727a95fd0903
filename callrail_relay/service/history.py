"""
What the dashboard shows, as the store has it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from callrail_relay.domain.history import (
    Conversation,
    Overview,
    TextFilter,
    TextHistory,
    TextPage,
    Waiting,
)
from callrail_relay.domain.message import Message
from callrail_relay.domain.standing import Standing
from callrail_relay.domain.suppression import Suppression
from callrail_relay.outbox.store import Outbox
from callrail_relay.service.operations import Operations

FAILED_LATELY = timedelta(days=1)
"""How long a failed text is among what waits for a person; nobody can put right what is long past."""

SUPPRESSIONS = 200
"""Opt-outs that a page shows at most."""

BUBBLES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class NowReport:
    """
    How all stands now.
    """

    standings: tuple[Standing, ...]
    overview: Overview

    @property
    def drains_at(self) -> datetime | None:
        """
        When the last text that waits can have left; None when nothing waits, or a pause keeps it.
        """
        if any(standing.pending and standing.drains_at is None for standing in self.standings):
            return None
        return max((one.drains_at for one in self.standings if one.drains_at is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneText:
    """
    One text with all that is known of it.
    """

    message: Message
    history: TextHistory


class History:
    """
    Reading for people: nothing here changes anything, and nothing costs more in a larger store.
    """

    def __init__(self, outbox: Outbox, operations: Operations) -> None:
        self._outbox = outbox
        self._operations = operations

    async def now(self, arrivals_since: datetime) -> NowReport:
        standings = tuple(await self._operations.standings())
        failed_since = await self._outbox.now() - FAILED_LATELY
        overview = await self._outbox.read_overview(
            [standing.account.id for standing in standings], arrivals_since, failed_since
        )
        return NowReport(standings=standings, overview=overview)

    async def waiting(self) -> Waiting:
        """
        What waits for a person, and what waits by itself.
        """
        return await self._outbox.read_waiting(await self._outbox.now() - FAILED_LATELY)

    async def page(self, wanted: TextFilter) -> TextPage:
        return await self._outbox.read_page(wanted)

    async def text(self, id_: str) -> list[OneText]:
        """
        The text with this id, or those of the submission with this id. Raises NotFound.
        """
        return [
            OneText(message=message, history=await self._outbox.read_history(message.id))
            for message in await self._operations.find(id_)
        ]

    async def conversation(
        self, tracking_number: str, recipient: str, before: datetime | None = None
    ) -> Conversation:
        return await self._outbox.read_conversation(tracking_number, recipient, before, BUBBLES)

    async def suppressions(self) -> list[Suppression]:
        """
        The newest opt-outs.
        """
        return await self._outbox.read_suppressions(SUPPRESSIONS)

    async def marker(self) -> str:
        """
        Words that are others after every change.
        """
        return await self._outbox.read_marker()
