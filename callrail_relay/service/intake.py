"""
Taking texts in: read, map, judge, store. Nothing here waits for CallRail.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from callrail_relay.clock import Clock
from callrail_relay.domain import guards
from callrail_relay.domain.events import (
    EventHook,
    MessageAccepted,
    PingReceived,
    RepeatReceived,
    SubmissionAccepted,
    ignore,
)
from callrail_relay.domain.ids import uuid7
from callrail_relay.domain.mapper import Mapper, MappingPolicy, Planned, is_ping, plan, read_policy
from callrail_relay.domain.mapping import Draft
from callrail_relay.domain.message import Source
from callrail_relay.domain.submission import Accepted, NewSubmission, RawSubmission, Repeated, repeat_key
from callrail_relay.outbox.store import Outbox

SavedFile = tuple[bytes, Sequence[Draft]]
"""A saved file as it came, and the drafts in it."""

PORTION = 25
"""Requests of the inbox that are mapped in one transaction: some milliseconds, which a webhook can wait."""


def nothing() -> None:
    """
    Nobody is to be told.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """
    What a submission became. A ping has no messages and is not stored; what is in the inbox has none yet. One
    that its sender repeated has the id of the first.
    """

    submission_id: str
    accepted: tuple[Accepted, ...] = ()


class Intake:
    """
    The way in, the same for the webhook, ``send`` and ``replay``.
    """

    def __init__(
        self,
        outbox: Outbox,
        policy: MappingPolicy,
        *,
        clock: Clock,
        random: Random,
        hook: EventHook = ignore,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._random = random
        self._hook = hook
        self._mapper = Mapper(policy, self._new_id)
        self._max_characters = policy.max_characters
        self._last_request = clock.now(), clock.awake()
        self.left: Callable[[], None] = nothing
        """Called when a request was left in the inbox."""
        self.taken = 0
        """Requests to the webhook that came so far."""

    async def accept_request(
        self, body: bytes, *, content_type: str | None, query: str = "", idempotency_key: str | None = None
    ) -> Receipt:
        """
        Store a webhook's request, whatever it holds; when this returns it is on disk.

        A request that came before under the same *idempotency_key* is not stored again.
        In a burst it is in the inbox then, and is mapped by ``map_inbox``. Raises Unavailable when the store
        cannot be written.
        """
        self.taken += 1
        self._notice_sleep()
        id_ = self._new_id()
        if is_ping(body, query):
            self._hook(PingReceived())
            return Receipt(submission_id=id_)
        raw = RawSubmission(
            id=id_,
            body=body,
            content_type=content_type,
            query=query or None,
            repeat_key=repeat_key(idempotency_key, body, query) if idempotency_key else None,
        )
        accepted = await self._outbox.take(raw, self._mapper)
        if isinstance(accepted, Repeated):
            self._hook(RepeatReceived(submission_id=accepted.submission_id))
            return Receipt(submission_id=accepted.submission_id)
        if accepted is None:
            self.left()
            return Receipt(submission_id=id_)
        self._tell(id_, Source.WEBHOOK, accepted)
        return Receipt(submission_id=id_, accepted=tuple(accepted))

    async def accept_direct(self, draft: Draft) -> Receipt:
        """
        Store one text from the command line. Raises Unavailable.
        """
        submission = self._mapper.direct(self._new_id(), draft)
        await self.map_all()
        return self._received(submission, await self._outbox.accept(submission))

    async def plan_direct(self, draft: Draft) -> Planned:
        """Return what ``accept_direct`` would make of *draft* now. Raises Unavailable."""
        [planned] = await self._plan([self._mapper.direct(self._new_id(), draft)])
        return planned

    async def accept_saved(self, files: Iterable[SavedFile], *, force: bool) -> list[Receipt]:
        """
        Store saved files together; a text that the store knows already is left out unless *force*.

        Raises Unavailable; then none of them is stored.
        """
        batch = self._saved(files, force=force)
        await self.map_all()
        accepted = await self._outbox.accept_all(batch)
        return [self._received(submission, one) for submission, one in zip(batch, accepted, strict=True)]

    async def plan_saved(self, files: Iterable[SavedFile], *, force: bool) -> list[Planned]:
        """Return what ``accept_saved`` would make of *files* now. Raises Unavailable."""
        return await self._plan(self._saved(files, force=force))

    async def has_left(self) -> bool:
        """
        Whether there is something in the inbox, whoever took it. Raises Unavailable.
        """
        return not await self._outbox.inbox_is_empty()

    async def map_inbox(self) -> None:
        """
        Map a portion of the inbox, the oldest first, each as the relay that took it would have done it.

        Raises Unavailable.
        """
        for one in await self._outbox.map_inbox(PORTION, self._read_mapping):
            self._tell(one.submission_id, Source.WEBHOOK, one.accepted)

    async def map_all(self) -> None:
        """
        Map what is in the inbox until nothing is: it came first, so it is judged first. Raises Unavailable.
        """
        while await self.has_left():
            await self.map_inbox()

    def _saved(self, files: Iterable[SavedFile], *, force: bool) -> list[NewSubmission]:
        return [
            self._mapper.saved(self._new_id(), document, drafts, force=force) for document, drafts in files
        ]

    def _received(self, submission: NewSubmission, accepted: Sequence[Accepted]) -> Receipt:
        self._tell(submission.id, submission.source, accepted)
        return Receipt(submission_id=submission.id, accepted=tuple(accepted))

    async def _plan(self, batch: Sequence[NewSubmission]) -> list[Planned]:
        await self.map_all()
        results = await self._outbox.plan(batch)
        return plan(batch, results, max_characters=self._max_characters, now=self._clock.now())

    def _notice_sleep(self) -> None:
        """
        Tell the guards if the machine slept since the last request.
        """
        (last, awake), self._last_request = self._last_request, (self._clock.now(), self._clock.awake())
        now, still_awake = self._last_request
        if guards.slept(now - last, still_awake - awake):
            self._mapper.woke_at = self._outbox.clock.now() - guards.NOTICED_WITHIN

    def _tell(self, submission_id: str, source: Source, accepted: Iterable[Accepted]) -> None:
        new = [one for one in accepted if one.duplicate_of is None]
        if not new:
            if source is Source.WEBHOOK:
                self._hook(PingReceived())
            return
        self._hook(SubmissionAccepted(submission_id=submission_id, source=source, messages=len(new)))
        for one in new:
            self._hook(
                MessageAccepted(
                    message_id=one.message_id,
                    submission_id=submission_id,
                    status=one.status,
                    reasons=tuple(reason.code for reason in one.verdict.reasons),
                )
            )

    def _read_mapping(self, policy: str) -> Mapper:
        if policy == self._mapper.policy:
            return self._mapper
        try:
            return Mapper(read_policy(policy), self._new_id)
        except Exception:  # noqa: BLE001 - in the words of another release: it must not keep back what came after it
            return self._mapper

    def _new_id(self) -> str:
        return uuid7(self._clock.now(), self._random)
