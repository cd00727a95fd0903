"""
Taking texts in: read, map, judge, store. Nothing here waits for CallRail.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from callrail_relay.clock import Clock
from callrail_relay.domain.events import EventHook, MessageAccepted, PingReceived, SubmissionAccepted, ignore
from callrail_relay.domain.ids import uuid7
from callrail_relay.domain.mapper import MappingPolicy, map_safely, new_message, read_entries
from callrail_relay.domain.mapping import Draft
from callrail_relay.domain.message import Source
from callrail_relay.domain.submission import Accepted, NewMessage, NewSubmission
from callrail_relay.outbox.store import Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """
    What a submission became; a ping has no messages and is not stored.
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
        self._policy = policy
        self._clock = clock
        self._random = random
        self._hook = hook

    async def accept_request(self, body: bytes, *, content_type: str | None, query: str = "") -> Receipt:
        """
        Store a webhook's request, whatever it holds; when this returns it is on disk.

        Raises Unavailable when the store cannot be written.
        """
        entries = read_entries(body, content_type, query)
        submission_id = self._new_id()
        if not entries:
            self._hook(PingReceived())
            return Receipt(submission_id=submission_id)
        submission = NewSubmission(
            id=submission_id,
            source=Source.WEBHOOK,
            body=body,
            content_type=content_type,
            query=query or None,
            messages=tuple(self._new_message(map_safely(entry, self._policy.routes)) for entry in entries),
            guards=self._policy.guards,
        )
        return await self._store(submission)

    async def accept_direct(self, draft: Draft) -> Receipt:
        """
        Store one text from the command line. Raises Unavailable.
        """
        submission = NewSubmission(
            id=self._new_id(),
            source=Source.SEND,
            body=(draft.text or "").encode(),
            messages=(self._new_message(draft),),
            guards=self._policy.guards,
        )
        return await self._store(submission)

    async def accept_saved(self, document: bytes, drafts: Iterable[Draft], *, force: bool) -> Receipt:
        """
        Store the drafts of a saved file; a text that the store knows already is left out unless *force*.

        Raises Unavailable.
        """
        submission = NewSubmission(
            id=self._new_id(),
            source=Source.REPLAY,
            body=document,
            messages=tuple(self._new_message(draft, replayed=True, force=force) for draft in drafts),
            guards=self._policy.guards,
        )
        return await self._store(submission)

    def _new_message(self, draft: Draft, *, replayed: bool = False, force: bool = False) -> NewMessage:
        return new_message(
            self._new_id(),
            draft,
            self._policy,
            skip_identical=replayed and not force,
            approved=("duplicate",) if force else (),
        )

    async def _store(self, submission: NewSubmission) -> Receipt:
        accepted = await self._outbox.accept(submission)
        new = sum(one.duplicate_of is None for one in accepted)
        if new:
            self._hook(
                SubmissionAccepted(submission_id=submission.id, source=submission.source, messages=new)
            )
        for one in accepted:
            if one.duplicate_of is None:
                self._hook(
                    MessageAccepted(
                        message_id=one.message_id,
                        submission_id=submission.id,
                        status=one.status,
                        reasons=tuple(reason.code for reason in one.verdict.reasons),
                    )
                )
        return Receipt(submission_id=submission.id, accepted=tuple(accepted))

    def _new_id(self) -> str:
        return uuid7(self._clock.now(), self._random)
