"""From what came in to messages, by one policy."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from callrail_relay.domain import guards
from callrail_relay.domain.account import Limits
from callrail_relay.domain.guards import GuardPolicy, Verdict
from callrail_relay.domain.mapping import (
    Accepted,
    Draft,
    NewMessage,
    NewSubmission,
    RawSubmission,
    StoredSubmission,
    map_direct,
    map_entry,
)
from callrail_relay.domain.message import Message, Reason, Segment, Source, Status
from callrail_relay.domain.payload import Entry, Payload, Unreadable, read_request
from callrail_relay.domain.routing import Route, Routes
from callrail_relay.domain.saved import read_saved
from callrail_relay.domain.segmentation import segments


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingPolicy:
    """How what comes in becomes messages: routes, guards, and the size of a text and of the budget."""

    routes: Routes
    guards: GuardPolicy
    max_characters: int
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPayloads:
    """What a saved file holds: drafts to send, and reasons why other entries are no payloads."""

    drafts: tuple[Draft, ...]
    skipped: tuple[Reason, ...]


class Mapper:
    """Maps by one policy; *new_id* makes the ids of messages."""

    def __init__(self, policy: MappingPolicy, new_id: Callable[[], str]) -> None:
        self._policy = policy
        self._new_id = new_id
        self.woke_at: datetime | None = None
        """When the machine woke the last time, where that is known."""

    def __call__(self, raw: RawSubmission) -> NewSubmission:
        """What a request to the webhook holds; a ping has no messages. It never fails."""
        try:
            entries = read_entries(raw.body, raw.content_type, raw.query or "")
            return self._submission(raw, [map_safely(entry, self._policy.routes) for entry in entries])
        except Exception as error:  # noqa: BLE001 - a request with the right secret is never refused for its content
            return self.give_up(raw, error)

    def give_up(self, raw: RawSubmission, error: Exception) -> NewSubmission:
        """*raw* with one message, held because of a fault of the program's own."""
        return self._submission(raw, [Draft(faults=(_internal_fault(error),))])

    def direct(self, id_: str, draft: Draft) -> NewSubmission:
        """One text from the command line or the dashboard."""
        return NewSubmission(
            id=id_,
            source=Source.SEND,
            body=(draft.text or "").encode(),
            messages=(self._message(draft),),
            guards=self._policy.guards,
            woke_at=self.woke_at,
        )

    def saved(self, id_: str, document: bytes, drafts: Iterable[Draft], *, force: bool) -> NewSubmission:
        """The drafts of a saved file; what the store knows already is to be left out unless *force*."""
        return NewSubmission(
            id=id_,
            source=Source.REPLAY,
            body=document,
            messages=tuple(self._message(draft, replayed=True, force=force) for draft in drafts),
            guards=self._policy.guards,
            woke_at=self.woke_at,
        )

    def _submission(self, raw: RawSubmission, drafts: Iterable[Draft]) -> NewSubmission:
        return NewSubmission(
            id=raw.id,
            source=Source.WEBHOOK,
            body=raw.body,
            content_type=raw.content_type,
            query=raw.query,
            messages=tuple(self._message(draft) for draft in drafts),
            guards=self._policy.guards,
            woke_at=self.woke_at,
            repeat_key=raw.repeat_key,
        )

    def _message(self, draft: Draft, *, replayed: bool = False, force: bool = False) -> NewMessage:
        return new_message(
            self._new_id(),
            draft,
            self._policy,
            skip_identical=replayed and not force,
            approved=("duplicate",) if force else (),
        )


def is_ping(body: bytes, query: str) -> bool:
    """Whether it is plain without a further look that a request holds nothing."""
    return not query and body.strip() in (b"", b"{}", b"[]")


def read_entries(body: bytes, content_type: str | None, query: str) -> list[Entry]:
    """What a request holds; a fault of our own is held like one of the request."""
    try:
        return read_request(body, content_type=content_type, query=query)
    except Exception as error:  # noqa: BLE001 - a request with the right secret is never refused for its content
        return [Unreadable((_internal_fault(error),))]


def map_safely(entry: Entry, routes: Routes) -> Draft:
    """*entry* as a draft; a fault of our own is held like one of the entry."""
    try:
        return map_entry(entry, routes)
    except Exception as error:  # noqa: BLE001 - as above
        return map_entry(Unreadable((_internal_fault(error),)), routes)


def new_message(
    id_: str,
    draft: Draft,
    policy: MappingPolicy,
    *,
    skip_identical: bool = False,
    approved: tuple[str, ...] = (),
) -> NewMessage:
    """*draft* judged, as far as it can be without the store."""
    count = _segment_count(draft, policy)
    return NewMessage(
        id=id_,
        draft=draft,
        verdict=_judge(draft, policy, count),
        segment_count=max(1, count),
        skip_identical=skip_identical,
        approved=approved,
    )


def map_stored(stored: StoredSubmission, policy: MappingPolicy) -> list[Draft]:
    """The drafts of a request that came in before, under the settings of now."""
    match stored.source:
        case Source.WEBHOOK:
            entries = read_entries(stored.body, stored.content_type, stored.query or "")
            return [map_safely(entry, policy.routes) for entry in entries]
        case Source.REPLAY:
            return list(map_saved(stored.body, policy).drafts)
        case Source.SEND:
            # What is mapped wrong there is never stored.
            return []


def map_text(*, to: str, text: str, sender: str | Route | None, policy: MappingPolicy) -> Draft:
    """The draft of a text from the command line. Raises UsageFault for a wrong number or an empty text."""
    return map_direct(to=to, text=text, routes=policy.routes, sender=sender)


def map_saved(document: bytes, policy: MappingPolicy) -> SavedPayloads:
    """The payloads of a saved file as drafts."""
    entries = read_saved(document)
    return SavedPayloads(
        drafts=tuple(map_entry(entry, policy.routes) for entry in entries if isinstance(entry, Payload)),
        skipped=tuple(
            fault for entry in entries if isinstance(entry, Unreadable) for fault in entry.faults[:1]
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """
    What a new message would become, for a dry run; its ids are empty, since nothing is stored.

    ``duplicate_of`` is the earlier message for which it would be left out; ``repeats`` is true where
    that one comes earlier in the same files.
    """

    message: Message
    duplicate_of: str | None = None
    repeats: bool = False

    @property
    def is_new(self) -> bool:
        return self.duplicate_of is None and not self.repeats


def plan(
    batch: Sequence[NewSubmission],
    results: Sequence[Sequence[Accepted]],
    *,
    max_characters: int,
    now: datetime,
) -> list[Planned]:
    """Return each message of *batch* as it would be stored, by what the store answered with."""
    pairs = [
        (submission.source, message, accepted)
        for submission, answers in zip(batch, results, strict=True)
        for message, accepted in zip(submission.messages, answers, strict=True)
    ]
    ours = {message.id for _, message, _ in pairs}
    return [
        Planned(
            message=_preview(message, accepted, source=source, max_characters=max_characters, now=now),
            duplicate_of=None if accepted.duplicate_of in ours else accepted.duplicate_of,
            repeats=accepted.duplicate_of in ours,
        )
        for source, message, accepted in pairs
    ]


def _preview(
    message: NewMessage, accepted: Accepted, *, source: Source, max_characters: int, now: datetime
) -> Message:
    draft = message.draft
    return Message(
        id="",
        submission_id="",
        status=accepted.status,
        source=source,
        received_at=now,
        reasons=accepted.verdict.reasons,
        recipient=draft.recipient,
        text=draft.text,
        route=draft.route,
        segments=planned_segments(draft.text, max_characters),
        release_at=accepted.verdict.release_at,
        opportunity_id=draft.opportunity_id,
        sender_id=draft.sender_id,
        seller_id=draft.seller_id,
        seller=draft.seller,
        team_id=draft.team_id,
    )


def judge(draft: Draft, policy: MappingPolicy) -> Verdict:
    """
    The faults of a draft, and the guards whose answer needs nothing but the draft; the store asks the others.
    """
    return _judge(draft, policy, _segment_count(draft, policy))


def _judge(draft: Draft, policy: MappingPolicy, count: int) -> Verdict:
    holds = draft.faults
    most = min(policy.limits.per_hour, policy.limits.per_day)
    if count > most:
        holds = (*holds, guards.too_long(count, most))
    return Verdict(holds).joined(policy.guards.merge_tag, guards.merge_tag(draft.text))


def _segment_count(draft: Draft, policy: MappingPolicy) -> int:
    return 0 if draft.text is None else len(segments(draft.text, policy.max_characters))


def planned_segments(text: str | None, max_characters: int) -> tuple[Segment, ...]:
    """The segments that a text which has not been claimed yet will be cut into."""
    if text is None:
        return ()
    return tuple(
        Segment(position=position, content=content, status=Status.QUEUED)
        for position, content in enumerate(segments(text, max_characters), start=1)
    )


def _internal_fault(error: Exception) -> Reason:
    return Reason(
        "internal",
        f"The program could not read this request ({type(error).__name__}), which is a fault of its own; "
        "the request "
        "is kept.",
    )
