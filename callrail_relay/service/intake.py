"""Takes texts in: read, map, judge, store. Nothing here waits for CallRail."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from random import Random

from callrail_relay.clock import Clock
from callrail_relay.domain import events, guards, mapper
from callrail_relay.domain.events import EventHook, ignore
from callrail_relay.domain.message import Message, Source, uuid7
from callrail_relay.errors import Unavailable
from callrail_relay.outbox import accept, queries
from callrail_relay.outbox.store import Store
from callrail_relay.service.background import SleepDetector
from callrail_relay.service.shadow import read_mode

SavedFile = tuple[bytes, Sequence[mapper.MappedText]]  # a saved file as it came, and the texts in it


class NotStored(Unavailable):
    """Raised when a request wasn't stored, or when that isn't known."""

    def __init__(self, raw: mapper.RawSubmission, words: str) -> None:
        super().__init__(words)
        self.raw = raw


class Intake:
    """Accepts texts, the same way for the webhook, ``send`` and ``replay``."""

    def __init__(
        self,
        store: Store,
        policy: mapper.MappingPolicy,
        *,
        random: Random,
        clock: Clock | None = None,
        hook: EventHook = ignore,
    ) -> None:
        self.store = store
        self.policy = policy  # for what comes in from now on
        # This machine's own: a database whose clock jumps didn't put the machine to sleep.
        clock = clock or store.clock
        self._hook = hook
        self._new_id: Callable[[], str] = lambda: uuid7(clock.now(), random)
        self._woke_at: datetime | None = None  # when the machine last woke, if known
        self.sleep = SleepDetector(clock, self._woke)

    async def accept_request(
        self, body: bytes, *, content_type: str | None, query: str = "", idempotency_key: str | None = None
    ) -> accept.Receipt:
        """Store a webhook's request once, whatever it contains; then it's on disk. Raises NotStored."""
        self.sleep.look()
        id_ = self._new_id()
        drafts = mapper.map_webhook(body, content_type=content_type, query=query, routes=self.policy.routes)
        # In shadow mode a ping is passed on like every request.
        if not drafts and not (await read_mode(self.store)).is_on:
            self._hook(events.PingReceived())
            return accept.Receipt(submission_id=id_)
        raw = mapper.RawSubmission(
            id=id_,
            body=body,
            content_type=content_type,
            query=query or None,
            repeat_key=mapper.repeat_key(idempotency_key, body, query) if idempotency_key else None,
        )
        try:
            try:
                submission = self._submission(raw, Source.WEBHOOK, drafts)
                receipt = await self.store.accept(submission)
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - with the right secret, no content is refused
                submission = self._submission(raw, Source.WEBHOOK, [mapper.failed(error)])
                receipt = await self.store.accept(submission)
        except Unavailable as error:
            raise NotStored(raw, str(error)) from error
        if receipt.submission_id != id_:
            self._hook(events.RepeatReceived(submission_id=receipt.submission_id))
        else:
            self._tell(submission, receipt.accepted)
        return receipt

    def direct(self, draft: mapper.MappedText) -> list[mapper.NewSubmission]:
        """Return one text from the command line, to be accepted or planned."""
        raw = mapper.RawSubmission(id=self._new_id(), body=(draft.text or "").encode())
        return [self._submission(raw, Source.SEND, [draft])]

    def saved(self, files: Iterable[SavedFile], *, force: bool) -> list[mapper.NewSubmission]:
        """Return saved files, to be accepted or planned; without *force*, texts in the store are left out."""
        approved = ("duplicate",) if force else ()
        batch = []
        for body, drafts in files:
            raw = mapper.RawSubmission(id=self._new_id(), body=body)
            new = self._submission(raw, Source.REPLAY, drafts)
            messages = (replace(one, skip_identical=not force, approved=approved) for one in new.messages)
            batch.append(replace(new, messages=tuple(messages)))
        return batch

    async def accept(self, batch: Sequence[mapper.NewSubmission]) -> list[mapper.Accepted]:
        """Store all of *batch*, or nothing; return what became of each message. Raises Unavailable."""
        accepted = await self.store.write(accept.accept, batch)
        for submission, one in zip(batch, accepted, strict=True):
            self._tell(submission, one)
        return [*chain.from_iterable(accepted)]

    async def plan(
        self, batch: Sequence[mapper.NewSubmission]
    ) -> tuple[list[mapper.Accepted], dict[str, Message]]:
        """Return what ``accept`` would return now, and by id what it would store. Raises Unavailable."""
        ids = [message.id for submission in batch for message in submission.messages]
        accepted, stored = await self.store.rehearse(
            lambda tx: (accept.accept(tx, batch), queries.find_messages(tx, *ids))
        )
        most = self.policy.max_characters
        # They have no ids yet: those will be others.
        new = {
            one.id: replace(one, id="", submission_id="", segments=mapper.planned_segments(one.text, most))
            for one in stored
        }
        return [*chain.from_iterable(accepted)], new

    def _submission(
        self, raw: mapper.RawSubmission, source: Source, drafts: Iterable[mapper.MappedText]
    ) -> mapper.NewSubmission:
        return mapper.new_submission(raw, source, drafts, self.policy, self._new_id, self._woke_at)

    def _tell(self, submission: mapper.NewSubmission, accepted: Sequence[mapper.Accepted]) -> None:
        id_, source = submission.id, submission.source
        new = [one for one in accepted if one.duplicate_of is None]
        if new:
            self._hook(events.SubmissionAccepted(submission_id=id_, source=source, messages=len(new)))
        elif source is Source.WEBHOOK:
            self._hook(events.PingReceived())
        for one in new:
            reasons = tuple(reason.code for reason in one.verdict.reasons)
            known = {"message_id": one.message_id, "submission_id": id_}
            self._hook(events.MessageAccepted(**known, status=one.status, reasons=reasons))

    def _woke(self) -> None:
        """Tell the guards that senders may repeat what got no answer."""
        self._woke_at = self.store.clock.now() - guards.NOTICED_WITHIN
