"""What intake hands to the outbox, and what the outbox answers."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from callrail_relay.domain.guards import GuardPolicy, Verdict
from callrail_relay.domain.mapping import Draft
from callrail_relay.domain.message import Source, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """
    One text, mapped and judged, ready to be stored.

    ``skip_identical``   leave it out when the same text is in the store already (a replay)
    ``approved``         codes of reasons that a person overrode in advance
    """

    id: str
    draft: Draft
    verdict: Verdict
    segment_count: int
    skip_identical: bool = False
    approved: tuple[str, ...] = ()
    fingerprint: bytes | None = field(init=False)

    def __post_init__(self) -> None:
        # Asked for several times, and reckoned once.
        object.__setattr__(self, "fingerprint", fingerprint(self.draft))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubmission:
    """
    One request as it came in, byte for byte, with the messages it holds.

    ``guards`` is the policy of those guards that only the store can ask. ``woke_at`` is when the machine
    woke, if that was lately. ``repeat_key`` is the same for a request that is sent again, if its sender marks
    that.
    """

    id: str
    source: Source
    body: bytes
    content_type: str | None = None
    query: str | None = None
    messages: tuple[NewMessage, ...]
    guards: GuardPolicy = field(default_factory=GuardPolicy)
    woke_at: datetime | None = None
    repeat_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSubmission:
    """One request to the webhook as it came in, byte for byte."""

    id: str
    body: bytes
    content_type: str | None = None
    query: str | None = None
    repeat_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSubmission:
    """A request as it was stored, with the ids of its messages in the order in which it held them."""

    source: Source
    body: bytes
    content_type: str | None
    query: str | None
    message_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What a new message became: stored, or left out because *duplicate_of* is the same text."""

    message_id: str
    status: Status
    verdict: Verdict
    duplicate_of: str | None = None


@dataclass(frozen=True, slots=True)
class Repeated:
    """A request that its sender repeated: what came the first time is stored as *submission_id*."""

    submission_id: str


def repeat_key(key: str, body: bytes, query: str) -> bytes:
    """
    16 bytes that are equal for the same request under the same key of its sender.

    The content is part of it: under a key that a sender uses twice by mistake, no text is lost.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (key.encode(errors="surrogatepass"), query.encode(errors="surrogatepass"), body):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()


def fingerprint(draft: Draft) -> bytes | None:
    """16 bytes that are equal for the same words to the same person from the same tracking number."""
    if draft.route is None or draft.recipient is None or draft.text is None:
        return None
    parts = (draft.route.tracking_number, draft.recipient, draft.text)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()
